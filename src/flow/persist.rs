use serde::{Deserialize, Serialize};

use super::chain::{Chain, has_base};
use super::{Architecture, Flow, FlowConfig, Mixing};
use crate::engine::{Conditions, Fitted, Standardizer};
use crate::error::{Result, check};
use crate::model::file::{Persist, Stored, Tensor, encode};
use crate::numeric::rng::seeded;

/// What construction by chance and the first training fix.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    #[serde(alias = "standardiser")]
    standardizer: Standardizer,
    #[serde(default, skip_serializing_if = "Conditions::are_none")]
    conditions: Conditions,
    /// Of [`Mixing::Permutation`], the order between each two layers; else empty.
    orders: Vec<Vec<usize>>,
}

impl Persist for Flow {
    fn kind() -> &'static str {
        "flow"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let orders = match self.config.mixing {
            Mixing::Permutation => self.chain.mixers().map(|mixer| mixer.order().to_vec()).collect(),
            Mixing::Reverse | Mixing::Linear => Vec::new(),
        };
        let Fitted { standardizer, conditions } = self.fitted.clone();
        let stated = Stated { standardizer, conditions, orders };
        let tensors = Tensor::parameters(&self.chain.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &stated, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, stated): (FlowConfig, Stated) = stored.read(Self::kind())?;
        let Stated { standardizer, conditions, orders } = stated;
        let fitted = Fitted { standardizer, conditions };
        config.validate()?;
        let (dim, layers) = (config.dim, config.layers);
        fitted.validate(dim, config.condition)?;
        let expected = if config.mixing == Mixing::Permutation { layers - 1 } else { 0 };
        let sane = orders.len() == expected;
        check(sane, "orders", orders.len(), "one between each two layers, for Mixing::Permutation only")?;

        let (sees, moves) = match config.architecture {
            Architecture::Coupling => (dim / 2, dim - dim / 2),
            Architecture::MaskedAutoregressive => ((dim - 1).max(1), dim),
        };
        let outputs = moves.saturating_mul(config.transform.params());
        let conditioner = config.network.network_params(sees, config.condition.width(), outputs);
        let learned = if config.mixing == Mixing::Linear { layers - 1 } else { 0 };
        let squares = (learned + usize::from(has_base(&config))).saturating_mul(dim).saturating_mul(dim);
        stored.holds(conditioner.saturating_mul(layers).saturating_add(squares))?;

        // The orders that are drawn here are replaced.
        let mut chain = Chain::new(&config, &mut seeded(0));
        let parameters = stored.all_parameters(&chain.layout())?;
        chain.mixers_mut().zip(orders).try_for_each(|(mixer, order)| mixer.set_order(order))?;
        Ok(Flow { config, chain, parameters, fitted })
    }
}
