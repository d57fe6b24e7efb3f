//! The data of the table: mixtures with a known density, Old Faithful, or a user's file.

use std::path::{Path, PathBuf};

use quadrivium::engine::Standardizer;
use quadrivium::ndarray::{Array1, Array2, ArrayView2, Axis, s};
use quadrivium::numeric::rng::{Rng, Streams};
use quadrivium::tables::{dequantize, read_table, shuffle_rows};
use quadrivium::worlds::{Modes, Toy};
use quadrivium::{Dataset, Result, metrics};

/// The data sets on which the table can be made.
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
    /// The distribution itself, where it is known.
    #[cfg(feature = "plot")]
    pub toy: Option<Toy>,
    /// What was done to the rows, where that matters for the figures.
    pub note: &'static str,
    /// Exact, in nats, where the truth is known.
    pub entropy: Option<f64>,
    /// log p of each test row: under the truth where it is known, else under one full-covariance Gaussian
    /// fitted to the training rows; `None` if columns depend on each other linearly.
    pub reference: Option<Array1<f64>>,
    pub modes: Option<Modes>,
    /// The units in which distances are taken: the data's own, or standardized by the training rows for real
    /// columns.
    pub units: Standardizer,
    /// Rows of a draw that are compared with `test`.
    pub drawn: usize,
    /// Energy distances of [`FLOOR_PAIRS`] pairs of samples as large as a draw and `test`: independent ones of the
    /// truth or, where it is unknown, random splits of all rows.
    pub floors: Vec<f64>,
}

/// The number of sample pairs that each seed adds to the floor.
const FLOOR_PAIRS: usize = 20;

/// Training rows of the mixtures, as in the published protocols.
const TRAIN_ROWS: usize = 100_000;

/// For rows with an unknown density, one of this many is held out.
const HELD_OUT: usize = 5;

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

    /// The rows of a seed: `test_rows` fresh ones to judge by if the truth can be drawn from, else at most as many.
    pub fn split(&self, seed: u64, test_rows: usize) -> Result<Split> {
        // A stream of its own: the models' randomness must not depend on the data's.
        let mut rng = Streams::new(seed).stream(0);
        let toy = match self {
            Source::Named(Name::Ring) => Toy::ring8(),
            Source::Named(Name::Grid) => Toy::grid25(),
            Source::Named(Name::Moons) => Toy::moons(0.1)?,
            Source::Named(Name::Checkerboard) => Toy::checkerboard(),
            Source::Named(Name::Faithful) => {
                let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/faithful.csv");
                let x = dequantize(read_table(path)?.x.view(), &[1.0 / 60.0, 1.0], &mut rng)?;
                let note = "Eruptions were recorded to the second and waiting times to the minute: uniform noise of those widths is \
                            added, so that they have a density. ";
                return split_real(x, note, test_rows, &mut rng);
            }
            Source::Csv(path) => {
                let note = "Rows are taken as they stand: if values repeat (rounded columns), first add noise as wide as the \
                            rounding, or a flexible density grows spikes. ";
                return split_real(read_table(path)?.x, note, test_rows, &mut rng);
            }
        };
        let train = Dataset::new(toy.sample(TRAIN_ROWS, &mut rng))?;
        let test = toy.sample(test_rows, &mut rng);
        let pair = |_| {
            let [a, b] = [(); 2].map(|()| toy.sample(test_rows, &mut rng));
            metrics::energy_distance(a.view(), b.view())
        };
        let floors = (0..FLOOR_PAIRS).map(pair).collect::<Result<_>>()?;
        Ok(Split {
            units: Standardizer::identity(toy.dim()),
            note: "",
            entropy: toy.entropy(),
            reference: Some(toy.log_density(test.view())?),
            train,
            test,
            modes: toy.modes(),
            drawn: test_rows,
            floors,
            #[cfg(feature = "plot")]
            toy: Some(toy),
        })
    }
}

fn split_real(mut x: Array2<f32>, note: &'static str, most: usize, rng: &mut Rng) -> Result<Split> {
    shuffle_rows(&mut x, rng);
    let rows = x.nrows();
    let (train, test) = Dataset::new(x.clone())?.split(rows - rows.div_ceil(HELD_OUT))?;
    let units = Standardizer::identity(train.dim()).fitted(train.x())?;
    // Distances grow with the square of the rows.
    let test = test.x().slice(s![..test.rows().min(most), ..]).to_owned();
    let drawn = train.rows().min(most);
    let mut pool = units.apply(x);
    let split = |_| {
        shuffle_rows(&mut pool, rng);
        let (one, rest) = pool.view().split_at(Axis(0), drawn);
        metrics::energy_distance(one, rest.slice(s![..test.nrows(), ..]))
    };
    let floors = (0..FLOOR_PAIRS).map(split).collect::<Result<_>>()?;
    let reference = gaussian(train.x(), test.view());
    Ok(Split {
        train,
        test,
        note,
        entropy: None,
        reference,
        modes: None,
        units,
        drawn,
        floors,
        #[cfg(feature = "plot")]
        toy: None,
    })
}

/// log p of `test` under the Gaussian with the mean and covariance of `train`, if that has a density.
fn gaussian(train: ArrayView2<f32>, test: ArrayView2<f32>) -> Option<Array1<f64>> {
    let x = train.mapv(f64::from);
    let mean = x.mean_axis(Axis(0))?;
    let centered = &x - &mean;
    let covariance = centered.t().dot(&centered) / x.nrows() as f64;
    let (mean, covariance) = (mean.insert_axis(Axis(0)), covariance.insert_axis(Axis(0)));
    let toy = Toy::mixture(&[1.0], mean.view(), covariance.view()).ok()?;
    toy.log_density(test).ok()
}
