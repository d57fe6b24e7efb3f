//! Densities that are known exactly, in addition to the library's toys: curved, heavy-tailed, with edges, of 8 and 16
//! columns.

use std::f64::consts::TAU;

use quadrivium::numeric::Real;
use quadrivium::numeric::rng::{Rng, seeded};
use quadrivium::rand::Rng as _;

/// Fills a row with a draw.
type Draw = dyn Fn(&mut Rng, &mut [f64]);

/// ln p of a row.
type LogDensity = dyn Fn(&[f64]) -> f64;

/// A distribution with its density.
pub struct Density {
    pub name: &'static str,
    pub dim: usize,
    pub draw: Box<Draw>,
    pub log_density: Box<LogDensity>,
}

fn normal(rng: &mut Rng) -> f64 {
    f64::normal(rng)
}

/// ln N(x; mean, sd²).
fn log_normal(x: f64, mean: f64, sd: f64) -> f64 {
    -0.5 * ((x - mean) / sd).powi(2) - sd.ln() - 0.5 * TAU.ln()
}

/// Independent, identically distributed columns.
fn independent(
    name: &'static str,
    dim: usize,
    draw: impl Fn(&mut Rng) -> f64 + 'static,
    log_density: impl Fn(f64) -> f64 + 'static,
) -> Density {
    Density {
        name,
        dim,
        draw: Box::new(move |rng, x| x.iter_mut().for_each(|x| *x = draw(rng))),
        log_density: Box::new(move |x| x.iter().map(|&x| log_density(x)).sum()),
    }
}

pub fn all() -> Vec<Density> {
    let chains = [chain("chain10", 10), chain("chain16", 16), chain("chain30", 30)];
    let others = [banana(), laplace(), student(), annulus(), mixture(), incomes(), edged()];
    others.into_iter().chain(chains).collect()
}

/// x₂ about the square of x₁.
fn banana() -> Density {
    Density {
        name: "banana",
        dim: 2,
        draw: Box::new(|rng, x| {
            x[0] = normal(rng);
            x[1] = x[0] * x[0] + 0.5 * normal(rng);
        }),
        log_density: Box::new(|x| log_normal(x[0], 0.0, 1.0) + log_normal(x[1], x[0] * x[0], 0.5)),
    }
}

fn laplace() -> Density {
    let draw = |rng: &mut Rng| {
        let u: f64 = rng.random();
        (1.0 - u).ln() * if rng.random() { 1.0 } else { -1.0 }
    };
    independent("laplace", 2, draw, |x| -x.abs() - 2f64.ln())
}

/// Student's t with two degrees of freedom: its variance is infinite.
fn student() -> Density {
    let draw = |rng: &mut Rng| {
        let u = rng.random::<f64>().clamp(1e-12, 1.0 - 1e-12);
        (2.0 * u - 1.0) / (2.0 * u * (1.0 - u)).sqrt()
    };
    independent("t2", 2, draw, |x| -1.5 * (1.0 + 0.5 * x * x).ln() - 0.5 * 8f64.ln())
}

/// Uniform between two circles.
fn annulus() -> Density {
    let (inner, outer) = (0.8f64, 1.0f64);
    let area = 0.5 * TAU * (outer * outer - inner * inner);
    Density {
        name: "annulus",
        dim: 2,
        draw: Box::new(move |rng, x| {
            let share: f64 = rng.random();
            let r = (inner * inner + share * (outer * outer - inner * inner)).sqrt();
            let angle = TAU * rng.random::<f64>();
            x.copy_from_slice(&[r * angle.cos(), r * angle.sin()]);
        }),
        log_density: Box::new(move |x| {
            // A row that f32 has rounded across an edge counts as inside.
            let r = x[0].hypot(x[1]);
            let inside = (inner - 1e-6..=outer + 1e-6).contains(&r);
            if inside { -area.ln() } else { f64::NEG_INFINITY }
        }),
    }
}

/// Ten Gaussians with unequal weights in eight columns, each stretched along its own direction.
fn mixture() -> Density {
    const DIM: usize = 8;
    struct Component {
        weight: f64,
        mean: [f64; DIM],
        along: [f64; DIM],
    }
    // N(mean, s²(I + 8 a·aᵀ)), ‖a‖ = 1.
    const S: f64 = 0.7;
    const STRETCH: f64 = 8.0;
    let rng = &mut seeded(8);
    let total: f64 = (1..=10).map(f64::from).sum();
    let components: Vec<Component> = (1..=10)
        .map(|k| {
            let mean = std::array::from_fn(|_| 2.0 * normal(rng));
            let along: [f64; DIM] = std::array::from_fn(|_| normal(rng));
            let norm = along.iter().map(|a| a * a).sum::<f64>().sqrt();
            Component { weight: f64::from(k) / total, mean, along: along.map(|a| a / norm) }
        })
        .collect();
    let components = std::rc::Rc::new(components);
    let drawn = components.clone();
    Density {
        name: "mixture8",
        dim: DIM,
        draw: Box::new(move |rng, x| {
            let mut u: f64 = rng.random();
            let found = drawn.iter().find(|c| {
                u -= c.weight;
                u < 0.0
            });
            let Component { mean, along, .. } = found.unwrap_or(&drawn[9]);
            let far = ((1.0 + STRETCH).sqrt() - 1.0) * S;
            let e: [f64; DIM] = std::array::from_fn(|_| normal(rng));
            let dot: f64 = e.iter().zip(along).map(|(e, a)| e * a).sum();
            for i in 0..DIM {
                x[i] = mean[i] + S * e[i] + far * dot * along[i];
            }
        }),
        log_density: Box::new(move |x| {
            let constant = -(DIM as f64) * (S.ln() + 0.5 * TAU.ln()) - 0.5 * (1.0 + STRETCH).ln();
            let logs: Vec<f64> = components
                .iter()
                .map(|Component { weight, mean, along }| {
                    let e: [f64; DIM] = std::array::from_fn(|i| (x[i] - mean[i]) / S);
                    let dot: f64 = e.iter().zip(along).map(|(e, a)| e * a).sum();
                    let square: f64 = e.iter().map(|e| e * e).sum();
                    // Sherman & Morrison 1950: (I + c·a·aᵀ)⁻¹ = I − c/(1 + c)·a·aᵀ.
                    weight.ln() + constant - 0.5 * (square - STRETCH / (1.0 + STRETCH) * dot * dot)
                })
                .collect();
            let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            most + logs.iter().map(|l| (l - most).exp()).sum::<f64>().ln()
        }),
    }
}

/// x_i = 0.9 x_{i−1} + noise, columns of variance 1.
fn chain(name: &'static str, dim: usize) -> Density {
    let sd = (1f64 - 0.81).sqrt();
    Density {
        name,
        dim,
        draw: Box::new(move |rng, x| {
            x[0] = normal(rng);
            for i in 1..x.len() {
                x[i] = 0.9 * x[i - 1] + sd * normal(rng);
            }
        }),
        log_density: Box::new(move |x| {
            log_normal(x[0], 0.0, 1.0) + x.windows(2).map(|x| log_normal(x[1], 0.9 * x[0], sd)).sum::<f64>()
        }),
    }
}

fn incomes() -> Density {
    let log_density =
        |x: f64| if x > 0.0 { log_normal(x.ln(), 3.0, 0.9) - x.ln() } else { f64::NEG_INFINITY };
    independent("lognormal", 2, |rng| (3.0 + 0.9 * normal(rng)).exp(), log_density)
}

/// A column with two edges and one with one.
fn edged() -> Density {
    Density {
        name: "edged",
        dim: 2,
        draw: Box::new(|rng, x| {
            x[0] = rng.random();
            x[1] = -(1.0 - rng.random::<f64>()).ln();
        }),
        log_density: Box::new(|x| {
            let inside = (0.0..=1.0).contains(&x[0]) && x[1] >= 0.0;
            if inside { -x[1] } else { f64::NEG_INFINITY }
        }),
    }
}
