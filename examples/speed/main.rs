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

use clap::{Parser, ValueEnum};
use comfy_table::{CellAlignment, Table, presets};
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
    /// Turns: ours, the peer's, ours, the peer's, … The median of the turns counts.
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

/// One line of the table.
struct Row {
    workload: &'static Workload,
    threads: usize,
    /// Milliseconds of each turn, sorted.
    ours: Vec<f64>,
    theirs: Vec<f64>,
    floor: f64,
}

fn median(sorted: &[f64]) -> Option<f64> {
    (!sorted.is_empty()).then(|| sorted[sorted.len() / 2])
}

impl Row {
    fn ours(&self) -> f64 {
        median(&self.ours).expect("at least one turn")
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
    let mut rows = Vec::new();
    for &threads in &args.threads {
        let threads = usize::from(threads);
        let mut peer = match args.peer {
            Some(PeerName::Jax) => Some(Peer::start(&args.python, threads)?),
            None => None,
        };
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
        for workload in WORKLOADS {
            if args.only.is_empty() || args.only.iter().any(|name| name == workload.name) {
                eprintln!("{} on {threads} thread(s)", workload.name);
                let floor = limits.floor_ms(workload.cost);
                let (ours, theirs) = take_turns(workload, args.turns, &pool, peer.as_mut())?;
                rows.push(Row { workload, threads, ours, theirs, floor });
            }
        }
    }
    println!("{}\n", table(&rows));
    WORKLOADS
        .iter()
        .filter(|w| rows.iter().any(|row| row.workload.name == w.name))
        .for_each(|w| println!("- {}: {}", w.name, w.what));
    println!(
        "\nMilliseconds: the median of {} turns (least to most). The floor is the arithmetic at the rates \
         above, on one thread.",
        args.turns
    );
    if let Some(path) = &args.json {
        std::fs::write(path, format!("{:#}\n", json(&rows)))
            .map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// Milliseconds of ours and of the peer's turns, each sorted.
fn take_turns(
    workload: &Workload,
    turns: u8,
    pool: &rayon::ThreadPool,
    mut peer: Option<&mut Peer>,
) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut run = (workload.prepare)();
    // Warm-up, and for the peer compilation.
    pool.install(|| run(1));
    if let Some(peer) = peer.as_mut() {
        peer.milliseconds(workload.name, 0.01)?;
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..turns {
        ours.push(pool.install(|| milliseconds(&mut run)));
        if let Some(peer) = peer.as_mut() {
            theirs.extend(peer.milliseconds(workload.name, SECONDS)?);
        }
    }
    ours.sort_by(f64::total_cmp);
    theirs.sort_by(f64::total_cmp);
    Ok((ours, theirs))
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
        "ours",
        "floor",
        "ours ÷ floor",
        "JAX",
        "ours ÷ JAX",
        "gain of threads",
    ]);
    for row in rows {
        let alone = rows.iter().find(|r| r.workload.name == row.workload.name && r.threads == 1);
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        let one = row.threads == 1;
        table.add_row([
            row.workload.name.to_string(),
            row.threads.to_string(),
            format!("{} ({})", figure(row.ours()), spread(&row.ours)),
            or_dash(one.then(|| figure(row.floor))),
            or_dash(one.then(|| format!("{:.2}", row.ours() / row.floor))),
            or_dash(median(&row.theirs).map(|ms| format!("{} ({})", figure(ms), spread(&row.theirs)))),
            or_dash(median(&row.theirs).map(|ms| format!("{:.2}", row.ours() / ms))),
            or_dash(alone.filter(|_| !one).map(|alone| format!("{:.2}", alone.ours() / row.ours()))),
        ]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Three digits.
fn figure(ms: f64) -> String {
    let digits = (2.0 - ms.log10().floor()).clamp(0.0, 6.0) as usize;
    format!("{ms:.digits$}")
}

fn spread(sorted: &[f64]) -> String {
    format!("{}–{}", figure(sorted[0]), figure(sorted[sorted.len() - 1]))
}

fn json(rows: &[Row]) -> serde_json::Value {
    let row = |row: &Row| {
        json!({
            "workload": row.workload.name,
            "threads": row.threads,
            "ours_ms": row.ours(),
            "floor_ms": row.floor,
            "peer_ms": median(&row.theirs),
        })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}
