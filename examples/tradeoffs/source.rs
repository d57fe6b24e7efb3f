//! The data of the table: mixtures with a known density, Old Faithful, or a user's file.

use std::path::{Path, PathBuf};

use quadrivium::data::{Modes, Toy, dequantise, read_csv};
use quadrivium::ndarray::{Array2, ArrayView2, Axis};
use quadrivium::{Dataset, Error, Result, metrics, seeded};
use rand::seq::SliceRandom;

/// What the table can be made on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Name {
    /// 8 Gaussians on a circle, σ = 0.01.
    Ring,
    /// 5 × 5 Gaussians, σ = 0.05.
    Grid,
    /// Two half circles, σ = 0.1.
    Moons,
    /// FFJORD's checkerboard.
    Checkerboard,
    /// The geyser: 272 rows, real.
    Faithful,
}

#[derive(Debug, Clone)]
pub enum Source {
    Named(Name),
    Csv(PathBuf),
}

/// Rows to train on and rows to judge by.
pub struct Split {
    pub train: Dataset,
    pub test: Array2<f32>,
    /// Exact, in nats, where the truth is known.
    pub entropy: Option<f64>,
    /// Mean NLL of the test rows under one full-covariance Gaussian fitted to the training rows, where it is not.
    pub gaussian: Option<f64>,
    pub modes: Option<Modes>,
    /// Energy distance between two samples of the truth, or between train and test where only those exist.
    pub energy_floor: f64,
}

/// Training rows of the mixtures, as in the published protocols.
const TRAIN_ROWS: usize = 100_000;

/// Rows with an unknown density: this share is held out.
const HELD_OUT: f64 = 0.2;

impl Source {
    pub fn label(&self) -> String {
        match self {
            Source::Named(Name::Ring) => "ring".into(),
            Source::Named(Name::Grid) => "grid".into(),
            Source::Named(Name::Moons) => "moons".into(),
            Source::Named(Name::Checkerboard) => "checkerboard".into(),
            Source::Named(Name::Faithful) => "faithful".into(),
            Source::Csv(path) => path.file_name().map_or("csv".into(), |name| name.to_string_lossy().into()),
        }
    }

    /// The rows of a seed: `test_rows` fresh ones where the truth can be drawn from.
    pub fn split(&self, seed: u64, test_rows: usize) -> Result<Split> {
        let mut rng = seeded(seed ^ 0x5EED_DA7A);
        let toy = match self {
            Source::Named(Name::Ring) => Toy::ring8(),
            Source::Named(Name::Grid) => Toy::grid25(),
            Source::Named(Name::Moons) => Toy::moons(0.1)?,
            Source::Named(Name::Checkerboard) => Toy::checkerboard(),
            Source::Named(Name::Faithful) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/faithful.csv");
                let x = read_csv(path)?.x;
                // Recorded to the second and to the minute: spread over what the rounding hid, so that it has a density.
                return split_real(dequantise(x.view(), &[1.0 / 60.0, 1.0], &mut rng)?, seed);
            }
            Source::Csv(path) => return split_real(read_csv(path)?.x, seed),
        };
        let train = Dataset::new(toy.sample(TRAIN_ROWS, &mut rng))?;
        let test = toy.sample(test_rows, &mut rng);
        let energy_floor = metrics::energy_distance(toy.sample(test_rows, &mut rng).view(), test.view())?;
        Ok(Split { train, test, entropy: toy.entropy(), gaussian: None, modes: toy.modes(), energy_floor })
    }
}

/// A seeded shuffle, a fifth held out; distances on columns standardised by the training part.
fn split_real(x: Array2<f32>, seed: u64) -> Result<Split> {
    let mut order: Vec<usize> = (0..x.nrows()).collect();
    order.shuffle(&mut seeded(seed));
    let held_out = (HELD_OUT * x.nrows() as f64).round() as usize;
    if held_out < 2 || x.nrows() - held_out < 2 {
        return Err(Error::TooFewRows { what: "the file", got: x.nrows(), least: 10 });
    }
    let test = x.select(Axis(0), &order[..held_out]);
    let train = x.select(Axis(0), &order[held_out..]);
    let unit = Unit::of(train.view());
    let energy_floor =
        metrics::energy_distance(unit.apply(train.view()).view(), unit.apply(test.view()).view())?;
    let gaussian = Some(-gaussian(train.view(), test.view())?);
    Ok(Split { train: Dataset::new(train)?, test, entropy: None, gaussian, modes: None, energy_floor })
}

/// Mean log-density of `test` under the Gaussian with the mean and covariance of `train`.
fn gaussian(train: ArrayView2<f32>, test: ArrayView2<f32>) -> Result<f64> {
    let x = train.mapv(f64::from);
    let mean = x.mean_axis(Axis(0)).expect("rows");
    let centred = &x - &mean;
    let covariance = centred.t().dot(&centred) / x.nrows() as f64;
    let toy = Toy::mixture(&[1.0], mean.insert_axis(Axis(0)).view(), covariance.insert_axis(Axis(0)).view())?;
    Ok(toy.log_density(test)?.mean().expect("rows"))
}

/// Shift and scale of the training rows, so that a minute and an hour weigh the same in a distance.
pub struct Unit {
    shift: quadrivium::ndarray::Array1<f32>,
    scale: quadrivium::ndarray::Array1<f32>,
}

impl Unit {
    pub fn of(train: ArrayView2<f32>) -> Self {
        Unit { shift: train.mean_axis(Axis(0)).expect("rows"), scale: train.std_axis(Axis(0), 0.0) }
    }

    pub fn apply(&self, x: ArrayView2<f32>) -> Array2<f32> {
        (&x - &self.shift) / &self.scale
    }
}
