//! p(x|c).

use super::*;
use crate::testing::{self, Ring};

const NUMBERS: ConditionKind = ConditionKind::Vector { dim: 1 };
const ARCHITECTURES: [Architecture; 2] = [Architecture::Coupling, Architecture::MaskedAutoregressive];

fn conditioned(dim: usize, architecture: Architecture, condition: ConditionKind) -> FlowConfig {
    let transform = Transform::AffineSpline { bins: 8, bound: 4.0 };
    let hidden = vec![32, 32];
    FlowConfig {
        dim,
        architecture,
        condition,
        transform,
        network: NetworkSpec::mlp(hidden, Activation::Silu, 2),
        layers: 2,
        ..FlowConfig::default()
    }
}

#[test]
fn density_under_each_condition_integrates_to_one() {
    let classes = [0, 3, 7].map(Condition::class);
    let numbers = [-2.5, 0.1, 1.2].map(|c| Condition::vector(&[c]));
    for architecture in ARCHITECTURES {
        let ring = Ring::new(2_000, &mut seeded(1)).data();
        let ring = trained(conditioned(2, architecture, Ring::CLASSES), &ring, 40);
        let [line, plane] = [1, 2].map(|dim| {
            trained(conditioned(dim, architecture, NUMBERS), &testing::wave(2_000, dim, &mut seeded(2)).0, 40)
        });
        for (model, conditions) in [(ring, &classes), (line, &numbers), (plane, &numbers)] {
            let reach = vec![9.0; model.dim()];
            let lower = reach.iter().map(|reach: &f64| -reach).collect::<Vec<_>>();
            for condition in conditions {
                let given = model.given(condition).unwrap();
                let total = testing::integral(given.as_ref(), &lower, &reach, 0.04);
                assert!((total - 1.0).abs() < 2e-3, "{architecture:?}, {condition:?}: {total}");
            }
        }
    }
}

#[test]
fn rows_are_drawn_and_scored_under_their_own_conditions() {
    let numbers = Condition::Vector(array![[-1.0], [0.3], [2.0]]);
    for architecture in ARCHITECTURES {
        for dim in [1, 3] {
            let data = testing::wave(500, dim, &mut seeded(3)).0;
            let model = trained(conditioned(dim, architecture, NUMBERS), &data, 40);
            testing::assert_each_row_has_its_condition(&model, &numbers);
            testing::assert_far_conditions_are_finite(&model, &data.x().to_owned());
        }
        let ring = Ring::new(500, &mut seeded(4)).data();
        let model = trained(conditioned(2, architecture, Ring::CLASSES), &ring, 40);
        testing::assert_each_row_has_its_condition(&model, &Condition::Class(array![1, 2, 6]));
    }
}

#[test]
fn likelihood_without_a_class_is_the_mixture_of_the_classes() {
    let mut ring = Ring::new(500, &mut seeded(5));
    // Unlike shares, one of them 0.
    ring.classes.mapv_inplace(|class| if class < 4 { 0 } else { class });
    let model = trained(conditioned(2, Architecture::Coupling, Ring::CLASSES), &ring.data(), 40);
    let x = ring.x.slice(s![..50, ..]).to_owned();
    testing::assert_classes_mix_by_their_shares(&model, &ring.classes, &x);
}

#[test]
fn ring_is_learned_mode_by_mode() {
    let (ring, test) = (Ring::new(10_000, &mut seeded(6)), Ring::new(4_000, &mut seeded(7)));
    for architecture in ARCHITECTURES {
        let model = trained(conditioned(2, architecture, Ring::CLASSES), &ring.data(), 400);
        let excess = test.truth() - testing::mean_nats_given(&model, &test.data());
        assert!((-0.01..0.06).contains(&excess), "{architecture:?}: {excess} nats above the truth");
        let given = model.given(&test.condition()).unwrap();
        let drawn = given.sample(4_000, &SampleOptions::default(), &mut seeded(8)).unwrap().x;
        let asked = Ring::nearest(&drawn).iter().zip(&test.classes).filter(|(a, b)| a == b).count();
        assert!(asked > 3_940, "{architecture:?}: {asked} of 4000 draws are nearest to the mode asked for");
    }
}

#[test]
fn densities_that_follow_a_number_are_recovered() {
    for (architecture, dim) in ARCHITECTURES.into_iter().flat_map(|kind| [(kind, 1), (kind, 2)]) {
        let data = testing::wave(10_000, dim, &mut seeded(9)).0;
        let model = trained(conditioned(dim, architecture, NUMBERS), &data, 600);
        let (test, truth) = testing::wave(4_000, dim, &mut seeded(10));
        let excess = truth - testing::mean_nats_given(&model, &test);
        assert!((-0.01..0.08).contains(&excess), "{architecture:?}, {dim} columns: {excess} above the truth");
    }
}

/// Block i of a masked layer sees all of the condition, and x_<i: block 0 too, as that of a single column.
#[test]
fn every_coordinate_that_moves_sees_the_condition() {
    for architecture in ARCHITECTURES {
        for dim in [1, 2, 5] {
            let base = conditioned(dim, architecture, NUMBERS);
            let config = FlowConfig { layers: 1, correlated_base: false, ..base };
            let model = trained(config, &testing::wave(300, dim, &mut seeded(11)).0, 20);
            let x = Array2::from_elem((1, dim), 0.3f32);
            let u = |c: f32| {
                let c = model.fitted.conditions.encode(Some(&Condition::vector(&[c]))).unwrap();
                let mut pass = chain::Pass::default();
                let x = model.fitted.standardizer.apply(x.clone());
                model.chain.infer(
                    &model.parameters.p,
                    x.as_slice().unwrap(),
                    c.as_slice().unwrap(),
                    &mut pass,
                );
                pass.z
            };
            let (here, there) = (u(0.2), u(0.7));
            let passing = if architecture == Architecture::Coupling { dim / 2 } else { 0 };
            for i in passing..dim {
                assert!(here[i] != there[i], "{architecture:?}, column {i} of {dim}");
            }
        }
    }
}

#[test]
fn conditions_out_of_range_are_refused_before_anything_is_made() {
    let base = || FlowConfig { condition: Ring::CLASSES, ..FlowConfig::default() };
    let masked = Architecture::MaskedAutoregressive;
    for (config, expected) in [
        (FlowConfig { condition: ConditionKind::Class { classes: 0 }, ..base() }, "FlowConfig::condition"),
        // The coordinates need a unit each, and the condition one of its own.
        (
            FlowConfig {
                architecture: masked,
                dim: 4,
                network: NetworkSpec::mlp([3], Activation::Silu, 2),
                ..base()
            },
            "FlowConfig::network",
        ),
        // Within bounds, but with too many parameters.
        (
            FlowConfig {
                condition: ConditionKind::Class { classes: 65_536 },
                network: NetworkSpec::mlp([4_096], Activation::Silu, 2),
                ..base()
            },
            "FlowConfig::network",
        ),
    ] {
        match config.validate() {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
    let enough = FlowConfig {
        architecture: masked,
        dim: 4,
        network: NetworkSpec::mlp([4], Activation::Silu, 2),
        ..base()
    };
    assert!(enough.validate().is_ok());
}
