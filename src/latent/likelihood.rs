use std::f64::consts::TAU;

use super::Vae;
use super::network::{Gaussians, Networks};
use crate::engine::TILE;
use crate::model::Scored;
use crate::numeric::rng::{Rng, Streams};
use crate::numeric::{Real, log_mean_exp};

#[derive(Debug, Default)]
pub(super) struct Scratch {
    // The encoder's input: (n, dim)
    near: Vec<f32>,
    // ln |dx′/dx| of the standardized rows x′: (n)
    constant: Vec<f64>,
    q: Gaussians<f32>,
    // One stream per row.
    noise: Vec<Rng>,
    // A tile of draws, which may belong to several rows: (t, latent)
    z: Vec<f32>,
    // Their conditions, if each row has its own: (t, width)
    c: Vec<f32>,
    likelihood: Gaussians<f32>,
    // ln p(z) − ln q(z|x): (t)
    ratio: Vec<f64>,
    // ln w of one row: (draws)
    log_w: Vec<f64>,
}

impl Vae {
    /// Adds ln (1/K) Σₖ wₖ, wₖ = p(x|zₖ, c) p(zₖ) / q(zₖ|x, c), zₖ = μ + σ·εₖ, of each row to `nats`.
    ///
    /// The draws of all rows run through the decoder in full tiles; each row's noise has its own stream, keyed by the
    /// row's content.
    pub(super) fn bound_tile(
        &self,
        seed: u64,
        given: &[f32],
        scratch: &mut Scratch,
        Scored { x: rows, z: x }: Scored<'_>,
        nats: &mut [f64],
    ) {
        let (dim, latent_dim, draws) = (self.config.dim, self.config.latent_dim, self.config.draws);
        let width = self.config.condition.width();
        let (Networks { encoder, decoder }, p) = (&self.networks, &self.parameters.average);
        let Scratch { near, constant, q, noise, z, c, likelihood, ratio, log_w } = scratch;
        Networks::within_reach(x, near);
        encoder.infer(p, near, given, q);

        noise.clear();
        noise.extend(rows.chunks_exact(dim).map(|row| Streams::new(seed).of_row(row).stream(0)));

        constant.clear();
        constant.extend_from_slice(nats);
        log_w.clear();
        let total = nats.len() * draws;
        for first in (0..total).step_by(TILE) {
            let tile = first..(first + TILE).min(total);
            z.clear();
            c.clear();
            ratio.clear();
            for draw in tile.clone() {
                let r = draw / draws;
                // The two normalizing constants cancel.
                let mut log_ratio = 0.0;
                for i in r * latent_dim..(r + 1) * latent_dim {
                    let (epsilon, sigma) = (f32::normal(&mut noise[r]), q.sd[i]);
                    let z_i = q.mean[i] + sigma * epsilon;
                    z.push(z_i);
                    log_ratio +=
                        0.5 * (f64::from(epsilon).powi(2) - f64::from(z_i).powi(2)) + f64::from(sigma).ln();
                }
                ratio.push(log_ratio);
                if given.len() > width {
                    c.extend_from_slice(&given[r * width..(r + 1) * width]);
                }
            }
            decoder.infer(p, z, if c.is_empty() { given } else { c }, likelihood);
            let gaussians = likelihood.mean.chunks_exact(dim).zip(likelihood.sd.chunks_exact(dim));
            for ((draw, &log_ratio), (m, s)) in tile.zip(&*ratio).zip(gaussians) {
                let r = draw / draws;
                let mut log_p = constant[r] - 0.5 * TAU.ln() * dim as f64;
                for ((&x, &m), &s) in x[r * dim..].iter().zip(m).zip(s) {
                    let e = (f64::from(x) - f64::from(m)) / f64::from(s);
                    log_p -= 0.5 * e * e + f64::from(s).ln();
                }
                log_w.push(log_p + log_ratio);
                if log_w.len() == draws {
                    nats[r] = log_mean_exp(log_w);
                    log_w.clear();
                }
            }
        }
    }
}
