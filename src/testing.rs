//! What the tests of several models share.

use ndarray::{Array1, Array2, s};

use crate::model::*;
use crate::numeric::Real;
use crate::numeric::quadrature::trapezoid;
use crate::numeric::rng::{Rng, seeded};
use crate::worlds::Toy;

/// Eight Gaussians N(·, 0.1² I) on a circle of radius 1; the class of a row is its mode.
pub(crate) struct Ring {
    pub x: Array2<f32>,
    pub classes: Array1<u32>,
}

impl Ring {
    pub const CLASSES: ConditionKind = ConditionKind::Class { classes: 8 };
    const SIGMA: f64 = 0.1;

    pub fn new(rows: usize, rng: &mut Rng) -> Self {
        let x = Toy::ring(8, 1.0, Self::SIGMA).unwrap().sample(rows, rng);
        Ring { classes: Self::nearest(&x), x }
    }

    /// The mode nearest to each row: of ten thousand rows one is nearer to another mode than its own.
    pub fn nearest(x: &Array2<f32>) -> Array1<u32> {
        let eighths = |x: f32, y: f32| f64::from(y).atan2(f64::from(x)) / std::f64::consts::FRAC_PI_4;
        x.rows().into_iter().map(|x| (eighths(x[0], x[1]).round() as i64).rem_euclid(8) as u32).collect()
    }

    pub fn data(&self) -> Dataset {
        Dataset::new(self.x.clone()).unwrap().with_condition(self.condition()).unwrap()
    }

    pub fn condition(&self) -> Condition {
        Condition::Class(self.classes.clone())
    }

    /// The mean of ln p(x|c) of the rows by the truth.
    pub fn truth(&self) -> f64 {
        let density = |(x, &class): (ndarray::ArrayView1<f32>, &u32)| {
            let (sin, cos) = (std::f64::consts::FRAC_PI_4 * f64::from(class)).sin_cos();
            ln_normal(x[0], cos, Self::SIGMA) + ln_normal(x[1], sin, Self::SIGMA)
        };
        self.x.rows().into_iter().zip(&self.classes).map(density).sum::<f64>() / self.x.nrows() as f64
    }
}

/// Rows x given c ~ N(0, 1): x₁ ~ N(sin 2c, 0.3²), xᵢ ~ N(c·xᵢ₋₁, 0.3²); and the mean of ln p(x|c).
pub(crate) fn wave(rows: usize, dim: usize, rng: &mut Rng) -> (Dataset, f64) {
    let c = Array2::from_shape_simple_fn((rows, 1), || f32::normal(rng));
    let (mut x, mut truth) = (Array2::zeros((rows, dim)), 0.0);
    for (mut x, &c) in x.rows_mut().into_iter().zip(&c) {
        let mut mean = (2.0 * c).sin();
        for x in &mut x {
            *x = mean + 0.3 * f32::normal(rng);
            truth += ln_normal(*x, f64::from(mean), 0.3) / rows as f64;
            mean = c * *x;
        }
    }
    (Dataset::new(x).unwrap().with_condition(Condition::Vector(c)).unwrap(), truth)
}

fn ln_normal(x: f32, mean: f64, sd: f64) -> f64 {
    -0.5 * ((f64::from(x) - mean) / sd).powi(2) - sd.ln() - 0.5 * std::f64::consts::TAU.ln()
}

/// The mean of ln p(x|c) over the rows of `data`.
pub(crate) fn mean_nats_given(model: &dyn Generative, data: &Dataset) -> f64 {
    let given = model.given(data.condition().unwrap()).unwrap();
    nats(given.as_ref(), &data.x().to_owned()).mean().unwrap()
}

fn nats(p: &dyn Distribution, x: &Array2<f32>) -> Array1<f64> {
    p.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap().nats().unwrap().clone()
}

/// ∫ p over a box, by the trapezoidal rule with spacing `h`.
pub(crate) fn integral(p: &dyn Distribution, lower: &[f64], upper: &[f64], h: f64) -> f64 {
    let mut points = Vec::new();
    trapezoid(lower, upper, h, |x| {
        points.extend(x.iter().map(|&x| x as f32));
        0.0
    });
    let points = Array2::from_shape_vec((points.len() / lower.len(), lower.len()), points).unwrap();
    let mut density = nats(p, &points).into_iter().map(f64::exp);
    trapezoid(lower, upper, h, |_| density.next().unwrap())
}

/// That one condition for all rows is that condition for each, and that a row with a condition of its own is drawn and
/// scored as if all rows had that one. `conditions`: a few that differ.
pub(crate) fn assert_each_row_has_its_condition(model: &dyn Generative, conditions: &Condition) {
    let (n, kinds, options) = (150, conditions.rows(), SampleOptions::default());
    let given = |rows: &[usize]| model.given(&conditions.select(rows)).unwrap();
    let draw = |p: &dyn Distribution| p.sample(n, &options, &mut seeded(5)).unwrap().x;
    let of_rows: Vec<usize> = (0..n).map(|row| row % kinds).collect();
    let mixed = given(&of_rows);
    let (drawn, scored) = (draw(mixed.as_ref()), nats(mixed.as_ref(), &draw(mixed.as_ref())));
    for kind in 0..kinds {
        let (one, repeated) = (given(&[kind]), given(&vec![kind; n]));
        let alone = draw(one.as_ref());
        assert_eq!(alone, draw(repeated.as_ref()), "one condition for all, and for each");
        let scores = nats(one.as_ref(), &drawn);
        assert_eq!(scores, nats(repeated.as_ref(), &drawn), "one condition for all, and for each");
        for row in 0..n {
            let same = row % kinds == kind;
            assert_eq!(drawn.row(row) == alone.row(row), same, "row {row} drawn under condition {kind}");
            let close = (scores[row] - scored[row]).abs() <= 1e-5 * (1.0 + scored[row].abs());
            assert_eq!(close, same, "row {row} scored under condition {kind}");
        }
        let row = drawn.slice(s![kind..=kind, ..]).to_owned();
        let by_itself = nats(one.as_ref(), &row)[0];
        assert!((by_itself - scored[kind]).abs() <= 1e-5 * (1.0 + by_itself.abs()), "{by_itself}");
    }
}

/// That numbers far from all that were trained still give a density, and rows.
pub(crate) fn assert_far_conditions_are_finite(model: &dyn Generative, x: &Array2<f32>) {
    for number in [1e6, -1e30, f32::MAX, f32::MIN] {
        let far = model.given(&Condition::vector(&[number])).unwrap();
        assert!(nats(far.as_ref(), x).iter().all(|nats| nats.is_finite()), "{number}");
        let drawn = far.sample(20, &SampleOptions::default(), &mut seeded(5)).unwrap().x;
        assert!(drawn.iter().all(|v| v.is_finite()), "{number}");
    }
}

/// That p(x) = Σ p(c) p(x|c), p(c) the shares of `classes`, the training's.
pub(crate) fn assert_classes_mix_by_their_shares(
    model: &dyn Generative,
    classes: &Array1<u32>,
    x: &Array2<f32>,
) {
    let count = classes.iter().max().unwrap() + 1;
    let parts = (0..count).map(|class| {
        let share = classes.iter().filter(|&&c| c == class).count() as f64 / classes.len() as f64;
        nats(model.given(&Condition::class(class)).unwrap().as_ref(), x).mapv(|nats| share * nats.exp())
    });
    let sum = parts.reduce(|sum, part| sum + part).unwrap().mapv(f64::ln);
    for (whole, sum) in nats(model, x).iter().zip(&sum) {
        assert!((whole - sum).abs() < 1e-9 * (1.0 + sum.abs()), "{whole}, by the classes {sum}");
    }
}
