//! Guidance of a diffusion whose network is a formula.

use std::sync::Arc;

use quadrivium::diffusion::Guidance;
use quadrivium::nn::{Direction, Inputs, VectorField, Weights, Workspace};
use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;
use quadrivium::{ConditionKind, Sampler};

use crate::lab::{Lab, Outcome};

/// p(x|c) = N(0, 1) and p(x) = N(0, 2) in one column: the v of ε̂ = σ x/(α² variance + σ²) = σ x + α v.
#[derive(Debug)]
struct Known;

impl VectorField for Known {
    fn dim(&self) -> usize {
        1
    }

    fn condition(&self) -> usize {
        1
    }

    fn num_params(&self) -> usize {
        0
    }

    fn init(&self, _: &mut [f32], _: &mut Rng) {}

    fn forward(&self, _: &[f32], at: Inputs<f32>, v: &mut [f32], _: &mut Workspace) {
        for (r, (v, x)) in v.iter_mut().zip(at.x).enumerate() {
            let (variance, sigma) = (2.0 - at.condition(r, 1)[0], at.moment(r).blur as f32);
            let alpha = (1.0 - sigma * sigma).sqrt();
            *v = sigma * alpha * (1.0 - variance) / (alpha * alpha * variance + sigma * sigma) * x;
        }
    }

    /// Nothing to learn.
    fn backward(
        &self,
        _: Weights<f32>,
        _: Inputs<f32>,
        _: &[f32],
        _: Option<&mut [f32]>,
        dx: Option<&mut [f32]>,
        _: &mut Workspace,
    ) {
        assert!(dx.is_none(), "a diffusion does not ask for it");
    }

    /// v is linear in x.
    fn jvp(
        &self,
        p: &[f32],
        at: Inputs<f32>,
        dot: Direction<f32>,
        vdot: &mut [f32],
        workspace: &mut Workspace,
    ) {
        self.forward(p, Inputs { x: dot.x, ..at }, vdot, workspace);
    }
}

pub struct Variances {
    /// How far, relatively, draws are from the formula of their sampler, at most over the scales.
    pub apart: [(&'static str, f64); 2],
    /// Of draws at w = 3, and of the density that guidance is often said to draw from.
    pub at_three: [(&'static str, f64); 3],
}

/// Of p(x|c) = N(0, 1) against p(x) = N(0, 2), where the density p(x)^(1−w) p(x|c)^w has the variance 2/(w + 1).
pub fn variances(lab: &Lab) -> Outcome<Variances> {
    let (rows, steps) = (40_000, 1_000);
    let config = DiffusionConfig {
        dim: 1,
        timesteps: steps,
        condition: ConditionKind::Class { classes: 1 },
        ..Default::default()
    };
    let chain = Diffusion::with_network(config, Arc::new(Known), &mut lab.streams(0).stream(0))?;
    let flow = chain.with_sampler(Sampler::Ddim { steps, eta: 0.0 })?;
    let variance = |model: &Diffusion, scale| -> Outcome<f64> {
        let guided = model.with_guidance(Guidance { scale, ..Default::default() })?;
        let x = guided.given(&Condition::class(0))?.draw(rows, &mut lab.streams(0).stream(1))?;
        Ok(x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / rows as f64)
    };
    let (mut apart, mut at_three) = ([0.0f64; 2], [0.0; 2]);
    for w in [1.0, 2.0, 3.0, 5.0] {
        let formulas = [2f64.powf(1.0 - w), (2.0 - 2f64.powf(2.0 - 2.0 * w)) / (2.0 * w - 1.0)];
        for (k, model) in [&flow, &chain].into_iter().enumerate() {
            let found = variance(model, w)?;
            apart[k] = apart[k].max((found / formulas[k] - 1.0).abs());
            if w == 3.0 {
                at_three[k] = found;
            }
        }
    }
    Ok(Variances {
        apart: [
            ("DDIM: variance against 2^(1−w)", apart[0]),
            ("DDPM: variance against (2 − 2^(2−2w))/(2w − 1)", apart[1]),
        ],
        at_three: [
            ("w = 3: DDIM", at_three[0]),
            ("DDPM", at_three[1]),
            ("p(x)^(1−w) p(x|c)^w, from which neither draws", 0.5),
        ],
    })
}
