use quadrivium::ConditionKind;
use quadrivium::ndarray::{Array1, Array2, ArrayView1, Axis};
use quadrivium::numeric::rng::Rng;
use quadrivium::prelude::*;
use quadrivium::rand::Rng as _;
use quadrivium::worlds::Toy;

use crate::digits::Digits;

/// The number of equally spaced angles that are requested.
const ANGLES: usize = 8;

/// Rows x with a condition c, and a classifier that finds c from x.
pub struct World {
    pub about: &'static str,
    pub kind: ConditionKind,
    what: What,
}

enum What {
    /// One Gaussian for each class: centers (8, 2), and their width.
    Ring {
        centers: Array2<f64>,
        sigma: f64,
    },
    /// The moons at no angle.
    Moons(Toy),
    Digits(Digits),
}

impl World {
    pub fn ring() -> Self {
        let sigma = 0.1;
        let ring = Toy::ring(8, 1.0, sigma).expect("a ring");
        let centers = ring.modes().expect("a ring has modes").centers;
        World {
            about: "8 Gaussians (σ = 0.1) on a circle of radius 1; c: which",
            kind: ConditionKind::Class { classes: 8 },
            what: What::Ring { centers, sigma },
        }
    }

    pub fn moons() -> Self {
        let moons = Toy::moons(0.1).expect("moons");
        World {
            about: "two moons (σ = 0.1) turned by an angle; c: its cosine and sine",
            kind: ConditionKind::Vector { dim: 2 },
            what: What::Moons(moons),
        }
    }

    /// A quarter of the rows is held out to classify by.
    pub fn digits(rng: &mut Rng) -> std::result::Result<Self, Box<dyn std::error::Error>> {
        Ok(World {
            about: "1,797 handwritten digits of 8 × 8 pixels; c: the digit, told from held-out digits by 5 neighbors",
            kind: ConditionKind::Class { classes: 10 },
            what: What::Digits(Digits::read(rng)?),
        })
    }

    /// Number of conditions that are asked for.
    pub fn asked(&self) -> usize {
        match self.what {
            What::Ring { .. } | What::Moons(_) => ANGLES,
            What::Digits(_) => 10,
        }
    }

    pub fn condition(&self, asked: usize) -> Condition {
        match self.what {
            What::Moons(_) => {
                let (sin, cos) = angle(asked).sin_cos();
                Condition::vector(&[cos as f32, sin as f32])
            }
            _ => Condition::class(asked as u32),
        }
    }

    /// n rows to learn from, with their conditions; of the digits, those that there are.
    pub fn training(&self, n: usize, rng: &mut Rng) -> Result<Dataset> {
        match &self.what {
            What::Ring { .. } => {
                let classes = Array1::from_shape_fn(n, |_| rng.random_range(0..8));
                let mut x = Array2::zeros((n, 2));
                for (mut row, &class) in x.rows_mut().into_iter().zip(&classes) {
                    row.assign(&self.rows(class as usize, 1, rng).row(0));
                }
                Dataset::new(x)?.with_condition(Condition::Class(classes))
            }
            What::Moons(moons) => {
                let mut x = moons.sample(n, rng);
                let mut c = Array2::zeros((n, 2));
                for (mut x, mut c) in x.rows_mut().into_iter().zip(c.rows_mut()) {
                    let by = rng.random_range(0.0..std::f64::consts::TAU);
                    let (sin, cos) = by.sin_cos();
                    (c[0], c[1]) = (cos as f32, sin as f32);
                    (x[0], x[1]) = turned([x[0], x[1]], by);
                }
                Dataset::new(x)?.with_condition(Condition::Vector(c))
            }
            What::Digits(digits) => Ok(digits.train.clone()),
        }
    }

    /// n rows of p(x|c).
    pub fn rows(&self, asked: usize, n: usize, rng: &mut Rng) -> Array2<f32> {
        match &self.what {
            What::Ring { centers, sigma } => {
                let center = centers.row(asked);
                let one = Toy::ring(1, 0.0, *sigma).expect("one Gaussian").sample(n, rng);
                one + &center.mapv(|v| v as f32)
            }
            What::Moons(moons) => {
                let mut x = moons.sample(n, rng);
                for mut x in x.rows_mut() {
                    (x[0], x[1]) = turned([x[0], x[1]], angle(asked));
                }
                x
            }
            What::Digits(Digits { test: held_out, .. }) => {
                let Some(Condition::Class(labels)) = held_out.condition() else { unreachable!("labeled") };
                let rows: Vec<usize> =
                    (0..labels.len()).filter(|&row| labels[row] as usize == asked).take(n).collect();
                held_out.x().select(Axis(0), &rows)
            }
        }
    }

    /// ln p(x|c) of each row, where it is known.
    pub fn nats(&self, asked: usize, x: &Array2<f32>) -> Option<Array1<f64>> {
        match &self.what {
            What::Ring { centers, sigma } => {
                let constant = -(std::f64::consts::TAU * sigma * sigma).ln();
                let density =
                    |x: ArrayView1<f32>| constant - 0.5 * square(centers.row(asked), x) / (sigma * sigma);
                Some(x.rows().into_iter().map(density).collect())
            }
            // A turn changes no volume.
            What::Moons(moons) => {
                let mut back = x.clone();
                for mut x in back.rows_mut() {
                    (x[0], x[1]) = turned([x[0], x[1]], -angle(asked));
                }
                moons.log_density(back.view()).ok()
            }
            What::Digits(_) => None,
        }
    }

    /// The condition that the best classifier finds in x: exact, but for the digits.
    pub fn classify(&self, x: ArrayView1<f32>) -> usize {
        let scores: Vec<f64> = match &self.what {
            What::Ring { centers, .. } => {
                centers.rows().into_iter().map(|center| -square(center, x)).collect()
            }
            What::Moons(moons) => {
                let at = |k| {
                    let (a, b) = turned([x[0], x[1]], -angle(k));
                    let back = Array2::from_shape_fn((1, 2), |(_, i)| if i == 0 { a } else { b });
                    moons.log_density(back.view()).map_or(f64::NEG_INFINITY, |nats| nats[0])
                };
                (0..ANGLES).map(at).collect()
            }
            What::Digits(digits) => return digits.classify(x) as usize,
        };
        (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b])).expect("there are classes")
    }

    /// The share of true rows that the classifier gives their own condition; of the digits, of those to learn from.
    pub fn truth(&self, rng: &mut Rng) -> Result<f64> {
        if let What::Digits(digits) = &self.what {
            let (x, digit) = (digits.train.x().to_owned(), digits.train.condition().expect("labeled"));
            return Ok(digits.asked_share(&x, digit).expect("digits are classes"));
        }
        let n = 500;
        let right = (0..self.asked()).map(|asked| {
            self.rows(asked, n, rng).rows().into_iter().filter(|x| self.classify(*x) == asked).count()
        });
        Ok(right.sum::<usize>() as f64 / (n * self.asked()) as f64)
    }
}

fn angle(asked: usize) -> f64 {
    std::f64::consts::TAU * asked as f64 / ANGLES as f64
}

/// ‖x − center‖²
fn square(center: ArrayView1<f64>, x: ArrayView1<f32>) -> f64 {
    center.iter().zip(x).map(|(m, &x)| (m - f64::from(x)).powi(2)).sum()
}

/// A point rotated about the origin.
fn turned([x, y]: [f32; 2], by: f64) -> (f32, f32) {
    let ((sin, cos), (x, y)) = (by.sin_cos(), (f64::from(x), f64::from(y)));
    ((cos * x - sin * y) as f32, (sin * x + cos * y) as f32)
}
