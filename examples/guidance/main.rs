//! The effect of guidance where the truth is known: variances compared with their formulas, and adherence against
//! diversity.
//!
//! `cargo run --release --example guidance` (a minute) · `-- --quick` · with `--features plot`, `-- --picture FILE`
//! draws the ring · `-- --help` explains the options.

mod known;

use quadrivium::{ConditionKind, Sampler};
use std::f32::consts::TAU;
#[cfg(feature = "plot")]
use std::path::PathBuf;
use std::sync::Arc;

use clap::Parser;
use comfy_table::{Table, presets};
use quadrivium::diffusion::{Against, Guidance};
use quadrivium::ndarray::{Array1, Array2, Axis};
use quadrivium::numeric::Real;
use quadrivium::{prelude::*, seeded};

use self::known::Known;

/// Variances of guided draws compared with their formulas; adherence and diversity on a ring of classes.
#[derive(Parser)]
struct Args {
    /// Fewer rows and steps, to check that everything runs.
    #[arg(long)]
    quick: bool,
    /// Draw the ring under three scales into this SVG.
    #[cfg(feature = "plot")]
    #[arg(long)]
    picture: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    println!("{}\n", variances(if args.quick { (10_000, 100) } else { (200_000, 1000) })?);
    let ring = Ring::trained(if args.quick { 200 } else { 3000 })?;
    println!("{}", ring.table(if args.quick { 200 } else { 2000 })?);
    #[cfg(feature = "plot")]
    if let Some(path) = args.picture {
        ring.picture()?.save(&path)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn variances((rows, steps): (usize, usize)) -> Result<Table> {
    let config = DiffusionConfig {
        dim: 1,
        timesteps: steps,
        condition: ConditionKind::Class { classes: 1 },
        ..Default::default()
    };
    let ddpm = Diffusion::with_network(config, Arc::new(Known), &mut seeded(0))?;
    let ddim = ddpm.with_sampler(Sampler::Ddim { steps, eta: 0.0 })?;
    let mut table = Table::new();
    table.load_preset(presets::ASCII_MARKDOWN);
    let ddim_name = format!("DDIM-{steps}");
    let ddpm_name = format!("DDPM-{steps}");
    table.set_header([
        "w",
        &ddim_name,
        "2^(1−w)",
        &ddpm_name,
        "(2 − 2^(2−2w))/(2w − 1)",
        "tilted, 2/(w + 1)",
    ]);
    for w in 1..=5 {
        let w = f64::from(w);
        let variance = |model: &Diffusion| -> Result<f64> {
            let guided = model.with_guidance(Guidance { scale: w, ..Default::default() })?;
            let x = guided.given(&Condition::class(0))?.draw(rows, &mut seeded(1))?;
            Ok(x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / rows as f64)
        };
        let (flow, chain) = (2f64.powf(1.0 - w), (2.0 - 2f64.powf(2.0 - 2.0 * w)) / (2.0 * w - 1.0));
        let figures = [variance(&ddim)?, flow, variance(&ddpm)?, chain, 2.0 / (w + 1.0)];
        table.add_row(std::iter::once(format!("{w}")).chain(figures.map(|v| format!("{v:.4}"))));
    }
    Ok(table)
}

/// Eight classes on a ring, wide enough to overlap.
struct Ring {
    model: Diffusion,
    /// The same after a tenth of the training.
    early: Diffusion,
}

const CLASSES: usize = 8;
const SD: f32 = 0.35;

fn center(class: usize) -> [f32; 2] {
    let angle = TAU * class as f32 / CLASSES as f32;
    [angle.cos(), angle.sin()]
}

impl Ring {
    fn trained(steps: usize) -> Result<Self> {
        let (rows, mut rng) = (20_000, seeded(2));
        let x = Array2::from_shape_fn((rows, 2), |(row, c)| {
            center(row % CLASSES)[c] + SD * f32::normal(&mut rng)
        });
        let classes = Array1::from_shape_fn(rows, |row| (row % CLASSES) as u32);
        let data = Dataset::new(x)?.with_condition(Condition::Class(classes))?;
        let config = DiffusionConfig {
            condition: ConditionKind::Class { classes: CLASSES as u32 },
            sampler: Sampler::DpmSolver { steps: 20 },
            ..Default::default()
        };
        let mut early = Diffusion::new(config, &mut rng)?;
        let options = |steps| TrainOptions { steps, ..Default::default() };
        early.train(&data, &options(steps / 10), &mut rng, &mut NoObserver)?;
        let mut model = early.clone();
        model.train(&data, &options(steps), &mut rng, &mut NoObserver)?;
        Ok(Ring { model, early })
    }

    fn guided(&self, scale: f64, interval: (f64, f64), against: Against<Diffusion>) -> Result<Diffusion> {
        self.model.with_guidance(Guidance { scale, interval, against })
    }

    /// Adherence: the share of draws that the exact Bayes classifier gives the asked class. Diversity: the standard
    /// deviation of the draws of a class, in that of the data.
    fn table(&self, rows: usize) -> Result<Table> {
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN);
        table.set_header(["guidance", "w", "evaluations", "adherence", "diversity"]);
        let everywhere = (0.0, f64::INFINITY);
        let kinds: [(&str, (f64, f64), Against<Diffusion>); 3] = [
            ("against no condition", everywhere, Against::Unconditional),
            ("the same for σ/α from 0.3 to 3", (0.3, 3.0), Against::Unconditional),
            ("against an earlier state", everywhere, Against::Weaker(self.early.clone())),
        ];
        for (name, interval, against) in kinds {
            for w in [1.0, 1.25, 1.5, 2.0, 3.0] {
                let guided = self.guided(w, interval, against.clone())?;
                let (mut right, mut sd) = (0, 0.0);
                for class in 0..CLASSES {
                    let x = guided.given(&Condition::class(class as u32))?.draw(rows, &mut seeded(3))?;
                    let dot = |x: &[f32], c: usize| x[0] * center(c)[0] + x[1] * center(c)[1];
                    let nearest = |x: &[f32]| (0..CLASSES).max_by(|a, b| dot(x, *a).total_cmp(&dot(x, *b)));
                    right += x.rows().into_iter().filter(|x| nearest(&x.to_vec()) == Some(class)).count();
                    sd += (x.var_axis(Axis(0), 0.0).sum() / 2.0).sqrt() / SD / CLASSES as f32;
                }
                let adherence = 100.0 * right as f64 / (rows * CLASSES) as f64;
                let nfe = guided.card().nfe;
                table.add_row([
                    name.to_string(),
                    format!("{w}"),
                    format!("{nfe}"),
                    format!("{adherence:.1} %"),
                    format!("{sd:.2}"),
                ]);
            }
        }
        Ok(table)
    }

    #[cfg(feature = "plot")]
    fn picture(&self) -> Result<quadrivium::report::Picture> {
        let mut panels = Vec::new();
        for w in [1.0, 2.0, 4.0] {
            let guided = self.guided(w, (0.0, f64::INFINITY), Against::Unconditional)?;
            // Every other class, so that their edges are seen.
            let classes = Array1::from_shape_fn(600, |row| 2 * (row as u32 % 4));
            panels.push((
                format!("w = {w}"),
                guided.given(&Condition::Class(classes))?.draw(600, &mut seeded(4))?,
            ));
        }
        let views: Vec<_> = panels.iter().map(|(caption, x)| (caption.clone(), x.view())).collect();
        quadrivium::report::snapshots("Every other class of a ring under guidance", &views, None)
    }
}
