//! Tables whose density is known.

use std::f64::consts::{LN_2, PI, TAU};

use clap::ValueEnum;
use ndarray_rand::rand_distr::{
    Beta, Cauchy, Distribution as _, Gamma, LogNormal, Poisson, StandardNormal, StudentT,
};
use quadrivium::hybrid::{Column, ColumnScale};
use quadrivium::ndarray::{Array1, Array2, ArrayView1};
use quadrivium::numeric::rng::Rng;
use quadrivium::rand::Rng as _;
use quadrivium::tables::Step;

pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum)]
pub enum Data {
    /// Incomes, days, children, shares, gains and prices of 2,000 people.
    People,
    /// Student's t of two degrees of freedom, two columns.
    Student,
    /// Cauchy's distribution, two columns.
    Cauchy,
    /// Normal rows, and one of them a million standard deviations away.
    Outlier,
}

/// The share of gains that are zero.
const ZEROS: f64 = 0.8;

impl Data {
    pub const ALL: [Data; 4] = [Data::People, Data::Student, Data::Cauchy, Data::Outlier];

    pub fn about(self) -> &'static str {
        match self {
            Data::People => {
                "2,000 people: income (lognormal), day of a month, children (Poisson), share (beta), gain (80 % zeros, else \
                 lognormal), price (gamma); units found in the rows."
            }
            Data::Student => "Student's t of two degrees of freedom, two columns, 5,000 rows; gaussianized.",
            Data::Cauchy => "Cauchy, two columns, 5,000 rows; gaussianized.",
            Data::Outlier => {
                "Standard normal, two columns, 1,000 rows, one of them a million away; units found in the rows; test rows are \
                 clean."
            }
        }
    }

    /// What is said of its columns.
    pub fn said(self) -> Vec<Column> {
        let scaled = |scale: ColumnScale| vec![Column { scale, ..Column::default() }; 2];
        match self {
            Data::People => STEPS
                .iter()
                .map(|&width| {
                    let step = (width > 0.0).then_some(Step { width, offset: 0.0 });
                    Column { step, ..Column::default() }
                })
                .collect(),
            Data::Student | Data::Cauchy => scaled(ColumnScale::Gaussianized),
            Data::Outlier => scaled(ColumnScale::Auto),
        }
    }

    /// Rows to learn from.
    pub fn rows(self, rng: &mut Rng) -> Array2<f32> {
        match self {
            Data::People => self.test(2_000, rng),
            Data::Student | Data::Cauchy => self.test(5_000, rng),
            Data::Outlier => {
                let mut x = self.test(1_000, rng);
                x[[17, 0]] = 1e6;
                x
            }
        }
    }

    /// Rows to score.
    pub fn test(self, n: usize, rng: &mut Rng) -> Array2<f32> {
        let width = if self == Data::People { STEPS.len() } else { 2 };
        let mut x = Array2::zeros((n, width));
        for mut row in x.rows_mut() {
            match self {
                Data::People => person(rng).iter().zip(&mut row).for_each(|(&value, x)| *x = value as f32),
                Data::Student => row.fill_with_of(rng, &StudentT::new(2.0).expect("two degrees of freedom")),
                Data::Cauchy => row.fill_with_of(rng, &Cauchy::new(0.0, 1.0).expect("a width of 1")),
                Data::Outlier => row.fill_with_of(rng, &StandardNormal),
            }
        }
        x
    }

    /// Numbers on a grid, spread over it.
    pub fn spread(self, x: &Array2<f32>, rng: &mut Rng) -> Array2<f32> {
        let mut x = x.clone();
        if self == Data::People {
            for mut row in x.rows_mut() {
                row.iter_mut()
                    .zip(STEPS)
                    .for_each(|(x, step)| *x += step as f32 * (rng.random::<f32>() - 0.5));
            }
        }
        x
    }

    /// The nearest numbers of the grid.
    pub fn rounded(self, mut x: Array2<f32>) -> Array2<f32> {
        if self == Data::People {
            for mut row in x.rows_mut() {
                for (x, width) in row.iter_mut().zip(STEPS).filter(|(_, width)| *width > 0.0) {
                    *x = Step { width, offset: 0.0 }.nearest((*x).into()) as f32;
                }
            }
        }
        x
    }

    /// Whether a row is one that the table could have.
    pub fn holds(self, row: &[f32]) -> bool {
        match (self, row) {
            (Data::People, &[income, day, children, share, gain, price]) => {
                income > 0.0
                    && (1.0..=31.0).contains(&day)
                    && children >= 0.0
                    && (0.0..=1.0).contains(&share)
                    && gain >= 0.0
                    && price > 0.0
            }
            _ => row.iter().all(|x| x.is_finite()),
        }
    }

    /// The share of zeros in the column where most are.
    pub fn zeros(self, x: &Array2<f32>) -> Option<f64> {
        let share = |gain: ArrayView1<f32>| {
            gain.iter().filter(|gain| **gain == 0.0).count() as f64 / gain.len() as f64
        };
        (self == Data::People).then(|| share(x.column(4)))
    }

    /// ln p of each row: densities of numbers, and of those on a grid per unit; whole numbers and zeros have probabilities.
    pub fn log_density(self, x: &Array2<f32>) -> Array1<f64> {
        let column = |x: f64| match self {
            // Γ(3/2)/(√(2π) Γ(1)) (1 + x²/2)^(−3/2) = (1 + x²/2)^(−3/2)/(2√2)
            Data::Student => -1.5 * (0.5 * x * x).ln_1p() - 1.5 * LN_2,
            Data::Cauchy => -PI.ln() - (x * x).ln_1p(),
            _ => -0.5 * (x * x + TAU.ln()),
        };
        let nats = |row: ArrayView1<f32>| match self {
            Data::People => log_person(&row.mapv(f64::from).to_vec()),
            _ => row.iter().map(|&x| column(x.into())).sum(),
        };
        x.rows().into_iter().map(nats).collect()
    }
}

/// Fills a row with draws of a distribution.
trait Fill {
    fn fill_with_of(&mut self, rng: &mut Rng, of: &impl ndarray_rand::rand_distr::Distribution<f64>);
}

impl Fill for quadrivium::ndarray::ArrayViewMut1<'_, f32> {
    fn fill_with_of(&mut self, rng: &mut Rng, of: &impl ndarray_rand::rand_distr::Distribution<f64>) {
        self.iter_mut().for_each(|x| *x = of.sample(rng) as f32);
    }
}

/// Of income, day, children, share, gain and price; 0 where numbers are not rounded.
const STEPS: [f64; 6] = [0.01, 1.0, 1.0, 0.0, 0.01, 0.01];

fn person(rng: &mut Rng) -> [f64; 6] {
    let cents = |value: f64| (100.0 * value).round() / 100.0;
    let lognormal = |mean, sd| LogNormal::new(mean, sd).expect("a positive spread");
    let gain = if rng.random_bool(ZEROS) { 0.0 } else { cents(lognormal(7.0, 1.0).sample(rng)) };
    [
        cents(lognormal(10.3, 0.9).sample(rng)),
        f64::from(rng.random_range(1..32u8)),
        Poisson::new(1.3).expect("a positive mean").sample(rng),
        f64::max(Beta::new(0.7, 2.0).expect("positive parameters").sample(rng), 1e-6),
        gain,
        cents(Gamma::new(3.0, 9.0).expect("positive parameters").sample(rng)),
    ]
}

fn log_person(row: &[f64]) -> f64 {
    let &[income, day, children, share, gain, price] = row else { return f64::NAN };
    let lognormal =
        |x: f64, mean: f64, sd: f64| -0.5 * (((x.ln() - mean) / sd).powi(2) + TAU.ln()) - sd.ln() - x.ln();
    let factorial: f64 = (1..=children as u32).map(|k| f64::from(k).ln()).sum();
    let gain = match gain {
        0.0 => ZEROS.ln(),
        gain => (1.0 - ZEROS).ln() + lognormal(gain, 7.0, 1.0),
    };
    debug_assert!((1.0..=31.0).contains(&day));
    lognormal(income, 10.3, 0.9) - 31f64.ln() + children * 1.3f64.ln() - 1.3 - factorial
        // 1/B(0.7, 2) = 0.7 · 1.7
        + (0.7f64 * 1.7).ln() - 0.3 * share.ln() + (1.0 - share).ln()
        + gain
        // x² e^(−x/9)/(2 · 9³)
        + 2.0 * price.ln()
        - price / 9.0
        - LN_2
        - 3.0 * 9f64.ln()
}
