//! Trains a model of two moons on all processes, and writes it to a file for each:
//! `mpirun -np 4 target/release/examples/fit FOLDER [CHECKPOINT] [STEP TO DIE AT]`.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use quadrivium::engine::Exchange;
use quadrivium::persist::Persist;
use quadrivium::{Checkpoint, Step, prelude::*, seeded, worlds::Toy};
use quadrivium_mpi::MpiExchange;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("expected a folder")?);
    let checkpoint = arguments.next().map(|path| Checkpoint { path: path.into(), every: 20 });
    let last: Option<usize> = arguments.next().map(|step| step.parse()).transpose()?;

    let exchange = Arc::new(MpiExchange::start().ok_or("MPI did not start")?);
    let (rank, ranks) = (exchange.rank(), exchange.ranks());
    let mut rng = seeded(0);
    let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
    let mut flow = Flow::new(FlowConfig::default(), &mut rng)?;
    let options =
        TrainOptions { steps: 200, batch: 512, shards: 8, checkpoint, exchange, ..Default::default() };
    let mut observer = |step: &Step<'_>| {
        if rank + 1 == ranks && last == Some(step.step) {
            std::process::abort();
        }
        ControlFlow::Continue(())
    };
    let start = Instant::now();
    flow.train(&data, &options, &mut rng, &mut observer)?;
    if rank == 0 {
        println!(
            "{ranks} processes: {:.2} ms a step",
            start.elapsed().as_secs_f64() * 1e3 / options.steps as f64
        );
    }
    flow.save(folder.join(format!("{rank}-of-{ranks}.safetensors")))?;
    Ok(())
}
