use super::*;
use crate::error::TrainingError;

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

fn rk4(steps: usize) -> Solver {
    Solver::Fixed { method: Method::Rk4, steps }
}

#[test]
fn equal_steps_converge_with_the_order_of_their_method() {
    for (method, order, evaluations) in
        [(Method::Euler, 1.0, 1), (Method::Heun, 2.0, 2), (Method::Rk4, 4.0, 4)]
    {
        let error = |steps| forced_error(Solver::Fixed { method, steps }, 3.0).0;
        for steps in [20, 40, 80] {
            let slope = (error(steps) / error(2 * steps)).log2();
            assert!((slope - order).abs() < 0.1, "{method:?}, {steps} steps: order {slope}");
        }
        assert_eq!(forced_error(Solver::Fixed { method, steps: 7 }, 1.0).1, 7 * evaluations);
        assert_eq!(method.evaluations(), evaluations);
    }
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
    for solver in [Solver::DormandPrince { rtol: 1e-9, atol: 1e-9 }, rk4(200)] {
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
fn a_row_does_not_depend_on_its_neighbors() {
    let n = 3 * TILE + 5;
    for solver in [Solver::DormandPrince { rtol: 1e-6, atol: 1e-9 }, rk4(400)] {
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
    let run = |end| integrate(solver, (0.0, end), 1, 3000, &mut [1.0, 1.0], &mut Scratch::default(), blows);
    assert!(run(0.9).is_ok());
    assert!(matches!(
        run(1.5),
        Err(Error::Training(TrainingError::NotConverged { budget: 3000, row: 1, .. }))
    ));
    let nan = |_: &[usize], _: &[f64], _: &[f64], dy: &mut [f64]| dy.fill(f64::NAN);
    let lost = integrate(solver, (0.0, 1.0), 1, 500, &mut [1.0], &mut Scratch::default(), nan);
    assert!(matches!(lost, Err(Error::Training(TrainingError::NotConverged { row: 0, .. }))));
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
    assert!(rk4(0).validate().is_err());
    assert!(Solver::DormandPrince { rtol: 0.0, atol: 1.0 }.validate().is_err());
}
