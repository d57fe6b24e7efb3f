//! Trains a diffusion model on two moons, draws rows by DDIM, prints their mean.

use quadrivium::worlds::Toy;
use quadrivium::prelude::*;

fn main() -> Result<()> {
    let mut rng = quadrivium::seeded(0);
    let data = Dataset::new(Toy::moons(0.1)?.sample(10_000, &mut rng))?;
    let sampler = Sampler::Ddim { steps: 50, eta: 0.0 };
    let mut model = Diffusion::new(DiffusionConfig { sampler, ..Default::default() }, &mut rng)?;
    model.train(&data, &TrainOptions::default(), &mut rng, &mut NoObserver)?;
    let rows = model.sample(1_000, &SampleOptions::default(), &mut rng)?.x;
    println!("{:?}", rows.mean_axis(quadrivium::ndarray::Axis(0)));
    Ok(())
}
