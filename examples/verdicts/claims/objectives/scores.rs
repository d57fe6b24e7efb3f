//! Noise, scores and velocities.

use quadrivium::diffusion::{NoiseLevel, ScoreTraining};
use quadrivium::metrics::{Floor, energy_distance};
use quadrivium::ndarray::{Array2, Axis};
use quadrivium::nn::{Direction, Inputs, Moment, Weights, Workspace};
use quadrivium::numeric::Real;
use quadrivium::worlds::Toy;
use quadrivium::{Activation, NetworkSpec, Sampler, numeric::ode::Method, prelude::*};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn network<const LAYERS: usize>(hidden: [usize; LAYERS]) -> NetworkSpec {
    NetworkSpec::mlp(hidden, Activation::Silu, 3)
}

pub fn noise_is_score(lab: &Lab) -> Outcome<Finding> {
    const SIGMAS: [f64; 8] = [0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.99];
    // The score model is asked at its smallest level, σ/α of the third σ above.
    const SMALLEST: f64 = 0.2;
    let ring = Toy::ring(8, 1.0, 0.15)?;
    let exact = ring.diffused().ok_or("a mixture")?;
    let (mut identity, mut cosines, mut ladder) = (0.0f64, Vec::new(), Vec::new());
    for seed in 0..crate::lab::SEEDS {
        let streams = lab.streams(seed);
        let data = Dataset::new(ring.sample(200_000, &mut streams.stream(0)))?;
        let mut rng = streams.stream(1);
        // Trained at the levels that are asked about.
        let config = DiffusionConfig {
            network: network([128; 3]),
            whiten: false,
            sigma_min: 0.04,
            ..Default::default()
        };
        let mut model = Diffusion::new(config, &mut rng)?;
        // To come near the minimizers, longer than the other claims need.
        let options = TrainOptions { steps: 5_000, batch: 512, ..Default::default() };
        model.train(&data, &options, &mut rng, &mut NoObserver)?;
        let rows = exact.standardizer().apply(ring.sample(1_000, &mut streams.stream(2)));
        let mut worst = f64::INFINITY;
        for sigma in SIGMAS {
            let NoiseLevel { alpha, .. } = NoiseLevel::at_sigma(sigma);
            let noise = Array2::from_shape_simple_fn(rows.dim(), || <f32 as Real>::normal(&mut rng));
            let noisy = &rows * alpha as f32 + &noise * sigma as f32;
            let predicted = model.predict_noise(noisy.view(), NoiseLevel::at_sigma(sigma))?.mapv(f64::from);
            let score = predicted.mapv(|noise| -noise / sigma);
            // ∇ ln N(x; αx₀, σ²), of the very noise that the row has after rounding.
            let centers = rows.mapv(|x| alpha * f64::from(x));
            let target = (noisy.mapv(f64::from) - &centers) / (-sigma * sigma);
            let noise = target.mapv(|score| -score * sigma);
            for r in 0..rows.nrows() {
                let square = |a: &Array2<f64>, b: &Array2<f64>| -> f64 {
                    a.row(r).iter().zip(b.row(r)).map(|(a, b)| (a - b) * (a - b)).sum()
                };
                let (of_noise, of_score) =
                    (square(&predicted, &noise), sigma * sigma * square(&score, &target));
                identity = identity.max((of_noise - of_score).abs() / of_noise.max(1e-3));
            }
            let mut truth = vec![0.0; noisy.len()];
            let x: Vec<f64> = noisy.iter().map(|&x| x.into()).collect();
            exact.score(alpha, sigma, &x, &mut truth, None);
            worst = worst.min(cosine(score.as_slice().ok_or("contiguous")?, &truth));
        }
        cosines.push(worst);

        let config = ScoreConfig {
            network: network([128; 2]),
            training: ScoreTraining::Denoising,
            sigma_min: SMALLEST,
            levels: 8,
            ..Default::default()
        };
        let mut model = ScoreModel::new(config, &mut rng)?;
        let options = TrainOptions { steps: 2_500, ..options };
        model.train(&data, &options, &mut rng, &mut NoObserver)?;
        let noise =
            Array2::from_shape_simple_fn(rows.dim(), || SMALLEST as f32 * <f32 as Real>::normal(&mut rng));
        let mut noisy = &rows + &noise;
        let x: Vec<f64> = noisy.iter().map(|&x| x.into()).collect();
        let mut truth = vec![0.0; x.len()];
        exact.score(1.0, SMALLEST, &x, &mut truth, None);
        exact.standardizer().restore(noisy.as_slice_mut().ok_or("contiguous")?);
        let score = model.score(noisy.view())?.mapv(f64::from);
        ladder.push(cosine(score.as_slice().ok_or("contiguous")?, &truth));
    }
    Ok(Finding::new()
        .claim(
            "noise MSE − σ²·score MSE, largest relative difference of a row",
            Estimate::exact(identity),
            Bound::AtMost(1e-12),
        )
        .claim(
            "least cosine of the noise predictor's score and the true one, of σ from 0.05 to 0.99",
            statistics::mean(&cosines),
            Bound::AtLeast(0.99),
        )
        .claim("the same of a score model at its smallest σ", statistics::mean(&ladder), Bound::AtLeast(0.99))
        .because(
            "The two losses are one; a network that was trained for seconds is a little off the minimizer.",
        ))
}

pub fn one_network(lab: &Lab) -> Outcome<Finding> {
    const STEPS: usize = 1_000;
    const ROWS: usize = 1_000;
    const SAMPLERS: [Sampler; 5] = [
        Sampler::Ddpm,
        Sampler::Ddim { steps: STEPS, eta: 0.0 },
        Sampler::Ddim { steps: STEPS, eta: 1.0 },
        Sampler::EulerMaruyama { steps: STEPS },
        Sampler::Ode { method: Method::Euler, steps: STEPS },
    ];
    let ring = Toy::ring(8, 1.0, 0.15)?;
    let mut pairs = vec![Vec::new(); SAMPLERS.len() * (SAMPLERS.len() - 1) / 2];
    let mut same = Vec::new();
    for seed in 0..crate::lab::SEEDS {
        let streams = lab.streams(seed);
        let data = Dataset::new(ring.sample(20_000, &mut streams.stream(0)))?;
        let mut rng = streams.stream(1);
        let mut model =
            Diffusion::new(DiffusionConfig { network: network([64; 2]), ..Default::default() }, &mut rng)?;
        let options = TrainOptions { steps: 1_000, ..Default::default() };
        model.train(&data, &options, &mut rng, &mut NoObserver)?;
        let draws = SAMPLERS.iter().enumerate().map(|(k, &sampler)| {
            Ok(model.with_sampler(sampler)?.draw(ROWS, &mut streams.stream(2 + k as u64))?)
        });
        let draws = draws.collect::<Outcome<Vec<_>>>()?;
        let all = (0..SAMPLERS.len()).flat_map(|i| (0..i).map(move |j| (i, j)));
        for (pair, (i, j)) in pairs.iter_mut().zip(all) {
            pair.push(energy_distance(draws[i].view(), draws[j].view())?);
        }
        // The floor: two samples of the network's own distribution, by a sampler of high order.
        let quick = model.with_sampler(Sampler::DpmSolver { steps: 100 })?;
        let more = quick.draw(10 * ROWS, &mut streams.stream(20))?;
        let parts: Vec<_> = more.axis_chunks_iter(Axis(0), ROWS).collect();
        for two in parts.chunks(2) {
            same.push(energy_distance(two[0], two[1])?);
        }
    }
    let floor = Floor::of(&same, 1)?;
    // Ten pairs are judged at once: each by its mean over the seeds, and the largest by the margin of one pair.
    let largest = pairs.iter().map(|pair| statistics::mean(pair)).max_by(|a, b| a.mean.total_cmp(&b.mean));
    Ok(Finding::new()
        .claim(
            "largest energy distance of two of five samplers, 1,000 steps each",
            largest.ok_or("no pairs")?,
            Bound::AtMost(floor.mean + 2.0 * floor.sd),
        )
        .beside("floor, two samples of one sampler", Estimate { mean: floor.mean, half_width: 0.0 })
        .because(
            "The samplers agree exactly only where the network is the score of some density at every noise level, \
             which a trained network is not quite; and 1,000 rows leave a wide interval.",
        ))
}

pub fn consistency(lab: &Lab) -> Outcome<Finding> {
    const STEPS: [f64; 4] = [1e-1, 1e-2, 1e-3, 1e-4];
    const ROWS: usize = 64;
    // X(x, t) = x + (1 − t) v(x, t) jumps from the time t to the data, at t = 1.
    let figures = lab.each(|seed| {
        let mut rng = lab.streams(seed).stream(0);
        let net = NetworkSpec::mlp([16, 16], Activation::Tanh, 1).vector_field::<f64>(2, 0, 8)?;
        let mut p = vec![0.0; net.num_params()];
        net.init(&mut p, &mut rng);
        p.iter_mut().for_each(|p| *p += 0.2 * f64::normal(&mut rng));
        let mut t = vec![0.0; p.len()];
        net.transpose(&p, &mut t);
        let data = Toy::moons(0.1)?.sample(ROWS, &mut rng);
        let ends: Vec<(f64, f64)> = data.iter().map(|&x| (f64::normal(&mut rng), x.into())).collect();
        let times: Vec<f64> = (0..ROWS).map(|row| 0.05 + 0.8 * row as f64 / ROWS as f64).collect();
        let at = |later: f64| -> (Vec<f64>, Vec<Moment>) {
            let x =
                ends.iter().enumerate().map(|(i, (noise, x))| noise + (times[i / 2] + later) * (x - noise));
            (x.collect(), times.iter().map(|time| Moment { time: time + later, blur: 0.0 }).collect())
        };
        let remains = |i: usize, later: f64| 1.0 - times[i / 2] - later;
        let mut workspace = Workspace::default();
        let mut jump = |later: f64| -> Vec<f64> {
            let (x, moments) = at(later);
            let mut v = vec![0.0; x.len()];
            net.forward(&p, Inputs { x: &x, moments: &moments, condition: &[] }, &mut v, &mut workspace);
            v.iter().zip(&x).enumerate().map(|(i, (v, x))| x + remains(i, later) * v).collect()
        };
        let here = jump(0.0);
        let later: Vec<Vec<f64>> = STEPS.iter().map(|&step| jump(step)).collect();
        // The gradient of ½‖X − sg(·)‖²: ∂X/∂p times what is to become 0.
        let (x, moments) = at(0.0);
        let inputs = Inputs { x: &x, moments: &moments, condition: &[] };
        let mut v = vec![0.0; x.len()];
        net.forward(&p, inputs, &mut v, &mut workspace);
        // dX/dt along the line: ẋ − v + (1 − t) dv/dt, by the tangent of the network.
        let xdot: Vec<f64> = ends.iter().map(|(noise, x)| x - noise).collect();
        let rates = vec![Moment { time: 1.0, blur: 0.0 }; ROWS];
        let mut vdot = vec![0.0; x.len()];
        net.jvp(&p, inputs, Direction { x: &xdot, moments: &rates }, &mut vdot, &mut workspace);
        let mut gradient = |residual: &dyn Fn(usize) -> f64| {
            let dv: Vec<f64> = (0..x.len()).map(|i| remains(i, 0.0) * residual(i)).collect();
            let mut dp = vec![0.0; p.len()];
            net.backward(Weights { p: &p, t: &t }, inputs, &dv, Some(&mut dp), None, &mut workspace);
            dp
        };
        let continuous = gradient(&|i| -(xdot[i] - v[i] + remains(i, 0.0) * vdot[i]));
        let apart: Vec<f64> = STEPS
            .iter()
            .zip(&later)
            .map(|(step, later)| 1.0 - cosine(&gradient(&|i| (here[i] - later[i]) / step), &continuous))
            .collect();
        Ok((apart[2], statistics::exponent(&STEPS[..3], &apart[..3]).mean))
    })?;
    let of = |get: fn(&(f64, f64)) -> f64| statistics::mean(&figures.iter().map(get).collect::<Vec<_>>());
    Ok(Finding::new()
        .claim(
            "1 − cosine of the two gradients at a step of 0.001",
            of(|figures| figures.0),
            Bound::AtMost(1e-4),
        )
        .claim("order in the step at which it goes to 0", of(|figures| figures.1), Bound::AtLeast(1.5))
        .because("At a finite step the two gradients differ."))
}
