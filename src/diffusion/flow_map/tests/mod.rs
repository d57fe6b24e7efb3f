//! Flow maps against maps that are known, and their views.

mod derivatives;

use std::sync::Arc;

use ndarray::{Array2, array};

use super::network::Span;
use super::{FlowMap, FlowMapConfig, LearnedGuidance, MapObjective, Teacher};
use crate::diffusion::network::At;
use crate::diffusion::{Diffusion, DiffusionConfig, FlowMatching, FlowMatchingConfig, Guidance};
use crate::error::Error;
use crate::model::*;
use crate::nn::{Activation, NetworkSpec};
use crate::numeric::rng::seeded;
use crate::testing::{Ring, moons, normals};
use crate::worlds::Toy;

const OBJECTIVES: [MapObjective; 4] = [
    MapObjective::Lagrangian,
    MapObjective::Eulerian,
    MapObjective::Progressive,
    MapObjective::Consistency { stages: 6 },
];

fn small(objective: MapObjective) -> FlowMapConfig {
    let network = NetworkSpec::mlp([32, 32], Activation::Silu, 0);
    FlowMapConfig { network, objective, whiten: false, ..Default::default() }
}

/// The correlation of [`correlated`].
const RHO: f64 = 0.8;

/// Two columns of variance 1 with that correlation.
fn correlated(rows: usize, seed: u64) -> Array2<f32> {
    let covariance = array![[[1.0, RHO], [RHO, 1.0]]];
    let toy = Toy::mixture(&[1.0], array![[0.0, 0.0]].view(), covariance.view()).unwrap();
    toy.sample(rows, &mut seeded(seed))
}

/// Where the flow takes a row: in each principal direction, of variance λ = 1 ± ρ, x_t has variance s(t) = t²λ +
/// (1 − t)², and the flow keeps x_t/√s(t), so X_{s→t}(x) = x √(s(t)/s(s)).
fn carried(span: Span, x: &[f32]) -> [f64; 2] {
    let factor = |lambda: f64| {
        let variance = |t: f64| t * t * lambda + (1.0 - t).powi(2);
        (variance(span.to) / variance(span.from)).sqrt()
    };
    let (sum, difference) = (f64::from(x[0] + x[1]) / 2.0, f64::from(x[0] - x[1]) / 2.0);
    let (sum, difference) = (factor(1.0 + RHO) * sum, factor(1.0 - RHO) * difference);
    [sum + difference, sum - difference]
}

fn trained(mut model: FlowMap, steps: usize) -> FlowMap {
    let options = TrainOptions { steps, ..Default::default() };
    let data = Dataset::new(correlated(5_000, 1)).unwrap();
    model.train(&data, &options, &mut seeded(3), &mut NoObserver).unwrap();
    model
}

/// The root mean square of what a jump misses, of rows as they are at the time it starts from.
fn missed(model: &FlowMap, span: Span) -> f64 {
    let (mut pass, mut sum) = (Default::default(), 0.0);
    let noise: Vec<f32> = normals(1000, &mut seeded(7));
    let before = Span { from: 0.0, to: span.from };
    let x: Vec<f32> = noise.chunks_exact(2).flat_map(|z| carried(before, z)).map(|x| x as f32).collect();
    let at = At { x: &x, c: &[], levels: &[span] };
    let velocity = model.net.infer(&model.learned.parameters.average, at, &mut pass);
    for (x, v) in x.chunks_exact(2).zip(velocity.chunks_exact(2)) {
        let want = carried(span, x);
        let squares = x.iter().zip(v).zip(want);
        sum += squares
            .map(|((&x, &v), want)| (f64::from(x) + span.length() * f64::from(v) - want).powi(2))
            .sum::<f64>();
    }
    (sum / 1000.0).sqrt()
}

#[test]
fn flow_map_jumps_where_the_flow_leads() {
    for objective in OBJECTIVES {
        let model = trained(FlowMap::new(small(objective), &mut seeded(2)).unwrap(), 4000);
        let mut spans = vec![Span { from: 0.0, to: 1.0 }, Span { from: 0.3, to: 1.0 }];
        if model.has_velocity() {
            spans.extend([Span { from: 0.2, to: 0.7 }, Span { from: 0.0, to: 0.5 }]);
        }
        for span in spans {
            let missed = missed(&model, span);
            // Of unit rows; where nothing is learned a whole jump misses 0.46.
            let most = if span.length() == 1.0 { 0.15 } else { 0.08 };
            assert!(missed < most, "{objective:?}, {span:?}: {missed}");
        }
    }
}

#[test]
fn flow_map_is_distilled_from_either_teacher() {
    let data = Dataset::new(correlated(5_000, 1)).unwrap();
    let options = TrainOptions { steps: 800, ..Default::default() };
    let network = || NetworkSpec::mlp([32, 32], Activation::Silu, 0);
    let config = DiffusionConfig { network: network(), whiten: false, ..Default::default() };
    let mut diffusion = Diffusion::new(config, &mut seeded(0)).unwrap();
    diffusion.train(&data, &options, &mut seeded(1), &mut NoObserver).unwrap();
    let config = FlowMatchingConfig { network: network(), whiten: false, ..Default::default() };
    let mut matching = FlowMatching::new(config, &mut seeded(0)).unwrap();
    matching.train(&data, &options, &mut seeded(1), &mut NoObserver).unwrap();
    for teacher in [Teacher::from(&diffusion), Teacher::from(&matching)] {
        for objective in
            [MapObjective::Lagrangian, MapObjective::Eulerian, MapObjective::Consistency { stages: 6 }]
        {
            let model = FlowMap::distill(teacher.clone(), small(objective), &mut seeded(2)).unwrap();
            assert_eq!(&model.learned.fitted, teacher.fitted());
            let missed = missed(&trained(model, 3000), Span { from: 0.0, to: 1.0 });
            assert!(missed < 0.1, "{teacher:?}, {objective:?}: {missed}");
        }
    }
}

/// Its velocity on the straight line is that of the flow matching of the same data: of N(0, 1) from N(0, 1) the mean
/// of x₁ − x₀ at x_t = x is (2t − 1) x/(t² + (1 − t)²), which an untrained diffusion, whose rows are standard normal,
/// knows.
#[test]
fn diffusion_teaches_the_velocity_of_the_line() {
    let config = DiffusionConfig { whiten: false, ..Default::default() };
    let teacher = Teacher::from(&Diffusion::new(config, &mut seeded(0)).unwrap());
    let (mut y, mut scratch) = (Vec::new(), Default::default());
    let times = [0.0, 1e-6, 0.1, 0.5, 0.77, 0.9999, 1.0 - 1e-9].map(Span::at);
    let x: Vec<f64> = (0..14).map(|i| f64::from(i).sin()).collect();
    teacher.velocity(&x, &times, &[], false, &mut scratch, &mut y);
    for (i, (x, y)) in x.iter().zip(&y).enumerate() {
        let t = times[i / 2].from;
        let want = (2.0 * t - 1.0) * x / (t * t + (1.0 - t).powi(2));
        assert!((y - want).abs() < 1e-5, "t = {t}: {y}, expected {want}");
    }
}

#[test]
fn flow_map_views_share_parameters_and_cost_their_steps() {
    let model = FlowMap::new(small(MapObjective::Lagrangian), &mut seeded(0)).unwrap();
    for steps in [1, 2, 7] {
        let view = model.with_steps(steps).unwrap();
        let drawn = view.sample(3, &SampleOptions::default(), &mut seeded(0)).unwrap();
        assert_eq!((view.card().nfe, drawn.nfe), (steps, steps));
        assert!(Arc::ptr_eq(&model.learned, &view.learned));
        let path = view.sample_path(3, &SampleOptions::default(), &mut seeded(0)).unwrap();
        assert_eq!(path.dim(), (3, steps + 1, 2));
        assert_eq!(path.index_axis(ndarray::Axis(1), steps), drawn.x);
        let carried = view.transport(path.index_axis(ndarray::Axis(1), 0)).unwrap();
        assert!((&carried - &drawn.x).iter().all(|gap| gap.abs() < 1e-6));
    }
    assert!(matches!(model.with_steps(0), Err(Error::Config { field: "FlowMapConfig::steps", .. })));
    assert!(matches!(model.with_scale(2.0), Err(Error::Config { field: "LearnedGuidance::scale", .. })));
}

/// û_w = û + w (û₁ − û) on the diagonal, for û₁ at scale 1 and û without a condition; and one evaluation does it.
#[test]
fn learned_guidance_is_the_guided_velocity() {
    let ring = Ring::new(4_000, &mut seeded(1));
    let config = FlowMapConfig {
        network: NetworkSpec::mlp([64, 64], Activation::Silu, 2),
        condition: Ring::CLASSES,
        condition_dropout: 0.2,
        guidance: Some(LearnedGuidance { scales: (1.0, 4.0), scale: 1.0 }),
        steps: 3,
        ..Default::default()
    };
    let mut model = FlowMap::new(config, &mut seeded(2)).unwrap();
    let options = TrainOptions { steps: 1500, ..Default::default() };
    model.train(&ring.data(), &options, &mut seeded(3), &mut NoObserver).unwrap();
    let guided = model.with_scale(3.0).unwrap();
    assert_eq!((guided.card().nfe, guided.card().name.as_ref()), (3, "Lagrangian map-3, w = 3"));
    let twice = model.with_guidance(Guidance { scale: 3.0, ..Default::default() }).unwrap();
    assert_eq!((twice.card().nfe, twice.card().likelihood), (6, LikelihoodKind::Unavailable));

    let mut class = [0.0; 8];
    class[2] = 1.0;
    let units = &model.learned.fitted.standardizer;
    let mut x: Vec<f32> = ring.x.iter().copied().take(200).collect();
    units.standardize(&mut x);
    let (mut error, mut size) = (0.0, 0.0);
    let times = [0.2, 0.5];
    for t in times {
        let velocity = |model: &FlowMap, c: &[f32]| -> Vec<f32> {
            let mut extended = Vec::new();
            let c = model.with_scale_column(c, &mut extended);
            let at = At { x: &x, c, levels: &[Span::at(t)] };
            model.net.infer(&model.learned.parameters.average, at, &mut Default::default()).to_vec()
        };
        let (one, none) = (velocity(&model, &class), velocity(&model, &[0.0; 8]));
        for ((got, one), none) in velocity(&guided, &class).iter().zip(one).zip(none) {
            let want = none + 3.0 * (one - none);
            error += f64::from(got - want).powi(2);
            size += f64::from(want).powi(2);
        }
    }
    assert!(error < 0.05 * size, "{}", error / size);
}

#[test]
fn flow_map_options_out_of_range_name_their_field() {
    let base = FlowMapConfig::default;
    let class = ConditionKind::Class { classes: 2 };
    let guidance = |scales, scale| Some(LearnedGuidance { scales, scale });
    let consistency = |stages| MapObjective::Consistency { stages };
    for (want, config) in [
        ("MapObjective::Consistency::stages", FlowMapConfig { objective: consistency(0), ..base() }),
        ("MapObjective::Consistency::stages", FlowMapConfig { objective: consistency(21), ..base() }),
        ("FlowMapConfig::guidance", FlowMapConfig { guidance: guidance((1.0, 2.0), 1.0), ..base() }),
        (
            "LearnedGuidance::scales",
            FlowMapConfig { condition: class, guidance: guidance((0.5, 2.0), 1.0), ..base() },
        ),
        (
            "LearnedGuidance::scale",
            FlowMapConfig { condition: class, guidance: guidance((1.0, 2.0), 2.5), ..base() },
        ),
        (
            "FlowMapConfig::guidance",
            FlowMapConfig {
                condition: class,
                objective: consistency(3),
                guidance: guidance((1.0, 2.0), 1.0),
                ..base()
            },
        ),
        (
            "FlowMapConfig::pairing",
            FlowMapConfig { pairing: super::Pairing::OptimalTransport { rows: 1 }, ..base() },
        ),
    ] {
        match FlowMap::new(config, &mut seeded(0)) {
            Err(Error::Config { field, .. }) => assert_eq!(field, want),
            other => panic!("{want}: {other:?}"),
        }
    }
    let untrained = Diffusion::new(DiffusionConfig::default(), &mut seeded(0)).unwrap();
    let distilled = FlowMap::distill(&untrained, base(), &mut seeded(0));
    assert!(matches!(distilled, Err(Error::Config { field: "Teacher", .. })));
    let mut other = untrained.clone();
    other
        .train(
            &moons(100, 0),
            &TrainOptions { steps: 1, ..Default::default() },
            &mut seeded(0),
            &mut NoObserver,
        )
        .unwrap();
    assert!(FlowMap::distill(&other, base(), &mut seeded(0)).is_ok());
}

/// A file keeps no teacher, and lines between rows say nothing of guidance to consistency.
#[cfg(feature = "safetensors")]
#[test]
fn guided_consistency_from_a_file_draws_and_is_not_trained_on() {
    use crate::model::file::Persist;

    let condition = ConditionKind::Class { classes: 2 };
    let x = correlated(200, 1);
    let classes = Condition::Class((0..200).map(|row| row % 2).collect());
    let data = Dataset::new(x).unwrap().with_condition(classes).unwrap();
    let options = TrainOptions { steps: 2, ..Default::default() };
    let network = NetworkSpec::mlp([8], Activation::Silu, 0);
    let config = DiffusionConfig { network: network.clone(), condition, ..Default::default() };
    let mut teacher = Diffusion::new(config, &mut seeded(0)).unwrap();
    teacher.train(&data, &options, &mut seeded(1), &mut NoObserver).unwrap();
    let config = FlowMapConfig {
        network,
        objective: MapObjective::Consistency { stages: 2 },
        guidance: Some(LearnedGuidance { scales: (1.0, 4.0), scale: 2.0 }),
        ..Default::default()
    };
    let mut map = FlowMap::distill(&teacher, config, &mut seeded(2)).unwrap();
    map.train(&data, &options, &mut seeded(3), &mut NoObserver).unwrap();
    let mut loaded = FlowMap::from_bytes(&map.to_bytes().unwrap()).unwrap();
    let drawn = |map: &FlowMap| map.draw(5, &mut seeded(4)).unwrap();
    assert_eq!(drawn(&loaded), drawn(&map));
    let refused = loaded.train(&data, &options, &mut seeded(3), &mut NoObserver);
    assert!(matches!(refused, Err(Error::Config { field: "FlowMapConfig::guidance", .. })), "{refused:?}");
    assert_eq!(drawn(&loaded), drawn(&map));
}
