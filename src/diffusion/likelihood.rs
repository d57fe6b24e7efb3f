use std::f64::consts::TAU;

use rand::Rng as _;

use super::network::{NoiseNet, Pass};
use super::schedule::NoiseLevel;
use crate::error::{Error, Result};
use crate::generative::Divergence;
use crate::numeric::ode::{self, Solver};
use crate::numeric::rng::Streams;

/// Standard deviations beyond which a row is given −∞ unasked: its log-density is below −10¹¹, and f32 runs
/// out of range.
const FAR: f32 = 1e6;

/// ε̂ and its divergence.
pub(super) trait Predict {
    /// Fills ε̂: (m, d) and ∇·ε̂: (m) at x: (m, d), for the m rows whose places in the batch are `rows`;
    /// `levels` holds one for each, or a single one for all.
    fn predict(
        &mut self,
        rows: &[usize],
        levels: &[NoiseLevel],
        x: &[f64],
        eps: &mut [f64],
        divergence: &mut [f64],
    );
}

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

/// The log-density of rows z: (n, d), by the probability-flow ODE from the log signal-to-noise ratio `from`
/// (the data) down to `to` (the noise); the most evaluations of ε̂ spent on a row. `first` is the place of
/// the first row, for the error of a row that does not converge.
///
/// The ODE moves rows so that they have at each level the density of the noisy data (Song et al. 2021b, eq.
/// 13). For the variance-preserving process dx = ½ (d ln ᾱ/dt) x dt + g dw it is dz/dt = ½ (d ln ᾱ/dt) (z −
/// ε̂/σ). In λ as time, d ln ᾱ/dλ = σ², so
///
/// dz/dλ = ½ σ (σ z − ε̂), d ln|det|/dλ = ½ σ (σ d − ∇·ε̂),
///
/// and no term grows at either end. ln p(z) = ln N(z_T; 0, I) + ln|det ∂z_T/∂z| (eq. 39).
pub(super) fn log_density(
    solver: Solver,
    (from, to): (f64, f64),
    first: usize,
    d: usize,
    z: &[f32],
    nats: &mut [f64],
    scratch: &mut Scratch,
    predictor: &mut impl Predict,
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
        predictor.predict(rows, levels, x, eps, divergence);
        for (i, dy) in dy.chunks_exact_mut(d + 1).enumerate() {
            let sigma = levels[if alike { 0 } else { i }].sigma;
            for j in 0..d {
                dy[j] = 0.5 * sigma * (sigma * x[i * d + j] - eps[i * d + j]);
            }
            dy[d] = 0.5 * sigma * (sigma * d as f64 - divergence[i]);
        }
    };
    let span = (from, to);
    let nfe = match ode::integrate(solver, span, d + 1, ode::BUDGET, state, ode, drift) {
        Err(Error::NotConverged { what, budget, row }) => {
            return Err(Error::NotConverged { what, budget, row: first + near[row] });
        }
        done => done?,
    };
    for (&row, y) in near.iter().zip(state.chunks_exact(d + 1)) {
        let square: f64 = y[..d].iter().map(|z| z * z).sum();
        nats[row] = y[d] - 0.5 * (square + d as f64 * TAU.ln());
    }
    Ok(nfe)
}

/// What [`ByNetwork`] keeps from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    x: Vec<f32>,      // (m, d)
    xdot: Vec<f32>,   // (m, d)
    probes: Vec<f32>, // (n, probes, d)
    pass: Pass<f32>,
}

/// [`Predict`] by the network.
///
/// ∇·ε̂ = Σⱼ eⱼᵀ (∂ε̂/∂x) eⱼ, a tangent for each column; or Hutchinson's mean of vᵀ (∂ε̂/∂x) v over random
/// signs v. These stay the same along a row's path, as the solver needs a smooth right side (Grathwohl et al.
/// 2019, §3.1).
pub(super) struct ByNetwork<'a> {
    net: &'a NoiseNet,
    p: &'a [f32],
    method: Divergence,
    buffers: &'a mut Buffers,
}

impl<'a> ByNetwork<'a> {
    /// For the rows x: (n, d), in the units of the data; the signs are keyed by `streams` and a row's
    /// content.
    pub(super) fn new(
        net: &'a NoiseNet,
        p: &'a [f32],
        method: Divergence,
        streams: Streams,
        x: &[f32],
        buffers: &'a mut Buffers,
    ) -> Self {
        buffers.probes.clear();
        if let Divergence::Hutchinson { probes } = method {
            for x in x.chunks_exact(net.dim()) {
                let mut rng = streams.of_row(x).stream(0);
                let signs = (0..probes * net.dim()).map(|_| if rng.random() { 1.0 } else { -1.0 });
                buffers.probes.extend(signs);
            }
        }
        ByNetwork { net, p, method, buffers }
    }
}

impl Predict for ByNetwork<'_> {
    fn predict(
        &mut self,
        rows: &[usize],
        levels: &[NoiseLevel],
        from: &[f64],
        eps: &mut [f64],
        divergence: &mut [f64],
    ) {
        let d = self.net.dim();
        let Buffers { x, xdot, probes, pass } = &mut *self.buffers;
        x.clear();
        x.extend(from.iter().map(|&x| x as f32));
        let eps_hat = self.net.forward(self.p, x, levels, pass);
        eps.iter_mut().zip(eps_hat).for_each(|(to, &from)| *to = from.into());
        let (tangents, weight) = match self.method {
            Divergence::Exact => (d, 1.0),
            Divergence::Hutchinson { probes } => (probes, 1.0 / probes as f64),
        };
        divergence.fill(0.0);
        for k in 0..tangents {
            xdot.clear();
            match self.method {
                Divergence::Exact => {
                    xdot.resize(x.len(), 0.0);
                    xdot[k..].iter_mut().step_by(d).for_each(|xdot| *xdot = 1.0);
                }
                Divergence::Hutchinson { .. } => {
                    rows.iter()
                        .for_each(|row| xdot.extend_from_slice(&probes[(row * tangents + k) * d..][..d]));
                }
            }
            let epsdot = self.net.jvp(self.p, x, xdot, pass);
            for ((sum, xdot), epsdot) in
                divergence.iter_mut().zip(xdot.chunks_exact(d)).zip(epsdot.chunks_exact(d))
            {
                let product: f32 = xdot.iter().zip(epsdot).map(|(a, b)| a * b).sum();
                *sum += weight * f64::from(product);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::tests::{random_params, small};
    use crate::diffusion::{DiffusionConfig, Schedule};
    use crate::numeric::Real;
    use crate::numeric::rng::seeded;

    /// Σ wₖ N(μₖ, sₖ² I) in the plane, whose noise is known: ε* = −σ ∇ ln p at each level.
    struct Mixture(Vec<(f64, [f64; 2], f64)>);

    impl Mixture {
        /// Of mean 0 and variance near 1, as standardised data are: two narrow modes and a broad one.
        fn standard() -> Self {
            Mixture(vec![(0.4, [-1.2, 0.3], 0.1), (0.35, [1.2, 0.8], 0.2), (0.25, [0.24, -1.6], 0.6)])
        }

        /// (ln p, ε*, ∇·ε*) at x. With gₖ = (x − αμₖ)/vₖ and the shares rₖ: ∇ ln p = −Σ r g and
        /// Δ ln p = −Σ r 2/v + Σ r ‖g‖² − ‖Σ r g‖².
        fn at(&self, x: &[f64], level: NoiseLevel) -> (f64, [f64; 2], f64) {
            let NoiseLevel { alpha, sigma, .. } = level;
            let terms: Vec<(f64, f64, [f64; 2])> = (self.0.iter())
                .map(|(w, mu, s)| {
                    let v = (alpha * s).powi(2) + sigma * sigma;
                    let g = [(x[0] - alpha * mu[0]) / v, (x[1] - alpha * mu[1]) / v];
                    (w.ln() - (TAU * v).ln() - 0.5 * v * (g[0] * g[0] + g[1] * g[1]), v, g)
                })
                .collect();
            let most = terms.iter().map(|t| t.0).fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = terms.iter().map(|t| (t.0 - most).exp()).sum();
            let (mut mean, mut trace) = ([0.0; 2], 0.0);
            for (ln, v, g) in terms {
                let r = (ln - most).exp() / total;
                mean = [mean[0] + r * g[0], mean[1] + r * g[1]];
                trace += r * (2.0 / v - g[0] * g[0] - g[1] * g[1]);
            }
            trace += mean[0] * mean[0] + mean[1] * mean[1];
            (most + total.ln(), mean.map(|g| sigma * g), sigma * trace)
        }
    }

    impl Predict for Mixture {
        fn predict(
            &mut self,
            _: &[usize],
            levels: &[NoiseLevel],
            x: &[f64],
            eps: &mut [f64],
            divergence: &mut [f64],
        ) {
            for (i, x) in x.chunks_exact(2).enumerate() {
                let (_, noise, trace) = self.at(x, levels[i.min(levels.len() - 1)]);
                eps[2 * i..2 * i + 2].copy_from_slice(&noise);
                divergence[i] = trace;
            }
        }
    }

    #[test]
    fn the_ode_of_an_analytic_score_gives_the_analytic_density() {
        let mut mixture = Mixture::standard();
        let mut rng = seeded(4);
        // Rows about the modes and far between them.
        let z: Vec<f32> = (0..2 * 130).map(|_| 1.3 * f32::normal(&mut rng)).collect();
        let data = NoiseLevel::at_sigma(0.002);
        let noise = Schedule::Linear.levels(1000)[1000];
        for (solver, tolerance) in [
            (Solver::DormandPrince { rtol: 1e-7, atol: 1e-7 }, 1e-4),
            (DiffusionConfig::default().solver, 1e-2),
            (Solver::Rk4 { steps: 400 }, 1e-2),
        ] {
            let (mut nats, mut scratch) = (vec![f64::NAN; 130], Scratch::default());
            let span = (data.log_snr, noise.log_snr);
            let nfe = log_density(solver, span, 0, 2, &z, &mut nats, &mut scratch, &mut mixture).unwrap();
            assert!(nfe > 20, "{nfe}");
            for (z, nats) in z.chunks_exact(2).zip(&nats) {
                // The density of the data at the smallest noise.
                let (truth, ..) = mixture.at(&[z[0].into(), z[1].into()], data);
                assert!(
                    (nats - truth).abs() < tolerance * truth.abs().max(1.0),
                    "{z:?}: {nats}, truth {truth}"
                );
            }
        }
    }

    #[test]
    fn hutchinson_agrees_with_the_exact_divergence_on_average() {
        let net = NoiseNet::new(&DiffusionConfig { dim: 5, ..small() }).unwrap();
        let p: Vec<f32> = random_params(&net).iter().map(|&p| p as f32).collect();
        let (rows, level) = (3, [NoiseLevel::at_log_snr(0.5)]);
        let mut rng = seeded(6);
        let z: Vec<f32> = (0..rows * 5).map(|_| f32::normal(&mut rng)).collect();
        let x: Vec<f64> = z.iter().map(|&z| z.into()).collect();
        let divergence = |method, seed| {
            let (mut eps, mut divergence) = (vec![0.0; rows * 5], vec![0.0; rows]);
            let mut buffers = Default::default();
            let mut network = ByNetwork::new(&net, &p, method, Streams::new(seed), &z, &mut buffers);
            network.predict(&[0, 1, 2], &level, &x, &mut eps, &mut divergence);
            divergence
        };
        let exact = divergence(Divergence::Exact, 0);
        let probes = 500;
        let runs: Vec<Vec<f64>> = (0..20).map(|s| divergence(Divergence::Hutchinson { probes }, s)).collect();
        for (row, exact) in exact.iter().enumerate() {
            let mean = runs.iter().map(|r| r[row]).sum::<f64>() / 20.0;
            let variance = runs.iter().map(|r| (r[row] - mean).powi(2)).sum::<f64>() / 19.0;
            assert!(variance > 0.0);
            // Student's t of 19 degrees of freedom is beyond 5 once in ten thousand.
            assert!((mean - exact).abs() < 5.0 * (variance / 20.0).sqrt(), "{mean}, exact {exact}");
        }
    }
}
