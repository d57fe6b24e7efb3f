//! What every training promises beside its result: which parameters are used, which rows are held out, and that
//! clipping only shortens.

use std::collections::BTreeSet;

use quadrivium::energy::Langevin;
use quadrivium::engine::{Adam, Fitted, Part, Rows};

use super::*;

/// Trainable models whose parameters are averaged with the decay `ema`.
fn averaging(ema: f64) -> Vec<Box<dyn Generative>> {
    // Steps large enough that parameters and their average are far apart.
    let optimiser = OptimiserConfig { lr: 0.02, warmup: 0, ema, ..OptimiserConfig::default() };
    let hidden = vec![12, 12];
    let mut rng = seeded(4);
    let rng = &mut rng;
    macro_rules! model {
        ($model:ident, $config:ident { $($field:ident: $value:expr),* }) => {
            Box::new($model::new(
                $config { $($field: $value,)* optimiser: optimiser.clone(), ..Default::default() },
                rng,
            ).unwrap())
        };
    }
    let chains = EnergyTraining::PersistentChains { chains: 128, steps: 5, restart: 0.05, magnitude: 1e-4 };
    let denoising = EnergyTraining::DenoisingScoreMatching { sigma: 0.2 };
    let langevin = Langevin { steps: 10, ..Default::default() };
    let sampler = FlowSteps { method: Method::Euler, steps: 5 };
    let gan = |loss| GanConfig {
        loss,
        generator_hidden: hidden.clone(),
        critic_hidden: hidden.clone(),
        optimiser: optimiser.clone(),
        ..Default::default()
    };
    let mut models: Vec<Box<dyn Generative>> = vec![
        model!(Autoregressive, AutoregressiveConfig { hidden: hidden.clone() }),
        model!(
            Autoregressive,
            AutoregressiveConfig { hidden: hidden.clone(), head: Head::Bins { bins: 20 } }
        ),
        model!(Flow, FlowConfig { hidden: hidden.clone(), layers: 2 }),
        model!(Vae, VaeConfig { hidden: hidden.clone(), draws: 5 }),
        model!(EnergyModel, EnergyConfig { hidden: hidden.clone(), training: chains, langevin: langevin }),
        model!(EnergyModel, EnergyConfig { hidden: hidden.clone(), training: denoising, langevin: langevin }),
        model!(ScoreModel, ScoreConfig { hidden: hidden.clone(), levels: 4, steps_per_level: 2 }),
        model!(Diffusion, DiffusionConfig { hidden: hidden.clone(), timesteps: 10 }),
        model!(FlowMatching, FlowMatchingConfig { hidden: hidden.clone(), sampler: sampler }),
    ];
    for loss in
        [AdversarialLoss::NonSaturatingR1 { gamma: 0.1 }, AdversarialLoss::WassersteinGp { lambda: 1.0 }]
    {
        models.push(Box::new(Gan::new(gan(loss), rng).unwrap()));
    }
    models
}

/// How the parameters are averaged has no influence on where they go, so the losses of the steps are the same with and
/// without averaging, and whatever differs uses the average.
#[test]
fn the_averaged_parameters_draw_score_and_are_validated() {
    for (mut averaged, mut last) in averaging(0.9).into_iter().zip(averaging(0.0)) {
        let name = name(averaged.as_ref());
        let options = TrainOptions { validation: 0.2, validate_every: 5, ..short(10) };
        let [ours, theirs] = [&mut averaged, &mut last]
            .map(|model| model.train(&moons(200), &options, &mut seeded(5), &mut Silent).unwrap());
        assert_eq!((&ours.loss, &ours.parts), (&theirs.loss, &theirs.parts), "{name}");
        // Of bins, a few rows may be the same.
        let drawn = [&averaged, &last].map(|model| sample(model.as_ref(), 300, 6).x);
        assert_ne!(drawn[0], drawn[1], "{name} draws");
        let x = moons(20).x().to_owned();
        let score = |model: &dyn Generative| {
            use LogLikelihood::*;
            match model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap() {
                Unnormalised(nats) => Some(nats.to_vec()),
                Unavailable => None,
                other => other.nats().map(|nats| nats.to_vec()),
            }
        };
        if let (Some(ours), Some(theirs)) = (score(averaged.as_ref()), score(last.as_ref())) {
            assert_ne!(ours, theirs, "{name} scores");
        }
        // A game is watched between the players as they are; no validation chooses among their parameters.
        let game = averaged.card().likelihood == LikelihoodKind::Unavailable && averaged.card().nfe == 1;
        assert_eq!(ours.validation == theirs.validation, game, "{name} is validated");
    }
}

#[test]
fn held_out_rows_are_drawn_at_random() {
    let (rows, options) = (100, TrainOptions { validation: 0.2, ..TrainOptions::default() });
    let data = Dataset::new(Array2::from_shape_fn((rows, 1), |(r, _)| r as f32)).unwrap();
    let split = |seed| {
        let split =
            Rows::prepare(&data, &Fitted::new(1, ConditionKind::None), &options, &mut seeded(seed)).unwrap();
        let numbers = |part: &Part| {
            let mut x = part.x.clone();
            split.fitted.standardiser.restore(x.as_slice_mut().unwrap());
            x.iter().map(|v| v.round() as usize).collect::<BTreeSet<usize>>()
        };
        (numbers(&split.training), numbers(&split.validation))
    };
    let mut held = vec![0; rows];
    for seed in 0..200 {
        let (training, validation) = split(seed);
        assert_eq!((training.len(), validation.len()), (80, 20));
        assert!(training.is_disjoint(&validation));
        validation.into_iter().for_each(|row| held[row] += 1);
    }
    // 200 draws of a share of 0.2: 40 of sd 5.7; beyond 5 sd once in 20,000 for one of 100.
    assert!(held.iter().all(|count: &i32| (count - 40).abs() < 29), "{held:?}");
    assert_eq!(split(7), split(7));
}

#[test]
fn clipping_never_lengthens_a_gradient() {
    let steps = |clip_norm| {
        let config = OptimiserConfig { clip_norm, ..OptimiserConfig::default() };
        let mut adam = Adam::new(3);
        let (mut p, mut average) = (vec![1.0f32; 3], vec![1.0f32; 3]);
        for step in 1..=5 {
            // Gradients of unlike length, all shorter than 2: Adam sees their lengths by comparison only.
            let g = [0.9, -0.3, 0.2].map(|g: f32| g / (step * step) as f32);
            let (mut next, mut next_average) = (p.clone(), average.clone());
            adam.step(&config, 0.1, &g, (&p, &average), (&mut next, &mut next_average));
            (p, average) = (next, next_average);
        }
        p
    };
    assert_eq!(steps(Some(2.0)), steps(None));
    assert_ne!(steps(Some(0.1)), steps(None));
}
