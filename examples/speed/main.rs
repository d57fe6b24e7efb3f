//! How fast the library is beside the least time that this machine needs for the same arithmetic, and beside
//! JAX, in turn, in one run.
//!
//! `cargo run --release --example speed` · `-- --peer jax` (needs Python with jax and optax) · `-- --growth`
//! · `-- --help`.

mod growth;
mod limits;
mod peer;
#[path = "../../benches/workloads/mod.rs"]
mod workloads;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde_json::json;

use limits::Limits;
use peer::Peer;
use workloads::{Run, WORKLOADS, Workload};

/// Time the workloads against the machine's limits and against a peer.
#[derive(Parser)]
struct Args {
    /// Measure this library in turn with ours.
    #[arg(long)]
    peer: Option<PeerName>,
    /// The Python that has the peer.
    #[arg(long, default_value = "python3")]
    python: String,
    /// Only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u8).range(1..))]
    threads: Vec<u8>,
    /// Turns: ours, the peer's, and again. The median of the turns' ratios counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    turns: u8,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Instead: how time and memory grow with rows, dimension, width, steps and threads.
    #[arg(long)]
    growth: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PeerName {
    Jax,
}

/// About how long one turn measures.
const SECONDS: f64 = 0.4;

/// How long a turn is taken again while something else runs on the same cores.
const PATIENCE: Duration = Duration::from_secs(15);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> std::process::ExitCode {
    let args = Args::parse();
    let done = if args.growth { growth::run() } else { run(&args) };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speed: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A workload on so many threads: milliseconds, turn by turn.
struct Row {
    workload: &'static Workload,
    threads: usize,
    ours: Vec<f64>,
    /// On one thread.
    floor: f64,
    /// The peer's; empty without one.
    theirs: Vec<f64>,
    /// Ours on one thread in the same turn; empty if this is that, or one thread is not asked for.
    alone: Vec<f64>,
    /// Measurements thrown away, because something else ran on the same core.
    disturbed: usize,
}

/// The median of the turns, the least and the most.
struct Figure {
    median: f64,
    least: f64,
    most: f64,
}

impl Figure {
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let (&least, &most) = sorted.first().zip(sorted.last())?;
        Some(Figure { median: sorted[sorted.len() / 2], least, most })
    }

    /// Of a quotient, taken in each turn: what slows both down drops out.
    fn ratio(over: &[f64], under: &[f64]) -> Option<Self> {
        Self::of(over.iter().zip(under).map(|(over, under)| over / under))
    }
}

fn run(args: &Args) -> Result<()> {
    if let Some(unknown) = args.only.iter().find(|&name| WORKLOADS.iter().all(|w| w.name != *name)) {
        let names: Vec<_> = WORKLOADS.iter().map(|w| w.name).collect();
        return Err(format!("there is no workload {unknown}; there are {}", names.join(", ")).into());
    }
    let limits = Limits::measure();
    println!(
        "One thread of this machine: {:.0} GFLOP/s, {:.0} GB/s from L2; SiLU {:.2}, ReLU {:.3} ns a value.\n",
        limits.gflops, limits.gbytes, limits.silu, limits.relu
    );
    let mut contestants = Vec::new();
    for &threads in &args.threads {
        contestants.push(Contestants::new(usize::from(threads), args)?);
    }
    let mut rows = Vec::new();
    for workload in WORKLOADS {
        if args.only.is_empty() || args.only.iter().any(|name| name == workload.name) {
            eprintln!("{}", workload.name);
            rows.extend(take_turns(workload, args.turns, &limits, &mut contestants)?);
        }
    }
    println!("{}\n", table(&rows));
    WORKLOADS
        .iter()
        .filter(|w| rows.iter().any(|row| row.workload.name == w.name))
        .for_each(|w| println!("- {}: {}", w.name, w.what));
    println!(
        "\nThe median of {} turns (least to most); times in milliseconds. The floor is the arithmetic at the rates \
         above, on one thread. {} turns were taken again because something else ran on the same cores.",
        args.turns,
        rows.iter().map(|row| row.disturbed).sum::<usize>()
    );
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", json(&rows)))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Those who take turns on so many threads.
struct Contestants {
    threads: usize,
    pool: ThreadPool,
    peer: Option<Peer>,
}

impl Contestants {
    fn new(threads: usize, args: &Args) -> Result<Self> {
        let pool = ThreadPoolBuilder::new().num_threads(threads).build()?;
        let peer = match args.peer {
            Some(PeerName::Jax) => Some(Peer::start(&args.python, threads)?),
            None => None,
        };
        Ok(Contestants { threads, pool, peer })
    }

    /// Milliseconds of ours and of the peer's, next to each other; again and again for [`PATIENCE`] while
    /// something else runs on the same cores, which counts as `disturbed`.
    fn turn(
        &mut self,
        run: &mut Run,
        workload: &str,
        limits: &Limits,
        disturbed: &mut usize,
    ) -> Result<(f64, Option<f64>)> {
        let disturbs = |pool: &ThreadPool| pool.broadcast(|_| limits.disturbed()).contains(&true);
        let started = Instant::now();
        loop {
            let before = disturbs(&self.pool);
            let ours = self.pool.install(|| milliseconds(run));
            let theirs = match &mut self.peer {
                Some(peer) => peer.milliseconds(workload, SECONDS)?,
                None => None,
            };
            let quiet = !before && !disturbs(&self.pool);
            if quiet || started.elapsed() > PATIENCE {
                return Ok((ours, theirs));
            }
            *disturbed += 1;
        }
    }
}

/// For each number of threads ours and the peer's, and again: the machine's speed changes with what its
/// neighbours do, so only what was measured next to each other is compared.
fn take_turns(
    workload: &'static Workload,
    turns: u8,
    limits: &Limits,
    contestants: &mut [Contestants],
) -> Result<Vec<Row>> {
    let mut run = (workload.prepare)();
    let mut rows = Vec::new();
    for Contestants { threads, pool, peer } in &mut *contestants {
        // Warm-up, and for the peer compilation.
        pool.install(|| run(1));
        if let Some(peer) = peer {
            peer.milliseconds(workload.name, 0.01)?;
        }
        let (floor, ours, theirs, alone) = (limits.floor_ms(workload.cost), vec![], vec![], vec![]);
        rows.push(Row { workload, threads: *threads, ours, floor, theirs, alone, disturbed: 0 });
    }
    for _ in 0..turns {
        let mut alone = None;
        for (row, contestants) in rows.iter_mut().zip(&mut *contestants) {
            let (ours, theirs) = contestants.turn(&mut run, workload.name, limits, &mut row.disturbed)?;
            row.ours.push(ours);
            row.theirs.extend(theirs);
            row.alone.extend(alone);
            if row.threads == 1 {
                alone = Some(ours);
            }
        }
    }
    Ok(rows)
}

/// The median of seven blocks that fill [`SECONDS`] together; a long call counts by itself.
fn milliseconds(run: &mut Run) -> f64 {
    let once = run(1).as_secs_f64();
    if once > SECONDS / 2.0 {
        return 1e3 * once;
    }
    let times = ((SECONDS / 7.0 / once).round() as usize).max(1);
    let mut blocks: Vec<f64> = (0..7).map(|_| 1e3 * run(times).as_secs_f64() / times as f64).collect();
    blocks.sort_by(f64::total_cmp);
    blocks[3]
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN).set_header([
        "workload",
        "threads",
        "ours, ms",
        "floor, ms",
        "JAX, ms",
        "ours ÷ floor",
        "ours ÷ JAX",
        "gain of threads",
    ]);
    let milliseconds = |turns: &[f64]| Figure::of(turns.iter().copied()).map(|figure| digits(figure.median));
    let ratio = |over: &[f64], under: &[f64]| {
        let Figure { median, least, most } = Figure::ratio(over, under)?;
        Some(format!("{median:.2} ({least:.2}–{most:.2})"))
    };
    for row in rows {
        // The floor is one thread's.
        let floors = if row.threads == 1 { vec![row.floor; row.ours.len()] } else { vec![] };
        let cells = [
            milliseconds(&row.ours),
            milliseconds(&floors),
            milliseconds(&row.theirs),
            ratio(&row.ours, &floors),
            ratio(&row.ours, &row.theirs),
            ratio(&row.alone, &row.ours),
        ];
        let names = [row.workload.name.to_string(), row.threads.to_string()];
        table.add_row(names.into_iter().chain(cells.map(|cell| cell.unwrap_or_else(|| "–".into()))));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Three digits.
fn digits(ms: f64) -> String {
    let digits = (2.0 - ms.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{ms:.digits$}")
}

fn json(rows: &[Row]) -> serde_json::Value {
    let median = |turns: &[f64]| Figure::of(turns.iter().copied()).map(|figure| figure.median);
    let row = |row: &Row| {
        json!({
            "workload": row.workload.name,
            "threads": row.threads,
            "ours_ms": median(&row.ours),
            "floor_ms": row.floor,
            "peer_ms": median(&row.theirs),
        })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}
