//! One test over every implementor of `Generative`: what the trait promises holds for all of them.

mod extremes;
mod files;
mod small;
mod tails;
mod training;

use std::ops::ControlFlow;

use quadrivium::diffusion::matching::FlowSteps;
use quadrivium::diffusion::{Method, Solver};
use quadrivium::energy::{Acceptance, Langevin, Normalisation};
use quadrivium::map::Objective;
use quadrivium::ndarray::{Array2, array, s};
use quadrivium::prelude::*;
use quadrivium::worlds::Toy;
use quadrivium::{Error, TraceEstimator, seeded};

// With files, every model can be one.
#[cfg(not(feature = "safetensors"))]
use quadrivium::Generative as Model;
#[cfg(feature = "safetensors")]
use quadrivium::persist::{self, Persist as Model};

use self::small::models;

fn moons(n: usize) -> Dataset {
    Dataset::new(Toy::moons(0.1).unwrap().sample(n, &mut seeded(1))).unwrap()
}

fn short(steps: usize) -> TrainOptions {
    TrainOptions { steps, batch: 64, ..TrainOptions::default() }
}

fn train(model: &mut dyn Generative, steps: usize) -> TrainReport {
    model.train(&moons(500), &short(steps), &mut seeded(2), &mut Silent).unwrap()
}

fn sample(model: &dyn Generative, n: usize, seed: u64) -> Samples {
    model.sample(n, &SampleOptions::default(), &mut seeded(seed)).unwrap()
}

fn nats(model: &dyn Generative, x: &Array2<f32>) -> Option<Vec<f64>> {
    let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
    score.nats().map(|nats| nats.to_vec())
}

fn name(model: &dyn Generative) -> String {
    model.card().name.to_string()
}

#[test]
fn shapes_and_costs_are_as_the_card_says() {
    for mut model in models() {
        // Usable untrained, and trained.
        for steps in [0, 3] {
            if steps > 0 {
                train(model.as_mut(), steps);
            }
            let (name, card) = (name(model.as_ref()), model.card());
            assert!(model.num_params() > 0, "{name}");
            for n in [0, 1, 5, 100] {
                let drawn = sample(model.as_ref(), n, 0);
                assert_eq!(drawn.x.dim(), (n, model.dim()), "{name}");
                assert!(drawn.x.iter().all(|v| v.is_finite()), "{name}");
                if n > 0 {
                    assert_eq!(drawn.nfe, card.nfe, "{name}: counted against predicted");
                }
            }
            for n in [0, 1, 3] {
                let x = moons(3).x().slice(s![..n, ..]).to_owned();
                let score = model.log_likelihood(x.view(), &LikelihoodOptions::default()).unwrap();
                assert_eq!(score.kind(), card.likelihood, "{name}");
                if let Some(nats) = score.nats() {
                    assert_eq!(nats.len(), n, "{name}");
                }
            }
        }
    }
}

#[test]
fn the_first_rows_do_not_depend_on_how_many_follow() {
    for mut model in models() {
        train(model.as_mut(), 3);
        let name = name(model.as_ref());
        let all = sample(model.as_ref(), 130, 5).x;
        for k in [1, 47, 48, 49, 129] {
            assert_eq!(sample(model.as_ref(), k, 5).x, all.slice(s![..k, ..]), "{name}, {k} rows");
        }
        let mut blocks: Vec<Array2<f32>> = Vec::new();
        let mut sink = |rows: quadrivium::ndarray::ArrayView2<f32>| {
            blocks.push(rows.to_owned());
            ControlFlow::Continue(())
        };
        model.sample_each(130, &SampleOptions::default(), &mut seeded(5), &mut sink).unwrap();
        let views: Vec<_> = blocks.iter().map(|b| b.view()).collect();
        assert_eq!(
            quadrivium::ndarray::concatenate(quadrivium::ndarray::Axis(0), &views).unwrap(),
            all,
            "{name}"
        );
        assert_ne!(
            sample(model.as_ref(), 5, 6).x,
            all.slice(s![..5, ..]),
            "{name}: another seed, other rows"
        );
    }
}

#[test]
fn blocks_of_a_long_draw_are_its_rows() {
    // More rows than a block holds, of the models that draw them quickly.
    for model in models().into_iter().filter(|m| m.card().nfe <= 2) {
        let n = 20_000;
        let mut drawn = Vec::new();
        let mut sink = |rows: quadrivium::ndarray::ArrayView2<f32>| {
            drawn.extend(rows.iter().copied());
            ControlFlow::Continue(())
        };
        model.sample_each(n, &SampleOptions::default(), &mut seeded(5), &mut sink).unwrap();
        assert!(
            drawn == sample(model.as_ref(), n as usize, 5).x.into_raw_vec_and_offset().0,
            "{}",
            name(model.as_ref())
        );
    }
}

#[test]
fn sample_each_stops_when_told_to() {
    for model in models() {
        let mut calls = 0;
        let mut sink = |_: quadrivium::ndarray::ArrayView2<f32>| {
            calls += 1;
            ControlFlow::Break(())
        };
        // More rows than one would wait for.
        model.sample_each(1 << 40, &SampleOptions::default(), &mut seeded(0), &mut sink).unwrap();
        assert_eq!(calls, 1);
    }
}

#[cfg(feature = "rayon")]
#[test]
fn the_number_of_threads_does_not_move_a_bit() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut results = Vec::new();
            for mut model in models() {
                let options = TrainOptions { shards: 4, ..short(5) };
                let report = model.train(&moons(500), &options, &mut seeded(2), &mut Silent).unwrap();
                let x = sample(model.as_ref(), 150, 7).x;
                let score = nats(model.as_ref(), &moons(150).x().to_owned());
                results.push((name(model.as_ref()), report, x, score));
            }
            results
        })
    };
    let one = run(1);
    for threads in [2, 5] {
        for (one, other) in one.iter().zip(run(threads)) {
            assert_eq!(one, &other, "{threads} threads");
        }
    }
}

#[test]
fn a_batch_scores_as_its_rows() {
    for mut model in models() {
        train(model.as_mut(), 20);
        let x = moons(60).x().to_owned();
        let Some(all) = nats(model.as_ref(), &x) else { continue };
        for r in [0, 17, 59] {
            let one = nats(model.as_ref(), &x.slice(s![r..r + 1, ..]).to_owned()).unwrap()[0];
            let tolerance = 1e-5 * (1.0 + one.abs());
            assert!(
                (one - all[r]).abs() <= tolerance,
                "{}: row {r} alone {one}, in a batch {}",
                name(model.as_ref()),
                all[r]
            );
        }
        // A view that is not contiguous is the same rows.
        let mut columns = Array2::zeros((2, 60));
        columns.assign(&x.t());
        let score = model.log_likelihood(columns.t(), &LikelihoodOptions::default()).unwrap();
        assert_eq!(score.nats().unwrap().to_vec(), all, "{}", name(model.as_ref()));
    }
}

#[test]
fn the_observer_sees_every_step_and_can_break_off() {
    for mut model in models() {
        let mut seen = Vec::new();
        let mut observer = |step: &Step<'_>| {
            assert_eq!(step.part_names.len(), step.parts.len());
            assert!(step.loss.is_finite());
            seen.push(step.step);
            if step.step == 6 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let report = model.train(&moons(100), &short(20), &mut seeded(0), &mut observer).unwrap();
        // A rule for the width of kernels has one step only.
        let (steps, stop) = match model.card().name.as_ref() {
            "KDE (Scott)" => (1, Stop::Completed),
            _ => (7, Stop::Interrupted),
        };
        assert_eq!(seen, (0..steps).collect::<Vec<_>>());
        // Of the runs of a mixture, the report is that of the one which was kept.
        let reported = report.loss.len();
        let searches = model.card().name.starts_with("Gaussian mixture");
        assert!(reported == steps || searches && (1..=steps).contains(&reported), "{reported}");
        assert_eq!(report.stop, stop);
        assert!(report.parts.iter().all(|(_, values)| values.len() == steps));
        assert_eq!(train(model.as_mut(), 4).stop, Stop::Completed);
    }
}

#[test]
fn a_batch_of_one_row_has_one_shard() {
    for (mut model, mut other) in models().into_iter().zip(models()) {
        let options = TrainOptions { steps: 2, batch: 1, ..TrainOptions::default() };
        let report = model.train(&moons(100), &options, &mut seeded(0), &mut Silent).unwrap();
        let one = TrainOptions { shards: 1, ..options };
        assert_eq!(other.train(&moons(100), &one, &mut seeded(0), &mut Silent).unwrap(), report);
    }
}

#[test]
fn a_training_goes_on_from_the_present_parameters() {
    // But for kernels, which stand on the rows of the last one.
    for mut model in models().into_iter().filter(|m| m.card().objective != Objective::KernelSmoothing) {
        train(model.as_mut(), 2);
        let now = |model: &dyn Generative| (sample(model, 5, 0).x, nats(model, &moons(5).x().to_owned()));
        let before = now(model.as_ref());
        train(model.as_mut(), 1);
        assert_ne!(now(model.as_ref()), before, "{}", name(model.as_ref()));
    }
}

/// On one round lump, where less randomness can only mean rows nearer to its middle.
#[test]
fn a_lower_temperature_gives_less_varied_rows() {
    let toy =
        Toy::mixture(&[1.0], array![[1.0, -2.0]].view(), array![[[1.0, 0.0], [0.0, 4.0]]].view()).unwrap();
    let data = Dataset::new(toy.sample(500, &mut seeded(1))).unwrap();
    let mut missed = Vec::new();
    for mut model in models() {
        model.train(&data, &short(150), &mut seeded(2), &mut Silent).unwrap();
        let spread = |temperature: f64| {
            let options = SampleOptions { temperature };
            let x = model.sample(2_000, &options, &mut seeded(0)).unwrap().x;
            x.std_axis(quadrivium::ndarray::Axis(0), 0.0).sum()
        };
        let ratio = spread(0.2) / spread(1.0);
        // A temperature leaves the centres of components and kernels where they are.
        let most = match model.card().objective {
            Objective::KernelSmoothing => 0.999,
            Objective::ExpectationMaximisation => 0.9,
            _ => 0.6,
        };
        if ratio.is_nan() || ratio >= most {
            missed.push((name(model.as_ref()), ratio));
        }
    }
    assert!(missed.is_empty(), "spread at 0.2 against 1: {missed:?}");
}

/// ∫ p(x) dx over a square, and the share of draws outside of it, on points that follow no lattice: a density with steps has edges that a lattice
/// may miss alike.
#[test]
fn exact_densities_integrate_to_one() {
    let n = 1_000_000;
    // Roberts' sequence: multiples of 1/ρ and 1/ρ² modulo 1, ρ³ = ρ + 1, spread evenly over the square.
    let rho = 1.324_717_957_244_746_f64;
    let (low, high) = ([-4.0, -3.0], [5.0, 3.5]);
    let points = Array2::from_shape_fn((n, 2), |(i, c)| {
        let share = (0.5 + (i + 1) as f64 * rho.powi(-(c as i32 + 1))).fract();
        (low[c] + share * (high[c] - low[c])) as f32
    });
    let area = (high[0] - low[0]) * (high[1] - low[1]);
    for mut model in models() {
        if model.card().likelihood != LikelihoodKind::Exact {
            continue;
        }
        train(model.as_mut(), 300);
        let total =
            area * nats(model.as_ref(), &points).unwrap().iter().map(|v| v.exp()).sum::<f64>() / n as f64;
        let drawn = sample(model.as_ref(), 20_000, 3).x;
        let beyond = |row: &quadrivium::ndarray::ArrayView1<f32>| {
            (0..2).any(|c| !(low[c]..high[c]).contains(&f64::from(row[c])))
        };
        let outside = drawn.rows().into_iter().filter(beyond).count() as f64 / 20_000.0;
        // Steps are resolved less well than slopes; the model's own tests integrate them bin by bin.
        let most = if name(model.as_ref()).ends_with("bins") { 2e-3 } else { 1e-3 };
        assert!((total + outside - 1.0).abs() < most, "{}: {total}, {outside} outside", name(model.as_ref()));
    }
}

/// Every likelihood that claims nats is at most the truth on average. On the same rows, so that the rows' own
/// chance cancels: the mean of log p_truth − log p_model estimates a KL divergence, which is not negative.
#[test]
fn no_likelihood_beats_the_truth() {
    let toy = Toy::moons(0.1).unwrap();
    let data = Dataset::new(toy.sample(5_000, &mut seeded(11))).unwrap();
    let test = toy.sample(1_000, &mut seeded(12));
    let truth = toy.log_density(test.view()).unwrap();
    for mut model in models() {
        model.train(&data, &short(300), &mut seeded(2), &mut Silent).unwrap();
        let Some(nats) = nats(model.as_ref(), &test) else { continue };
        let gaps: Vec<f64> = truth.iter().zip(&nats).map(|(truth, model)| truth - model).collect();
        let n = gaps.len() as f64;
        let mean = gaps.iter().sum::<f64>() / n;
        let error = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / n / n).sqrt();
        // After so short a training each is measurably worse than the truth.
        assert!(mean > 3.0 * error, "{}: KL(truth ‖ model) = {mean} ± {error}", name(model.as_ref()));
    }
}

#[test]
fn the_elbo_is_below_the_iwae_bound_is_below_the_truth() {
    let toy = Toy::moons(0.1).unwrap();
    let data = Dataset::new(toy.sample(5_000, &mut seeded(11))).unwrap();
    let test = toy.sample(1_000, &mut seeded(12));
    let truth = toy.log_density(test.view()).unwrap().mean().unwrap();
    let bound = |draws: usize| {
        let mut vae = Vae::new(VaeConfig { draws, ..Default::default() }, &mut seeded(0)).unwrap();
        vae.train(&data, &short(300), &mut seeded(1), &mut Silent).unwrap();
        let score = vae.log_likelihood(test.view(), &LikelihoodOptions::default()).unwrap();
        score.nats().unwrap().mean().unwrap()
    };
    let (elbo, iwae_5, iwae_100) = (bound(1), bound(5), bound(100));
    assert!(elbo < iwae_5 && iwae_5 < iwae_100 && iwae_100 < truth, "{elbo} {iwae_5} {iwae_100} {truth}");
}
