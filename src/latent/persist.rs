use super::network::Networks;
use super::{Vae, VaeConfig};
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, encode, features};

impl Persist for Vae {
    fn kind() -> &'static str {
        "vae"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensors = Tensor::parameters(&self.networks.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &self.fitted, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (VaeConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, config.condition)?;
        let (x, z) = (config.dim, config.latent_dim);
        let width = config.condition.width();
        let inputs = |from, octaves| features(from, octaves).saturating_add(width);
        let chain = |from, octaves, to| [&[inputs(from, octaves)], &config.hidden[..], &[to]].concat();
        let (encoder, decoder) = (chain(x, config.encoder_octaves, z), chain(z, config.decoder_octaves, x));
        stored.fits(4 * (config.hidden.len() + 1), &[&encoder, &decoder])?;

        let networks = Networks::new(&config);
        let parameters = stored.parameters(&networks.layout())?;
        Ok(Vae { config, networks, parameters, fitted })
    }
}
