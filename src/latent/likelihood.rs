use std::f64::consts::TAU;

use super::Vae;
use super::network::{Gaussians, Networks};
use crate::engine::TILE;
use crate::model::Scored;
use crate::numeric::rng::{Rng, Streams};
use crate::numeric::{Real, log_mean_exp};

#[derive(Debug, Default)]
pub(super) struct Scratch {
    draws: Draws,
    // ln |dx′/dx| of the standardized rows x′: (n)
    constant: Vec<f64>,
    // ln w of one row: (draws)
    log_w: Vec<f64>,
}

/// The buffers of [`Vae::weigh_tile`].
#[derive(Debug, Default)]
pub(super) struct Draws {
    // What the encoder sees of the rows: (n, dim)
    near: Vec<f32>,
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
}

impl Vae {
    /// Adds ln (1/K) Σₖ wₖ of each row to `nats`.
    pub(super) fn bound_tile(
        &self,
        seed: u64,
        given: &[f32],
        Scratch { draws: buffers, constant, log_w }: &mut Scratch,
        rows: Scored<'_>,
        nats: &mut [f64],
    ) {
        let draws = self.config.draws;
        constant.clear();
        constant.extend_from_slice(nats);
        log_w.clear();
        self.weigh_tile((seed, draws), given, buffers, rows, constant, |r, _, weight| {
            log_w.push(weight);
            if log_w.len() == draws {
                nats[r] = log_mean_exp(log_w);
                log_w.clear();
            }
        });
    }

    /// Shows each draw zₖ = μ + σ·εₖ of each row r as `each(r, zₖ, ln wₖ)`, wₖ = p(x|zₖ, c) p(zₖ) / q(zₖ|x, c), row by
    /// row; `constant` is ln |dx′/dx| of the rows.
    ///
    /// The draws of all rows run through the decoder in full tiles; a row's noise has a stream of its own,
    /// keyed by its content.
    pub(super) fn weigh_tile(
        &self,
        (seed, draws): (u64, usize),
        given: &[f32],
        buffers: &mut Draws,
        Scored { x: rows, z: x }: Scored<'_>,
        constant: &[f64],
        mut each: impl FnMut(usize, &[f32], f64),
    ) {
        let (dim, latent_dim) = (self.config.dim, self.config.latent_dim);
        let width = self.config.condition.width();
        let (Networks { encoder, decoder }, p) = (&self.networks, &self.parameters.average);
        let Draws { near, q, noise, z, c, likelihood, ratio } = buffers;
        Networks::within_reach(x, near);
        encoder.infer(p, near, given, q);

        noise.clear();
        noise.extend(rows.chunks_exact(dim).map(|row| Streams::new(seed).of_row(row).stream(0)));

        let total = constant.len() * draws;
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
            let drawn = z.chunks_exact(latent_dim).zip(&*ratio);
            for ((draw, (z, &log_ratio)), (m, s)) in tile.zip(drawn).zip(gaussians) {
                let r = draw / draws;
                let mut log_p = constant[r] - 0.5 * TAU.ln() * dim as f64;
                for ((&x, &m), &s) in x[r * dim..].iter().zip(m).zip(s) {
                    let e = (f64::from(x) - f64::from(m)) / f64::from(s);
                    log_p -= 0.5 * e * e + f64::from(s).ln();
                }
                each(r, z, log_p + log_ratio);
            }
        }
    }
}
