//! The chain rule and the ELBO.

use std::f64::consts::TAU;

use quadrivium::hybrid::Codec;
use quadrivium::ndarray::{Array1, Array2, ArrayView2, Axis, array};
use quadrivium::numeric::rng::Streams;
use quadrivium::worlds::{MarkovChain, Toy};
use quadrivium::{
    Activation, Generative, Head, NetworkSpec, OptimizerConfig, Token, Transformer, TransformerConfig,
    prelude::*,
};

use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

/// Parameters that are scored as they are trained: no moving average.
fn unaveraged(optimizer: OptimizerConfig) -> OptimizerConfig {
    OptimizerConfig { ema: 0.0, ..optimizer }
}

/// The loss of each row, and its parts, as a training computes them before its first step.
fn losses<T: quadrivium::engine::Row>(
    model: &(impl Generative<T> + Clone),
    x: ArrayView2<T>,
) -> Outcome<Vec<quadrivium::TrainReport>> {
    let once = TrainOptions { steps: 1, batch: 4, shards: 1, ..Default::default() };
    let loss = |row: ArrayView2<T>| {
        // As many copies of a row as a minibatch needs.
        let copies = row.broadcast((4, row.ncols())).ok_or("a row")?.to_owned();
        Ok(model.clone().train(&Dataset::new(copies)?, &once, &mut quadrivium::seeded(0), &mut NoObserver)?)
    };
    x.axis_chunks_iter(Axis(0), 1).map(loss).collect()
}

/// The log-likelihood of each row.
fn nats<T>(model: &dyn Distribution<T>, x: ArrayView2<T>) -> Outcome<Array1<f64>> {
    let score = model.log_likelihood(x, &LikelihoodOptions::default())?;
    Ok(score.nats().ok_or("no likelihood")?.clone())
}

pub fn chain_rule(lab: &Lab) -> Outcome<Finding> {
    const LEN: usize = 6;
    let mut total = Vec::new();
    let mut differences = Vec::new();
    for seed in 0..crate::lab::SEEDS {
        let mut rng = lab.streams(seed).stream(0);
        let source = MarkovChain::random(4, 1, LEN, &mut rng)?;
        let data = Dataset::new(source.draw(500, &mut rng)?)?;
        let config = TransformerConfig {
            vocabulary: 4,
            len: LEN,
            width: 16,
            heads: 2,
            blocks: 1,
            ..Default::default()
        };
        let optimizer = unaveraged(config.optimizer.clone());
        let mut transformer = Transformer::new(TransformerConfig { optimizer, ..config }, &mut rng)?;
        let options = TrainOptions { steps: 60, batch: 32, ..Default::default() };
        transformer.train(&data, &options, &mut rng, &mut NoObserver)?;
        // All 4⁶ rows: in base 4.
        let all = Array2::from_shape_fn((4usize.pow(LEN as u32), LEN), |(row, place)| {
            Token((row / 4usize.pow(place as u32) % 4) as u32)
        });
        // Rows that end earlier count, too: END, and what follows it is END.
        let shorter = (0..LEN).flat_map(|len| (0..4usize.pow(len as u32)).map(move |row| (len, row)));
        let shorter: Vec<Token> = shorter
            .flat_map(|(len, row)| {
                (0..LEN).map(move |place| match place < len {
                    true => Token((row / 4usize.pow(place as u32) % 4) as u32),
                    false => Token::END,
                })
            })
            .collect();
        let shorter = Array2::from_shape_vec((shorter.len() / LEN, LEN), shorter)?;
        let mut sum = 0.0;
        for rows in [&all, &shorter] {
            sum += nats(&transformer, rows.view())?.iter().map(|nats| nats.exp()).sum::<f64>();
        }
        total.push(sum);
        let some = all.select(Axis(0), &[0, 77, 1000, 4095]);
        for (report, nats) in losses(&transformer, some.view())?.iter().zip(nats(&transformer, some.view())?)
        {
            // A training reports nats per token.
            differences.push((report.loss[0] * LEN as f64 + nats).abs() / nats.abs());
        }

        let moons = Toy::moons(0.1)?;
        let config = AutoregressiveConfig {
            network: NetworkSpec::mlp([32, 32], Activation::Silu, 2),
            head: Head::Mixture { components: 8 },
            ..Default::default()
        };
        let optimizer = unaveraged(config.optimizer.clone());
        let mut masked = Autoregressive::new(AutoregressiveConfig { optimizer, ..config }, &mut rng)?;
        let data = Dataset::new(moons.sample(2_000, &mut rng))?;
        masked.train(&data, &TrainOptions { steps: 200, ..Default::default() }, &mut rng, &mut NoObserver)?;
        let x = moons.sample(8, &mut rng);
        let sums: Vec<f64> = losses(&masked, x.view())?
            .iter()
            .zip(nats(&masked, x.view())?)
            .map(|(r, n)| r.loss[0] + n)
            .collect();
        // The loss is in standard units: all rows differ from nats in the data's units by the same constant.
        let mean = statistics::mean(&sums).mean;
        let scale = nats(&masked, x.view())?.mapv(f64::abs).mean().ok_or("no rows")?;
        differences.extend(sums.iter().map(|sum| (sum - mean).abs() / scale));
    }
    let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    let off: Vec<f64> = total.iter().map(|sum| (sum - 1.0).abs()).collect();
    Ok(Finding::new()
        .claim(
            "loss against log-likelihood, largest relative difference",
            Estimate::exact(most(&differences)),
            Bound::AtMost(1e-6),
        )
        .claim(
            "sum of the probabilities of all sequences, largest difference from 1",
            Estimate::exact(most(&off)),
            Bound::AtMost(1e-6),
        )
        .because(
            "The two are computed in 32-bit floating-point numbers, whose rounding is all that parts them.",
        ))
}

/// A VAE of one column and one latent, whose likelihood is an integral over a line.
struct OneColumn {
    vae: Vae,
    x: Array2<f32>,
}

/// Nodes z of the integrals over the latent, which has no mass to speak of beyond ±8.
const NODES: usize = 16_001;

/// What is known of each row of a [`OneColumn`], each (rows).
struct Known {
    log_p: Vec<f64>,
    /// KL(q(z|x) ‖ p(z|x)).
    kl: Vec<f64>,
}

impl OneColumn {
    fn new(toy: &Toy, network: NetworkSpec, seed: u64, streams: Streams) -> Outcome<Self> {
        let mut rng = streams.stream(seed);
        let config = VaeConfig {
            dim: 1,
            latent_dim: 1,
            encoder: network.clone(),
            decoder: network,
            draws: 500,
            beta_warmup: 0.0,
            ..Default::default()
        };
        let mut vae = Vae::new(config, &mut rng)?;
        let data = Dataset::new(toy.sample(2_000, &mut rng))?;
        // Stopped early: the encoder is not yet as good as it can be, and the gap is wide enough to be measured.
        vae.train(&data, &TrainOptions { steps: 100, ..Default::default() }, &mut rng, &mut NoObserver)?;
        Ok(OneColumn { vae, x: toy.sample(200, &mut rng) })
    }

    /// ln p(x|z) of each row at the z of an explanation, and (x − m(z))².
    fn explained(&self, seed: u64) -> Outcome<(Vec<f64>, Vec<f64>)> {
        let posterior = self.vae.encode(self.x.view())?;
        let explanation = self.vae.explain(self.x.view(), seed)?;
        let mean = self.vae.decode(explanation.z.view())?;
        let rows = 0..self.x.nrows();
        let log_p = rows.clone().map(|r| {
            let z = f64::from(explanation.z[[r, 0]]);
            explanation.nats[r] - log_normal(z, 0.0, 1.0)
                + log_normal(z, posterior.mean[[r, 0]].into(), posterior.sd[[r, 0]].into())
        });
        let square = rows.map(|r| (f64::from(self.x[[r, 0]]) - f64::from(mean[[r, 0]])).powi(2));
        Ok((log_p.collect(), square.collect()))
    }

    /// The decoder's standard deviation: ln p(x|z) falls by (x − m(z))²/2s².
    fn sd(&self) -> Outcome<f64> {
        let (log_p, square) = self.explained(0)?;
        Ok((-0.5 / statistics::slope(&square, &log_p).mean).sqrt())
    }

    /// By the trapezoidal rule on a fine grid of z.
    fn known(&self) -> Outcome<Known> {
        let h = 16.0 / (NODES - 1) as f64;
        let z = Array2::from_shape_fn((NODES, 1), |(i, _)| (i as f64 * h - 8.0) as f32);
        let (mean, sd) = (self.vae.decode(z.view())?, self.sd()?);
        let posterior = self.vae.encode(self.x.view())?;
        let (mut log_p, mut kl) = (Vec::new(), Vec::new());
        for (r, x) in self.x.iter().enumerate() {
            let q = (f64::from(posterior.mean[[r, 0]]), f64::from(posterior.sd[[r, 0]]));
            let (mut p, mut expected, mut mass) = (0.0, 0.0, 0.0);
            for (&z, &mean) in z.iter().zip(&mean) {
                let z = f64::from(z);
                let joint = log_normal((*x).into(), mean.into(), sd) + log_normal(z, 0.0, 1.0);
                let log_q = log_normal(z, q.0, q.1);
                p += joint.exp() * h;
                expected += log_q.exp() * (joint - log_q) * h;
                mass += log_q.exp() * h;
            }
            log_p.push(p.ln());
            kl.push(p.ln() - expected / mass);
        }
        Ok(Known { log_p, kl })
    }
}

/// ln N(x; mean, sd²).
fn log_normal(x: f64, mean: f64, sd: f64) -> f64 {
    -0.5 * ((x - mean) / sd).powi(2) - sd.ln() - 0.5 * TAU.ln()
}

/// Draws of each row's ELBO.
const EXPLANATIONS: u64 = 1_000;

pub fn lower_bound(lab: &Lab) -> Outcome<Finding> {
    let normal = Toy::mixture(&[1.0], array![[1.0]].view(), array![[[4.0]]].view())?;
    let modes = Toy::mixture(&[0.4, 0.6], array![[-2.0], [1.0]].view(), array![[[0.16]], [[0.64]]].view())?;
    let mut finding = Finding::new();
    for (name, toy, network) in [
        ("linear", &normal, NetworkSpec::mlp([], Activation::Tanh, 0)),
        ("nonlinear", &modes, NetworkSpec::mlp([16, 16], Activation::Tanh, 1)),
    ] {
        let figures = lab.each(|seed| {
            let model = OneColumn::new(toy, network.clone(), seed, lab.streams(seed))?;
            let known = model.known()?;
            let mut elbo: Vec<Vec<f64>> = vec![Vec::new(); model.x.nrows()];
            for draw in 0..EXPLANATIONS {
                let nats = model.vae.explain(model.x.view(), draw)?.nats;
                elbo.iter_mut().zip(nats).for_each(|(row, nats)| row.push(nats));
            }
            let mut iwae: Vec<Vec<f64>> = vec![Vec::new(); model.x.nrows()];
            for seed in 0..20 {
                let score = model.vae.log_likelihood(model.x.view(), &LikelihoodOptions { seed })?;
                let nats = score.nats().ok_or("no bound")?;
                iwae.iter_mut().zip(nats).for_each(|(row, &nats)| row.push(nats));
            }
            let rows = known.log_p.len() as f64;
            let ordered = (0..known.log_p.len()).filter(|&r| {
                let (one, many) = (statistics::mean(&elbo[r]), statistics::mean(&iwae[r]));
                one.mean - 1.5 * one.half_width <= many.mean
                    && many.mean - 1.5 * many.half_width <= known.log_p[r]
            });
            let drawn = elbo.iter().map(|row| statistics::mean(row).mean).sum::<f64>() / rows;
            let sum = |values: &[f64]| values.iter().sum::<f64>() / rows;
            Ok((ordered.count() as f64 / rows, sum(&known.log_p) - drawn - sum(&known.kl), sum(&known.kl)))
        })?;
        let of =
            |get: fn(&(f64, f64, f64)) -> f64| statistics::mean(&figures.iter().map(get).collect::<Vec<_>>());
        finding = finding
            .claim(
                format!("rows of a {name} VAE with ELBO ≤ IWAE₅₀₀ ≤ log p, within three standard errors"),
                of(|figures| figures.0),
                Bound::AtLeast(0.99),
            )
            .claim(
                format!("{name}: log p − ELBO − KL, nats"),
                of(|figures| figures.1),
                Bound::Within(-0.01, 0.01),
            )
            .beside(format!("{name}: the KL, nats"), of(|figures| figures.2));
    }
    Ok(finding
        .because("One draw of the bound is noisy, and its mean is known no better than the interval says."))
}

/// Weights of the KL term, strongest first. At 1 and above, the decoder's noise would grow to hide what z does not tell.
const BETAS: [f64; 5] = [0.5, 0.25, 0.125, 0.0625, 0.03125];

pub fn rate_and_distortion(lab: &Lab) -> Outcome<Finding> {
    let ring = Toy::ring(8, 1.0, 0.1)?;
    let figures = lab.each(|seed| {
        let streams = lab.streams(seed);
        let data = Dataset::new(ring.sample(5_000, &mut streams.stream(0)))?;
        let test = ring.sample(2_000, &mut streams.stream(1));
        let (mut curve, mut off) = (Vec::new(), 0.0f64);
        for beta in BETAS {
            let network = NetworkSpec::mlp([32, 32], Activation::Tanh, 1);
            // A floor under the decoder's noise, which it does not leave with these weights, fixes what a distortion costs;
            // with a free noise every nat of rate buys a nat of reconstruction, and the curve is a line.
            let config = VaeConfig {
                beta,
                beta_warmup: 0.0,
                min_sd: 0.3,
                encoder: network.clone(),
                decoder: network,
                ..Default::default()
            };
            let mut rng = streams.stream(2);
            let mut vae = Vae::new(config, &mut rng)?;
            let options = TrainOptions { steps: 600, ..Default::default() };
            let report = vae.train(&data, &options, &mut rng, &mut NoObserver)?;
            let [reconstruction, kl] = &report.parts[..] else { return Err("two parts".into()) };
            for ((loss, reconstruction), kl) in report.loss.iter().zip(&reconstruction.1).zip(&kl.1) {
                off = off.max((loss - reconstruction - beta * kl).abs() / loss.abs().max(1.0));
            }
            let rate = closed_form(&vae, test.view())?.iter().sum::<f64>() / 2_000.0;
            let elbo = (0..8).map(|seed| Ok(vae.explain(test.view(), seed)?.nats.mean().ok_or("no rows")?));
            let elbo = elbo.collect::<Outcome<Vec<f64>>>()?.iter().sum::<f64>() / 8.0;
            curve.push((rate, -elbo - rate));
        }
        // From a low rate to a high one; ∂D/∂R rises towards 0.
        let slopes: Vec<f64> =
            curve.windows(2).map(|ends| (ends[1].1 - ends[0].1) / (ends[1].0 - ends[0].0)).collect();
        let bends = slopes.windows(2).map(|slopes| slopes[1] - slopes[0]).fold(f64::INFINITY, f64::min);
        let rises = curve.windows(2).map(|ends| ends[1].0 - ends[0].0).fold(f64::INFINITY, f64::min);
        Ok([off, bends, rises])
    })?;
    let of = |k: usize| figures.iter().map(|figures| figures[k]).collect::<Vec<_>>();
    Ok(Finding::new()
        .claim(
            "loss − reconstruction − β·KL, largest relative difference of all steps",
            Estimate::exact(of(0).into_iter().fold(0.0, f64::max)),
            Bound::AtMost(1e-9),
        )
        .claim("least rise of the KL from one β to half of it, nats", statistics::mean(&of(2)), Bound::AtLeast(0.0))
        .claim("least bend of the curve of reconstruction against KL", statistics::mean(&of(1)), Bound::AtLeast(0.0))
        .because("Neighboring points of the curve come from separate trainings, which may end in different optima."))
}

/// KL(q(z|x) ‖ N(0, I)) of each row.
fn closed_form(vae: &Vae, x: ArrayView2<f32>) -> Outcome<Vec<f64>> {
    let posterior = vae.encode(x)?;
    let rows = posterior.mean.rows().into_iter().zip(posterior.sd.rows());
    Ok(rows
        .map(|(mean, sd)| {
            let columns = mean.iter().zip(sd).map(|(&mean, &sd)| (f64::from(mean), f64::from(sd)));
            columns.map(|(mean, sd)| 0.5 * (mean * mean + sd * sd - 1.0) - sd.ln()).sum()
        })
        .collect())
}

pub fn closed_form_kl(lab: &Lab) -> Outcome<Finding> {
    let moons = Toy::moons(0.1)?;
    let figures = lab.each(|seed| {
        let mut rng = lab.streams(seed).stream(0);
        let network = NetworkSpec::mlp([32, 32], Activation::Tanh, 1);
        let config = VaeConfig { encoder: network.clone(), decoder: network, ..Default::default() };
        let optimizer = unaveraged(config.optimizer.clone());
        let mut vae = Vae::new(VaeConfig { optimizer, ..config }, &mut rng)?;
        let data = Dataset::new(moons.sample(2_000, &mut rng))?;
        vae.train(&data, &TrainOptions { steps: 300, ..Default::default() }, &mut rng, &mut NoObserver)?;
        let x = moons.sample(500, &mut rng);
        let (posterior, exact) = (vae.encode(x.view())?, closed_form(&vae, x.view())?);
        let mut differences = Vec::new();
        for draw in 0..200 {
            let z = vae.explain(x.view(), draw)?.z;
            let ratio = |(r, i): (usize, usize)| {
                let z = f64::from(z[[r, i]]);
                log_normal(z, posterior.mean[[r, i]].into(), posterior.sd[[r, i]].into())
                    - log_normal(z, 0.0, 1.0)
            };
            let drawn = (0..x.nrows()).map(|r| ratio((r, 0)) + ratio((r, 1)) - exact[r]);
            differences.push(drawn.sum::<f64>() / x.nrows() as f64);
        }
        let n = differences.len() as f64;
        let mean = differences.iter().sum::<f64>() / n;
        let sd = (differences.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
        let of_loss = losses(&vae, x.slice(quadrivium::ndarray::s![..4, ..]))?;
        let off =
            of_loss.iter().zip(&exact).map(|(report, exact)| (report.parts[1].1[0] - exact).abs() / exact);
        Ok((mean.abs() / (sd / n.sqrt()), off.fold(0.0, f64::max)))
    })?;
    let most = |get: fn(&(f64, f64)) -> f64| Estimate::exact(figures.iter().map(get).fold(0.0, f64::max));
    Ok(Finding::new()
        .claim(
            "closed form against draws, largest difference of five seeds in standard errors",
            most(|figures| figures.0),
            Bound::AtMost(3.0),
        )
        .claim(
            "KL in the loss against the closed form, largest relative difference",
            most(|figures| figures.1),
            Bound::AtMost(1e-5),
        )
        .because("Of five differences, one in seventy-four is beyond three standard errors by chance."))
}
