use super::{FlowMatching, SPAN, Source};
use crate::diffusion::onnx::follow;
use crate::error::Result;
use crate::model::Paradigm;
use crate::onnx::{Element, Export, Graph, Part, unsupported};

/// The sampler, from a Gaussian source, or the velocity.
impl Export for FlowMatching {
    fn graph(&self, part: Part) -> Result<Graph> {
        let (dim, fitted) = (self.config.dim, &self.learned.fitted);
        let condition = |graph: &mut Graph| fitted.conditions.trace(self.knows_no_condition(), graph);
        if part == Part::Network {
            return self.network(&[]).graph(&["time"], "velocity", condition);
        }
        self.config.source.check_gaussian()?;
        let (mut graph, guided) = (Graph::default(), self.guided(&[]));
        let x = graph.input("noise", Element::F32, &[dim]);
        let c = condition(&mut graph);
        let sampler = (self.config.sampler.method, self.config.sampler.steps);
        let x = follow(sampler, SPAN, x, &mut graph, |t, _, rows, graph| {
            let velocity = guided.trace(t, rows, c, graph)?;
            Ok(graph.cast(velocity, Element::F64))
        })?;
        let rows = fitted.standardizer.trace_restore(x, &mut graph);
        graph.output("rows", rows, dim);
        Ok(graph)
    }
}

impl Source {
    /// Refuses a source that is no noise.
    pub(in crate::diffusion) fn check_gaussian(&self) -> Result<()> {
        match self {
            Source::Gaussian => Ok(()),
            _ => unsupported("a sampler from a source other than Gaussian noise", "export `Part::Network`"),
        }
    }
}
