//! Rows under a condition, and guidance.

use std::f32::consts::TAU;
use std::rc::Rc;
use std::time::Instant;

use quadrivium::diffusion::Guidance;
use quadrivium::metrics::frechet_distance;
use quadrivium::ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, concatenate};
use quadrivium::numeric::{Real, rng::Rng};
use quadrivium::prelude::*;
use quadrivium::{ConditionKind, Conditioning, Sampler};

use super::{classifiers, closed_form};
use crate::claim::{Bound, Claim, Estimate, Finding, measured};
use crate::lab::{Lab, Outcome};
use crate::spots;
use crate::statistics;

pub const CLAIMS: &[Claim] = &[
    measured(
        62,
        "Every paradigm also learns p(x|c), and draws rows of the class that is asked for.",
        classes,
    ),
    measured(
        63,
        "A generative model p(x|c) p(c) classifies, too, and from few labels better than a model of p(c|x).",
        classifiers::few_labels,
    ),
    measured(
        64,
        "Classifier-free guidance is strong and controllable, and costs one small change of the training.",
        dropout,
    ),
    measured(65, "What a trained conditional GAN can trade is less than what guidance can.", constrained),
    measured(66, "More guidance gives more adherence to the condition and less diversity.", amplifies),
    measured(67, "Guidance also works on pixels, without an autoencoder.", pixels),
    measured(68, "A diffusion with classifier-free guidance adheres strongly to its condition.", strong),
    measured(
        69,
        "Guidance in the middle of the path keeps more of the distribution than guidance at all noise.",
        interval,
    ),
];

const CLASSES: usize = 8;

/// The standard deviation of classes that overlap: the best classifier gives nine rows in ten their own class.
const WIDE: f32 = 0.23;

/// The center of a class, on a ring of radius 1.
fn center(class: usize) -> [f32; 2] {
    let angle = TAU * class as f32 / CLASSES as f32;
    [angle.cos(), angle.sin()]
}

/// `n` rows of p(x|c) = N(center, sd² I).
fn rows_of(class: usize, n: usize, sd: f32, rng: &mut Rng) -> Array2<f32> {
    Array2::from_shape_fn((n, 2), |(_, column)| center(class)[column] + sd * f32::normal(rng))
}

/// As many rows of each class.
fn ring(n: usize, sd: f32, rng: &mut Rng) -> Outcome<Dataset> {
    let x: Vec<Array2<f32>> = (0..CLASSES).map(|class| rows_of(class, n / CLASSES, sd, rng)).collect();
    let views: Vec<ArrayView2<f32>> = x.iter().map(|x| x.view()).collect();
    let x = concatenate(Axis(0), &views)?;
    let classes = Array1::from_shape_fn(x.nrows(), |row| (row / (n / CLASSES)) as u32);
    Ok(Dataset::new(x)?.with_condition(Condition::Class(classes))?)
}

/// The class of the nearest center, which is the most probable one.
fn nearest(x: ArrayView1<f32>) -> usize {
    let along = |class: usize| x[0] * center(class)[0] + x[1] * center(class)[1];
    (0..CLASSES).max_by(|&a, &b| along(a).total_cmp(&along(b))).expect("there are classes")
}

/// What draws under each class are like.
struct Seen {
    /// The share of draws of which the best classifier says the class that was asked for.
    adherence: f64,
    /// The standard deviation of the draws of a class, in that of the data.
    diversity: f64,
    /// The Fréchet distance to true rows of the class, mean over classes.
    distance: f64,
}

fn seen(model: &dyn Generative, sd: f32, temperature: f64, rng: &mut Rng) -> Outcome<Seen> {
    let (rows, classes) = (1_000, CLASSES as f64);
    let mut seen = Seen { adherence: 0.0, diversity: 0.0, distance: 0.0 };
    for class in 0..CLASSES {
        let given = model.given(&Condition::class(class as u32))?;
        let x = given.sample(rows, &SampleOptions { temperature }, rng)?.x;
        let right = x.rows().into_iter().filter(|x| nearest(*x) == class).count();
        seen.adherence += right as f64 / (rows as f64 * classes);
        seen.diversity += f64::from((x.var_axis(Axis(0), 0.0).sum() / 2.0).sqrt() / sd) / classes;
        seen.distance += frechet_distance(x.view(), rows_of(class, rows, sd, rng).view())? / classes;
    }
    Ok(seen)
}

fn options(steps: usize) -> TrainOptions {
    TrainOptions { steps, ..Default::default() }
}

const KIND: ConditionKind = ConditionKind::Class { classes: CLASSES as u32 };

/// A diffusion of the wide classes.
fn diffusion(lab: &Lab, seed: u64) -> Outcome<Rc<Diffusion>> {
    lab.kept("diffusion of a ring", seed, || {
        let (streams, sampler) = (lab.streams(seed).family(62), Sampler::DpmSolver { steps: 20 });
        let data = ring(20_000, WIDE, &mut streams.stream(0))?;
        let config = DiffusionConfig { condition: KIND, sampler, ..Default::default() };
        let mut model = Diffusion::new(config, &mut streams.stream(1))?;
        model.train(&data, &options(2_000), &mut streams.stream(2), &mut NoObserver)?;
        Ok(model)
    })
}

/// What its draws are like at a scale of guidance.
fn guided(lab: &Lab, seed: u64, scale: f64, interval: (f64, f64)) -> Outcome<Seen> {
    let model = diffusion(lab, seed)?.with_guidance(Guidance { scale, interval, ..Default::default() })?;
    seen(&model, WIDE, 1.0, &mut lab.streams(seed).family(62).stream(3))
}

const EVERYWHERE: (f64, f64) = (0.0, f64::INFINITY);

/// On narrow classes, which the best classifier tells apart.
fn classes(lab: &Lab) -> Outcome<Finding> {
    let narrow = 0.1;
    let mut finding = Finding::new();
    for (index, name) in ["autoregressive", "VAE", "GAN", "diffusion", "flow"].into_iter().enumerate() {
        let figures = lab.each(|seed| {
            let streams = lab.streams(seed).family(620 + index as u64);
            let rng = &mut streams.stream(0);
            let data = ring(10_000, narrow, rng)?;
            let condition = KIND;
            let mut model: Box<dyn Generative> = match index {
                0 => Box::new(Autoregressive::new(
                    AutoregressiveConfig { condition, ..Default::default() },
                    rng,
                )?),
                1 => Box::new(Vae::new(VaeConfig { condition, ..Default::default() }, rng)?),
                2 => Box::new(Gan::new(GanConfig { condition, ..Default::default() }, rng)?),
                3 => {
                    let sampler = Sampler::DpmSolver { steps: 20 };
                    Box::new(Diffusion::new(
                        DiffusionConfig { condition, sampler, ..Default::default() },
                        rng,
                    )?)
                }
                _ => Box::new(Flow::new(FlowConfig { condition, ..Default::default() }, rng)?),
            };
            model.train(&data, &options(1_500), rng, &mut NoObserver)?;
            let mut gap = Some(0.0);
            for class in 0..CLASSES {
                let x = rows_of(class, 40, narrow, rng);
                let given = model.given(&Condition::class(class as u32))?;
                let score = given.log_likelihood(x.view(), &LikelihoodOptions::default())?;
                let truth = |x: ArrayView1<f32>| {
                    let square =
                        x.iter().zip(center(class)).map(|(x, m)| f64::from(x - m).powi(2)).sum::<f64>();
                    let variance = f64::from(narrow).powi(2);
                    -0.5 * square / variance - (std::f64::consts::TAU * variance).ln()
                };
                let truth: Array1<f64> = x.rows().into_iter().map(truth).collect();
                let class = score.nats().and_then(|nats| (truth - nats).mean());
                gap = gap.zip(class).map(|(gap, class)| gap + class / CLASSES as f64);
            }
            Ok((seen(&model, narrow, 1.0, rng)?.adherence, gap))
        })?;
        let adherence: Vec<f64> = figures.iter().map(|figure| figure.0).collect();
        let least = Bound::AtLeast(0.98);
        finding = finding.claim(format!("{name}: asked class"), statistics::mean(&adherence), least);
        let gaps: Option<Vec<f64>> = figures.iter().map(|figure| figure.1).collect();
        if let Some(gaps) = gaps {
            finding = finding.beside(format!("{name}: nats above h(x|c)"), statistics::mean(&gaps));
        }
    }
    Ok(finding
        .because("A paradigm stays below 98 %: its draws between two classes are counted for the other one."))
}

fn dropout(lab: &Lab) -> Outcome<Finding> {
    let adherence = |scale| lab.mean(|seed| Ok(guided(lab, seed, scale, EVERYWHERE)?.adherence));
    let gain = lab.mean(|seed| {
        let at = |scale| guided(lab, seed, scale, EVERYWHERE);
        Ok(at(2.0)?.adherence - at(1.0)?.adherence)
    })?;
    let model = |condition_dropout, rng: &mut Rng| {
        Diffusion::new(DiffusionConfig { condition: KIND, condition_dropout, ..Default::default() }, rng)
    };
    let without = model(0.0, &mut lab.streams(0).stream(0))?.with_guidance(Guidance::default());
    // Both trainings in turn, so that what else the machine does falls on both.
    let ratio = lab.mean(|seed| {
        let streams = lab.streams(seed).family(64);
        let data = ring(2_000, WIDE, &mut streams.stream(0))?;
        let mut times = [vec![], vec![]];
        for repetition in 0..15 {
            for (share, times) in [0.0, 0.1].into_iter().zip(&mut times) {
                let mut model = model(share, &mut streams.stream(1))?;
                let start = Instant::now();
                model.train(&data, &options(60), &mut streams.stream(2 + repetition), &mut NoObserver)?;
                times.push(start.elapsed().as_secs_f64());
            }
        }
        let [without, with] = times.map(|mut times| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        });
        Ok(with / without)
    })?;
    Ok(Finding::new()
        .claim("asked class at w = 2, less that at w = 1", gain, Bound::AtLeast(0.05))
        .claim("time of training with dropout : without", ratio, Bound::AtMost(1.02))
        .claim(
            "guided models without dropout",
            Estimate::exact(f64::from(u8::from(without.is_ok()))),
            Bound::AtMost(0.0),
        )
        .beside("w = 1", adherence(1.0)?)
        .beside("w = 2", adherence(2.0)?)
        .because(
            "The gain is there; the times of the two trainings differ by less than the machine lets us see, or not by \
             more than the interval.",
        ))
}

/// Diversity where adherence comes to `at` first, between two points of a curve from less adherence to more.
fn reached(curve: &[(f64, f64)], at: f64) -> Option<f64> {
    curve.windows(2).find(|pair| pair[0].0 <= at && at <= pair[1].0).map(|pair| {
        let [(a, from), (b, to)] = [pair[0], pair[1]];
        from + (to - from) * (at - a) / (b - a).max(1e-12)
    })
}

/// The area under a curve.
fn area(curve: &[(f64, f64)]) -> f64 {
    curve.windows(2).map(|pair| (pair[1].0 - pair[0].0) * 0.5 * (pair[0].1 + pair[1].1)).sum()
}

/// Curves of diversity over adherence: what can be reached by the scale of guidance, and what by truncating z.
fn constrained(lab: &Lab) -> Outcome<Finding> {
    let curves = lab.each(|seed| {
        let streams = lab.streams(seed).family(65);
        let mut gan = Gan::new(
            GanConfig {
                condition: KIND,
                conditioning: Conditioning::Projection,
                ..GanConfig::relativistic()
            },
            &mut streams.stream(0),
        )?;
        let data = ring(20_000, WIDE, &mut streams.stream(1))?;
        gan.train(&data, &options(2_000), &mut streams.stream(2), &mut NoObserver)?;
        let point = |seen: Seen| (seen.adherence, seen.diversity);
        let mut game = Vec::new();
        for temperature in [1.0, 0.8, 0.6, 0.4, 0.2, 0.1] {
            game.push(point(seen(&gan, WIDE, temperature, &mut streams.stream(3))?));
        }
        let mut guidance = Vec::new();
        for scale in [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 8.0] {
            guidance.push(point(guided(lab, seed, scale, EVERYWHERE)?));
        }
        Ok((guidance, game))
    })?;
    /// A figure of the two curves: adherence and diversity of guidance, and of the GAN.
    type Figure<'a> = &'a dyn Fn(&[(f64, f64)], &[(f64, f64)]) -> f64;
    let mean = |figure: Figure| {
        statistics::mean(&curves.iter().map(|(guidance, game)| figure(guidance, game)).collect::<Vec<_>>())
    };
    let at = 0.97;
    let diversity = |curve: &[(f64, f64)]| reached(curve, at).unwrap_or(0.0);
    Ok(Finding::new()
        .claim(
            "area under diversity over adherence, guidance less GAN",
            mean(&|guidance, game| area(guidance) - area(game)),
            Bound::AtLeast(0.0),
        )
        .limit(
            "diversity where 97 % are of the asked class, guidance less GAN",
            mean(&|guidance, game| diversity(guidance) - diversity(game)),
            Bound::AtLeast(0.0),
        )
        .beside("area of guidance", mean(&|guidance, _| area(guidance)))
        .beside("area of the GAN", mean(&|_, game| area(game)))
        .because(
            "Guidance reaches more of the curve, from p(x) to a point, but at one adherence these seeds do not \
             tell whether it leaves more diversity than a GAN does whose z is truncated.",
        ))
}

fn amplifies(lab: &Lab) -> Outcome<Finding> {
    let scales = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0];
    let (mut adherence, mut uniformity) = (Vec::new(), Vec::new());
    for scale in scales {
        let seen = lab.each(|seed| guided(lab, seed, scale, EVERYWHERE))?;
        adherence.push(seen.iter().map(|seen| seen.adherence).collect::<Vec<_>>());
        uniformity.push(seen.iter().map(|seen| -seen.diversity).collect::<Vec<_>>());
    }
    let falls: Vec<f64> =
        uniformity[5].iter().zip(&uniformity[7]).map(|(at_three, at_eight)| at_three - at_eight).collect();
    let trend = |groups: &[Vec<f64>]| Estimate::exact(statistics::rising(groups));
    let formulas = closed_form::variances(lab)?;
    let mut finding = Finding::new()
        .claim("p of no rise in adherence with w", trend(&adherence), Bound::AtMost(0.01))
        .claim("p of no fall in diversity with w", trend(&uniformity), Bound::AtMost(0.01))
        .limit("diversity at w = 8 less that at w = 3", statistics::mean(&falls), Bound::AtMost(0.0));
    for (name, relative) in formulas.apart {
        finding = finding.claim(name, Estimate::exact(relative), Bound::AtMost(0.03));
    }
    for (name, variance) in formulas.at_three {
        finding = finding.beside(name, Estimate::exact(variance));
    }
    Ok(finding.because(
        "Up to w = 3 or so all rows come to answer their class, and their diversity falls. Beyond, little is left to gain, and \
         the prediction is carried away from all that the network has seen, so that what is drawn may spread again.",
    ))
}

fn pixels(lab: &Lab) -> Outcome<Finding> {
    let (mut adherence, mut distance, mut floor) = (vec![], vec![], vec![]);
    lab.each(|seed| {
        let (spots, model) = (spots::world(lab, seed)?, spots::pixel_diffusion(lab, seed)?);
        let guided = model.model.with_guidance(Guidance::default())?;
        let asked = spots::asked(spots::JUDGED);
        let rng = &mut lab.streams(seed).family(67).stream(0);
        let x = guided.given(&asked)?.draw(spots::JUDGED, rng)?;
        adherence.push(spots::adherence(x.view(), &asked));
        distance.push(spots.distance(x.view())?);
        floor.push(spots.floor.mean);
        Ok(())
    })?;
    let floor = statistics::mean(&floor);
    Ok(Finding::new()
        .claim("asked class at w = 2", statistics::mean(&adherence), Bound::AtLeast(0.97))
        .limit("distance of attributes", statistics::mean(&distance), Bound::AtMost(3.0 * floor.mean))
        .beside("distance of a perfect sampler", floor)
        .because(
            "The class is right, the distance to the truth is not at the floor: a perceptron of pixels after a short \
             training, at a scale that narrows what it draws.",
        ))
}

fn strong(lab: &Lab) -> Outcome<Finding> {
    let at = |scale| lab.mean(|seed| Ok(guided(lab, seed, scale, EVERYWHERE)?.adherence));
    let truth = lab.mean(|seed| {
        let data = ring(20_000, WIDE, &mut lab.streams(seed).family(62).stream(4))?;
        let right =
            data.x().rows().into_iter().enumerate().filter(|(row, x)| nearest(*x) == row / 2_500).count();
        Ok(right as f64 / 20_000.0)
    })?;
    Ok(Finding::new()
        .claim("asked class at w = 2", at(2.0)?, Bound::AtLeast(0.97))
        .beside("at w = 1", at(1.0)?)
        .beside("of true rows", truth)
        .because("At w = 2 more rows are of the asked class than of the truth, but not 97 %."))
}

/// Both at the scale at which 97 % of the draws are of the asked class; σ/α from 0.3 to 3 is where classes part.
fn interval(lab: &Lab) -> Outcome<Finding> {
    let middle = (0.3, 3.0);
    let figures = lab.each(|seed| {
        let at = |interval| -> Outcome<Option<f64>> {
            let mut curve = Vec::new();
            for scale in [1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0] {
                let seen = guided(lab, seed, scale, interval)?;
                curve.push((seen.adherence, seen.distance));
            }
            Ok(reached(&curve, 0.97))
        };
        let (all, middle) = (at(EVERYWHERE)?, at(middle)?);
        Ok((all.unwrap_or(f64::NAN), middle.unwrap_or(f64::NAN)))
    })?;
    let mean = |figure: &dyn Fn(&(f64, f64)) -> f64| {
        statistics::mean(&figures.iter().map(figure).collect::<Vec<_>>())
    };
    Ok(Finding::new()
        .claim(
            "Fréchet distance to p(x|c) where 97 % are of the asked class, in the middle less everywhere",
            mean(&|(all, middle)| middle - all),
            Bound::AtMost(0.0),
        )
        .beside("everywhere", mean(&|figures| figures.0))
        .beside("in the middle", mean(&|figures| figures.1))
        .because(
            "At the same adherence both are equally far from the data, or guidance in the middle is farther: on a ring of \
             Gaussians the class of a row is decided at the levels where the interval acts, and there it needs a larger \
             scale for the same adherence.",
        ))
}
