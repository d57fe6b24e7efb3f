//! Five divergences between a model and the truth of two columns, on a grid.

use quadrivium::ndarray::{Array1, Array2, ArrayView2};
use quadrivium::numeric::assignment::Assignment;
use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Of the truth p and the model q, in the order of [`Microscope::measure`].
pub const NAMES: [&str; 5] = ["KL(p‖q)", "KL(q‖p)", "Jensen–Shannon", "Wasserstein-1", "Fisher"];

/// Where each stands.
pub const FORWARD_KL: usize = 0;
pub const JENSEN_SHANNON: usize = 2;
pub const WASSERSTEIN: usize = 3;
pub const FISHER: usize = 4;

/// Points along a side of the grid, and where it ends on both axes.
const SIDE: usize = 80;
const END: f64 = 6.0;
const STEP: f64 = 2.0 * END / (SIDE - 1) as f64;

/// The ring: modes, radius, and the standard deviation of a mode.
const RING: (usize, f64, f64) = (8, 2.8, 0.35);

/// The width of the kernels by which draws without a density are blurred, and with them the truth beside them.
const BLUR: f64 = 0.2;

/// Draws behind a density of draws.
const DRAWS: usize = 20_000;

/// Rows on either side of an exact assignment.
const MATCHED: usize = 800;

/// ln 1e-300: what no kernel reaches.
const NOWHERE: f64 = -690.0;

/// The truth, and its density on the grid.
pub struct Microscope {
    pub truth: Toy,
    points: Array2<f32>,
    /// ln p on the grid, and ln p blurred.
    sharp: Array1<f64>,
    blurred: Array1<f64>,
    rows: Array2<f32>,
}

impl Microscope {
    pub fn new(streams: Streams) -> Outcome<Self> {
        let (modes, radius, sigma) = RING;
        let truth = Toy::ring(modes, radius, sigma)?;
        let at = |k: usize| (k as f64 * STEP - END) as f32;
        let points = Array2::from_shape_fn((SIDE * SIDE, 2), |(k, column)| {
            at(if column == 0 { k / SIDE } else { k % SIDE })
        });
        let blurred = Toy::ring(modes, radius, sigma.hypot(BLUR))?.log_density(points.view())?;
        let rows = truth.sample(MATCHED, &mut streams.stream(0));
        Ok(Microscope { sharp: truth.log_density(points.view())?, points, blurred, rows, truth })
    }

    /// By the density of the model, or where it has none by that of its draws, both it and the truth blurred. The
    /// Wasserstein distance is by an exact assignment of draws to true rows.
    pub fn measure(&self, model: &dyn Distribution, streams: Streams) -> Outcome<[f64; 5]> {
        let score = model.log_likelihood(self.points.view(), &LikelihoodOptions::default())?;
        let (p, q) = match score.nats() {
            Some(nats) => (&self.sharp, nats.mapv(|nats| nats.max(NOWHERE))),
            None => (&self.blurred, density_of_draws(model.draw(DRAWS, &mut streams.stream(0))?.view())),
        };
        let cell = STEP * STEP;
        let (mut forward, mut backward, mut shannon, mut mass) = (0.0, 0.0, 0.0, 0.0);
        for (&p, &q) in p.iter().zip(&q) {
            let middle = p.max(q) + (0.5 * ((p - p.max(q)).exp() + (q - p.max(q)).exp())).ln();
            forward += cell * p.exp() * (p - q);
            backward += cell * q.exp() * (q - p);
            shannon += 0.5 * cell * (p.exp() * (p - middle) + q.exp() * (q - middle));
            mass += cell * q.exp();
        }
        // What the model has beyond the grid, where the truth has nothing.
        shannon += 0.5 * (1.0 - mass).max(0.0) * std::f64::consts::LN_2;
        let drawn = model.draw(MATCHED, &mut streams.stream(1))?;
        Ok([forward, backward, shannon, assigned(drawn.view(), self.rows.view()), fisher(p, &q)])
    }

    /// The Wasserstein distance of a perfect sampler.
    pub fn floor(&self, streams: Streams) -> f64 {
        assigned(self.truth.sample(MATCHED, &mut streams.stream(2)).view(), self.rows.view())
    }
}

/// E_p ‖∇ ln p − ∇ ln q‖², by central differences.
fn fisher(p: &Array1<f64>, q: &Array1<f64>) -> f64 {
    let mut sum = 0.0;
    for k in (1..SIDE - 1).flat_map(|row| (1..SIDE - 1).map(move |column| row * SIDE + column)) {
        let apart = |step: usize| {
            let slope = |nats: &Array1<f64>| (nats[k + step] - nats[k - step]) / (2.0 * STEP);
            slope(p) - slope(q)
        };
        sum += STEP * STEP * p[k].exp() * (apart(1).powi(2) + apart(SIDE).powi(2));
    }
    sum
}

/// ln of the mean of Gaussian kernels at the draws. A kernel is a product of its two columns.
fn density_of_draws(x: ArrayView2<f32>) -> Array1<f64> {
    let mut density = vec![0.0; SIDE * SIDE];
    let along = |x: f32| -> Vec<f64> {
        let away = |k: usize| (k as f64 * STEP - END - f64::from(x)) / BLUR;
        (0..SIDE).map(|k| (-0.5 * away(k) * away(k)).exp()).collect()
    };
    for row in x.rows() {
        let (down, across) = (along(row[0]), along(row[1]));
        for (line, down) in density.chunks_exact_mut(SIDE).zip(down) {
            line.iter_mut().zip(&across).for_each(|(density, across)| *density += down * across);
        }
    }
    let total = std::f64::consts::TAU * BLUR * BLUR * x.nrows() as f64;
    density.into_iter().map(|density| (density / total).ln().max(NOWHERE)).collect()
}

/// The mean length of the best assignment.
fn assigned(x: ArrayView2<f32>, y: ArrayView2<f32>) -> f64 {
    let length =
        |i: usize, j: usize| f64::from(x[[i, 0]] - y[[j, 0]]).hypot(f64::from(x[[i, 1]] - y[[j, 1]]));
    let mut assignment = Assignment::default();
    let columns = assignment.solve(x.nrows(), |i, costs| {
        costs.iter_mut().enumerate().for_each(|(j, cost)| *cost = length(i, j));
    });
    columns.iter().enumerate().map(|(i, &j)| length(i, j)).sum::<f64>() / x.nrows() as f64
}
