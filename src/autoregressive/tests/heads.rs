//! The families of the conditionals: their densities, and draws from them.

use super::super::bins::{Bins, Grid};
use super::super::mixture::LEAST_SD;
use super::*;

/// Σₖ πₖ N(z; μₖ, σₖ²) as it is written.
fn naive_mixture(y: &[f64], z: f64) -> f64 {
    let k = y.len() / 3;
    let total: f64 = y[..k].iter().map(|l| l.exp()).sum();
    let density = |k_: usize| {
        let sd = LEAST_SD + y[2 * k + k_].exp().ln_1p();
        let u = (z - y[k + k_]) / sd;
        y[k_].exp() / total * (-0.5 * u * u).exp() / (sd * std::f64::consts::TAU.sqrt())
    };
    (0..k).map(density).sum::<f64>().ln()
}

fn log_density<F: Real>(conditional: &Conditional, y: &[F], z: F) -> F {
    let (mut work, mut nats) = (vec![F::nan(); y.len() + 2], [F::nan()]);
    conditional.log_density(y, &[z], &mut work, &mut nats);
    nats[0]
}

#[test]
fn a_mixture_has_its_density_and_finite_tails() {
    let conditional = Conditional::new(MIXTURE);
    let mut y: Vec<f64> = normals(15, &mut seeded(6));
    for z in [-3.0, -0.2, 0.0, 1.7, 9.0] {
        let (got, want) = (log_density(&conditional, &y, z), naive_mixture(&y, z));
        assert!((got - want).abs() < 1e-12 * (1.0 + want.abs()), "at {z}: {got}, as written {want}");
    }
    // Where the density as written is 0, its logarithm is not.
    let far = log_density(&conditional, &y, 1e6);
    assert!(far < -1e10 && far.is_finite(), "{far}");
    assert_eq!(log_density(&conditional, &y, f64::INFINITY), f64::NEG_INFINITY);
    // The floor bounds the peak, whatever the network says.
    y[10..].fill(-1e6);
    let peak = log_density(&conditional, &y, y[5]);
    assert!(peak <= -(LEAST_SD * std::f64::consts::TAU.sqrt()).ln() + 1e-9, "{peak}");
    y.iter_mut().for_each(|y| *y *= 1e6);
    assert!(!log_density(&conditional, &y, 0.3).is_nan());
}

/// Draws of one conditional with fixed y.
fn drawn(conditional: &Conditional, y: &[f32], temperature: f64, n: usize) -> Vec<f64> {
    let rng = &mut seeded(31);
    (0..n).map(|_| conditional.draw(&mut y.to_vec(), temperature, rng).into()).collect()
}

fn share_within(z: &[f64], low: f64, high: f64) -> f64 {
    z.iter().filter(|z| (low..high).contains(*z)).count() as f64 / z.len() as f64
}

/// Bins of a skewed column, both before and after a training: the share of draws in each token and in parts of
/// both tails is the integral of the density there.
#[test]
fn bins_draw_their_density_tails_included() {
    let rng = &mut seeded(32);
    let mut column: Vec<f32> = (0..4_000).map(|_| (0.7 * f32::normal(rng)).exp()).collect();
    column.sort_unstable_by(f32::total_cmp);
    for fitted in [false, true] {
        let mut bins = Bins::new(6);
        let mut y = vec![0.0; 8];
        if fitted {
            bins.fit(&column, &mut y);
        }
        // Unlike shares, the largest in the tails.
        let y: Vec<f32> = [2.0, 0.3, -0.5, 0.8, 0.0, 0.1, -1.0, 1.5].to_vec();
        let (low, high) = bins.grid.ends();
        let conditional = Conditional::Bins(bins);
        let z = drawn(&conditional, &y, 1.0, 40_000);
        let range = high - low;
        let cuts = [low - range, low - 0.1 * range, low, low + 0.2 * range, high - 0.3 * range, high];
        let cuts = [&cuts[..], &[high + 0.1 * range, high + range]].concat();
        for pair in cuts.windows(2) {
            let step = (pair[1] - pair[0]) / 4_000.0;
            let at = |i: i32| pair[0] + step * (f64::from(i) + 0.5);
            let y: Vec<f64> = y.iter().map(|&y| y.into()).collect();
            let p: f64 = (0..4_000).map(|i| log_density(&conditional, &y, at(i)).exp() * step).sum();
            let share = share_within(&z, pair[0], pair[1]);
            // Five standard errors of 40,000 draws.
            assert!((share - p).abs() < 0.0125, "{fitted}, {pair:?}: {share} of the draws, ∫ p = {p}");
        }
    }
}

#[test]
fn bins_follow_the_rows_and_not_an_outlier() {
    let rng = &mut seeded(33);
    let mut column: Vec<f32> = (0..20_000).map(|_| f32::normal(rng)).collect();
    let entropy = 0.5 * (std::f64::consts::TAU.ln() + 1.0);
    let gap = |column: &mut Vec<f32>, rng: &mut Rng| {
        column.sort_unstable_by(f32::total_cmp);
        let mut bins = Bins::new(64);
        let mut y = vec![0.0; 66];
        bins.fit(column, &mut y);
        let y: Vec<f64> = y.into_iter().map(Into::into).collect();
        let conditional = Conditional::Bins(bins);
        let nll = (0..5_000).map(|_| -log_density(&conditional, &y, f64::normal(rng))).sum::<f64>() / 5_000.0;
        nll - entropy
    };
    let clean = gap(&mut column, &mut seeded(34));
    column[17] = 1e5;
    let spoiled = gap(&mut column, &mut seeded(34));
    assert!((-0.01..0.03).contains(&clean) && (spoiled - clean).abs() < 0.01, "{clean} {spoiled}");
    // A value in nine of ten rows has a bin as narrow as bins get.
    column[..18_000].fill(0.125);
    column.sort_unstable_by(f32::total_cmp);
    let mut bins = Bins::new(64);
    bins.fit(&column, &mut vec![0.0; 66]);
    let Grid::Adapted(grid) = &bins.grid else { panic!("fitted") };
    assert!(grid.edges.windows(2).all(|pair| pair[1] - pair[0] > 0.998 * LEAST_SD), "{:?}", grid.edges);
    assert!(grid.edges.windows(2).any(|pair| pair[0] == 0.125 && pair[1] - pair[0] < 1.002 * LEAST_SD));
}

/// A draw at a temperature T has the density p^(1/T²), normalized: here of a mixture with components far
/// apart, with overlapping ones, and of bins.
#[test]
fn a_temperature_tempers_the_density() {
    // [l | μ | s]
    let apart = (Head::Mixture { components: 2 }, vec![0.0, 1.0, -2.0, 2.0, -1.0, 0.0]);
    let overlapping =
        (Head::Mixture { components: 4 }, vec![0.0, 0.5, 0.5, 0.0, -1.0, -0.3, 0.4, 1.1, 0.0, 0.2, 0.2, 0.0]);
    let bins = (Head::Bins { bins: 5 }, vec![-1.0, 0.5, 1.0, 0.0, 2.0, 1.0, -1.0]);
    for (head, y) in [apart, overlapping, bins] {
        let conditional = Conditional::new(head);
        let wide: Vec<f64> = y.iter().map(|&y: &f32| y.into()).collect();
        // Above 1, the tails of bins would take an endless share of p^a: they keep their own.
        let hot = matches!(head, Head::Mixture { .. }).then_some(1.5);
        for temperature in [0.6].into_iter().chain(hot) {
            let step = 0.004;
            let power = 1.0f64 / (temperature * temperature);
            let at = |i: i32| -8.0 + step * (f64::from(i) + 0.5);
            let tempered: Vec<f64> =
                (0..4_000).map(|i| (power * log_density(&conditional, &wide, at(i))).exp()).collect();
            let total: f64 = tempered.iter().sum();
            let z = drawn(&conditional, &y, temperature, 20_000);
            for cut in [-2.4, -0.8, 0.0, 0.8, 2.4] {
                let p: f64 =
                    (0..4_000).filter(|&i| at(i) < cut).map(|i| tempered[i as usize]).sum::<f64>() / total;
                let share = share_within(&z, f64::NEG_INFINITY, cut);
                // Five standard errors, and what the tails of bins keep of their own.
                assert!(
                    (share - p).abs() < 0.02,
                    "{head:?} at {temperature}: {share} below {cut}, {p} by p^a"
                );
            }
        }
    }
}
