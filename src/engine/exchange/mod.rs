//! Processes, on one machine or on several, that train one model together.

mod tcp;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::io;
use std::ops::Range;

pub use self::tcp::TcpExchange;

use super::loss::Loss;
use crate::error::{Error, Result, TrainingError};

/// How the processes that train one model together reach each other.
///
/// Each of R processes has the whole model and all rows, and calls `train` in the same way, with the same state of its
/// generator. Of each minibatch, process r computes the [shards](super::TrainOptions::shards) S r/R to S (r + 1)/R alone. Then
/// it sums the gradients of all shards over its own part of the P parameters, in the order of the shards, and sends that
/// part of the sum to the others. So every process makes the step that one process alone would make, with the same bits,
/// whatever R is. A step sends from each process
///
/// ```text
/// 4 P (S/R) (R − 1)/R   bytes of gradients, and
/// 4 P (R − 1)/R         bytes of their sum
/// ```
///
/// Validations, and models that are fitted in closed form, are not shared: each process computes the same. All processes
/// stop as soon as the observer of one of them asks for it. Only the first reads and writes a checkpoint; the others get
/// what it read. A training may resume with another number of processes.
///
/// Processors have to round alike: when a training begins, the processes compare their instruction sets, and all that makes
/// up the training, and refuse to train together if there is a difference.
///
/// An implementation is one function, [`swap`](Exchange::swap). [`TcpExchange`] needs nothing but sockets.
pub trait Exchange: Debug + Send + Sync {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// How many processes there are.
    fn ranks(&self) -> usize;

    /// Sends `to[r]` to each process r, this one included, and puts what process r sent here into `from[r]`. Every process
    /// calls it as often as the others; both slices have as many entries as there are processes.
    ///
    /// # Errors
    /// If another process cannot be reached. The training ends.
    fn swap(&self, to: &[Vec<u8>], from: &mut [Vec<u8>]) -> io::Result<()>;
}

/// One process, which trains alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Exchange for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn ranks(&self) -> usize {
        1
    }

    fn swap(&self, to: &[Vec<u8>], from: &mut [Vec<u8>]) -> io::Result<()> {
        from.clone_from_slice(to);
        Ok(())
    }
}

/// Part `part` of `parts` of n things, in order and as even as can be.
pub(super) fn part_of(n: usize, part: usize, parts: usize) -> Range<usize> {
    n * part / parts..n * (part + 1) / parts
}

fn lost(error: io::Error) -> Error {
    TrainingError::Exchange { why: error.to_string() }.into()
}

impl dyn Exchange + '_ {
    pub(super) fn is_alone(&self) -> bool {
        self.ranks() == 1
    }

    /// What each process has to say, in their order.
    pub(super) fn all(&self, mine: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let mut from = vec![Vec::new(); self.ranks()];
        self.swap(&vec![mine; self.ranks()], &mut from).map_err(lost)?;
        Ok(from)
    }

    /// Whether one of the processes says yes.
    pub(super) fn any(&self, yes: bool) -> Result<bool> {
        if self.is_alone() {
            return Ok(yes);
        }
        Ok(self.all(vec![u8::from(yes)])?.iter().any(|said| *said == [1]))
    }

    /// Checks that all processes mean the same by these words.
    ///
    /// # Errors
    /// [`TrainingError::Differs`] naming the first that differs, and the process.
    pub(super) fn agree(&self, words: &[(&'static str, u64)]) -> Result<()> {
        if self.is_alone() {
            return Ok(());
        }
        let mine: Vec<u8> = words.iter().flat_map(|(_, digest)| digest.to_le_bytes()).collect();
        for (rank, said) in self.all(mine.clone())?.iter().enumerate() {
            let differs = |(at, _): &(usize, &(&'static str, u64))| {
                let bytes = at * size_of::<u64>()..(at + 1) * size_of::<u64>();
                said.get(bytes.clone()) != mine.get(bytes)
            };
            if let Some((_, &(what, _))) = words.iter().enumerate().find(differs) {
                return Err(TrainingError::Differs { what, rank }.into());
            }
        }
        Ok(())
    }
}

/// The buffers of sums over all shards.
pub(super) struct Post {
    to: Vec<Vec<u8>>,
    from: Vec<Vec<u8>>,
}

/// What one shard contributes to a step: its gradient, empty where another process computes it, its loss, and the parts of
/// this.
pub(super) struct Contribution<'a> {
    pub dp: &'a [f32],
    pub loss: &'a mut f64,
    pub parts: &'a mut [f64],
}

impl Post {
    pub fn new(ranks: usize) -> Self {
        Post { to: vec![Vec::new(); ranks], from: vec![Vec::new(); ranks] }
    }

    /// Adds up the gradients of all shards in their order, and tells each process the losses of the others' shards.
    pub fn sum(
        &mut self,
        exchange: &dyn Exchange,
        shards: &mut [Contribution],
        sum: &mut [f32],
    ) -> Result<()> {
        let (rank, ranks) = (exchange.rank(), exchange.ranks());
        let Post { to, from } = self;
        let (count, p) = (shards.len(), sum.len());
        for (r, to) in to.iter_mut().enumerate() {
            to.clear();
            for shard in &shards[part_of(count, rank, ranks)] {
                put(to, &shard.dp[part_of(p, r, ranks)]);
                to.extend(shard.loss.to_le_bytes());
                shard.parts.iter().for_each(|part| to.extend(part.to_le_bytes()));
            }
        }
        exchange.swap(to, from).map_err(lost)?;
        let own = part_of(p, rank, ranks);
        for (r, from) in from.iter().enumerate() {
            let mut from = Letter(from);
            for s in part_of(count, r, ranks) {
                let (sum, gradient) = (&mut sum[own.clone()], from.take(4 * own.len())?);
                let numbers =
                    gradient.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")));
                match s {
                    0 => sum.iter_mut().zip(numbers).for_each(|(sum, dp)| *sum = dp),
                    _ => sum.iter_mut().zip(numbers).for_each(|(sum, dp)| *sum += dp),
                }
                *shards[s].loss = from.number()?;
                for part in shards[s].parts.iter_mut() {
                    *part = from.number()?;
                }
            }
            from.ends()?;
        }
        for to in to.iter_mut() {
            to.clear();
            put(to, &sum[own.clone()]);
        }
        exchange.swap(to, from).map_err(lost)?;
        for (r, from) in from.iter().enumerate() {
            let (mut from, of_rank) = (Letter(from), part_of(p, r, ranks));
            let bytes = from.take(4 * of_rank.len())?;
            from.ends()?;
            for (sum, bytes) in sum[of_rank].iter_mut().zip(bytes.chunks_exact(4)) {
                *sum = f32::from_le_bytes(bytes.try_into().expect("four"));
            }
        }
        Ok(())
    }
}

fn put(to: &mut Vec<u8>, numbers: &[f32]) {
    to.reserve(4 * numbers.len());
    numbers.iter().for_each(|v| to.extend(v.to_le_bytes()));
}

/// What another process sent, read from its start.
struct Letter<'a>(&'a [u8]);

impl<'a> Letter<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or_else(another_training)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<f64> {
        Ok(f64::from_le_bytes(self.take(8)?.try_into().expect("eight")))
    }

    fn count(&mut self) -> Result<usize> {
        Ok(u64::from_le_bytes(self.take(8)?.try_into().expect("eight")) as usize)
    }

    fn ends(&self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(another_training()) }
    }
}

fn another_training() -> Error {
    TrainingError::Exchange { why: "another process makes another step".into() }.into()
}

/// What the shards of all processes remember, where each knows its own: numbers, and a count.
pub(super) fn share_memory<L: Loss<f32>>(
    exchange: &dyn Exchange,
    loss: &L,
    drawn: &mut [&mut L::Drawn],
) -> Result<()> {
    if exchange.is_alone() || drawn.first_mut().is_none_or(|drawn| loss.memory(drawn).is_none()) {
        return Ok(());
    }
    let count = drawn.len();
    let mut mine = Vec::new();
    for drawn in &mut drawn[part_of(count, exchange.rank(), exchange.ranks())] {
        let Some((numbers, count)) = loss.memory(drawn) else { continue };
        mine.extend((numbers.len() as u64).to_le_bytes());
        put(&mut mine, numbers);
        mine.extend((*count as u64).to_le_bytes());
    }
    for (r, from) in exchange.all(mine)?.iter().enumerate() {
        let mut from = Letter(from);
        for drawn in &mut drawn[part_of(count, r, exchange.ranks())] {
            let Some((numbers, count)) = loss.memory(drawn) else { continue };
            let bytes = from.count()?.saturating_mul(4);
            let bytes = from.take(bytes)?;
            let read = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four")));
            *numbers = read.collect();
            *count = from.count()?;
        }
        from.ends()?;
    }
    Ok(())
}
