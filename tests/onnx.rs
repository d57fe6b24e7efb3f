//! What a graph holds. `examples/python/check_onnx.py` compares what graphs compute with the models.

use quadrivium::error::ExportError;
use quadrivium::ndarray::array;
use quadrivium::nn::{Inputs, VectorField, Weights, Workspace};
use quadrivium::numeric::rng::Rng;
use quadrivium::onnx::{Element, Export, Graph, Part};
use quadrivium::prelude::*;
use quadrivium::{ConditionKind, Error, Sampler, Source, worlds::Toy};
use std::sync::Arc;

fn inputs(graph: &Graph) -> Vec<(String, Element, Vec<usize>)> {
    graph.inputs().map(|(name, element, sizes)| (name.to_owned(), element, sizes.to_vec())).collect()
}

fn input(name: &str, element: Element, sizes: &[usize]) -> (String, Element, Vec<usize>) {
    (name.into(), element, sizes.into())
}

#[test]
fn graphs_have_the_documented_inputs() {
    let mut rng = quadrivium::seeded(0);
    let condition = ConditionKind::Class { classes: 5 };
    let vae = Vae::new(VaeConfig { latent_dim: 3, condition, ..Default::default() }, &mut rng).unwrap();
    let (z, noise) = (input("z", Element::F32, &[3]), input("noise", Element::F32, &[2]));
    let class = input("class", Element::I64, &[]);
    assert_eq!(inputs(&vae.graph(Part::Sampler).unwrap()), [z.clone(), noise.clone(), class.clone()]);
    assert_eq!(inputs(&vae.graph(Part::Network).unwrap()), [z, class]);

    let config =
        DiffusionConfig { timesteps: 7, condition: ConditionKind::Vector { dim: 4 }, ..Default::default() };
    let model = Diffusion::new(config, &mut rng).unwrap();
    // The last of DDPM's steps adds no noise.
    let (steps, vector) =
        (input("step_noise", Element::F32, &[6, 2]), input("condition", Element::F32, &[4]));
    assert_eq!(inputs(&model.graph(Part::Sampler).unwrap()), [noise.clone(), steps, vector.clone()]);
    let ddim = model.with_sampler(Sampler::Ddim { steps: 3, eta: 0.0 }).unwrap();
    assert_eq!(inputs(&ddim.graph(Part::Sampler).unwrap()), [noise, vector]);
}

#[test]
fn graph_has_the_weights_once_however_many_steps() {
    let model = Diffusion::new(DiffusionConfig::default(), &mut quadrivium::seeded(0)).unwrap();
    let size = |steps| {
        let model = model.with_sampler(Sampler::Ddim { steps, eta: 0.0 }).unwrap();
        model.graph(Part::Sampler).unwrap().to_bytes().unwrap().len()
    };
    let (weights, one, twenty) = (4 * model.num_params(), size(1), size(20));
    assert!(one > weights && one < weights + 20_000, "{one} bytes, {weights} of weights");
    assert!(twenty < weights + 20 * 20_000, "{twenty} bytes, {weights} of weights");
    // The same model gives the same bytes.
    assert_eq!(size(20), twenty);
}

#[test]
fn graph_leaves_out_what_no_output_needs() {
    let mut graph = Graph::default();
    let x = graph.input("x", Element::F32, &[1]);
    let bytes = |graph: &Graph| graph.to_bytes().unwrap();
    let y = graph.scaled(2.0f32, x);
    graph.output("y", y, 1);
    let before = bytes(&graph);
    let unused = graph.constant(&[100], &[0.5f32; 100]);
    graph.add(unused, x);
    assert_eq!(bytes(&graph), before);
}

/// A field without a description as a graph.
#[derive(Debug)]
struct Still;

impl VectorField for Still {
    fn dim(&self) -> usize {
        2
    }
    fn num_params(&self) -> usize {
        0
    }
    fn init(&self, _: &mut [f32], _: &mut Rng) {}
    fn forward(&self, _: &[f32], _: Inputs<f32>, v: &mut [f32], _: &mut Workspace) {
        v.fill(0.0);
    }
    fn backward(
        &self,
        _: Weights<f32>,
        _: Inputs<f32>,
        _: &[f32],
        _: Option<&mut [f32]>,
        _: Option<&mut [f32]>,
        _: &mut Workspace,
    ) {
    }
    fn jvp(
        &self,
        _: &[f32],
        _: Inputs<f32>,
        _: quadrivium::nn::Direction<f32>,
        vdot: &mut [f32],
        _: &mut Workspace,
    ) {
        vdot.fill(0.0);
    }
}

#[test]
fn parts_without_a_graph_are_typed_errors() {
    let mut rng = quadrivium::seeded(0);
    let unsupported = |result: Result<Graph>, what: &str| match result {
        Err(Error::Export(ExportError::Unsupported { what: found, .. })) => assert_eq!(found, what),
        other => panic!("{other:?}"),
    };
    let own = FlowMatching::with_network(FlowMatchingConfig::default(), Arc::new(Still), &mut rng).unwrap();
    unsupported(own.graph(Part::Sampler), "a network of your own");
    let rows = Dataset::new(array![[0.0, 1.0], [1.0, 0.0]]).unwrap();
    for source in [Source::Toy(Toy::moons(0.1).unwrap()), Source::Rows(Arc::new(rows))] {
        let model = FlowMatching::new(FlowMatchingConfig { source, ..Default::default() }, &mut rng).unwrap();
        unsupported(model.graph(Part::Sampler), "a sampler from a source other than Gaussian noise");
        assert!(model.graph(Part::Network).is_ok());
    }
}
