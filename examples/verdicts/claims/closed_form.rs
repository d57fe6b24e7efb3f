//! Guidance of a diffusion whose network is a formula.

#[path = "../../guidance/known.rs"]
mod known;

use std::sync::Arc;

use quadrivium::diffusion::Guidance;
use quadrivium::prelude::*;
use quadrivium::{ConditionKind, Sampler};

use self::known::Known;
use crate::lab::{Lab, Outcome};

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
