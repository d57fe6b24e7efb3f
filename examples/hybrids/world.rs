//! Rows to learn from and to judge by.

use quadrivium::engine::Standardizer;
use quadrivium::metrics::{self, Floor};
use quadrivium::ndarray::{Array1, Array2, ArrayView2, Axis, s};
use quadrivium::numeric::rng::Rng;
use quadrivium::tables::shuffle_rows;
use quadrivium::worlds::Toy;
use quadrivium::{ConditionKind, prelude::*};

use crate::digits::Digits;

/// Pairs of samples of the truth that a floor is found by.
const FLOOR_PAIRS: usize = 8;

pub type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Data {
    /// 8 Gaussians on a circle.
    Ring,
    /// 25 Gaussians on a grid.
    Grid,
    /// 1,797 handwritten digits of 8 × 8 pixels, given which digit.
    Digits,
}

pub struct World {
    pub name: String,
    pub train: Dataset,
    /// Rows of the truth that no model has seen, with their conditions.
    pub test: Dataset,
    /// ln p of the test rows, where it is known.
    pub truth: Option<Array1<f64>>,
    pub toy: Option<Toy>,
    digits: Option<Digits>,
    /// The energy distance of a perfect sampler.
    pub floor: Floor,
    units: Standardizer,
}

impl World {
    pub fn new(data: Data, quick: bool, rng: &mut Rng) -> Outcome<Self> {
        let name = format!("{data:?}").to_lowercase();
        let (rows, tested) = if quick { (1_000, 300) } else { (5_000, 2_000) };
        let toy = match data {
            Data::Ring => Toy::ring8(),
            Data::Grid => Toy::grid25(),
            Data::Digits => return Self::digits(name, rng),
        };
        let units = Standardizer::identity(toy.dim());
        let (train, test) = (Dataset::new(toy.sample(rows, rng))?, Dataset::new(toy.sample(tested, rng))?);
        let pair = |_| {
            let [a, b] = [(); 2].map(|()| toy.sample(tested, rng));
            metrics::energy_distance(a.view(), b.view())
        };
        let floor = Floor::of(&(0..FLOOR_PAIRS).map(pair).collect::<Result<Vec<_>>>()?, 1)?;
        let truth = Some(toy.log_density(test.x())?);
        Ok(World { name, train, test, truth, toy: Some(toy), digits: None, floor, units })
    }

    fn digits(name: String, rng: &mut Rng) -> Outcome<Self> {
        let digits = Digits::read(rng)?;
        let (train, test) = (digits.train.clone(), digits.test.clone());
        let units = Standardizer::identity(64).fitted(train.x())?;
        let mut pool = units.apply(train.x().to_owned());
        let pair = |_| {
            shuffle_rows(&mut pool, rng);
            let (one, rest) = pool.view().split_at(Axis(0), test.rows());
            metrics::energy_distance(one, rest.slice(s![..test.rows(), ..]))
        };
        let floor = Floor::of(&(0..FLOOR_PAIRS).map(pair).collect::<Result<Vec<_>>>()?, 1)?;
        Ok(World { name, train, test, truth: None, toy: None, digits: Some(digits), floor, units })
    }

    pub fn kind(&self) -> ConditionKind {
        if self.toy.is_some() { ConditionKind::None } else { ConditionKind::Class { classes: 10 } }
    }

    /// The energy distance to the test rows, in standard deviations of a column where it has units.
    pub fn distance(&self, drawn: ArrayView2<f32>) -> Result<f64> {
        let in_units = |x: ArrayView2<f32>| self.units.apply(x.to_owned());
        metrics::energy_distance(in_units(drawn).view(), in_units(self.test.x()).view())
    }

    /// The share of rows that the classifier gives the class that was asked for.
    pub fn asked_share(&self, x: &Array2<f32>, asked: &Condition) -> Option<f64> {
        self.digits.as_ref()?.asked_share(x, asked)
    }
}
