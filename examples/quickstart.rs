//! The four paradigms in a loop: train on two moons, draw rows, score held-out rows.
//!
//! `cargo run --release --example quickstart`

use quadrivium::metrics::Nll;
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;

fn main() -> Result<()> {
    let mut rng = quadrivium::seeded(0);
    let moons = Toy::moons(0.1)?;
    let train = Dataset::new(moons.sample(10_000, &mut rng))?;
    let test = moons.sample(1_000, &mut rng);
    let mut models: Vec<Box<dyn Generative>> = vec![
        Box::new(Autoregressive::new(AutoregressiveConfig::default(), &mut rng)?),
        Box::new(Vae::new(VaeConfig::default(), &mut rng)?),
        Box::new(Gan::new(GanConfig::default(), &mut rng)?),
        Box::new(Diffusion::new(DiffusionConfig::default(), &mut rng)?),
    ];
    for model in &mut models {
        let options = TrainOptions { steps: 500, ..TrainOptions::default() };
        model.train(&train, &options, &mut rng, &mut NoObserver)?;
        let drawn = model.sample(5, &SampleOptions::default(), &mut rng)?;
        let score = model.log_likelihood(test.view(), &LikelihoodOptions::default())?;
        // A lower bound on log p is an upper bound on the negative log-likelihood.
        let nll = match Nll::of(&score) {
            Some(nll) => format!("NLL {:.3} nats ({})", nll.mean, score.kind().of_nll()),
            None => "no density".into(),
        };
        println!("{:24} {nll:32} {} network evaluations per row", model.card().name, drawn.nfe);
        println!("{:.3}", drawn.x);
    }
    let truth = -moons.log_density(test.view())?.mean().unwrap_or(f64::NAN);
    println!("The true density scores NLL {truth:.3} nats on the same rows.");
    Ok(())
}
