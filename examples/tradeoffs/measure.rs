//! One model on one data set: train it, draw from it, score with it, and compare the figures with its card.

use std::time::{Duration, Instant};

use quadrivium::map::LikelihoodKind;
use quadrivium::metrics::{self, ModeReport, Nll};
use quadrivium::ndarray::{ArrayView2, s};
use quadrivium::{Card, Generative, LikelihoodOptions, Result, SampleOptions, seeded};

use crate::source::Split;

/// How many rows are drawn and scored.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Rows of the bulk draw, on which quality is measured too.
    pub bulk: usize,
    /// Test rows that are scored, the same by every model.
    pub scored: usize,
    /// Time spent on drawing single rows.
    pub single: Duration,
}

/// A row of the table for one seed.
pub struct Figures {
    pub card: Card,
    pub nfe: usize,
    pub us_single: f64,
    pub us_bulk: f64,
    pub likelihood: LikelihoodKind,
    pub nll: Option<f64>,
    pub gap: Option<f64>,
    pub modes: Option<ModeReport>,
    pub energy: f64,
    pub train_s: f64,
}

/// The result of scoring. A diffusion's likelihood is the same for all its samplers, so it is measured once.
#[derive(Clone, Copy)]
pub struct Score {
    kind: LikelihoodKind,
    nll: Option<f64>,
    /// NLL less that of the reference on the same rows: the chance of the rows cancels.
    gap: Option<f64>,
}

pub fn score(model: &dyn Generative, split: &Split, effort: Effort) -> Result<Score> {
    let rows = split.test.nrows().min(effort.scored);
    let nats = model.log_likelihood(split.test.slice(s![..rows, ..]), &LikelihoodOptions::default())?;
    let nll = Nll::of(&nats).map(|nll| nll.mean);
    let reference = split.reference.as_ref().and_then(|reference| reference.slice(s![..rows]).mean());
    Ok(Score { kind: nats.kind(), nll, gap: nll.zip(reference).map(|(nll, reference)| nll + reference) })
}

pub fn measure(
    model: &dyn Generative,
    split: &Split,
    effort: Effort,
    score: Score,
    train_s: f64,
    seed: u64,
) -> Result<Figures> {
    let (options, mut rng) = (SampleOptions::default(), seeded(seed));
    let start = Instant::now();
    let drawn = model.sample(effort.bulk, &options, &mut rng)?;
    let us_bulk = start.elapsed().as_secs_f64() * 1e6 / effort.bulk as f64;

    let mut single = Vec::new();
    let start = Instant::now();
    while single.len() < 5 || (start.elapsed() < effort.single && single.len() < 2000) {
        let start = Instant::now();
        model.sample(1, &options, &mut rng)?;
        single.push(start.elapsed().as_secs_f64() * 1e6);
    }
    single.sort_by(f64::total_cmp);

    let modes = match &split.modes {
        Some(m) => Some(metrics::mode_coverage(drawn.x.view(), m.centers.view(), m.sigma)?),
        None => None,
    };
    let in_units = |x: ArrayView2<f32>| split.units.apply(x.to_owned());
    // As many rows as the floor's samples have.
    let some = drawn.x.slice(s![..split.drawn.min(effort.bulk), ..]);
    let energy = metrics::energy_distance(in_units(some).view(), in_units(split.test.view()).view())?;
    Ok(Figures {
        card: model.card(),
        nfe: drawn.nfe,
        us_single: single[single.len() / 2],
        us_bulk,
        likelihood: score.kind,
        nll: score.nll,
        gap: score.gap,
        modes,
        energy,
        train_s,
    })
}
