use super::{FlowMap, FlowMapConfig, MapNet};
use crate::diffusion::matching::persist::check_source;
use crate::diffusion::persist::{load, store};
use crate::engine::Fitted;
use crate::error::Result;
use crate::model::file::{Persist, Stored};

/// The config in a file has no `source`: it is Gaussian. Saving any other is an
/// [`FileError::Format`](crate::error::FileError::Format). A teacher stays behind: a distilled model that is loaded
/// trains on from the data alone.
impl Persist for FlowMap {
    fn kind() -> &'static str {
        "flow_map"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        check_source(&self.config.source)?;
        store(Self::kind(), &self.config, &self.net, &self.learned, self.guidance.as_deref())
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (FlowMapConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        let &FlowMapConfig { dim, ref network, time_features, condition, .. } = &config;
        let params = network.two_time_field_params(dim, config.condition_width(), time_features);
        let (net, learned) = load(&stored, fitted, (dim, condition), params, || MapNet::new(&config))?;
        Ok(FlowMap { config, net, guidance: None, teacher: None, learned })
    }
}
