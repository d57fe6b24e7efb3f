use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What an interrupted training needs to go on, in memory.
///
/// A training whose [options](super::TrainOptions::memory) have one leaves in it, whenever it ends, what a
/// [`Checkpoint`](super::Checkpoint) would hold. The next training with the same memory goes on from there: with the same
/// model, rows, options and state of the generator, which are not compared. One that has finished returns its report.
/// Clones share what is remembered.
#[derive(Clone, Default)]
pub struct Memory {
    state: Arc<Mutex<State>>,
    /// Which training: the place of a part among those of a composition, of a part of that, ….
    part: Vec<usize>,
}

#[derive(Default)]
struct State {
    /// What each training left.
    parts: BTreeMap<Vec<usize>, Vec<u8>>,
    /// Whether a training is at work that will leave something.
    is_running: bool,
}

impl Memory {
    /// The memory of one of the trainings that make up another.
    pub(crate) fn of_part(&self, part: usize) -> Self {
        Memory { state: self.state.clone(), part: [&self.part[..], &[part]].concat() }
    }

    /// Whether a training is at work that could go on after an interruption.
    pub(crate) fn is_running(&self) -> bool {
        self.lock().is_running
    }

    /// What an earlier training left, now that this one begins.
    pub(super) fn recall(&self) -> Option<Vec<u8>> {
        let mut state = self.lock();
        state.is_running = true;
        state.parts.get(&self.part).cloned()
    }

    pub(super) fn keep(&self, bytes: Vec<u8>) {
        self.lock().parts.insert(self.part.clone(), bytes);
    }

    pub(super) fn ends(&self) {
        self.lock().is_running = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code can fail while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: usize = self.lock().parts.values().map(Vec::len).sum();
        write!(f, "Memory({bytes} bytes)")
    }
}

/// If they are the same memory.
impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.state, &other.state) && self.part == other.part
    }
}
