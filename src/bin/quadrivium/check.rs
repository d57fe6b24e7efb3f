//! The small twin of a system: trained, and held against what a description of the system predicts.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::time::Instant;

use clap::ValueEnum;
use comfy_table::{Table, presets};
use quadrivium::diffusion::Guidance;
use quadrivium::engine::Row;
use quadrivium::hybrid::{FineTuneConfig, Game, ImplicitGame, Latent, LatentConfig, fine_tune};
use quadrivium::map::Card;
use quadrivium::map::read::read;
use quadrivium::ndarray::{Array1, ArrayView1, ArrayView2, s};
use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;
use quadrivium::worlds::{MarkovChain, Toy};
use quadrivium::{AdversarialLoss, ConditionKind, LikelihoodKind, Sampler, Transformer, TransformerConfig};

use crate::failure::{Failure, Outcome, of_writing};

/// Train the small twin of a system, and print what its description predicts beside what is measured.
///
/// The description is read as by `quadrivium read`, which predicts; the twin is a model of the same parts on data with known
/// truth. It takes some seconds. The exit code is 1 if the parts or the evaluations are not the predicted ones, or if the
/// twin's own card is wrong.
#[derive(clap::Args)]
pub struct Args {
    #[arg(value_enum, ignore_case = true)]
    system: System,
    /// Seed of the data, the training and the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Steps of each training.
    #[arg(long, value_name = "N", default_value_t = 3_000)]
    steps: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum System {
    /// A language model: a causal transformer.
    A,
    /// Latent diffusion: DDIM with guidance in the latents of a VAE.
    B,
    /// A face generator: WGAN-GP.
    C,
    /// A consistency model in the latents of a VAE.
    H1,
    /// A VAE whose prior is a flow, with a diffusion in the flow's space.
    H2,
    /// A diffusion that is fine-tuned against a discriminator.
    H3,
}

impl System {
    /// As a release note would describe it, with the numbers of the twin.
    fn description(self) -> &'static str {
        match self {
            System::A => {
                "A causal transformer trained to predict the next token by cross-entropy. At inference it generates \
                 token by token, with a KV cache."
            }
            System::B => {
                "A class-to-image model. A VAE compresses the images, and a diffusion model trained with the noise-prediction \
                 loss works in its latents. Samples take 50 DDIM steps with classifier-free guidance."
            }
            System::C => {
                "A generator of faces from a 512-number latent, trained against a critic with the Wasserstein loss and a \
                 gradient penalty. Sampling is a single forward pass."
            }
            System::H1 => {
                "A latent diffusion model, whose VAE compresses images, distilled by consistency training into a sampler of \
                 one step."
            }
            System::H2 => {
                "A VAE with a normalizing flow as its prior. In the base space of the flow a diffusion model is trained with \
                 the noise-prediction loss and sampled in 20 DDIM steps."
            }
            System::H3 => {
                "A diffusion model trained with the noise-prediction loss, sampled in 10 DDIM steps, and then fine-tuned \
                 against a discriminator with an adversarial loss."
            }
        }
    }
}

/// What was seen of a model.
struct Seen {
    card: Card,
    /// Evaluations counted while rows were drawn; the most of a row.
    nfe: usize,
    /// The kind of likelihood that it gave.
    likelihood: LikelihoodKind,
    /// The time of its draws over that of the same model with half the steps or the length, where it has these.
    twice: Option<f64>,
    /// What else is known of the data: a name, and a figure.
    truth: (&'static str, f64),
}

pub fn run(args: &Args) -> Outcome<()> {
    let bench = Bench { steps: args.steps, streams: Streams::new(args.seed) };
    let seen = match args.system {
        System::A => bench.language()?,
        System::B => bench.latent_diffusion()?,
        System::C => bench.faces()?,
        System::H1 => bench.consistency()?,
        System::H2 => bench.flow_prior()?,
        System::H3 => bench.fine_tuned()?,
    };
    let reading = read(args.system.description());
    let words = |paradigms: BTreeSet<String>| paradigms.into_iter().collect::<Vec<_>>().join(" + ");
    let parts = words(reading.components.iter().map(|part| part.paradigm.to_string()).collect());
    let built = words(paradigms(&seen.card));
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header(["", "predicted", "measured", ""]);
    let mut holds = true;
    let mut row = |table: &mut Table, what: &str, predicted: String, measured: String, right: bool| {
        table.add_row([what, &predicted, &measured, if right { "✓" } else { "✗" }]);
        holds &= right;
    };
    row(&mut table, "parts", parts.clone(), built.clone(), parts == built);
    // A number that the text does not give is not predicted.
    let within = |(least, most): (usize, usize)| (least..=most).contains(&seen.nfe);
    let counted = seen.card.nfe == seen.nfe && reading.passes.total().is_none_or(within);
    row(&mut table, "evaluations a row", reading.passes.to_string(), seen.nfe.to_string(), counted);
    let best = reading.likelihood.unwrap_or(LikelihoodKind::Unavailable);
    let told =
        match (seen.card.likelihood == seen.likelihood, best.weaker(seen.likelihood) == seen.likelihood) {
            (false, _) => "✗",
            (_, true) => "✓",
            // The twin has more than the text lets one expect.
            (_, false) => "◐",
        };
    holds &= told != "✗";
    table.add_row(["likelihood, at best", &best.to_string(), &seen.likelihood.to_string(), told]);
    if let Some(twice) = seen.twice {
        // A busy machine is no reason to fail.
        let near = if (1.6..=2.4).contains(&twice) { "✓" } else { "◐" };
        table.add_row([
            "time at twice the steps or the length",
            &format!("2.0, {}", seen.card.latency),
            &format!("{twice:.1}"),
            near,
        ]);
    }
    let (name, figure) = seen.truth;
    let told = format!(
        "{}\n\n{table}\n\n{name}: {figure:.3}\n\nFails, as predicted of its parts, by: {}.\n",
        args.system.description(),
        seen.card.failures.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    );
    io::stdout().write_all(told.as_bytes()).map_err(|error| of_writing("standard output", error))?;
    match holds {
        true => Ok(()),
        false => Err(Failure::Operation("the twin is not what was predicted".into())),
    }
}

/// The paradigms of a model's parts.
fn paradigms(card: &Card) -> BTreeSet<String> {
    match &card.parts[..] {
        [] => BTreeSet::from([card.paradigm.to_string()]),
        parts => parts.iter().flat_map(paradigms).collect(),
    }
}

/// Rows drawn to be timed.
const TIMED: usize = 256;

/// The median time of a few draws.
fn seconds<T: Row>(model: &dyn Distribution<T>, streams: Streams) -> Outcome<f64> {
    let mut times = Vec::new();
    for draw in 0..5 {
        let start = Instant::now();
        model.sample(TIMED, &SampleOptions::default(), &mut streams.stream(draw))?;
        times.push(start.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[2])
}

/// Where twins are trained.
struct Bench {
    steps: usize,
    streams: Streams,
}

impl Bench {
    fn options(&self) -> TrainOptions {
        TrainOptions { steps: self.steps, ..TrainOptions::default() }
    }

    fn learn<T: Row>(&self, model: &mut dyn Generative<T>, data: &Dataset<T>) -> Outcome<()> {
        model.train(data, &self.options(), &mut self.streams.stream(1), &mut NoObserver)?;
        Ok(())
    }

    /// Eight modes on a ring.
    fn ring(&self) -> Outcome<Dataset> {
        Ok(Dataset::new(Toy::ring8().sample(5_000, &mut self.streams.stream(0)))?)
    }

    /// What is seen of a model of rows, of which `half` takes half as long.
    fn seen<T: Row>(
        &self,
        model: &dyn Distribution<T>,
        half: Option<&dyn Distribution<T>>,
        x: ArrayView2<T>,
        truth: (&'static str, f64),
    ) -> Outcome<Seen> {
        let draws = self.streams.family(7);
        let nfe = model.sample(TIMED, &SampleOptions::default(), &mut draws.stream(9))?.nfe;
        let likelihood = model.log_likelihood(x, &LikelihoodOptions::default())?.kind();
        let time = |model| seconds(model, draws);
        let twice = half.map(|half| Ok::<_, Failure>(time(model)? / time(half)?)).transpose()?;
        Ok(Seen { card: model.card(), nfe, likelihood, twice, truth })
    }

    /// The share of draws within three standard deviations of a mode of the ring.
    fn on_the_ring(&self, model: &dyn Distribution) -> Outcome<(&'static str, f64)> {
        let drawn = model.draw(2_000, &mut self.streams.stream(2))?;
        let modes = Toy::ring8().modes().expect("the ring has modes");
        let report = quadrivium::metrics::mode_coverage(drawn.view(), modes.centers.view(), modes.sigma)?;
        Ok(("share of the draws within 3σ of a mode", report.high_quality))
    }

    fn language(&self) -> Outcome<Seen> {
        let (len, vocabulary) = (64, 8);
        let chain = MarkovChain::random(vocabulary, 1, len, &mut self.streams.stream(0))?;
        let data = Dataset::new(chain.draw(2_000, &mut self.streams.stream(3))?)?;
        let config =
            TransformerConfig { vocabulary, len, width: 32, heads: 2, blocks: 2, ..Default::default() };
        let half = Transformer::new(
            TransformerConfig { len: len / 2, ..config.clone() },
            &mut self.streams.stream(4),
        )?;
        let mut model = Transformer::new(config, &mut self.streams.stream(4))?;
        let options = TrainOptions { batch: 64, ..self.options() };
        model.train(&data, &options, &mut self.streams.stream(1), &mut NoObserver)?;
        let test = chain.draw(500, &mut self.streams.stream(5))?;
        let nats = |model: &dyn Distribution<_>| -> Outcome<f64> {
            let score = model.log_likelihood(test.view(), &LikelihoodOptions::default())?;
            Ok(score.nats().and_then(|nats| nats.mean()).unwrap_or(f64::NAN) / len as f64)
        };
        let gap = ("nats a token above the source", nats(&chain)? - nats(&model)?);
        self.seen(&model, Some(&half), test.view(), gap)
    }

    fn latent_diffusion(&self) -> Outcome<Seen> {
        let ring = self.ring()?;
        let class = class_of(ring.x());
        let condition = ConditionKind::Class { classes: 8 };
        let data = ring.with_condition(Condition::Class(class))?;
        let vae = Vae::new(VaeConfig { beta: 0.05, ..Default::default() }, &mut self.streams.stream(4))?;
        let config = DiffusionConfig { condition, condition_dropout: 0.1, ..Default::default() };
        let mut model =
            Latent::new(vae, Diffusion::new(config, &mut self.streams.stream(5))?, LatentConfig::default())?;
        self.learn(&mut model, &data)?;
        let in_steps = |steps: usize| -> Result<_> {
            let prior = model.prior().with_sampler(Sampler::Ddim { steps, eta: 0.0 })?;
            model.with_prior(prior.with_guidance(Guidance::default())?)
        };
        let (whole, half) = (in_steps(50)?, in_steps(25)?);
        let asked = Condition::class(3);
        let drawn = whole.given(&asked)?.draw(1_000, &mut self.streams.stream(2))?;
        let right = class_of(drawn.view()).iter().filter(|&&class| class == 3).count() as f64 / 1_000.0;
        let (whole, half) = (whole.given(&asked)?, half.given(&asked)?);
        let truth = ("share of the draws that are of the class asked for", right);
        self.seen(whole.as_ref(), Some(half.as_ref()), data.x(), truth)
    }

    fn faces(&self) -> Outcome<Seen> {
        let loss = AdversarialLoss::WassersteinGp { lambda: 10.0 };
        let mut model = Gan::new(GanConfig { loss, ..Default::default() }, &mut self.streams.stream(4))?;
        let data = self.ring()?;
        self.learn(&mut model, &data)?;
        self.seen(&model, None, data.x(), self.on_the_ring(&model)?)
    }

    fn consistency(&self) -> Outcome<Seen> {
        let data = self.ring()?;
        let vae = Vae::new(VaeConfig { beta: 0.05, ..Default::default() }, &mut self.streams.stream(4))?;
        let teacher = Diffusion::new(DiffusionConfig::default(), &mut self.streams.stream(5))?;
        let mut slow = Latent::new(vae, teacher, LatentConfig::default())?;
        self.learn(&mut slow, &data)?;
        let objective = quadrivium::MapObjective::Consistency { stages: 4 };
        let config = FlowMapConfig { objective, steps: 1, ..FlowMapConfig::default() };
        let student = FlowMap::distill(slow.prior(), config, &mut self.streams.stream(6))?;
        let mut model = slow.with_prior(student)?;
        model.train_prior(&data, &self.options(), &mut self.streams.stream(1), &mut NoObserver)?;
        self.seen(&model, None, data.x(), self.on_the_ring(&model)?)
    }

    fn flow_prior(&self) -> Outcome<Seen> {
        let data = self.ring()?;
        let vae = Vae::new(VaeConfig { beta: 0.05, ..Default::default() }, &mut self.streams.stream(4))?;
        let flow = Flow::new(FlowConfig::default(), &mut self.streams.stream(5))?;
        let config = DiffusionConfig { sampler: Sampler::Ddim { steps: 20, eta: 0.0 }, ..Default::default() };
        let diffusion = Diffusion::new(config, &mut self.streams.stream(6))?;
        let warp = Latent::new(flow, diffusion, LatentConfig::default())?;
        let mut model = Latent::new(vae, warp, LatentConfig { draws: 3, ..Default::default() })?;
        self.learn(&mut model, &data)?;
        let few = data.x().slice(s![..20, ..]).to_owned();
        self.seen(&model, None, few.view(), self.on_the_ring(&model)?)
    }

    fn fine_tuned(&self) -> Outcome<Seen> {
        let data = self.ring()?;
        let in_steps = |steps| Sampler::Ddim { steps, eta: 0.0 };
        let config = DiffusionConfig { sampler: in_steps(10), ..Default::default() };
        let mut model = Diffusion::new(config, &mut self.streams.stream(4))?;
        self.learn(&mut model, &data)?;
        let game = Game::Implicit(ImplicitGame { beta: 0.5, ..Default::default() });
        let (config, options) = (FineTuneConfig { game, ..Default::default() }, self.options());
        let options = TrainOptions { steps: options.steps / 10 + 1, ..options };
        fine_tune(&mut model, &config, &data, &options, &mut self.streams.stream(3), &mut NoObserver)?;
        let (half, few) = (model.with_sampler(in_steps(5))?, data.x().slice(s![..20, ..]).to_owned());
        self.seen(&model, Some(&half), few.view(), self.on_the_ring(&model)?)
    }
}

/// The nearest mode of the ring.
fn class_of(x: ArrayView2<f32>) -> Array1<u32> {
    let modes = Toy::ring8().modes().expect("the ring has modes");
    let nearest = |row: ArrayView1<f32>| {
        let squared = |mode: &usize| -> f64 {
            row.iter().zip(modes.centers.row(*mode)).map(|(x, center)| (f64::from(*x) - center).powi(2)).sum()
        };
        let modes = 0..modes.centers.nrows();
        modes.min_by(|a, b| squared(a).total_cmp(&squared(b))).unwrap_or(0) as u32
    };
    x.rows().into_iter().map(nearest).collect()
}
