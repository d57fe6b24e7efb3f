//! The models that keep the contract: every one in a small size, with every objective, head and sampler.

use super::*;
use quadrivium::MapObjective;
use quadrivium::diffusion::matching::FlowSteps;
use quadrivium::diffusion::{Method, Solver};
use quadrivium::energy::{Acceptance, Langevin, Normalization};
use quadrivium::hybrid::{
    Atoms, Codec, Column, ColumnScale, Columns, ColumnsConfig, Latent, LatentConfig, Pca, PcaConfig,
};
use quadrivium::{
    Activation, AdversarialLoss, Architecture, Bandwidth, ComponentCount, ConditionKind, EnergyTraining,
    Head, LikelihoodKind, NetworkSpec, Pairing, Sampler, Schedule, ScoreTraining, Sde, Source, Transform,
};
use quadrivium::{OptimizerConfig, TraceEstimator};

/// What a promise may ask of any model in the table.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Columns of a row.
    pub dim: usize,
    /// What rows are conditioned on.
    pub condition: ConditionKind,
    /// How the parameters of networks move, if not by the model's default.
    pub optimizer: Option<OptimizerConfig>,
}

impl Default for Setting {
    fn default() -> Self {
        Setting { dim: 2, condition: ConditionKind::None, optimizer: None }
    }
}

/// One model of the contract.
pub struct Subject {
    pub name: &'static str,
    /// What its card has to say.
    pub likelihood: LikelihoodKind,
    make: fn(&Setting) -> Box<dyn Model>,
    trained: OnceLock<Box<dyn Model>>,
}

impl Subject {
    const fn new(
        name: &'static str,
        likelihood: LikelihoodKind,
        make: fn(&Setting) -> Box<dyn Model>,
    ) -> Self {
        Subject { name, likelihood, make, trained: OnceLock::new() }
    }

    pub fn made(&self, setting: &Setting) -> Box<dyn Model> {
        (self.make)(setting)
    }

    pub fn fresh(&self) -> Box<dyn Model> {
        self.made(&Setting::default())
    }

    /// The model that all promises about drawing and scoring share.
    pub fn trained(&self) -> &dyn Model {
        let train = || {
            let mut model = self.fresh();
            train(model.as_mut(), 300);
            model
        };
        self.trained.get_or_init(train).as_ref()
    }
}

/// A test for each promise of each model. Beside its name, a model has the class that it belongs to, as trained by
/// gradients (`Network`), in stages of which the later learn from the earlier (`Composed`) or otherwise (`Baseline`),
/// and the likelihood of its card.
macro_rules! contract {
    ($($name:ident: $class:ident, $likelihood:ident, $make:expr;)*) => { $(
        pub mod $name {
            use super::*;

            pub static SUBJECT: Subject =
                Subject::new(stringify!($name), LikelihoodKind::$likelihood, $make);

            promises!(All);
            promises!($class);
            promises!($likelihood);
        }
    )* };
}

macro_rules! promises {
    (All) => {
        kept! {
            drawing::shapes_and_costs_are_as_the_card_says,
            drawing::first_rows_do_not_depend_on_how_many_follow,
            drawing::long_draw_comes_in_blocks_and_stops_when_told_to,
            drawing::lower_temperature_gives_less_varied_rows,
            drawing::every_accepted_temperature_gives_numbers,
            training::observer_sees_every_step_and_can_break_off,
            training::batch_of_one_row_has_one_shard,
            training::training_goes_on_from_the_present_parameters,
            training::refused_training_changes_nothing,
            training::endless_training_can_be_broken_off,
            training::interrupted_training_goes_on_to_the_same_bits,
            training::session_ends_with_the_same_bits,
            together::processes_learn_together_what_one_learns_alone,
            refusals::bad_options_are_refused_by_name,
            refusals::bad_rows_are_refused,
            refusals::condition_that_the_model_does_not_take_is_refused,
        }
        #[cfg(feature = "rayon")]
        kept!(training::number_of_threads_does_not_move_a_bit);
        #[cfg(feature = "safetensors")]
        kept!(files::loaded_model_is_the_saved_one_to_the_bit);
    };
    (Network) => {
        kept! {
            training::averaged_parameters_draw_score_and_are_validated,
            training::wild_learning_rate_is_an_error_that_leaves_a_usable_model,
            tails::heavy_columns_train_draw_and_score,
        }
    };
    (Composed) => {
        kept! {
            training::wild_learning_rate_is_an_error_that_leaves_a_usable_model,
            tails::heavy_columns_train_draw_and_score,
        }
    };
    (Baseline) => {};
    (Exact) => {
        promises!(Estimate);
        kept!(scoring::density_integrates_to_one);
    };
    (LowerBound) => {
        promises!(Estimate);
    };
    (OdeEstimate) => {
        promises!(Estimate);
    };
    (Estimate) => {
        kept! {
            scoring::batch_scores_as_its_rows,
            scoring::far_points_score_low_and_never_nan,
            scoring::likelihood_does_not_beat_the_truth,
        }
    };
    (Unnormalized) => {};
    (Unavailable) => {};
}

/// A model trained by gradients, with the fields that differ from its default.
macro_rules! network {
    ($s:ident, $model:ident, $config:ident { $($field:ident $(: $value:expr)?),* $(,)? }) => {{
        let (dim, condition) = ($s.dim, $s.condition);
        let mut config = $config { dim, condition, $($field $(: $value)?,)* ..Default::default() };
        if let Some(optimizer) = &$s.optimizer {
            config.optimizer = optimizer.clone();
        }
        $model::new(config, &mut seeded(3)).unwrap()
    }};
}

fn autoregressive(s: &Setting, head: Head) -> Box<dyn Model> {
    Box::new(network!(
        s,
        Autoregressive,
        AutoregressiveConfig { head, network: NetworkSpec::mlp([32, 32], Activation::Silu, 3) }
    ))
}

fn flow(s: &Setting, architecture: Architecture, transform: Transform) -> Box<dyn Model> {
    Box::new(network!(
        s,
        Flow,
        FlowConfig { architecture, transform, network: NetworkSpec::mlp([16, 16], Activation::Silu, 2) }
    ))
}

fn vae(s: &Setting) -> Box<dyn Model> {
    Box::new(network!(
        s,
        Vae,
        VaeConfig {
            encoder: NetworkSpec::mlp([16, 16], Activation::Tanh, 4),
            decoder: NetworkSpec::mlp([16, 16], Activation::Tanh, 4),
            draws: 20
        }
    ))
}

fn gan(s: &Setting, loss: AdversarialLoss) -> Box<dyn Model> {
    let critic_lr = s.optimizer.as_ref().map_or(GanConfig::default().critic_lr, |optimizer| optimizer.lr);
    let [generator_hidden, critic_hidden] = [(); 2].map(|()| vec![16, 16]);
    Box::new(network!(
        s,
        Gan,
        GanConfig {
            loss,
            generator: NetworkSpec::mlp(generator_hidden, Activation::Silu, 3),
            critic: NetworkSpec::mlp(critic_hidden, Activation::LeakyRelu { slope: 0.2 }, 3),
            critic_lr
        }
    ))
}

fn diffusion(s: &Setting, schedule: Schedule, sampler: Sampler) -> Box<dyn Model> {
    Box::new(network!(
        s,
        Diffusion,
        DiffusionConfig {
            network: NetworkSpec::mlp([32, 32], Activation::Silu, 4),
            timesteps: 40,
            schedule,
            sampler
        }
    ))
}

fn probed_diffusion(s: &Setting) -> Box<dyn Model> {
    let divergence = Some(TraceEstimator::Hutchinson { probes: 2 });
    let solver = Solver::Fixed { method: Method::Rk4, steps: 20 };
    let (hidden, schedule) = (vec![32, 32], Schedule::Linear);
    Box::new(network!(
        s,
        Diffusion,
        DiffusionConfig {
            network: NetworkSpec::mlp(hidden, Activation::Silu, 4),
            timesteps: 40,
            schedule,
            divergence,
            solver
        }
    ))
}

fn energy(s: &Setting, training: EnergyTraining, acceptance: Acceptance, steps: usize) -> Box<dyn Model> {
    let langevin = Langevin { steps, acceptance, ..Default::default() };
    Box::new(network!(
        s,
        EnergyModel,
        EnergyConfig { training, network: NetworkSpec::mlp([16, 16], Activation::Silu, 5), langevin }
    ))
}

fn normalized_energy(s: &Setting) -> Box<dyn Model> {
    let normalization = Normalization::Quadrature { intervals: 200 };
    let (training, hidden) = (DENOISING, vec![16, 16]);
    Box::new(network!(
        s,
        EnergyModel,
        EnergyConfig { training, network: NetworkSpec::mlp(hidden, Activation::Silu, 5), normalization }
    ))
}

fn score(s: &Setting, training: ScoreTraining) -> Box<dyn Model> {
    let (hidden, levels, steps_per_level) = (vec![32, 32], 8, 3);
    Box::new(network!(
        s,
        ScoreModel,
        ScoreConfig {
            training,
            network: NetworkSpec::mlp(hidden, Activation::Silu, 4),
            levels,
            steps_per_level
        }
    ))
}

/// Runs that do not converge while a test watches.
fn gaussian_mixture(s: &Setting, components: ComponentCount) -> Box<dyn Model> {
    let config = GaussianMixtureConfig {
        dim: s.dim,
        condition: s.condition,
        components,
        restarts: 2,
        tol: 0.0,
        max_iter: 10,
        ..Default::default()
    };
    Box::new(GaussianMixture::new(config).unwrap())
}

fn kernel_density(s: &Setting, bandwidth: Bandwidth) -> Box<dyn Model> {
    let config = KernelDensityConfig { dim: s.dim, condition: s.condition, bandwidth };
    Box::new(KernelDensity::new(config).unwrap())
}

fn matching(
    s: &Setting,
    source: Source,
    pairing: Pairing,
    (method, steps): (Method, usize),
) -> Box<dyn Model> {
    let (hidden, sampler) = (vec![32, 32], FlowSteps { method, steps });
    Box::new(network!(
        s,
        FlowMatching,
        FlowMatchingConfig {
            source,
            pairing,
            network: NetworkSpec::mlp(hidden, Activation::Silu, 4),
            sampler
        }
    ))
}

/// Every model whose networks need not be perceptrons, with residual ones.
mod residual {
    use super::*;

    fn network(octaves: usize) -> NetworkSpec {
        NetworkSpec::Residual { width: 16, blocks: 2, activation: Activation::Silu, octaves }
    }

    pub fn flow(s: &Setting) -> Box<dyn Model> {
        Box::new(network!(s, Flow, FlowConfig { network: network(1) }))
    }

    pub fn vae(s: &Setting) -> Box<dyn Model> {
        Box::new(network!(s, Vae, VaeConfig { encoder: network(0), decoder: network(2), draws: 20 }))
    }

    pub fn gan(s: &Setting) -> Box<dyn Model> {
        let critic_lr = s.optimizer.as_ref().map_or(1e-3, |optimizer| optimizer.lr);
        Box::new(network!(s, Gan, GanConfig { generator: network(1), critic: network(1), critic_lr }))
    }

    pub fn diffusion(s: &Setting) -> Box<dyn Model> {
        let sampler = Sampler::Ddim { steps: 7, eta: 0.0 };
        Box::new(network!(s, Diffusion, DiffusionConfig { network: network(4), timesteps: 40, sampler }))
    }

    pub fn matching(s: &Setting) -> Box<dyn Model> {
        Box::new(network!(s, FlowMatching, FlowMatchingConfig { network: network(4) }))
    }

    pub fn map(s: &Setting) -> Box<dyn Model> {
        Box::new(network!(s, FlowMap, FlowMapConfig { network: network(4) }))
    }

    pub fn energy(s: &Setting) -> Box<dyn Model> {
        Box::new(network!(s, EnergyModel, EnergyConfig { training: DENOISING, network: network(3) }))
    }

    pub fn score(s: &Setting) -> Box<dyn Model> {
        Box::new(network!(s, ScoreModel, ScoreConfig { network: network(4), levels: 8, steps_per_level: 3 }))
    }
}

/// The network of a part of a composition.
fn mlp(octaves: usize) -> NetworkSpec {
    NetworkSpec::mlp([16, 16], Activation::Silu, octaves)
}

/// The rows' part of a composition, which has no condition.
fn alone(s: &Setting) -> Setting {
    Setting { condition: ConditionKind::None, ..s.clone() }
}

fn small_vae(s: &Setting) -> Vae {
    let s = alone(s);
    network!(s, Vae, VaeConfig { encoder: mlp(0), decoder: mlp(2) })
}

fn small_flow(s: &Setting) -> Flow {
    network!(
        s,
        Flow,
        FlowConfig { network: mlp(2), transform: Transform::AffineSpline { bins: 8, bound: 4.0 } }
    )
}

fn small_diffusion(s: &Setting) -> Diffusion {
    let sampler = Sampler::Ddim { steps: 7, eta: 0.0 };
    network!(s, Diffusion, DiffusionConfig { network: mlp(2), timesteps: 40, sampler })
}

fn composed<C: Codec + Model, P: Model + 'static>(codec: C, prior: P) -> Box<dyn Model> {
    let config = LatentConfig { draws: 3, ..Default::default() };
    Box::new(Latent::new(codec, prior, config).unwrap())
}

fn columns(s: &Setting, scale: ColumnScale, atoms: Atoms) -> Columns {
    let column = Column { scale, atoms, ..Column::default() };
    Columns::new(ColumnsConfig { dim: s.dim, columns: vec![column; s.dim] }).unwrap()
}

/// One direction with a learned density, and noise around it.
fn latent_line(s: &Setting) -> Box<dyn Model> {
    let pca = Pca::new(PcaConfig { dim: s.dim, latent_dim: 1 }).unwrap();
    let (s, head) = (Setting { dim: 1, ..s.clone() }, Head::Mixture { components: 5 });
    composed(pca, network!(s, Autoregressive, AutoregressiveConfig { head, network: mlp(2) }))
}

fn warp_mixture(s: &Setting) -> Box<dyn Model> {
    let config = GaussianMixtureConfig {
        dim: s.dim,
        condition: s.condition,
        tol: 0.0,
        max_iter: 10,
        ..Default::default()
    };
    composed(small_flow(&alone(s)), GaussianMixture::new(config).unwrap())
}

/// A flow as the prior, and a diffusion in its base space.
fn latent_warp(s: &Setting) -> Box<dyn Model> {
    let warp = Latent::new(small_flow(&alone(s)), small_diffusion(s), LatentConfig::default()).unwrap();
    composed(small_vae(s), warp)
}

fn latent_gan(s: &Setting) -> Box<dyn Model> {
    let critic_lr = s.optimizer.as_ref().map_or(GanConfig::default().critic_lr, |optimizer| optimizer.lr);
    composed(small_vae(s), network!(s, Gan, GanConfig { generator: mlp(1), critic: mlp(1), critic_lr }))
}

fn flow_map(s: &Setting, objective: MapObjective, pairing: Pairing, steps: usize) -> Box<dyn Model> {
    let network = NetworkSpec::mlp([32, 32], Activation::Silu, 4);
    Box::new(network!(s, FlowMap, FlowMapConfig { network, objective, pairing, steps }))
}

const CHAINS: EnergyTraining =
    EnergyTraining::PersistentChains { chains: 128, steps: 5, restart: 0.05, magnitude: 1e-4 };
const DENOISING: EnergyTraining = EnergyTraining::DenoisingScoreMatching { sigma: 0.2 };
const EXPLODING: Schedule = Schedule::Continuous(Sde::EXPLODING);
const MATCHED: Pairing = Pairing::OptimalTransport { rows: 32 };

contract! {
    autoregressive_mixture: Network, Exact, |s| autoregressive(s, Head::Mixture { components: 5 });
    autoregressive_bins: Network, Exact, |s| autoregressive(s, Head::Bins { bins: 20 });
    flow_coupling_affine: Network, Exact, |s| flow(s, Architecture::Coupling, Transform::Affine);
    flow_coupling_spline: Network, Exact,
        |s| flow(s, Architecture::Coupling, Transform::AffineSpline { bins: 8, bound: 4.0 });
    flow_masked_affine: Network, Exact, |s| flow(s, Architecture::MaskedAutoregressive, Transform::Affine);
    flow_masked_spline: Network, Exact,
        |s| flow(s, Architecture::MaskedAutoregressive, Transform::Spline { bins: 8, bound: 4.0 });
    vae: Network, LowerBound, vae;
    gan_minimax: Network, Unavailable, |s| gan(s, AdversarialLoss::Minimax);
    gan_non_saturating: Network, Unavailable,
        |s| gan(s, AdversarialLoss::NonSaturatingR1 { gamma: 0.1 });
    gan_relativistic: Network, Unavailable, |s| gan(s, AdversarialLoss::Relativistic { gamma: 0.1 });
    gan_wasserstein: Network, Unavailable, |s| gan(s, AdversarialLoss::WassersteinGp { lambda: 1.0 });
    diffusion_ddpm: Network, OdeEstimate, |s| diffusion(s, Schedule::Cosine, Sampler::Ddpm);
    diffusion_ddim: Network, OdeEstimate,
        |s| diffusion(s, Schedule::Cosine, Sampler::Ddim { steps: 7, eta: 0.0 });
    diffusion_ddim_noisy: Network, OdeEstimate,
        |s| diffusion(s, Schedule::Cosine, Sampler::Ddim { steps: 7, eta: 1.0 });
    diffusion_heun: Network, OdeEstimate, |s| diffusion(s, Schedule::Cosine, Sampler::Heun { steps: 6 });
    diffusion_probed: Network, OdeEstimate, probed_diffusion;
    diffusion_dpm_solver: Network, OdeEstimate,
        |s| diffusion(s, Schedule::Cosine, Sampler::DpmSolver { steps: 6 });
    diffusion_euler_maruyama: Network, OdeEstimate,
        |s| diffusion(s, EXPLODING, Sampler::EulerMaruyama { steps: 8 });
    diffusion_predictor_corrector: Network, OdeEstimate,
        |s| diffusion(s, EXPLODING, Sampler::PredictorCorrector { steps: 6, snr: 0.16 });
    diffusion_ode: Network, OdeEstimate,
        |s| diffusion(s, EXPLODING, Sampler::Ode { method: Method::Heun, steps: 7 });
    energy_chains: Network, Unnormalized, |s| energy(s, CHAINS, Acceptance::Metropolis, 30);
    energy_chains_unadjusted: Network, Unnormalized, |s| energy(s, CHAINS, Acceptance::Always, 25);
    energy_denoising: Network, Unnormalized, |s| energy(s, DENOISING, Acceptance::Metropolis, 30);
    energy_normalized: Network, Estimate, normalized_energy;
    score_denoising: Network, Unavailable, |s| score(s, ScoreTraining::Denoising);
    score_sliced: Network, Unavailable, |s| score(s, ScoreTraining::Sliced);
    residual_flow: Network, Exact, residual::flow;
    residual_vae: Network, LowerBound, residual::vae;
    residual_gan: Network, Unavailable, residual::gan;
    residual_diffusion: Network, OdeEstimate, residual::diffusion;
    residual_flow_matching: Network, OdeEstimate, residual::matching;
    residual_energy: Network, Unnormalized, residual::energy;
    residual_score: Network, Unavailable, residual::score;
    gaussian_mixture: Baseline, Exact, |s| gaussian_mixture(s, ComponentCount::Fixed(5));
    gaussian_mixture_bic: Baseline, Exact, |s| gaussian_mixture(s, ComponentCount::Bic { max: 3 });
    kernel_density_scott: Baseline, Exact, |s| kernel_density(s, Bandwidth::Scott);
    kernel_density_cross_validated: Baseline, Exact,
        |s| kernel_density(s, Bandwidth::CrossValidated { rows: 50 });
    flow_map_lagrangian: Network, OdeEstimate,
        |s| flow_map(s, MapObjective::Lagrangian, Pairing::Independent, 1);
    flow_map_eulerian: Network, OdeEstimate, |s| flow_map(s, MapObjective::Eulerian, Pairing::Independent, 3);
    flow_map_progressive: Network, OdeEstimate, |s| flow_map(s, MapObjective::Progressive, MATCHED, 4);
    flow_map_consistency: Network, Unavailable,
        |s| flow_map(s, MapObjective::Consistency { stages: 4 }, Pairing::Independent, 2);
    residual_flow_map: Network, OdeEstimate, residual::map;
    flow_matching: Network, OdeEstimate,
        |s| matching(s, Source::Gaussian, Pairing::Independent, (Method::Euler, 7));
    flow_matching_matched: Network, OdeEstimate,
        |s| matching(s, Source::Gaussian, MATCHED, (Method::Rk4, 5));
    flow_matching_from_circles: Network, OdeEstimate,
        |s| matching(s, Source::Toy(Toy::concentric(&[1.0], 0.1).unwrap()), MATCHED, (Method::Heun, 5));
    flow_matching_from_rows: Network, Unavailable,
        |s| matching(s, Source::Rows(moons(40).into()), Pairing::Independent, (Method::Rk4, 5));
    pca: Baseline, Exact, |s| Box::new(Pca::new(PcaConfig { dim: s.dim, latent_dim: 1 }).unwrap());
    columns: Baseline, Exact, |s| Box::new(columns(s, ColumnScale::Auto, Atoms::Without));
    latent_diffusion: Composed, LowerBound, |s| composed(small_vae(s), small_diffusion(s));
    latent_flow: Composed, LowerBound, |s| composed(small_vae(s), small_flow(s));
    latent_warp: Composed, LowerBound, latent_warp;
    latent_gan: Composed, Unavailable, latent_gan;
    latent_line: Composed, Exact, latent_line;
    columns_diffusion: Composed, OdeEstimate,
        |s| composed(columns(s, ColumnScale::Robust, Atoms::Without), small_diffusion(s));
    columns_flow: Composed, LowerBound,
        |s| composed(columns(s, ColumnScale::Gaussianized, Atoms::At(vec![0.25])), small_flow(s));
    warp_diffusion: Composed, OdeEstimate, |s| composed(small_flow(&alone(s)), small_diffusion(s));
    warp_mixture: Composed, Exact, warp_mixture;
}
