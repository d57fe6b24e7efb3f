//! The pictures of one data set, collected while its models train: of the first seed.

use quadrivium::{LikelihoodKind, Sampler, Step, TrainReport};
use std::ops::ControlFlow;

use quadrivium::engine::Standardizer;
use quadrivium::metrics::{self, Floor};
use quadrivium::ndarray::{Array2, ArrayView2, s};
use quadrivium::report::{self, Curve, DensityMap, Picture, Tradeoff, Window};
use quadrivium::{prelude::*, seeded};

use crate::measure::{Effort, Figures};
use crate::models::{self, Candidate, Rule};
pub use crate::page::write;
use crate::report::Results;
use crate::source::Split;

/// Pictures that belong together, under one heading.
pub struct Chapter {
    pub heading: String,
    /// Pairs (the end of its file's name, the picture).
    pub pictures: Vec<(&'static str, Picture)>,
}

/// The pictures: those for rows of any width and, in the plane, those of the rows themselves.
pub struct Album {
    pub paths: Chapter,
    pub models: Vec<Chapter>,
    plane: Option<Plane>,
    test: Array2<f32>,
    units: Standardizer,
    energy_floor: Option<Floor>,
    drawn: usize,
    quick: bool,
}

struct Plane {
    window: Window,
    truth: Option<DensityMap>,
}

/// Rows in a scatter: enough to see a shape, few enough that a page stays small.
const SHOWN: usize = 1_200;

/// How distances are named.
pub const MEASURE: &str = "energy distance";

impl Album {
    pub fn new(split: &Split, effort: Effort, quick: bool) -> Result<Self> {
        let mut plane = None;
        if split.train.dim() == 2 {
            let window = Window::around(split.train.x())?;
            let truth = split.toy.as_ref().map(|toy| DensityMap::of_toy(toy, window, 256)).transpose()?;
            plane = Some(Plane { window, truth });
        }
        Ok(Album {
            paths: Chapter { heading: "Steps, paths and drift".into(), pictures: Vec::new() },
            models: Vec::new(),
            plane,
            test: split.test.clone(),
            units: split.units.clone(),
            // The pictures are of one seed.
            energy_floor: Floor::of(&split.floors, 1).ok().filter(|floor| floor.mean > 0.0),
            drawn: split.drawn.min(effort.bulk),
            quick,
        })
    }

    /// A trained model, before it is measured.
    pub fn trained(&mut self, candidate: &Candidate, training: &TrainReport) -> Result<()> {
        let model = candidate.view();
        let card = model.card();
        let mut chapter = Chapter { heading: heading(candidate), pictures: Vec::new() };
        if let Some(plane) = &self.plane {
            let drawn = match candidate {
                // As it is drawn in practice.
                Candidate::Diffusion(model) => {
                    model.with_sampler(QUICK_STEPS)?.sample(SHOWN, &ONCE, &mut seeded(1))?
                }
                _ => model.sample(SHOWN, &ONCE, &mut seeded(1))?,
            };
            let title = match candidate {
                Candidate::Diffusion(_) => format!("{}: rows drawn by DDIM-50", chapter.heading),
                _ => format!("{}: rows drawn", chapter.heading),
            };
            chapter.pictures.push(("rows", report::scatter(&title, drawn.x.view(), plane.truth.as_ref())?));
            if card.likelihood != LikelihoodKind::Unavailable {
                let cells = match (card.likelihood, self.quick) {
                    (LikelihoodKind::Exact | LikelihoodKind::Unnormalized, false) => 128,
                    (LikelihoodKind::Exact | LikelihoodKind::Unnormalized, true) => 64,
                    (_, false) => 56,
                    (_, true) => 24,
                };
                let density =
                    DensityMap::of_model(model, plane.window, cells, &LikelihoodOptions::default())?;
                let title = format!("{}: ln p, {}", chapter.heading, card.likelihood);
                chapter.pictures.push(("density", report::heat_map(&title, &density)?));
            }
        }
        // A closed form has no curve.
        if training.loss.len() > 1 {
            let title = format!("{}: training", chapter.heading);
            chapter.pictures.push(("training", report::training_curves(&title, card.objective, training)?));
        }
        self.models.push(chapter);
        match candidate {
            Candidate::Diffusion(model) => {
                let model = model.with_sampler(QUICK_STEPS)?;
                self.path(
                    "Diffusion (DDIM-50)",
                    "diffusion-paths",
                    model.sample_path(60, &ONCE, &mut seeded(1))?,
                )
            }
            Candidate::FlowMatching(model) => self.path(
                "Flow matching",
                "flow-matching-paths",
                model.sample_path(60, &ONCE, &mut seeded(1))?,
            ),
            Candidate::One(_) => Ok(()),
        }
    }

    fn path(&mut self, name: &str, kind: &'static str, path: quadrivium::ndarray::Array3<f32>) -> Result<()> {
        if let Some(plane) = &self.plane {
            let title = format!("{name}: from noise to data");
            let picture = report::trajectories(&title, path.view(), plane.truth.as_ref())?;
            self.paths.pictures.push((kind, picture));
        }
        Ok(())
    }

    /// One diffusion by several samplers; `measured` are the rows of the table that it gives.
    pub fn steps(&mut self, diffusion: &Diffusion, measured: &[Figures]) -> Result<()> {
        let families: [(&str, Vec<Sampler>); 3] = [
            ("DDIM", [5, 10, 20, 50, 100].map(|steps| Sampler::Ddim { steps, eta: 0.0 }).into()),
            ("Heun", [3, 5, 10, 18, 35].map(|steps| Sampler::Heun { steps }).into()),
            ("DPM-Solver++", [5, 10, 20, 50].map(|steps| Sampler::DpmSolver { steps }).into()),
        ];
        let test = self.units.apply(self.test.clone());
        let mut curves = Vec::new();
        for (name, samplers) in families {
            let mut points = Vec::new();
            for sampler in samplers {
                let drawn = diffusion.with_sampler(sampler)?.sample(self.drawn, &ONCE, &mut seeded(0))?;
                let energy = metrics::energy_distance(self.units.apply(drawn.x).view(), test.view())?;
                points.push((drawn.nfe as f64, energy));
            }
            curves.push(Curve { name: name.into(), points });
        }
        let ancestral = measured.iter().filter(|figures| figures.card.name.starts_with("DDPM"));
        let points = ancestral.map(|figures| (figures.nfe as f64, figures.energy)).collect();
        curves.push(Curve { name: "DDPM".into(), points });
        // A distance of zero has no place on a logarithmic axis.
        curves.iter_mut().for_each(|curve| curve.points.retain(|point| point.1 > 0.0));
        curves.retain(|curve| !curve.points.is_empty());
        let title = "One diffusion, sampled in few and in many steps";
        let picture = report::steps_vs_quality(title, MEASURE, &curves, self.energy_floor)?;
        self.paths.pictures.insert(0, ("steps", picture));
        Ok(())
    }

    /// What a WGAN-GP makes of the same noise as it trains. The training is started again from the same seed and
    /// stopped after k of its steps, which gives the state of the whole training after k steps.
    pub fn drift(&mut self, split: &Split, rule: Rule, seed: u64) -> Result<()> {
        let Some(plane) = &self.plane else { return Ok(()) };
        let (config, mut options) = models::wasserstein(split.train.dim(), rule);
        if self.quick {
            options.steps = options.steps.div_ceil(crate::QUICK);
        }
        let mut drawn: Vec<(String, Array2<f32>)> = Vec::new();
        for share in [256, 64, 16, 4, 2, 1] {
            let kept = options.steps.div_ceil(share);
            let mut rng = seeded(seed);
            let mut gan = Gan::new(config.clone(), &mut rng)?;
            let mut until = |step: &Step<'_>| match step.step + 1 < kept {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            };
            gan.train(&split.train, &options, &mut rng, &mut until)?;
            drawn.push((format!("{kept} steps"), gan.sample(SHOWN / 4, &ONCE, &mut seeded(1))?.x));
        }
        let panels: Vec<(String, ArrayView2<f32>)> =
            drawn.iter().map(|(caption, x)| (caption.clone(), x.slice(s![.., ..]))).collect();
        let title = "WGAN-GP: the same noise in training";
        self.paths.pictures.push(("gan-drift", report::snapshots(title, &panels, plane.truth.as_ref())?));
        Ok(())
    }
}

const ONCE: SampleOptions = SampleOptions { temperature: 1.0 };

const QUICK_STEPS: Sampler = Sampler::Ddim { steps: 50, eta: 0.0 };

fn heading(candidate: &Candidate) -> String {
    match candidate {
        Candidate::Diffusion(_) => "Diffusion".into(),
        other => other.view().card().name.to_string(),
    }
}

/// Latency against quality, every row of the table a mark.
pub fn chart(results: &Results) -> Result<Picture> {
    let rows: Vec<_> = results.latency_and_quality().into_iter().filter(|row| row.3 > 0.0).collect();
    let points: Vec<Tradeoff<'_>> = rows
        .iter()
        .map(|(name, paradigm, micros, quality)| Tradeoff {
            name,
            paradigm: *paradigm,
            micros: *micros,
            quality: *quality,
        })
        .collect();
    let title = format!("Latency against quality, {}", results.data);
    report::tradeoffs(&title, MEASURE, &points, results.energy_floor().filter(|floor| floor.mean > 0.0))
}
