//! What a critic measures while the generator stands still.

use std::f64::consts::LN_2;

use quadrivium::ndarray::{Array2, Array3, Axis, s};
use quadrivium::numeric::quadrature::trapezoid;
use quadrivium::numeric::rng::Streams;
use quadrivium::worlds::Toy;
use quadrivium::{Activation, AdversarialLoss, NetworkSpec, OptimizerConfig, prelude::*};

use crate::claim::{Bound, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

/// A generator whose rows are Gaussian, in units that are those of its data, and which no training moves.
fn still(loss: AdversarialLoss, streams: Streams) -> Outcome<Gan> {
    let config = GanConfig {
        loss,
        generator: NetworkSpec::mlp([], Activation::Silu, 0),
        critic: NetworkSpec::mlp([48, 48], Activation::Silu, 0),
        critic_lr: 5e-3,
        // A step that is rounded away.
        optimizer: OptimizerConfig { lr: 1e-30, ..GanConfig::default().optimizer },
        ..GanConfig::default()
    };
    let mut gan = Gan::new(config, &mut streams.stream(0))?;
    // Means of 0 and variances of 1 fix the units at its first training.
    let corners =
        Array2::from_shape_fn((400, 2), |(row, column)| if row >> column & 1 == 0 { 1.0 } else { -1.0 });
    gan.train(
        &Dataset::new(corners)?,
        &TrainOptions { steps: 1, ..Default::default() },
        &mut streams.stream(1),
        &mut NoObserver,
    )?;
    Ok(gan)
}

/// The mean and the covariance of rows.
fn moments(x: &Array2<f32>) -> (Array2<f64>, Array2<f64>) {
    let x = x.mapv(f64::from);
    let mean = x.mean_axis(Axis(0)).expect("rows");
    let centered = &x - &mean;
    (mean.clone().insert_axis(Axis(0)), centered.t().dot(&centered) / x.nrows() as f64)
}

/// R² of the least-squares line of y on x.
fn explained(x: &[f64], y: &[f64]) -> f64 {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let product = |a: &[f64], ma: f64, b: &[f64], mb: f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - ma) * (b - mb)).sum()
    };
    product(x, mx, y, my).powi(2) / (product(x, mx, x, mx) * product(y, my, y, my))
}

/// ln(1 + eˣ).
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

pub fn jensen_shannon(lab: &Lab) -> Outcome<Finding> {
    const SEPARATIONS: [f64; 8] = [0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0];
    let figures = lab.each(|seed| {
        let streams = lab.streams(seed);
        let gan = still(AdversarialLoss::Minimax, streams)?;
        let (mean, covariance) = moments(&gan.draw(400_000, &mut streams.stream(2))?);
        let mixture = |shifts: &[f64]| {
            let sd = covariance[[0, 0]].sqrt();
            let means = Array2::from_shape_fn((shifts.len(), 2), |(k, i)| {
                mean[[0, i]] + if i == 0 { shifts[k] * sd } else { 0.0 }
            });
            let covariances = Array3::from_shape_fn((shifts.len(), 2, 2), |(_, i, j)| covariance[[i, j]]);
            Toy::mixture(&vec![1.0; shifts.len()], means.view(), covariances.view())
        };
        let generated = mixture(&[0.0])?;
        let (mut truth, mut found) = (Vec::new(), Vec::new());
        for separation in SEPARATIONS {
            let real = mixture(&[-separation, separation])?;
            let mut gan = gan.clone();
            let data = Dataset::new(real.sample(50_000, &mut streams.stream(3)))?;
            let options = TrainOptions { steps: 600, ..Default::default() };
            gan.train(&data, &options, &mut streams.stream(4), &mut NoObserver)?;
            let side = |i: usize| 8.0 * covariance[[i, i]].sqrt() + 3.0 * covariance[[0, 0]].sqrt();
            let mut points: Vec<f32> = Vec::new();
            let (lower, upper) = ([-side(0), -side(1)], [side(0), side(1)]);
            let h = side(0).min(side(1)) / 60.0;
            trapezoid(&lower, &upper, h, |x| {
                points.extend(x.iter().map(|&x| x as f32));
                0.0
            });
            let points = Array2::from_shape_vec((points.len() / 2, 2), points)?;
            let logits = gan.critic(points.view())?;
            let (p, q) = (real.log_density(points.view())?, generated.log_density(points.view())?);
            let (mut value, mut js, mut at) = (0.0, 0.0, 0);
            let volume = trapezoid(&lower, &upper, h, |_| {
                let (p, q, logit) = (p[at], q[at], logits[at]);
                at += 1;
                value -= p.exp() * softplus(-logit) + q.exp() * softplus(logit);
                let middle = (0.5 * (p.exp() + q.exp())).max(f64::MIN_POSITIVE).ln();
                js += 0.5 * (p.exp() * (p - middle) + q.exp() * (q - middle));
                1.0
            });
            let cell = volume / at as f64;
            truth.push(js * cell);
            found.push(0.5 * (value * cell + 2.0 * LN_2));
        }
        Ok((statistics::slope(&truth, &found).mean, explained(&truth, &found), truth[7]))
    })?;
    let of =
        |get: fn(&(f64, f64, f64)) -> f64| statistics::mean(&figures.iter().map(get).collect::<Vec<_>>());
    Ok(Finding::new()
        .claim("slope of ½(V + ln 4) over the divergence", of(|figures| figures.0), Bound::Within(0.98, 1.02))
        .claim("R²", of(|figures| figures.1), Bound::AtLeast(0.999))
        .beside("largest divergence, nats", of(|figures| figures.2))
        .because(
            "A discriminator in training is never quite the optimal one, and what it lacks is missing from its \
             value.",
        ))
}

pub fn wasserstein(lab: &Lab) -> Outcome<Finding> {
    // Rows and shifted rows: W₁ is the length of the shift.
    const SHIFTS: [f64; 8] = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0];
    let slope = |lambda: f64| {
        lab.each(|seed| {
            let streams = lab.streams(seed);
            let gan = still(AdversarialLoss::WassersteinGp { lambda }, streams)?;
            let mut values = Vec::new();
            for shift in SHIFTS {
                let shifted = |mut x: Array2<f32>| {
                    x.slice_mut(s![.., 0]).mapv_inplace(|x| x + shift as f32);
                    x
                };
                let mut gan = gan.clone();
                let data = Dataset::new(shifted(gan.draw(20_000, &mut streams.stream(2))?))?;
                let options = TrainOptions { steps: 400, batch: 128, ..Default::default() };
                gan.train(&data, &options, &mut streams.stream(3), &mut NoObserver)?;
                let x = gan.draw(4_000, &mut streams.stream(4))?;
                let generated = gan.critic(x.view())?.mean().ok_or("no rows")?;
                values.push(gan.critic(shifted(x).view())?.mean().ok_or("no rows")? - generated);
            }
            Ok((statistics::slope(&SHIFTS, &values).mean, values[7] / SHIFTS[7]))
        })
    };
    let strong = slope(10.0)?;
    let weak = slope(0.1)?;
    let of = |figures: &[(f64, f64)], get: fn(&(f64, f64)) -> f64| {
        statistics::mean(&figures.iter().map(get).collect::<Vec<_>>())
    };
    Ok(Finding::new()
        .claim("slope of the critic's value over W₁, λ = 10", of(&strong, |f| f.0), Bound::Within(0.9, 1.1))
        .limit("value ÷ W₁ at a distance of two standard deviations", of(&strong, |f| f.1), Bound::Within(0.98, 1.02))
        .beside("slope at λ = 0.1", of(&weak, |f| f.0))
        .because(
            "What the critic measures grows with the distance, but faster: the penalty does not hold its slope \
             at 1. A critic of slope c gains c·W₁ and pays λ(c − 1)², so that its best slope is 1 + W₁/2λ, and only a \
             λ much larger than W₁ makes it the distance itself.",
        ))
}
