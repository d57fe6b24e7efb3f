//! Where claims are measured: seeds, streams, and models that several claims share.

use std::any::Any;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use quadrivium::numeric::rng::Streams;

use crate::claim::Estimate;
use crate::statistics;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Seeds of every figure that is a mean.
pub const SEEDS: u64 = 5;

/// A name, and a seed.
type Key = (&'static str, u64);

#[derive(Default)]
pub struct Lab {
    kept: RefCell<BTreeMap<Key, Rc<dyn Any>>>,
}

impl Lab {
    /// The streams of a seed, the same for every claim: what shares a seed shares its data.
    pub fn streams(&self, seed: u64) -> Streams {
        Streams::new(seed)
    }

    /// A figure of each seed.
    pub fn each<T>(&self, mut figure: impl FnMut(u64) -> Outcome<T>) -> Outcome<Vec<T>> {
        (0..SEEDS).map(&mut figure).collect()
    }

    /// The mean of a figure over the seeds, with its interval.
    pub fn mean(&self, figure: impl FnMut(u64) -> Outcome<f64>) -> Outcome<Estimate> {
        Ok(statistics::mean(&self.each(figure)?))
    }

    /// What was made for `seed` under `name`; made once.
    pub fn kept<T: 'static>(
        &self,
        name: &'static str,
        seed: u64,
        make: impl FnOnce() -> Outcome<T>,
    ) -> Outcome<Rc<T>> {
        if let Some(found) = self.kept.borrow().get(&(name, seed)) {
            return Ok(found.clone().downcast().map_err(|_| format!("{name} is kept as another type"))?);
        }
        let made = Rc::new(make()?);
        self.kept.borrow_mut().insert((name, seed), made.clone());
        Ok(made)
    }
}
