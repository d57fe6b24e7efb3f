use super::Vae;
use crate::error::Result;
use crate::onnx::{Element, Export, Graph, Part};

/// The sampler takes `z` and the `noise` of p(x|z); the network alone takes `z` to the mean m(z).
impl Export for Vae {
    fn graph(&self, part: Part) -> Result<Graph> {
        let (dim, latent_dim) = (self.config.dim, self.config.latent_dim);
        let mut graph = Graph::default();
        let mut z = graph.input("z", Element::F32, &[latent_dim]);
        let noise = (part == Part::Sampler).then(|| graph.input("noise", Element::F32, &[dim]));
        if part == Part::Network {
            z = graph.clip(z, -1e6f32, 1e6);
        }
        let c = self.fitted.conditions.trace(false, &mut graph);
        let (mean, sd) = self.networks.decoder.trace(&self.parameters.average, z, c, &mut graph)?;
        let rows = match noise {
            Some(noise) => {
                let noise = graph.mul(sd, noise);
                graph.add(mean, noise)
            }
            None => mean,
        };
        let rows = self.fitted.standardizer.trace_restore(rows, &mut graph);
        graph.output("rows", rows, dim);
        Ok(graph)
    }
}
