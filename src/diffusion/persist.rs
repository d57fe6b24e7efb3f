use std::sync::Arc;

use serde::Serialize;

use super::network::{NoiseNet, Parametrization, PathNet};
use super::{Diffusion, DiffusionConfig, Guidance, Learned};
use crate::engine::Fitted;
use crate::error::{Error, FileError, Result};
use crate::model::ConditionKind;
use crate::model::file::{Persist, Stored, Tensor, encode};

impl Persist for Diffusion {
    fn kind() -> &'static str {
        "diffusion"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        store(Self::kind(), &self.config, &self.net, &self.learned, self.guidance.as_deref())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (DiffusionConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        let &DiffusionConfig { dim, ref network, time_features, condition, .. } = &config;
        let params = network.vector_field_params(dim, condition.width(), time_features);
        let (net, learned) = load(&stored, fitted, (dim, condition), params, || NoiseNet::new(&config))?;
        Ok(Self::of(config, net, learned))
    }
}

/// The file of a model of the family.
///
/// # Errors
/// [`FileError::Format`] for a model with a network of its own or with guidance, which no file describes, and for
/// parameters that are not finite.
pub(super) fn store<C: Serialize, P: Parametrization, M>(
    kind: &str,
    config: &C,
    net: &PathNet<f32, P>,
    Learned { parameters, fitted }: &Learned,
    guidance: Option<&Guidance<M>>,
) -> Result<Vec<u8>> {
    if !net.is_built_in() {
        let what = "a model with a network of its own: a file cannot describe the network".into();
        return Err(Error::File(FileError::Format { what }));
    }
    if guidance.is_some() {
        let what = "a guided model: save the model itself, and guide it after loading".into();
        return Err(Error::File(FileError::Format { what }));
    }
    encode(kind, config, fitted, Tensor::parameters(&net.layout(), parameters))
}

/// The network and what it has learned, from the file of a model of the family. The config is known to be valid, with
/// `params` parameters of its network.
///
/// # Errors
/// [`FileError::Format`] for a file that holds other numbers, before the network is made.
pub(super) fn load<P: Parametrization>(
    stored: &Stored,
    fitted: Fitted,
    (dim, condition): (usize, ConditionKind),
    params: usize,
    net: impl FnOnce() -> Result<PathNet<f32, P>>,
) -> Result<(PathNet<f32, P>, Arc<Learned>)> {
    fitted.validate(dim, condition)?;
    stored.holds(params)?;
    let net = net()?;
    let parameters = stored.all_parameters(&net.layout())?;
    Ok((net, Arc::new(Learned { parameters, fitted })))
}
