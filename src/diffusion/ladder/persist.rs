use super::{ScoreConfig, ScoreModel};
use crate::diffusion::Guidance;
use crate::diffusion::persist::{load, store};
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored};

impl Persist for ScoreModel {
    fn kind() -> &'static str {
        "score"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        store(Self::kind(), &self.config, &self.net, &self.learned, None::<&Guidance<Self>>)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (ScoreConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        let &ScoreConfig { dim, ref network, time_features, condition, .. } = &config;
        let params = network.vector_field_params(dim, condition.width(), time_features);
        let (net, learned) = load(&stored, fitted, (dim, condition), params, || config.network())?;
        Ok(ScoreModel { levels: config.ladder(), learned, net, config })
    }
}
