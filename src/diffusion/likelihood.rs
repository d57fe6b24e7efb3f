use ndarray::ArrayView2;

use super::network::{At, Level, Parametrization, Pass, PathNet};
use super::path::Path;
use super::predictor::Trained;
use crate::engine::transport::{self, Tangents, Velocity, divergence_for};
use crate::engine::{Given, Standardizer};
use crate::error::Result;
use crate::model::{LikelihoodOptions, LogLikelihood, TraceEstimator};
use crate::nn::Direction;
use crate::numeric::ode::Solver;
use crate::numeric::rng::Streams;

/// What a network keeps from call to call along the ODE of its path.
#[derive(Debug)]
pub(crate) struct Workspace<L> {
    levels: Vec<L>, // (m), or (1) where all rows share a level
    x: Vec<f32>,    // (m, d)
    c: Vec<f32>,    // (m, k), or (1, k)
    xdot: Vec<f32>, // (m, d)
    pass: Pass<f32>,
}

impl<L> Default for Workspace<L> {
    fn default() -> Self {
        let (levels, x, c, xdot) = Default::default();
        Workspace { levels, x, c, xdot, pass: Pass::default() }
    }
}

impl<L: Copy> Workspace<L> {
    fn level(&self, row: usize) -> L {
        self.levels[row.min(self.levels.len() - 1)]
    }
}

impl<P: Parametrization> Velocity for Trained<'_, f32, P> {
    type Scratch = Workspace<Level<P>>;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn velocity(&self, rows: &[usize], t: &[f64], x: &[f64], v: &mut [f64], s: &mut Self::Scratch) {
        let (d, k) = (self.net.dim(), self.net.width());
        let alike = t.iter().all(|other| *other == t[0]);
        s.levels.clear();
        s.levels.extend(t[..if alike { 1 } else { t.len() }].iter().map(|&t| P::Path::level(t)));
        s.x.clear();
        s.x.extend(x.iter().map(|&x| x as f32));
        s.c.clear();
        if self.c.len() <= k {
            s.c.extend_from_slice(self.c);
        } else {
            rows.iter().for_each(|row| s.c.extend_from_slice(&self.c[row * k..][..k]));
        }
        let at = At { x: &s.x, c: &s.c, levels: &s.levels };
        let predicted = self.net.forward(self.p, at, &mut s.pass);
        v.iter_mut().zip(predicted).for_each(|(v, &predicted)| *v = predicted.into());
        for (r, (v, x)) in v.chunks_exact_mut(d).zip(x.chunks_exact(d)).enumerate() {
            // Exactly, so that the farthest row keeps all digits of its density.
            if s.pass.rests(r) {
                v.fill(0.0);
                continue;
            }
            let level = s.level(r);
            v.iter_mut().zip(x).for_each(|(v, x)| *v = P::Path::velocity(level, *x, *v));
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
            let at = At { x: &s.x, c: &s.c, levels: &s.levels };
            let along = Direction { x: &s.xdot, moments: &[] };
            let dot = self.net.jvp(self.p, at, along, &mut s.pass);
            tangents.add(&s.xdot, dot, divergence);
        }
        for (r, div) in divergence.iter_mut().enumerate() {
            let moving = P::Path::divergence(s.level(r), self.net.dim(), *div);
            *div = if s.pass.rests(r) { 0.0 } else { moving };
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

/// ln p(x|c) = ln p(z) + ln |dz/dx|, where the ODE carries x, in standard units, to the far end z with the density
/// `end`.
pub(crate) fn log_likelihood<P: Parametrization>(
    (net, p): (&PathNet<f32, P>, &[f32]),
    Integration { span, solver, divergence }: Integration,
    standardizer: &Standardizer,
    given: Given<'_>,
    x: ArrayView2<f32>,
    options: &LikelihoodOptions,
    end: impl Fn(&[f64]) -> f64 + Sync,
) -> Result<LogLikelihood> {
    let divergence = divergence.unwrap_or(divergence_for(net.dim()));
    let (nats, nfe) = transport::score(
        |first, n| Trained { net, p, c: given.rows(first, n) },
        solver,
        span,
        (divergence, Streams::new(options.seed)),
        x,
        (|z| standardizer.standardize(z), |x, nats| standardizer.add_log_det(x, nats)),
        end,
    )?;
    Ok(LogLikelihood::OdeEstimate { nats, nfe, rtol: solver.rtol(), divergence })
}
