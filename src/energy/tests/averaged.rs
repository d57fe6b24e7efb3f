//! The averaged parameters draw, score and are validated; the last ones have no say in it.

use super::*;
use crate::energy::objective::DenoisingScore;
use crate::engine::{Progress, Rows, mean_loss};

/// Steps so long that the last parameters are far from their average, and rows held out at the end.
fn wild(optimizer: &mut OptimizerConfig) -> TrainOptions {
    *optimizer = OptimizerConfig { lr: 0.02, warmup: 0, ema: 0.9, ..Default::default() };
    TrainOptions { validation: 0.3, validate_every: 6, ..options(6) }
}

/// The rows of the training by `options` with the generator of seed 2.
fn rows(options: &TrainOptions) -> Rows {
    Rows::prepare(&moons(500, 0), &Fitted::new(2, ConditionKind::None), options, &mut seeded(2)).unwrap()
}

const END: Progress = Progress { step: 6, steps: 6 };

#[test]
fn an_energy_uses_its_average() {
    let sigma = 0.2;
    let mut config = EnergyConfig {
        normalization: Normalization::Quadrature { intervals: 64 },
        ..small(EnergyTraining::DenoisingScoreMatching { sigma })
    };
    let options = wild(&mut config.optimizer);
    let mut model = EnergyModel::new(config, &mut seeded(1)).unwrap();
    let report = model.train(&moons(500, 0), &options, &mut seeded(2), &mut NoObserver).unwrap();
    let answers = |model: &EnergyModel| (drawn(model, 20), estimate(model, &moons(500, 0).x().to_owned()).0);
    let before = answers(&model);

    let Rows { validation, streams, .. } = rows(&options);
    let loss =
        |p: &[f32]| mean_loss(&DenoisingScore { energy: &model.energy, sigma }, p, &validation, END, streams);
    assert_eq!(report.validation.last().unwrap().1, loss(&model.parameters.average));
    assert_ne!(loss(&model.parameters.average), loss(&model.parameters.p));

    model.parameters.p.fill(f32::NAN);
    model.refresh();
    assert_eq!(answers(&model), before);
    model.parameters.average.iter_mut().for_each(|p| *p *= 1.1);
    model.refresh();
    assert!(answers(&model).0 != before.0 && answers(&model).1 != before.1);
}
