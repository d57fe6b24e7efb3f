//! How time and memory grow: the exponent b of milliseconds ∝ sizeᵇ, between neighboring sizes and over the last three.

use std::fmt::{Display, Formatter};
use std::ops::ControlFlow;
use std::time::Instant;

use comfy_table::{CellAlignment, Table, presets};
use quadrivium::prelude::*;
use quadrivium::seeded;

use super::Result;

/// Prints how the cost grows with each size; `quick` takes the first two of each kind.
pub fn run(quick: bool) -> Result<()> {
    let rng = &mut seeded(0);
    let gan = Gan::new(GanConfig::default(), rng)?;
    let diffusion = Diffusion::new(DiffusionConfig::default(), rng)?;
    let ddim = |steps| diffusion.with_sampler(Sampler::Ddim { steps, eta: 0.0 });

    let sizes = |all: &'static [usize]| if quick { &all[..2] } else { all };
    let rows = |ns: &'static [usize], model: &dyn Generative| {
        sizes(ns).iter().map(|&n| (n, measure(|| draw_each(model, n as u64)))).collect()
    };
    let show = |of, expected, figures| println!("{}\n", Law { of, expected, figures });
    show("rows, GAN", 1.0, rows(&[100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000], &gan));
    show("rows, DDPM-1000", 1.0, rows(&[10, 100, 1_000, 10_000, 100_000], &diffusion));
    let of_steps = |&steps: &usize| -> Result<_> {
        let model = ddim(steps)?;
        Ok((steps, measure(|| draw(&model, 1000))))
    };
    show("steps, DDIM", 1.0, sizes(&[10, 30, 100, 300, 1000]).iter().map(of_steps).collect::<Result<_>>()?);

    let dims = sizes(&[2, 4, 8, 16, 32, 64, 128, 256]);
    let of_dim = |&dim: &usize| -> Result<_> {
        let config = AutoregressiveConfig {
            dim,
            network: NetworkSpec::mlp([256; 2], Activation::Silu, 3),
            ..Default::default()
        };
        let model = Autoregressive::new(config, &mut seeded(0))?;
        Ok((dim, measure(|| draw(&model, 200))))
    };
    show("dimension, autoregressive", 1.0, dims.iter().map(of_dim).collect::<Result<_>>()?);
    let of_dim = |&dim: &usize| -> Result<_> {
        let model = Gan::new(GanConfig { dim, ..GanConfig::default() }, &mut seeded(0))?;
        Ok((dim, measure(|| draw(&model, 10_000))))
    };
    show("dimension, GAN", 1.0, dims.iter().map(of_dim).collect::<Result<_>>()?);

    let of_width = |&width: &usize| -> Result<_> {
        let config = DiffusionConfig {
            network: NetworkSpec::mlp([width; 3], Activation::Silu, 0),
            ..DiffusionConfig::default()
        };
        let model = Diffusion::new(config, &mut seeded(0))?;
        let model = model.with_sampler(Sampler::Ddim { steps: 10, eta: 0.0 })?;
        Ok((width, measure(|| draw(&model, 2000))))
    };
    show("width, DDIM-10", 2.0, sizes(&[32, 64, 128, 256, 512]).iter().map(of_width).collect::<Result<_>>()?);

    let most = std::thread::available_parallelism()?.get();
    let threads: Vec<usize> =
        std::iter::successors(Some(1), |t| Some(2 * t)).take_while(|&t| t <= most).collect();
    let model = ddim(50)?;
    let of_threads = |&threads: &usize| -> Result<_> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        Ok((threads, pool.install(|| measure(|| draw(&model, 10_000)))))
    };
    show("threads, DDIM-50", -1.0, threads.iter().map(of_threads).collect::<Result<_>>()?);

    println!(
        "Milliseconds: the minimum of several runs. Peak: the largest memory of the process during them (Linux only)."
    );
    Ok(())
}

/// Draws n rows in blocks and drops them.
fn draw_each(model: &dyn Generative, n: u64) {
    let mut sink = |rows: quadrivium::ndarray::ArrayView2<f32>| {
        std::hint::black_box(rows);
        ControlFlow::Continue(())
    };
    model.sample_each(n, &SampleOptions::default(), &mut seeded(1), &mut sink).expect("valid options");
}

fn draw(model: &dyn Generative, n: usize) {
    std::hint::black_box(model.sample(n, &SampleOptions::default(), &mut seeded(1)).expect("valid options"));
}

/// The cost of a size.
struct Figure {
    ms: f64,
    peak_mib: Option<f64>,
}

/// The minimum over the runs that fit into a fifth of a second, at least one.
fn measure(work: impl Fn()) -> Figure {
    reset_peak();
    let started = Instant::now();
    let mut ms = f64::INFINITY;
    while ms.is_infinite() || started.elapsed().as_secs_f64() < 0.2 {
        let once = Instant::now();
        work();
        ms = ms.min(1e3 * once.elapsed().as_secs_f64());
    }
    Figure { ms, peak_mib: peak_mib() }
}

/// Writing a 5 here resets the peak of resident memory on Linux.
fn reset_peak() {
    // Other systems have no such file, and no peak is printed.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse::<f64>().ok().map(|kib| kib / 1024.0)
}

/// How the cost grows with one size.
struct Law {
    of: &'static str,
    expected: f64,
    figures: Vec<(usize, Figure)>,
}

impl Display for Law {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        let Law { of, expected, .. } = self;
        writeln!(
            f,
            "Time against {of}: exponent {:.2} over the last three sizes, {expected} in the limit\n",
            self.exponent()
        )?;
        write!(f, "{}", self.table())
    }
}

impl Law {
    /// The least-squares slope of ln ms over ln size, for sizes at which overheads no longer matter.
    fn exponent(&self) -> f64 {
        let last = &self.figures[self.figures.len().saturating_sub(3)..];
        let points: Vec<(f64, f64)> = last.iter().map(|(x, y)| ((*x as f64).ln(), y.ms.ln())).collect();
        let n = points.len() as f64;
        let (x, y) = points.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
        let covariance: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
        covariance / points.iter().map(|p| (p.0 - x).powi(2)).sum::<f64>()
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(["size", "ms", "exponent", "peak MiB"]);
        for (i, (size, figure)) in self.figures.iter().enumerate() {
            let slope = i.checked_sub(1).map(|before| {
                let (smaller, less) = &self.figures[before];
                (figure.ms / less.ms).ln() / (*size as f64 / *smaller as f64).ln()
            });
            table.add_row([
                size.to_string(),
                format!("{:.3}", figure.ms),
                slope.map_or("–".into(), |slope| format!("{slope:.2}")),
                figure.peak_mib.map_or("–".into(), |mib| format!("{mib:.1}")),
            ]);
        }
        table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }
}
