use ndarray::ArrayView2;

use super::path::Path;
use super::predictor::{LevelOf, PathNet, Trained};
use crate::engine::Standardiser;
use crate::engine::transport::{self, Tangents, Velocity, divergence_for};
use crate::error::Result;
use crate::model::{LikelihoodOptions, LogLikelihood, TraceEstimator, check_rows};
use crate::numeric::ode::Solver;
use crate::numeric::rng::Streams;

/// What a network keeps from call to call along the ODE of its path.
#[derive(Debug)]
pub(crate) struct Workspace<L, W> {
    levels: Vec<L>, // (m), or (1) where all rows share a level
    x: Vec<f32>,    // (m, d)
    xdot: Vec<f32>, // (m, d)
    kept: W,
}

impl<L, W: Default> Default for Workspace<L, W> {
    fn default() -> Self {
        Workspace { levels: Vec::new(), x: Vec::new(), xdot: Vec::new(), kept: W::default() }
    }
}

impl<L: Copy, W> Workspace<L, W> {
    fn level(&self, row: usize) -> L {
        self.levels[row.min(self.levels.len() - 1)]
    }
}

impl<N: PathNet> Velocity for Trained<'_, f32, N> {
    type Scratch = Workspace<LevelOf<N>, N::Workspace<f32>>;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn velocity(&self, t: &[f64], x: &[f64], v: &mut [f64], s: &mut Self::Scratch) {
        let (d, alike) = (self.net.dim(), t.iter().all(|other| *other == t[0]));
        s.levels.clear();
        s.levels.extend(t[..if alike { 1 } else { t.len() }].iter().map(|&t| N::Path::level(t)));
        s.x.clear();
        s.x.extend(x.iter().map(|&x| x as f32));
        let predicted = self.net.forward(self.p, &s.x, &s.levels, &mut s.kept);
        v.iter_mut().zip(predicted).for_each(|(v, &predicted)| *v = predicted.into());
        for (r, (v, x)) in v.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
            // Exactly, so that the farthest row keeps all digits of its density.
            if N::rests(&s.kept, r) {
                v.fill(0.0);
                continue;
            }
            let level = s.level(r);
            v.iter_mut().zip(x).for_each(|(v, x)| *v = N::Path::velocity(level, *x, *v));
        }
    }

    fn divergence(
        &self,
        _: &[f64],
        _: &[f64],
        tangents: Tangents<'_>,
        divergence: &mut [f64],
        s: &mut Self::Scratch,
    ) {
        divergence.fill(0.0);
        for k in 0..tangents.count() {
            tangents.direction(k, &mut s.xdot);
            let dot = self.net.jvp(self.p, &s.x, &s.xdot, &mut s.kept);
            tangents.add(&s.xdot, dot, divergence);
        }
        for (r, div) in divergence.iter_mut().enumerate() {
            let moving = N::Path::divergence(s.level(r), self.net.dim(), *div);
            *div = if N::rests(&s.kept, r) { 0.0 } else { moving };
        }
    }
}

/// How the ODE of a likelihood is solved.
pub(crate) struct Integration {
    /// From the data to the far end, in the time of the path.
    pub(crate) span: (f64, f64),
    pub(crate) solver: Solver,
    /// `None`: as [`divergence_for`] says.
    pub(crate) divergence: Option<TraceEstimator>,
}

/// ln p(x) = ln p(z) + ln |dz/dx|, where the ODE carries x, in standard units, to the far end z with the density
/// `end`.
pub(crate) fn log_likelihood<N: PathNet>(
    network: &Trained<'_, f32, N>,
    Integration { span, solver, divergence }: Integration,
    standardiser: &Standardiser,
    x: ArrayView2<f32>,
    options: &LikelihoodOptions,
    end: impl Fn(&[f64]) -> f64 + Sync,
) -> Result<LogLikelihood> {
    let d = network.net.dim();
    check_rows("x", x, d)?;
    let divergence = divergence.unwrap_or(divergence_for(d));
    let (nats, nfe) = transport::score(
        network,
        solver,
        span,
        (divergence, Streams::new(options.seed)),
        x,
        (|z| standardiser.standardise(z), |x, nats| standardiser.add_log_det(x, nats)),
        end,
    )?;
    Ok(LogLikelihood::OdeEstimate { nats, nfe, rtol: solver.rtol(), divergence })
}
