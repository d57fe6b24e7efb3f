//! Ordinary differential equations y′ = f(t, y) for many independent rows at once.
//!
//! All rows share the function, so one call evaluates it for a full tile of rows. But each row has its own time, step
//! size and error, and a finished row is replaced by a waiting one. So a row's result does not depend on its
//! neighbors, and the function is called on full tiles even if some rows are harder than others.

use super::TILE;
use crate::error::{Error, Result, TrainingError, check};

/// How steps are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Solver {
    /// The embedded pair of order 5(4) with step-size control (Dormand & Prince 1980).
    ///
    /// A step is accepted if √(mean_i (error_i / (atol + rtol·|y_i|))²) ≤ 1.
    DormandPrince {
        /// Relative tolerance. More than 0.
        rtol: f64,
        /// Absolute tolerance. More than 0.
        atol: f64,
    },
    /// Equal steps, without error control.
    Fixed {
        /// The method of each step.
        method: Method,
        /// Number of steps. 1 to 1,000,000.
        steps: usize,
    },
}

/// One step of an explicit method of Runge and Kutta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Method {
    /// y + h f(t, y): order 1, one evaluation.
    Euler,
    /// The trapezoid over the slopes at both ends, the far one by Euler: order 2, two evaluations.
    Heun,
    /// The classical method: order 4, four evaluations.
    Rk4,
}

impl Method {
    /// For each stage, the share of the step at which its slope is evaluated, using the previous slope, and the
    /// weight of the slope in the step.
    pub(crate) fn stages(self) -> &'static [(f64, f64)] {
        match self {
            Method::Euler => &[(0.0, 1.0)],
            Method::Heun => &[(0.0, 0.5), (1.0, 0.5)],
            Method::Rk4 => &[(0.0, 1.0 / 6.0), (0.5, 1.0 / 3.0), (0.5, 1.0 / 3.0), (1.0, 1.0 / 6.0)],
        }
    }

    /// Evaluations of f in one step.
    pub fn evaluations(self) -> usize {
        self.stages().len()
    }

    /// The times of all evaluations in equal steps.
    pub(crate) fn times(self, steps: usize, (start, end): (f64, f64)) -> impl Iterator<Item = f64> {
        (0..steps).flat_map(move |step| {
            self.stages()
                .iter()
                .map(move |(share, _)| start + (step as f64 + share) * ((end - start) / steps as f64))
        })
    }
}

impl Solver {
    /// # Errors
    /// [`Error::Config`] naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        match *self {
            Solver::DormandPrince { rtol, atol } => {
                let positive = |v: f64| v > 0.0 && v.is_finite();
                check(positive(rtol), "Solver::DormandPrince::rtol", rtol, "more than 0, finite")?;
                check(positive(atol), "Solver::DormandPrince::atol", atol, "more than 0, finite")
            }
            Solver::Fixed { steps, .. } => {
                check((1..=MOST_STEPS).contains(&steps), "Solver::Fixed::steps", steps, "1 to 1,000,000")
            }
        }
    }

    /// The relative tolerance; ∞ without error control.
    pub fn rtol(&self) -> f64 {
        match *self {
            Solver::DormandPrince { rtol, .. } => rtol,
            Solver::Fixed { .. } => f64::INFINITY,
        }
    }
}

/// The most steps of a fixed solver.
const MOST_STEPS: usize = 1_000_000;

/// Evaluations of f that an adaptive solver may spend on a row.
pub const BUDGET: usize = 20_000;

/// Buffers, kept from call to call.
#[derive(Debug, Default)]
pub struct Scratch {
    active: Vec<Row>,
    rows: Vec<usize>, // of the active: (m)
    t: Vec<f64>,      // of a stage: (m)
    y: Vec<f64>,      // (m, dim)
    at: Vec<f64>,     // of a stage: (m, dim)
    k: [Vec<f64>; 7], // slopes: (m, dim) each
}

/// A row that is being integrated.
#[derive(Debug, Clone, Copy)]
struct Row {
    row: usize,
    t: f64,
    h: f64,
    nfe: usize,
}

/// Integrates each row of y, (rows, dim), from `span.0` to `span.1` in place. Returns the largest number of
/// evaluations that a row took.
///
/// `f(rows, t, y, dy)` fills dy: (m, dim) for the m rows whose indices in the batch are `rows`, each at its own t.
///
/// # Errors
/// [`TrainingError::NotConverged`] for a row whose adaptive steps need more than `budget` evaluations.
///
/// ```
/// use quadrivium::numeric::ode::{BUDGET, Scratch, Solver, integrate};
/// // y′ = −y from 1 and from 2, over one unit of time.
/// let mut y = [1.0, 2.0];
/// let solver = Solver::DormandPrince { rtol: 1e-8, atol: 1e-10 };
/// integrate(solver, (0.0, 1.0), 1, BUDGET, &mut y, &mut Scratch::default(), |_, _, y, dy| {
///     dy.iter_mut().zip(y).for_each(|(dy, y)| *dy = -y);
/// })?;
/// assert!((y[0] - (-1f64).exp()).abs() < 1e-8 && (y[1] - 2.0 * y[0]).abs() < 1e-7);
/// # Ok::<(), quadrivium::Error>(())
/// ```
pub fn integrate(
    solver: Solver,
    span: (f64, f64),
    dim: usize,
    budget: usize,
    y: &mut [f64],
    scratch: &mut Scratch,
    f: impl FnMut(&[usize], &[f64], &[f64], &mut [f64]),
) -> Result<usize> {
    match solver {
        Solver::DormandPrince { rtol, atol } => dormand_prince(rtol, atol, span, dim, budget, y, scratch, f),
        Solver::Fixed { method, steps } => Ok(fixed(method, steps, span, dim, y, scratch, f)),
    }
}

// The nodes c, the rows a of the tableau (the last is the solution of order 5, so the seventh slope is the
// next step's first), and e, order 5 less order 4.
const C: [f64; 7] = [0.0, 1.0 / 5.0, 3.0 / 10.0, 4.0 / 5.0, 8.0 / 9.0, 1.0, 1.0];
const A: [&[f64]; 7] = [
    &[],
    &[1.0 / 5.0],
    &[3.0 / 40.0, 9.0 / 40.0],
    &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
    &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
    &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
];
const E: [f64; 7] =
    [71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339200.0, 22.0 / 525.0, -1.0 / 40.0];

fn dormand_prince(
    rtol: f64,
    atol: f64,
    (start, end): (f64, f64),
    dim: usize,
    budget: usize,
    out: &mut [f64],
    s: &mut Scratch,
    mut f: impl FnMut(&[usize], &[f64], &[f64], &mut [f64]),
) -> Result<usize> {
    let (waiting, span) = (out.len() / dim, end - start);
    let (mut next, mut most) = (0, 0);
    s.active.clear();
    for buffer in s.k.iter_mut().chain([&mut s.y, &mut s.at]) {
        buffer.resize(TILE * dim, 0.0);
    }
    loop {
        // Waiting rows take the free places; their first slopes are the one evaluation that the others need
        // not.
        let old = s.active.len();
        while s.active.len() < TILE && next < waiting {
            let slot = s.active.len() * dim;
            s.y[slot..slot + dim].copy_from_slice(&out[next * dim..(next + 1) * dim]);
            s.active.push(Row { row: next, t: start, h: 0.0, nfe: 1 });
            next += 1;
        }
        let m = s.active.len();
        if m == 0 {
            return Ok(most);
        }
        s.rows.clear();
        s.rows.extend(s.active.iter().map(|row| row.row));
        if m > old {
            s.t.clear();
            s.t.resize(m - old, start);
            f(&s.rows[old..], &s.t, &s.y[old * dim..m * dim], &mut s.k[0][old * dim..m * dim]);
            for i in old..m {
                let (y, k) = (&s.y[i * dim..(i + 1) * dim], &s.k[0][i * dim..(i + 1) * dim]);
                // A hundredth of the time in which y would change by its own size (Hairer et al. 1993, II.4).
                let scale = |y: f64| atol + rtol * y.abs();
                let norm = |v: &[f64]| rms(v.iter().zip(y).map(|(v, &y)| v / scale(y)));
                let (size, slope) = (norm(y), norm(k));
                // What does not change may cross at once.
                let h = if slope == 0.0 { span.abs() } else { 0.01 * size / slope };
                let least = 1e-6 * span.abs();
                s.active[i].h = if h.is_nan() { least } else { h.clamp(least, span.abs()) } * span.signum();
            }
        }

        for stage in 1..7 {
            let (known, rest) = s.k.split_at_mut(stage);
            s.t.clear();
            for (i, row) in s.active.iter().enumerate() {
                s.t.push(row.t + C[stage] * row.h);
                for j in i * dim..(i + 1) * dim {
                    let slope: f64 = A[stage].iter().zip(&*known).map(|(a, k)| a * k[j]).sum();
                    s.at[j] = s.y[j] + row.h * slope;
                }
            }
            f(&s.rows, &s.t, &s.at[..m * dim], &mut rest[0][..m * dim]);
        }

        // From the last place to the first, so that the row which fills a gap has been dealt with.
        for i in (0..m).rev() {
            let (row, here) = (&mut s.active[i], i * dim..(i + 1) * dim);
            row.nfe += 6;
            let error = rms(here.clone().map(|j| {
                let error: f64 = E.iter().zip(&s.k).map(|(e, k)| e * k[j]).sum();
                row.h * error / (atol + rtol * s.y[j].abs().max(s.at[j].abs()))
            }));
            let accepted = error <= 1.0;
            let mut done = false;
            if accepted {
                row.t += row.h;
                // `at` is the seventh stage: the new y, where the seventh slope was taken.
                s.y[here.clone()].copy_from_slice(&s.at[here.clone()]);
                let (first, rest) = s.k.split_at_mut(1);
                first[0][here.clone()].copy_from_slice(&rest[5][here.clone()]);
                done = (end - row.t) * span.signum() <= 1e-12 * span.abs();
            }
            if done {
                most = most.max(row.nfe);
                out[row.row * dim..(row.row + 1) * dim].copy_from_slice(&s.y[here]);
                let last = s.active.len() - 1;
                s.active.swap_remove(i);
                s.y.copy_within(last * dim..(last + 1) * dim, i * dim);
                s.k[0].copy_within(last * dim..(last + 1) * dim, i * dim);
                continue;
            }
            if row.nfe >= budget {
                return Err(Error::Training(TrainingError::NotConverged {
                    what: "the ODE solver",
                    budget,
                    row: row.row,
                }));
            }
            // error ∝ h⁵; a NaN counts as the largest error.
            let factor = if error.is_nan() { 0.2 } else { (0.9 * error.powf(-0.2)).clamp(0.2, 5.0) };
            row.h *= if accepted { factor } else { factor.min(1.0) };
            if (end - row.t).abs() < row.h.abs() * (1.0 + 1e-9) {
                row.h = end - row.t;
            }
        }
    }
}

fn rms(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    (values.map(|v| v * v).sum::<f64>() / n).sqrt()
}

/// [`integrate`] in equal steps, which always arrive.
pub fn fixed(
    method: Method,
    steps: usize,
    (start, end): (f64, f64),
    dim: usize,
    out: &mut [f64],
    s: &mut Scratch,
    f: impl FnMut(&[usize], &[f64], &[f64], &mut [f64]),
) -> usize {
    fixed_watched(method, steps, (start, end), dim, out, s, f, |_| {})
}

/// [`fixed`] with each tile's rows shown after each step.
pub(crate) fn fixed_watched(
    method: Method,
    steps: usize,
    (start, end): (f64, f64),
    dim: usize,
    out: &mut [f64],
    s: &mut Scratch,
    mut f: impl FnMut(&[usize], &[f64], &[f64], &mut [f64]),
    mut seen: impl FnMut(&[f64]),
) -> usize {
    let (h, stages) = ((end - start) / steps as f64, method.stages());
    for buffer in s.k.iter_mut().chain([&mut s.at]) {
        buffer.resize(TILE * dim, 0.0);
    }
    for (tile, y) in out.chunks_mut(TILE * dim).enumerate() {
        let m = y.len() / dim;
        s.rows.clear();
        s.rows.extend(tile * TILE..tile * TILE + m);
        for step in 0..steps {
            for (stage, (share, _)) in stages.iter().enumerate() {
                let (known, rest) = s.k.split_at_mut(stage);
                s.t.clear();
                s.t.resize(m, start + (step as f64 + share) * h);
                s.at[..y.len()].copy_from_slice(y);
                if let Some(slope) = known.last() {
                    s.at.iter_mut().zip(slope).take(y.len()).for_each(|(at, k)| *at += share * h * k);
                }
                f(&s.rows, &s.t, &s.at[..y.len()], &mut rest[0][..y.len()]);
            }
            for (j, y) in y.iter_mut().enumerate() {
                *y += h * stages.iter().zip(&s.k).map(|((_, weight), k)| weight * k[j]).sum::<f64>();
            }
            seen(y);
        }
    }
    stages.len() * steps
}

#[cfg(test)]
mod tests;
