use serde::{Deserialize, Serialize};

use super::conditional::Conditional;
use super::network::Made;
use super::{Autoregressive, AutoregressiveConfig, Head};
use crate::data::Standardiser;
use crate::error::{Result, check};
use crate::persist::Persist;
use crate::persist::format::{Stored, Tensor, encode, features};

/// What the first training fixes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    standardiser: Standardiser,
    /// Of [`Head::Bins`], where the bins of each coordinate begin and end; else empty.
    ranges: Vec<(f64, f64)>,
}

impl Persist for Autoregressive {
    fn kind() -> &'static str {
        "autoregressive"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let ranges = self.conditionals.iter().filter_map(|conditional| match conditional {
            Conditional::Bins(bins) => Some((bins.low, bins.high)),
            Conditional::Mixture(_) => None,
        });
        let fitted = Fitted { standardiser: self.standardiser.clone(), ranges: ranges.collect() };
        let tensors = Tensor::parameters(&self.made.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &fitted, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Fitted { standardiser, ranges }): (AutoregressiveConfig, _) =
            stored.read(Self::kind())?;
        config.validate()?;
        let dim = config.dim;
        standardiser.validate(dim)?;
        let expected = if let Head::Bins { .. } = config.head { dim } else { 0 };
        check(ranges.len() == expected, "ranges", ranges.len(), "one for each column, for Head::Bins only")?;
        let sane = |&(low, high): &(f64, f64)| low < high && (high - low).is_finite();
        check(ranges.iter().all(sane), "ranges", &ranges, "each ascending, finite")?;

        let conditional = Conditional::new(config.head);
        let outputs = conditional.outputs();
        // A single coordinate sees nothing, and has no hidden layers.
        let hidden = if dim > 1 { &config.hidden[..] } else { &[] };
        let trunk = [&[features(dim - 1, config.octaves)], hidden].concat();
        stored.fits(hidden.len().saturating_add(dim).saturating_mul(2), &[&trunk, &[dim, outputs]])?;

        let made = Made::new(dim, &config.hidden, config.octaves, config.activation, outputs);
        let parameters = stored.parameters(&made.layout())?;
        let mut conditionals = vec![conditional; dim];
        for (conditional, range) in conditionals.iter_mut().zip(ranges) {
            if let Conditional::Bins(bins) = conditional {
                (bins.low, bins.high) = range;
            }
        }
        Ok(Autoregressive { config, made, conditionals, parameters, standardiser })
    }
}
