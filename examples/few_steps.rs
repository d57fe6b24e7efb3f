//! Draws in one step or a few: flow maps by each objective on a checkerboard, maps distilled from a diffusion beside
//! the diffusion's own samplers, and one step from eight Gaussians to two moons. On the checkerboard all that draws in a
//! few evaluations stands side by side, games of one evaluation and the samplers of a diffusion, too.
//!
//! `cargo run --release --example few_steps` (some minutes) · `-- --quick` · `-- --json FILE` · `-- --help` explains
//! the options.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use comfy_table::{Table, presets};
use quadrivium::diffusion::Method;
use quadrivium::metrics::{Floor, energy_distance, wasserstein2};
use quadrivium::ndarray::{Array2, ArrayView2, Axis, array};
use quadrivium::numeric::rng::Rng;
use quadrivium::rand::Rng as _;
#[cfg(feature = "plot")]
use quadrivium::report;
use quadrivium::worlds::Toy;
use quadrivium::{AdversarialLoss, MapObjective, Pairing, Sampler, Source, prelude::*, seeded};

/// Quality of flow maps against their steps.
#[derive(Parser)]
struct Args {
    /// Steps of each training, 256 rows each.
    #[arg(long, default_value_t = 12_000)]
    steps: usize,
    /// The seed of all data and trainings.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Fewer rows and steps, to check that everything runs; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// Only one part: `checkerboard`, `teacher` or `transport`.
    #[arg(long)]
    only: Option<String>,
    /// Write all figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw the checkerboard's figures against evaluations to this file, as SVG or PNG.
    #[arg(long, value_name = "FILE", hide = cfg!(not(feature = "plot")))]
    plot: Option<PathBuf>,
}

/// How much a part may spend.
#[derive(Clone, Copy)]
struct Size {
    steps: usize,
    rows: usize,
    seed: u64,
}

/// A figure: what was measured of which method on which data, in how many evaluations.
struct Figure {
    data: &'static str,
    method: String,
    nfe: usize,
    measure: &'static str,
    value: f64,
    reference: f64,
}

/// A part of the measurements.
type Part = fn(Size) -> Result<Vec<Figure>>;

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    if cfg!(not(feature = "plot")) && args.plot.is_some() {
        let command = "cargo run --release --features plot --example few_steps";
        return Err(format!("--plot draws a picture: run with `{command}`").into());
    }
    let (steps, rows) = if args.quick { (200, 2_000) } else { (args.steps, 200_000) };
    let size = Size { steps, rows, seed: args.seed };
    let parts: [(&str, Part); 3] =
        [("checkerboard", checkerboard), ("teacher", teacher), ("transport", transport)];
    let mut figures = Vec::new();
    for (name, part) in parts {
        if args.only.as_ref().is_none_or(|only| only == name) {
            let began = Instant::now();
            figures.extend(part(size)?);
            eprintln!("{name}: {:.0} s", began.elapsed().as_secs_f64());
        }
    }
    if let Some(path) = args.json {
        let row = |Figure { data, method, nfe, measure, value, reference }: &Figure| {
            format!(
                "{{\"data\": \"{data}\", \"method\": \"{method}\", \"nfe\": {nfe}, \"measure\": \"{measure}\", \
                 \"value\": {value}, \"reference\": {reference}}}"
            )
        };
        let rows: Vec<String> = figures.iter().map(row).collect();
        fs::write(path, format!("{{\"rows\": [{}]}}\n", rows.join(",\n")))?;
    }
    #[cfg(feature = "plot")]
    if let Some(path) = args.plot {
        atlas(&figures, kl_floor(rows, args.seed)?)?.save(path)?;
    }
    Ok(())
}

/// A table with a row for each method and a column for each number of steps.
fn table(what: &str, data: &'static str, figures: &[Figure], measure: &str) {
    let of_it = || figures.iter().filter(|figure| figure.data == data && figure.measure == measure);
    let mut columns: Vec<usize> = of_it().map(|figure| figure.nfe).collect();
    columns.sort_unstable();
    columns.dedup();
    let mut methods: Vec<&str> = Vec::new();
    for figure in of_it() {
        if !methods.contains(&figure.method.as_str()) {
            methods.push(&figure.method);
        }
    }
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    table.set_header([what.to_string()].into_iter().chain(columns.iter().map(|nfe| nfe.to_string())));
    for method in methods {
        let cell = |nfe: &usize| {
            let found = of_it().find(|figure| figure.method == method && figure.nfe == *nfe);
            found.map_or("–".to_string(), |figure| format!("{:.4}", figure.value))
        };
        table.add_row([method.to_string()].into_iter().chain(columns.iter().map(cell)));
    }
    let reference = of_it().next().map_or(0.0, |figure| figure.reference);
    println!("{table}\n\nFloor or target: {reference:.4}\n");
}

/// Intervals of a side of the histogram, of which squares of the checkerboard are whole numbers.
const BINS: usize = 64;

/// KL(data ‖ model) on a histogram of the rows over [−4, 4]², with one row more in each of its cells.
fn kl_of_histogram(x: ArrayView2<f32>) -> Result<f64> {
    let mut counts = vec![1.0; BINS * BINS];
    let place = |x: f32| ((x + 4.0) / 8.0 * BINS as f32).floor();
    for row in x.rows() {
        let [i, j] = [place(row[0]), place(row[1])];
        if [i, j].iter().all(|i| (0.0..BINS as f32).contains(i)) {
            counts[i as usize * BINS + j as usize] += 1.0;
        }
    }
    let total = (x.nrows() + BINS * BINS) as f64;
    let center = |i: usize| (i as f32 + 0.5) / BINS as f32 * 8.0 - 4.0;
    let centers = Array2::from_shape_fn((BINS * BINS, 2), |(cell, c)| {
        center(if c == 0 { cell / BINS } else { cell % BINS })
    });
    let density = Toy::checkerboard().log_density(centers.view())?;
    let area = (8.0 / BINS as f64).powi(2);
    let terms = density.iter().zip(counts).filter(|(density, _)| density.is_finite());
    Ok(terms.map(|(nats, count)| area * nats.exp() * (nats + area.ln() - (count / total).ln())).sum())
}

/// Third-party figures of a Lagrangian map on a checkerboard in 1, 2, 4, 8 and 16 steps.
const PUBLISHED: [f64; 5] = [0.458, 0.430, 0.352, 0.265, 0.251];

/// The divergence of a perfect sampler, whose histogram has the noise of its rows.
fn kl_floor(rows: usize, seed: u64) -> Result<Floor> {
    let rng = &mut seeded(seed + 2);
    let values: Result<Vec<f64>> =
        (0..5).map(|_| kl_of_histogram(Toy::checkerboard().sample(rows, rng).view())).collect();
    Floor::of(&values?, 1)
}

fn checkerboard(Size { steps, rows, seed }: Size) -> Result<Vec<Figure>> {
    let (toy, rng) = (Toy::checkerboard(), &mut seeded(seed));
    let data = Dataset::new(toy.sample(100_000, rng))?;
    let floor = kl_floor(rows, seed)?.mean;
    let mut figures = Vec::new();
    let mut add = |method: &str, nfe, value| {
        let (data, measure, reference) = ("checkerboard", "KL(data || model)", floor);
        figures.push(Figure { data, method: method.into(), nfe, measure, value, reference });
    };
    let options = TrainOptions { steps, ..Default::default() };
    let kl_of = |model: &dyn Distribution| kl_of_histogram(model.draw(rows, &mut seeded(seed + 1))?.view());
    for objective in [
        MapObjective::Lagrangian,
        MapObjective::Eulerian,
        MapObjective::Progressive,
        MapObjective::Consistency { stages: 8 },
    ] {
        let mut model = FlowMap::new(FlowMapConfig { objective, ..Default::default() }, rng)?;
        model.train(&data, &options, rng, &mut NoObserver)?;
        for nfe in [1, 2, 4, 8, 16] {
            let view = model.with_steps(nfe)?;
            let name = view.card().name.rsplit_once('-').map_or(String::new(), |(name, _)| name.to_string());
            add(&name, nfe, kl_of(&view)?);
        }
    }
    let mut diffusion = Diffusion::new(DiffusionConfig::default(), rng)?;
    diffusion.train(&data, &options, rng, &mut NoObserver)?;
    for steps in [2, 4, 8, 16, 50] {
        let ddim = diffusion.with_sampler(Sampler::Ddim { steps, eta: 0.0 })?;
        add("DDIM", steps, kl_of(&ddim)?);
        add("DPM-Solver++", steps, kl_of(&diffusion.with_sampler(Sampler::DpmSolver { steps })?)?);
    }
    let base = GanConfig::default();
    let r1 = GanConfig { loss: AdversarialLoss::NonSaturatingR1 { gamma: 0.1 }, ..base.clone() };
    for config in [base, r1, GanConfig::relativistic()] {
        let mut gan = Gan::new(config, rng)?;
        gan.train(&data, &options, rng, &mut NoObserver)?;
        add(&gan.card().name, 1, kl_of(&gan)?);
    }
    for (nfe, published) in [1, 2, 4, 8, 16].into_iter().zip(PUBLISHED) {
        add("Lagrangian map, third party", nfe, published);
    }
    table("KL(data‖model)", "checkerboard", &figures, "KL(data || model)");
    Ok(figures)
}

/// Quality against evaluations on the checkerboard. The games have one evaluation each, and share a line upward.
#[cfg(feature = "plot")]
fn atlas(figures: &[Figure], floor: Floor) -> Result<report::Picture> {
    let mut curves: Vec<report::Curve> = Vec::new();
    let mut games: Vec<&Figure> = Vec::new();
    for figure in figures.iter().filter(|figure| figure.data == "checkerboard") {
        let point = (figure.nfe as f64, figure.value);
        match curves.iter_mut().find(|curve| curve.name == figure.method) {
            Some(curve) => curve.points.push(point),
            None if figure.method.contains("third party") => {}
            None if figure.method.contains("GAN") => games.push(figure),
            None => curves.push(report::Curve { name: figure.method.clone(), points: vec![point] }),
        }
    }
    games.sort_by(|a, b| a.value.total_cmp(&b.value));
    let names: Vec<&str> = games.iter().map(|game| game.method.as_str()).collect();
    curves.push(report::Curve {
        name: format!("games, from the best: {}", names.join(", ")),
        points: games.iter().map(|game| (1.0, game.value)).collect(),
    });
    report::steps_vs_quality("Few steps on a checkerboard", "KL(data‖model)", &curves, Some(floor))
}

fn teacher(Size { steps, rows, seed }: Size) -> Result<Vec<Figure>> {
    let n = rows.min(5_000);
    let mut figures = Vec::new();
    let worlds = [("ring", Toy::ring(8, 1.0, 0.1)?), ("grid", Toy::grid25()), ("moons", Toy::moons(0.1)?)];
    for (data, toy) in worlds {
        let rng = &mut seeded(seed);
        let train = Dataset::new(toy.sample(50_000, rng))?;
        let truth = toy.sample(n, rng);
        let distances: Result<Vec<f64>> =
            (0..5).map(|_| energy_distance(toy.sample(n, rng).view(), truth.view())).collect();
        let floor = Floor::of(&distances?, 1)?;
        let options = TrainOptions { steps, ..Default::default() };
        let mut teacher = Diffusion::new(DiffusionConfig::default(), rng)?;
        teacher.train(&train, &options, rng, &mut NoObserver)?;
        let mut map = FlowMap::distill(&teacher, FlowMapConfig::default(), rng)?;
        map.train(&train, &options, rng, &mut NoObserver)?;

        let mut add = |method: String, nfe, measure, value, reference| {
            figures.push(Figure { data, method, nfe, measure, value, reference });
        };
        let ddim = |steps| teacher.with_sampler(Sampler::Ddim { steps, eta: 0.0 });
        let solver = |steps| teacher.with_sampler(Sampler::DpmSolver { steps });
        let distance = |model: &dyn Distribution| {
            energy_distance(model.draw(n, &mut seeded(seed + 1))?.view(), truth.view())
        };
        for nfe in [1, 2, 4, 8] {
            add(
                "Lagrangian map".into(),
                nfe,
                "energy distance",
                distance(&map.with_steps(nfe)?)?,
                floor.reach(),
            );
        }
        for nfe in [4, 8, 50] {
            add("DDIM".into(), nfe, "energy distance", distance(&ddim(nfe)?)?, floor.reach());
        }
        for nfe in [4, 8, 20] {
            add("DPM-Solver++".into(), nfe, "energy distance", distance(&solver(nfe)?)?, floor.reach());
        }
        // Where the teacher's own ODE leads from the same noise.
        let ode = teacher.with_sampler(Sampler::Ode { method: Method::Rk4, steps: 100 })?;
        let path = ode.sample_path(n.min(2_000), &SampleOptions::default(), &mut seeded(seed + 2))?;
        let (start, end) = (path.index_axis(Axis(1), 0), path.index_axis(Axis(1), path.len_of(Axis(1)) - 1));
        let spread = f64::from(end.std_axis(Axis(0), 0.0).mapv(|sd| sd * sd).mean().unwrap_or(1.0)).sqrt();
        for nfe in [1, 2, 4, 8] {
            let error = &map.with_steps(nfe)?.transport(start)? - &end;
            let error = f64::from(error.mapv(|e| e * e).mean().unwrap_or(f32::NAN)).sqrt() / spread;
            add("Lagrangian map".into(), nfe, "endpoint error in sd", error, 0.1);
        }
        table(&format!("energy distance, {data}"), data, &figures, "energy distance");
        table(&format!("endpoint error in sd, {data}"), data, &figures, "endpoint error in sd");
    }
    Ok(figures)
}

/// Two moons as Tong et al. 2024 draw them: equispaced angles, one uniform number added to both coordinates, then 3x
/// − 1.
fn their_moons(n: usize, rng: &mut Rng) -> Array2<f32> {
    let half = n / 2;
    let mut x = Array2::zeros((n, 2));
    for (r, mut row) in x.rows_mut().into_iter().enumerate() {
        let a = std::f32::consts::PI * (r % half) as f32 / (half as f32 - 1.0);
        let point = if r < half { [a.cos(), a.sin()] } else { [1.0 - a.cos(), 0.5 - a.sin()] };
        let noise = 0.2 * rng.random::<f32>();
        row.assign(&array![3.0 * (point[0] + noise) - 1.0, 3.0 * (point[1] + noise) - 1.0]);
    }
    x
}

fn transport(Size { steps, rows, seed }: Size) -> Result<Vec<Figure>> {
    // The exact distance costs the cube of the rows.
    let (n, rng) = (rows.min(2_000), &mut seeded(seed));
    let gaussians = Toy::ring(8, 5.0, 0.1f64.powf(0.25))?;
    let data = Dataset::new(their_moons(10_000, rng))?;
    let (start, truth) = (gaussians.sample(n, rng), their_moons(n, rng));
    let floor = wasserstein2(their_moons(n, rng).view(), truth.view())?.powi(2);
    let config = FlowMapConfig {
        source: Source::Toy(gaussians),
        pairing: Pairing::OptimalTransport { rows: 128 },
        ..Default::default()
    };
    let mut model = FlowMap::new(config, rng)?;
    model.train(&data, &TrainOptions { steps: steps / 2, ..Default::default() }, rng, &mut NoObserver)?;
    let mut figures = Vec::new();
    for nfe in [1, 2, 4] {
        let carried = model.with_steps(nfe)?.transport(start.view())?;
        let value = wasserstein2(carried.view(), truth.view())?.powi(2);
        let (method, data, measure) = ("Lagrangian map, matched".into(), "8gaussians to moons", "W2 squared");
        figures.push(Figure { data, method, nfe, measure, value, reference: floor });
    }
    table("W₂², 8gaussians → moons", "8gaussians to moons", &figures, "W2 squared");
    println!("Published in one Euler step: 0.072 ± 0.025 over 10 seeds.");
    Ok(figures)
}
