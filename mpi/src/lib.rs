//! Processes of a cluster that train one model together, by MPI.
//!
//! [`MpiExchange`] is the [`Exchange`] of processes that `mpirun` or a scheduler has started. Everything that makes the
//! training the same on any number of processes is in the library: gradients are added up in the order of the shards, and
//! not by `MPI_Allreduce`, whose sums differ from number to number. A process that dies ends the job, as MPI has it; the job
//! resumes from its checkpoint, with as many processes as there are then, to the same bits.
//!
//! ```no_run
//! use std::sync::Arc;
//! use quadrivium::{prelude::*, seeded, worlds::Toy};
//! use quadrivium_mpi::MpiExchange;
//!
//! let exchange = Arc::new(MpiExchange::start().expect("started by mpirun"));
//! let mut rng = seeded(0);
//! let data = Dataset::new(Toy::moons(0.1)?.sample(2_000, &mut rng))?;
//! let mut flow = Flow::new(FlowConfig::default(), &mut rng)?;
//! let options = TrainOptions { shards: 8, exchange, ..Default::default() };
//! flow.train(&data, &options, &mut rng, &mut NoObserver)?;
//! # Ok::<(), quadrivium::Error>(())
//! ```

use std::fmt;
use std::io;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use mpi::Threading;
use mpi::datatype::{Partition, PartitionMut};
use mpi::topology::SimpleCommunicator;
use mpi::traits::*;
use quadrivium::engine::Exchange;

/// The letters to all processes, or from all.
type Letters = Vec<Vec<u8>>;

/// The processes that MPI has started. One thread speaks with MPI, from its beginning to its end.
pub struct MpiExchange {
    rank: usize,
    ranks: usize,
    post: Option<Mutex<Post>>,
    thread: Option<JoinHandle<()>>,
}

/// The ways to the thread and back.
struct Post {
    to: Sender<Letters>,
    from: Receiver<io::Result<Letters>>,
}

impl MpiExchange {
    /// Initializes MPI, which a process can do once; `None` if that was done, or if MPI takes no thread but the first.
    pub fn start() -> Option<Self> {
        let (to, letters) = channel::<Letters>();
        let (answers, from) = channel();
        let (places, place) = channel();
        let thread = thread::spawn(move || {
            let universe = mpi::initialize_with_threading(Threading::Funneled);
            let Some((universe, _)) = universe.filter(|(_, threading)| *threading >= Threading::Funneled)
            else {
                return;
            };
            let world = universe.world();
            let [rank, ranks] = [world.rank(), world.size()].map(|n| n as usize);
            if places.send((rank, ranks)).is_err() {
                return;
            }
            for letters in letters {
                if answers.send(swap(&world, &letters)).is_err() {
                    return;
                }
            }
        });
        let (rank, ranks) = place.recv().ok()?;
        Some(MpiExchange { rank, ranks, post: Some(Mutex::new(Post { to, from })), thread: Some(thread) })
    }
}

/// MPI ends with the thread.
impl Drop for MpiExchange {
    fn drop(&mut self) {
        drop(self.post.take());
        if let Some(thread) = self.thread.take() {
            // A thread that has failed has said so to whoever waited for its answer.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for MpiExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MpiExchange({} of {})", self.rank, self.ranks)
    }
}

/// Lengths and, one behind the other, places, which MPI counts in 32 bits.
fn laid_out(lens: impl Iterator<Item = usize>) -> io::Result<(Vec<i32>, Vec<i32>)> {
    let (mut counts, mut places, mut end) = (Vec::new(), Vec::new(), 0i32);
    for len in lens {
        let next = i32::try_from(len).ok().and_then(|len| end.checked_add(len));
        let next =
            next.ok_or_else(|| io::Error::other("more than 2 GB in one step: take a smaller model"))?;
        counts.push(next - end);
        places.push(end);
        end = next;
    }
    Ok((counts, places))
}

/// Lengths first, by `MPI_Alltoall`, then the letters, by `MPI_Alltoallv`.
fn swap(world: &SimpleCommunicator, to: &Letters) -> io::Result<Letters> {
    let lens: Vec<u64> = to.iter().map(|letter| letter.len() as u64).collect();
    let mut to_come = vec![0u64; to.len()];
    world.all_to_all_into(&lens[..], &mut to_come[..]);
    let (counts, places) = laid_out(to.iter().map(Vec::len))?;
    let (counts_to_come, places_to_come) = laid_out(to_come.iter().map(|&len| len as usize))?;
    // A byte more: MPI takes two empty buffers for the same one, and refuses that.
    let sent = [to.concat(), vec![0]].concat();
    let mut received = vec![0u8; to_come.iter().sum::<u64>() as usize + 1];
    {
        let sent = Partition::new(&sent[..], counts, places);
        let mut into = PartitionMut::new(&mut received[..], counts_to_come, places_to_come);
        world.all_to_all_varcount_into(&sent, &mut into);
    }
    let mut rest = &received[..];
    let letter = |len: u64| {
        let (first, behind) = rest.split_at(len as usize);
        rest = behind;
        first.to_vec()
    };
    Ok(to_come.into_iter().map(letter).collect())
}

impl Exchange for MpiExchange {
    fn rank(&self) -> usize {
        self.rank
    }

    fn ranks(&self) -> usize {
        self.ranks
    }

    fn swap(&self, to: &[Vec<u8>], from: &mut [Vec<u8>]) -> io::Result<()> {
        let gone = || io::Error::other("the thread that speaks with MPI has ended");
        let post = self.post.as_ref().ok_or_else(gone)?;
        let post = post.lock().map_err(|_| io::Error::other("a swap before this one failed"))?;
        post.to.send(to.to_vec()).map_err(|_| gone())?;
        let letters = post.from.recv().map_err(|_| gone())??;
        from.iter_mut().zip(letters).for_each(|(from, letter)| *from = letter);
        Ok(())
    }
}
