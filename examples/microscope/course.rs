//! A training that is looked at on its way.

use std::ops::ControlFlow;

use quadrivium::numeric::rng::Streams;
use quadrivium::prelude::*;
use quadrivium::{Checkpoint, Step};

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Trains a copy of `start`, shown after each of the steps `at`, which rise to those of `options`; what it becomes.
///
/// It is one training, interrupted at those steps and resumed from a file, so that what is shown is on the way to the
/// end, and looking changes no bit.
pub fn course<M: Generative + Clone>(
    start: &M,
    data: &Dataset,
    options: &TrainOptions,
    at: &[usize],
    streams: Streams,
    mut show: impl FnMut(usize, &M) -> Outcome<()>,
) -> Outcome<M> {
    let folder = std::env::temp_dir().join(format!("quadrivium-course-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let checkpoint = Checkpoint { path: folder.join("training"), every: options.steps };
    let options = TrainOptions { checkpoint: Some(checkpoint), ..options.clone() };
    let mut model = start.clone();
    for &stop in at {
        let mut until = |step: &Step<'_>| match step.step + 1 < stop {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        model = start.clone();
        model.train(data, &options, &mut streams.stream(0), &mut until)?;
        show(stop, &model)?;
    }
    std::fs::remove_dir_all(folder)?;
    Ok(model)
}
