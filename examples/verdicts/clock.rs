//! Times. Works that are compared take turns, so that whatever else runs on the machine slows all of them alike.

use std::hint::black_box;
use std::time::Instant;

use quadrivium::prelude::*;
use quadrivium::seeded;

use crate::claim::Estimate;
use crate::lab::{Outcome, SEEDS};
use crate::statistics;

pub type Work<'a> = Box<dyn Fn() -> Outcome<()> + 'a>;

/// Turns whose median is a time.
const TURNS: usize = 5;

/// Draws `n` rows, so many times.
pub fn draw<'a, T: 'a>(model: &'a dyn Distribution<T>, n: usize, times: usize) -> Work<'a> {
    Box::new(move || {
        for _ in 0..times {
            black_box(model.draw(n, &mut seeded(0))?);
        }
        Ok(())
    })
}

/// A figure of the seconds of the works, each the median of its turns: the mean over as many repetitions as there are
/// seeds.
pub fn figure(works: &[Work], figure: impl Fn(&[f64]) -> f64) -> Outcome<Estimate> {
    let mut figures = Vec::new();
    for _ in 0..SEEDS {
        let mut turns = vec![Vec::new(); works.len()];
        for _ in 0..TURNS {
            for (work, turns) in works.iter().zip(&mut turns) {
                let began = Instant::now();
                work()?;
                turns.push(began.elapsed().as_secs_f64());
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
