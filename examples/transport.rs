//! Flow matching from one distribution to another, with and without optimal-transport pairings: the exact W₂ between
//! carried rows and fresh ones in the protocol of Tong et al. 2024, with its floor and the published figures.
//!
//! `cargo run --release --example transport` (a quarter of an hour, half of it the exact distances) · `-- --quick`
//! · `-- --help` explains the options.

use quadrivium::{Pairing, Source};
use std::f32::consts::PI;
use std::time::Instant;

use clap::Parser;
use comfy_table::{Table, presets};
use ndarray_rand::{RandomExt, rand_distr::StandardNormal};
use quadrivium::diffusion::matching::{FlowSteps, Method};
use quadrivium::metrics::{Floor, wasserstein2};
use quadrivium::ndarray::Array2;
use quadrivium::numeric::rng::Rng;
use quadrivium::rand::Rng as _;
use quadrivium::worlds::Toy;
use quadrivium::{prelude::*, seeded};

/// Exact W₂ of flows between distributions, with its floor.
#[derive(Parser)]
struct Args {
    /// Repeat with this many seeds, each with its own data and training, and print mean ± standard deviation.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Steps of training, 512 rows each.
    #[arg(long, default_value_t = 2000)]
    steps: usize,
    /// Rows to learn from, and as many to compare.
    #[arg(long, default_value_t = 10_000)]
    rows: usize,
    /// 100 steps and 500 rows, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Clone, Copy)]
enum Figure {
    Normal,
    Moons,
    Gaussians,
}

impl Figure {
    fn draw(self, n: usize, rng: &mut Rng) -> Result<Array2<f32>> {
        Ok(match self {
            Figure::Normal => Array2::random_using((n, 2), StandardNormal, rng),
            // The protocol passes √0.1 as a variance.
            Figure::Gaussians => Toy::ring(8, 5.0, 0.1f64.powf(0.25))?.sample(n, rng),
            // The protocol's own: equispaced angles, one uniform number added to both coordinates.
            Figure::Moons => {
                let half = n / 2;
                let mut x = Array2::from_shape_fn((n, 2), |(r, c)| {
                    let a = PI * (r % half.max(1)) as f32 / (half as f32 - 1.0).max(1.0);
                    match (r < half, c) {
                        (true, 0) => a.cos(),
                        (true, _) => a.sin(),
                        (false, 0) => 1.0 - a.cos(),
                        (false, _) => 0.5 - a.sin(),
                    }
                });
                for mut row in x.rows_mut() {
                    let noise = 0.2 * rng.random::<f32>();
                    row.mapv_inplace(|v| 3.0 * (v + noise) - 1.0);
                }
                x
            }
        })
    }
}

/// (name, source, data, published figures for flow matching and for its optimal-transport pairing)
const PAIRS: [(&str, Figure, Figure, [&str; 2]); 3] = [
    ("N → 8gaussians", Figure::Normal, Figure::Gaussians, ["0.343 ± 0.058", "0.303 ± 0.043"]),
    ("moons → 8gaussians", Figure::Moons, Figure::Gaussians, ["–", "0.601 ± 0.027"]),
    ("N → moons", Figure::Normal, Figure::Moons, ["0.209 ± 0.055", "0.130 ± 0.016"]),
];

fn main() -> Result<()> {
    let Args { seeds, steps, rows, quick } = Args::parse();
    let (steps, rows) = if quick { (100, 500) } else { (steps, rows) };
    let pairings = [
        ("independent", Pairing::Independent),
        ("optimal transport", Pairing::OptimalTransport { rows: 256 }),
    ];
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header(["", "pairing", "W₂, 100 Euler steps", "W₂, 5 Euler steps", "floor", "published"]);
    for (name, source, data, published) in PAIRS {
        let mut floors = Vec::new();
        let mut distances: [[Vec<f64>; 2]; 2] = Default::default();
        for seed in 0..seeds {
            let rng = &mut seeded(seed);
            let train = Dataset::new(data.draw(rows, rng)?)?;
            let source_rows = Dataset::new(source.draw(rows, rng)?)?;
            let (start, truth) = (source.draw(rows, rng)?, data.draw(rows, rng)?);
            floors.push(wasserstein2(data.draw(rows, rng)?.view(), truth.view())?);
            for ((_, pairing), distances) in pairings.iter().zip(&mut distances) {
                let began = Instant::now();
                let config = FlowMatchingConfig {
                    source: Source::Rows(source_rows.clone().into()),
                    pairing: *pairing,
                    ..Default::default()
                };
                let mut model = FlowMatching::new(config, rng)?;
                let options = TrainOptions { steps, batch: 512, ..Default::default() };
                model.train(&train, &options, rng, &mut NoObserver)?;
                for (distances, steps) in distances.iter_mut().zip([100, 5]) {
                    let view = model.with_sampler(FlowSteps { method: Method::Euler, steps })?;
                    distances.push(wasserstein2(view.transport(start.view())?.view(), truth.view())?);
                }
                eprintln!("{name}, seed {seed}, {pairing:?}: {:.0} s", began.elapsed().as_secs_f64());
            }
        }
        for (((pairing, _), [fine, coarse]), published) in pairings.iter().zip(&distances).zip(published) {
            let cell = |distances: &[f64]| {
                // One pair and one seed have no standard deviation to judge by.
                let floor = Floor::of(&floors, distances.len());
                let at = floor.is_ok_and(|floor| floor.holds(mean(distances)));
                format!("{}{}", spread(distances), if at { " ✓" } else { "" })
            };
            table.add_row([name, pairing, &cell(fine), &cell(coarse), &spread(&floors), published]);
        }
    }
    println!(
        "{table}\n\n{rows} rows, {steps} training steps of 512, mean ± standard deviation over {seeds} seeds."
    );
    println!(
        "Floor: the distance between two fresh samples of the data, a pair for each seed. ✓ marks distances at the floor: at \
         most its mean plus two standard errors of the difference. Published: Tong et al. 2024, for 10,000 rows."
    );
    Ok(())
}

fn mean(v: &[f64]) -> f64 {
    v.iter().sum::<f64>() / v.len() as f64
}

fn spread(v: &[f64]) -> String {
    let (n, mean) = (v.len() as f64, mean(v));
    let sd = (v.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0)).sqrt();
    format!("{mean:.3} ± {sd:.3}")
}
