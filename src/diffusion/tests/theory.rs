//! What theory says of solvers and samplers, on a mixture whose score is known: no training is involved.

use ndarray::{Array2, Array3, array};

use crate::diffusion::sampler::{Plan, Scratch, denoise};
use crate::diffusion::{
    DiffusionConfig, Finish, Grid, Method, NoiseLevel, NoisePredictor, ProbabilityFlow, ReverseVariance,
    Sampler, Schedule, Sde, Solver, sample_with,
};
use crate::engine::TILE;
use crate::engine::transport::{self, Velocity};
use crate::error::Error;
use crate::metrics::energy_distance;
use crate::model::TraceEstimator;
use crate::numeric::ode;
use crate::numeric::rng::{Streams, seeded};
use crate::numeric::{Real, rng::Rng};
use crate::worlds::{DiffusedMixture, Toy};

/// Three tilted Gaussians, of standard deviations from 0.1 (`narrow`) or 0.4 (not) to 0.8 in standard units.
fn toy(narrow: bool) -> Toy {
    let v = if narrow { 0.02 } else { 0.3 };
    let covariances = vec![v, 0.3 * v, 0.3 * v, v, 0.4, -0.2, -0.2, 0.5, 1.0, 0.0, 0.0, 0.5];
    Toy::mixture(
        &[0.4, 0.35, 0.25],
        array![[-1.2, 0.3], [1.2, 0.8], [0.3, -1.6]].view(),
        Array3::from_shape_vec((3, 2, 2), covariances).unwrap().view(),
    )
    .unwrap()
}

/// Noise up to σ/α = 56, so that no sampler starts below the last timestep.
const PROCESS: Sde = Sde::VariancePreserving { beta_min: 0.1, beta_max: 16.0 };

fn config(sampler: Sampler, grid: Grid) -> DiffusionConfig {
    DiffusionConfig {
        schedule: Schedule::Continuous(PROCESS),
        timesteps: 20_000,
        sampler,
        grid,
        finish: Finish::Estimate,
        ..Default::default()
    }
}

/// Network evaluations of a row.
fn evaluations(sampler: Sampler) -> usize {
    match sampler {
        Sampler::Ddpm => 20_000,
        Sampler::Ddim { steps, .. } | Sampler::DpmSolver { steps } | Sampler::EulerMaruyama { steps } => {
            steps
        }
        Sampler::Heun { steps } | Sampler::PredictorCorrector { steps, .. } => 2 * steps - 1,
        Sampler::Ode { method, steps } => method.evaluations() * steps,
    }
}

/// The end of the first noise z: (n, d) by a sampler without chance.
fn drawn(mixture: &DiffusedMixture, sampler: Sampler, grid: Grid, z: &[f64]) -> Vec<f64> {
    let config = config(sampler, grid);
    let plan = Plan::new(&config, &config.schedule.levels(config.timesteps));
    let mut x = z.to_vec();
    for tile in x.chunks_mut(2 * TILE) {
        let nfe = denoise(mixture, &plan, 1.0, tile, &mut Scratch::default(), |_| {});
        assert_eq!(nfe, evaluations(sampler));
    }
    x
}

/// The same by the probability flow of the process in its own time, far more finely, down to noise σ; and from
/// there, with `jump`, to the estimate of x₀, x + σ² ∇ ln p over α.
fn truth(mixture: &DiffusedMixture, z: &[f64], sigma: f64, jump: bool) -> Vec<f64> {
    let flow = ProbabilityFlow { sde: PROCESS, mixture };
    let (mut x, mut kept) = (z.to_vec(), Vec::new());
    let solver = Solver::DormandPrince { rtol: 1e-11, atol: 1e-11 };
    // σ² = 1 − exp(−β_min t − ½ t² (β_max − β_min)).
    let b = -(-sigma * sigma).ln_1p();
    let t = ((0.01 + 2.0 * 15.9 * b).sqrt() - 0.1) / 15.9;
    assert!((PROCESS.marginal(t).1 - sigma).abs() < 1e-9 * sigma);
    let velocity =
        |rows: &[usize], t: &[f64], x: &[f64], v: &mut [f64]| flow.velocity(rows, t, x, v, &mut kept);
    ode::integrate(solver, (1.0, t), 2, 100_000, &mut x, &mut Default::default(), velocity).unwrap();
    if jump {
        let mut score = vec![0.0; x.len()];
        let (alpha, sigma) = PROCESS.marginal(t);
        mixture.score(alpha, sigma, &x, &mut score, None);
        x.iter_mut().zip(score).for_each(|(x, s)| *x = (*x + sigma * sigma * s) / alpha);
    }
    x
}

fn rms(a: &[f64], b: &[f64]) -> f64 {
    (a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>() / a.len() as f64).sqrt()
}

fn noise(n: usize) -> Vec<f64> {
    let mut rng: Rng = seeded(8);
    (0..2 * n).map(|_| f64::normal(&mut rng)).collect()
}

/// RMS errors at each number of steps, and the slope of ln error against −ln steps by least squares.
fn order(steps: &[usize], error: impl Fn(usize) -> f64) -> (f64, Vec<f64>) {
    let errors: Vec<f64> = steps.iter().map(|&k| error(k)).collect();
    let points: Vec<(f64, f64)> =
        steps.iter().zip(&errors).map(|(&k, e)| (-(k as f64).ln(), e.ln())).collect();
    let n = points.len() as f64;
    let (mx, my) = (points.iter().map(|p| p.0).sum::<f64>() / n, points.iter().map(|p| p.1).sum::<f64>() / n);
    let covariance: f64 = points.iter().map(|p| (p.0 - mx) * (p.1 - my)).sum();
    (covariance / points.iter().map(|p| (p.0 - mx).powi(2)).sum::<f64>(), errors)
}

#[test]
fn samplers_converge_with_the_order_of_their_theory() {
    let (mixture, z) = (toy(false).diffused().unwrap(), noise(200));
    let sigma_min = DiffusionConfig::default().sigma_min;
    let all_noise_gone = truth(&mixture, &z, 1e-5, true);
    let jumped = truth(&mixture, &z, sigma_min, true);
    let not_jumped = truth(&mixture, &z, sigma_min, false);
    type Case<'a> = (&'a str, f64, &'a [f64], &'a [usize], fn(usize) -> Sampler);
    let cases: [Case; 6] = [
        ("DDIM", 1.0, &all_noise_gone, &[40, 80, 160, 320], |steps| Sampler::Ddim { steps, eta: 0.0 }),
        ("Euler", 1.0, &not_jumped, &[40, 80, 160, 320], |steps| Sampler::Ode {
            method: Method::Euler,
            steps,
        }),
        ("Heun, λ", 2.0, &not_jumped, &[40, 80, 160, 320], |steps| Sampler::Ode {
            method: Method::Heun,
            steps,
        }),
        ("Heun, σ", 2.0, &jumped, &[40, 80, 160, 320], |steps| Sampler::Heun { steps }),
        ("2M", 2.0, &jumped, &[40, 80, 160, 320], |steps| Sampler::DpmSolver { steps }),
        ("RK4", 4.0, &not_jumped, &[30, 60, 120, 240], |steps| Sampler::Ode { method: Method::Rk4, steps }),
    ];
    for (name, theory, truth, steps, sampler) in cases {
        let (slope, errors) = order(steps, |k| rms(&drawn(&mixture, sampler(k), Grid::Own, &z), truth));
        assert!((slope - theory).abs() < 0.1, "{name}: order {slope}, errors {errors:?}");
    }
    // On another's grid they keep their order.
    for (theory, grid, sampler) in [
        (1.0, Grid::LogSnr, (|steps| Sampler::Ddim { steps, eta: 0.0 }) as fn(usize) -> Sampler),
        (2.0, Grid::Karras, |steps| Sampler::DpmSolver { steps }),
        (2.0, Grid::LogSnr, |steps| Sampler::Heun { steps }),
    ] {
        let error = |k| rms(&drawn(&mixture, sampler(k), grid.clone(), &z), &jumped);
        let (slope, errors) = order(&[40, 80, 160, 320], error);
        assert!((slope - theory).abs() < 0.15, "{:?}, {grid:?}: {slope}, {errors:?}", sampler(1));
    }
}

/// ln p by the probability flow from the data themselves, t = 0, with the analytic density at its end.
#[test]
fn the_ode_of_an_analytic_score_gives_the_analytic_density() {
    let about = noise(130).iter().map(|z| 1.3 * *z as f32).collect::<Vec<f32>>();
    let of_grid = {
        let x = Toy::grid25().sample(130, &mut seeded(3));
        Toy::grid25().diffused().unwrap().standardizer().apply(x).into_raw_vec_and_offset().0
    };
    // Broader modes anywhere; narrow ones, σ = 0.018, on their own rows.
    for (toy, rows) in [(toy(true), about), (Toy::grid25(), of_grid)] {
        let mixture = toy.diffused().unwrap();
        for sde in [Sde::PRESERVING, Sde::EXPLODING] {
            let flow = ProbabilityFlow { sde, mixture: &mixture };
            let worst = |tolerance| {
                let mut nats = vec![f64::NAN; 130];
                transport::log_density(
                    &flow,
                    Solver::DormandPrince { rtol: tolerance, atol: tolerance },
                    (0.0, 1.0),
                    (TraceEstimator::Exact, Streams::new(0)),
                    &rows,
                    |x| flow.log_density(1.0, x),
                    &mut nats,
                    &mut Default::default(),
                )
                .unwrap();
                let truth = rows.chunks_exact(2).map(|x| flow.log_density(0.0, &[x[0].into(), x[1].into()]));
                nats.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
            };
            let (fine, coarse) = (worst(1e-6), worst(1e-3));
            assert!(fine < 1e-4, "{sde:?}: {fine} nats");
            // The tolerance is what buys it.
            assert!(coarse > 10.0 * fine, "{sde:?}: {coarse} against {fine} nats");
        }
    }
}

/// (mean − truth, variance − truth) of each column in standard errors, and the energy distance to fresh rows in
/// standard deviations above its floor.
fn against_truth(mixture: &DiffusedMixture, toy: &Toy, x: &Array2<f32>) -> (Vec<f64>, f64) {
    let n = x.nrows();
    let fresh = |seed| mixture.standardizer().apply(toy.sample(n, &mut seeded(seed)));
    let mut z = Vec::new();
    for column in x.columns() {
        let column = column.mapv(f64::from);
        let kurtosis = column.mapv(|v| v.powi(4)).mean().unwrap();
        z.push(column.mean().unwrap() * (n as f64).sqrt());
        z.push((column.mapv(|v| v * v).mean().unwrap() - 1.0) / ((kurtosis - 1.0) / n as f64).sqrt());
    }
    let floors: Vec<f64> =
        (0..20).map(|s| energy_distance(fresh(100 + s).view(), fresh(200 + s).view()).unwrap()).collect();
    let mean = floors.iter().sum::<f64>() / 20.0;
    let sd = (floors.iter().map(|f| (f - mean).powi(2)).sum::<f64>() / 19.0).sqrt();
    (z, (energy_distance(x.view(), fresh(99).view()).unwrap() - mean) / sd)
}

/// 4.5 standard errors are exceeded by chance once in 150,000 draws of a statistic, and 6 standard deviations,
/// in the exponential tail of the energy distance, once in a thousand: about one false alarm in a hundred over
/// the 40 statistics and 10 distances, were the seeds not fixed.
#[test]
fn samplers_with_chance_draw_the_distribution() {
    let toy = toy(false);
    let mixture = toy.diffused().unwrap();
    let samplers = [
        (Sampler::Ddpm, ReverseVariance::Beta),
        (Sampler::Ddpm, ReverseVariance::Posterior),
        (Sampler::Ddim { steps: 200, eta: 1.0 }, ReverseVariance::Beta),
        (Sampler::EulerMaruyama { steps: 300 }, ReverseVariance::Beta),
        (Sampler::PredictorCorrector { steps: 200, snr: 0.16 }, ReverseVariance::Beta),
    ];
    for schedule in [Schedule::Cosine, Schedule::Continuous(Sde::EXPLODING)] {
        for (sampler, reverse_variance) in samplers {
            let config = DiffusionConfig { schedule, sampler, reverse_variance, ..Default::default() };
            let x = sample_with(&mixture, &config, 2000, &Default::default(), &mut seeded(1)).unwrap().x;
            let (moments, distance) = against_truth(&mixture, &toy, &x);
            assert!(moments.iter().all(|z| z.abs() < 4.5), "{schedule:?}, {sampler:?}: moments {moments:?}");
            assert!(distance < 6.0, "{schedule:?}, {sampler:?}: energy distance {distance}");
        }
    }
    // The test can fail: too few steps are seen.
    let sampler = Sampler::EulerMaruyama { steps: 12 };
    let config = DiffusionConfig { sampler, ..Default::default() };
    let x = sample_with(&mixture, &config, 2000, &Default::default(), &mut seeded(1)).unwrap().x;
    let (moments, distance) = against_truth(&mixture, &toy, &x);
    assert!(moments.iter().any(|z| z.abs() > 4.5) && distance > 6.0, "{moments:?}, {distance}");
}

/// The exact noise of rows N(0, s²).
struct Mode(f64);

impl NoisePredictor for Mode {
    type Scratch = Vec<f32>;

    fn dim(&self) -> usize {
        1
    }

    fn noise<'a>(&self, x: &[f32], level: NoiseLevel, eps: &'a mut Vec<f32>) -> &'a [f32] {
        let slope = level.sigma / ((level.alpha * self.0).powi(2) + level.sigma.powi(2));
        eps.clear();
        eps.extend(x.iter().map(|x| slope as f32 * x));
        eps
    }
}

#[test]
fn narrow_modes_keep_their_width_to_the_smallest_noise() {
    let ratio = |width: f64, sampler, finish| {
        let config = DiffusionConfig { dim: 1, sampler, finish, ..Default::default() };
        let x = sample_with(&Mode(width), &config, 4000, &Default::default(), &mut seeded(1)).unwrap().x;
        (x.mapv(|x| f64::from(x).powi(2)).mean().unwrap()).sqrt() / width
    };
    // Width 1.4 σ_min, and what a linear recursion of the variance gives; four standard errors are 0.045.
    for (sampler, flow, estimate) in [
        (Sampler::Ddpm, 1.140, 0.511),
        (Sampler::Ddim { steps: 100, eta: 0.0 }, 0.986, 0.395),
        (Sampler::Heun { steps: 50 }, 1.046, 0.834),
        (Sampler::DpmSolver { steps: 50 }, 1.019, 0.812),
        (Sampler::EulerMaruyama { steps: 250 }, 1.051, 0.837),
    ] {
        for (finish, want) in [(Finish::Flow, flow), (Finish::Estimate, estimate)] {
            let got = ratio(0.0028, sampler, finish);
            assert!((got / want - 1.0).abs() < 0.045, "{sampler:?}, {finish:?}: {got}, expected {want}");
        }
        // A point keeps half of the smallest noise, times what the sampler itself adds.
        let point = ratio(1e-5, sampler, Finish::Flow) * 1e-5;
        assert!((0.0009..0.0015).contains(&point), "{sampler:?}: {point}");
    }
}

#[test]
fn a_wrong_width_is_an_error() {
    let config = DiffusionConfig { dim: 3, ..Default::default() };
    let drawn =
        sample_with(&Toy::grid25().diffused().unwrap(), &config, 1, &Default::default(), &mut seeded(0));
    assert!(matches!(drawn, Err(Error::Config { field: "DiffusionConfig::dim", .. })), "{drawn:?}");
}
