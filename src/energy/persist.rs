use std::sync::OnceLock;

use super::network::Energy;
use super::{EnergyConfig, EnergyModel, ScoreConfig, ScoreModel};
use crate::engine::{ConditionKind, Fitted};
use crate::error::Result;
use crate::nn::timed::Timed;
use crate::persist::Persist;
use crate::persist::format::{Stored, Tensor, encode, features};

impl Persist for EnergyModel {
    fn kind() -> &'static str {
        "energy"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensors = Tensor::parameters(&self.energy.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &self.fitted, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (EnergyConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, ConditionKind::None)?;
        let chain = [&[features(config.dim, config.octaves)], &config.hidden[..], &[1]].concat();
        stored.fits(2 * (config.hidden.len() + 1), &[&chain])?;

        let energy = Energy::new(&config);
        let parameters = stored.parameters(&energy.layout())?;
        let mut model = EnergyModel {
            transposed: parameters.average.clone(),
            log_partition: OnceLock::new(),
            config,
            energy,
            parameters,
            fitted,
        };
        model.refresh();
        Ok(model)
    }
}

impl Persist for ScoreModel {
    fn kind() -> &'static str {
        "score"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensors = Tensor::parameters(&self.net.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &self.fitted, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (ScoreConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, ConditionKind::None)?;
        Timed::fits(&stored, config.dim, &config.hidden, config.octaves, config.time_features)?;

        let net = config.network()?;
        let parameters = stored.parameters(&net.layout())?;
        Ok(ScoreModel { levels: config.ladder(), net, parameters, fitted, config })
    }
}
