use super::network::Networks;
use super::{Vae, VaeConfig};
use crate::error::Result;
use crate::persist::Persist;
use crate::persist::format::{Stored, Tensor, Units, encode, features};

impl Persist for Vae {
    fn kind() -> &'static str {
        "vae"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let units = Units { standardiser: self.standardiser.clone() };
        let tensors = Tensor::parameters(&self.networks.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &units, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Units { standardiser }): (VaeConfig, _) = stored.read(Self::kind())?;
        config.validate()?;
        standardiser.validate(config.dim)?;
        let (x, z) = (config.dim, config.latent_dim);
        let chain = |from, octaves, to| [&[features(from, octaves)], &config.hidden[..], &[to]].concat();
        let (encoder, decoder) = (chain(x, config.encoder_octaves, z), chain(z, config.decoder_octaves, x));
        stored.fits(4 * (config.hidden.len() + 1), &[&encoder, &decoder])?;

        let networks = Networks::new(&config);
        let parameters = stored.parameters(&networks.layout())?;
        Ok(Vae { config, networks, parameters, standardiser })
    }
}
