use serde::{Deserialize, Serialize};

use super::bins::{Adapted, Grid};
use super::conditional::Conditional;
use super::network::Made;
use super::{Autoregressive, AutoregressiveConfig, Head};
use crate::engine::{Conditions, Fitted, Standardizer};
use crate::error::{Result, check};
use crate::model::file::{Persist, Stored, Tensor, encode, features};
use crate::nn::Perceptron;

/// What the first training fixes.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    #[serde(alias = "standardiser")]
    standardizer: Standardizer,
    #[serde(default, skip_serializing_if = "Conditions::are_none")]
    conditions: Conditions,
    /// Of [`Head::Bins`], where the bins of each coordinate begin and end; else empty.
    ranges: Vec<(f64, f64)>,
    /// Of [`Head::Bins`], the bins of the coordinates where they follow the rows; empty where all are equal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    adapted: Vec<Option<Adapted>>,
}

impl Persist for Autoregressive {
    fn kind() -> &'static str {
        "autoregressive"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let (mut ranges, mut adapted) = (Vec::new(), Vec::new());
        for conditional in &self.conditionals {
            let Conditional::Bins(bins) = conditional else { continue };
            ranges.push(bins.grid.ends());
            adapted.push(match &bins.grid {
                Grid::Equal { .. } => None,
                Grid::Adapted(grid) => Some(grid.clone()),
            });
        }
        if adapted.iter().all(Option::is_none) {
            adapted.clear();
        }
        let Fitted { standardizer, conditions } = self.fitted.clone();
        let stated = Stated { standardizer, conditions, ranges, adapted };
        let tensors = Tensor::parameters(&self.made.layout(), &self.parameters);
        encode(Self::kind(), &self.config, &stated, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, stated): (AutoregressiveConfig, Stated) = stored.read(Self::kind())?;
        let Stated { standardizer, conditions, ranges, adapted } = stated;
        let fitted = Fitted { standardizer, conditions };
        config.validate()?;
        let dim = config.dim;
        fitted.validate(dim, config.condition)?;
        let sane = |&(low, high): &(f64, f64)| low < high && (high - low).is_finite();
        check(ranges.iter().all(sane), "ranges", &ranges, "each ascending, finite")?;
        let bins = if let Head::Bins { bins } = config.head { Some(bins) } else { None };
        let expected = if bins.is_some() { dim } else { 0 };
        check(ranges.len() == expected, "ranges", ranges.len(), "one for each column, for Head::Bins only")?;
        let columns = adapted.len();
        check(columns == 0 || columns == expected, "adapted", columns, "none, or one for each column")?;
        let sane = |grid: &Adapted| bins.is_some_and(|bins| grid.is_sane(bins));
        let what = "bins + 1 edges, ascending, and two positive tails";
        check(adapted.iter().flatten().all(sane), "adapted", &adapted, what)?;
        let adapted = adapted.into_iter().chain(std::iter::repeat(None));
        let grids: Vec<Grid> = ranges
            .into_iter()
            .zip(adapted)
            .map(|((low, high), adapted)| adapted.map_or(Grid::Equal { low, high }, Grid::Adapted))
            .collect();

        let Perceptron { hidden, octaves, .. } = config.perceptron();
        let conditional = Conditional::new(config.head);
        let outputs = conditional.outputs();
        let inputs = features(dim - 1, octaves).saturating_add(config.condition.width());
        // What sees nothing has no hidden layers.
        let hidden = if inputs > 0 { hidden } else { &[] };
        let trunk = [&[inputs], hidden].concat();
        let layers = hidden.len().saturating_add(dim).saturating_mul(2);
        stored.fits(layers, &[&trunk, &[dim, outputs]])?;

        let made = Made::new(&config, outputs);
        let parameters = stored.parameters(&made.layout())?;
        let mut conditionals = vec![conditional; dim];
        for (conditional, grid) in conditionals.iter_mut().zip(grids) {
            if let Conditional::Bins(bins) = conditional {
                bins.grid = grid;
            }
        }
        Ok(Autoregressive { config, made, conditionals, parameters, fitted })
    }
}
