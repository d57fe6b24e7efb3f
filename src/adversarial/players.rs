use std::ops::ControlFlow;

use ndarray::{ArrayView2, s};

use super::objective::{Critic, Generator};
use super::{Gan, GanConfig};
use crate::error::{Error, Result};
use crate::generative::{Observer, Step, Stop, TrainOptions, TrainReport};
use crate::nn::Network;
use crate::numeric::rng::{Rng, Streams};
use crate::train::{Gradient, OptimiserConfig, Progress, Rows, TILE, Trainee, mean_loss, random_rows};

const PARTS: [&str; 3] = ["critic", "penalty", "generator"];

/// The two players in training, each with its side of the game.
struct Players<'a> {
    config: &'a GanConfig,
    critic_optimiser: OptimiserConfig,
    critic: Trainee,
    generator: Trainee,
    critics_game: Critic<'a, f32>,
    generators_game: Generator<'a, f32>,
    critics_gradient: Gradient<Critic<'a, f32>>,
    generators_gradient: Gradient<Generator<'a, f32>>,
}

impl<'a> Players<'a> {
    fn new(gan: &'a Gan, options: &TrainOptions) -> Self {
        let (config, critic, generator) = (&gan.config, &gan.critic, &gan.generator);
        let loss = config.loss;
        let critics_game = Critic { loss, critic, generator, opponent: gan.generator_parameters.p.clone() };
        let unknown = vec![0.0; critic.num_params()];
        let generators_game = Generator { loss, critic, generator, opponent: (unknown.clone(), unknown) };
        let TrainOptions { batch, shards, .. } = *options;
        Players {
            critic_optimiser: OptimiserConfig { lr: config.critic_lr, ..config.optimiser.clone() },
            critic: Trainee::new(&gan.critic_parameters),
            generator: Trainee::new(&gan.generator_parameters),
            critics_gradient: Gradient::new(&critics_game, critic.num_params(), batch, shards),
            generators_gradient: Gradient::new(&generators_game, generator.num_params(), batch, shards),
            critics_game,
            generators_game,
            config,
        }
    }

    /// `critic_steps` steps of the critic against the present generator, then one of the generator against
    /// the critic that came of them. Returns the critic's last loss and the [`PARTS`].
    fn round(
        &mut self,
        progress: Progress,
        streams: Streams,
        fill: impl Fn(&mut Rng, &mut [f32]) + Sync,
    ) -> Result<(f64, [f64; 3])> {
        let dim = self.critics_game.critic.in_dim();
        let mut loss = 0.0;
        for k in 0..self.config.critic_steps {
            let (game, p, streams) = (&self.critics_game, &self.critic.now().p, streams.family(k as u64));
            loss = self.critics_gradient.compute(game, p, dim, progress, streams, &fill);
            let g = self.critics_gradient.sum();
            self.critic.step(&self.critic_optimiser, progress, "critic loss", loss, g)?;
        }
        let (p, t) = &mut self.generators_game.opponent;
        p.copy_from_slice(&self.critic.now().p);
        self.generators_game.critic.transpose(p, t);

        let (game, p) = (&self.generators_game, &self.generator.now().p);
        let streams = streams.family(self.config.critic_steps as u64);
        // No columns: the generator's side sees no data.
        let pays = self.generators_gradient.compute(game, p, 0, progress, streams, |_, _| ());
        let g = self.generators_gradient.sum();
        self.generator.step(&self.config.optimiser, progress, "generator loss", pays, g)?;
        self.critics_game.opponent.copy_from_slice(&self.generator.now().p);

        let critic = self.critics_gradient.parts();
        Ok((loss, [critic[0], critic[1], pays]))
    }

    /// All rounds.
    fn play(
        &mut self,
        rows: &Rows,
        options: &TrainOptions,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let Rows { training, validation, streams, .. } = rows;
        let fill = random_rows(training.view());
        let mut report = TrainReport {
            loss: Vec::with_capacity(options.steps),
            parts: Vec::from(PARTS.map(|name| (name, Vec::with_capacity(options.steps)))),
            validation: Vec::new(),
            stop: Stop::Completed,
        };
        for step in 0..options.steps {
            let progress = Progress { step, steps: options.steps };
            let (loss, parts) = self.round(progress, streams.family(step as u64), &fill)?;
            report.loss.push(loss);
            report.parts.iter_mut().zip(parts).for_each(|((_, all), part)| all.push(part));

            let done = step + 1;
            let due = done.is_multiple_of(options.validate_every) || done == options.steps;
            if validation.nrows() > 0 && due {
                let loss = self.critics_loss(validation.view(), progress, *streams);
                if !loss.is_finite() {
                    return Err(Error::Diverged { step, what: format!("validation loss = {loss}") });
                }
                report.validation.push((done, loss));
            }
            let seen = Step {
                step,
                steps: options.steps,
                loss,
                part_names: &PARTS,
                parts: &parts,
                validation: report.validation.last().map(|&(_, loss)| loss),
            };
            if let ControlFlow::Break(()) = observer.step(&seen) {
                report.stop = Stop::Interrupted;
                break;
            }
        }
        // No loss has seen the last updates yet, nor the averaged generator, which will sample.
        let (some, step) = (training.slice(s![..TILE.min(training.nrows()), ..]), report.loss.len());
        let progress = Progress { step, steps: options.steps };
        let now = self.critics_loss(some, progress, *streams);
        self.critics_game.opponent.copy_from_slice(&self.generator.now().average);
        let averaged = self.critics_loss(some, progress, *streams);
        if !now.is_finite() || !averaged.is_finite() {
            let what = format!("critic loss = {now}, against the averaged generator {averaged}");
            return Err(Error::Diverged { step, what });
        }
        Ok(report)
    }

    /// What the critic pays on rows of data and as many generated ones, without its penalty.
    fn critics_loss(&self, x: ArrayView2<f32>, progress: Progress, streams: Streams) -> f64 {
        mean_loss(&self.critics_game, &self.critic.now().p, x, progress, streams)
    }
}

impl Gan {
    /// Plays the game on `rows`.
    pub(super) fn play(
        &mut self,
        rows: &Rows,
        options: &TrainOptions,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let mut players = Players::new(self, options);
        let played = players.play(rows, options, observer);
        let Players { critic, generator, .. } = players;
        (self.critic_parameters, self.generator_parameters) = match played {
            Ok(_) => (critic.finish(), generator.finish()),
            // Either player may be the one that ran away: both go back.
            Err(_) => (critic.last_good(), generator.last_good()),
        };
        played
    }
}
