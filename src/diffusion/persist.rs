use std::sync::Arc;

use super::network::{NoiseNet, Parametrization, PathNet};
use super::{Diffusion, DiffusionConfig, Guidance, Learned};
use crate::engine::Fitted;
use crate::error::{Error, Result};
use crate::model::file::{Persist, Stored, Tensor, encode};

impl Persist for Diffusion {
    fn kind() -> &'static str {
        "diffusion"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        savable(&self.net, self.guidance.as_deref())?;
        let Learned { parameters, fitted } = &*self.learned;
        encode(Self::kind(), &self.config, fitted, Tensor::parameters(&self.net.layout(), parameters))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (DiffusionConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, config.condition)?;
        let &DiffusionConfig { dim, ref network, time_features, condition, .. } = &config;
        stored.holds(network.vector_field_params(dim, condition.width(), time_features))?;

        let net = NoiseNet::new(&config)?;
        let parameters = stored.all_parameters(&net.layout())?;
        Ok(Self::of(config, net, Arc::new(Learned { parameters, fitted })))
    }
}

/// That a file can hold a model.
///
/// # Errors
/// [`Error::Format`] for one with a network of its own, or with guidance.
pub(super) fn savable<P: Parametrization, M>(
    net: &PathNet<f32, P>,
    guidance: Option<&Guidance<M>>,
) -> Result<()> {
    if !net.is_built_in() {
        let what = "a model with a network of its own: a file cannot describe the network".into();
        return Err(Error::Format { what });
    }
    if guidance.is_some() {
        let what = "a guided model: save the model itself, and guide it after loading".into();
        return Err(Error::Format { what });
    }
    Ok(())
}
