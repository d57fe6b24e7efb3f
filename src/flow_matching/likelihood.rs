use ndarray::ArrayView2;

use super::network::{Pass, VelocityNet};
use super::{Fitted, FlowMatching};
use crate::engine::transport::{self, Tangents, Velocity, divergence_for};
use crate::error::Result;
use crate::model::{LikelihoodOptions, LogLikelihood, check_rows};
use crate::numeric::rng::Streams;

/// The network as a velocity field.
pub(super) struct Field<'a> {
    pub(super) net: &'a VelocityNet,
    pub(super) p: &'a [f32],
}

/// What [`Field`] keeps from call to call.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    x: Vec<f32>,    // (m, d)
    xdot: Vec<f32>, // (m, d)
    pass: Pass<f32>,
}

impl Velocity for Field<'_> {
    type Scratch = Scratch;

    fn dim(&self) -> usize {
        self.net.dim()
    }

    fn velocity(&self, t: &[f64], x: &[f64], v: &mut [f64], s: &mut Scratch) {
        // A sampler's rows are at one time.
        if t.iter().any(|other| *other != t[0]) {
            return self.velocity_kept(t, x, v, s);
        }
        s.x.clear();
        s.x.extend(x.iter().map(|&x| x as f32));
        let v_hat = self.net.infer(self.p, &s.x, t[0], &mut s.pass);
        v.iter_mut().zip(v_hat).for_each(|(v, &v_hat)| *v = v_hat.into());
    }

    fn velocity_kept(&self, t: &[f64], x: &[f64], v: &mut [f64], s: &mut Scratch) {
        s.x.clear();
        s.x.extend(x.iter().map(|&x| x as f32));
        let v_hat = self.net.forward(self.p, &s.x, t, &mut s.pass);
        v.iter_mut().zip(v_hat).for_each(|(v, &v_hat)| *v = v_hat.into());
    }

    fn divergence(
        &self,
        _: &[f64],
        _: &[f64],
        tangents: Tangents<'_>,
        divergence: &mut [f64],
        s: &mut Scratch,
    ) {
        divergence.fill(0.0);
        for k in 0..tangents.count() {
            tangents.direction(k, &mut s.xdot);
            let vdot = self.net.jvp(self.p, &s.x, &s.xdot, &mut s.pass);
            tangents.add(&s.xdot, vdot, divergence);
        }
    }
}

impl FlowMatching {
    /// ln p(x) = ln p(z) + ln |dz/dx|, where the flow carries z back to the source.
    pub(super) fn score(&self, x: ArrayView2<f32>, options: &LikelihoodOptions) -> Result<LogLikelihood> {
        let (d, source) = (self.config.dim, &self.config.source);
        check_rows("x", x, d)?;
        if !source.has_density() {
            return Ok(LogLikelihood::Unavailable);
        }
        let Fitted { parameters, standardiser } = &*self.fitted;
        let (solver, divergence) = (self.config.solver, self.config.divergence.unwrap_or(divergence_for(d)));
        let (nats, nfe) = transport::score(
            &Field { net: &self.net, p: &parameters.average },
            solver,
            (1.0, 0.0),
            (divergence, Streams::new(options.seed)),
            x,
            (|z| standardiser.standardise(z), |x, nats| standardiser.add_log_det(x, nats)),
            |z| source.log_density(standardiser, z).expect("a source with a density"),
        )?;
        Ok(LogLikelihood::OdeEstimate { nats, nfe, rtol: solver.rtol(), divergence })
    }
}
