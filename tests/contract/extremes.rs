//! At the ends of what the configs accept: numbers, or a typed error.

use quadrivium::diffusion::Method;
use quadrivium::energy::{Acceptance, Langevin};
use quadrivium::error::TrainingError;
use quadrivium::{Activation, Bandwidth, NetworkSpec, Pairing, Sampler, Schedule, Sde, Source, Transform};

use super::*;

/// The ends of what the configs accept, where numbers are largest and smallest.
mod every_accepted_config_gives_numbers {
    use super::*;

    fn gives_numbers(mut model: impl Generative) {
        let name = model.card().name;
        for steps in [0, 2] {
            if steps > 0 {
                // A training may find its loss infinite, and says so.
                let _ = model.train(&moons(200), &short(steps), &mut seeded(2), &mut NoObserver);
            }
            let drawn = sample(&model, 20, 1).x;
            assert!(drawn.iter().all(|x| x.is_finite()), "{name} drew {drawn}");
            match model.log_likelihood(moons(3).x(), &LikelihoodOptions::default()) {
                Ok(score) => {
                    let nats = score.nats().into_iter().flatten();
                    assert!(nats.clone().all(|nats| !nats.is_nan()), "{name}: {score:?}");
                }
                Err(error) => assert!(
                    matches!(error, Error::Training(TrainingError::NotConverged { .. })),
                    "{name}: {error}"
                ),
            }
        }
    }

    #[test]
    fn diffusion() {
        let schedules = [
            Schedule::Cosine,
            Schedule::Continuous(Sde::VariancePreserving { beta_min: 1e-3, beta_max: 200.0 }),
            Schedule::Continuous(Sde::VarianceExploding { sigma_min: 1e-6, sigma_max: 1e6 }),
        ];
        let samplers = [
            Sampler::Ddpm,
            Sampler::Ddim { steps: 5, eta: 0.0 },
            Sampler::Heun { steps: 5 },
            Sampler::DpmSolver { steps: 5 },
            Sampler::EulerMaruyama { steps: 5 },
            Sampler::Ode { method: Method::Rk4, steps: 5 },
        ];
        for schedule in schedules {
            let (hidden, timesteps, sigma_min) = (vec![16, 16], 40, 1e-6);
            let config = DiffusionConfig {
                schedule,
                network: NetworkSpec::mlp(hidden, Activation::Silu, 4),
                timesteps,
                sigma_min,
                ..Default::default()
            };
            let model = Diffusion::new(config, &mut seeded(0)).unwrap();
            samplers.into_iter().for_each(|sampler| gives_numbers(model.with_sampler(sampler).unwrap()));
        }
    }

    #[test]
    fn score() {
        for (sigma_min, sigma_max) in [(1e-6, 1e6), (1e6, 1e6), (1e-6, 1e-6)] {
            let (hidden, levels) = (vec![16, 16], 4);
            let config = ScoreConfig {
                network: NetworkSpec::mlp(hidden, Activation::Silu, 4),
                sigma_min,
                sigma_max,
                levels,
                ..Default::default()
            };
            gives_numbers(ScoreModel::new(config, &mut seeded(0)).unwrap());
        }
    }

    #[test]
    fn energy() {
        for acceptance in [Acceptance::Always, Acceptance::Metropolis] {
            for (first, width) in [(100.0, 10.0), (1e-30, 0.01)] {
                let langevin = Langevin { steps: 20, first, last: first, acceptance, ..Default::default() };
                let config = EnergyConfig {
                    network: NetworkSpec::mlp([16, 16], Activation::Silu, 5),
                    langevin,
                    width,
                    ..Default::default()
                };
                gives_numbers(EnergyModel::new(config, &mut seeded(0)).unwrap());
            }
        }
    }

    #[test]
    fn kernel_density() {
        for bandwidth in [1e-100, 1e100].map(Bandwidth::Fixed) {
            let config = KernelDensityConfig { bandwidth, ..Default::default() };
            gives_numbers(KernelDensity::new(config).unwrap());
        }
    }

    #[test]
    fn flow() {
        for bound in [1e-3, 1e3] {
            for transform in
                [Transform::Spline { bins: 2, bound }, Transform::AffineSpline { bins: 2, bound }]
            {
                let config = FlowConfig { transform, ..Default::default() };
                gives_numbers(Flow::new(config, &mut seeded(0)).unwrap());
            }
        }
    }
}

#[test]
fn flow_matching_source_beyond_numbers_is_an_error() {
    let far = Dataset::new(Array2::from_elem((20, 2), 3e38)).unwrap();
    for pairing in [Pairing::Independent, Pairing::OptimalTransport { rows: 16 }] {
        let config =
            FlowMatchingConfig { source: Source::Rows(far.clone().into()), pairing, ..Default::default() };
        let mut model = FlowMatching::new(config, &mut seeded(0)).unwrap();
        let data = Dataset::new(moons(100).x().mapv(|x| 1e-6 * x)).unwrap();
        let error = model.train(&data, &short(3), &mut seeded(1), &mut NoObserver).unwrap_err();
        assert!(matches!(error, Error::Training(TrainingError::Diverged { .. })), "{error}");
    }
}
