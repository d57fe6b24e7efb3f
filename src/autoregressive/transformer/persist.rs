use super::{Transformer, TransformerConfig};
use crate::error::Result;
use crate::model::Token;
use crate::model::file::{Persist, Stored, Tensor, encode};
use crate::nn::{CausalNetwork, Layout};

impl Persist<Token> for Transformer {
    fn kind() -> &'static str {
        "transformer"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let tensors = Tensor::parameters(&layout(&self.network), &self.parameters);
        encode(Self::kind(), &self.config, &(), tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, ()): (TransformerConfig, ()) = stored.read(Self::kind())?;
        config.validate()?;
        let network = config.network();
        stored.holds(network.num_params())?;
        let parameters = stored.all_parameters(&layout(&network))?;
        Ok(Self::of(config, network, parameters))
    }
}

fn layout(network: &CausalNetwork) -> Layout {
    let mut layout = Layout::default();
    network.describe(&mut layout);
    layout
}
