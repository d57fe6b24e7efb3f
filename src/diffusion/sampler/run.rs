use super::Plan;
use crate::diffusion::path::{Noising, Path};
use crate::diffusion::predictor::Predictor;
use crate::diffusion::schedule::NoiseLevel;
use crate::numeric::ode::Method;
use crate::numeric::rng::Rng;
use crate::numeric::{Real, ode};

/// What a thread keeps from tile to tile.
#[derive(Debug, Default)]
pub struct Scratch<F, W> {
    pub(crate) rngs: Vec<Rng>,
    /// Of an ODE: (n, d)
    pub(crate) state: Vec<f64>,
    memory: Vec<F>, // m: (n, d)
    at: Vec<F>,     // where an ODE asks: (n, d)
    ode: ode::Scratch,
    kept: W, // the predictor's
}

/// Carries out a plan on rows x: (n, d) in place, at most a tile, shown after each step; the evaluations spent on each.
pub(crate) fn denoise<F: Real, P: Predictor<F, NoiseLevel>>(
    predictor: &P,
    plan: &Plan,
    temperature: f64,
    x: &mut [F],
    scratch: &mut Scratch<F, P::Workspace>,
    mut seen: impl FnMut(&[F]),
) -> usize {
    let d = predictor.dim();
    match plan {
        Plan::Steps(steps) => {
            let Scratch { rngs, memory, kept, .. } = scratch;
            let mut spent = 0;
            memory.clear();
            memory.resize(x.len(), F::zero());
            for step in steps {
                let eps_hat = predictor.predict(x, step.level, kept, &mut spent);
                step.apply(x, eps_hat, memory);
                if step.noise > 0.0 {
                    let noise = F::of(step.noise * temperature);
                    for (x, rng) in x.chunks_exact_mut(d).zip(&mut *rngs) {
                        x.iter_mut().for_each(|x| *x += noise * F::normal(rng));
                    }
                }
                seen(x);
            }
            spent
        }
        Plan::Ode { method, steps, span } => {
            scratch.state.clear();
            scratch.state.extend(x.iter().map(|x| x.f64()));
            follow::<Noising, _, _>(predictor, (*method, *steps), *span, x, scratch, seen)
        }
    }
}

/// Takes the scratch's rows `state`, at most a tile, along the ODE of a path in equal steps of its time and leaves them
/// in x, shown after each step; the evaluations spent on each.
pub(crate) fn follow<P: Path, F: Real, N: Predictor<F, P::Level>>(
    predictor: &N,
    (method, steps): (Method, usize),
    span: (f64, f64),
    x: &mut [F],
    Scratch { memory, state, at, ode, kept, .. }: &mut Scratch<F, N::Workspace>,
    mut seen: impl FnMut(&[F]),
) -> usize {
    let mut spent = 0;
    let slope = |_: &[usize], t: &[f64], z: &[f64], dz: &mut [f64]| {
        // In equal steps all rows are at one time.
        let level = P::level(t[0]);
        at.clear();
        at.extend(z.iter().map(|&z| F::of(z)));
        let predicted = predictor.predict(at, level, kept, &mut spent);
        for ((dz, &z), predicted) in dz.iter_mut().zip(z).zip(predicted) {
            *dz = P::velocity(level, z, predicted.f64());
        }
    };
    ode::fixed_watched(method, steps, span, predictor.dim(), state, ode, slope, |state| {
        memory.clear();
        memory.extend(state.iter().map(|&z| F::of(z)));
        seen(memory);
    });
    x.iter_mut().zip(&*state).for_each(|(x, &z)| *x = F::of(z));
    spent
}
