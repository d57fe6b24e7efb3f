//! The map of the paradigms, and the procedure that places a system on it.

#[path = "../../reading/cases.rs"]
mod cases;

use std::collections::BTreeMap;

use quadrivium::map::{Objective, Paradigm, Sampling, place, read};
use quadrivium::metrics::energy_distance;
use quadrivium::ndarray::{Array2, Array3, Axis, concatenate, s};
use quadrivium::worlds::Toy;
use quadrivium::{Activation, ConditionKind, NetworkSpec, Sampler, prelude::*};

use self::cases::{FIELDS, load};
use crate::claim::{Bound, Claim, Estimate, Finding, measured, quick};
use crate::lab::{Lab, Outcome};
use crate::statistics;

pub const CLAIMS: &[Claim] = &[
    measured(88, "Any two of the four paradigms can be composed.", composed),
    quick(
        89,
        "Objective and sampling procedure can be found in a description, and tell where a system belongs on the map.",
        procedure,
    ),
    quick(
        90,
        "An objective and a sampling procedure point at exactly one paradigm, and all systems are one of the four or a \
         combination of them.",
        pairs,
    ),
];

/// The four paradigms, made for rows of two columns under a condition of some width.
fn four(
    condition: ConditionKind,
    rng: &mut quadrivium::numeric::rng::Rng,
) -> Result<Vec<Box<dyn Generative>>> {
    let network = |activation| NetworkSpec::mlp([48, 48], activation, 2);
    let smooth = network(Activation::Silu);
    Ok(vec![
        Box::new(Autoregressive::new(
            AutoregressiveConfig { network: smooth.clone(), condition, ..Default::default() },
            rng,
        )?),
        Box::new(Vae::new(
            VaeConfig {
                encoder: network(Activation::Tanh),
                decoder: network(Activation::Tanh),
                condition,
                ..Default::default()
            },
            rng,
        )?),
        Box::new(Gan::new(
            GanConfig { generator: smooth.clone(), critic: smooth.clone(), condition, ..Default::default() },
            rng,
        )?),
        Box::new(Diffusion::new(
            DiffusionConfig {
                network: smooth,
                condition,
                sampler: Sampler::Ddim { steps: 30, eta: 0.0 },
                ..Default::default()
            },
            rng,
        )?),
    ])
}

pub fn composed(lab: &Lab) -> Outcome<Finding> {
    const ROWS: usize = 1_000;
    // Eight places on a ring, twice: what the one model draws tells the other where.
    let angle = |k: usize| std::f64::consts::TAU * k as f64 / 8.0;
    let means = Array2::from_shape_fn((8, 4), |(k, i)| {
        let angle = angle(k) + if i < 2 { 0.0 } else { 2.0 };
        if i % 2 == 0 { angle.cos() } else { angle.sin() }
    });
    let noise = Array3::from_shape_fn((8, 4, 4), |(_, i, j)| if i == j { 0.01 } else { 0.0 });
    let world = Toy::mixture(&[1.0; 8], means.view(), noise.view())?;
    let figures = lab.each(|seed| {
        let mut rng = lab.streams(seed).stream(0);
        let rows = world.sample(5_000, &mut rng);
        let (first, second) = rows.view().split_at(Axis(1), 2);
        let priors = Dataset::new(first.to_owned())?;
        let data = Dataset::new(second.to_owned())?.with_condition(Condition::Vector(first.to_owned()))?;
        let test = world.sample(ROWS, &mut rng);
        let options = TrainOptions { steps: 600, ..Default::default() };
        let mut sources = Vec::new();
        for mut prior in four(ConditionKind::None, &mut rng)? {
            prior.train(&priors, &options, &mut rng, &mut NoObserver)?;
            sources.push(prior.draw(ROWS, &mut rng)?);
        }
        let (mut coupled, mut ratios) = (0, Vec::new());
        for mut outer in four(ConditionKind::Vector { dim: 2 }, &mut rng)? {
            outer.train(&data, &options, &mut rng, &mut NoObserver)?;
            for source in &sources {
                let drawn = outer.given(&Condition::Vector(source.clone()))?.draw(ROWS, &mut rng)?;
                let whole = |first: &Array2<f32>| concatenate(Axis(1), &[first.view(), drawn.view()]);
                // The same parts, each with another's condition.
                let turned = concatenate(Axis(0), &[source.slice(s![1.., ..]), source.slice(s![..1, ..])])?;
                let together = energy_distance(whole(source)?.view(), test.view())?;
                let apart = energy_distance(whole(&turned)?.view(), test.view())?;
                coupled += usize::from(together < 0.5 * apart);
                ratios.push(together / apart);
            }
        }
        Ok((f64::from(coupled as u32), ratios.into_iter().fold(0.0, f64::max)))
    })?;
    let of = |get: fn(&(f64, f64)) -> f64| statistics::mean(&figures.iter().map(get).collect::<Vec<_>>());
    Ok(Finding::new()
        .claim(
            "ordered pairs of 16, one drawing the condition of the other, with half the energy distance of \
             unmatched conditions",
            of(|figures| figures.0),
            Bound::AtLeast(16.0),
        )
        .beside("largest of the 16 ratios of these distances", of(|figures| figures.1))
        .because(
            "Every pair runs; how good the composition is depends on its weaker part, and on whether the outer \
             model heeds its condition.",
        ))
}

pub fn procedure(_: &Lab) -> Outcome<Finding> {
    let mut finding = Finding::new();
    let (mut missed, mut outside, mut placed) = (Vec::new(), 0, 0);
    for (name, sets) in [
        ("practice texts", vec!["practice"]),
        (
            "descriptions of well-known models, on which the rules were corrected",
            vec!["tuning", "validation", "second", "third"],
        ),
    ] {
        let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for case in sets.into_iter().flat_map(load) {
            let reading = read(&case.text);
            if case.is_outside() {
                outside += 1;
                placed += usize::from(!reading.components.is_empty());
                continue;
            }
            for judged in case.judge(&reading) {
                let (right, all) = counts.entry(judged.field).or_default();
                *right += usize::from(judged.holds());
                *all += 1;
                if judged.field == FIELDS[0] && !judged.holds() {
                    missed.push(case.name.clone());
                }
            }
        }
        let fields =
            [("objectives", "objective"), ("sampling", "sampling procedure"), ("components", "place")];
        for (field, what) in fields {
            let (right, all) = counts.get(field).copied().ok_or("a field")?;
            finding = finding.claim(
                format!("{name}, {all}: share with the right {what}"),
                Estimate::exact(right as f64 / all as f64),
                Bound::AtLeast(0.9),
            );
        }
    }
    // What the rules can express, then, and not what they would do on the next text.
    let share = Estimate::exact(f64::from(placed as u32) / f64::from(outside as u32));
    Ok(finding
        .limit(format!("texts that belong nowhere, {outside}: share with a place"), share, Bound::AtMost(0.0))
        .because(format!(
            "Some texts say too little, or say it in words that no rule knows. Read wrongly: {}.",
            missed.join(", ")
        )))
}

pub fn pairs(_: &Lab) -> Outcome<Finding> {
    use Objective as O;
    let objectives = [
        O::ChainRuleNll,
        O::ChangeOfVariables,
        O::Elbo,
        O::Minimax,
        O::NonSaturatingR1,
        O::Relativistic,
        O::WassersteinGp,
        O::NoisePrediction,
        O::FlowMatching,
        O::FlowMap,
        O::Consistency,
        O::ScoreMatching,
        O::SlicedScoreMatching,
        O::ContrastiveDivergence,
        O::ExpectationMaximization,
        O::KernelSmoothing,
        O::Counting,
        O::PrincipalComponents,
    ];
    let procedures = [
        Sampling::OnePass,
        Sampling::Sequential { dim: 2 },
        Sampling::Denoising { steps: 50 },
        Sampling::Flowing { steps: 50 },
        Sampling::Langevin { steps: 50 },
        Sampling::AnnealedLangevin { steps: 50 },
    ];
    let four = [Paradigm::Autoregressive, Paradigm::Latent, Paradigm::Adversarial, Paradigm::Diffusion];
    let (mut placed, mut within, mut torn) = (0, 0, 0);
    for objective in objectives {
        let mut paradigms = Vec::new();
        for sampling in procedures {
            let Some(place) = place(objective, sampling) else { continue };
            placed += 1;
            within += usize::from(four.contains(&place.paradigm));
            if !paradigms.contains(&place.paradigm) {
                paradigms.push(place.paradigm);
            }
        }
        torn += usize::from(paradigms.len() > 1);
    }
    // What the four do not cover, among the descriptions of known models.
    let cases: Vec<_> = ["tuning", "validation", "second", "third"].into_iter().flat_map(load).collect();
    let readings: Vec<_> =
        cases.iter().map(|case| read(&case.text)).filter(|reading| !reading.components.is_empty()).collect();
    let covered =
        readings.iter().filter(|reading| reading.components.iter().all(|part| four.contains(&part.paradigm)));
    let share = covered.count() as f64 / readings.len() as f64;
    Ok(Finding::new()
        // A pair has one place or none, by construction; that the objective alone would not do is what the pair is for.
        .claim("objectives that a sampling procedure has to tell apart", Estimate::exact(torn as f64), Bound::AtLeast(1.0))
        .limit("share of the map's pairs that lie in the four paradigms", Estimate::exact(within as f64 / placed as f64), Bound::AtLeast(1.0))
        .limit("share of the known models that lie in the four", Estimate::exact(share), Bound::AtLeast(1.0))
        .beside("pairs on the map", Estimate::exact(f64::from(placed as u32)))
        .because(
            "A pair has one place at most. But flows, energy-based models and closed-form baselines are \
             paradigms beside the four, not combinations of them, and a part of the known models is one of these.",
        ))
}
