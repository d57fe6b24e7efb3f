//! The models of the family as graphs: a predictor, and a sampler with all its steps.

use super::Diffusion;
use super::guidance::{Guide, Guided};
use super::network::{Level, Parametrization};
use super::path::Noising;
use super::predictor::Trained;
use super::sampler::Plan;
use super::schedule::NoiseLevel;
use crate::error::Result;
use crate::model::Paradigm;
use crate::numeric::ode::Method;
use crate::onnx::{Attribute, Element, Export, Graph, Part, Value};

/// What a network is told about a level, in f32, each (n, 1) or (1, 1).
#[derive(Debug)]
pub(crate) struct Told {
    pub(super) times: Vec<Value>,
    pub(super) blur: Value,
    /// The share of the data, where a prediction is made of it; the blur is then the noise's.
    pub(super) alpha: Option<Value>,
}

/// τ = 2 ln((t + δ)/(1 − t + δ)) of a time in f64, in f32, and 1 − t, or 0 where noise hides nothing.
pub(super) fn tell_time(t: Value, resolution: f64, blurs: bool, graph: &mut Graph) -> [Value; 2] {
    let back = graph.scaled(-1.0, t);
    let left = graph.shifted(back, 1.0);
    let [near, far] = [t, left].map(|t| graph.shifted(t, resolution));
    let ratio = graph.div(near, far);
    let time = graph.apply("Log", &[ratio]);
    let time = graph.scaled(2.0, time);
    let blur = if blurs { graph.cast(left, Element::F32) } else { graph.constant(&[1, 1], &[0.0f32]) };
    [graph.cast(time, Element::F32), blur]
}

impl<P: Parametrization> Trained<'_, f32, P> {
    /// The network alone as a graph: x in standard units and the numbers of a level to the prediction.
    pub(super) fn graph(
        &self,
        names: &[&'static str],
        output: &'static str,
        condition: impl FnOnce(&mut Graph) -> Option<Value>,
    ) -> Result<Graph> {
        let (mut graph, dim) = (Graph::default(), self.net.dim());
        let x = graph.input("x", Element::F32, &[dim]);
        let level: Vec<Value> = names
            .iter()
            .map(|name| {
                let number = graph.input(name, Element::F32, &[1]);
                graph.cast(number, Element::F64)
            })
            .collect();
        let c = condition(&mut graph);
        let told = self.net.how.trace_tell(&level, &mut graph);
        let predicted = self.net.trace(self.p, &told, x, c, &mut graph)?;
        graph.output(output, predicted, dim);
        Ok(graph)
    }
}

impl<P: Parametrization> Guided<'_, P> {
    /// What draws at a level that all rows share.
    pub(super) fn trace(
        &self,
        level: Level<P>,
        x: Value,
        c: Option<Value>,
        graph: &mut Graph,
    ) -> Result<Value> {
        let Trained { net, p, .. } = &self.network;
        let numbers: Vec<Value> =
            P::numbers(level).into_iter().map(|number| graph.constant(&[1, 1], &[number])).collect();
        let told = net.how.trace_tell(&numbers, graph);
        let asked = net.trace(p, &told, x, c, graph)?;
        let guide = match &self.guide {
            Some(guide) if guide.acts(level) => guide,
            _ => return Ok(asked),
        };
        let Guide { scale, weaker, .. } = guide;
        let against = match weaker {
            Some(weaker) => weaker.net.trace(weaker.p, &told, x, c, graph)?,
            None => {
                let none = graph.constant(&[1, net.width()], &vec![0.0f32; net.width()]);
                net.trace(p, &told, x, Some(none), graph)?
            }
        };
        let difference = graph.sub(asked, against);
        let difference = graph.scaled(*scale as f32, difference);
        Ok(graph.add(against, difference))
    }
}

/// Fresh noise of all steps: an input, (n, steps, dim), of which each step takes its own part.
pub(super) struct StepNoise {
    noise: Option<Value>,
    taken: i64,
}

impl StepNoise {
    pub(super) fn new(steps: usize, dim: usize, graph: &mut Graph) -> Self {
        let noise = (steps > 0).then(|| graph.input("step_noise", Element::F32, &[steps, dim]));
        StepNoise { noise, taken: 0 }
    }

    pub(super) fn take(&mut self, graph: &mut Graph) -> Value {
        let step = graph.integers(&[], &[self.taken]);
        self.taken += 1;
        let noise = self.noise.expect("an input for each step");
        graph.node("Gather", &[noise, step], &[("axis", Attribute::Int(1))])
    }
}

/// [`follow`](super::sampler::follow) in a graph: an ODE in equal steps from rows in f32 to rows in f64.
pub(super) fn follow(
    (method, steps): (Method, usize),
    (start, end): (f64, f64),
    x: Value,
    graph: &mut Graph,
    mut slope: impl FnMut(f64, Value, Value, &mut Graph) -> Result<Value>,
) -> Result<Value> {
    let h = (end - start) / steps as f64;
    let mut state = graph.cast(x, Element::F64);
    for step in 0..steps {
        let (mut next, mut last) = (state, None);
        for (share, weight) in method.stages() {
            let mut at = state;
            if let Some(last) = last {
                let moved = graph.scaled(share * h, last);
                at = graph.add(state, moved);
            }
            let rows = graph.cast(at, Element::F32);
            let slope = slope(start + (step as f64 + share) * h, at, rows, graph)?;
            let moved = graph.scaled(h * weight, slope);
            next = graph.add(next, moved);
            last = Some(slope);
        }
        state = next;
    }
    Ok(state)
}

/// The sampler, or the predictor of the noise.
impl Export for Diffusion {
    fn graph(&self, part: Part) -> Result<Graph> {
        let (dim, fitted) = (self.config.dim, &self.learned.fitted);
        let condition = |graph: &mut Graph| fitted.conditions.trace(self.knows_no_condition(), graph);
        if part == Part::Network {
            return self.network(&[]).graph(&["log_snr"], "noise", condition);
        }
        let (mut graph, guided) = (Graph::default(), self.guided(&[]));
        let mut x = graph.input("noise", Element::F32, &[dim]);
        match &self.plan {
            Plan::Steps(steps) => {
                let noisy = steps.iter().filter(|step| step.noise > 0.0).count();
                let mut fresh = StepNoise::new(noisy, dim, &mut graph);
                let c = condition(&mut graph);
                let mut memory = None;
                for step in steps {
                    let eps_hat = guided.trace(step.level, x, c, &mut graph)?;
                    (x, memory) = step.trace(x, eps_hat, memory, |graph| fresh.take(graph), &mut graph);
                }
            }
            Plan::Ode { method, steps, span } => {
                let c = condition(&mut graph);
                x = follow((*method, *steps), *span, x, &mut graph, |log_snr, z, rows, graph| {
                    let level = NoiseLevel::at_log_snr(log_snr);
                    let eps_hat = guided.trace(level, rows, c, graph)?;
                    let eps_hat = graph.cast(eps_hat, Element::F64);
                    Ok(Noising::trace_velocity(level, z, eps_hat, graph))
                })?;
            }
        }
        let rows = fitted.standardizer.trace_restore(x, &mut graph);
        graph.output("rows", rows, dim);
        Ok(graph)
    }
}
