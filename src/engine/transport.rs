//! Densities carried by an ordinary differential equation.
//!
//! Rows that move along dx/dt = v(x, t) carry their density with them. Along the path of a row, the density changes
//! only through the divergence of v (Chen et al. 2018, theorem 1):
//!
//! d ln p_t(x_t)/dt = −∇·v(x_t, t), so ln p(x_a) = ln p_b(x_b) + ∫ₐᵇ ∇·v dt.
//!
//! So a [`Velocity`] that carries data to a known density can score rows ([`log_density`]) and, run in the opposite
//! direction, draw them ([`flow`]). This holds for a diffusion's probability-flow ODE and for a continuous
//! normalizing flow alike.

use std::f64::consts::TAU;
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, ArrayView2};
use rand::Rng as _;

use super::tiles;
use crate::error::{Error, Result, TrainingError, check};
use crate::numeric::ode::{self, Method, Solver};
use crate::numeric::rng::Streams;

/// How the divergence of an ODE's drift was computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum TraceEstimator {
    /// The full trace of the Jacobian, one tangent per column.
    Exact,
    /// Hutchinson's estimator with this many probes per row.
    Hutchinson {
        /// Random probes per row. 1 to 4096.
        probes: usize,
    },
}

impl TraceEstimator {
    /// Checks a config's field, in which `None` leaves the choice to the number of columns.
    pub(crate) fn validate(estimator: Option<Self>, field: &'static str) -> Result<()> {
        let many = matches!(estimator, Some(TraceEstimator::Hutchinson { probes: 0 | 4097.. }));
        check(!many, field, estimator, "1 to 4096 probes")
    }
}

/// A velocity field v(x, t) of rows that each have their own time.
pub trait Velocity: Sync {
    /// Buffers that a thread keeps from call to call.
    type Scratch: Default;

    /// Columns d of a row.
    fn dim(&self) -> usize;

    /// Fills v: (m, d) at x: (m, d) and times t: (m), keeping in the scratch what
    /// [`divergence`](Velocity::divergence) needs. `rows` are the indices of the m rows among all rows, for a field
    /// that differs from row to row.
    fn velocity(&self, rows: &[usize], t: &[f64], x: &[f64], v: &mut [f64], scratch: &mut Self::Scratch);

    /// Fills ∇·v: (m). It is called right after [`velocity`](Velocity::velocity) with the same rows and times. A
    /// field that knows its divergence does not need `tangents`.
    fn divergence(
        &self,
        t: &[f64],
        x: &[f64],
        tangents: Tangents<'_>,
        divergence: &mut [f64],
        scratch: &mut Self::Scratch,
    );
}

/// Directions ẋ that give ∇·v = tr ∂v/∂x from products v̇ = (∂v/∂x) ẋ: a unit vector for each column, exactly;
/// or Hutchinson's mean of ⟨ẋ, v̇⟩ over random signs ẋ. The signs stay the same along a row's path, because a solver
/// needs a smooth right-hand side (Grathwohl et al. 2019, §3.1).
///
/// A field with tangents sums over them:
///
/// ```text
/// divergence.fill(0.0);
/// for k in 0..tangents.count() {
///     tangents.direction(k, &mut xdot);
///     vdot = …
///     tangents.add(&xdot, &vdot, divergence);
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Tangents<'a> {
    d: usize,
    method: TraceEstimator,
    rows: &'a [usize], // indices of the m rows in `signs`
    signs: &'a [f32],  // (n, probes, d)
}

impl Tangents<'_> {
    /// The number of directions.
    pub fn count(&self) -> usize {
        match self.method {
            TraceEstimator::Exact => self.d,
            TraceEstimator::Hutchinson { probes } => probes,
        }
    }

    /// Refills xdot: (m, d) with direction `k` of each row.
    pub fn direction(&self, k: usize, xdot: &mut Vec<f32>) {
        let d = self.d;
        xdot.clear();
        match self.method {
            TraceEstimator::Exact => {
                xdot.resize(self.rows.len() * d, 0.0);
                xdot[k..].iter_mut().step_by(d).for_each(|xdot| *xdot = 1.0);
            }
            TraceEstimator::Hutchinson { probes } => {
                for row in self.rows {
                    xdot.extend_from_slice(&self.signs[(row * probes + k) * d..][..d]);
                }
            }
        }
    }

    /// Adds a direction's part ⟨ẋ, v̇⟩ to each row's divergence: (m).
    pub fn add(&self, xdot: &[f32], vdot: &[f32], divergence: &mut [f64]) {
        let weight = match self.method {
            TraceEstimator::Exact => 1.0,
            TraceEstimator::Hutchinson { probes } => 1.0 / probes as f64,
        };
        let rows = xdot.chunks_exact(self.d).zip(vdot.chunks_exact(self.d));
        for (sum, (xdot, vdot)) in divergence.iter_mut().zip(rows) {
            let product: f32 = xdot.iter().zip(vdot).map(|(a, b)| a * b).sum();
            *sum += weight * f64::from(product);
        }
    }
}

/// Columns up to which [`divergence_for`] is exact, and the number of Hutchinson's probes above.
const EXACT_UP_TO: usize = 16;
const PROBES: usize = 4;

/// How the divergence of `dim` columns is computed by default: exactly up to 16 columns, above that with 4
/// Hutchinson probes.
pub(crate) fn divergence_for(dim: usize) -> TraceEstimator {
    match dim {
        ..=EXACT_UP_TO => TraceEstimator::Exact,
        _ => TraceEstimator::Hutchinson { probes: PROBES },
    }
}

/// Buffers that a thread keeps from call to call.
#[derive(Debug, Default)]
pub struct Scratch<S> {
    finite: Vec<usize>, // rows that are integrated
    rows: Vec<usize>,   // those in this call of the field
    signs: Vec<f32>,    // (n, probes, d)
    state: Vec<f64>,    // (n, d + 1)
    x: Vec<f64>,        // (m, d)
    v: Vec<f64>,        // (m, d)
    divergence: Vec<f64>,
    ode: ode::Scratch,
    field: S,
}

/// Carries the rows x: (n, d) along the field in place, in equal time steps from `span.0` to `span.1`. Returns the
/// evaluations spent on each row.
pub fn flow<V: Velocity>(
    field: &V,
    (method, steps): (Method, usize),
    span: (f64, f64),
    x: &mut [f64],
    scratch: &mut Scratch<V::Scratch>,
) -> usize {
    let Scratch { ode, field: kept, .. } = scratch;
    let slope = |rows: &[usize], t: &[f64], x: &[f64], v: &mut [f64]| field.velocity(rows, t, x, v, kept);
    ode::fixed(method, steps, span, field.dim(), x, ode, slope)
}

/// ln p of rows at time `span.0`, given the density ln p_b at time `span.1`: fills nats: (n) for x: (n, d). Returns
/// the largest number of evaluations spent on a row.
///
/// `divergence` says how a field that uses tangents computes ∇·v, with random signs keyed by `signs` and a row's
/// content. A row that is not finite gets −∞.
///
/// # Errors
/// [`TrainingError::NotConverged`] with the row's index, if the solver exhausts its budget.
pub fn log_density<V: Velocity>(
    field: &V,
    solver: Solver,
    span: (f64, f64),
    (divergence, signs): (TraceEstimator, Streams),
    x: &[f32],
    end: impl Fn(&[f64]) -> f64,
    nats: &mut [f64],
    scratch: &mut Scratch<V::Scratch>,
) -> Result<usize> {
    let d = field.dim();
    scratch.signs.clear();
    if let TraceEstimator::Hutchinson { probes } = divergence {
        for x in x.chunks_exact(d) {
            let mut rng = signs.of_row(x).stream(0);
            scratch.signs.extend((0..probes * d).map(|_| if rng.random() { 1.0 } else { -1.0 }));
        }
    }
    let Scratch { finite, rows, signs, state, x: at, v, divergence: div, ode, field: kept } = scratch;
    nats.fill(f64::NEG_INFINITY);
    finite.clear();
    state.clear();
    for (row, x) in x.chunks_exact(d).enumerate() {
        if x.iter().all(|x| x.is_finite()) {
            finite.push(row);
            state.extend(x.iter().map(|&x| f64::from(x)));
            state.push(0.0);
        }
    }
    // The state is (x, ∫ ∇·v dt).
    let slope = |places: &[usize], t: &[f64], y: &[f64], dy: &mut [f64]| {
        let n = places.len();
        rows.clear();
        rows.extend(places.iter().map(|&place| finite[place]));
        at.clear();
        y.chunks_exact(d + 1).for_each(|y| at.extend_from_slice(&y[..d]));
        v.resize(n * d, 0.0);
        div.resize(n, 0.0);
        field.velocity(rows, t, at, v, kept);
        let tangents = Tangents { d, method: divergence, rows, signs };
        field.divergence(t, at, tangents, div, kept);
        for ((dy, v), div) in dy.chunks_exact_mut(d + 1).zip(v.chunks_exact(d)).zip(&*div) {
            dy[..d].copy_from_slice(v);
            dy[d] = *div;
        }
    };
    let nfe = match ode::integrate(solver, span, d + 1, ode::BUDGET, state, ode, slope) {
        Err(Error::Training(TrainingError::NotConverged { what, budget, row })) => {
            return Err(Error::Training(TrainingError::NotConverged { what, budget, row: finite[row] }));
        }
        done => done?,
    };
    for (&row, y) in finite.iter().zip(state.chunks_exact(d + 1)) {
        nats[row] = y[d] + end(&y[..d]);
    }
    Ok(nfe)
}

/// [`log_density`] of the rows of x, (n, d), on all threads. `enter` takes the rows to the units of the field,
/// `field(first, n)` is the field of the n rows from `first` on, and `units` adds the ln |det| of the change of units
/// to each row's nats.
pub(crate) fn score<V: Velocity>(
    field: impl Fn(usize, usize) -> V + Sync,
    solver: Solver,
    span: (f64, f64),
    divergence: (TraceEstimator, Streams),
    x: ArrayView2<f32>,
    (enter, units): (impl Fn(&mut [f32]) + Sync, impl Fn(&[f32], &mut [f64]) + Sync),
    end: impl Fn(&[f64]) -> f64 + Sync,
) -> Result<(Array1<f64>, usize)> {
    let nfe = AtomicUsize::new(0);
    // Two tiles per block: the solver replaces finished rows by waiting ones.
    let nats =
        tiles::score_blocks(2 * tiles::TILE, x, |first, scratch: &mut (Vec<f32>, Scratch<_>), x, nats| {
            let (z, scratch) = scratch;
            z.clear();
            z.extend_from_slice(x);
            enter(z);
            let field = field(first, nats.len());
            match log_density(&field, solver, span, divergence, z, &end, nats, scratch) {
                Ok(spent) => nfe.fetch_max(spent, Ordering::Relaxed),
                Err(Error::Training(TrainingError::NotConverged { what, budget, row })) => {
                    return Err(Error::Training(TrainingError::NotConverged {
                        what,
                        budget,
                        row: first + row,
                    }));
                }
                Err(other) => return Err(other),
            };
            units(x, nats);
            Ok(())
        })?;
    Ok((nats, nfe.into_inner()))
}

/// ln N(x; 0, I).
pub fn standard_normal(x: &[f64]) -> f64 {
    -0.5 * x.iter().map(|x| x * x + TAU.ln()).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::Real;
    use crate::numeric::rng::seeded;

    /// x′ = A x + (t, 0), whose flow and divergence, tr A, are known.
    struct Linear {
        a: [f64; 4],
    }

    impl Velocity for Linear {
        type Scratch = Vec<f32>;

        fn dim(&self) -> usize {
            2
        }

        fn velocity(&self, _: &[usize], t: &[f64], x: &[f64], v: &mut [f64], _: &mut Vec<f32>) {
            let a = self.a;
            for ((t, x), v) in t.iter().zip(x.chunks_exact(2)).zip(v.chunks_exact_mut(2)) {
                (v[0], v[1]) = (a[0] * x[0] + a[1] * x[1] + t, a[2] * x[0] + a[3] * x[1]);
            }
        }

        fn divergence(
            &self,
            _: &[f64],
            _: &[f64],
            tangents: Tangents<'_>,
            divergence: &mut [f64],
            xdot: &mut Vec<f32>,
        ) {
            let a = self.a.map(|a| a as f32);
            divergence.fill(0.0);
            for k in 0..tangents.count() {
                tangents.direction(k, xdot);
                let product = |x: &[f32]| [a[0] * x[0] + a[1] * x[1], a[2] * x[0] + a[3] * x[1]];
                let vdot: Vec<f32> = xdot.chunks_exact(2).flat_map(product).collect();
                tangents.add(xdot, &vdot, divergence);
            }
        }
    }

    const SOLVER: Solver = Solver::DormandPrince { rtol: 1e-9, atol: 1e-9 };

    fn rows(n: usize) -> Vec<f32> {
        let mut rng = seeded(3);
        (0..2 * n).map(|_| f32::normal(&mut rng)).collect()
    }

    fn nats(field: &Linear, method: TraceEstimator, seed: u64, x: &[f32]) -> Vec<f64> {
        let mut nats = vec![f64::NAN; x.len() / 2];
        let signs = (method, Streams::new(seed));
        let span = (0.0, 1.5);
        log_density(field, SOLVER, span, signs, x, standard_normal, &mut nats, &mut Scratch::default())
            .unwrap();
        nats
    }

    #[test]
    fn a_density_is_carried_and_flows_back() {
        let (field, x) = (Linear { a: [0.3, -0.8, 0.5, -0.1] }, rows(130));
        let exact = nats(&field, TraceEstimator::Exact, 0, &x);
        // The rows carried to the end, where the density is known, by another method.
        let (mut there, mut scratch) =
            (x.iter().map(|&x| x.into()).collect::<Vec<f64>>(), Scratch::default());
        assert_eq!(flow(&field, (Method::Rk4, 200), (0.0, 1.5), &mut there, &mut scratch), 800);
        for (end, nats) in there.chunks_exact(2).zip(&exact) {
            let want = standard_normal(end) + 1.5 * (0.3f32 - 0.1f32) as f64;
            assert!((want - nats).abs() < 1e-6, "{nats}, expected {want}");
        }
        flow(&field, (Method::Rk4, 200), (1.5, 0.0), &mut there, &mut scratch);
        assert!(there.iter().zip(&x).all(|(back, &x)| (back - f64::from(x)).abs() < 1e-8));
    }

    #[test]
    fn probes_are_keyed_by_seed_and_content_and_right_on_average() {
        let (field, x) = (Linear { a: [0.3, -0.8, 0.5, -0.1] }, rows(400));
        let method = TraceEstimator::Hutchinson { probes: 3 };
        let (first, second) = (nats(&field, method, 0, &x), nats(&field, method, 1, &x));
        assert_ne!(first, second);
        assert_eq!(nats(&field, method, 0, &x[200..]), first[100..]);
        // ⟨v, A v⟩ = tr A ± (a₁₂ + a₂₁) over signs v: sd 1.5·0.3/√3 = 0.26 for a row's estimate.
        let exact = nats(&field, TraceEstimator::Exact, 0, &x);
        let bias = first.iter().zip(&exact).map(|(a, b)| a - b).sum::<f64>() / 400.0;
        assert!(bias.abs() < 4.0 * 0.26 / 20.0, "{bias}");
    }

    #[test]
    fn scores_of_an_array_are_those_of_its_rows() {
        let (field, x) = (Linear { a: [0.3, -0.8, 0.5, -0.1] }, rows(300));
        let array = ArrayView2::from_shape((300, 2), &x).unwrap();
        let divergence = (TraceEstimator::Exact, Streams::new(0));
        let double = |z: &mut [f32]| z.iter_mut().for_each(|z| *z *= 2.0);
        let (all, nfe) = score(
            |_, _| Linear { a: field.a },
            SOLVER,
            (0.0, 1.5),
            divergence,
            array,
            (double, |_, _| {}),
            standard_normal,
        )
        .unwrap();
        let twice: Vec<f32> = x.iter().map(|x| 2.0 * x).collect();
        assert_eq!(all.to_vec(), nats(&field, TraceEstimator::Exact, 0, &twice));
        assert!(nfe > 7);
    }

    #[test]
    fn far_rows_have_a_density_and_a_lost_row_is_named() {
        let shifts = Linear { a: [0.0; 4] };
        let far = [0.0, 1.0, 150.0, 0.0, 2e6, 0.0, -1e30, 1.0, f32::NAN, 0.0, 0.0, f32::INFINITY];
        let nats = nats(&shifts, TraceEstimator::Exact, 0, &far);
        // The first coordinate is carried by ½ 1.5².
        for (nats, x) in nats.iter().zip(far.chunks_exact(2)).take(4) {
            let end = [f64::from(x[0]) + 1.125, x[1].into()];
            assert!((nats / standard_normal(&end) - 1.0).abs() < 1e-8, "{nats} at {x:?}");
        }
        assert_eq!(nats[4..], [f64::NEG_INFINITY; 2]);
        // NaN at every point, so no step is ever accepted. Row 0 is not tried.
        let broken = Linear { a: [f64::NAN; 4] };
        let divergence = (TraceEstimator::Exact, Streams::new(0));
        let lost = score(
            |_, _| Linear { a: broken.a },
            SOLVER,
            (0.0, 1.0),
            divergence,
            ArrayView2::from_shape((2, 2), &[f32::NAN, 0.0, 1.0, 1.0]).unwrap(),
            (|_| {}, |_, _| {}),
            standard_normal,
        );
        assert!(matches!(lost, Err(Error::Training(TrainingError::NotConverged { row: 1, .. }))), "{lost:?}");
    }

    #[test]
    fn wide_rows_are_probed() {
        assert_eq!([1, 16].map(divergence_for), [TraceEstimator::Exact; 2]);
        assert_eq!(divergence_for(17), TraceEstimator::Hutchinson { probes: 4 });
    }
}
