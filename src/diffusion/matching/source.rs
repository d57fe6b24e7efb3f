use std::sync::Arc;

use rand::Rng as _;

use crate::engine::Standardizer;
use crate::engine::transport::standard_normal;
use crate::model::Dataset;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::worlds::Toy;

/// Where the flow starts, at t = 0.
///
/// The model works in the standard units of the *data* ([`Standardizer`]) and takes source rows there by the
/// same change of units. Lines are straight in those units: in the data's own too where the change is affine,
/// which it is for columns without heavy tails.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// N(0, I) in standard units: the data's own mean and variances, without their shape.
    Gaussian,
    /// A distribution with a known density, in the units of the data.
    Toy(Toy),
    /// Rows in the units of the data, each as likely: of a file, or drawn from any other model. They have no
    /// density, so neither has the flow.
    Rows(Arc<Dataset>),
}

impl Source {
    /// Columns of a row; `None` if as many as wanted.
    pub(in crate::diffusion) fn dim(&self) -> Option<usize> {
        match self {
            Source::Gaussian => None,
            Source::Toy(toy) => Some(toy.dim()),
            Source::Rows(rows) => Some(rows.dim()),
        }
    }

    /// Draws a row z: (d) in standard units.
    pub(in crate::diffusion) fn draw(&self, units: &Standardizer, rng: &mut Rng, z: &mut [f64]) {
        match self {
            Source::Gaussian => return z.fill_with(|| f64::normal(rng)),
            Source::Toy(toy) => toy.draw(rng, z),
            Source::Rows(rows) => {
                let (x, row) = (rows.x(), rng.random_range(0..rows.rows()));
                z.iter_mut().zip(x.row(row)).for_each(|(z, &x)| *z = x.into());
            }
        }
        units.standardize(z);
    }

    /// Whether it has a density.
    pub(in crate::diffusion) fn has_density(&self) -> bool {
        !matches!(self, Source::Rows(_))
    }

    /// ln p of a row z: (d) in standard units; `None` without a density.
    pub(in crate::diffusion) fn log_density(&self, units: &Standardizer, z: &[f64]) -> Option<f64> {
        match self {
            Source::Gaussian => Some(standard_normal(z)),
            Source::Toy(toy) => {
                let mut x = z.to_vec();
                units.restore(&mut x);
                Some(toy.log_density_at(&x) - units.log_det(&x))
            }
            Source::Rows(_) => None,
        }
    }
}
