//! Saves a VAE and a diffusion, with the outputs of their networks at a few points for `python/from_safetensors.py`
//! to reproduce: `cargo run --release --features safetensors --example to_python -- FOLDER`.

use std::path::PathBuf;

use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
use quadrivium::diffusion::NoiseLevel;
use quadrivium::ndarray::Array2;
use quadrivium::persist::Persist;
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;
use serde_json::json;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: to_python FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let mut rng = quadrivium::seeded(0);
    let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
    let options = TrainOptions { steps: 200, ..TrainOptions::default() };

    let mut vae = Vae::new(VaeConfig::default(), &mut rng)?;
    vae.train(&data, &options, &mut rng, &mut NoObserver)?;
    vae.save(folder.join("vae.safetensors"))?;

    let mut diffusion = Diffusion::new(DiffusionConfig::default(), &mut rng)?;
    diffusion.train(&data, &options, &mut rng, &mut NoObserver)?;
    diffusion.save(folder.join("diffusion.safetensors"))?;

    // A sampler's first step: z as `sample` draws it, and for the diffusion the level of the last timestep.
    let z = Array2::random_using((64, 2), StandardNormal, &mut rng);
    let config = diffusion.config();
    let first = config.schedule.levels(config.timesteps)[config.timesteps];
    let middle = config.schedule.levels(config.timesteps)[config.timesteps / 2];
    let rows = |x: &Array2<f32>| x.rows().into_iter().map(|row| row.to_vec()).collect::<Vec<_>>();
    let noise = |NoiseLevel { alpha, sigma, log_snr }| -> quadrivium::Result<_> {
        let eps_hat = diffusion.predict_noise(z.view(), NoiseLevel { alpha, sigma, log_snr })?;
        Ok(json!({ "alpha": alpha, "sigma": sigma, "log_snr": log_snr, "eps_hat": rows(&eps_hat) }))
    };
    let decoded = rows(&vae.decode(z.view())?);
    let reference = json!({ "z": rows(&z), "decoded": decoded, "noise": [noise(first)?, noise(middle)?] });
    std::fs::write(folder.join("reference.json"), reference.to_string())?;
    println!("{}", folder.display());
    Ok(())
}
