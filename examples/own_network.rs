//! A network of one's own, with derivatives written by hand, in a diffusion on two moons: it trains, draws and scores.
//!
//! `cargo run --release --example own_network`

use quadrivium::{LogLikelihood, Sampler};
use std::sync::Arc;

use quadrivium::ndarray::{Array2, ArrayView2};
use quadrivium::nn::{Direction, Inputs, VectorField, Weights, Workspace};
use quadrivium::numeric::{Real, rng::Rng};
use quadrivium::{prelude::*, seeded, worlds::Toy};

/// v = tanh(u W₁) W₂, where u are features of a row and of its time; p = [W₁: (U, H), W₂: (H, 2)].
#[derive(Debug)]
struct OneLayer;

const U: usize = 22;
const H: usize = 256;

fn view(p: &[f32], columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((p.len() / columns, columns), p).expect("whole rows")
}

/// Powers of the time, each coordinate, and its sine and cosine at frequencies w that the noise does not hide: (n,
/// U); or their tangents along ẋ.
fn features(at: Inputs<f32>, xdot: Option<&[f32]>) -> Array2<f32> {
    Array2::from_shape_fn((at.x.len() / 2, U), |(r, i)| {
        let (k, j) = (i.saturating_sub(4) / 2, 2 * r + i.saturating_sub(4) % 2);
        let (x, w) = (at.x[j], [1.0, 2.0, 4.0, 8.0][k.saturating_sub(1) / 2]);
        let a = (-(w * at.moment(r).blur as f32).powi(2) / 4.0).exp();
        match (i, k, xdot) {
            (0..4, _, None) => (at.moment(r).time as f32 / 5.0).powi(i as i32),
            (0..4, _, Some(_)) => 0.0,
            (_, 0, _) => xdot.map_or(x, |xdot| xdot[j]),
            (_, 1 | 3 | 5 | 7, _) => a * xdot.map_or((w * x).sin(), |xdot| w * (w * x).cos() * xdot[j]),
            _ => a * xdot.map_or((w * x).cos(), |xdot| -w * (w * x).sin() * xdot[j]),
        }
    })
}

#[rustfmt::skip]
impl VectorField for OneLayer {
    fn dim(&self) -> usize { 2 }
    fn num_params(&self) -> usize { (U + 2) * H }
    fn init(&self, p: &mut [f32], rng: &mut Rng) {
        p[..U * H].fill_with(|| f32::normal(rng) / (U as f32).sqrt());
    }
    fn forward(&self, p: &[f32], at: Inputs<f32>, v: &mut [f32], workspace: &mut Workspace) {
        let (u, h) = workspace.of::<(Array2<f32>, Array2<f32>)>();
        *u = features(at, None);
        *h = u.dot(&view(&p[..U * H], H)).mapv(f32::tanh);
        v.copy_from_slice(h.dot(&view(&p[U * H..], 2)).as_slice().expect("row-major"));
    }
    /// dW₂ = hᵀ dv, da = (1 − h²) ∘ dv W₂ᵀ, dW₁ = uᵀ da. A diffusion does not ask for dx.
    fn backward(&self, w: Weights<f32>, _: Inputs<f32>, dv: &[f32], dp: Option<&mut [f32]>,
                _: Option<&mut [f32]>, workspace: &mut Workspace) {
        let ((u, h), dv) = (workspace.of::<(Array2<f32>, Array2<f32>)>(), view(dv, 2));
        let da = dv.dot(&view(&w.p[U * H..], 2).t()) * h.mapv(|h| 1.0 - h * h);
        let gradient = [u.t().dot(&da), h.t().dot(&dv)];
        dp.into_iter().flatten().zip(gradient.iter().flatten()).for_each(|(dp, g)| *dp += g);
    }
    /// v̇ = ((1 − h²) ∘ u̇ W₁) W₂.
    fn jvp(&self, p: &[f32], at: Inputs<f32>, dot: Direction<f32>, vdot: &mut [f32], workspace: &mut Workspace) {
        let (_, h) = workspace.of::<(Array2<f32>, Array2<f32>)>();
        let hdot = features(at, Some(dot.x)).dot(&view(&p[..U * H], H)) * h.mapv(|h| 1.0 - h * h);
        vdot.copy_from_slice(hdot.dot(&view(&p[U * H..], 2)).as_slice().expect("row-major"));
    }
}

fn main() -> Result<()> {
    let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
    let (data, test) = (Dataset::new(moons.sample(10_000, &mut rng))?, moons.sample(1_000, &mut rng));
    let mut model = Diffusion::with_network(DiffusionConfig::default(), Arc::new(OneLayer), &mut rng)?;
    model.train(&data, &TrainOptions { steps: 3_000, ..Default::default() }, &mut rng, &mut NoObserver)?;
    println!("{:.2}", model.with_sampler(Sampler::DpmSolver { steps: 20 })?.draw(3, &mut rng)?);
    let nll = |score: LogLikelihood| -score.nats().and_then(|nats| nats.mean()).unwrap_or(f64::NAN);
    let nll = nll(model.log_likelihood(test.view(), &LikelihoodOptions::default())?);
    println!("NLL {nll:.3} nats, entropy {:.3}", moons.entropy().unwrap_or(f64::NAN));
    Ok(())
}
