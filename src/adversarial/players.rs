use super::objective::{Critic, Generator};
use super::{Gan, GanConfig};
use crate::engine::{
    Carry, Gradient, OptimizerConfig, Parameters, Part, Progress, Rows, Trainee, Training, mean_loss,
    random_rows, run,
};
use crate::error::Result;
use crate::model::{Observer, TrainOptions, TrainReport};
use crate::nn::Network;
use crate::numeric::rng::{Rng, Streams};

/// The two players in training, each with its own loss.
struct Players<'a> {
    config: &'a GanConfig,
    critic_optimizer: OptimizerConfig,
    critic: Trainee,
    generator: Trainee,
    critics_game: Critic<'a, f32>,
    generators_game: Generator<'a, f32>,
    critics_gradient: Gradient<Critic<'a, f32>>,
    generators_gradient: Gradient<Generator<'a, f32>>,
    rows: &'a Part,
    parts: [f64; 3],
}

impl<'a> Players<'a> {
    fn new(gan: &'a Gan, rows: &'a Rows, options: &TrainOptions) -> Self {
        let (config, critic, generator) = (&gan.config, &gan.critic, &gan.generator);
        let loss = config.loss;
        let critics_game = Critic { loss, critic, generator, opponent: gan.generator_parameters.p.clone() };
        let unknown = vec![0.0; critic.net.num_params()];
        let generators_game = Generator { loss, critic, generator, opponent: (unknown.clone(), unknown) };
        let (batch, shards) = (options.batch, options.shards_of_batch());
        Players {
            critic_optimizer: OptimizerConfig { lr: config.critic_lr, ..config.optimizer.clone() },
            critic: Trainee::new(&gan.critic_parameters),
            generator: Trainee::new(&gan.generator_parameters),
            critics_gradient: Gradient::new(&critics_game, critic.net.num_params(), batch, shards),
            generators_gradient: Gradient::new(&generators_game, generator.net.num_params(), batch, shards),
            critics_game,
            generators_game,
            rows: &rows.training,
            parts: [0.0; 3],
            config,
        }
    }
}

impl Training for Players<'_> {
    fn identity(&self) -> String {
        format!("{:?}", self.config)
    }

    fn part_names(&self) -> &'static [&'static str] {
        &["critic", "penalty", "generator"]
    }

    /// `critic_steps` steps of the critic against the present generator, then one step of the generator against the
    /// updated critic. Returns the critic's last loss.
    fn step(&mut self, progress: Progress, streams: Streams) -> Result<f64> {
        self.critics_game.opponent.copy_from_slice(&self.generator.now().p);
        let fill = random_rows(self.rows);
        let mut loss = 0.0;
        for k in 0..self.config.critic_steps {
            let (game, p, streams) = (&self.critics_game, &self.critic.now().p, streams.family(k as u64));
            loss = self.critics_gradient.compute(game, p, progress, streams, &fill);
            let g = self.critics_gradient.sum();
            self.critic.step(&self.critic_optimizer, progress, "critic loss", loss, g)?;
        }
        let (p, t) = &mut self.generators_game.opponent;
        p.copy_from_slice(&self.critic.now().p);
        self.generators_game.critic.net.transpose(p, t);

        let (game, p) = (&self.generators_game, &self.generator.now().p);
        let streams = streams.family(self.config.critic_steps as u64);
        // The generator's loss uses no data, only the conditions of some rows, unless rows are paired.
        let asks = self.config.loss.pairs() || self.rows.c.ncols() > 0;
        let conditions = |rng: &mut Rng, n: usize, x: &mut Vec<f32>, c: &mut Vec<f32>| {
            if asks {
                fill(rng, n, x, c);
            }
        };
        let pays = self.generators_gradient.compute(game, p, progress, streams, conditions);
        let g = self.generators_gradient.sum();
        self.generator.step(&self.config.optimizer, progress, "generator loss", pays, g)?;

        let critic = self.critics_gradient.parts();
        self.parts = [critic[0], critic[1], pays];
        Ok(loss)
    }

    fn parts(&self) -> &[f64] {
        &self.parts
    }

    fn validate(&mut self, part: &Part, progress: Progress, streams: Streams) -> f64 {
        self.critics_game.opponent.copy_from_slice(&self.generator.now().p);
        mean_loss(&self.critics_game, &self.critic.now().p, part, progress, streams)
    }

    /// The critic's loss against the generator, and against the averaged generator, which draws samples.
    fn last_losses(&mut self, part: &Part, progress: Progress, streams: Streams) -> [f64; 2] {
        let Players { generator, critic, critics_game, .. } = self;
        let Parameters { p, average } = generator.now();
        [p, average].map(|opponent| {
            critics_game.opponent.copy_from_slice(opponent);
            mean_loss(critics_game, &critic.now().p, part, progress, streams)
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
        let mut players = Players::new(self, rows, options);
        let played = run(&mut players, rows, options, observer);
        let Players { critic, generator, .. } = players;
        (self.critic_parameters, self.generator_parameters) = match played {
            Ok(_) => (critic.finish(), generator.finish()),
            // Either player may have diverged, so both are restored.
            Err(_) => (critic.last_good(), generator.last_good()),
        };
        played?.report()
    }
}
