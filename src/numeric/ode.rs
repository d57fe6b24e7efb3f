//! Ordinary differential equations y′ = f(t, y) for many independent rows at once.
//!
//! All rows share the function, so one call evaluates it for as many rows as fill a tile; but each row has
//! its own time, step size and error, and a row that is done leaves its place to one that waits. So a row's
//! result does not depend on its neighbours, and the function is called on full tiles even where some rows
//! are harder than others.

use super::tiles::TILE;
use crate::error::{Error, Result, check};

/// How to step.
#[derive(Debug, Clone, Copy, PartialEq)]
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
    /// The classical method of order 4, in equal steps.
    Rk4 {
        /// How many. At least 1.
        steps: usize,
    },
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
            Solver::Rk4 { steps } => check(steps >= 1, "Solver::Rk4::steps", steps, "at least 1"),
        }
    }
}

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

/// A row on its way.
#[derive(Debug, Clone, Copy)]
struct Row {
    row: usize,
    t: f64,
    h: f64,
    nfe: usize,
}

/// Integrates each row of y, (rows, dim), from `span.0` to `span.1` in place; the most evaluations that a row
/// took.
///
/// `f(rows, t, y, dy)` fills dy: (m, dim) for the m rows whose places in the batch are `rows`, each at its
/// own t.
///
/// # Errors
/// [`Error::NotConverged`] for a row whose adaptive steps need more than `budget` evaluations.
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
        Solver::Rk4 { steps } => Ok(rk4(steps, span, dim, y, scratch, f)),
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
                return Err(Error::NotConverged { what: "the ODE solver", budget, row: row.row });
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

fn rk4(
    steps: usize,
    (start, end): (f64, f64),
    dim: usize,
    out: &mut [f64],
    s: &mut Scratch,
    mut f: impl FnMut(&[usize], &[f64], &[f64], &mut [f64]),
) -> usize {
    let h = (end - start) / steps as f64;
    for buffer in s.k.iter_mut().chain([&mut s.at]) {
        buffer.resize(TILE * dim, 0.0);
    }
    for (tile, y) in out.chunks_mut(TILE * dim).enumerate() {
        let m = y.len() / dim;
        s.rows.clear();
        s.rows.extend(tile * TILE..tile * TILE + m);
        for step in 0..steps {
            // (share of h, place of the slope that leads there)
            for (stage, share) in [0.0, 0.5, 0.5, 1.0].into_iter().enumerate() {
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
                *y += h / 6.0 * (s.k[0][j] + 2.0 * s.k[1][j] + 2.0 * s.k[2][j] + s.k[3][j]);
            }
        }
    }
    4 * steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// y₁′ = y₂, y₂′ = −y₁ + t with y(0) = (1, 1): y = (cos t + t, 1 − sin t).
    fn forced(_: &[usize], t: &[f64], y: &[f64], dy: &mut [f64]) {
        for ((t, y), dy) in t.iter().zip(y.chunks_exact(2)).zip(dy.chunks_exact_mut(2)) {
            (dy[0], dy[1]) = (y[1], t - y[0]);
        }
    }

    /// (error at `end`, evaluations)
    fn forced_error(solver: Solver, end: f64) -> (f64, usize) {
        let mut y = [1.0, 1.0];
        let nfe = integrate(solver, (0.0, end), 2, BUDGET, &mut y, &mut Scratch::default(), forced).unwrap();
        ((y[0] - (end.cos() + end)).hypot(y[1] - (1.0 - end.sin())), nfe)
    }

    #[test]
    fn rk4_is_of_order_four() {
        let error = |steps| forced_error(Solver::Rk4 { steps }, 3.0).0;
        for steps in [20, 40, 80] {
            let order = (error(steps) / error(2 * steps)).log2();
            assert!((order - 4.0).abs() < 0.1, "{steps} steps: order {order}");
        }
        assert_eq!(forced_error(Solver::Rk4 { steps: 7 }, 1.0).1, 28);
    }

    #[test]
    fn the_tableau_satisfies_the_order_conditions() {
        for (stage, a) in A.iter().enumerate() {
            assert!((a.iter().sum::<f64>() - C[stage]).abs() < 1e-14, "row {stage}");
        }
        for k in 0..5 {
            let moment = |b: &[f64]| b.iter().zip(C).map(|(b, c)| b * c.powi(k)).sum::<f64>();
            assert!((moment(A[6]) - 1.0 / f64::from(k + 1)).abs() < 1e-14, "∫ t^{k}");
            // The solution of order 4 agrees up to t³ and not beyond.
            assert_eq!(moment(&E).abs() < 1e-14, k < 4, "e against t^{k}");
        }
    }

    #[test]
    fn dormand_prince_keeps_its_tolerance_at_the_cost_of_its_order() {
        let run = |tol| forced_error(Solver::DormandPrince { rtol: tol, atol: tol }, 10.0);
        for tol in [1e-3, 1e-5, 1e-7, 1e-9, 1e-11] {
            let (error, _) = run(tol);
            assert!(error < 20.0 * tol, "{tol}: {error}");
        }
        // error ∝ h⁵ per step: 10⁵ times the accuracy for 10 times the steps.
        let growth = run(1e-11).1 as f64 / run(1e-6).1 as f64;
        assert!((8.0..12.0).contains(&growth), "{growth}");
        // Absolute and relative tolerance both count.
        let cost = |rtol, atol| forced_error(Solver::DormandPrince { rtol, atol }, 10.0).1;
        assert!(cost(1e-9, 1e-3) < cost(1e-9, 1e-9) && cost(1e-3, 1e-9) < cost(1e-9, 1e-9));
    }

    #[test]
    fn time_runs_backward_too() {
        for solver in [Solver::DormandPrince { rtol: 1e-9, atol: 1e-9 }, Solver::Rk4 { steps: 200 }] {
            let mut y = [2f64.cos() + 2.0, 1.0 - 2f64.sin()];
            integrate(solver, (2.0, 0.0), 2, BUDGET, &mut y, &mut Scratch::default(), forced).unwrap();
            assert!((y[0] - 1.0).hypot(y[1] - 1.0) < 1e-7, "{solver:?}: {y:?}");
        }
    }

    /// y′ = −k t y with its own k for each row, so y = exp(−k t²/2): from easy to hard.
    fn decay(rows: &[usize], t: &[f64], y: &[f64], dy: &mut [f64]) {
        for (i, dy) in dy.iter_mut().enumerate() {
            *dy = -0.5 * rows[i] as f64 * t[i] * y[i];
        }
    }

    #[test]
    fn a_row_does_not_depend_on_its_neighbours() {
        let n = 3 * TILE + 5;
        for solver in [Solver::DormandPrince { rtol: 1e-6, atol: 1e-9 }, Solver::Rk4 { steps: 400 }] {
            let (mut all, mut scratch) = (vec![1.0; n], Scratch::default());
            let most = integrate(solver, (0.0, 2.0), 1, BUDGET, &mut all, &mut scratch, decay).unwrap();
            let mut most_alone = 0;
            for (row, &y) in all.iter().enumerate() {
                let mut alone = [1.0];
                let only = |_: &[usize], t: &[f64], y: &[f64], dy: &mut [f64]| decay(&[row], t, y, dy);
                let nfe = integrate(solver, (0.0, 2.0), 1, BUDGET, &mut alone, &mut scratch, only).unwrap();
                most_alone = most_alone.max(nfe);
                assert_eq!(alone[0], y, "row {row}");
                assert!((y - (-(row as f64)).exp()).abs() < 1e-4, "row {row}: {y}");
            }
            assert_eq!(most, most_alone);
        }
    }

    #[test]
    fn what_cannot_be_reached_is_an_error() {
        let solver = Solver::DormandPrince { rtol: 1e-6, atol: 1e-6 };
        // y′ = y² from 1 ends at t = 1; the row before it is harmless.
        let blows = |rows: &[usize], _: &[f64], y: &[f64], dy: &mut [f64]| {
            for (i, dy) in dy.iter_mut().enumerate() {
                *dy = if rows[i] == 1 { y[i] * y[i] } else { 0.0 };
            }
        };
        let run =
            |end| integrate(solver, (0.0, end), 1, 3000, &mut [1.0, 1.0], &mut Scratch::default(), blows);
        assert!(run(0.9).is_ok());
        assert!(matches!(run(1.5), Err(Error::NotConverged { budget: 3000, row: 1, .. })));
        let nan = |_: &[usize], _: &[f64], _: &[f64], dy: &mut [f64]| dy.fill(f64::NAN);
        let lost = integrate(solver, (0.0, 1.0), 1, 500, &mut [1.0], &mut Scratch::default(), nan);
        assert!(matches!(lost, Err(Error::NotConverged { row: 0, .. })));
    }

    #[test]
    fn what_does_not_change_takes_one_step() {
        let solver = Solver::DormandPrince { rtol: 1e-6, atol: 1e-6 };
        let mut y = [1.0, 0.0];
        let still = |_: &[usize], _: &[f64], _: &[f64], dy: &mut [f64]| dy.fill(0.0);
        for span in [(0.0, 3.0), (3.0, 0.0)] {
            let nfe = integrate(solver, span, 1, BUDGET, &mut y, &mut Scratch::default(), still).unwrap();
            assert_eq!((nfe, y), (7, [1.0, 0.0]));
        }
    }

    #[test]
    fn no_rows_are_no_work() {
        let f = |_: &[usize], _: &[f64], _: &[f64], _: &mut [f64]| unreachable!();
        let solver = Solver::DormandPrince { rtol: 1e-6, atol: 1e-6 };
        assert_eq!(integrate(solver, (0.0, 1.0), 2, BUDGET, &mut [], &mut Scratch::default(), f).unwrap(), 0);
        assert!(Solver::Rk4 { steps: 0 }.validate().is_err());
        assert!(Solver::DormandPrince { rtol: 0.0, atol: 1.0 }.validate().is_err());
    }
}
