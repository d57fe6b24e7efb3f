use super::Flow;
use crate::error::Result;
use crate::onnx::{Element, Export, Graph, Part, unsupported};

/// The sampler, x = f⁻¹(u).
impl Export for Flow {
    fn graph(&self, part: Part) -> Result<Graph> {
        if part == Part::Network {
            return unsupported("a conditioner of a flow alone", "export `Part::Sampler`, all layers");
        }
        let mut graph = Graph::default();
        let u = graph.input("noise", Element::F32, &[self.config.dim]);
        let c = self.fitted.conditions.trace(false, &mut graph);
        let rows = self.chain.trace_inverse(&self.parameters.average, u, c, &mut graph)?;
        let rows = self.fitted.standardizer.trace_restore(rows, &mut graph);
        graph.output("rows", rows, self.config.dim);
        Ok(graph)
    }
}
