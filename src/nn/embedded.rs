use super::{Fourier, Moment, Network, grow};
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// The moments of a batch, encoded for a network, and their tangents: `times` moments for each row, the first of which
/// has the row's blur.
#[derive(Debug, Default)]
pub(super) struct Embedded<F> {
    /// The blur of each row of moments: (m).
    pub(super) blur: Vec<F>,
    /// T(time): (m, times · ft).
    pub(super) t: Vec<F>,
    /// The rate of the blur: (m).
    pub(super) blurdot: Vec<F>,
    /// Ṫ: (m, times · ft).
    pub(super) tdot: Vec<F>,
    time: Vec<F>,    // (m, times)
    timedot: Vec<F>, // (m, times)
    slopes: Vec<F>,  // the cache of T
}

impl<F: Real> Embedded<F> {
    /// Fills `blur` and `t`.
    pub(super) fn embed(&mut self, embedding: &Fourier, times: usize, moments: &[Moment]) {
        split(moments, times, &mut self.time, &mut self.blur);
        let t = grow(&mut self.t, moments.len() * embedding.out_dim());
        embedding.infer(&[], &self.time, t, &mut []);
    }

    /// Fills `blurdot` and `tdot` with the tangents at the moments of the last [`embed`](Embedded::embed).
    pub(super) fn embed_rates(&mut self, embedding: &Fourier, times: usize, rates: &[Moment]) {
        split(rates, times, &mut self.timedot, &mut self.blurdot);
        let m = rates.len();
        let tdot = grow(&mut self.tdot, m * embedding.out_dim());
        let slopes = grow(&mut self.slopes, m * embedding.cache_width());
        // The output is T, which is already known.
        embedding.forward(&[], &self.time, tdot, slopes);
        embedding.jvp(&[], &self.time, slopes, &self.timedot, tdot, &mut []);
    }
}

/// T of the times of rows, each (n, 1), in a graph: (n, times · ft).
#[cfg(feature = "onnx")]
pub(super) fn trace<F: Real>(embedding: &Fourier, times: &[Value], graph: &mut Graph) -> Result<Value> {
    let embedded: Result<Vec<Value>> =
        times.iter().map(|&time| embedding.trace::<F>(&[], time, graph)).collect();
    Ok(graph.concat(&embedded?))
}

fn split<F: Real>(moments: &[Moment], times: usize, time: &mut Vec<F>, blur: &mut Vec<F>) {
    time.clear();
    time.extend(moments.iter().map(|moment| F::of(moment.time)));
    blur.clear();
    blur.extend(moments.iter().step_by(times).map(|moment| F::of(moment.blur)));
}
