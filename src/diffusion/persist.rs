use std::sync::Arc;

use super::network::NoiseNet;
use super::{Diffusion, DiffusionConfig, Fitted};
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, Units, encode};
use crate::nn::timed::Timed;

impl Persist for Diffusion {
    fn kind() -> &'static str {
        "diffusion"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let Fitted { parameters, standardiser } = &*self.fitted;
        let units = Units { standardiser: standardiser.clone() };
        encode(Self::kind(), &self.config, &units, Tensor::parameters(&self.net.layout(), parameters))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Units { standardiser }): (DiffusionConfig, _) = stored.read(Self::kind())?;
        config.validate()?;
        standardiser.validate(config.dim)?;
        Timed::fits(&stored, config.dim, &config.hidden, config.octaves, config.time_features)?;

        let net = NoiseNet::new(&config)?;
        let parameters = stored.parameters(&net.layout())?;
        let levels = config.schedule.levels(config.timesteps);
        Ok(Diffusion {
            plan: config.sampler.plan(&config, &levels),
            fitted: Arc::new(Fitted { parameters, standardiser }),
            levels,
            net,
            config,
        })
    }
}
