use super::network::Networks;
use super::{Vae, VaeConfig};
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, encode};

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
        stored.holds(Networks::count_params(&config))?;

        let networks = Networks::new(&config);
        let parameters = stored.all_parameters(&networks.layout())?;
        Ok(Vae { config, networks, parameters, fitted })
    }
}
