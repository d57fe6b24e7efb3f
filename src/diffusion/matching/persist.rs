use super::{FlowMatching, FlowMatchingConfig, Source, VelocityNet};
use crate::diffusion::persist::{load, store};
use crate::engine::Fitted;
use crate::error::{Error, FileError, Result};
use crate::model::file::{Persist, Stored};

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
        check_source(&self.config.source)?;
        store(Self::kind(), &self.config, &self.net, &self.learned, self.guidance.as_deref())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (FlowMatchingConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        let &FlowMatchingConfig { dim, ref network, time_features, condition, .. } = &config;
        let params = network.vector_field_params(dim, condition.width(), time_features);
        let (net, learned) = load(&stored, fitted, (dim, condition), params, || VelocityNet::new(&config))?;
        Ok(FlowMatching { learned, guidance: None, net, config })
    }
}
