use super::Gan;
use crate::error::Result;
use crate::onnx::{Element, Export, Graph, Part};

/// The generator, which is both the sampler and the network that draws.
impl Export for Gan {
    fn graph(&self, _: Part) -> Result<Graph> {
        let mut graph = Graph::default();
        let z = graph.input("z", Element::F32, &[self.config.latent_dim]);
        let c = self.fitted.conditions.trace(false, &mut graph);
        let rows = self.generator.trace(&self.generator_parameters.average, z, c, &mut graph)?;
        let rows = self.fitted.standardizer.trace_restore(rows, &mut graph);
        graph.output("rows", rows, self.config.dim);
        Ok(graph)
    }
}
