use super::Gan;
use super::objective::{Critic, Generator};
use crate::engine::{
    Carry, Gradient, Loss, Observer, OptimizerConfig, Parameters, Part, Progress, Rows, Trainee, Training,
    mean_loss, random_rows, run,
};
use crate::error::Result;
use crate::model::{TrainOptions, TrainReport};
use crate::numeric::rng::{Rng, Streams};

/// A player's loss in a game, which depends on what the other player is now.
pub(crate) trait Opposed: Loss<f32, Row = f32> {
    /// Receives the other player's parameters.
    fn face(&mut self, opponent: &[f32]);
}

/// What a game is played with.
pub(crate) struct Match<C, G> {
    /// A description of both players and of the rules.
    pub(crate) identity: String,
    pub(crate) critic: C,
    pub(crate) generator: G,
    /// Whether the generator's loss asks for rows of the data, or for their conditions.
    pub(crate) asks: bool,
    /// Steps of the critic per step of the generator.
    pub(crate) critic_steps: usize,
    pub(crate) critic_optimizer: OptimizerConfig,
    pub(crate) generator_optimizer: OptimizerConfig,
    /// Names of the critic's parts, of the generator's loss, and of its parts.
    pub(crate) part_names: &'static [&'static str],
}

impl<C: Opposed, G: Opposed> Match<C, G> {
    /// Plays on `rows`, from the players' parameters: the critic's, then the generator's. They are then what was
    /// learned, or the last good ones: either player may have diverged, so both are restored.
    ///
    /// # Errors
    /// As [`fit`](crate::engine::fit).
    pub(crate) fn play(
        self,
        [critic, generator]: [&mut Parameters; 2],
        rows: &Rows,
        options: &TrainOptions,
        observer: &mut dyn Observer,
    ) -> Result<TrainReport> {
        let mut players = Players {
            critics_gradient: Gradient::new(&self.critic, critic.p.len(), options),
            generators_gradient: Gradient::new(&self.generator, generator.p.len(), options),
            critic: Trainee::new(critic),
            generator: Trainee::new(generator),
            rows: &rows.training,
            parts: vec![0.0; self.part_names.len()],
            game: self,
        };
        let played = run(&mut players, rows, options, observer);
        let Players { critic: trained_critic, generator: trained, .. } = players;
        (*critic, *generator) = match played {
            Ok(_) => (trained_critic.finish(), trained.finish()),
            Err(_) => (trained_critic.last_good(), trained.last_good()),
        };
        played?.report()
    }
}

/// The two players in training.
struct Players<'a, C: Opposed, G: Opposed> {
    game: Match<C, G>,
    critic: Trainee,
    generator: Trainee,
    critics_gradient: Gradient<C>,
    generators_gradient: Gradient<G>,
    rows: &'a Part,
    parts: Vec<f64>,
}

impl<C: Opposed, G: Opposed> Training for Players<'_, C, G> {
    fn identity(&self) -> String {
        self.game.identity.clone()
    }

    fn part_names(&self) -> &'static [&'static str] {
        self.game.part_names
    }

    /// `critic_steps` steps of the critic against the present generator, then one step of the generator against the
    /// updated critic. Returns the critic's last loss.
    fn step(&mut self, progress: Progress, streams: Streams) -> Result<f64> {
        let Players { game, critic, generator, critics_gradient, generators_gradient, rows, parts } = self;
        game.critic.face(&generator.now().p);
        let fill = random_rows(rows);
        let mut loss = 0.0;
        for k in 0..game.critic_steps {
            let (p, streams) = (&critic.now().p, streams.family(k as u64));
            game.critic.follow(p);
            loss = critics_gradient.compute(&game.critic, p, progress, streams, &fill)?;
            critic.step(&game.critic_optimizer, progress, "critic loss", loss, critics_gradient.sum())?;
        }
        game.generator.face(&critic.now().p);
        let p = &generator.now().p;
        game.generator.follow(p);
        let streams = streams.family(game.critic_steps as u64);
        let asks = game.asks;
        let asked = |rng: &mut Rng, n: usize, x: &mut Vec<f32>, c: &mut Vec<f32>| {
            if asks {
                fill(rng, n, x, c);
            }
        };
        let pays = generators_gradient.compute(&game.generator, p, progress, streams, asked)?;
        let g = generators_gradient.sum();
        generator.step(&game.generator_optimizer, progress, "generator loss", pays, g)?;

        let all = critics_gradient.parts().iter().chain([&pays]).chain(generators_gradient.parts());
        parts.iter_mut().zip(all).for_each(|(part, &now)| *part = now);
        Ok(loss)
    }

    fn parts(&self) -> &[f64] {
        &self.parts
    }

    fn validate(&mut self, part: &Part, progress: Progress, streams: Streams) -> f64 {
        self.game.critic.face(&self.generator.now().p);
        mean_loss(&self.game.critic, &self.critic.now().p, part, progress, streams)
    }

    /// The critic's loss against the generator, and against the averaged generator, which draws samples.
    fn last_losses(&mut self, part: &Part, progress: Progress, streams: Streams) -> [f64; 2] {
        let Players { generator, critic, game, .. } = self;
        let Parameters { p, average } = generator.now();
        [p, average].map(|opponent| {
            game.critic.face(opponent);
            mean_loss(&game.critic, &critic.now().p, part, progress, streams)
        })
    }

    fn mark_best(&mut self) {
        self.critic.mark_best();
        self.generator.mark_best();
    }

    fn carry(&mut self, carry: &mut Carry) -> Result<()> {
        self.critic.carry(carry)?;
        self.generator.carry(carry)
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
        let (config, loss) = (&self.config, self.config.loss);
        let (critic, generator) = (&self.critic, &self.generator);
        let game = Match {
            identity: format!("{config:?}"),
            critic: Critic { loss, critic, generator, opponent: Vec::new() },
            generator: Generator { loss, critic, generator, opponent: Default::default() },
            // The generator's loss uses no data, only the conditions of some rows, unless rows are paired.
            asks: loss.pairs() || !config.condition.is_none(),
            critic_steps: config.critic_steps,
            critic_optimizer: OptimizerConfig { lr: config.critic_lr, ..config.optimizer.clone() },
            generator_optimizer: config.optimizer.clone(),
            part_names: &["critic", "penalty", "generator"],
        };
        let parameters = [&mut self.critic_parameters, &mut self.generator_parameters];
        game.play(parameters, rows, options, observer)
    }
}
