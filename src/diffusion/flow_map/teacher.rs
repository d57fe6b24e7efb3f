use std::fmt;

use super::network::Span;
use crate::diffusion::network::{At, Pass};
use crate::diffusion::schedule::NoiseLevel;
use crate::diffusion::{Diffusion, FlowMatching, log_snr_span};
use crate::engine::Fitted;
use crate::error::{Result, check};
use crate::file::Digest;
use crate::model::ConditionKind;
use crate::numeric::Real;

/// What a [`FlowMap`](super::FlowMap) is distilled from: a model whose rows move along an ODE. It shares the parameters
/// of the model it is made from.
#[derive(Clone)]
#[non_exhaustive]
pub enum Teacher {
    /// The probability flow of a diffusion.
    Diffusion(Diffusion),
    /// The flow of a flow matching.
    FlowMatching(FlowMatching),
}

impl From<&Diffusion> for Teacher {
    fn from(model: &Diffusion) -> Self {
        Teacher::Diffusion(model.clone())
    }
}

impl From<&FlowMatching> for Teacher {
    fn from(model: &FlowMatching) -> Self {
        Teacher::FlowMatching(model.clone())
    }
}

/// The kind, and a digest of the parameters: what tells two teachers apart.
impl fmt::Debug for Teacher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, learned) = match self {
            Teacher::Diffusion(model) => ("Diffusion", &model.learned),
            Teacher::FlowMatching(model) => ("FlowMatching", &model.learned),
        };
        let mut digest = Digest::new();
        learned.parameters.average.iter().for_each(|p| digest.add(&p.to_le_bytes()));
        write!(f, "Teacher::{kind}({:016x})", digest.sum())
    }
}

/// The buffers of [`Teacher::velocity`].
#[derive(Default)]
pub(super) struct Scratch {
    x: Vec<f32>, // (n, d)
    c: Vec<f32>, // (n, k)
    levels: Vec<NoiseLevel>,
    times: Vec<f64>,
    velocity: Vec<f32>, // (n, d)
    pass: Pass<f32>,
}

impl Teacher {
    pub(super) fn fitted(&self) -> &Fitted {
        match self {
            Teacher::Diffusion(model) => &model.learned.fitted,
            Teacher::FlowMatching(model) => &model.learned.fitted,
        }
    }

    pub(super) fn condition(&self) -> ConditionKind {
        self.fitted().conditions.kind()
    }

    /// The share of its training rows without a condition.
    pub(super) fn dropout(&self) -> f64 {
        match self {
            Teacher::Diffusion(model) => model.config.condition_dropout,
            Teacher::FlowMatching(model) => model.config.condition_dropout,
        }
    }

    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a teacher that is not trained, or guided.
    pub(super) fn validate(&self) -> Result<()> {
        let guided = match self {
            Teacher::Diffusion(model) => model.guidance.is_some(),
            Teacher::FlowMatching(model) => model.guidance.is_some(),
        };
        check(
            !guided,
            "Teacher",
            "guided",
            "the model without guidance: the flow map learns scales of its own",
        )?;
        check(self.fitted().standardizer.is_fitted(), "Teacher", "not trained", "a trained model")
    }

    /// Appends the velocities of rows x: (n, d) at their times, in standard units, under conditions c: (n, k). If
    /// `folded`, the last of the k columns is 1 − 1/w, and the velocity is the one guided by w.
    pub(super) fn velocity<F: Real>(
        &self,
        x: &[F],
        times: &[Span],
        c: &[F],
        folded: bool,
        scratch: &mut Scratch,
        y: &mut Vec<F>,
    ) {
        let n = times.len();
        let (d, k) = (x.len() / n, c.len() / n);
        let width = k - usize::from(folded);
        scratch.times.clear();
        scratch.times.extend(times.iter().map(|span| span.from));
        let mut add =
            |under: &mut dyn FnMut(&[F], &mut Vec<f32>), weight: &dyn Fn(usize) -> f64, y: &mut [F]| {
                scratch.c.clear();
                if k > 0 {
                    c.chunks_exact(k).for_each(|c| under(&c[..width], &mut scratch.c));
                }
                self.alone(d, x, scratch);
                for (r, (y, v)) in y.chunks_exact_mut(d).zip(scratch.velocity.chunks_exact(d)).enumerate() {
                    let weight = weight(r);
                    y.iter_mut().zip(v).for_each(|(y, &v)| *y += F::of(weight * f64::from(v)));
                }
            };
        let first = y.len();
        y.resize(first + x.len(), F::zero());
        let y = &mut y[first..];
        let scale = |r: usize| if folded { (1.0 - c[(r + 1) * k - 1].f64()).recip() } else { 1.0 };
        add(&mut |c, to| to.extend(c.iter().map(|c| c.f64() as f32)), &scale, y);
        if folded {
            add(&mut |c, to| to.resize(to.len() + c.len(), 0.0), &|r| 1.0 - scale(r), y);
        }
    }

    /// Fills the scratch's velocities under its conditions.
    fn alone<F: Real>(
        &self,
        d: usize,
        x: &[F],
        Scratch { x: rows, c, levels, times, velocity, pass }: &mut Scratch,
    ) {
        rows.clear();
        velocity.clear();
        match self {
            Teacher::FlowMatching(model) => {
                rows.extend(x.iter().map(|x| x.f64() as f32));
                let at = At { x: rows, c, levels: times };
                velocity.extend_from_slice(model.net.infer(&model.learned.parameters.average, at, pass));
            }
            Teacher::Diffusion(model) => {
                let (quietest, noisiest) = log_snr_span(&model.config, &model.levels);
                let noisiest = noisiest.max(super::super::LOG_SNR_END);
                levels.clear();
                for (x, &t) in x.chunks_exact(d).zip(&*times) {
                    let size = t.hypot(1.0 - t);
                    rows.extend(x.iter().map(|x| (x.f64() / size) as f32));
                    let log_snr = 2.0 * (t / (1.0 - t)).ln();
                    levels.push(NoiseLevel::at_log_snr(log_snr.clamp(noisiest, quietest)));
                }
                let at = At { x: rows, c, levels };
                let noise = model.net.infer(&model.learned.parameters.average, at, pass);
                let rows = rows.chunks_exact(d).zip(noise.chunks_exact(d)).zip(&*times).zip(&*levels);
                for (((z, noise), &t), known) in rows {
                    let size = t.hypot(1.0 - t);
                    let (alpha, sigma) = (t / size, (1.0 - t) / size);
                    velocity.extend(z.iter().zip(noise).map(|(&z, &noise)| {
                        let z = f64::from(z);
                        let v = (f64::from(noise) - known.sigma * z) / known.alpha;
                        ((alpha - sigma) * z - (alpha + sigma) * v) as f32
                    }));
                }
            }
        }
    }
}
