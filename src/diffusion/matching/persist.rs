use std::sync::Arc;

use super::{FlowMatching, FlowMatchingConfig, Source, VelocityNet};
use crate::diffusion::Learned;
use crate::diffusion::persist::savable;
use crate::engine::Fitted;
use crate::error::{Error, FileError, Result};
use crate::model::file::{Persist, Stored, Tensor, encode};

/// That a file can hold a source.
///
/// # Errors
/// [`FileError::Format`] for any but a Gaussian one.
pub(in crate::diffusion) fn check_source(source: &Source) -> Result<()> {
    let found = match source {
        Source::Gaussian => return Ok(()),
        Source::Toy(_) => "a toy distribution",
        Source::Rows(_) => "rows",
    };
    Err(Error::File(FileError::Format {
        what: format!("a flow from {found}: only a Gaussian source can be saved"),
    }))
}

/// The config in a file has no `source`: it is Gaussian. Saving any other is an [`FileError::Format`].
impl Persist for FlowMatching {
    fn kind() -> &'static str {
        "flow_matching"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        savable(&self.net, self.guidance.as_deref())?;
        check_source(&self.config.source)?;
        let Learned { parameters, fitted } = &*self.learned;
        encode(Self::kind(), &self.config, fitted, Tensor::parameters(&self.net.layout(), parameters))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (FlowMatchingConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, config.condition)?;
        let &FlowMatchingConfig { dim, ref network, time_features, condition, .. } = &config;
        stored.holds(network.vector_field_params(dim, condition.width(), time_features))?;

        let net = VelocityNet::new(&config)?;
        let parameters = stored.all_parameters(&net.layout())?;
        Ok(FlowMatching { learned: Arc::new(Learned { parameters, fitted }), guidance: None, net, config })
    }
}
