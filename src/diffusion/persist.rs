use std::sync::Arc;

use super::network::NoiseNet;
use super::{Diffusion, DiffusionConfig, Fitted};
use crate::error::Result;
use crate::persist::Persist;
use crate::persist::format::{Stored, Tensor, Units, encode, features};

impl NoiseNet {
    /// Refuses a config whose network the file cannot hold.
    pub(crate) fn fits(
        stored: &Stored,
        dim: usize,
        hidden: &[usize],
        octaves: usize,
        time_features: usize,
    ) -> Result<()> {
        let chain = [&[time_features], hidden, &[dim]].concat();
        stored.fits(2 * (hidden.len() + 1) + 1, &[&chain, &[features(dim, octaves), hidden[0]]])
    }
}

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
        NoiseNet::fits(&stored, config.dim, &config.hidden, config.octaves, config.time_features)?;

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
