//! What size and architecture change, and how sharp pictures are.

use std::io::Read;

use quadrivium::diffusion::{NoiseLevel, NoisePredictor};
use quadrivium::metrics::energy_distance;
use quadrivium::ndarray::{Array2, ArrayView2, s};
use quadrivium::numeric::Real;
use quadrivium::prelude::*;
use quadrivium::tables::{Table, dequantize, shuffle_rows};
use quadrivium::worlds::Toy;
use quadrivium::{
    Activation, AdversarialLoss, LikelihoodKind, NetworkSpec, OptimizerConfig, Sampler, Transformer,
    TransformerConfig, seeded,
};

use crate::claim::{Bound, Estimate, Finding};
use crate::clock::{self, Work};
use crate::lab::{Lab, Outcome};
use crate::statistics;

const WIDTHS: [usize; 5] = [8, 16, 32, 64, 128];

fn options(steps: usize, batch: usize) -> TrainOptions {
    TrainOptions { steps, batch, ..Default::default() }
}

/// The parameters of diffusions of growing width, and their mean squared error in predicting the noise beyond that of
/// the exact score.
fn diffusions(lab: &Lab, seed: u64) -> Outcome<[[f64; 2]; 5]> {
    let (streams, toy) = (lab.streams(seed), Toy::grid25());
    let exact = toy.diffused().ok_or("a mixture")?;
    // So many rows that the units of data and truth are the same.
    let data = Dataset::new(toy.sample(500_000, &mut streams.stream(0)))?;
    let x = exact.standardizer().apply(toy.sample(1_000, &mut streams.stream(1)));
    let mut found = [[0.0; 2]; 5];
    for (found, width) in found.iter_mut().zip(WIDTHS) {
        let network = NetworkSpec::mlp([width; 3], Activation::Silu, 4);
        let config = DiffusionConfig { network, whiten: false, ..Default::default() };
        let mut model = Diffusion::new(config, &mut streams.stream(2))?;
        model.train(&data, &options(1_500, 128), &mut streams.stream(3), &mut NoObserver)?;
        let (mut error, levels) = (0.0, [0.2f64, 0.5, 1.0, 2.0]);
        for ratio in levels {
            let (level, rng) = (NoiseLevel::at_log_snr(-2.0 * ratio.ln()), &mut streams.stream(4));
            let z = x.mapv(|x| level.alpha as f32 * x + level.sigma as f32 * f32::normal(rng));
            let mut scratch = Default::default();
            let best: &[f32] = exact.noise(z.as_slice().ok_or("standard layout")?, level, &mut scratch);
            let found = model.predict_noise(z.view(), level)?;
            let squares = found.iter().zip(best).map(|(a, b)| f64::from(a - b).powi(2));
            error += squares.sum::<f64>() / (found.len() * levels.len()) as f64;
        }
        *found = [model.num_params() as f64, error];
    }
    Ok(found)
}

/// Energy distances of GANs of growing width.
fn games(lab: &Lab, seed: u64) -> Outcome<[f64; 5]> {
    let (streams, toy) = (lab.streams(seed), Toy::grid25());
    let data = Dataset::new(toy.sample(50_000, &mut streams.stream(0)))?;
    let truth = toy.sample(2_000, &mut streams.stream(1));
    let mut distances = [0.0; 5];
    for (distance, width) in distances.iter_mut().zip(WIDTHS) {
        let config = GanConfig {
            generator: NetworkSpec::mlp([width; 3], Activation::Silu, 3),
            critic: NetworkSpec::mlp([width; 3], Activation::LeakyRelu { slope: 0.2 }, 3),
            ..Default::default()
        };
        let mut model = Gan::new(config, &mut streams.stream(2))?;
        model.train(&data, &options(1_500, 128), &mut streams.stream(3), &mut NoObserver)?;
        *distance = energy_distance(model.draw(2_000, &mut streams.stream(4))?.view(), truth.view())?;
    }
    Ok(distances)
}

pub fn widths(lab: &Lab) -> Outcome<Finding> {
    let diffusions = lab.each(|seed| diffusions(lab, seed))?;
    let games = lab.each(|seed| games(lab, seed))?;
    let logs = |run: &[[f64; 2]; 5]| run.map(|[size, error]| [size.ln(), error.ln()]);
    let explained: Vec<f64> = diffusions
        .iter()
        .map(|run| {
            let (x, y) = (logs(run).map(|point| point[0]), logs(run).map(|point| point[1]));
            statistics::slope(&x, &y).mean * statistics::slope(&y, &x).mean
        })
        .collect();
    let exponents: Vec<f64> = diffusions
        .iter()
        .map(|run| statistics::exponent(&run.map(|point| point[0]), &run.map(|point| point[1])).mean)
        .collect();
    // From the widest to the narrowest, for errors to rise.
    let of = |figures: &dyn Fn(usize) -> Vec<f64>| {
        Estimate::exact(statistics::rising(&(0..5).rev().map(figures).collect::<Vec<_>>()))
    };
    Ok(Finding::new()
        .claim(
            "share of the log error that a power of the parameters explains",
            statistics::mean(&explained),
            Bound::AtLeast(0.95),
        )
        .claim(
            "probability by chance of such a trend, diffusion",
            of(&|k| diffusions.iter().map(|run| run[k][1]).collect()),
            Bound::AtMost(0.01),
        )
        .limit("WGAN-GP", of(&|k| games.iter().map(|run| run[k]).collect()), Bound::AtLeast(0.05))
        .beside("exponent of the error in the parameters", statistics::mean(&exponents))
        .because(
            "Sixteen times the width is a small range, and the number of steps is the same for all. Within it a GAN that is \
             too narrow for the modes gains from width, too.",
        ))
}

/// The 1,797 digits of 8 × 8 pixels, shuffled.
fn digits(lab: &Lab, seed: u64) -> Outcome<Array2<f32>> {
    let packed = std::fs::File::open(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/digits.csv.gz"))?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text)?;
    let (table, rng) = (Table::from_reader(text.as_bytes())?, &mut lab.streams(seed).stream(0));
    let mut x = dequantize(table.x.slice(s![.., ..64]), &[1.0; 64], rng)?;
    shuffle_rows(&mut x, rng);
    Ok(x)
}

/// The mean squared difference of neighboring pixels.
fn gradient(x: ArrayView2<f32>) -> f64 {
    let of_row = |row: &[f32]| -> f64 {
        let pairs = (0..64).flat_map(|i| {
            let right = (i % 8 < 7).then(|| (i, i + 1));
            let below = (i < 56).then(|| (i, i + 8));
            [right, below].into_iter().flatten()
        });
        pairs.map(|(i, j)| f64::from(row[i] - row[j]).powi(2)).sum()
    };
    x.rows().into_iter().map(|row| of_row(&row.to_vec())).sum::<f64>() / x.nrows() as f64
}

/// The gradient energy of draws over that of held-out digits: a GAN's, the means that a VAE decodes, and its draws.
fn sharp(lab: &Lab, seed: u64) -> Outcome<[f64; 3]> {
    let (streams, x) = (lab.streams(seed), digits(lab, seed)?);
    let (train, real) = x.view().split_at(quadrivium::ndarray::Axis(0), 1_400);
    let data = Dataset::new(train.to_owned())?;
    let wide = NetworkSpec::mlp([64; 2], Activation::Silu, 0);
    let optimizer = OptimizerConfig { lr: 2e-3, weight_decay: 0.01, ..Default::default() };
    let config = VaeConfig {
        dim: 64,
        latent_dim: 16,
        encoder: wide.clone(),
        decoder: wide.clone(),
        // Whitened pixels would all count the same, and latents would describe arbitrary ones.
        whiten: false,
        optimizer,
        ..Default::default()
    };
    let mut vae = Vae::new(config, &mut streams.stream(1))?;
    vae.train(&data, &options(2_000, 128), &mut streams.stream(2), &mut NoObserver)?;
    let base = GanConfig::relativistic();
    let config = GanConfig {
        dim: 64,
        latent_dim: 32,
        generator: wide,
        critic: NetworkSpec::mlp([64; 2], Activation::LeakyRelu { slope: 0.2 }, 0),
        loss: AdversarialLoss::Relativistic { gamma: 0.5 },
        critic_lr: 1e-3,
        optimizer: OptimizerConfig { lr: 1e-3, ..base.optimizer.clone() },
        ..base
    };
    let mut gan = Gan::new(config, &mut streams.stream(3))?;
    gan.train(&data, &options(3_000, 128), &mut streams.stream(4), &mut NoObserver)?;
    let rng = &mut streams.stream(5);
    let z = Array2::from_shape_simple_fn((1_000, 16), || f32::normal(rng));
    let drawn = [gan.draw(1_000, rng)?, vae.decode(z.view())?, vae.draw(1_000, rng)?];
    Ok(drawn.map(|x| gradient(x.view()) / gradient(real)))
}

pub fn sharpness(lab: &Lab) -> Outcome<Finding> {
    let all = lab.each(|seed| sharp(lab, seed))?;
    let of = |k: usize| statistics::mean(&all.iter().map(|ratios| ratios[k]).collect::<Vec<_>>());
    Ok(Finding::new()
        // Sharp is what does not fall short of the data; without limits it would not go beyond them, either.
        .claim("gradient energy over that of real digits: GAN", of(0), Bound::AtLeast(0.95))
        .limit("GAN, held from above", of(0), Bound::AtMost(1.05))
        .claim("means that a VAE decodes", of(1), Bound::AtMost(0.95))
        .beside("draws of the VAE, with the decoder's noise", of(2))
        .because("VAEs do blur, as the figure of their means says. That a GAN is sharp does not make it right: its pixels may differ more \
             from their neighbors than those of real digits."))
}

/// Columns, or tokens, of a row.
const COLUMNS: usize = 16;

/// The paradigms, each with a perceptron and with residual blocks.
fn pairs() -> Outcome<Vec<[Box<dyn Generative>; 2]>> {
    let dim = COLUMNS;
    let networks = [
        NetworkSpec::mlp([128; 2], Activation::Silu, 0),
        NetworkSpec::Residual { width: 64, blocks: 2, activation: Activation::Silu, octaves: 1 },
    ];
    type Build = fn(usize, NetworkSpec) -> Result<Box<dyn Generative>>;
    let builds: [Build; 4] = [
        |dim, network| {
            let (encoder, decoder) = (network.clone(), network);
            Ok(Box::new(Vae::new(VaeConfig { dim, encoder, decoder, ..Default::default() }, &mut seeded(0))?))
        },
        |dim, generator| {
            Ok(Box::new(Gan::new(GanConfig { dim, generator, ..Default::default() }, &mut seeded(0))?))
        },
        |dim, network| {
            Ok(Box::new(Flow::new(FlowConfig { dim, network, ..Default::default() }, &mut seeded(0))?))
        },
        |dim, network| {
            let sampler = Sampler::Ddim { steps: 50, eta: 0.0 };
            Ok(Box::new(Diffusion::new(
                DiffusionConfig { dim, network, sampler, ..Default::default() },
                &mut seeded(0),
            )?))
        },
    ];
    let mut pairs = Vec::new();
    for build in builds {
        let [perceptron, residual] = networks.clone().map(|network| build(dim, network));
        pairs.push([perceptron?, residual?]);
    }
    Ok(pairs)
}

pub fn architectures(_: &Lab) -> Outcome<Finding> {
    let pairs = pairs()?;
    let masked =
        Autoregressive::new(AutoregressiveConfig { dim: COLUMNS, ..Default::default() }, &mut seeded(0))?;
    let config =
        TransformerConfig { vocabulary: 256, len: COLUMNS, width: 64, blocks: 2, ..Default::default() };
    let transformer = Transformer::new(config, &mut seeded(0))?;
    // What the card says of each: passes and the kind of likelihood.
    let mut law: Vec<[(usize, LikelihoodKind); 2]> =
        pairs.iter().map(|pair| [0, 1].map(|k| (pair[k].card().nfe, pair[k].card().likelihood))).collect();
    law.push([
        (masked.card().nfe, masked.card().likelihood),
        (transformer.card().nfe, transformer.card().likelihood),
    ]);
    let differ = law.iter().filter(|pair| pair[0] != pair[1]).count();
    let mut works: Vec<Work> =
        pairs.iter().flatten().map(|model| Work::draw(2, model.as_ref(), 64)).collect();
    works.push(Work::draw(2, &masked, 64));
    works.push(Work::draw(2, &transformer, 64));
    // The share of the variance of log seconds that lies between groups of works.
    let between = |group: fn(usize) -> usize| {
        clock::figure(&works, move |seconds| {
            let logs: Vec<f64> = seconds.iter().map(|s| s.ln()).collect();
            let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
            let all = mean(&logs);
            let in_groups = logs.iter().enumerate().map(|(k, _)| {
                let same: Vec<f64> = logs
                    .iter()
                    .enumerate()
                    .filter(|(j, _)| group(*j) == group(k))
                    .map(|(_, log)| *log)
                    .collect();
                (mean(&same) - all).powi(2)
            });
            in_groups.sum::<f64>() / logs.iter().map(|log| (log - all).powi(2)).sum::<f64>()
        })
    };
    Ok(Finding::new()
        .claim(
            "of 5 paradigms, those whose passes or likelihood depend on the network",
            Estimate::exact(differ as f64),
            Bound::Within(0.0, 0.0),
        )
        .claim("share of the variation of log time between paradigms", between(|k| k / 2)?, Bound::AtLeast(0.9))
        .claim("between architectures", between(|k| k % 2)?, Bound::AtMost(0.1))
        .because(
            "Passes and likelihood follow the paradigm exactly. The time of a pass is the network's, and a wider or deeper \
             one takes longer whatever it is used for.",
        ))
}
