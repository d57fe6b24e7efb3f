//! What a score model draws, against the law of its own chain where the score is known.

use super::*;
use crate::diffusion::NoiseLevel;
use crate::diffusion::ladder::annealing::anneal;

/// The untrained score is that of N(0, I), −z/(1 + σ²), so a row's variance follows a recursion: v ← (1 −
/// rσ²/2(1 + σ²))² v + T rσ² in each move, and v ← v/(1 + σ²)² in the last denoising.
#[test]
fn draws_of_a_linear_score_have_the_variance_of_its_recursion() {
    for (step, temperature) in [(0.5, 1.0), (1.5, 1.0), (0.5, 0.25)] {
        let config = ScoreConfig {
            sigma_max: 2.0,
            sigma_min: 0.7,
            levels: 3,
            step,
            ..small_score(ScoreTraining::Denoising)
        };
        let mut variance = temperature * (1.0 + 4.0);
        for sigma in [2.0, 1.4f64.sqrt(), 0.7] {
            for _ in 0..config.steps_per_level {
                let keep = 1.0 - 0.5 * step * sigma * sigma / (1.0 + sigma * sigma);
                variance = keep * keep * variance + temperature * step * sigma * sigma;
            }
        }
        variance /= 1.49f64.powi(2);
        let model = ScoreModel::new(config, &mut seeded(0)).unwrap();
        let x = model.sample(20_000, &SampleOptions { temperature }, &mut seeded(3)).unwrap().x;
        let n = x.len() as f64;
        let square = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / n;
        assert!((square / variance - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{square}, expected {variance}");
        let mean = f64::from(x.mean().unwrap());
        assert!(mean.abs() < 5.0 * (variance / n).sqrt(), "mean {mean}");
    }
}

/// A mixture 0.3 N(−1.5, 0.2²) + 0.7 N(1, 0.5²) in one column, and its score under noise σ.
const MODES: [(f64, f64, f64); 2] = [(0.3, -1.5, 0.2), (0.7, 1.0, 0.5)];

fn score(sigma: f64, z: f64) -> f64 {
    let parts = MODES.map(|(weight, mean, sd)| {
        let variance = sd * sd + sigma * sigma;
        (weight / variance.sqrt() * (-0.5 * (z - mean).powi(2) / variance).exp(), (mean - z) / variance)
    });
    parts.iter().map(|(p, s)| p * s).sum::<f64>() / parts.iter().map(|(p, _)| p).sum::<f64>()
}

/// With a known score put in, the rows are compared with the exact law of the discrete chain: its density,
/// carried from move to move on a grid.
#[test]
fn draws_of_a_known_mixture_have_the_law_of_the_discrete_chain() {
    let config = ScoreConfig {
        dim: 1,
        sigma_max: 4.0,
        sigma_min: 0.25,
        levels: 6,
        steps_per_level: 3,
        ..Default::default()
    };
    let n = 40_000;
    let (mut z, mut rngs): (Vec<f32>, Vec<_>) = (0..n).map(|r| (0.0, seeded(r))).unzip();
    let nfe =
        anneal(&config, &config.ladder(), 1.0, &mut rngs, &mut z, &mut Vec::new(), |level, z, eps_hat| {
            let NoiseLevel { alpha, sigma, .. } = level;
            let sigma = sigma / alpha;
            eps_hat.clear();
            eps_hat.extend(z.iter().map(|&z| (-sigma * score(sigma, z.into())) as f32));
        });
    assert_eq!(nfe, 19);

    let (count, cell) = (2001, 0.03);
    let at = |k: usize| (k as f64 - 1000.0) * cell;
    let normal = |x: f64, sd: f64| (-0.5 * (x / sd).powi(2)).exp() / (sd * std::f64::consts::TAU.sqrt());
    let mut law: Vec<f64> = (0..count).map(|k| cell * normal(at(k), 17f64.sqrt())).collect();
    let mut last = 0.0;
    for i in 0..6 {
        let sigma = 4.0 * (0.25f64 / 4.0).powf(i as f64 / 5.0);
        let (pull, sd) = (0.5 * config.step * sigma * sigma, config.step.sqrt() * sigma);
        for _ in 0..3 {
            let mut next = vec![0.0; count];
            for (k, p) in law.iter().enumerate().filter(|(_, p)| **p > 1e-12) {
                let to = at(k) + pull * score(sigma, at(k));
                let near = |z: f64| ((z / cell + 1000.0).round().max(0.0) as usize).min(count - 1);
                let (first, last) = (near(to - 7.0 * sd), near(to + 7.0 * sd));
                for (j, next) in next.iter_mut().enumerate().take(last + 1).skip(first) {
                    *next += p * cell * normal(at(j) - to, sd);
                }
            }
            law = next;
        }
        last = sigma;
    }
    let denoised = |k: usize| at(k) + last * last * score(last, at(k));
    let held = || law.iter().enumerate().filter(|(_, p)| **p > 1e-12);
    let mean = |g: &dyn Fn(f64) -> f64| held().map(|(k, p)| p * g(denoised(k))).sum::<f64>();
    assert!((mean(&|_| 1.0) - 1.0).abs() < 1e-6);
    let lower = |z: f64| f64::from(z < -0.5);
    type Figure<'a> = (&'a str, &'a dyn Fn(f64) -> f64);
    let figures: [Figure; 5] = [
        ("weight of the lower mode", &lower),
        ("mean", &|z| z),
        ("mean square", &|z| z * z),
        ("square about the lower mode", &|z| lower(z) * (z + 1.5).powi(2)),
        ("square about the upper mode", &|z| (1.0 - lower(z)) * (z - 1.0).powi(2)),
    ];
    for (what, g) in figures {
        let (expected, variance) = (mean(g), mean(&|z| g(z).powi(2)) - mean(g).powi(2));
        let found = z.iter().map(|&z| g(z.into())).sum::<f64>() / n as f64;
        let error = (variance / n as f64).sqrt();
        // The grid blurs the edge between the modes by a little.
        assert!(
            (found - expected).abs() < 5.0 * error + 1e-3,
            "{what}: {found}, expected {expected} ± {error}"
        );
    }
}
