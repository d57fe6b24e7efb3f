use std::fmt;

use super::{Covariance, GaussianMixture};

/// A component that says little of the distribution: it rests on too few rows, or has collapsed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct DegenerateComponent {
    /// Its number, as in [`weights`](GaussianMixture::weights), from 0.
    pub component: usize,
    /// w of p(x).
    pub weight: f64,
    /// The training rows it rests on, w times their number, if that is known.
    pub rows: Option<f64>,
    /// The smallest standard deviation of a column given all others, as a share of the column's over p(x).
    pub smallest_sd: f64,
    /// The column that has it.
    pub column: usize,
    /// Whether that is at the floor, [`reg_covar`](super::GaussianMixtureConfig::reg_covar).
    pub collapsed: bool,
}

/// A standard deviation in some direction below this many times the floor's is one that has collapsed. Along a unit
/// vector v of small spread s, a column given the others has s/|vᵢ|, at most √d s for one of them.
const FLOORS: f64 = 2.0;

impl fmt::Display for DegenerateComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "component {} of weight {:.2e}", self.component, self.weight)?;
        if let Some(rows) = self.rows {
            write!(f, " rests on {rows:.1} rows")?;
        }
        if self.collapsed {
            let Self { smallest_sd, column, .. } = self;
            let and = if self.rows.is_some() { " and" } else { "" };
            write!(f, "{and} has collapsed: {smallest_sd:.1e} of the standard deviation of column {column}")?;
        }
        Ok(())
    }
}

impl GaussianMixture {
    /// The components that rest on fewer rows than their covariance takes, or whose standard deviation in some
    /// direction is at the floor. None are sought by [`ComponentCount::Bic`](super::ComponentCount::Bic), but a fixed
    /// number of components, repeated rows or columns that determine each other make them.
    ///
    /// A covariance takes as many rows as it has columns and one more, a diagonal one and the mean alone 2. How many
    /// rows there were is not known of given parameters.
    ///
    /// ```
    /// use quadrivium::{baseline::ComponentCount, ndarray::Array2, *};
    ///
    /// // Half of the rows are one row.
    /// let x = Array2::from_shape_fn((200, 2), |(r, c)| if r < 100 { 3.0 } else { (r * (c + 7)) as f32 % 2.0 - c as f32 / 3.0 });
    /// let config = GaussianMixtureConfig { components: ComponentCount::Fixed(2), shrinkage: 0.0, ..Default::default() };
    /// let mut model = GaussianMixture::new(config)?;
    /// model.fit(&Dataset::new(x)?, &mut quadrivium::seeded(0))?;
    /// assert!(model.degenerate().iter().any(|component| component.collapsed));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn degenerate(&self) -> Vec<DegenerateComponent> {
        let (gaussians, d) = (&self.marginal, self.config.dim);
        let mean = |i: usize| gaussians.weights.dot(&gaussians.means.column(i));
        let second = |i: usize| -> f64 {
            let of = |(k, w): (usize, &f64)| {
                w * (gaussians.covariances[[k, i, i]] + gaussians.means[[k, i]].powi(2))
            };
            gaussians.weights.iter().enumerate().map(of).sum()
        };
        let scale: Vec<f64> = (0..d).map(|i| (second(i) - mean(i).powi(2)).sqrt()).collect();
        let least = self.parts.iter().flat_map(|part| {
            let least = match part.family {
                Covariance::Best | Covariance::Full => part.gaussians.dim() + 1,
                Covariance::Tied | Covariance::Diagonal | Covariance::Spherical => 2,
            };
            std::iter::repeat_n(least as f64, part.gaussians.len())
        });
        let found = least.enumerate().map(|(component, least)| {
            // (Σ⁻¹)ᵢᵢ, of which the inverse is the variance given the others: Σ⁻¹ = WᵀW, W = L⁻¹.
            let precision =
                |i: usize| gaussians.whiten[component][i..].iter().step_by(d).map(|w| w * w).sum::<f64>();
            let sd = |i: usize| 1.0 / (precision(i).sqrt() * scale[i]);
            let column = (0..d).min_by(|&a, &b| sd(a).total_cmp(&sd(b))).expect("at least one column");
            let weight = gaussians.weights[component];
            let rows = self.rows.map(|rows| weight * rows as f64);
            let collapsed = sd(column) < FLOORS * (d as f64 * self.config.reg_covar).sqrt();
            let found =
                DegenerateComponent { component, weight, rows, smallest_sd: sd(column), column, collapsed };
            (collapsed || rows.is_some_and(|rows| rows < least)).then_some(found)
        });
        found.flatten().collect()
    }
}
