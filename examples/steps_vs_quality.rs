//! Trains one diffusion and draws from it by every sampler in few and in many steps: quality against network
//! evaluations, each distance beside its floor.
//!
//! `cargo run --release --example steps_vs_quality` · `-- --analytic` adds what a perfect network would score ·
//! `-- --help` explains the options.

use quadrivium::{Card, Sampler, Samples, Step};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use quadrivium::diffusion::sample_with;
use quadrivium::metrics::{Floor, ModeReport};
use quadrivium::ndarray::Array2;
use quadrivium::numeric::rng::{Rng, Streams};
#[cfg(feature = "plot")]
use quadrivium::report::{Curve, Picture, steps_vs_quality};
use quadrivium::worlds::{DiffusedMixture, Modes, Toy};
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
    /// Also draw with the exact score of the data instead of a network (mixtures only): the error that remains is
    /// the sampler's alone.
    #[arg(long)]
    analytic: bool,
    /// A twentieth of the training and a tenth of the rows, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the trained diffusion's curves to this file, .svg or .png.
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
/// Pairs of samples of the truth that each seed adds to a floor. They share no sample: distances to one and the
/// same sample would vary too little.
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

/// Distances to the truth and, of mixtures, what is known of the modes.
#[derive(Clone, Copy)]
struct Quality {
    energy: f64,
    sliced: f64,
    modes: Option<ModeReport>,
}

impl Quality {
    fn of(x: &Array2<f32>, test: &Array2<f32>, modes: Option<&Modes>) -> Result<Self> {
        let modes = modes.map(|m| metrics::mode_coverage(x.view(), m.centers.view(), m.sigma)).transpose()?;
        Ok(Quality {
            energy: metrics::energy_distance(x.view(), test.view())?,
            // The same directions for everyone.
            sliced: metrics::sliced_wasserstein2(x.view(), test.view(), PROJECTIONS, &mut seeded(0))?,
            modes,
        })
    }

    fn high_quality(&self) -> Option<f64> {
        self.modes.map(|modes| modes.high_quality)
    }

    fn spread(&self) -> Option<f64> {
        self.modes?.spread_ratio
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
    // A stream of its own: the model's randomness must not depend on the data's.
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
            mixture.standardizer().restore(x.as_slice_mut().expect("rows are contiguous"));
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

    /// The pairs of all seeds, for means over the seeds.
    fn floor(&self, value: impl Fn(&Quality) -> Option<f64>) -> Floor {
        let all: Vec<f64> = self.seeds.iter().flat_map(|seed| &seed.floors).filter_map(value).collect();
        Floor::of(&all, self.seeds.len()).expect("finite values of several pairs")
    }

    /// Whether most seeds find the modes too narrow.
    fn too_narrow(&self, of: impl Fn(&Seed) -> &Quality) -> bool {
        let narrow = |seed: &&Seed| of(seed).modes.is_some_and(|modes| modes.too_narrow);
        2 * self.seeds.iter().filter(narrow).count() > self.seeds.len()
    }

    /// Cells of a sampler: distances with their mark at the floor, the share in 3σ with its mark where the modes are
    /// too narrow, the spread.
    fn cells(&self, of: impl Fn(&Seed) -> &Quality + Copy) -> Vec<String> {
        let stat =
            |value: fn(&Quality) -> Option<f64>| stat(self.seeds.iter().filter_map(|seed| value(of(seed))));
        let distance = |value: fn(&Quality) -> Option<f64>, digits| {
            let (stat, floor) = (stat(value), self.floor(value));
            let at = stat.is_some_and(|(mean, _)| floor.holds(mean));
            format!("{}{}", show(stat, 1.0, digits), if at { " ✓" } else { "" })
        };
        let mut cells = vec![distance(|q| Some(q.energy), 5), distance(|q| Some(q.sliced), 4)];
        if self.rows()[0].quality.modes.is_some() {
            let narrow = if self.too_narrow(of) { " †" } else { "" };
            cells.push(format!("{}{narrow}", show(stat(Quality::high_quality), 100.0, 1)));
            cells.push(show(stat(Quality::spread), 1.0, 2));
        }
        cells
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        let modes = self.rows()[0].quality.modes.is_some();
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
            ];
            cells.extend(self.cells(|seed| &seed.trained[r].quality));
            if perfect {
                cells.extend(self.cells(|seed| &seed.perfect[r]));
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
        let mut lines = vec![
            "nfe is the number of network evaluations per row drawn.".into(),
            format!(
                "Two samples of the truth of {rows} rows are apart by (mean ± standard deviation of {} pairs): energy distance \
                 {:.5} ± {:.5}, sliced W₂ {:.4} ± {:.4}.",
                energy.pairs, energy.mean, energy.sd, sliced.mean, sliced.sd
            ),
            format!(
                "✓ marks samplers at that floor: the energy distance is at most {:.5}, sliced W₂ at most {:.4}, the mean plus two \
                 standard errors of {}. Differences between samplers at the floor are chance.",
                energy.reach(),
                sliced.reach(),
                match energy.draws {
                    1 => "one draw".into(),
                    draws => format!("a mean over {draws} draws"),
                }
            ),
        ];
        let modes = self.rows()[0].quality.modes;
        if let Some(modes) = modes {
            lines.push(format!(
                "A perfect sampler has {:.1} % in 3σ and a spread of 1.00. † marks modes that are narrower than the truth's in most \
                 seeds, by more than chance: then a high share is not a merit.",
                100.0 * modes.perfect_high_quality
            ));
        }
        let mean = |name: &str, value: fn(&Row) -> f64| {
            self.named(name).and_then(|r| self.trained(r, |row| Some(value(row)))).map(|s| s.0)
        };
        let distance = |row: &Row| row.quality.energy;
        for quick in ["DDIM-50", "Heun-18", "DPM-Solver++-20"] {
            let (Some(far), Some(slow), Some(fast)) =
                (mean(quick, distance), mean("DDPM-1000", distance), self.times_as_fast(quick, "DDPM-1000"))
            else {
                continue;
            };
            let place = match energy.holds(far) {
                true => "at the floor".into(),
                false => {
                    format!("{:.1} standard errors above the floor", (far - energy.mean) / energy.std_error())
                }
            };
            lines.push(format!(
                "{quick} is {fast:.1}× faster than DDPM-1000; its energy distance is {far:.5} ({place}) against {slow:.5}{}.",
                self.named(quick).map_or(String::new(), |r| self.shape(r))
            ));
        }
        let fewest = |fits: &dyn Fn(usize) -> bool| {
            (0..self.rows().len()).filter(|&r| fits(r)).min_by_key(|&r| self.rows()[r].nfe)
        };
        let near =
            |r: usize| self.trained(r, |row| Some(row.quality.energy)).is_some_and(|s| energy.holds(s.0));
        let told = |r: usize| {
            format!("{}, {} evaluations{}", self.rows()[r].card.name, self.rows()[r].nfe, self.shape(r))
        };
        lines.push(match fewest(&near) {
            Some(r) => {
                format!("At the floor of the energy distance with the fewest evaluations: {}.", told(r))
            }
            None => "No sampler reaches the floor of the energy distance.".into(),
        });
        if modes.is_some() {
            // Neither blurred nor too narrow.
            let (high, spread) = (self.floor(Quality::high_quality), self.floor(Quality::spread));
            let same = |floor: Floor, found: Option<(f64, Option<f64>)>| {
                found.is_some_and(|(mean, _)| (mean - floor.mean).abs() <= 2.0 * floor.std_error())
            };
            let all = |r: usize| {
                near(r)
                    && same(high, self.trained(r, |row| row.quality.high_quality()))
                    && same(spread, self.trained(r, |row| row.quality.spread()))
            };
            lines.push(match fewest(&all) {
                Some(r) => format!("The same, with the truth's share in 3σ and spread within two standard errors: {}.", told(r)),
                None => "No sampler at that floor also has the truth's share in 3σ and spread, within two standard errors.".into(),
            });
        }
        lines
    }

    /// The share in 3σ and the spread of a sampler.
    fn shape(&self, r: usize) -> String {
        let mean = |value: fn(&Quality) -> Option<f64>| Some(self.trained(r, |row| value(&row.quality))?.0);
        match (mean(Quality::high_quality), mean(Quality::spread)) {
            (Some(high), Some(spread)) => format!("; {:.1} % in 3σ, spread {spread:.2}", 100.0 * high),
            _ => String::new(),
        }
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
        let floor = Some(self.floor(|q| Some(q.energy))).filter(|floor| floor.mean > 0.0);
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
                "high_quality": mean(self.trained(r, |row| row.quality.high_quality())),
                "spread_ratio": mean(self.trained(r, |row| row.quality.spread())),
                "perfect_energy_distance": mean(self.perfect(r, |q| Some(q.energy))),
                "perfect_sliced_w2": mean(self.perfect(r, |q| Some(q.sliced))),
                "perfect_high_quality": mean(self.perfect(r, Quality::high_quality)),
                "perfect_spread_ratio": mean(self.perfect(r, Quality::spread)),
            })
        });
        let (energy, sliced) = (self.floor(|q| Some(q.energy)), self.floor(|q| Some(q.sliced)));
        json!({
            "data": data,
            "seeds": self.seeds.len(),
            "rows": rows.collect::<Vec<_>>(),
            "energy_floor": { "mean": energy.mean, "sd": energy.sd, "pairs": energy.pairs, "reach": energy.reach() },
            "sliced_floor": { "mean": sliced.mean, "sd": sliced.sd, "pairs": sliced.pairs, "reach": sliced.reach() },
        })
    }
}
