//! The loop on an loss whose answer is known: the mean of the data.

use std::ops::ControlFlow;

use ndarray::Array2;

use super::*;
use super::{Checkpoint, Dataset, NoObserver, Step, Stop, TrainOptions};
use crate::error::{Error, TrainingError};
use crate::nn::Weights;
use crate::numeric::Real;
use crate::numeric::rng::{Rng, seeded};

/// loss(x) = ½‖x + noise − p‖²: p finds the mean of the rows.
#[derive(Debug, Clone, Copy)]
struct Mean {
    dim: usize,
    noise: f32,
    // The loss is NaN from this step on.
    breaks_at: usize,
}

impl Loss for Mean {
    type Row = f32;
    type Drawn = (Vec<f32>, bool);
    type Workspace = ();

    fn part_names(&self) -> &'static [&'static str] {
        &["first column"]
    }

    fn transpose(&self, p: &[f32], t: &mut [f32]) {
        t.copy_from_slice(p);
    }

    fn draw(
        &self,
        rows: usize,
        _: &[f32],
        progress: Progress,
        rng: &mut Rng,
        (noise, broken): &mut Self::Drawn,
    ) {
        noise.clear();
        noise.extend((0..rows * self.dim).map(|_| self.noise * f32::normal(rng)));
        *broken = progress.step >= self.breaks_at;
    }

    fn loss_grad(
        &self,
        w: Weights<f32>,
        Batch { x, .. }: Batch<f32>,
        (noise, broken): &Self::Drawn,
        weight: f32,
        mut dp: Option<&mut [f32]>,
        parts: &mut [f64],
        _: &mut (),
    ) -> f64 {
        let mut loss = 0.0;
        for (i, (x, noise)) in x.iter().zip(noise).enumerate() {
            let column = i % self.dim;
            let off = x + noise - w.p[column];
            loss += 0.5 * f64::from(off * off);
            if column == 0 {
                parts[0] += 0.5 * f64::from(off * off);
            }
            if let Some(dp) = dp.as_deref_mut() {
                dp[column] -= weight * off;
            }
        }
        if *broken { f64::NAN } else { loss }
    }
}

const MEAN: Mean = Mean { dim: 2, noise: 0.1, breaks_at: usize::MAX };

/// Rows about (3, −1).
fn rows(n: usize) -> Array2<f32> {
    let mut rng = seeded(4);
    Array2::from_shape_fn((n, 2), |(_, c)| [3.0, -1.0][c] + 0.2 * f32::normal(&mut rng))
}

/// The same as `Rows`, in the units they come in.
fn prepared(options: &TrainOptions) -> Rows {
    let data = Dataset::new(rows(1000)).unwrap();
    let rows = Rows::prepare(&data, &Fitted::new(2, ConditionKind::None), options, &mut seeded(0)).unwrap();
    let restore = |mut part: Part| {
        rows.fitted.standardizer.restore(part.x.as_slice_mut().unwrap());
        part
    };
    Rows {
        training: restore(rows.training.clone()),
        validation: restore(rows.validation.clone()),
        ..rows.clone()
    }
}

fn config() -> OptimizerConfig {
    OptimizerConfig { lr: 0.05, clip_norm: None, ..Default::default() }
}

fn options(steps: usize) -> TrainOptions {
    TrainOptions { steps, batch: 150, shards: 2, ..Default::default() }
}

fn run(
    objective: &Mean,
    config: &OptimizerConfig,
    options: &TrainOptions,
) -> (crate::Result<crate::TrainReport>, Parameters) {
    let mut parameters = Parameters::new(vec![0.0; 2]);
    let report = fit(*objective, &mut parameters, &prepared(options), config, options, &mut NoObserver);
    (report, parameters)
}

#[test]
fn finds_the_mean_and_reports_every_step() {
    let (report, parameters) = run(&MEAN, &config(), &options(400));
    let report = report.unwrap();
    assert!((parameters.average[0] - 3.0).abs() < 0.03 && (parameters.average[1] + 1.0).abs() < 0.03);
    assert_eq!((report.loss.len(), report.stop), (400, Stop::Completed));
    let (name, part) = &report.parts[0];
    assert_eq!((*name, part.len()), ("first column", 400));
    assert!(part.iter().zip(&report.loss).all(|(part, loss)| part <= loss && *part > 0.0));
    // ½·2·(0.2² + 0.1²) is left.
    assert!((report.loss[399] - 0.05).abs() < 0.02, "{}", report.loss[399]);
}

#[test]
fn the_gradient_is_the_losses_mean_whatever_the_shards() {
    let x = rows(1000);
    let progress = Progress { step: 0, steps: 1 };
    let quiet = Mean { noise: 0.0, ..MEAN };
    // The same row everywhere, so that the draw does not matter.
    let fill = |_: &mut Rng, n: usize, out: &mut Vec<f32>, _: &mut Vec<f32>| {
        (0..n).for_each(|_| out.extend([x[[0, 0]], x[[0, 1]]]))
    };
    for shards in [1, 3, 150] {
        let mut gradient =
            Gradient::new(&quiet, 2, &TrainOptions { batch: 150, shards, ..Default::default() });
        let streams = crate::numeric::rng::Streams::new(0);
        let loss = gradient.compute(&quiet, &[1.0, 1.0], progress, streams, fill).unwrap();
        let off = [f64::from(x[[0, 0]]) - 1.0, f64::from(x[[0, 1]]) - 1.0];
        assert!((loss - 0.5 * (off[0] * off[0] + off[1] * off[1])).abs() < 1e-5);
        assert!(gradient.sum().iter().zip(off).all(|(g, off)| (f64::from(*g) + off).abs() < 1e-5));
    }
}

#[test]
fn patience_keeps_the_best_parameters() {
    // A learning rate that never settles: some validation is worse than an earlier one.
    let wild = OptimizerConfig { lr: 0.5, decay: Decay::Constant, ema: 0.0, warmup: 0, ..config() };
    let patient = TrainOptions { validation: 0.2, validate_every: 2, patience: Some(5), ..options(10_000) };
    let (report, parameters) = run(&MEAN, &wild, &patient);
    let report = report.unwrap();
    assert_eq!(report.stop, Stop::Patience);
    assert!(report.loss.len() < 10_000);
    let best = report.validation.iter().map(|v| v.1).fold(f64::INFINITY, f64::min);
    assert!(report.validation.last().unwrap().1 > best);
    let (at, _) = report.validation[report.validation.len() - 6];
    // Training as long as the best and no longer gives the same parameters.
    let shorter = TrainOptions { patience: None, ..patient.clone() };
    let mut again = Parameters::new(vec![0.0; 2]);
    let mut stop_at = |step: &Step<'_>| {
        if step.step + 1 == at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    fit(MEAN, &mut again, &prepared(&shorter), &wild, &shorter, &mut stop_at).unwrap();
    assert_eq!(again, parameters);
}

#[test]
fn validation_takes_its_rows_from_training() {
    let held = TrainOptions { validation: 0.5, validate_every: 30, ..options(100) };
    let (report, held_out) = run(&MEAN, &config(), &held);
    let steps: Vec<usize> = report.unwrap().validation.iter().map(|v| v.0).collect();
    assert_eq!(steps, [30, 60, 90, 100]);
    assert_ne!(run(&MEAN, &config(), &options(100)).1, held_out);
    let rows = prepared(&held);
    assert_eq!((rows.training.rows(), rows.validation.rows()), (500, 500));
    // The held-out rows have no say in the units.
    let again = Standardizer::identity(2).fitted(rows.training.x.view()).unwrap();
    assert!((again.shift()[0] - rows.fitted.standardizer.shift()[0]).abs() < 1e-6);
    let none_left = TrainOptions { validation: 0.9999, ..options(1) };
    let data = Dataset::new(super::tests::rows(1000)).unwrap();
    let refused = Rows::prepare(&data, &Fitted::new(2, ConditionKind::None), &none_left, &mut seeded(0));
    assert!(matches!(refused, Err(Error::Config { field: "TrainOptions::validation", .. })));
}

#[test]
fn a_broken_loss_leaves_the_last_good_parameters() {
    let breaks = Mean { breaks_at: 10, ..MEAN };
    let (report, parameters) = run(&breaks, &config(), &options(50));
    match report {
        Err(Error::Training(TrainingError::Diverged { step: 10, what })) => assert_eq!(what, "loss = NaN"),
        other => panic!("{other:?}"),
    }
    assert!(parameters.p.iter().all(|p| p.is_finite()) && parameters.p[0] > 0.0);
}

/// The average stays at the start, the parameters go: what is validated, and kept by patience, is the average.
#[test]
fn validation_is_by_the_average_and_the_best_one_is_kept() {
    let stuck = OptimizerConfig { ema: 1.0 - 1e-12, ema_share: 1e12, ..config() };
    let held = TrainOptions { validation: 0.2, validate_every: 10, ..options(100) };
    let (report, parameters) = run(&MEAN, &stuck, &held);
    let validation = report.unwrap().validation;
    let at_the_start = validation[0].1;
    // ½·(3² + 1²) and the rows' spread.
    assert!((at_the_start - 5.05).abs() < 0.1, "{at_the_start}");
    assert!(validation.iter().all(|&(_, loss)| (loss - at_the_start).abs() < 1e-3), "{validation:?}");
    assert!(parameters.average.iter().all(|v| v.abs() < 1e-3) && parameters.p[0] > 2.0);
}

#[test]
fn a_last_update_that_no_loss_has_seen_is_checked() {
    let wild = OptimizerConfig { lr: 1e38, warmup: 0, ..config() };
    for steps in [1, 2] {
        let (report, parameters) = run(&MEAN, &wild, &options(steps));
        assert!(matches!(report, Err(Error::Training(TrainingError::Diverged { .. }))), "{report:?}");
        assert_eq!(parameters, Parameters::new(vec![0.0; 2]));
    }
}

#[test]
fn the_optimizers_options_matter() {
    let base = run(&MEAN, &config(), &options(30)).1;
    let variants = [
        OptimizerConfig { lr: 0.06, ..config() },
        OptimizerConfig { beta1: 0.5, ..config() },
        OptimizerConfig { beta2: 0.9, ..config() },
        OptimizerConfig { eps: 0.1, ..config() },
        OptimizerConfig { weight_decay: 0.5, ..config() },
        OptimizerConfig { clip_norm: Some(1e-9), ..config() },
        OptimizerConfig { warmup: 0, ..config() },
        OptimizerConfig { decay: Decay::Constant, ..config() },
        OptimizerConfig { ema: 0.0, ..config() },
        OptimizerConfig { ema_share: 0.2, ..config() },
    ];
    for variant in variants {
        assert_ne!(run(&MEAN, &variant, &options(30)).1.average, base.average, "{variant:?}");
    }
    for (field, bad) in [
        ("OptimizerConfig::lr", OptimizerConfig { lr: 0.0, ..config() }),
        ("OptimizerConfig::beta1", OptimizerConfig { beta1: 1.0, ..config() }),
        ("OptimizerConfig::beta2", OptimizerConfig { beta2: -0.1, ..config() }),
        ("OptimizerConfig::eps", OptimizerConfig { eps: f64::NAN, ..config() }),
        ("OptimizerConfig::weight_decay", OptimizerConfig { weight_decay: -1.0, ..config() }),
        ("OptimizerConfig::clip_norm", OptimizerConfig { clip_norm: Some(0.0), ..config() }),
        ("OptimizerConfig::ema", OptimizerConfig { ema: 1.0, ..config() }),
        ("OptimizerConfig::ema_share", OptimizerConfig { ema_share: 0.0, ..config() }),
    ] {
        match bad.validate() {
            Err(Error::Config { field: named, .. }) => assert_eq!(named, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[test]
fn patience_survives_an_interruption() {
    let folder = std::env::temp_dir();
    let path = folder.join(format!("quadrivium-patience-{}", std::process::id()));
    let wild = OptimizerConfig { lr: 0.5, decay: Decay::Constant, ema: 0.0, warmup: 0, ..config() };
    let patient = TrainOptions { validation: 0.2, validate_every: 2, patience: Some(5), ..options(10_000) };
    let (whole, best) = run(&MEAN, &wild, &patient);
    let whole = whole.unwrap();
    let resumable =
        TrainOptions { checkpoint: Some(Checkpoint { path: path.clone(), every: 3 }), ..patient.clone() };
    // A step at a time, each in a process that knows nothing.
    for steps in 1..=whole.loss.len() {
        let mut parameters = Parameters::new(vec![0.0; 2]);
        let mut once = |_: &Step<'_>| ControlFlow::Break(());
        let report = fit(MEAN, &mut parameters, &prepared(&resumable), &wild, &resumable, &mut once).unwrap();
        assert_eq!(report.loss, whole.loss[..steps]);
        let ended = steps == whole.loss.len();
        assert_eq!(report.stop, if ended { Stop::Patience } else { Stop::Interrupted });
    }
    let (again, parameters) = run(&MEAN, &wild, &resumable);
    std::fs::remove_file(&path).unwrap();
    assert_eq!((again.unwrap(), parameters), (whole, best));
}

#[test]
fn numbers_of_a_forged_checkpoint_are_refused_or_harmless() {
    let refusals = refusals_of_forgeries("mean", |checkpoint| {
        let options = TrainOptions {
            validation: 0.2,
            validate_every: 1,
            patience: Some(2),
            checkpoint: Some(checkpoint.clone()),
            ..options(5)
        };
        let mut break_off =
            |step: &Step<'_>| if step.step == 1 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let mut parameters = Parameters::new(vec![0.0; 2]);
        fit(MEAN, &mut parameters, &prepared(&options), &config(), &options, &mut break_off).map(|_| ())
    });
    // The steps of the optimizer, and the validation that was best.
    for most in [i32::MAX as usize, 2] {
        let what = format!("a checkpoint that counts {} of at most {most}", u64::MAX);
        assert!(refusals.contains(&what), "{refusals:?}");
    }
}

/// How often each token stands in rows of tokens: log-probabilities ln softmax(p), p one number per token.
#[derive(Debug)]
struct Unigram;

impl Loss for Unigram {
    type Row = Token;
    type Drawn = ();
    type Workspace = ();

    fn transpose(&self, p: &[f32], t: &mut [f32]) {
        t.copy_from_slice(p);
    }

    fn draw(&self, _: usize, _: &[f32], _: Progress, _: &mut Rng, _: &mut ()) {}

    /// −Σ ln softmax(p)_token; its gradient is softmax(p) less the token's one-hot.
    fn loss_grad(
        &self,
        w: Weights<f32>,
        Batch { x, .. }: Batch<f32, Token>,
        _: &(),
        weight: f32,
        mut dp: Option<&mut [f32]>,
        _: &mut [f64],
        _: &mut (),
    ) -> f64 {
        let all = crate::numeric::log_sum_exp(&w.p.iter().map(|&p| p.into()).collect::<Vec<f64>>());
        let log_p = |token: usize| f64::from(w.p[token]) - all;
        let mut loss = 0.0;
        for token in x.iter().map(|token| token.0 as usize) {
            loss -= log_p(token);
            if let Some(dp) = dp.as_deref_mut() {
                (0..w.p.len()).for_each(|other| dp[other] += weight * log_p(other).exp() as f32);
                dp[token] -= weight;
            }
        }
        loss
    }
}

#[test]
fn tokens_are_rows_like_any_other() {
    // 0, 1, 1, 2, 2, 2, 2: each token twice as often as the one before.
    let text = Array2::from_shape_fn((70, 7), |(_, place)| Token([0, 1, 1, 2, 2, 2, 2][place]));
    let data = Dataset::new(text).unwrap();
    let options = TrainOptions { validation: 0.2, ..options(400) };
    let rows = Rows::plain(&data, &Fitted::new(7, ConditionKind::None), &options, &mut seeded(0)).unwrap();
    let mut p = Parameters::new(vec![0.0; 3]);
    let report = fit(Unigram, &mut p, &rows, &config(), &options, &mut NoObserver).unwrap();
    let entropy = 7f64.ln() - (2.0 * 2f64.ln() + 4.0 * 4f64.ln()) / 7.0;
    let (_, held_out) = report.validation[report.validation.len() - 1];
    assert!((held_out / 7.0 - entropy).abs() < 1e-3, "{held_out}, entropy {entropy}");
    for (token, doublings) in [(1, 1.0), (2, 2.0)] {
        let found = f64::from(p.average[token] - p.average[0]);
        assert!((found - doublings * 2f64.ln()).abs() < 0.02, "{found}");
    }
}

#[test]
fn chosen_rows_are_those_that_are_held_out() {
    let rows = |n: usize, from: f32| {
        Dataset::new(Array2::from_shape_fn((n, 1), |(row, _)| from + row as f32)).unwrap()
    };
    let patient = TrainOptions { patience: Some(2), ..TrainOptions::default() };
    let split = |data: &Dataset| super::split(data, &patient, &mut seeded(0));
    assert!(matches!(split(&rows(5, 0.0)), Err(Error::Config { field: "TrainOptions::patience", .. })));
    let data = rows(5, 0.0).with_validation(rows(2, 10.0)).unwrap();
    let ((learned, _), (held_out, _), _) = split(&data).unwrap();
    assert_eq!((learned.view(), held_out), (data.x(), rows(2, 10.0).x().to_owned()));
    // A share takes none of the others away, and parts of the data have no chosen rows.
    let (first, _) = data.split(3).unwrap();
    assert!(first.validation().is_none());
    let wide = Dataset::new(Array2::<f32>::zeros((2, 3))).unwrap();
    assert!(data.with_validation(wide).is_err());
}
