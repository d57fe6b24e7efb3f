use std::sync::Arc;

use super::{Fitted, FlowMatching, FlowMatchingConfig, Source, VelocityNet};
use crate::error::{Error, Result};
use crate::nn::timed::Timed;
use crate::persist::Persist;
use crate::persist::format::{Stored, Tensor, Units, encode};

/// The config in a file has no `source`: it is Gaussian. Saving any other is an [`Error::Format`].
impl Persist for FlowMatching {
    fn kind() -> &'static str {
        "flow_matching"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let found = match &self.config.source {
            Source::Gaussian => None,
            Source::Toy(_) => Some("a toy distribution"),
            Source::Rows(_) => Some("rows"),
        };
        if let Some(found) = found {
            let what = format!("a flow from {found}: only a Gaussian source can be saved");
            return Err(Error::Format { what });
        }
        let Fitted { parameters, standardiser } = &*self.fitted;
        let units = Units { standardiser: standardiser.clone() };
        encode(Self::kind(), &self.config, &units, Tensor::parameters(&self.net.layout(), parameters))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Units { standardiser }): (FlowMatchingConfig, _) = stored.read(Self::kind())?;
        config.validate()?;
        standardiser.validate(config.dim)?;
        Timed::fits(&stored, config.dim, &config.hidden, config.octaves, config.time_features)?;

        let net = VelocityNet::new(&config)?;
        let parameters = stored.parameters(&net.layout())?;
        Ok(FlowMatching { fitted: Arc::new(Fitted { parameters, standardiser }), net, config })
    }
}
