//! A network that is a formula, so that what guidance does is known in closed form.

use quadrivium::nn::{Direction, Inputs, VectorField, Weights, Workspace};
use quadrivium::numeric::rng::Rng;

/// p(x|c) = N(0, 1) and p(x) = N(0, 2) in one column: the v of ε̂ = σ x/(α² variance + σ²) = σ x + α v.
#[derive(Debug)]
pub struct Known;

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
