//! What processes that train one model together promise: the model of one alone. Here they are threads.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use quadrivium::engine::Exchange;
use quadrivium::{Checkpoint, Step};

use super::*;

/// One of several threads, with a way to and from each.
#[derive(Debug)]
struct Seat {
    rank: usize,
    to: Vec<Mutex<Sender<Vec<u8>>>>,
    from: Vec<Mutex<Receiver<Vec<u8>>>>,
}

fn seats(ranks: usize) -> Vec<Seat> {
    let mut seats: Vec<Seat> =
        (0..ranks).map(|rank| Seat { rank, to: Vec::new(), from: Vec::new() }).collect();
    for from in 0..ranks {
        for to in 0..ranks {
            let (sender, receiver) = channel();
            seats[from].to.push(Mutex::new(sender));
            seats[to].from.push(Mutex::new(receiver));
        }
    }
    seats
}

impl Exchange for Seat {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.to.len()
    }

    fn swap(&self, to: &[Vec<u8>], from: &mut [Vec<u8>]) -> io::Result<()> {
        for (letter, to) in to.iter().zip(&self.to) {
            to.lock().unwrap().send(letter.clone()).map_err(io::Error::other)?;
        }
        for (letter, from) in from.iter_mut().zip(&self.from) {
            *letter = from.lock().unwrap().recv().map_err(io::Error::other)?;
        }
        Ok(())
    }
}

/// The model and the report of each of `ranks` threads.
fn train(
    subject: &Subject,
    ranks: usize,
    options: &TrainOptions,
    until: Option<usize>,
) -> Vec<(Box<dyn Model>, TrainReport)> {
    let train = |seat: Seat| {
        // One of them is asked to stop.
        let stops = seat.rank == ranks - 1;
        let mut observer = |step: &Step<'_>| match stops && until == Some(step.step + 1) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let options = TrainOptions { exchange: Arc::new(seat), ..options.clone() };
        let mut model = subject.fresh();
        let report = model.train(&moons(200), &options, &mut seeded(2), &mut observer).unwrap();
        (model, report)
    };
    thread::scope(|scope| {
        let train = &train;
        let threads: Vec<_> = seats(ranks).into_iter().map(|seat| scope.spawn(move || train(seat))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Three processes share four shards; stopped after five steps, two go on from their checkpoint.
pub fn processes_learn_together_what_one_learns_alone(subject: &Subject) {
    let options = TrainOptions { shards: 4, validation: 0.2, validate_every: 3, ..short(9) };
    let mut alone = subject.fresh();
    let report = alone.train(&moons(200), &options, &mut seeded(2), &mut NoObserver).unwrap();
    let same = |together: &[(Box<dyn Model>, TrainReport)]| {
        for (model, of_model) in together {
            assert_eq!(*of_model, report);
            assert_eq!(sample(model, 20, 4), sample(&*alone, 20, 4));
        }
    };
    same(&train(subject, 3, &options, None));

    let file = format!("quadrivium-together-{}-{}", std::process::id(), subject.name);
    let path = std::env::temp_dir().join(file);
    let resumable =
        TrainOptions { checkpoint: Some(Checkpoint { path: path.clone(), every: 4 }), ..options.clone() };
    train(subject, 3, &resumable, Some(5));
    same(&train(subject, 2, &resumable, None));
    for end in ["", ".previous", ".2", ".2.previous", ".2.2", ".2.2.previous"] {
        std::fs::remove_file(format!("{}{end}", path.display())).ok();
    }
}
