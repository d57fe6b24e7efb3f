//! Times. Works that are compared take turns of about the same length, so that whatever else runs on the machine slows
//! all of them alike.

use std::hint::black_box;
use std::time::Instant;

use quadrivium::prelude::*;
use quadrivium::seeded;

use crate::claim::Estimate;
use crate::lab::{Outcome, SEEDS};
use crate::statistics;

/// Turns whose median is a time. Many short ones are less disturbed than a few long ones.
const TURNS: usize = 9;

/// Something that is timed, done so many times per turn.
pub struct Work<'a> {
    times: usize,
    once: Box<dyn Fn() -> Outcome<()> + 'a>,
}

impl<'a> Work<'a> {
    pub fn new(times: usize, once: impl Fn() -> Outcome<()> + 'a) -> Self {
        Work { times, once: Box::new(once) }
    }

    /// Draws `n` rows.
    pub fn draw<T: 'a>(times: usize, model: &'a dyn Distribution<T>, n: usize) -> Self {
        Work::new(times, move || {
            black_box(model.draw(n, &mut seeded(0))?);
            Ok(())
        })
    }

    /// The seconds of one time.
    fn turn(&self) -> Outcome<f64> {
        let began = Instant::now();
        for _ in 0..self.times {
            (self.once)()?;
        }
        Ok(began.elapsed().as_secs_f64() / self.times as f64)
    }
}

/// A figure of the seconds of the works, each the median of its turns: the mean over as many repetitions as there are
/// seeds.
pub fn figure(works: &[Work], figure: impl Fn(&[f64]) -> f64) -> Outcome<Estimate> {
    let mut figures = Vec::new();
    for _ in 0..SEEDS {
        let mut turns = vec![Vec::new(); works.len()];
        for _ in 0..TURNS {
            for (work, turns) in works.iter().zip(&mut turns) {
                turns.push(work.turn()?);
            }
        }
        let medians: Vec<f64> = turns.into_iter().map(median).collect();
        figures.push(figure(&medians));
    }
    Ok(statistics::mean(&figures))
}

/// The time of the first work over that of the second.
pub fn ratio(works: [Work; 2]) -> Outcome<Estimate> {
    figure(&works, |seconds| seconds[0] / seconds[1])
}

/// The exponent of the time as a power of the size.
pub fn growth(sizes: &[f64], works: &[Work]) -> Outcome<Estimate> {
    figure(works, |seconds| statistics::exponent(sizes, seconds).mean)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
