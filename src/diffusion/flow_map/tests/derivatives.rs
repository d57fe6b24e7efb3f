//! Gradients of the objectives against differences, with their targets held fixed.

use super::{OBJECTIVES, small};
use crate::diffusion::flow_map::network::MapNet;
use crate::diffusion::flow_map::objective::{Drawn, MapLoss, Scratch};
use crate::diffusion::flow_map::{FlowMapConfig, LearnedGuidance, MapObjective, Teacher};
use crate::diffusion::matching::{Lines, Pairing};
use crate::diffusion::{Diffusion, DiffusionConfig, FlowMatching, FlowMatchingConfig};
use crate::engine::{Batch, ConditionKind, Loss, Progress, Standardizer};
use crate::nn::{Activation, NetworkSpec, Weights};
use crate::numeric::Real;
use crate::numeric::rng::{Rng, seeded};
use crate::testing::{assert_close, check_gradient, loss_grad, normals};

/// A loss whose targets are those of fixed parameters.
#[derive(Debug)]
struct Fixed<'a> {
    loss: MapLoss<'a, f64>,
    p: Vec<f64>,
}

impl Loss<f64> for Fixed<'_> {
    type Row = f64;
    type Drawn = Drawn<f64>;
    type Workspace = Scratch<f64>;

    fn part_names(&self) -> &'static [&'static str] {
        Loss::<f64>::part_names(&self.loss)
    }

    fn transpose(&self, p: &[f64], t: &mut [f64]) {
        self.loss.transpose(p, t);
    }

    fn draw(&self, rows: usize, c: &[f64], progress: Progress, rng: &mut Rng, drawn: &mut Drawn<f64>) {
        self.loss.draw(rows, c, progress, rng, drawn);
    }

    fn loss_grad(
        &self,
        w: Weights<f64>,
        Batch { x, .. }: Batch<f64>,
        drawn: &Drawn<f64>,
        weight: f64,
        dp: Option<&mut [f64]>,
        parts: &mut [f64],
        scratch: &mut Scratch<f64>,
    ) -> f64 {
        let losses = self.loss.loss_towards(&self.p, w, x, drawn, weight, dp, scratch);
        parts.iter_mut().zip(losses).for_each(|(part, loss)| *part += loss);
        losses.iter().sum()
    }
}

/// Parameters none of which is zero, so that every path carries something.
fn random_params(net: &MapNet<f64>, seed: u64) -> Vec<f64> {
    let mut rng = seeded(seed);
    let mut p = vec![0.0; net.num_params()];
    net.init(&mut p, &mut rng);
    p.iter_mut().for_each(|p| *p += 0.2 * f64::normal(&mut rng));
    p
}

fn check(what: &str, config: &FlowMapConfig, teacher: Option<&Teacher>) {
    let (net, units) = (MapNet::<f64>::new(config).unwrap(), Standardizer::identity(config.dim));
    let loss = || MapLoss {
        net: &net,
        ends: Lines { source: &config.source, units: &units, pairing: config.pairing },
        objective: config.objective,
        diagonal: config.diagonal,
        dropout: 0.3,
        scales: config.guidance.map(|guidance| guidance.scales),
        teacher,
    };
    let (p, rows, rng) = (random_params(&net, 5), 6, &mut seeded(1));
    let mut x = normals(rows * config.dim, rng);
    let c = normals(rows * config.condition.width(), rng);
    // A row that is where the field fades out for part of its way, beyond the reach of the last.
    (x[0], x[3 * config.dim]) = (90.0, 16.0);
    let fixed = Fixed { loss: loss(), p: random_params(&net, 6) };
    let batch = Batch { x: &x, c: &c };
    check_gradient(what, &fixed, &p, rows, batch, |_| false);

    // In a training the targets are those of the parameters themselves.
    let (itself, mut drawn) = (Fixed { loss: loss(), p: p.clone() }, Drawn::default());
    itself.draw(rows, &c, crate::testing::PROGRESS, &mut seeded(7), &mut drawn);
    let (total, dp) = loss_grad(&loss(), &p, batch, &drawn);
    let (want, expected) = loss_grad(&itself, &p, batch, &drawn);
    assert_eq!((total, dp), (want, expected), "{what}");
}

fn tiny(objective: MapObjective) -> FlowMapConfig {
    let network = NetworkSpec::mlp([5, 4], Activation::Silu, 1);
    FlowMapConfig { network, time_features: 4, diagonal: 0.4, ..small(objective) }
}

#[test]
fn map_gradients_are_those_of_their_losses() {
    for objective in OBJECTIVES {
        for activation in [Activation::Silu, Activation::Tanh] {
            let network = NetworkSpec::mlp([5, 4], activation, 1);
            check(
                &format!("{objective:?}, {activation:?}"),
                &FlowMapConfig { network, ..tiny(objective) },
                None,
            );
        }
        let pairing = Pairing::OptimalTransport { rows: 8 };
        check(
            &format!("{objective:?}, matched"),
            &FlowMapConfig { dim: 3, pairing, ..tiny(objective) },
            None,
        );
        let condition = ConditionKind::Vector { dim: 2 };
        check(&format!("{objective:?}, conditional"), &FlowMapConfig { condition, ..tiny(objective) }, None);
        if let MapObjective::Consistency { .. } = objective {
            continue;
        }
        let guidance = Some(LearnedGuidance { scales: (1.0, 3.0), scale: 1.0 });
        check(
            &format!("{objective:?}, guided"),
            &FlowMapConfig { condition, guidance, ..tiny(objective) },
            None,
        );
    }
    let network = NetworkSpec::Residual { width: 4, blocks: 1, activation: Activation::Silu, octaves: 1 };
    check("residual", &FlowMapConfig { network, ..tiny(MapObjective::Lagrangian) }, None);
}

#[test]
fn distilled_gradients_are_those_of_their_losses() {
    let condition = ConditionKind::Vector { dim: 2 };
    let network = || NetworkSpec::mlp([6], Activation::Silu, 0);
    // Without a training their networks are zero: one that is random has something to say.
    let config = DiffusionConfig { network: network(), condition, ..Default::default() };
    let mut diffusion = Diffusion::new(config, &mut seeded(0)).unwrap();
    let config = FlowMatchingConfig { network: network(), condition, ..Default::default() };
    let mut matching = FlowMatching::new(config, &mut seeded(0)).unwrap();
    let mut rng = seeded(3);
    for learned in [&mut diffusion.learned, &mut matching.learned] {
        let average = &mut std::sync::Arc::make_mut(learned).parameters.average;
        average.iter_mut().for_each(|p| *p += 0.3 * f32::normal(&mut rng));
    }
    for teacher in [Teacher::from(&diffusion), Teacher::from(&matching)] {
        for objective in OBJECTIVES {
            let guidance = Some(LearnedGuidance::default());
            let config = FlowMapConfig { condition, guidance, ..tiny(objective) };
            check(&format!("{teacher:?}, {objective:?}"), &config, Some(&teacher));
        }
    }
}

#[test]
fn jumps_are_drawn_over_the_triangle() {
    let config = tiny(MapObjective::Lagrangian);
    let (net, units) = (MapNet::<f64>::new(&config).unwrap(), Standardizer::identity(2));
    let loss = MapLoss {
        net: &net,
        ends: Lines { source: &config.source, units: &units, pairing: config.pairing },
        objective: config.objective,
        diagonal: 0.25,
        dropout: 0.0,
        scales: None,
        teacher: None,
    };
    let (mut drawn, mut rng) = (Drawn::default(), seeded(2));
    let (mut on, mut length, mut off) = (0, 0.0, 0.0);
    for _ in 0..200 {
        loss.draw(50, &[], crate::testing::PROGRESS, &mut rng, &mut drawn);
        on += drawn.on_diagonal;
        for (r, (span, via)) in drawn.spans.iter().zip(&drawn.via).enumerate() {
            assert!(0.0 <= span.from && span.from <= *via && *via <= span.to && span.to < 1.0);
            assert_eq!(r < drawn.on_diagonal, span.length() == 0.0);
            length += span.length();
            off += f64::from(u8::from(span.length() > 0.0));
        }
    }
    // Of 10,000 rows; the mean of |a − b| of two uniform numbers is ⅓, its standard deviation √(1/18).
    assert_close("share", 4.0 * 0.5 * 200f64.sqrt() / 10_000.0, &[f64::from(on as u32) / 10_000.0], &[0.25]);
    assert!((length / off - 1.0 / 3.0).abs() < 4.0 / (18f64 * off).sqrt(), "{}", length / off);
}
