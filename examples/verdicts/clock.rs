//! Times. Works that are compared take turns of about the same length, so that whatever else runs on the machine slows
//! all of them alike.

use std::hint::black_box;
use std::time::{Duration, Instant};

use quadrivium::prelude::*;
use quadrivium::seeded;

use crate::claim::Estimate;
use crate::lab::{Outcome, SEEDS};
use crate::statistics;

/// Turns of a repetition, at least, and how long all of them go on: many short turns are less disturbed than a few long
/// ones.
const TURNS: usize = 9;
const LEAST: Duration = Duration::from_millis(1500);

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
/// seeds. Turns are dealt to the repetitions one by one, so that a busy while on the machine disturbs a part of each, which
/// its median forgets, and not one of them as a whole.
pub fn figure(works: &[Work], figure: impl Fn(&[f64]) -> f64) -> Outcome<Estimate> {
    let mut repetitions = vec![vec![Vec::new(); works.len()]; SEEDS as usize];
    let began = Instant::now();
    while repetitions[0][0].len() < TURNS || began.elapsed() < LEAST {
        for repetition in &mut repetitions {
            for (work, turns) in works.iter().zip(repetition) {
                turns.push(work.turn()?);
            }
        }
    }
    let figures: Vec<f64> = repetitions
        .into_iter()
        .map(|turns| figure(&turns.into_iter().map(median).collect::<Vec<f64>>()))
        .collect();
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
