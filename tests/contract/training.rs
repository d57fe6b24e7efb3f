//! What every training promises: how it starts, goes on and ends, which parameters are used, which rows are held out,
//! and that clipping only shortens.

use quadrivium::error::TrainingError;
use quadrivium::{Checkpoint, ConditionKind, LikelihoodKind, LogLikelihood, Session, Step, Stop};
use std::collections::BTreeSet;

use quadrivium::OptimizerConfig;
use quadrivium::engine::{Adam, Fitted, Part, Rows};
use quadrivium::map::Objective;

use super::*;

pub fn observer_sees_every_step_and_can_break_off(subject: &Subject) {
    let mut model = subject.fresh();
    let mut seen = Vec::new();
    let mut observer = |step: &Step<'_>| {
        assert_eq!(step.part_names.len(), step.parts.len());
        assert!(step.loss.is_finite());
        seen.push(step.step);
        if step.step == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let report = model.train(&moons(100), &short(20), &mut seeded(0), &mut observer).unwrap();
    // A rule for the width of kernels has one step only, and so have eigenvectors and the maps of columns.
    let (steps, stop) = match model.card().name.as_ref() {
        "KDE (Scott)" | "PCA" | "columns" => (1, Stop::Completed),
        _ => (7, Stop::Interrupted),
    };
    assert_eq!(seen, (0..steps).collect::<Vec<_>>());
    // Of the runs of a mixture, the report is that of the one which was kept.
    let reported = report.loss.len();
    let searches = model.card().objective == Objective::ExpectationMaximization;
    assert!(reported == steps || searches && (1..=steps).contains(&reported), "{reported}");
    assert_eq!(report.stop, stop);
    assert!(report.parts.iter().all(|(_, values)| values.len() == steps));
    assert_eq!(train(model.as_mut(), 4).stop, Stop::Completed);
}

pub fn batch_of_one_row_has_one_shard(subject: &Subject) {
    let options = TrainOptions { steps: 2, batch: 1, ..TrainOptions::default() };
    let one = TrainOptions { shards: 1, ..options.clone() };
    let [report, other] = [options, one].map(|options| {
        subject.fresh().train(&moons(100), &options, &mut seeded(0), &mut NoObserver).unwrap()
    });
    assert_eq!(report, other);
}

pub fn training_goes_on_from_the_present_parameters(subject: &Subject) {
    let mut model = subject.fresh();
    train(model.as_mut(), 2);
    let now = |model: &dyn Generative| (sample(model, 5, 0).x, nats(model, &moons(5).x().to_owned()));
    let before = now(model.as_ref());
    train(model.as_mut(), 2);
    // But for kernels, which stand on the rows of the last one, principal components, and maps of columns, which are frozen.
    let anew = matches!(model.card().objective, Objective::KernelSmoothing | Objective::PrincipalComponents);
    assert_eq!(now(model.as_ref()) == before, anew || model.card().name == "columns");
}

pub fn refused_training_changes_nothing(subject: &Subject) {
    let far = Dataset::new(moons(40).x().mapv(|v| 1e3 * v + 1e4)).unwrap();
    let (mut model, mut fresh) = (subject.fresh(), subject.fresh());
    let now = |model: &dyn Generative| (sample(model, 5, 0).x, nats(model, &moons(5).x().to_owned()));
    let before = now(model.as_ref());
    let none_left = TrainOptions { validation: 0.9999, ..short(1) };
    let refused = model.train(&far, &none_left, &mut seeded(0), &mut NoObserver);
    assert!(matches!(refused, Err(Error::Config { field: "TrainOptions::validation", .. })), "{refused:?}");
    assert_eq!(now(model.as_ref()), before);
    // Not even the units of the refused rows stay.
    assert_eq!(train(model.as_mut(), 3), train(fresh.as_mut(), 3));
}

pub fn endless_training_can_be_broken_off(subject: &Subject) {
    let options = TrainOptions { steps: usize::MAX, validation: 0.1, validate_every: 2, ..short(1) };
    let mut third = |step: &Step<'_>| {
        if step.step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let report = subject.fresh().train(&moons(200), &options, &mut seeded(0), &mut third).unwrap();
    assert!(report.loss.len() <= 3 && report.loss.iter().all(|loss| loss.is_finite()));
}

pub fn interrupted_training_goes_on_to_the_same_bits(subject: &Subject) {
    let file = format!("quadrivium-contract-{}-{}", std::process::id(), subject.name);
    let path = std::env::temp_dir().join(file);
    let options = TrainOptions { shards: 3, validation: 0.2, validate_every: 3, ..short(11) };
    let resumable =
        TrainOptions { checkpoint: Some(Checkpoint { path: path.clone(), every: 4 }), ..options.clone() };
    let data = moons(200);
    let [mut whole, mut first, mut second] = [(); 3].map(|()| subject.fresh());
    let report = whole.train(&data, &options, &mut seeded(2), &mut NoObserver).unwrap();
    let mut six = |step: &Step<'_>| {
        if step.step == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    first.train(&data, &resumable, &mut seeded(2), &mut six).unwrap();
    let file = |end: &str| std::path::PathBuf::from(format!("{}{end}", path.display()));
    // The baselines write none, also as the first stage of two.
    let written = |stage: &str| [stage, &format!("{stage}.previous")].map(|end| file(end).exists());
    let stage = if file(".2").exists() { ".2" } else { "" };
    assert_eq!(written(stage), [!is_baseline(whole.as_ref()); 2]);
    assert_eq!(second.train(&data, &resumable, &mut seeded(2), &mut NoObserver).unwrap(), report);
    assert_eq!(sample(&*second, 20, 4), sample(&*whole, 20, 4));
    for end in ["", ".previous", ".2", ".2.previous", ".2.2", ".2.2.previous"] {
        std::fs::remove_file(file(end)).ok();
    }
}

pub fn session_ends_with_the_same_bits(subject: &Subject) {
    let options = TrainOptions { shards: 3, validation: 0.2, validate_every: 3, ..short(11) };
    let mut whole = subject.fresh();
    let report = whole.train(&moons(200), &options, &mut seeded(2), &mut NoObserver).unwrap();
    let mut session = Session::new(subject.fresh(), moons(200), options, seeded(2)).unwrap();
    while !session.step(4, &mut NoObserver).unwrap() {
        // Whatever is asked of the model between the steps changes nothing.
        sample(session.model(), 3, 0);
    }
    let (model, ended) = session.finish(&mut NoObserver).unwrap();
    assert_eq!(ended, report);
    assert_eq!(sample(&model, 20, 4), sample(&*whole, 20, 4));
}

fn is_baseline(model: &dyn Generative) -> bool {
    use Objective::*;
    let card = model.card();
    card.name == "columns"
        || matches!(card.objective, KernelSmoothing | ExpectationMaximization | PrincipalComponents)
}

#[cfg(feature = "rayon")]
pub fn number_of_threads_does_not_move_a_bit(subject: &Subject) {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut model = subject.fresh();
            let options = TrainOptions { shards: 4, ..short(5) };
            let report = model.train(&moons(500), &options, &mut seeded(2), &mut NoObserver).unwrap();
            let nats = nats(model.as_ref(), &moons(150).x().to_owned());
            (report, sample(model.as_ref(), 150, 7).x, nats)
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        assert_eq!(run(threads), one, "{threads} threads");
    }
}

/// How the parameters are averaged has no influence on where they go, so the losses of the steps are the same with and
/// without averaging, and whatever differs uses the average.
pub fn averaged_parameters_draw_score_and_are_validated(subject: &Subject) {
    let [mut averaged, mut last] = [0.9, 0.0].map(|ema| {
        // Steps large enough that parameters and their average are far apart.
        let optimizer = OptimizerConfig { lr: 0.02, warmup: 0, ema, ..OptimizerConfig::default() };
        subject.made(&Setting { optimizer: Some(optimizer), ..Setting::default() })
    });
    let options = TrainOptions { validation: 0.2, validate_every: 5, ..short(10) };
    let [ours, theirs] = [&mut averaged, &mut last]
        .map(|model| model.train(&moons(200), &options, &mut seeded(5), &mut NoObserver).unwrap());
    assert_eq!((&ours.loss, &ours.parts), (&theirs.loss, &theirs.parts));
    // Of bins, a few rows may be the same.
    let drawn = [&averaged, &last].map(|model| sample(model.as_ref(), 300, 6).x);
    assert_ne!(drawn[0], drawn[1], "draws");
    let x = moons(20).x().to_owned();
    let score =
        |model: &dyn Generative| match model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap()
        {
            LogLikelihood::Unnormalized(nats) => Some(nats.to_vec()),
            LogLikelihood::Unavailable => None,
            other => other.nats().map(|nats| nats.to_vec()),
        };
    if let (Some(ours), Some(theirs)) = (score(averaged.as_ref()), score(last.as_ref())) {
        assert_ne!(ours, theirs, "scores");
    }
    // A game is watched between the players as they are; no validation chooses among their parameters.
    let game = averaged.card().likelihood == LikelihoodKind::Unavailable && averaged.card().nfe == 1;
    assert_eq!(ours.validation == theirs.validation, game, "validation");
}

pub fn wild_learning_rate_is_an_error_that_leaves_a_usable_model(subject: &Subject) {
    let wild = OptimizerConfig { lr: 1e38, clip_norm: None, warmup: 0, ..OptimizerConfig::default() };
    let setting = Setting { optimizer: Some(wild), ..Setting::default() };
    // One step is enough, although no further step sees what it has done.
    for steps in [1, 50] {
        let mut model = subject.made(&setting);
        match model.train(&moons(200), &short(steps), &mut seeded(0), &mut NoObserver) {
            Err(Error::Training(TrainingError::Diverged { .. })) => {}
            other => panic!("{steps} steps: {other:?}"),
        }
        assert!(sample(model.as_ref(), 20, 0).x.iter().all(|v| v.is_finite()), "{steps} steps");
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
            split.fitted.standardizer.restore(x.as_slice_mut().unwrap());
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
        let config = OptimizerConfig { clip_norm, ..OptimizerConfig::default() };
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
