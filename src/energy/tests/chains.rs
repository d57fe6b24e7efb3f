//! The chains of an energy model against what they have to do by hand: where they start, how they move, and what
//! is said of them.

use crate::nn::NetworkSpec;
use std::f64::consts::TAU;
use std::ops::ControlFlow;

use super::*;
use crate::numeric::quadrature::trapezoid;

/// E = z²/2 + c z + a cos 2z + bias in one column: valleys at ±π/2, the lower one deeper by about π c, with
/// hills of about 2a between them.
fn valleys(c: f32, a: f32, langevin: Langevin) -> EnergyModel {
    let normalization = Normalization::Quadrature { intervals: 256 };
    let config = EnergyConfig {
        dim: 1,
        network: NetworkSpec::mlp([], Activation::Silu, 2),
        langevin,
        normalization,
        ..Default::default()
    };
    let mut model = EnergyModel::new(config, &mut seeded(0)).unwrap();
    // Of z, sin z, sin 2z, cos z, cos 2z, and the bias.
    model.parameters.average.copy_from_slice(&[c, 0.0, 0.0, 0.0, a, 0.3]);
    model.refresh();
    model
}

/// The integral of g(z) p(z), by the model's own density.
fn under(model: &EnergyModel, g: impl Fn(f64) -> f64) -> f64 {
    trapezoid(&[-8.0], &[8.0], 0.02, |z| g(z[0]) * estimate(model, &array![[z[0] as f32]]).0[0].exp())
}

#[test]
fn candidates_find_the_deeper_valley_and_the_check_sees_who_does_not() {
    // Steps that do not cross the hill: the start decides.
    let langevin = Langevin { steps: 400, candidates: 0.6, first: 0.3, last: 0.1, ..Default::default() };
    let found = valleys(0.7, 4.0, langevin);
    let stuck = found.with_sampler(Langevin { candidates: 0.0, ..langevin }).unwrap();
    let share = |model: &EnergyModel| {
        let x = drawn(model, 4_000);
        x.iter().filter(|&&x| x < 0.0).count() as f64 / 4_000.0
    };
    let truth = under(&found, |z| f64::from(z < 0.0));
    let error = (truth * (1.0 - truth) / 4_000.0).sqrt();
    assert!((share(&found) - truth).abs() < 5.0 * error, "{}, in truth {truth}", share(&found));
    assert!((share(&stuck) - truth).abs() > 50.0 * error, "{}, in truth {truth}", share(&stuck));

    let checks = [&found, &stuck].map(|model| model.check_chains(2_000, &mut seeded(4)).unwrap());
    for check in &checks {
        assert!(check.effective > 10_000.0, "{check:?}");
        let expected = under(&found, |z| 0.5 * z * z + 0.7 * z + 4.0 * (2.0 * z).cos() + 0.3);
        assert!(
            (check.expected.0 - expected).abs() < 5.0 * check.expected.1,
            "{check:?}, in truth {expected}"
        );
        let off = check.log_partition.0 - found.log_partition(256, &[]).unwrap().nats;
        assert!(off.abs() < 5.0 * check.log_partition.1, "{check:?}, off by {off}");
    }
    let [(found, found_error), (stuck, stuck_error)] = checks.map(|check| check.excess());
    assert!(found.abs() < 5.0 * found_error, "{found} ± {found_error}");
    assert!(stuck > 20.0 * stuck_error, "{stuck} ± {stuck_error}");
}

#[test]
fn a_start_is_a_draw_from_the_energy_by_many_candidates() {
    // One move, too short to be seen.
    let langevin = Langevin { steps: 102, candidates: 0.99, first: 1e-6, last: 1e-6, ..Default::default() };
    for (dim, temperature) in [(1, 1.0), (2, 1.0), (3, 0.5), (2, 3.0)] {
        let model =
            EnergyModel::new(EnergyConfig { dim, langevin, ..small(CHAINS) }, &mut seeded(0)).unwrap();
        let drawn = model.sample(8_000, &SampleOptions { temperature }, &mut seeded(3)).unwrap();
        assert_eq!(drawn.nfe, 102);
        let n = drawn.x.len() as f64;
        let square = drawn.x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n / temperature;
        // Resampling 100 candidates has a bias of about a hundredth.
        assert!(
            (square - 1.0).abs() < 5.0 * (2.0 / n).sqrt() + 0.02,
            "{dim} columns, T = {temperature}: {square}"
        );
        assert!(drawn.x.mean().unwrap().abs() < 0.1);
    }
}

#[test]
fn the_check_knows_a_gaussian() {
    for dim in [1, 2, 3, 6] {
        let langevin = Langevin { steps: 40, ..Default::default() };
        let model =
            EnergyModel::new(EnergyConfig { dim, langevin, ..small(CHAINS) }, &mut seeded(0)).unwrap();
        let check = model.check_chains(1_000, &mut seeded(1)).unwrap();
        let is = |(got, error): (f64, f64), want: f64| {
            assert!((got - want).abs() < 5.0 * error && error < 0.1, "{dim}: {check:?}, expected {want}");
        };
        // E_p[½‖z‖²] = d/2, Z = (2π)^{d/2}.
        is(check.drawn, 0.5 * dim as f64);
        is(check.expected, 0.5 * dim as f64);
        is(check.log_partition, 0.5 * dim as f64 * TAU.ln());
        assert!(check.effective > 50_000.0, "{check:?}");
    }
    // A needle in twelve columns, which no importance sample hits: the check says that it knows nothing.
    let config = EnergyConfig { dim: 12, width: 0.02, ..small(CHAINS) };
    let model = EnergyModel::new(config, &mut seeded(0)).unwrap();
    assert!(model.check_chains(10, &mut seeded(1)).unwrap().effective < 10.0);
    assert!(matches!(model.check_chains(1, &mut seeded(1)), Err(Error::Config { field: "n", .. })));
}

/// The chains stand still in law, so the share of accepted moves is that of one move from N(0, 1), by
/// quadrature over z and ξ. Acceptance keeps any drift exact, and so hides a wrong one from the moments: but
/// not from this.
#[test]
fn moves_drift_downhill() {
    let h = 1.2;
    let drift = |z: f64| (-0.5 * h * h * z).clamp(-h, h);
    let accepted = |drift: &dyn Fn(f64) -> f64| {
        trapezoid(&[-8.0, -8.0], &[8.0, 8.0], 0.05, |at| {
            let (z, xi) = (at[0], at[1]);
            let to = z + drift(z) + h * xi;
            let back = (z - to - drift(to)) / h;
            let log_ratio = 0.5 * (z * z - to * to + xi * xi - back * back);
            (-0.5 * (z * z + xi * xi)).exp() / TAU * log_ratio.exp().min(1.0)
        })
    };
    let (down, up) = (accepted(&drift), accepted(&|z| -drift(z)));
    let langevin =
        Langevin { steps: 51, candidates: 0.0, first: h, last: h, acceptance: Acceptance::Metropolis };
    let model = EnergyModel::new(EnergyConfig { dim: 1, langevin, ..small(CHAINS) }, &mut seeded(0)).unwrap();
    let found = model.check_chains(4_000, &mut seeded(1)).unwrap().accepted;
    assert!((found - down).abs() < 0.005, "{found}, by quadrature {down}");
    assert!(down - up > 0.1, "uphill {up}");
    // A proposal that is always taken.
    let always = Langevin { acceptance: Acceptance::Always, ..langevin };
    assert_eq!(model.with_sampler(always).unwrap().check_chains(70, &mut seeded(1)).unwrap().accepted, 1.0);
}

#[test]
fn candidates_are_a_share_of_the_evaluations_and_leave_a_move() {
    let candidates = |steps, candidates, acceptance| {
        let langevin = Langevin { steps, candidates, acceptance, ..Default::default() };
        langevin.validate().unwrap();
        langevin.candidates()
    };
    use Acceptance::{Always, Metropolis};
    assert_eq!(candidates(400, 0.3, Metropolis), 120);
    assert_eq!(candidates(10, 0.99, Metropolis), 8);
    assert_eq!(candidates(10, 0.99, Always), 9);
    assert_eq!((candidates(2, 0.5, Metropolis), candidates(1, 0.9, Always)), (0, 0));
    assert_eq!(Langevin::default().moves(20).candidates(), 0);
}

#[test]
fn a_forged_turn_of_the_chains_is_refused() {
    let refusals = crate::engine::refusals_of_forgeries("chains", |checkpoint| {
        let training = EnergyTraining::PersistentChains { chains: 3, steps: 2, restart: 0.0, magnitude: 0.0 };
        let config =
            EnergyConfig { dim: 1, network: NetworkSpec::mlp([], Activation::Silu, 0), ..small(training) };
        let data = Dataset::new(Array2::from_shape_fn((20, 1), |(r, _)| (r as f32).sin())).unwrap();
        let options =
            TrainOptions { batch: 2, shards: 1, checkpoint: Some(checkpoint.clone()), ..options(4) };
        let mut break_off =
            |step: &Step<'_>| if step.step == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let mut model = EnergyModel::new(config, &mut seeded(1)).unwrap();
        model.train(&data, &options, &mut seeded(2), &mut break_off).map(|_| ())
    });
    let what = format!("a checkpoint that counts {} of at most 3", u64::MAX);
    assert!(refusals.contains(&what), "{refusals:?}");
}
