use std::io::Write;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use quadrivium::diffusion::FlowSteps;
use quadrivium::file::NewFile;
use quadrivium::onnx::{Export, Part};
use quadrivium::persist::{self, Column, Persist};
use quadrivium::{Diffusion, Flow, FlowMap, FlowMatching, Gan, Result, Sampler, Vae};

use crate::columns::load;
use crate::failure::{Failure, Outcome, of_file, of_writing, say};
use crate::files::{distinct, in_a_folder};
use crate::values::positive;

/// Write a model as an ONNX graph, which onnxruntime and other engines run: noise in, rows out.
///
/// The graph takes standard normal noise and gives rows in the units of the data. For a model with a condition, the
/// condition is a further input. The kinds are vae, gan, flow, diffusion, flow_matching and flow_map, fitted with --units
/// plain or --dequantize.
#[derive(clap::Args)]
pub struct Args {
    /// The model's file.
    model: PathBuf,
    /// File for the graph.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What the graph computes.
    #[arg(long, value_enum, default_value_t = What::Sampler)]
    what: What,
    /// Steps of the sampler: of DDIM for a diffusion model that is sampled by DDPM, otherwise of the model's sampler.
    /// Default: as many as the model takes.
    #[arg(long, value_name = "N", value_parser = positive)]
    steps: Option<usize>,
}

#[derive(Clone, Copy, ValueEnum)]
enum What {
    /// Rows from noise, with all steps of the sampler.
    Sampler,
    /// The network alone: a decoder, a generator, a predictor.
    Network,
}

pub fn run(args: &Args) -> Outcome<()> {
    if args.output == Path::new("-") {
        return Err(Failure::Usage("a graph goes to a file, not to standard output".into()));
    }
    in_a_folder(&args.output)?;
    distinct(&[("the model", Some(&args.model))], &[("the graph", &args.output)])?;
    let (model, columns) = load(&args.model)?;
    let failed = |error| of_file(args.model.display(), error);
    let kind = persist::describe(&args.model).map_err(failed)?.kind;
    let bytes = model.to_bytes().map_err(failed)?;
    let export = match kind.as_str() {
        "vae" | "gan" | "flow" if args.steps.is_some() => {
            return Err(Failure::Usage(format!("--steps: a {kind} draws in one pass")));
        }
        "vae" => boxed(Vae::from_bytes(&bytes)),
        "flow" => boxed(Flow::from_bytes(&bytes)),
        "gan" => boxed(Gan::from_bytes(&bytes)),
        "diffusion" => boxed(Diffusion::from_bytes(&bytes).and_then(|model| match args.steps {
            Some(steps) => model.with_sampler(in_steps(model.config().sampler, steps)),
            None => Ok(model),
        })),
        "flow_matching" => boxed(FlowMatching::from_bytes(&bytes).and_then(|model| match args.steps {
            Some(steps) => model.with_sampler(FlowSteps { steps, ..model.config().sampler }),
            None => Ok(model),
        })),
        "flow_map" => boxed(FlowMap::from_bytes(&bytes).and_then(|model| match args.steps {
            Some(steps) => model.with_steps(steps),
            None => Ok(model),
        })),
        "latent" if crate::units::maps_and_model(model.as_ref()).is_some() => {
            return Err(Failure::Operation(format!(
                "{}: it has maps of its columns, which a graph does not have yet: fit it with --units plain or --dequantize",
                args.model.display()
            )));
        }
        _ => {
            let kinds = "expected vae, gan, flow, diffusion, flow_matching or flow_map";
            return Err(Failure::Operation(format!(
                "{}: a model of kind {kind} has no graph: {kinds}",
                args.model.display()
            )));
        }
    };
    let export = export.map_err(failed)?;
    let modeled: Vec<&Column> = columns.modeled().collect();
    if let Some(column) = modeled.iter().find(|column| !column.units.is_identity()) {
        return Err(Failure::Operation(format!(
            "{}: the values of column {} need more digits than the 32 bits of a graph's rows have",
            args.model.display(),
            column.name
        )));
    }
    let part = match args.what {
        What::Sampler => Part::Sampler,
        What::Network => Part::Network,
    };
    let mut graph = export.graph(part).map_err(failed)?;
    let names: Vec<&str> = modeled.iter().map(|column| column.name.as_str()).collect();
    graph.note("columns", &serde_json::json!(names).to_string());
    let inputs: Vec<String> = graph
        .inputs()
        .map(|(name, _, sizes)| {
            let sizes: String = sizes.iter().map(|size| format!(", {size}")).collect();
            format!("{name} (rows{sizes})")
        })
        .collect();
    let inputs = inputs.join(", ");
    let bytes = graph.to_bytes().map_err(failed)?;
    let written = NewFile::create(&args.output).and_then(|mut file| {
        file.write_all(&bytes)?;
        file.finish()
    });
    written.map_err(|error| of_writing(args.output.display(), error))?;
    if modeled.iter().any(|column| column.step().is_some()) {
        say(format_args!(
            "note: `sample` rounds the columns that were spread in training; the graph does not"
        ));
    }
    say(format_args!("saved to {}: from {inputs}", args.output.display()));
    Ok(())
}

fn boxed<M: Export + 'static>(model: Result<M>) -> Result<Box<dyn Export>> {
    model.map(|model| Box::new(model) as Box<dyn Export>)
}

/// A sampler in another number of steps.
fn in_steps(sampler: Sampler, steps: usize) -> Sampler {
    match sampler {
        Sampler::Ddpm => Sampler::Ddim { steps, eta: 0.0 },
        Sampler::Ddim { eta, .. } => Sampler::Ddim { steps, eta },
        Sampler::Heun { .. } => Sampler::Heun { steps },
        Sampler::DpmSolver { .. } => Sampler::DpmSolver { steps },
        Sampler::EulerMaruyama { .. } => Sampler::EulerMaruyama { steps },
        Sampler::PredictorCorrector { snr, .. } => Sampler::PredictorCorrector { steps, snr },
        Sampler::Ode { method, .. } => Sampler::Ode { method, steps },
    }
}
