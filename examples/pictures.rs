//! Trains a model of each paradigm on two moons and draws the documentation's pictures.
//!
//! `cargo run --release --features plot --example pictures` writes SVGs to docs/pictures · `-- DIR` writes them
//! there, and PNGs of the same pictures beside them.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use quadrivium::data::Toy;
use quadrivium::report::{self, DensityMap, Picture, Window};
use quadrivium::{prelude::*, seeded};

/// Rows to learn from.
const TRAIN_ROWS: usize = 20_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let album = match std::env::args_os().nth(1) {
        Some(dir) => Album { dir: dir.into(), png: true },
        None => Album { dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/pictures"), png: false },
    };
    std::fs::create_dir_all(&album.dir)?;
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
        let report = model.train(&train, &options, &mut rng, &mut Silent)?;
        album.density(file, model.as_ref(), truth.window())?;
        if file == "latent" {
            let title = format!("{}: training", model.card().name);
            album.save("training", &report::training_curves(&title, &report)?)?;
        }
    }

    let mut diffusion = Diffusion::new(Default::default(), &mut rng)?;
    diffusion.train(&train, &steps(4000), &mut rng, &mut Silent)?;
    let quick = diffusion.with_sampler(Sampler::Ddim { steps: 50, eta: 0.0 })?;
    let ways = quick.sample_path(60, &SampleOptions::default(), &mut seeded(1))?;
    let title = "DDIM-50: from noise to data";
    album.save("diffusion_paths", &report::trajectories(title, ways.view(), Some(&truth))?)?;

    let mut matching = FlowMatching::new(Default::default(), &mut rng)?;
    matching.train(&train, &steps(3000), &mut rng, &mut Silent)?;
    let ways = matching.sample_path(60, &SampleOptions::default(), &mut seeded(1))?;
    let title = "Flow matching: from noise to data";
    album.save("flow_matching_paths", &report::trajectories(title, ways.view(), Some(&truth))?)?;

    // Broken off after k steps, a training leaves what the whole one holds after its first k: the same seed and
    // the same number of steps asked for give the same minibatches, noise and learning rates.
    let steps = TrainOptions { steps: 6000, batch: 128, ..TrainOptions::default() };
    let mut drawn = Vec::new();
    for kept in [20, 100, 400, 1500, 3000, steps.steps] {
        let mut rng = seeded(2);
        let mut gan = Gan::new(GanConfig::default(), &mut rng)?;
        let mut until = |step: &Step<'_>| match step.step + 1 < kept {
            true => ControlFlow::Continue(()),
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

/// As many components as a bend needs to look smooth.
fn mixture() -> GaussianMixtureConfig {
    GaussianMixtureConfig { components: ComponentCount::Fixed(16), ..Default::default() }
}

/// Where pictures go.
struct Album {
    dir: PathBuf,
    png: bool,
}

impl Album {
    fn save(&self, name: &str, picture: &Picture) -> Result<()> {
        picture.save(self.dir.join(format!("{name}.svg")))?;
        if self.png {
            picture.save(self.dir.join(format!("{name}.png")))?;
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
