//! Trains one diffusion and draws from it by every sampler in few and in many steps: quality against network
//! evaluations, each distance beside its floor.
//!
//! `cargo run --release --example steps_vs_quality` · `-- --analytic` adds what a perfect network would score ·
//! `-- --help` explains the options.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use quadrivium::data::{DiffusedMixture, Modes, Toy};
use quadrivium::diffusion::sample_with;
use quadrivium::ndarray::Array2;
use quadrivium::numeric::rng::{Rng, Streams};
#[cfg(feature = "plot")]
use quadrivium::report::{Curve, Picture, steps_vs_quality};
use quadrivium::{metrics, prelude::*, seeded};
use serde_json::{Value, json};

/// Quality against network evaluations: one trained diffusion, many samplers.
#[derive(Parser)]
struct Args {
    /// What is learned.
    #[arg(long, value_enum, default_value_t = Data::Grid)]
    data: Data,
    /// Repeat with this many seeds, each with its own data and training, and print mean ± standard deviation.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    seeds: u64,
    /// Score the exact noise of the data (mixtures only) by the same samplers: what is lost there is the
    /// sampler's fault alone.
    #[arg(long)]
    analytic: bool,
    /// A twentieth of the training and a tenth of the rows: shows that everything runs, not how good it gets.
    #[arg(long)]
    quick: bool,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the trained diffusion's curve into this file, .svg or .png.
    #[arg(long, value_name = "FILE", hide = cfg!(not(feature = "plot")))]
    plot: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Data {
    /// 8 Gaussians on a circle, σ = 0.01.
    Ring,
    /// 5 × 5 Gaussians, σ = 0.05.
    Grid,
    /// FFJORD's 8 Gaussians.
    Gaussians,
    /// Two half circles, σ = 0.1.
    Moons,
    /// FFJORD's checkerboard.
    Checkerboard,
}

impl Data {
    fn toy(self) -> Result<Toy> {
        Ok(match self {
            Data::Ring => Toy::ring8(),
            Data::Grid => Toy::grid25(),
            Data::Gaussians => Toy::ffjord8(),
            Data::Moons => Toy::moons(0.1)?,
            Data::Checkerboard => Toy::checkerboard(),
        })
    }
}

fn samplers() -> Vec<Sampler> {
    let mut all = vec![Sampler::Ddpm];
    all.extend([5, 10, 20, 50, 100, 250].map(|steps| Sampler::Ddim { steps, eta: 0.0 }));
    all.extend([3, 5, 10, 18, 35].map(|steps| Sampler::Heun { steps }));
    all.extend([5, 10, 20, 35, 50].map(|steps| Sampler::DpmSolver { steps }));
    all.extend([50, 100, 250, 1000].map(|steps| Sampler::EulerMaruyama { steps }));
    all.extend([25, 50, 125].map(|steps| Sampler::PredictorCorrector { steps, snr: 0.16 }));
    all
}

/// Rows to learn from, rows to judge by, and directions of the sliced distance.
const TRAIN_ROWS: usize = 100_000;
const ROWS: usize = 10_000;
const PROJECTIONS: usize = 128;
/// Pairs of samples of the truth that a floor is the mean of. They share no sample: against one and the same, a
/// floor would vary less than it does.
const FLOORS: usize = 20;

fn main() -> std::process::ExitCode {
    match run(&Args::parse()) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("steps_vs_quality: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> std::result::Result<(), Box<dyn std::error::Error>> {
    if cfg!(not(feature = "plot")) && args.plot.is_some() {
        let command = "cargo run --release --features plot --example steps_vs_quality";
        return Err(format!("--plot draws a picture: run with `{command}`").into());
    }
    let toy = args.data.toy()?;
    let mixture = if args.analytic { toy.diffused() } else { None };
    if args.analytic && mixture.is_none() {
        return Err(format!("--analytic: the score of {} has no closed form", toy.name()).into());
    }
    let rows = if args.quick { ROWS / 10 } else { ROWS };
    let seeds: Vec<Seed> = (0..args.seeds)
        .map(|seed| measure(&toy, mixture.as_ref(), rows, seed, args.quick))
        .collect::<Result<_>>()?;
    let report = Report { seeds };
    println!("## {}: quality against network evaluations\n\n{}\n", toy.name(), report.table());
    report.reading(rows).iter().for_each(|line| println!("- {line}"));
    #[cfg(feature = "plot")]
    if let Some(path) = &args.plot {
        report.picture(toy.name())?.save(path)?;
    }
    if let Some(path) = &args.json {
        let json = report.json(toy.name());
        std::fs::write(path, format!("{json:#}\n")).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Distances to the truth and, of mixtures, the share of rows in 3σ of a mode and the width of modes over σ.
#[derive(Clone, Copy)]
struct Quality {
    energy: f64,
    sliced: f64,
    high_quality: Option<f64>,
    spread: Option<f64>,
}

impl Quality {
    fn of(x: &Array2<f32>, test: &Array2<f32>, modes: Option<&Modes>) -> Result<Self> {
        let report =
            modes.map(|m| metrics::mode_coverage(x.view(), m.centres.view(), m.sigma)).transpose()?;
        Ok(Quality {
            energy: metrics::energy_distance(x.view(), test.view())?,
            // The same directions for everyone.
            sliced: metrics::sliced_wasserstein2(x.view(), test.view(), PROJECTIONS, &mut seeded(0))?,
            high_quality: report.map(|r| r.high_quality),
            spread: report.and_then(|r| r.spread_ratio),
        })
    }
}

/// One training: `trained` and `perfect` hold a figure for each sampler.
struct Seed {
    floors: Vec<Quality>,
    trained: Vec<Row>,
    perfect: Vec<Quality>,
}

struct Row {
    card: Card,
    nfe: usize,
    us: f64,
    quality: Quality,
}

fn measure(
    toy: &Toy,
    mixture: Option<&DiffusedMixture>,
    rows: usize,
    seed: u64,
    quick: bool,
) -> Result<Seed> {
    // A stream beside the model's: its randomness must not follow the data's.
    let mut data: Rng = Streams::new(seed).stream(0);
    let train = Dataset::new(toy.sample(TRAIN_ROWS, &mut data))?;
    let test = toy.sample(rows, &mut data);
    let modes = toy.modes();
    let floors = (0..FLOORS)
        .map(|_| Quality::of(&toy.sample(rows, &mut data), &toy.sample(rows, &mut data), modes.as_ref()))
        .collect::<Result<_>>()?;

    let mut rng = seeded(seed);
    let config = DiffusionConfig { dim: toy.dim(), ..Default::default() };
    let mut model = Diffusion::new(config, &mut rng)?;
    let options = TrainOptions { steps: if quick { 400 } else { 8000 }, ..Default::default() };
    let bar = bar(&format!("seed {seed} · training"), options.steps);
    model.train(&train, &options, &mut rng, &mut |step: &Step<'_>| {
        // Drawing a bar is slower than a small step.
        if step.step.is_multiple_of(50) {
            bar.set_position(step.step as u64);
        }
        ControlFlow::Continue(())
    })?;
    bar.finish_and_clear();

    let (mut trained, mut perfect) = (Vec::new(), Vec::new());
    let bar = self::bar(&format!("seed {seed} · drawing"), samplers().len());
    for sampler in samplers() {
        let view = model.with_sampler(sampler)?;
        bar.set_message(view.card().name.to_string());
        let (drawn, us) = timed(&view, rows, seed)?;
        let quality = Quality::of(&drawn.x, &test, modes.as_ref())?;
        trained.push(Row { card: view.card(), nfe: drawn.nfe, us, quality });
        if let Some(mixture) = mixture {
            let options = SampleOptions::default();
            let mut x = sample_with(mixture, view.config(), rows, &options, &mut seeded(seed))?.x;
            mixture.standardiser().restore(x.as_slice_mut().expect("rows are contiguous"));
            perfect.push(Quality::of(&x, &test, modes.as_ref())?);
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Seed { floors, trained, perfect })
}

/// The rows, and µs a row: the median of up to five draws that fill a second, after one that warms up.
fn timed(model: &Diffusion, rows: usize, seed: u64) -> Result<(Samples, f64)> {
    let draw = || model.sample(rows, &SampleOptions::default(), &mut seeded(seed));
    model.sample(rows.div_ceil(10), &SampleOptions::default(), &mut seeded(seed))?;
    let (started, mut times) = (Instant::now(), Vec::new());
    loop {
        let start = Instant::now();
        let drawn = draw()?;
        times.push(start.elapsed().as_secs_f64() * 1e6 / rows as f64);
        if times.len() == 5 || started.elapsed().as_secs_f64() > 1.0 {
            times.sort_by(f64::total_cmp);
            return Ok((drawn, times[times.len() / 2]));
        }
    }
}

fn bar(what: &str, steps: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{prefix:24} {bar:30} {pos}/{len} {msg}").expect("a valid template");
    ProgressBar::new(steps as u64).with_style(style).with_prefix(what.to_string())
}

/// Mean and sample standard deviation; of one value, the value.
fn stat(values: impl Iterator<Item = f64>) -> Option<(f64, Option<f64>)> {
    let values: Vec<f64> = values.collect();
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (n > 0.0).then(|| (mean, (n > 1.0).then(|| (squares / (n - 1.0)).sqrt())))
}

fn show(stat: Option<(f64, Option<f64>)>, scale: f64, digits: usize) -> String {
    match stat {
        None => "–".into(),
        Some((mean, None)) => format!("{:.digits$}", scale * mean),
        Some((mean, Some(sd))) => format!("{:.digits$} ± {:.digits$}", scale * mean, scale * sd),
    }
}

struct Report {
    seeds: Vec<Seed>,
}

impl Report {
    fn rows(&self) -> &[Row] {
        &self.seeds[0].trained
    }

    fn trained(&self, row: usize, value: impl Fn(&Row) -> Option<f64>) -> Option<(f64, Option<f64>)> {
        stat(self.seeds.iter().filter_map(|seed| value(&seed.trained[row])))
    }

    fn perfect(&self, row: usize, value: impl Fn(&Quality) -> Option<f64>) -> Option<(f64, Option<f64>)> {
        stat(self.seeds.iter().filter_map(|seed| value(seed.perfect.get(row)?)))
    }

    fn floor(&self, value: impl Fn(&Quality) -> Option<f64>) -> (f64, f64) {
        let all = self.seeds.iter().flat_map(|seed| &seed.floors);
        let (mean, sd) = stat(all.filter_map(value)).expect("floors were measured");
        (mean, sd.expect("more than one pair"))
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        let modes = self.rows()[0].quality.spread.is_some();
        let perfect = !self.seeds[0].perfect.is_empty();
        let mut header = vec!["sampler", "nfe", "µs a row", "energy distance", "sliced W₂"];
        header.extend(if modes { &["% in 3σ", "spread"][..] } else { &[] });
        header.extend(if perfect {
            &["perfect: energy distance", "sliced W₂", "% in 3σ", "spread"][..]
        } else {
            &[]
        });
        table.set_header(header.clone());
        for (r, first) in self.rows().iter().enumerate() {
            let mut cells = vec![
                first.card.name.to_string(),
                first.nfe.to_string(),
                show(self.trained(r, |row| Some(row.us)), 1.0, 1),
                show(self.trained(r, |row| Some(row.quality.energy)), 1.0, 5),
                show(self.trained(r, |row| Some(row.quality.sliced)), 1.0, 4),
            ];
            if modes {
                cells.push(show(self.trained(r, |row| row.quality.high_quality), 100.0, 1));
                cells.push(show(self.trained(r, |row| row.quality.spread), 1.0, 2));
            }
            if perfect {
                cells.push(show(self.perfect(r, |q| Some(q.energy)), 1.0, 5));
                cells.push(show(self.perfect(r, |q| Some(q.sliced)), 1.0, 4));
                cells.push(show(self.perfect(r, |q| q.high_quality), 100.0, 1));
                cells.push(show(self.perfect(r, |q| q.spread), 1.0, 2));
            }
            table.add_row(cells);
        }
        for column in 1..header.len() {
            table.column_mut(column).expect("a column").set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// The row of a sampler by its name.
    fn named(&self, name: &str) -> Option<usize> {
        self.rows().iter().position(|row| row.card.name == name)
    }

    /// The median over the seeds of how many times as fast one sampler is as another.
    fn times_as_fast(&self, quick: &str, slow: &str) -> Option<f64> {
        let (quick, slow) = (self.named(quick)?, self.named(slow)?);
        let ratio = |seed: &Seed| seed.trained[slow].us / seed.trained[quick].us;
        let mut ratios: Vec<f64> = self.seeds.iter().map(ratio).collect();
        ratios.sort_by(f64::total_cmp);
        Some(ratios[ratios.len() / 2])
    }

    /// The table in words.
    fn reading(&self, rows: usize) -> Vec<String> {
        let (energy, sliced) = (self.floor(|q| Some(q.energy)), self.floor(|q| Some(q.sliced)));
        let mut lines = vec![format!(
            "Floors, between two samples of the truth of {rows} rows: energy distance {:.5} ± {:.5}, sliced W₂ {:.4} ± {:.4}.",
            energy.0, energy.1, sliced.0, sliced.1
        )];
        if self.rows()[0].quality.spread.is_some() {
            let (high, spread) = (self.floor(|q| q.high_quality), self.floor(|q| q.spread));
            lines.push(format!(
                "The truth has {:.1} % in 3σ and a spread of {:.2}.",
                100.0 * high.0,
                spread.0
            ));
        }
        let mean = |name: &str, value: fn(&Row) -> f64| {
            self.named(name).and_then(|r| self.trained(r, |row| Some(value(row)))).map(|s| s.0)
        };
        let ratio = |a: &str, b: &str, value: fn(&Row) -> f64| Some(mean(a, value)? / mean(b, value)?);
        let distance = |row: &Row| row.quality.energy;
        for quick in ["DDIM-50", "Heun-18", "DPM-Solver++-20"] {
            let (Some(far), Some(fast)) =
                (ratio(quick, "DDPM-1000", distance), self.times_as_fast(quick, "DDPM-1000"))
            else {
                continue;
            };
            let above = mean(quick, distance).map_or(f64::NAN, |d| (d - energy.0) / energy.1);
            lines.push(format!(
                "{quick} is {fast:.1}× faster than DDPM-1000, at {far:.2}× its energy distance, {above:.1} standard deviations above \
                 the floor."
            ));
        }
        let within = energy.0 + 2.0 * energy.1;
        let quickest = (0..self.rows().len())
            .filter(|&r| self.trained(r, |row| Some(row.quality.energy)).is_some_and(|s| s.0 <= within))
            .min_by_key(|&r| self.rows()[r].nfe);
        lines.push(match quickest {
            Some(r) => format!(
                "At the floor (mean + 2 sd) with the fewest evaluations: {}, {}.",
                self.rows()[r].card.name,
                self.rows()[r].nfe
            ),
            None => "No sampler reaches the floor (mean + 2 sd).".into(),
        });
        lines
    }

    /// Energy distance against network evaluations, a line for each sampler.
    #[cfg(feature = "plot")]
    fn picture(&self, data: &str) -> Result<Picture> {
        let mut curves: Vec<Curve> = Vec::new();
        for (r, row) in self.rows().iter().enumerate() {
            let Some((energy, _)) = self.trained(r, |row| Some(row.quality.energy)).filter(|s| s.0 > 0.0)
            else {
                continue;
            };
            // A sampler's name ends in its steps.
            let name = row.card.name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
            let point = (row.nfe as f64, energy);
            match curves.iter_mut().find(|curve| curve.name == name) {
                Some(curve) => curve.points.push(point),
                None => curves.push(Curve { name: name.into(), points: vec![point] }),
            }
        }
        let title = format!("Quality against network evaluations, {data}");
        let floor = Some(self.floor(|q| Some(q.energy)).0).filter(|floor| *floor > 0.0);
        steps_vs_quality(&title, "energy distance", &curves, floor)
    }

    fn json(&self, data: &str) -> Value {
        let mean = |s: Option<(f64, Option<f64>)>| s.map(|(mean, sd)| json!({ "mean": mean, "sd": sd }));
        let rows = self.rows().iter().enumerate().map(|(r, first)| {
            json!({
                "sampler": first.card.name,
                "nfe": first.nfe,
                "us": mean(self.trained(r, |row| Some(row.us))),
                "energy_distance": mean(self.trained(r, |row| Some(row.quality.energy))),
                "sliced_w2": mean(self.trained(r, |row| Some(row.quality.sliced))),
                "high_quality": mean(self.trained(r, |row| row.quality.high_quality)),
                "spread_ratio": mean(self.trained(r, |row| row.quality.spread)),
                "perfect_energy_distance": mean(self.perfect(r, |q| Some(q.energy))),
                "perfect_sliced_w2": mean(self.perfect(r, |q| Some(q.sliced))),
                "perfect_high_quality": mean(self.perfect(r, |q| q.high_quality)),
                "perfect_spread_ratio": mean(self.perfect(r, |q| q.spread)),
            })
        });
        let (energy, sliced) = (self.floor(|q| Some(q.energy)), self.floor(|q| Some(q.sliced)));
        json!({
            "data": data,
            "seeds": self.seeds.len(),
            "rows": rows.collect::<Vec<_>>(),
            "energy_floor": { "mean": energy.0, "sd": energy.1 },
            "sliced_floor": { "mean": sliced.0, "sd": sliced.1 },
        })
    }
}
