//! What the tests of several models share: numbers, the gradient check of every loss, worlds with conditions, and
//! integrals.

use ndarray::{Array1, Array2, s};

use crate::engine::{Batch, Loss, Progress};
use crate::model::*;
use crate::nn::{Activation, NetworkSpec, Weights};
use crate::numeric::Real;
use crate::numeric::quadrature::trapezoid;
use crate::numeric::rng::{Rng, seeded};
use crate::worlds::Toy;

/// A small residual network.
pub(crate) fn residual() -> NetworkSpec {
    NetworkSpec::Residual { width: 6, blocks: 2, activation: Activation::Silu, octaves: 1 }
}

pub(crate) fn normals<F: Real>(n: usize, rng: &mut Rng) -> Vec<F> {
    (0..n).map(|_| F::normal(rng)).collect()
}

/// Numbers that a golden script in another language makes, too: scale · sin(1.7 i + phase), i = 1 … n.
pub(crate) fn sines(n: usize, phase: f64, scale: f64) -> Vec<f64> {
    (1..=n).map(|i| scale * (1.7 * i as f64 + phase).sin()).collect()
}

pub(crate) fn assert_close(what: &str, tolerance: f64, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{what}");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() <= tolerance * (1.0 + want.abs()), "{what}[{i}]: {got}, expected {want}");
    }
}

/// ∂f/∂v, coordinate by coordinate.
pub(crate) fn differences(v: &[f64], mut f: impl FnMut(&[f64]) -> f64) -> Vec<f64> {
    let mut v = v.to_vec();
    (0..v.len()).map(|i| difference(&mut v, i, 1e-5, &mut f)).collect()
}

/// ∂f/∂vᵢ by central differences of fourth order, which a far row's strongly bent loss needs.
fn difference(v: &mut [f64], i: usize, h: f64, f: &mut impl FnMut(&[f64]) -> f64) -> f64 {
    let here = v[i];
    let mut at = |by: f64| {
        v[i] = here + by;
        f(v)
    };
    let (near, wide) = (at(h) - at(-h), at(2.0 * h) - at(-2.0 * h));
    v[i] = here;
    (8.0 * near - wide) / (12.0 * h)
}

/// Where trainings are in [`check_gradient`]: a warm-up may be on its way.
pub(crate) const PROGRESS: Progress = Progress { step: 30, steps: 100 };

/// What a loss gives for the rows of a check.
pub(crate) struct Checked {
    pub loss: f64,
    pub parts: Vec<f64>,
    /// ∂loss/∂p
    pub dp: Vec<f64>,
}

/// Holds the gradient of a loss against differences of the loss at p, on a batch of `rows` rows with what is drawn for
/// them held fixed. Buffers dirty from a larger batch must not matter, gradients must add up, and the loss must be
/// the same where no gradient is asked for, but for a part that only shapes the training: a critic's penalty.
///
/// Parameters that are `closed` have a gradient of exactly 0, whatever the loss would do.
pub(crate) fn check_gradient<L: Loss<f64>>(
    what: &str,
    loss: &L,
    p: &[f64],
    rows: usize,
    batch: Batch<f64, L::Row>,
    closed: impl Fn(usize) -> bool,
) -> Checked {
    let (mut t, mut workspace, weight) = (vec![f64::NAN; p.len()], L::Workspace::default(), 0.7);
    let mut evaluate = |p: &[f64], batch: Batch<f64, L::Row>, drawn: &L::Drawn, dp: Option<&mut [f64]>| {
        let (weight, t) = match dp {
            Some(_) => {
                loss.transpose(p, &mut t);
                (weight, &t[..])
            }
            None => (0.0, &[][..]),
        };
        let mut parts = vec![0.0; loss.part_names().len()];
        let total = loss.loss_grad(Weights { p, t }, batch, drawn, weight, dp, &mut parts, &mut workspace);
        (total, parts)
    };
    let (mut drawn, mut dp) = (L::Drawn::default(), vec![0.0; p.len()]);
    let (x, c) = ([batch.x, batch.x].concat(), [batch.c, batch.c].concat());
    loss.draw(2 * rows, &c, PROGRESS, &mut seeded(4), &mut drawn);
    evaluate(p, Batch { x: &x, c: &c }, &drawn, Some(&mut dp));
    dp.fill(0.0);
    loss.draw(rows, batch.c, PROGRESS, &mut seeded(5), &mut drawn);
    let (total, parts) = evaluate(p, batch, &drawn, Some(&mut dp));
    let mut doubled = dp.clone();
    evaluate(p, batch, &drawn, Some(&mut doubled));
    let twice: Vec<f64> = dp.iter().map(|dp| 2.0 * dp).collect();
    assert_close(&format!("{what}, dp of two calls"), 1e-12, &doubled, &twice);
    let (again, _) = evaluate(p, batch, &drawn, None);
    let same = |left_out: f64| (again - total + left_out).abs() <= 1e-12 * (1.0 + total.abs());
    let mut named = parts.iter().zip(loss.part_names());
    let agrees = same(0.0) || named.any(|(&part, name)| *name == "penalty" && same(part));
    assert!(agrees, "{what}: {total} of parts {parts:?}, without dp {again}");

    // Without a gradient, a loss that is whole costs a fraction.
    let (whole, mut unused) = (same(0.0), vec![0.0; p.len()]);
    let mut loss_at = |p: &[f64]| {
        let dp = if whole { None } else { Some(&mut unused[..]) };
        weight * evaluate(p, batch, &drawn, dp).0
    };
    let mut moved = p.to_vec();
    // A longer step may cross a kink, as beside the knot of a spline.
    let mut slope = |i: usize| {
        let mut slope = f64::NAN;
        for h in [1e-5, 1e-6, 1e-7] {
            slope = difference(&mut moved, i, h, &mut loss_at);
            if (slope - dp[i]).abs() <= 1e-6 * (1.0 + slope.abs()) {
                break;
            }
        }
        slope
    };
    let want: Vec<f64> = (0..p.len()).map(|i| if closed(i) { 0.0 } else { slope(i) }).collect();
    assert!((0..p.len()).all(|i| !closed(i) || dp[i] == 0.0), "{what}: {dp:?}");
    assert_close(&format!("{what}, dp"), 1e-6, &dp, &want);
    Checked { loss: total, parts, dp: dp.iter().map(|dp| dp / weight).collect() }
}

/// A loss and its gradient at p, with fresh buffers.
pub(crate) fn loss_grad<L: Loss<f64>>(
    loss: &L,
    p: &[f64],
    batch: Batch<f64, L::Row>,
    drawn: &L::Drawn,
) -> (f64, Vec<f64>) {
    let (mut t, mut dp) = (vec![f64::NAN; p.len()], vec![0.0; p.len()]);
    loss.transpose(p, &mut t);
    let (mut parts, mut workspace) = (vec![0.0; loss.part_names().len()], L::Workspace::default());
    let w = Weights { p, t: &t };
    let total = loss.loss_grad(w, batch, drawn, 1.0, Some(&mut dp), &mut parts, &mut workspace);
    (total, dp)
}

/// A loss and its gradient by an independent automatic differentiation: from the scripts in `tests/golden`.
#[derive(serde::Deserialize)]
pub(crate) struct Golden {
    loss: f64,
    dp: Vec<f64>,
}

impl Golden {
    /// That `loss` agrees, at the parameters of the scripts.
    pub fn compare<L: Loss<f64>>(&self, what: &str, loss: &L, x: &[L::Row], drawn: &L::Drawn) {
        let p = sines(self.dp.len(), 0.3, 0.6);
        let (got, dp) = loss_grad(loss, &p, Batch::of(x), drawn);
        assert_close(&format!("{what}, loss"), 1e-10, &[got], &[self.loss]);
        assert_close(&format!("{what}, dp"), 1e-10, &dp, &self.dp);
    }
}

/// Two moons.
pub(crate) fn moons(n: usize, seed: u64) -> Dataset {
    Dataset::new(Toy::moons(0.1).unwrap().sample(n, &mut seeded(seed))).unwrap()
}

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
        let same = |row: usize| drawn.row(row) == alone.row(row);
        let close = |row: usize| (scores[row] - scored[row]).abs() <= 1e-5 * (1.0 + scored[row].abs());
        let (own, others): (Vec<usize>, Vec<usize>) = (0..n).partition(|row| row % kinds == kind);
        assert!(own.iter().all(|&row| same(row) && close(row)), "rows under condition {kind}");
        // By chance a row may be the same under another.
        let alike = others.iter().filter(|&&row| same(row) || close(row)).count();
        assert!(alike < others.len() / 2, "{alike} of {} rows do not feel their condition", others.len());
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
