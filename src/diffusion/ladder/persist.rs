use std::sync::Arc;

use super::{ScoreConfig, ScoreModel};
use crate::diffusion::persist::savable;
use crate::diffusion::{Guidance, Learned};
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, encode};

impl Persist for ScoreModel {
    fn kind() -> &'static str {
        "score"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        savable(&self.net, None::<&Guidance<Self>>)?;
        let Learned { parameters, fitted } = &*self.learned;
        encode(Self::kind(), &self.config, fitted, Tensor::parameters(&self.net.layout(), parameters))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (ScoreConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, config.condition)?;
        let &ScoreConfig { dim, ref network, time_features, condition, .. } = &config;
        stored.holds(network.vector_field_params(dim, condition.width(), time_features))?;

        let net = config.network()?;
        let parameters = stored.all_parameters(&net.layout())?;
        Ok(ScoreModel {
            levels: config.ladder(),
            learned: Arc::new(Learned { parameters, fitted }),
            net,
            config,
        })
    }
}
