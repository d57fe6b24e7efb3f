//! A small training of each paradigm, measured on its way.

use quadrivium::numeric::ode::Solver;
use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;
use quadrivium::{Activation, AdversarialLoss, Head, NetworkSpec, OptimizerConfig, Sampler};

use crate::course::course;
use crate::divergences::{FISHER, FORWARD_KL, JENSEN_SHANNON, Microscope, WASSERSTEIN};

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Steps after which a model is measured; the last ends the training.
pub const COURSE: [usize; 8] = [20, 50, 100, 200, 400, 800, 1_400, 2_000];

/// A training, measured on its way.
pub struct Watched {
    pub name: &'static str,
    /// Which divergence the objective is said to be.
    pub own: usize,
    /// Where the density that is measured comes from.
    pub density: &'static str,
    /// The divergences at each step of the course.
    pub points: Vec<[f64; 5]>,
}

impl Watched {
    /// The rank correlation of a divergence with the steps: −1 where it always falls.
    pub fn trend(&self, divergence: usize) -> f64 {
        let values: Vec<f64> = self.points.iter().map(|point| point[divergence]).collect();
        let order: Vec<f64> = (0..values.len()).map(|k| k as f64).collect();
        crate::ranks::spearman(&order, &values)
    }
}

/// Every paradigm, at steps of `at`, from data of this seed.
pub fn watched(at: &[usize], streams: Streams) -> Outcome<Vec<Watched>> {
    let microscope = Microscope::new(streams.family(0))?;
    let data = Dataset::new(microscope.truth.sample(20_000, &mut streams.stream(0)))?;
    let run = Run { microscope, data, at, streams };
    let rng = || streams.stream(1);
    let small = |activation, octaves| NetworkSpec::mlp([64, 64], activation, octaves);

    let config = AutoregressiveConfig {
        network: small(Activation::Silu, 2),
        head: Head::Mixture { components: 8 },
        ..Default::default()
    };
    let autoregressive =
        run.follow("autoregressive", FORWARD_KL, "exact", Autoregressive::new(config, &mut rng())?)?;

    let network = small(Activation::Tanh, 4);
    // The weight of the KL term is 1 from the first step on, so that the loss is the ELBO all the way.
    let config = VaeConfig {
        encoder: network.clone(),
        decoder: network,
        beta_warmup: 0.0,
        draws: 64,
        ..Default::default()
    };
    let vae = run.follow("VAE", FORWARD_KL, "bound of 64 draws", Vae::new(config, &mut rng())?)?;

    let config =
        FlowConfig { network: NetworkSpec::mlp([32, 32], Activation::Silu, 2), ..Default::default() };
    let flow = run.follow("flow", FORWARD_KL, "exact", Flow::new(config, &mut rng())?)?;

    let config = DiffusionConfig {
        network: small(Activation::Silu, 3),
        sampler: Sampler::DpmSolver { steps: 20 },
        solver: Solver::DormandPrince { rtol: 1e-4, atol: 1e-4 },
        ..Default::default()
    };
    let diffusion = run.follow("diffusion", FISHER, "by the ODE", Diffusion::new(config, &mut rng())?)?;

    // The learning rates at which neither player wins at once.
    let base = GanConfig { generator: NetworkSpec::mlp([64; 3], Activation::Silu, 3), ..Default::default() };
    let config = GanConfig {
        loss: AdversarialLoss::Minimax,
        critic_lr: 5e-4,
        optimizer: OptimizerConfig { lr: 1e-3, ..base.optimizer.clone() },
        ..base.clone()
    };
    let gan = run.follow("GAN", JENSEN_SHANNON, "of draws", Gan::new(config, &mut rng())?)?;

    // A critic that is near its best at every step of the generator, and as steep as the penalty says. The default
    // learning rates are for a weaker penalty.
    let config = GanConfig {
        loss: AdversarialLoss::WassersteinGp { lambda: 10.0 },
        critic_steps: 5,
        critic_lr: 2e-3,
        optimizer: OptimizerConfig { lr: 1e-3, ..base.optimizer.clone() },
        ..base
    };
    let wasserstein = run.follow("WGAN-GP", WASSERSTEIN, "of draws", Gan::new(config, &mut rng())?)?;
    Ok(vec![autoregressive, vae, flow, diffusion, gan, wasserstein])
}

struct Run<'a> {
    microscope: Microscope,
    data: Dataset,
    at: &'a [usize],
    streams: Streams,
}

impl Run<'_> {
    fn follow<M: Generative + Clone>(
        &self,
        name: &'static str,
        own: usize,
        density: &'static str,
        start: M,
    ) -> Outcome<Watched> {
        let options = TrainOptions { steps: self.at[self.at.len() - 1], ..Default::default() };
        let mut points = Vec::new();
        course(&start, &self.data, &options, self.at, self.streams.family(1), |_, model| {
            points.push(self.microscope.measure(model, self.streams.family(2))?);
            Ok(())
        })?;
        Ok(Watched { name, own, density, points })
    }
}
