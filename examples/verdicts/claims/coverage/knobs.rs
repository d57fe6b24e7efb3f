//! What turning a knob trades, and how each paradigm fails.

use quadrivium::diffusion::Guidance;
use quadrivium::metrics::prdc;
use quadrivium::ndarray::{Array1, Array2, Axis, s};
use quadrivium::numeric::Real;
use quadrivium::prelude::*;
use quadrivium::worlds::{Grammar, MarkovChain};
use quadrivium::{
    Activation, ConditionKind, NetworkSpec, OptimizerConfig, Sampler, Token, Transformer, TransformerConfig,
};

use super::super::sampling::Distances;
use super::modes::Hundred;
use crate::claim::{Bound, Estimate, Finding};
use crate::lab::{Lab, Outcome};
use crate::statistics;

/// Classes on a ring, wide enough to overlap.
const CLASSES: u32 = 8;

fn classes(lab: &Lab, seed: u64, stream: u64, rows: usize) -> Outcome<Dataset> {
    let rng = &mut lab.streams(seed).stream(stream);
    let labels = Array1::from_shape_fn(rows, |row| row as u32 % CLASSES);
    let x = Array2::from_shape_fn((rows, 2), |(row, c)| {
        let angle = std::f32::consts::TAU * labels[row] as f32 / CLASSES as f32;
        [angle.cos(), angle.sin()][c] + 0.35 * f32::normal(rng)
    });
    Ok(Dataset::new(x)?.with_condition(Condition::Class(labels))?)
}

/// Rows of a draw and of the truth by which precision and recall are found.
const JUDGED: usize = 1_000;

/// Precision and recall at each setting of a knob, from the loosest to the tightest.
type Curve = Vec<[f64; 2]>;

fn judged(real: &Array2<f32>, drawn: &Array2<f32>) -> Outcome<[f64; 2]> {
    let found = prdc(real.view(), drawn.view(), 5)?;
    Ok([found.precision, found.recall])
}

/// Temperatures; of a GAN, the truncation of its noise.
const TEMPERATURES: [f64; 5] = [1.0, 0.8, 0.6, 0.4, 0.2];

fn cooled(lab: &Lab, seed: u64, mut model: impl Generative) -> Outcome<Curve> {
    let data = Dataset::new(classes(lab, seed, 0, 20_000)?.x().to_owned())?;
    let real = classes(lab, seed, 1, JUDGED)?.x().to_owned();
    let options = TrainOptions { steps: 2_000, batch: 128, ..Default::default() };
    model.train(&data, &options, &mut lab.streams(seed).stream(3), &mut NoObserver)?;
    let at = |temperature| {
        let drawn = model.sample(JUDGED, &SampleOptions { temperature }, &mut lab.streams(seed).stream(4))?;
        judged(&real, &drawn.x)
    };
    TEMPERATURES.into_iter().map(at).collect()
}

fn guided(lab: &Lab, seed: u64) -> Outcome<Curve> {
    let streams = lab.streams(seed);
    let config = DiffusionConfig {
        network: NetworkSpec::mlp([64; 2], Activation::Silu, 2),
        condition: ConditionKind::Class { classes: CLASSES },
        sampler: Sampler::DpmSolver { steps: 20 },
        ..Default::default()
    };
    let mut model = Diffusion::new(config, &mut streams.stream(2))?;
    let options = TrainOptions { steps: 2_000, batch: 128, ..Default::default() };
    model.train(&classes(lab, seed, 0, 20_000)?, &options, &mut streams.stream(3), &mut NoObserver)?;
    // Rows of the first class.
    let all = classes(lab, seed, 1, JUDGED * CLASSES as usize)?;
    let rows: Vec<usize> = (0..JUDGED).map(|row| row * CLASSES as usize).collect();
    let real = all.x().select(quadrivium::ndarray::Axis(0), &rows);
    let at = |scale| {
        let guided = model.with_guidance(Guidance { scale, ..Default::default() })?;
        judged(&real, &guided.given(&Condition::class(0))?.draw(JUDGED, &mut streams.stream(4))?)
    };
    [1.0, 1.5, 2.0, 3.0, 5.0].into_iter().map(at).collect()
}

pub fn sharpness_for_coverage(lab: &Lab) -> Outcome<Finding> {
    let rng = |seed| lab.streams(seed).stream(2);
    let truncation =
        lab.each(|seed| cooled(lab, seed, Gan::new(GanConfig::relativistic(), &mut rng(seed))?))?;
    let temperature = lab.each(|seed| {
        cooled(lab, seed, Autoregressive::new(AutoregressiveConfig::default(), &mut rng(seed))?)
    })?;
    let guidance = lab.each(|seed| guided(lab, seed))?;
    // By chance, that precision rises so, and that recall falls so.
    let by_chance = |curves: &[Curve], figure: usize| {
        let at = |k: usize| -> Vec<f64> { curves.iter().map(|curve| curve[k][figure]).collect() };
        let mut groups: Vec<Vec<f64>> = (0..curves[0].len()).map(at).collect();
        if figure == 1 {
            groups.reverse();
        }
        Estimate::exact(statistics::rising(&groups))
    };
    let sure = Bound::AtMost(0.01);
    let mut finding = Finding::new();
    for (knob, curves) in [
        ("temperature, autoregressive", temperature),
        ("truncation, GAN", truncation),
        ("guidance, diffusion", guidance),
    ] {
        finding = finding
            .claim(
                format!("{knob}: probability of the rise of precision by chance"),
                by_chance(&curves, 0),
                sure,
            )
            .claim(format!("{knob}: of the fall of recall"), by_chance(&curves, 1), sure);
        let ends: Vec<f64> = curves.iter().map(|curve| curve[4][0] - curve[0][0]).collect();
        finding =
            finding.beside(format!("{knob}: change of precision from end to end"), statistics::mean(&ends));
    }
    Ok(finding.because(
        "A knob that moves draws to where the data are dense raises precision and costs recall. Guidance moves them away from \
         the other classes instead, which on this ring is outward, where data are thin; and draws that are precise already \
         gain nothing.",
    ))
}

/// Lengths at which texts are looked at.
const LENGTHS: [usize; 4] = [3, 6, 12, 24];

/// The share of the texts of a briefly trained model that are no longer grammatical at each length. All sentences of the
/// grammar itself are.
fn ungrammatical(lab: &Lab, seed: u64) -> Outcome<[f64; 4]> {
    let (streams, len) = (lab.streams(seed), LENGTHS[3]);
    let grammar = Grammar::english(len)?;
    let optimizer = OptimizerConfig { lr: 5e-3, ..TransformerConfig::default().optimizer };
    let config = TransformerConfig { vocabulary: 16, len, width: 32, heads: 2, blocks: 1, optimizer };
    let mut model = Transformer::new(config, &mut streams.stream(0))?;
    let data = Dataset::new(grammar.draw(10_000, &mut streams.stream(1))?)?;
    let options = TrainOptions { steps: 500, batch: 32, ..Default::default() };
    model.train(&data, &options, &mut streams.stream(2), &mut NoObserver)?;
    let x = model.draw(4_000, &mut streams.stream(3))?;
    let mut shares = [0.0; 4];
    for (share, len) in shares.iter_mut().zip(LENGTHS) {
        let score = grammar.log_likelihood(x.slice(s![.., ..len]), &Default::default())?;
        let nats = score.nats().ok_or("a likelihood")?;
        *share = nats.iter().filter(|nats| !nats.is_finite()).count() as f64 / nats.len() as f64;
    }
    Ok(shares)
}

/// By how much the tokens of a briefly trained model are less likely to a Markov chain than the chain's own, in nats a
/// token, in each quarter of the rows that it draws freely.
fn excess(lab: &Lab, seed: u64) -> Outcome<[f64; 4]> {
    let (streams, len) = (lab.streams(seed).family(59), 64);
    let chain = MarkovChain::random(8, 1, len, &mut streams.stream(0))?;
    let optimizer = OptimizerConfig { lr: 5e-3, ..TransformerConfig::default().optimizer };
    let config = TransformerConfig { vocabulary: 8, len, width: 32, heads: 2, blocks: 1, optimizer };
    let mut model = Transformer::new(config, &mut streams.stream(1))?;
    let data = Dataset::new(chain.draw(5_000, &mut streams.stream(2))?)?;
    let options = TrainOptions { steps: 300, batch: 32, ..Default::default() };
    model.train(&data, &options, &mut streams.stream(3), &mut NoObserver)?;
    // −ln p of the first quarters together, a mean over rows without an end, which the chain does not know.
    let upto = |x: &Array2<Token>, quarters: usize| -> Outcome<f64> {
        let endless = x.rows().into_iter().filter(|row| !row.iter().any(|token| *token == Token::END));
        let (mut sum, mut rows) = (0.0, 0.0);
        for row in endless {
            let row = row.slice(s![..quarters * len / 4]).insert_axis(Axis(0));
            let score = chain.log_likelihood(row, &Default::default())?;
            sum -= score.nats().ok_or("a likelihood")?[0];
            rows += 1.0;
        }
        Ok(sum / rows)
    };
    let (drawn, own) =
        (model.draw(4_000, &mut streams.stream(4))?, chain.draw(4_000, &mut streams.stream(5))?);
    let mut quarters = [0.0; 4];
    let mut before = 0.0;
    for (k, quarter) in quarters.iter_mut().enumerate() {
        let so_far = upto(&drawn, k + 1)? - upto(&own, k + 1)?;
        *quarter = (so_far - before) / (len / 4) as f64;
        before = so_far;
    }
    Ok(quarters)
}

pub fn failures(lab: &Lab) -> Outcome<Finding> {
    let by_chance = |groups: &[Vec<f64>]| Estimate::exact(statistics::rising(groups));
    let modes = lab.mean(|seed| Ok(Hundred::missing(lab, seed)?[0]))?;
    let shares = lab.each(|seed| ungrammatical(lab, seed))?;
    let drift: Vec<Vec<f64>> = (0..4).map(|k| shares.iter().map(|shares| shares[k]).collect()).collect();
    let quarters = lab.each(|seed| excess(lab, seed))?;
    let chain: Vec<Vec<f64>> =
        (0..4).map(|k| quarters.iter().map(|quarters| quarters[k]).collect()).collect();
    let distances = lab.each(|seed| Distances::of(lab, seed))?;
    let steps: Vec<Vec<f64>> =
        (0..Distances::STEPS.len()).rev().map(|k| distances.iter().map(|d| d.ddim[k]).collect()).collect();
    let sure = Bound::AtMost(0.01);
    Ok(Finding::new()
        .claim("modes of 100 that a minimax GAN misses", modes, Bound::AtLeast(1.0))
        .claim(
            "probability by chance that more texts are ungrammatical the longer they are",
            by_chance(&drift),
            sure,
        )
        .beside("share of ungrammatical texts, 24 tokens", statistics::mean(&drift[3]))
        .limit(
            "probability by chance that tokens drawn freely drift away from a Markov chain with their place",
            by_chance(&chain),
            sure,
        )
        .beside("nats a token by which they are off, last quarter", statistics::mean(&chain[3]))
        .claim("probability by chance that DDIM loses with fewer steps", by_chance(&steps), sure)
        .because(
            "A text with one wrong word stays ungrammatical, so the longer a text, the likelier that it is. Errors need not \
             grow from word to word, though: a source that forgets what was said forgives what was said wrongly.",
        ))
}
