use serde::{Deserialize, Serialize};

use super::bins::{Adapted, Grid};
use super::conditional::Conditional;
use super::decorrelation::Decorrelation;
use super::network::Made;
use super::{Autoregressive, AutoregressiveConfig, Head};
use crate::data::Standardiser;
use crate::error::{Error, Result, check};
use crate::persist::Persist;
use crate::persist::format::{Stored, Tensor, encode, features};

/// What the first training fixes, beside the tensor of [`DECORRELATION`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    standardiser: Standardiser,
    /// Of [`Head::Bins`], where equal bins of each coordinate begin and end; else empty.
    ranges: Vec<(f64, f64)>,
    /// Of [`Head::Bins`], edges that follow the rows; else empty.
    #[serde(default)]
    adapted: Vec<Adapted>,
}

/// L of w = L⁻¹ z, (dim, dim), in files of models that decorrelate.
const DECORRELATION: &str = "decorrelation";

impl Persist for Autoregressive {
    fn kind() -> &'static str {
        "autoregressive"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let (mut ranges, mut adapted) = (Vec::new(), Vec::new());
        for conditional in &self.conditionals {
            let Conditional::Bins(bins) = conditional else { continue };
            match &bins.grid {
                &Grid::Equal { low, high } => ranges.push((low, high)),
                Grid::Adapted(grid) => adapted.push(grid.clone()),
            }
        }
        let fitted = Fitted { standardiser: self.standardiser.clone(), ranges, adapted };
        let mut tensors = Tensor::parameters(&self.made.layout(), &self.parameters);
        if self.config.decorrelate {
            let dim = self.config.dim;
            tensors.push(Tensor::f64(DECORRELATION, &[dim, dim], self.decorrelation.l()));
        }
        encode(Self::kind(), &self.config, &fitted, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (AutoregressiveConfig, Fitted) = stored.read(Self::kind())?;
        let Fitted { standardiser, ranges, adapted } = fitted;
        config.validate()?;
        let dim = config.dim;
        standardiser.validate(dim)?;
        let sane = |&(low, high): &(f64, f64)| low < high && (high - low).is_finite();
        check(ranges.iter().all(sane), "ranges", &ranges, "each ascending, finite")?;
        let ranges = ranges.into_iter().map(|(low, high)| Grid::Equal { low, high });
        let grids: Vec<Grid> = ranges.chain(adapted.into_iter().map(Grid::Adapted)).collect();
        let bins = if let Head::Bins { bins } = config.head { Some(bins) } else { None };
        let expected = if bins.is_some() { dim } else { 0 };
        check(grids.len() == expected, "ranges", grids.len(), "one for each column, for Head::Bins only")?;
        let sane = |grid: &Grid| match grid {
            Grid::Equal { .. } => true,
            Grid::Adapted(grid) => bins.is_some_and(|bins| grid.is_sane(bins)),
        };
        check(
            grids.iter().all(sane),
            "adapted",
            &grids,
            "bins + 1 edges, ascending, and two positive tails",
        )?;

        let conditional = Conditional::new(config.head);
        let outputs = conditional.outputs();
        // A single coordinate sees nothing, and has no hidden layers.
        let hidden = if dim > 1 { &config.hidden[..] } else { &[] };
        let trunk = [&[features(dim - 1, config.octaves)], hidden].concat();
        let decorrelation = usize::from(config.decorrelate);
        let layers = hidden.len().saturating_add(dim).saturating_mul(2);
        stored.fits_beside(decorrelation, layers, &[&trunk, &[dim, outputs]])?;

        let made = Made::new(dim, &config.hidden, config.octaves, config.activation, outputs);
        let parameters = stored.parameters(&made.layout())?;
        let mut conditionals = vec![conditional; dim];
        for (conditional, grid) in conditionals.iter_mut().zip(grids) {
            if let Conditional::Bins(bins) = conditional {
                bins.grid = grid;
            }
        }
        let decorrelation = if config.decorrelate {
            let l = stored.f64(DECORRELATION, &[dim, dim])?;
            let what = "decorrelation is not lower triangular with a positive diagonal".to_string();
            Decorrelation::new(l, dim).ok_or(Error::Format { what })?
        } else {
            Decorrelation::identity(dim)
        };
        Ok(Autoregressive { config, made, conditionals, parameters, standardiser, decorrelation })
    }
}
