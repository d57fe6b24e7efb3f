use std::sync::Arc;

use super::{FlowMap, FlowMapConfig, MapNet};
use crate::diffusion::Learned;
use crate::diffusion::matching::persist::check_source;
use crate::diffusion::persist::savable;
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored, Tensor, encode};

/// The config in a file has no `source`: it is Gaussian. Saving any other is an
/// [`FileError::Format`](crate::error::FileError::Format). A teacher stays behind: a distilled model that is loaded
/// trains on from the data alone.
impl Persist for FlowMap {
    fn kind() -> &'static str {
        "flow_map"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        savable(&self.net, self.guidance.as_deref())?;
        check_source(&self.config.source)?;
        let Learned { parameters, fitted } = &*self.learned;
        encode(Self::kind(), &self.config, fitted, Tensor::parameters(&self.net.layout(), parameters))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (FlowMapConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, config.condition)?;
        let FlowMapConfig { dim, ref network, time_features, .. } = config;
        stored.holds(network.two_time_field_params(dim, config.condition_width(), time_features))?;

        let net = MapNet::new(&config)?;
        let parameters = stored.all_parameters(&net.layout())?;
        let learned = Arc::new(Learned { parameters, fitted });
        Ok(FlowMap { config, net, guidance: None, teacher: None, learned })
    }
}
