use super::FlowMap;
use super::network::Span;
use crate::diffusion::onnx::StepNoise;
use crate::error::Result;
use crate::model::Paradigm;
use crate::onnx::{Element, Export, Graph, Part, Value};

/// The jumps, from a Gaussian source, or the mean velocity.
impl Export for FlowMap {
    fn graph(&self, part: Part) -> Result<Graph> {
        let (dim, fitted) = (self.config.dim, &self.learned.fitted);
        let condition = |graph: &mut Graph| {
            let c = fitted.conditions.trace(self.knows_no_condition(), graph);
            c.map(|c| self.trace_scale_column(c, graph))
        };
        if part == Part::Network {
            return self.network(&[]).graph(&["from", "to"], "velocity", condition);
        }
        self.config.source.check_gaussian()?;
        let (mut graph, guided, steps) = (Graph::default(), self.guided(&[]), self.config.steps);
        let mut x = graph.input("noise", Element::F32, &[dim]);
        let renewed = if self.has_velocity() { 0 } else { steps - 1 };
        let mut fresh = StepNoise::new(renewed, dim, &mut graph);
        let c = condition(&mut graph);
        let time = |step: usize| step as f64 / steps as f64;
        for step in 0..steps {
            let from = time(step);
            let span = Span { from, to: if self.has_velocity() { time(step + 1) } else { 1.0 } };
            if !self.has_velocity() && step > 0 {
                let x0 = fresh.take(&mut graph);
                let difference = graph.sub(x, x0);
                let difference = graph.scaled(from as f32, difference);
                x = graph.add(x0, difference);
            }
            let velocity = guided.trace(span, x, c, &mut graph)?;
            let moved = graph.scaled(span.length() as f32, velocity);
            x = graph.add(x, moved);
        }
        let rows = fitted.standardizer.trace_restore(x, &mut graph);
        graph.output("rows", rows, dim);
        Ok(graph)
    }
}

impl FlowMap {
    /// [`with_scale_column`](FlowMap::with_scale_column) in a graph.
    fn trace_scale_column(&self, c: Value, graph: &mut Graph) -> Value {
        let Some(guidance) = self.config.guidance else { return c };
        let size = graph.apply("Abs", &[c]);
        let largest = graph.reduced("ReduceMax", size);
        // 0 where there is no condition, 1 where there is one.
        let present = graph.apply("Sign", &[largest]);
        let scale = graph.scaled((1.0 - guidance.scale.recip()) as f32, present);
        graph.concat(&[c, scale])
    }
}
