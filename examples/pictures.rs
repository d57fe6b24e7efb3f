//! Draws the documentation's pictures: the map with the figures of docs/RESULTS.md, and a model of each paradigm on two moons,
//! which it trains.
//!
//! `cargo run --release --features plot --example pictures` writes SVG files to target/pictures in a minute or two ·
//! `-- docs/pictures` renews those of the documentation · `-- --help` explains the options.

use quadrivium::{AdversarialLoss, Architecture, Card, ComponentCount, FileError, Pairing, Sampler, Step};
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Parser;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use quadrivium::energy::Normalization;
use quadrivium::report::{self, DensityMap, Landmark, Picture, Window};
use quadrivium::worlds::Toy;
use quadrivium::{prelude::*, seeded};

/// Train a model of each paradigm on two moons and draw pictures of them.
#[derive(Parser)]
struct Args {
    /// Where the pictures go.
    #[arg(default_value = "target/pictures")]
    dir: PathBuf,
    /// Write each picture as PNG, too.
    #[arg(long)]
    png: bool,
}

/// Rows to learn from.
const TRAIN_ROWS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let album = Album { args: Args::parse() };
    std::fs::create_dir_all(&album.args.dir)?;
    album.save("map", &map()?)?;
    let (mut rng, moons) = (seeded(0), Toy::moons(0.1)?);
    let train = Dataset::new(moons.sample(TRAIN_ROWS, &mut rng))?;
    let truth = DensityMap::of_toy(&moons, Window::around(train.x())?, 128)?;

    let steps = |steps| TrainOptions { steps, validation: 0.1, ..TrainOptions::default() };
    let models: Vec<(&str, Box<dyn Generative>, TrainOptions)> = vec![
        ("autoregressive", Box::new(Autoregressive::new(Default::default(), &mut rng)?), steps(3000)),
        ("latent", Box::new(Vae::new(Default::default(), &mut rng)?), steps(4000)),
        ("flow", Box::new(Flow::new(Default::default(), &mut rng)?), steps(2000)),
        ("energy", Box::new(EnergyModel::new(Default::default(), &mut rng)?), steps(2000)),
        ("baseline", Box::new(GaussianMixture::new(mixture())?), steps(1)),
    ];
    for (file, mut model, options) in models {
        let report = model.train(&train, &options, &mut rng, &mut bar(file, options.steps))?;
        album.density(file, model.as_ref(), truth.window())?;
        if file == "latent" {
            let title = format!(
                "{}: training, warm-up over the first {:.0} steps",
                model.card().name,
                VaeConfig::default().beta_warmup * options.steps as f64
            );
            album.save("training", &report::training_curves(&title, model.card().objective, &report)?)?;
        }
    }

    let mut diffusion = Diffusion::new(Default::default(), &mut rng)?;
    diffusion.train(&train, &steps(4000), &mut rng, &mut bar("diffusion", 4000))?;
    let quick = diffusion.with_sampler(Sampler::Ddim { steps: 50, eta: 0.0 })?;
    let paths = quick.sample_path(60, &SampleOptions::default(), &mut seeded(1))?;
    let title = "DDIM-50: from noise to data";
    album.save("diffusion_paths", &report::trajectories(title, paths.view(), Some(&truth))?)?;

    let mut matching = FlowMatching::new(Default::default(), &mut rng)?;
    matching.train(&train, &steps(3000), &mut rng, &mut bar("flow matching", 3000))?;
    let paths = matching.sample_path(60, &SampleOptions::default(), &mut seeded(1))?;
    let title = "Flow matching: from noise to data";
    album.save("flow_matching_paths", &report::trajectories(title, paths.view(), Some(&truth))?)?;

    // A training that is stopped after k of its steps is in the state of the whole training after k steps: the same
    // seed and the same number of steps asked for give the same minibatches, noise and learning rates.
    let steps = TrainOptions { steps: 6000, batch: 128, ..TrainOptions::default() };
    let mut drawn = Vec::new();
    for kept in [20, 100, 400, 1500, 3000, steps.steps] {
        let mut rng = seeded(2);
        let mut gan = Gan::new(GanConfig::default(), &mut rng)?;
        let mut progress = bar(&format!("WGAN-GP, {kept} steps"), kept);
        let mut until = |step: &Step<'_>| match step.step + 1 < kept {
            true => progress(step),
            false => ControlFlow::Break(()),
        };
        gan.train(&train, &steps, &mut rng, &mut until)?;
        drawn.push((format!("{kept} steps"), gan.sample(300, &SampleOptions::default(), &mut seeded(3))?.x));
    }
    let panels: Vec<_> = drawn.iter().map(|(caption, x)| (caption.clone(), x.view())).collect();
    album.save(
        "adversarial_drift",
        &report::snapshots("WGAN-GP: the same noise in training", &panels, Some(&truth))?,
    )?;
    Ok(())
}

/// The map, with the figures of docs/RESULTS.md.
fn map() -> Result<Picture> {
    const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/RESULTS.md");
    let results =
        std::fs::read_to_string(RESULTS).map_err(|source| FileError::Io { path: RESULTS.into(), source })?;
    let landmark = |card: Card, block: &str, columns: &[(&str, &str)]| {
        let measured = measured(&results, block, &card.name, columns);
        Landmark { card, measured: measured.unwrap_or_default() }
    };
    let grid = |card: Card| {
        let columns = [("gap", "nats behind"), ("in 3σ", "in 3σ"), ("µs in bulk", "µs a row")];
        // What does not stand in the first block stands in the second.
        let [first, second] = ["grid", "all grid"].map(|block| landmark(card.clone(), block, &columns));
        if first.measured.is_empty() { second } else { first }
    };
    let ring = |parts: Vec<Card>| {
        let name = parts.iter().map(|part| part.name.to_string()).collect::<Vec<_>>().join(" + ");
        let columns =
            [("gap, nats", "nats behind"), ("fair modes, in 3σ", "in 3σ"), ("µs, bulk", "µs a row")];
        landmark(Card::composed(name, parts), "hybrids", &columns)
    };
    let rng = &mut seeded(0);
    let diffusion = Diffusion::new(Default::default(), rng)?;
    let ddim = diffusion.with_sampler(Sampler::Ddim { steps: 50, eta: 0.0 })?.card();
    let autoregressive = Autoregressive::new(Default::default(), rng)?.card();
    let vae = Vae::new(Default::default(), rng)?.card();
    let gan = Gan::new(Default::default(), rng)?.card();
    let r1 = GanConfig { loss: AdversarialLoss::NonSaturatingR1 { gamma: 0.1 }, ..Default::default() };
    let r1 = Gan::new(r1, rng)?.card();
    let flow = Flow::new(Default::default(), rng)?.card();
    let masked = FlowConfig { architecture: Architecture::MaskedAutoregressive, ..Default::default() };
    let masked = Flow::new(masked, rng)?.card();
    // As they were measured.
    let pairing = Pairing::OptimalTransport { rows: 64 };
    let matching = FlowMatching::new(FlowMatchingConfig { pairing, ..Default::default() }, rng)?.card();
    let normalization = Normalization::Quadrature { intervals: 1024 };
    let energy = EnergyModel::new(EnergyConfig { normalization, ..Default::default() }, rng)?.card();
    let regions = [
        (
            "The four paradigms, on a grid of 25 Gaussians",
            [autoregressive.clone(), vae.clone(), r1, gan.clone(), diffusion.card(), ddim.clone()]
                .map(grid)
                .to_vec(),
        ),
        (
            "Relatives, on the same grid",
            [
                flow.clone(),
                masked,
                matching,
                energy,
                ScoreModel::new(Default::default(), rng)?.card(),
                KernelDensity::new(Default::default())?.card(),
            ]
            .map(grid)
            .to_vec(),
        ),
        (
            "Combinations, on a ring of eight Gaussians",
            [
                vec![vae.clone(), autoregressive],
                vec![vae.clone(), gan],
                vec![vae.clone(), ddim.clone()],
                vec![vae, flow.clone()],
                vec![flow, ddim],
            ]
            .map(ring)
            .to_vec(),
        ),
    ];
    report::map("The map of generative models", &regions)
}

/// Figures of a row of a block of results: (heading of a column, what it is called here).
fn measured(results: &str, block: &str, name: &str, columns: &[(&str, &str)]) -> Option<Vec<String>> {
    let (_, block) = results.split_once(&format!("<!-- {block}: begin -->"))?;
    let (block, _) = block.split_once(": end -->")?;
    let rows: Vec<Vec<&str>> = block
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let column = |header: &[&str], heading: &str| header.iter().position(|cell| *cell == heading);
    let header = rows.iter().find(|row| columns.iter().all(|(heading, _)| column(row, heading).is_some()))?;
    let below = rows.iter().skip_while(|row| *row != header);
    let row = below.clone().find(|row| row[0] == name)?;
    let figures = columns.iter().filter_map(|(heading, here)| {
        // Without the spread, which has no room here; of several figures the last.
        let figure = row.get(column(header, heading)?)?.split(" ±").next()?.split(", ").last()?;
        let percent = if figure.ends_with('%') || *here != "in 3σ" { "" } else { " %" };
        (figure != "–").then(|| format!("{figure}{percent} {here}"))
    });
    Some(figures.collect())
}

/// Enough components for a curve to look smooth.
fn mixture() -> GaussianMixtureConfig {
    GaussianMixtureConfig { components: ComponentCount::Fixed(16), ..Default::default() }
}

/// A bar on standard error that disappears after its last step.
fn bar(what: &str, steps: usize) -> impl FnMut(&Step<'_>) -> ControlFlow<()> + use<> {
    let style = ProgressStyle::with_template("{prefix:24} {bar:30} {pos}/{len}").expect("a valid template");
    let bar = ProgressBar::new(steps as u64).with_finish(ProgressFinish::AndClear);
    let bar = bar.with_style(style).with_prefix(what.to_string());
    move |step| {
        // Drawing a bar is slower than a small step.
        if step.step.is_multiple_of(50) {
            bar.set_position(step.step as u64);
        }
        ControlFlow::Continue(())
    }
}

/// Writes pictures, and reports where.
struct Album {
    args: Args,
}

impl Album {
    fn save(&self, name: &str, picture: &Picture) -> Result<()> {
        let endings: &[&str] = if self.args.png { &["svg", "png"] } else { &["svg"] };
        for ending in endings {
            let path = self.args.dir.join(format!("{name}.{ending}"));
            picture.save(&path)?;
            println!("{}", path.display());
        }
        Ok(())
    }

    fn density(&self, name: &str, model: &dyn Generative, window: Window) -> Result<()> {
        let card = model.card();
        let density = DensityMap::of_model(model, window, 72, &LikelihoodOptions::default())?;
        let title = format!("{}: ln p, {}", card.name, card.likelihood);
        self.save(&format!("{name}_density"), &report::heat_map(&title, &density)?)
    }
}
