//! The speed of the library, compared with the shortest time that this machine needs for the same arithmetic, and
//! with JAX, measured in turns in one run.
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
    /// Measure this library in turns with ours.
    #[arg(long)]
    peer: Option<PeerName>,
    /// The Python interpreter in which the peer is installed.
    #[arg(long, default_value = "python3")]
    python: String,
    /// Measure only these workloads.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2", value_parser = clap::value_parser!(u8).range(1..))]
    threads: Vec<u8>,
    /// Number of turns, each ours and then the peer's. The median of the turns' ratios counts.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..))]
    turns: u8,
    /// Write every figure to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Instead, measure how time and memory grow with rows, dimension, width, steps and threads.
    #[arg(long)]
    growth: bool,
    /// One turn of three short workloads, or two sizes of each kind, to check that everything runs.
    #[arg(long)]
    quick: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum PeerName {
    Jax,
}

/// Approximate duration of one turn.
const SECONDS: f64 = 0.4;

/// How long a turn is repeated while something else runs on the same cores; a long turn is repeated once.
const PATIENCE: Duration = Duration::from_secs(15);

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> std::process::ExitCode {
    let mut args = Args::parse();
    if args.quick {
        args.turns = 1;
        args.only = ["W1", "W3-1", "W4"].map(String::from).into();
    }
    let done = if args.growth { growth::run(args.quick) } else { run(&args) };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("speed: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}

/// A workload on a number of threads: milliseconds, turn by turn.
struct Row {
    workload: &'static Workload,
    threads: usize,
    ours: Vec<f64>,
    /// On one thread.
    floor: f64,
    /// The peer's; empty without one.
    theirs: Vec<f64>,
    /// Ours on one thread in the same turn; empty if this row is for one thread, or one thread was not asked for.
    alone: Vec<f64>,
    /// Turns that nothing else disturbed, among those that count.
    quiet: usize,
    /// Turns that do not count, because something else ran on the same cores.
    thrown_away: usize,
}

/// Median, minimum and maximum of the turns.
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

    /// Of a quotient in each turn: what slows down both cancels.
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
        "One thread of this machine: {:.0} GFLOP/s, {:.0} GB/s from L2; SiLU {:.2}, ReLU {:.3} ns per value.\n",
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
         above, on one thread. Quiet turns are those in which nothing else ran on the same cores; {} disturbed turns were \
         measured again.",
        args.turns,
        rows.iter().map(|row| row.thrown_away).sum::<usize>()
    );
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", json(&rows)))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// The libraries that take turns on a number of threads, all on the same cores.
struct Contestants {
    threads: usize,
    pool: ThreadPool,
    /// The peer, once for each way to start it.
    peers: Vec<Peer>,
}

/// The result of a turn, in milliseconds.
struct Turn {
    ours: f64,
    theirs: Option<f64>,
    quiet: bool,
}

impl Contestants {
    fn new(threads: usize, args: &Args) -> Result<Self> {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let pool = ThreadPoolBuilder::new().num_threads(threads).start_handler(move |thread| {
            if let Some(&core) = cores.get(thread) {
                core_affinity::set_for_current(core);
            }
        });
        let peers = match args.peer {
            Some(PeerName::Jax) => Peer::start(&args.python, threads)?,
            None => Vec::new(),
        };
        Ok(Contestants { threads, pool: pool.build()?, peers })
    }

    /// Runs both once without counting, so that they compile and fill their caches; returns the peer's faster way.
    fn warm_up(&mut self, run: &mut Run, workload: &str) -> Result<Option<usize>> {
        self.pool.install(|| run(1));
        let mut fastest = None;
        for (way, peer) in self.peers.iter_mut().enumerate() {
            peer.milliseconds(workload, 0.01)?;
            let Some(ms) = peer.milliseconds(workload, SECONDS)? else { continue };
            if fastest.is_none_or(|(_, least)| ms < least) {
                fastest = Some((way, ms));
            }
        }
        Ok(fastest.map(|(way, _)| way))
    }

    fn turn(&mut self, run: &mut Run, workload: &str, way: Option<usize>, limits: &Limits) -> Result<Turn> {
        let quiet = || !self.pool.broadcast(|_| limits.disturbed()).contains(&true);
        let before = quiet();
        let ours = self.pool.install(|| milliseconds(run));
        let between = quiet();
        let theirs = match way {
            Some(way) => self.peers[way].milliseconds(workload, SECONDS)?,
            None => None,
        };
        Ok(Turn { ours, theirs, quiet: before && between && quiet() })
    }

    /// A turn that nothing else disturbed, if one is found in time, and the number of turns thrown away.
    fn quiet_turn(
        &mut self,
        run: &mut Run,
        workload: &str,
        way: Option<usize>,
        limits: &Limits,
    ) -> Result<(Turn, usize)> {
        let (started, mut thrown_away) = (Instant::now(), 0);
        loop {
            let turn = self.turn(run, workload, way, limits)?;
            if turn.quiet || thrown_away > 0 && started.elapsed() > PATIENCE {
                return Ok((turn, thrown_away));
            }
            thrown_away += 1;
        }
    }
}

/// Alternates ours and the peer's for each number of threads: the machine's speed changes with what its neighbors
/// do, so only adjacent measurements are compared.
fn take_turns(
    workload: &'static Workload,
    turns: u8,
    limits: &Limits,
    contestants: &mut [Contestants],
) -> Result<Vec<Row>> {
    let mut run = (workload.prepare)();
    let (mut rows, mut ways) = (Vec::new(), Vec::new());
    for contestants in &mut *contestants {
        ways.push(contestants.warm_up(&mut run, workload.name)?);
        let (threads, floor) = (contestants.threads, limits.floor_ms(workload.cost));
        let (ours, theirs, alone) = Default::default();
        rows.push(Row { workload, threads, ours, floor, theirs, alone, quiet: 0, thrown_away: 0 });
    }
    for _ in 0..turns {
        let mut alone = None;
        for ((row, contestants), &way) in rows.iter_mut().zip(&mut *contestants).zip(&ways) {
            let (turn, thrown_away) = contestants.quiet_turn(&mut run, workload.name, way, limits)?;
            row.ours.push(turn.ours);
            row.theirs.extend(turn.theirs);
            row.alone.extend(alone);
            row.quiet += usize::from(turn.quiet);
            row.thrown_away += thrown_away;
            if row.threads == 1 {
                alone = Some(turn.ours);
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
        "quiet turns",
    ]);
    let milliseconds = |turns: &[f64]| Figure::of(turns.iter().copied()).map(|figure| digits(figure.median));
    let ratio = |over: &[f64], under: &[f64]| {
        let Figure { median, least, most } = Figure::ratio(over, under)?;
        Some(format!("{median:.2} ({least:.2}–{most:.2})"))
    };
    for row in rows {
        // The floor is for one thread.
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
        let quiet = format!("{} of {}", row.quiet, row.ours.len());
        let cells = cells.map(|cell| cell.unwrap_or_else(|| "–".into()));
        table.add_row(names.into_iter().chain(cells).chain([quiet]));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Rounded to three digits.
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
            // Measured on one thread, whatever the number of threads.
            "floor_ms": row.floor,
            "peer_ms": median(&row.theirs),
            "quiet_turns": row.quiet,
        })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}
