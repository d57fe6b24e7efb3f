//! What a trained network draws with, scores with and is validated by: the moving average of its parameters.

use quadrivium::recipe::{Kind, ModelConfig};

use super::*;

/// A training that ends with the average where it was at the start, however far the parameters have gone.
fn stuck(optimiser: &mut OptimiserConfig, lr: f64) {
    *optimiser = OptimiserConfig { lr, warmup: 0, ema: 1.0 - 1e-12, ema_share: 1e12, ..optimiser.clone() };
}

#[test]
fn models_draw_score_and_are_validated_by_the_averaged_parameters() {
    let options = TrainOptions { validation: 0.2, validate_every: 5, ..short(10) };
    let data = moons(300);
    for &kind in Kind::ALL {
        let trained = |lr| {
            let mut config = ModelConfig::defaults(kind, 2);
            stuck(config.optimiser_mut()?, lr);
            match &mut config {
                ModelConfig::Diffusion(config) => config.sampler = Sampler::Ddim { steps: 5, eta: 0.0 },
                // Its loss is of chains that the parameters have moved; denoising needs none.
                ModelConfig::Energy(config) => {
                    config.training = EnergyTraining::DenoisingScoreMatching { sigma: 0.2 };
                    config.langevin.steps = 40;
                }
                ModelConfig::Score(config) => config.steps_per_level = 1,
                ModelConfig::Vae(config) => config.draws = 5,
                _ => {}
            }
            let mut model = config.build(&mut seeded(0)).unwrap();
            let report = model.train(&data, &options, &mut seeded(2), &mut Silent).unwrap();
            Some((model, report))
        };
        let (Some((still, _)), Some((moved, report))) = (trained(1e-30), trained(3e-3)) else { continue };
        let close = |a: f64, b: f64, what: &str| {
            assert!((a - b).abs() < 1e-3 * (1.0 + a.abs()), "{kind}, {what}: {a} and {b}");
        };
        let (a, b) = (sample(still.as_ref(), 20, 3).x, sample(moved.as_ref(), 20, 3).x);
        a.iter().zip(&b).for_each(|(&a, &b)| close(a.into(), b.into(), "a drawn row"));
        let x = moons(20).x().to_owned();
        if let (Some(a), Some(b)) = (nats(still.as_ref(), &x), nats(moved.as_ref(), &x)) {
            a.iter().zip(&b).for_each(|(&a, &b)| close(a, b, "a likelihood"));
        }
        // The parameters have gone somewhere: a training that goes on from them starts at another loss.
        let next = |mut model: Box<dyn Generative>| {
            model.train(&data, &short(1), &mut seeded(4), &mut Silent).unwrap().loss[0]
        };
        assert!((next(still) - next(moved)).abs() > 1e-3, "{kind}");
        // A GAN is validated by the distance that its critic, as it is now, sees.
        if kind != Kind::Gan {
            close(report.validation[0].1, report.validation[1].1, "a validation");
        }
    }
}
