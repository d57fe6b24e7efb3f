mod config;
mod explicit;
mod implicit;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use ndarray::{Array2, Axis, concatenate};
use rand::RngCore;

pub use self::config::{ExplicitGame, FineTuneConfig, Game, ImplicitGame};

use self::explicit::{Judge, Pupil, Steps};
use self::implicit::Contrast;
use crate::adversarial::{AdversarialLoss, Match, Player};
use crate::diffusion::{Diffusion, Estimate, FineTuning, NoiseMse};
use crate::engine::{OptimizerConfig, Parameters, Part, RowStreams, Rows, fit, tiles};
#[cfg(doc)]
use crate::error::Error;
use crate::error::{Result, check};
use crate::model::*;
use crate::nn::Network;
use crate::numeric::rng::Streams;

/// The most steps of a sampler whose steps are judged: in each step of the tuning every row goes through them.
const MOST_STEPS: usize = 100;

/// Goes on with a trained diffusion by a [`Game`], so that what its sampler draws becomes more like the data. The
/// diffusion stays one: it is drawn, scored, conditioned and saved as before, and its card names both paradigms.
///
/// What is judged is drawn by the sampler that the model has now ([`Diffusion::with_sampler`]), and that sampler profits.
/// The implicit game draws one row for each row of the data, once. Each call starts a new game against the model as it
/// is: a second call is what Zheng et al. 2025 call a round. Critics are not kept.
///
/// The report's parts are `real` and `generated` of the implicit game, which sum to its loss, and `critic`, `penalty`,
/// `generator` and `noise` of the explicit one, whose loss is the critic's with its penalty; `noise` is the noise MSE,
/// and λ times it is in `generator`.
///
/// # Errors
/// As [`train`](Generative::train), and [`Error::Config`] for a field out of range, for a model that is untrained or
/// guided, and in the explicit game for a sampler of more than 100 steps or [`Sampler::Ode`](crate::Sampler::Ode), and
/// for a `patience`: the loss of a game has no best value.
///
/// ```
/// use quadrivium::hybrid::{FineTuneConfig, fine_tune};
/// use quadrivium::{worlds::Toy, *, seeded};
///
/// let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
/// let data = Dataset::new(moons.sample(2_000, &mut rng))?;
/// let network = NetworkSpec::mlp([32, 32], Activation::Silu, 3);
/// let mut model = Diffusion::new(DiffusionConfig { network, ..Default::default() }, &mut rng)?;
/// model.train(&data, &TrainOptions { steps: 300, ..Default::default() }, &mut rng, &mut NoObserver)?;
///
/// let mut quick = model.with_sampler(Sampler::Ddim { steps: 4, eta: 0.0 })?;
/// let options = TrainOptions { steps: 50, ..Default::default() };
/// let report = fine_tune(&mut quick, &FineTuneConfig::default(), &data, &options, &mut rng, &mut NoObserver)?;
/// assert_eq!((report.loss.len(), quick.card().nfe, quick.card().parts.len()), (50, 4, 2));
/// # Ok::<(), Error>(())
/// ```
pub fn fine_tune(
    model: &mut Diffusion,
    config: &FineTuneConfig,
    data: &Dataset,
    options: &TrainOptions,
    rng: &mut dyn RngCore,
    observer: &mut dyn Observer,
) -> Result<TrainReport> {
    let estimates = model.plan.estimates().unwrap_or_default();
    config.validate(model.net.dim(), model.net.width() + estimates.len())?;
    let fitted = &model.learned.fitted;
    check(fitted.standardizer.is_fitted(), "fine_tune::model", "untrained", "a trained diffusion")?;
    check(model.guidance.is_none(), "fine_tune::model", "guided", "a diffusion without guidance")?;
    let rows = Rows::whitened(data, fitted, model.config.whiten, options, rng)?;
    // What draws, and what the rows of the implicit game come from.
    let mut parameters = Parameters::new(model.learned.parameters.average.clone());
    let streams = Streams::from_rng(rng);
    let (report, how) = match &config.game {
        Game::Implicit(game) => {
            let pairs = Rows {
                training: paired(model, &rows.training, streams.family(0))?,
                validation: paired(model, &rows.validation, streams.family(1))?,
                ..rows
            };
            let loss = Contrast {
                net: &model.net,
                reference: &model.learned.parameters.average,
                span: Diffusion::training_span(&model.config, &model.levels),
                dropout: model.config.condition_dropout,
                game,
            };
            let report = fit(loss, &mut parameters, &pairs, &config.optimizer, options, observer);
            (report, FineTuning::Implicit)
        }
        Game::Explicit(game) => {
            let count = estimates.len();
            let wanted = "a sampler of 1 to 100 steps";
            check(
                (1..=MOST_STEPS).contains(&count),
                "DiffusionConfig::sampler",
                model.config.sampler,
                wanted,
            )?;
            let wanted = "None: the loss of a game has no best value";
            check(options.patience.is_none(), "TrainOptions::patience", options.patience, wanted)?;
            let (start, config) = (streams.family(0), (config, game));
            let report = play(model, config, &estimates, start, &mut parameters, &rows, options, observer);
            (report, FineTuning::Explicit)
        }
    };
    // What fails before its first step has tuned nothing.
    if report.is_ok() || parameters.p != model.learned.parameters.average {
        Arc::make_mut(&mut model.learned).parameters = parameters;
        model.config.fine_tuned = Some(how);
    }
    report
}

/// Each row with one behind it that the model draws under the same condition: (n, 2 d).
fn paired(model: &Diffusion, Part { x, c }: &Part, streams: Streams) -> Result<Part> {
    let (d, k) = (model.net.dim(), c.ncols());
    let mut drawn = Array2::zeros(x.raw_dim());
    let all = c.as_slice().expect("conditions are row-major");
    tiles::for_each_tile(drawn.as_slice_mut().expect("row-major"), d, |scratch, first, rows| {
        let c = &all[first * k..(first + rows.len() / d) * k];
        model.draw_tile(1.0, c, RowStreams::new(streams, first as u64), scratch, rows);
        Ok(())
    })?;
    let x = concatenate![Axis(1), *x, drawn].as_standard_layout().into_owned();
    Ok(Part { x, c: c.clone() })
}

/// Plays the explicit game against a new critic.
fn play(
    model: &Diffusion,
    (config, game): (&FineTuneConfig, &ExplicitGame),
    estimates: &[Estimate],
    start: Streams,
    parameters: &mut Parameters,
    rows: &Rows,
    options: &TrainOptions,
    observer: &mut dyn Observer,
) -> Result<TrainReport> {
    let Diffusion { net, plan, .. } = model;
    let critic = &Player::joined(&game.critic, (net.dim(), net.width() + estimates.len()), 1);
    let mut of_critic = vec![0.0; critic.net.num_params()];
    critic.net.init(&mut of_critic, &mut start.stream(0));
    let dropout = model.config.condition_dropout;
    let steps = || Steps { net, plan, estimates, dropout };
    let loss = AdversarialLoss::Relativistic { gamma: game.gamma };
    let ends = Diffusion::training_levels(&model.config, &model.levels);
    let game = Match {
        identity: format!("{config:?} {:?}", model.config),
        critic: Judge { loss, critic, steps: steps(), opponent: Vec::new() },
        generator: Pupil {
            loss,
            critic,
            steps: steps(),
            noise: NoiseMse { net, ends, dropout },
            hold: game.hold,
            opponent: Default::default(),
            own: Vec::new(),
        },
        asks: true,
        critic_steps: game.critic_steps,
        critic_optimizer: OptimizerConfig { lr: game.critic_lr, ..config.optimizer.clone() },
        generator_optimizer: config.optimizer.clone(),
        part_names: &["critic", "penalty", "generator", "noise"],
    };
    game.play([&mut Parameters::new(of_critic), parameters], rows, options, observer)
}
