use super::{ScoreConfig, ScoreModel};
use crate::error::Result;
use crate::nn::timed::Timed;
use crate::persist::Persist;
use crate::persist::format::{Stored, Tensor, Units, encode};

impl Persist for ScoreModel {
    fn kind() -> &'static str {
        "score"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let units = Units { standardiser: self.standardiser.clone() };
        let tensors = Tensor::parameters(&self.net.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &units, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Units { standardiser }): (ScoreConfig, _) = stored.read(Self::kind())?;
        config.validate()?;
        standardiser.validate(config.dim)?;
        Timed::fits(&stored, config.dim, &config.hidden, config.octaves, config.time_features)?;

        let net = config.network()?;
        let parameters = stored.parameters(&net.layout())?;
        Ok(ScoreModel { levels: config.ladder(), net, parameters, standardiser, config })
    }
}
