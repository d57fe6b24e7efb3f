//! p(x|c).

use super::*;
use crate::testing::{self, Ring};

const NUMBERS: ConditionKind = ConditionKind::Vector { dim: 1 };

fn small(dim: usize, head: Head, condition: ConditionKind) -> AutoregressiveConfig {
    AutoregressiveConfig {
        dim,
        head,
        condition,
        network: NetworkSpec::mlp([32, 32], Activation::Silu, 3),
        ..Default::default()
    }
}

/// ∫ p(x|c) over the plane, or the line.
fn integral(model: &Autoregressive, condition: &Condition) -> f64 {
    let axes: Vec<_> = model.conditionals.iter().map(|conditional| axis(conditional, 10)).collect();
    let mut nodes = vec![(Vec::new(), 1.0)];
    for axis in axes {
        let with = |(w, dw): &(Vec<f64>, f64)| {
            let (w, dw) = (w.clone(), *dw);
            axis.iter().map(move |(v, dv)| ([&w[..], &[*v]].concat(), dw * dv)).collect::<Vec<_>>()
        };
        nodes = nodes.iter().flat_map(with).collect();
    }
    let (x, scale) = restored(model, nodes.iter().flat_map(|(w, _)| w.clone()).collect());
    let score = model.given(condition).unwrap().log_likelihood(x.view(), &LikelihoodOptions::default());
    let nats = score.unwrap().nats().unwrap().clone();
    scale * nats.iter().zip(&nodes).map(|(nats, (_, dw))| nats.exp() * dw).sum::<f64>()
}

#[test]
fn density_under_each_condition_integrates_to_one() {
    let classes = [0, 3, 7].map(Condition::class);
    let numbers = [-2.5, 0.1, 1.2].map(|c| Condition::vector(&[c]));
    for head in [MIXTURE, BINS] {
        let model = trained(small(2, head, Ring::CLASSES), &Ring::new(2_000, &mut seeded(1)).data(), 40);
        let line = trained(small(1, head, NUMBERS), &testing::wave(2_000, 1, &mut seeded(2)).0, 40);
        let plane = trained(small(2, head, NUMBERS), &testing::wave(2_000, 2, &mut seeded(2)).0, 40);
        for (model, conditions) in [(model, &classes), (line, &numbers), (plane, &numbers)] {
            for condition in conditions {
                let total = integral(&model, condition);
                assert!((total - 1.0).abs() < 2e-3, "{head:?}, {condition:?}: {total}");
            }
        }
    }
}

#[test]
fn rows_are_drawn_and_scored_under_their_own_conditions() {
    let numbers = Condition::Vector(array![[-1.0], [0.3], [2.0]]);
    for dim in [1, 3] {
        let data = testing::wave(500, dim, &mut seeded(3)).0;
        let model = trained(small(dim, MIXTURE, NUMBERS), &data, 40);
        testing::assert_each_row_has_its_condition(&model, &numbers);
        testing::assert_far_conditions_are_finite(&model, &data.x().to_owned());
    }
    let model = trained(small(2, BINS, Ring::CLASSES), &Ring::new(500, &mut seeded(4)).data(), 40);
    testing::assert_each_row_has_its_condition(&model, &Condition::Class(array![1, 2, 6]));
}

#[test]
fn likelihood_without_a_class_is_the_mixture_of_the_classes() {
    let mut ring = Ring::new(500, &mut seeded(5));
    // Unlike shares, one of them 0.
    ring.classes.mapv_inplace(|class| if class < 4 { 0 } else { class });
    let model = trained(small(2, MIXTURE, Ring::CLASSES), &ring.data(), 40);
    let x = ring.x.slice(s![..50, ..]).to_owned();
    testing::assert_classes_mix_by_their_shares(&model, &ring.classes, &x);
}

#[test]
fn ring_is_learned_mode_by_mode() {
    let ring = Ring::new(10_000, &mut seeded(6));
    let model = trained(small(2, MIXTURE, Ring::CLASSES), &ring.data(), 300);
    let test = Ring::new(4_000, &mut seeded(7));
    let excess = test.truth() - testing::mean_nats_given(&model, &test.data());
    assert!((-0.01..0.05).contains(&excess), "{excess} nats above the truth");
    let given = model.given(&test.condition()).unwrap();
    let drawn = given.sample(4_000, &SampleOptions::default(), &mut seeded(8)).unwrap().x;
    let asked = Ring::nearest(&drawn).iter().zip(&test.classes).filter(|(a, b)| a == b).count();
    assert!(asked > 3_940, "{asked} of 4000 draws are nearest to the mode asked for");
}

#[test]
fn densities_that_follow_a_number_are_recovered() {
    for dim in [1, 2] {
        let model = trained(small(dim, MIXTURE, NUMBERS), &testing::wave(10_000, dim, &mut seeded(9)).0, 600);
        let (test, truth) = testing::wave(4_000, dim, &mut seeded(10));
        let excess = truth - testing::mean_nats_given(&model, &test);
        assert!((-0.01..0.05).contains(&excess), "{dim} columns: {excess} nats above the truth");
    }
}

#[test]
fn conditions_out_of_range_are_refused_before_anything_is_made() {
    let wide = vec![65_536; 2];
    for (condition, hidden, expected) in [
        (ConditionKind::Class { classes: 0 }, vec![8], "AutoregressiveConfig::condition"),
        // Within bounds, but with too many parameters.
        (ConditionKind::Class { classes: 65_536 }, wide, "AutoregressiveConfig::network"),
    ] {
        match (AutoregressiveConfig {
            condition,
            network: NetworkSpec::mlp(hidden, Activation::Silu, 3),
            ..Default::default()
        })
        .validate()
        {
            Err(Error::Config { field, .. }) => assert_eq!(field, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
