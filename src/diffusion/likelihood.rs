use std::f64::consts::TAU;

use rand::Rng as _;

use super::network::{NoiseNet, Pass};
use super::schedule::NoiseLevel;
use crate::error::{Error, Result};
use crate::generative::Divergence;
use crate::numeric::ode::{self, Solver};
use crate::numeric::rng::Streams;

/// Standard deviations beyond which a row is given −∞ unasked: its log-density is below −10¹¹, and f32 runs out of range.
const FAR: f32 = 1e6;

/// What a thread keeps from call to call.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    near: Vec<usize>, // rows that are integrated
    rows: Vec<usize>, // those in this call of the network
    state: Vec<f64>,  // (n, d + 1)
    levels: Vec<NoiseLevel>,
    x: Vec<f64>,
    eps: Vec<f64>,
    divergence: Vec<f64>,
    ode: ode::Scratch,
}

/// The log-density of rows z: (n, d), by the probability-flow ODE from the log signal-to-noise ratio `from` (the data) down to `to`
/// (the noise); the most evaluations of ε̂ spent on a row.
///
/// `predict(rows, levels, x, eps, divergence)` fills ε̂: (m, d) and ∇·ε̂: (m) at x: (m, d) for the m rows of z whose places are `rows`;
/// `levels` holds one for each, or a single one for all.
///
/// The ODE moves rows so that they have at each level the density of the noisy data (Song et al. 2021b, eq. 13). For the
/// variance-preserving process dx = ½ (d ln ᾱ/dt) x dt + g dw it is dz/dt = ½ (d ln ᾱ/dt) (z − ε̂/σ). In λ as time, d ln ᾱ/dλ = σ², so
///
/// dz/dλ = ½ σ (σ z − ε̂), d ln|det|/dλ = ½ σ (σ d − ∇·ε̂),
///
/// and no term grows at either end. ln p(z) = ln N(z_T; 0, I) + ln|det ∂z_T/∂z| (eq. 39).
pub(super) fn log_density(
    solver: Solver,
    (from, to): (f64, f64),
    d: usize,
    z: &[f32],
    nats: &mut [f64],
    scratch: &mut Scratch,
    mut predict: impl FnMut(&[usize], &[NoiseLevel], &[f64], &mut [f64], &mut [f64]),
) -> Result<usize> {
    let Scratch { near, rows, state, levels, x, eps, divergence, ode } = scratch;
    nats.fill(f64::NEG_INFINITY);
    near.clear();
    state.clear();
    for (row, z) in z.chunks_exact(d).enumerate() {
        // NaN, which standardising the largest numbers may give, is far too.
        if z.iter().all(|z| z.abs() < FAR) {
            near.push(row);
            state.extend(z.iter().map(|&z| f64::from(z)));
            state.push(0.0);
        }
    }
    let drift = |places: &[usize], lambda: &[f64], y: &[f64], dy: &mut [f64]| {
        let n = places.len();
        rows.clear();
        rows.extend(places.iter().map(|&place| near[place]));
        levels.clear();
        let alike = lambda.iter().all(|l| *l == lambda[0]);
        levels.extend(lambda[..if alike { 1 } else { n }].iter().map(|&l| NoiseLevel::at_log_snr(l)));
        x.clear();
        y.chunks_exact(d + 1).for_each(|y| x.extend_from_slice(&y[..d]));
        eps.resize(n * d, 0.0);
        divergence.resize(n, 0.0);
        predict(rows, levels, x, eps, divergence);
        for (i, dy) in dy.chunks_exact_mut(d + 1).enumerate() {
            let sigma = levels[if alike { 0 } else { i }].sigma;
            for j in 0..d {
                dy[j] = 0.5 * sigma * (sigma * x[i * d + j] - eps[i * d + j]);
            }
            dy[d] = 0.5 * sigma * (sigma * d as f64 - divergence[i]);
        }
    };
    let nfe =
        ode::integrate(solver, (from, to), d + 1, ode::BUDGET, state, ode, drift).map_err(
            |error| match error {
                Error::NotConverged { what, budget, row } => {
                    Error::NotConverged { what, budget, row: near[row] }
                }
                other => other,
            },
        )?;
    for (&row, y) in near.iter().zip(state.chunks_exact(d + 1)) {
        let square: f64 = y[..d].iter().map(|z| z * z).sum();
        nats[row] = y[d] - 0.5 * (square + d as f64 * TAU.ln());
    }
    Ok(nfe)
}

/// The buffers of `predictor`.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    x: Vec<f32>,      // (n, d)
    xdot: Vec<f32>,   // (n, d)
    probes: Vec<f32>, // (rows of the batch, probes, d)
    pass: Pass<f32>,
}

/// ε̂ and ∇·ε̂ by the network, as [`log_density`] asks for them, for the rows z: (n, d).
///
/// ∇·ε̂ = Σⱼ eⱼᵀ (∂ε̂/∂x) eⱼ, a tangent for each column; or Hutchinson's mean of vᵀ (∂ε̂/∂x) v over random signs v, which stay the same along
/// the row's path, as the solver needs a smooth right side (Grathwohl et al. 2019, §3.1). The signs are keyed by the row's content.
pub(super) fn predictor<'a>(
    net: &'a NoiseNet,
    p: &'a [f32],
    method: Divergence,
    streams: Streams,
    z: &[f32],
    Buffers { x, xdot, probes, pass }: &'a mut Buffers,
) -> impl FnMut(&[usize], &[NoiseLevel], &[f64], &mut [f64], &mut [f64]) + use<'a> {
    let d = net.dim();
    probes.clear();
    let tangents = match method {
        Divergence::Exact => d,
        Divergence::Hutchinson { probes: count } => {
            for z in z.chunks_exact(d) {
                let mut rng = streams.of_row(z).stream(0);
                probes.extend((0..count * d).map(|_| if rng.random() { 1.0f32 } else { -1.0 }));
            }
            count
        }
    };
    move |rows: &[usize], levels: &[NoiseLevel], from: &[f64], eps: &mut [f64], divergence: &mut [f64]| {
        x.clear();
        x.extend(from.iter().map(|&x| x as f32));
        let eps_hat = net.forward(p, x, levels, pass);
        eps.iter_mut().zip(eps_hat).for_each(|(to, &from)| *to = from.into());
        divergence.fill(0.0);
        for k in 0..tangents {
            xdot.clear();
            match method {
                Divergence::Exact => {
                    xdot.resize(x.len(), 0.0);
                    xdot[k..].iter_mut().step_by(d).for_each(|xdot| *xdot = 1.0);
                }
                Divergence::Hutchinson { probes: count } => {
                    for row in rows {
                        xdot.extend_from_slice(&probes[(row * count + k) * d..][..d]);
                    }
                }
            }
            let epsdot = net.jvp(p, x, xdot, pass);
            let share = if method == Divergence::Exact { 1.0 } else { 1.0 / tangents as f64 };
            for ((sum, xdot), epsdot) in
                divergence.iter_mut().zip(xdot.chunks_exact(d)).zip(epsdot.chunks_exact(d))
            {
                let trace: f32 = xdot.iter().zip(epsdot).map(|(a, b)| a * b).sum();
                *sum += share * f64::from(trace);
            }
        }
    }
}
