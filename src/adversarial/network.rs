use super::GanConfig;
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::nn::{Fused, Network, NetworkSpec, Tape, Weights, grow, join, take_rows};
use crate::numeric::Real;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A player's network f of rows x: (n, dim) under conditions c: (n, width), or (1, width) for all rows. Its value is
///
/// - f(x), without a condition,
/// - f([x | c]), where the condition is concatenated, or
/// - ⟨(1, c), f(x)⟩ = f₀(x) + Σⱼ cⱼ fⱼ(x), where it is projected: the last layer has one more output for each column
///   of c, fⱼ(x) = ⟨eⱼ, h(x)⟩ + bⱼ for its inputs h, so that the sum is ⟨E·c, h⟩ + ⟨b, c⟩.
#[derive(Debug, Clone)]
pub(crate) struct Player {
    pub(crate) net: Fused,
    /// Columns of x, or of z.
    pub(crate) dim: usize,
    /// Columns of c that f reads after x, and columns that are projected: one of the two is 0.
    joined: usize,
    projected: usize,
}

/// The buffers of a player for some rows.
#[derive(Debug, Default)]
pub(crate) struct Pass<F> {
    // [x | c]: (n, dim + joined), and its gradient
    joined: Vec<F>,
    djoined: Vec<F>,
    // f(x), its gradient, and the gradient of its tangent: (n, 1 + projected)
    y: Vec<F>,
    dy: Vec<F>,
    dydot: Vec<F>,
    // (n)
    values: Vec<F>,
    weights: Vec<F>,
    // ∇D, then u: (n, dim + joined)
    g: Vec<F>,
    tape: Tape<F>,
    scratch: Vec<F>,
}

impl Player {
    /// A network of rows of `dim` columns, with conditions of `joined` columns as an input.
    pub(crate) fn joined(spec: &NetworkSpec, (dim, joined): (usize, usize), outputs: usize) -> Self {
        Player { net: spec.build(dim, joined, outputs, 1.0), dim, joined, projected: 0 }
    }

    /// G: z, c → x.
    pub fn generator(config: &GanConfig) -> Self {
        Self::joined(&config.generator, (config.latent_dim, config.condition.width()), config.dim)
    }

    /// D: x, c → a number.
    pub fn critic(config: &GanConfig) -> Self {
        let (joined, projected) = config.critics_condition();
        let net = config.critic.build(config.dim, joined, 1 + projected, 1.0);
        Player { net, dim: config.dim, joined, projected }
    }

    /// The values at rows x: (n, dim), without keeping anything; values: (n, columns).
    pub fn infer<F: Real>(&self, p: &[F], x: &[F], c: &[F], values: &mut [F], pass: &mut Pass<F>) {
        let Pass { joined, y, scratch, .. } = pass;
        let rows = x.len() / self.dim;
        let input = join(x, self.dim, c, self.joined, joined);
        let scratch = grow(scratch, rows * self.net.scratch_width());
        if self.projected == 0 {
            return self.net.infer(p, input, values, scratch);
        }
        let y = grow(y, rows * (1 + self.projected));
        self.net.infer(p, input, y, scratch);
        values.iter_mut().zip(self.project(y, c)).for_each(|(value, projected)| *value = projected);
    }

    /// The values at rows x in a graph, of a player whose condition is not projected: a generator.
    #[cfg(feature = "onnx")]
    pub fn trace<F: Real>(&self, p: &[F], x: Value, c: Option<Value>, graph: &mut Graph) -> Result<Value> {
        let joined = graph.concat(&[x].into_iter().chain(c).collect::<Vec<_>>());
        self.net.trace(p, joined, graph)
    }

    /// The values at rows x, kept for the other functions.
    pub fn forward<'a, F: Real>(&self, p: &[F], x: &[F], c: &[F], pass: &'a mut Pass<F>) -> &'a [F] {
        let Pass { joined, values, tape, .. } = pass;
        let y = tape.forward(&self.net, p, join(x, self.dim, c, self.joined, joined));
        if self.projected == 0 {
            return y;
        }
        values.clear();
        values.extend(self.project(y, c));
        values
    }

    /// ⟨(1, c), y⟩ of each row.
    fn project<'a, F: Real>(&self, y: &'a [F], c: &'a [F]) -> impl Iterator<Item = F> + 'a {
        let conditions = c.chunks_exact(self.projected).cycle();
        y.chunks_exact(1 + self.projected)
            .zip(conditions)
            .map(|(y, c)| y[0] + y[1..].iter().zip(c).map(|(&y, &c)| y * c).sum())
    }

    /// The gradient of Σ slope · value with respect to the network's output: slope · (1, c) of each row.
    fn spread<'a, F: Real>(&self, slopes: &'a [F], c: &[F], dy: &'a mut Vec<F>) -> &'a [F] {
        if self.projected == 0 {
            return slopes;
        }
        dy.clear();
        for (&slope, c) in slopes.iter().zip(c.chunks_exact(self.projected).cycle()) {
            dy.push(slope);
            dy.extend(c.iter().map(|&c| slope * c));
        }
        dy
    }

    /// dp += and dx = the gradient of ⟨slopes, values⟩ at the last `forward`, with c held fixed.
    pub fn backward<F: Real>(
        &self,
        w: Weights<F>,
        c: &[F],
        slopes: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        pass: &mut Pass<F>,
    ) {
        let Pass { djoined, dy, tape, .. } = pass;
        let dy = self.spread(slopes, c, dy);
        match dx {
            Some(dx) if self.joined > 0 => {
                let djoined = grow(djoined, dx.len() / self.dim * (self.dim + self.joined));
                tape.backward(&self.net, w, dy, dp, Some(&mut *djoined));
                take_rows(djoined, self.dim, self.joined, dx);
            }
            dx => tape.backward(&self.net, w, dy, dp, dx),
        }
    }

    /// At the last `forward`, with g = ∇ₓ value of each row and some function P of it: the sum of P, and dp += the
    /// gradient of ⟨slopes, values⟩ + weight · Σ P. `penalty` replaces a g by u = ∂P/∂g, and returns P.
    ///
    /// P depends on θ through g = ∇ₓD(x; θ): ∂P/∂θ = ⟨u, ∂g/∂θ⟩ with u = ∂P/∂g, which for a fixed u is the gradient
    /// of ⟨u, ∇ₓD⟩, the derivative of D along u. So: one backward pass for g, one `jvp` along u, and one
    /// `jvp_backward` that carries the value (by dy) and the penalty (by dẏ = weight) together. Its part in ẋ is the
    /// first pass, whose result is kept. A condition is held fixed: its columns of g have no part in P, and u is 0
    /// there. If the condition is projected, D is ⟨(1, c), f(x)⟩, linear in f, and (1, c) is a factor in dy and dẏ.
    pub fn penalized_backward<F: Real>(
        &self,
        w: Weights<F>,
        c: &[F],
        slopes: Option<&[F]>,
        weight: F,
        penalty: impl Fn(&mut [F]) -> F,
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) -> f64 {
        let Pass { dy, dydot, weights, g, tape, .. } = pass;
        let (columns, rows) = (self.net.in_dim(), tape.y().len() / self.net.out_dim());
        weights.clear();
        weights.resize(rows, weight);
        let dydot = self.spread(weights, c, dydot);
        g.resize(rows * columns, F::zero());
        tape.backward_keeping(&self.net, w, dydot, g);
        let rows = g.chunks_exact_mut(columns).map(|g| {
            let (g, of_condition) = g.split_at_mut(self.dim);
            g.iter_mut().for_each(|g| *g /= weight);
            of_condition.fill(F::zero());
            penalty(g).f64()
        });
        let sum = rows.sum();
        tape.jvp(&self.net, w.p, g);
        let dy = slopes.map(|slopes| self.spread(slopes, c, dy));
        tape.jvp_backward_kept(&self.net, w, dy, dydot, dp);
        sum
    }
}
