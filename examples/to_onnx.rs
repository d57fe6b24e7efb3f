//! Exports models as ONNX graphs, with noise and the rows that this crate makes of it, for
//! `python/check_onnx.py` to compare: `cargo run --release --features onnx --example to_onnx -- FOLDER`.

use std::fs::File;
use std::path::PathBuf;

use quadrivium::diffusion::matching::Method;
use quadrivium::diffusion::{Beyond, FlowSteps, Guidance, NoiseLevel};
use quadrivium::engine::{RowStreams, Standardizer};
use quadrivium::ndarray::{Array1, Array2, ArrayView2};
use quadrivium::numeric::Real as _;
use quadrivium::numeric::rng::{Rng, Streams};
use quadrivium::onnx::{Element, Export, Graph, Part};
use quadrivium::prelude::*;
use quadrivium::tables::NpyWriter;
use quadrivium::worlds::Toy;
use quadrivium::{
    Activation, Architecture, ConditionKind, DecoderVariance, MapObjective, Mixing, NetworkSpec, Sampler,
    Sde, Transform,
};

type Outcome<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Rows of each comparison.
const ROWS: usize = 64;

/// The temperature of the last rows of a sampler, which go where networks fade out and tails begin.
const HOT: f64 = 9.0;

/// The rows at that temperature.
const HOT_ROWS: usize = 16;

/// Where the files go.
struct Lab {
    folder: PathBuf,
}

impl Lab {
    /// Writes an array as `NAME.WHAT.npy`.
    fn array(&self, name: &str, what: &str, x: ArrayView2<f32>) -> Outcome<()> {
        let file = File::create(self.folder.join(format!("{name}.{what}.npy")))?;
        let mut out = NpyWriter::new(file, x.nrows() as u64, x.ncols())?;
        out.write(x.as_standard_layout().as_slice().ok_or("row-major")?)?;
        out.finish()?;
        Ok(())
    }

    /// Writes a graph with its inputs and what it should give.
    fn compare(
        &self,
        name: &str,
        graph: &Graph,
        inputs: &[(&str, Array2<f32>)],
        expected: ArrayView2<f32>,
    ) -> Outcome<()> {
        std::fs::write(self.folder.join(format!("{name}.onnx")), graph.to_bytes()?)?;
        for (input, numbers) in inputs {
            self.array(name, input, numbers.view())?;
        }
        self.array(name, "expected", expected)
    }

    /// Compares a sampler with the model's own draws: the numbers of a row's inputs are those of the row's stream.
    fn sampler<M: Generative + Export>(
        &self,
        name: &str,
        model: &M,
        condition: Option<(Condition, Array2<f32>)>,
    ) -> Outcome<()> {
        let (graph, streams) = (model.graph(Part::Sampler)?, RowStreams::new(Streams::new(7), 0));
        let mut inputs: Vec<(&str, Array2<f32>)> = graph
            .inputs()
            .filter(|(name, element, _)| *element == Element::F32 && *name != "condition")
            .map(|(name, _, sizes)| (name, Array2::zeros((ROWS, sizes.iter().product()))))
            .collect();
        let scale = |r: usize| if r < ROWS - HOT_ROWS { 1.0 } else { HOT };
        for r in 0..ROWS {
            let mut rng = streams.row(r);
            for (_, x) in &mut inputs {
                x.row_mut(r).iter_mut().for_each(|x| *x = scale(r) as f32 * f32::normal(&mut rng));
            }
        }
        let mut rows = vec![0.0; ROWS * model.dim()];
        let (cool, hot) = rows.split_at_mut((ROWS - HOT_ROWS) * model.dim());
        for (first, rows) in [(0, cool), (ROWS - HOT_ROWS, hot)] {
            let options = SampleOptions { temperature: scale(first) };
            match &condition {
                None => model.draw_at(streams.skip(first), &options, rows)?,
                Some((condition, _)) => {
                    model.given(condition)?.draw_at(streams.skip(first), &options, rows)?
                }
            };
        }
        if let Some((_, numbers)) = condition {
            let input =
                graph.inputs().map(|(name, ..)| name).find(|name| ["class", "condition"].contains(name));
            inputs.push((input.ok_or("an input for the condition")?, numbers));
        }
        let rows = Array2::from_shape_vec((ROWS, model.dim()), rows)?;
        self.compare(name, &graph, &inputs, rows.view())
    }
}

/// A class for each row, of three.
fn classes(n: usize) -> (Condition, Array2<f32>) {
    let class = |r: usize| (r % 3) as u32;
    (
        Condition::Class(Array1::from_shape_fn(n, class)),
        Array2::from_shape_fn((n, 1), |(r, _)| class(r) as f32),
    )
}

fn train<M: Generative>(mut model: M, data: &Dataset, rng: &mut Rng) -> Result<M> {
    let options = TrainOptions { steps: 150, ..TrainOptions::default() };
    model.train(data, &options, rng, &mut NoObserver)?;
    Ok(model)
}

fn main() -> Outcome<()> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("usage: to_onnx FOLDER")?);
    std::fs::create_dir_all(&folder)?;
    let (lab, mut rng) = (Lab { folder }, quadrivium::seeded(0));
    let n = 1_000;
    // Large offsets, correlated columns, and one column with heavy tails.
    let mut x = Toy::moons(0.1)?.sample(n, &mut rng);
    x.rows_mut().into_iter().for_each(|mut row| {
        row[1] = 300.0 + 7.0 * (row[1] + row[0]);
        row[0] = row[0].powi(3).sinh();
    });
    let data = Dataset::new(x)?;
    let of_classes = data.clone().with_condition(classes(n).0)?;
    let angle = Array2::from_shape_fn((n, 1), |(r, _)| 5.0 + 0.01 * (r as f32) + data.x()[[r, 1]]);
    let of_numbers = data.clone().with_condition(Condition::Vector(angle.clone()))?;
    let condition = ConditionKind::Class { classes: 3 };
    let mlp = |activation| NetworkSpec::mlp([32, 32], activation, 3);
    let residual = |activation| NetworkSpec::Residual { width: 16, blocks: 2, activation, octaves: 2 };

    let vae =
        |network: NetworkSpec| VaeConfig { encoder: network.clone(), decoder: network, ..Default::default() };
    let model = Vae::new(vae(mlp(Activation::Tanh)), &mut rng)?;
    let model = train(model, &data, &mut rng)?;
    lab.sampler("vae", &model, None)?;
    let z = Array2::from_shape_fn((ROWS, 2), |_| f32::normal(&mut rng));
    let rows = model.decode(z.view())?;
    lab.compare("vae_decoder", &model.graph(Part::Network)?, &[("z", z.clone())], rows.view())?;
    let network = vae(residual(Activation::Gelu));
    let config = VaeConfig { condition, decoder_variance: DecoderVariance::PerRow, ..network };
    let model = Vae::new(config, &mut rng)?;
    lab.sampler("vae_residual_classes", &train(model, &of_classes, &mut rng)?, Some(classes(ROWS)))?;

    let generator = mlp(Activation::LeakyRelu { slope: 0.2 });
    let model = Gan::new(GanConfig { generator, ..Default::default() }, &mut rng)?;
    lab.sampler("gan", &train(model, &data, &mut rng)?, None)?;
    let config = GanConfig { condition, generator: residual(Activation::Softplus), ..Default::default() };
    let model = Gan::new(config, &mut rng)?;
    lab.sampler("gan_residual_classes", &train(model, &of_classes, &mut rng)?, Some(classes(ROWS)))?;

    let config = DiffusionConfig { network: mlp(Activation::Silu), timesteps: 50, ..Default::default() };
    let model = Diffusion::new(config.clone(), &mut rng)?;
    let model = train(model, &data, &mut rng)?;
    let level = NoiseLevel::at_log_snr(0.7);
    let inputs = [("x", z.clone()), ("log_snr", Array2::from_elem((ROWS, 1), 0.7))];
    let eps_hat = model.predict_noise(z.view(), level)?;
    lab.compare("diffusion_predictor", &model.graph(Part::Network)?, &inputs, eps_hat.view())?;
    for (name, sampler) in [
        ("ddpm_50", Sampler::Ddpm),
        ("ddim_20", Sampler::Ddim { steps: 20, eta: 0.0 }),
        ("heun_9", Sampler::Heun { steps: 9 }),
        ("dpm_solver_10", Sampler::DpmSolver { steps: 10 }),
        ("predictor_corrector_8", Sampler::PredictorCorrector { steps: 8, snr: 0.16 }),
        ("ode_6", Sampler::Ode { method: Method::Rk4, steps: 6 }),
    ] {
        lab.sampler(name, &model.with_sampler(sampler)?, None)?;
    }
    let schedule = quadrivium::Schedule::Continuous(Sde::EXPLODING);
    let config = DiffusionConfig { beyond: Beyond::Point, schedule, ..config };
    let model = Diffusion::new(config, &mut rng)?;
    let steps = Sampler::EulerMaruyama { steps: 20 };
    lab.sampler("euler_maruyama_20", &train(model, &data, &mut rng)?.with_sampler(steps)?, None)?;
    let config = DiffusionConfig { condition, network: residual(Activation::Silu), ..Default::default() };
    let model = Diffusion::new(config, &mut rng)?;
    let model = train(model, &of_classes, &mut rng)?.with_sampler(Sampler::Ddim { steps: 10, eta: 0.5 })?;
    lab.sampler("guided_classes", &model.with_guidance(Guidance::default())?, Some(classes(ROWS)))?;
    // Without a condition.
    let rows = {
        let streams = RowStreams::new(Streams::new(7), 0);
        let mut rows = vec![0.0; ROWS * 2];
        model.draw_at(streams, &SampleOptions::default(), &mut rows)?;
        Array2::from_shape_vec((ROWS, 2), rows)?
    };
    let mut noise = (Array2::zeros((ROWS, 2)), Array2::zeros((ROWS, 18)));
    for r in 0..ROWS {
        let mut rng = RowStreams::new(Streams::new(7), 0).row(r);
        for x in noise.0.row_mut(r).into_iter().chain(noise.1.row_mut(r)) {
            *x = f32::normal(&mut rng);
        }
    }
    let inputs = [("noise", noise.0), ("step_noise", noise.1), ("class", Array2::from_elem((ROWS, 1), 3.0))];
    lab.compare("no_class", &model.graph(Part::Sampler)?, &inputs, rows.view())?;

    let config = FlowMatchingConfig { network: mlp(Activation::Relu), ..Default::default() };
    let model = FlowMatching::new(config.clone(), &mut rng)?;
    let model = train(model, &data, &mut rng)?;
    lab.sampler("flow_matching_rk4_25", &model, None)?;
    lab.sampler(
        "flow_matching_heun_8",
        &model.with_sampler(FlowSteps { method: Method::Heun, steps: 8 })?,
        None,
    )?;
    // One step of Euler's method is the velocity at time 0.
    let units = Standardizer::identity(2).whitened(data.x())?;
    let mut x0 = z.clone();
    units.restore(x0.as_slice_mut().ok_or("row-major")?);
    let x1 = model.with_sampler(FlowSteps { method: Method::Euler, steps: 1 })?.transport(x0.view())?;
    let velocity = units.apply(x1) - &z;
    let inputs = [("x", z), ("time", Array2::zeros((ROWS, 1)))];
    lab.compare("flow_matching_velocity", &model.graph(Part::Network)?, &inputs, velocity.view())?;
    let config = FlowMatchingConfig { condition: ConditionKind::Vector { dim: 1 }, ..config };
    let model = FlowMatching::new(config, &mut rng)?;
    let angle = angle.slice(quadrivium::ndarray::s![..ROWS, ..]).to_owned();
    let given = Some((Condition::Vector(angle.clone()), angle));
    lab.sampler("flow_matching_numbers", &train(model, &of_numbers, &mut rng)?, given)?;

    let coupling = FlowConfig::default();
    for (name, config) in [
        ("flow_affine_spline", coupling.clone()),
        (
            "flow_spline_linear",
            FlowConfig {
                transform: Transform::Spline { bins: 8, bound: 3.0 },
                mixing: Mixing::Linear,
                ..coupling.clone()
            },
        ),
        (
            "flow_masked_affine",
            FlowConfig {
                architecture: Architecture::MaskedAutoregressive,
                transform: Transform::Affine,
                mixing: Mixing::Permutation,
                ..coupling.clone()
            },
        ),
    ] {
        let model = Flow::new(config, &mut rng)?;
        lab.sampler(name, &train(model, &data, &mut rng)?, None)?;
    }
    let model =
        Flow::new(FlowConfig { condition, network: residual(Activation::Tanh), ..coupling }, &mut rng)?;
    lab.sampler("flow_residual_classes", &train(model, &of_classes, &mut rng)?, Some(classes(ROWS)))?;

    for (name, objective) in
        [("flow_map_4", MapObjective::Lagrangian), ("consistency_4", MapObjective::Consistency { stages: 2 })]
    {
        let config =
            FlowMapConfig { objective, steps: 4, network: mlp(Activation::Silu), ..Default::default() };
        let model = FlowMap::new(config, &mut rng)?;
        lab.sampler(name, &train(model, &data, &mut rng)?, None)?;
    }
    println!("{}", lab.folder.display());
    Ok(())
}
