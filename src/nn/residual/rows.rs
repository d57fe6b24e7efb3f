use std::ops::Range;

use super::blocks::{Blocks, cut, cut_mut};
use super::modulation::{Modulation, ModulationGradient};
use super::modulator;
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::nn::{Activation, Fused, Layout, Linear, Network, Primal, Weights};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A residual network of rows (x, c): blocks with layer normalization, modulated by the condition c (adaLN-zero,
/// Peebles & Xie 2023, §3.2).
///
/// h = x·W + b; then for each block, with N(h) = (h − mean)/√(var + ε) of a row, z = N(h)⊙(1 + γ) + β and h ← h +
/// α⊙f(z), where f is a perceptron with one hidden layer that is twice as wide; and y = (N(h)⊙(1 + γ) + β)·W + b. All
/// β, γ and α are outputs of one perceptron of c, or learned constants if there is no c. They start at 0, which makes
/// every block the identity: a deep network starts as a shallow one.
///
/// ```
/// use quadrivium::nn::{Activation, Network, Residual};
/// let net = Residual::new(2, 3, 16, 4, Activation::Silu, 1, 1.0);
/// assert_eq!((net.in_dim(), net.out_dim()), (2 + 3, 1));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Residual {
    input: Linear,
    condition: usize,
    /// The perceptron of c, if there is a condition.
    modulator: Option<Fused>,
    blocks: Blocks,
}

/// The ranges of the parameters in p.
struct Parts {
    input: Range<usize>,
    modulation: Range<usize>,
    blocks: Range<usize>,
}

impl Residual {
    /// A network of `inputs` columns x and `condition` columns c, with `blocks` blocks of `width` columns; the
    /// weights of its last product start as N(0, gain²/width).
    pub fn new(
        inputs: usize,
        condition: usize,
        width: usize,
        blocks: usize,
        activation: Activation,
        outputs: usize,
        gain: f64,
    ) -> Self {
        let blocks = Blocks::new(width, blocks, activation, outputs, gain);
        Residual {
            input: Linear::new(inputs, width, 1.0),
            condition,
            modulator: (condition > 0).then(|| modulator(condition, width, activation, &blocks)),
            blocks,
        }
    }

    fn width(&self) -> usize {
        self.input.out_dim()
    }

    fn parts(&self) -> Parts {
        let input = self.input.num_params();
        let constants = || self.blocks.modulation();
        let modulation = input + self.modulator.as_ref().map_or_else(constants, Network::num_params);
        Parts {
            input: 0..input,
            modulation: input..modulation,
            blocks: modulation..modulation + self.blocks.num_params(),
        }
    }

    /// The widths of x and c.
    fn columns(&self) -> [usize; 2] {
        [self.input.in_dim(), self.condition]
    }

    /// For each row its x and its c, h, the modulation, and the caches of the modulator and of the blocks.
    fn kept(&self) -> [usize; 6] {
        let (modulation, cache) = match &self.modulator {
            Some(net) => (net.out_dim(), net.cache_width()),
            None => (0, 0),
        };
        let [x, c] = self.columns();
        [x, c, self.width(), modulation, cache, self.blocks.cache_width()]
    }

    /// For each row ẋ, ċ, ḣ, the tangent of the modulation, and the tangents of the modulator and of the blocks.
    fn kept_tangents(&self) -> [usize; 6] {
        let (modulation, tangents) = match &self.modulator {
            Some(net) => (net.out_dim(), net.tangent_width()),
            None => (0, 0),
        };
        let [x, c] = self.columns();
        [x, c, self.width(), modulation, tangents, self.blocks.tangent_width()]
    }

    /// Scratch space of the modulator.
    fn modulator_scratch(&self) -> usize {
        self.modulator.as_ref().map_or(0, |net| net.scratch_width())
    }

    /// Scratch space of the parts, one after the other: the blocks; then the gradients of x and c and of their
    /// tangents, and the modulator.
    fn inner_width(&self) -> usize {
        self.blocks.scratch_width().max(2 * self.in_dim() + self.modulator_scratch())
    }

    /// The modulation in `rows`, or the constants in p.
    fn modulation<'a, F>(&self, p: &'a [F], rows: &'a [F]) -> Modulation<'a, F> {
        let rows = if self.modulator.is_some() { rows } else { &p[self.parts().modulation] };
        Modulation { rows, columns: self.blocks.modulation() }
    }
}

/// Splits rows (x, c) into x and c.
fn split<F: Copy>(rows: &[F], x: &mut [F], c: &mut [F], [inputs, condition]: [usize; 2]) {
    for (r, row) in rows.chunks_exact(inputs + condition).enumerate() {
        x[r * inputs..][..inputs].copy_from_slice(&row[..inputs]);
        c[r * condition..][..condition].copy_from_slice(&row[inputs..]);
    }
}

/// Joins x and c to rows (x, c).
fn join<F: Copy>(x: &[F], c: &[F], rows: &mut [F], [inputs, condition]: [usize; 2]) {
    for (r, row) in rows.chunks_exact_mut(inputs + condition).enumerate() {
        row[..inputs].copy_from_slice(&x[r * inputs..][..inputs]);
        row[inputs..].copy_from_slice(&c[r * condition..][..condition]);
    }
}

impl Network for Residual {
    fn in_dim(&self) -> usize {
        self.input.in_dim() + self.condition
    }
    fn out_dim(&self) -> usize {
        self.blocks.out_dim()
    }
    fn describe(&self, prefix: &str, layout: &mut Layout) {
        self.input.describe(&format!("{prefix}input."), layout);
        match &self.modulator {
            Some(net) => net.describe(&format!("{prefix}modulation."), layout),
            None => layout.push(format!("{prefix}modulation"), &[self.blocks.modulation()]),
        }
        self.blocks.describe(prefix, layout);
    }
    fn num_params(&self) -> usize {
        self.parts().blocks.end
    }
    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng) {
        let Parts { input, modulation, blocks } = self.parts();
        self.input.init(&mut p[input], rng);
        match &self.modulator {
            Some(net) => net.init(&mut p[modulation], rng),
            None => p[modulation].fill(F::zero()),
        }
        self.blocks.init(&mut p[blocks], rng);
    }
    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]) {
        let Parts { input, modulation, blocks } = self.parts();
        self.input.transpose(&p[input.clone()], &mut t[input]);
        match &self.modulator {
            Some(net) => net.transpose(&p[modulation.clone()], &mut t[modulation]),
            None => t[modulation.clone()].copy_from_slice(&p[modulation]),
        }
        self.blocks.transpose(&p[blocks.clone()], &mut t[blocks]);
    }
    fn cache_width(&self) -> usize {
        self.kept().iter().sum()
    }
    fn tangent_width(&self) -> usize {
        self.kept_tangents().iter().sum()
    }
    fn scratch_width(&self) -> usize {
        let [inputs, condition, width, columns, ..] = self.kept();
        let blocks_or_modulator = self.blocks.scratch_width().max(self.modulator_scratch());
        let forward = inputs + condition + width + columns + blocks_or_modulator;
        // Gradients of h and of the modulation, and of their tangents.
        forward.max(2 * (width + self.blocks.modulation()) + self.inner_width())
    }

    fn infer<F: Real>(&self, p: &[F], rows: &[F], y: &mut [F], scratch: &mut [F]) {
        let n = rows.len() / self.in_dim();
        let Parts { input, modulation, blocks } = self.parts();
        let [inputs, condition, width, columns, ..] = self.kept();
        let inner = self.blocks.scratch_width().max(self.modulator_scratch());
        let [x, c, h, m, inner] = cut_mut(scratch, n, [inputs, condition, width, columns, inner]);
        split(rows, x, c, self.columns());
        self.input.infer(&p[input], x, h, &mut []);
        if let Some(net) = &self.modulator {
            net.infer(&p[modulation], c, m, inner);
        }
        self.blocks.infer(&p[blocks], self.modulation(p, m), h, y, inner);
    }

    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, p: &[F], rows: Value, graph: &mut Graph) -> Result<Value> {
        let Parts { input, modulation, blocks } = self.parts();
        let [inputs, condition] = self.columns();
        let (x, modulation) = match &self.modulator {
            Some(net) => {
                let c = graph.columns(rows, inputs..inputs + condition);
                (graph.columns(rows, 0..inputs), net.trace(&p[modulation], c, graph)?)
            }
            None => (rows, graph.constant(&[1, self.blocks.modulation()], &p[modulation])),
        };
        let h = self.input.trace(&p[input], x, graph)?;
        self.blocks.trace(&p[blocks], modulation, h, graph)
    }

    fn forward<F: Real>(&self, p: &[F], rows: &[F], y: &mut [F], cache: &mut [F]) {
        let n = rows.len() / self.in_dim();
        let Parts { input, modulation, blocks } = self.parts();
        let [x, c, h, m, kept, behind] = cut_mut(cache, n, self.kept());
        split(rows, x, c, self.columns());
        self.input.forward(&p[input], x, h, &mut []);
        if let Some(net) = &self.modulator {
            net.forward(&p[modulation], c, m, kept);
        }
        self.blocks.forward(&p[blocks], self.modulation(p, m), h, y, behind);
    }

    fn backward<F: Real>(
        &self,
        w: Weights<F>,
        rows: &[F],
        cache: &[F],
        dy: &[F],
        mut dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        scratch: &mut [F],
    ) {
        let n = rows.len() / self.in_dim();
        let Parts { input, modulation, blocks } = self.parts();
        let [x, c, _, m, kept, behind] = cut(cache, n, self.kept());
        let columns = self.blocks.modulation();
        let [dm, dh, inner] = cut_mut(scratch, n, [columns, self.width(), self.inner_width()]);
        let dm = if self.modulator.is_some() { dm } else { &mut dm[..columns] };
        dm.fill(F::zero());
        let gradient = ModulationGradient { rows: dm, columns };
        let part = dp.as_deref_mut().map(|dp| &mut dp[blocks.clone()]);
        self.blocks.backward(w.slice(blocks), self.modulation(w.p, m), behind, dy, part, gradient, dh, inner);
        let [dx_part, dc, inner] =
            cut_mut(inner, n, [self.columns()[0], self.columns()[1], self.modulator_scratch()]);
        let part = dp.as_deref_mut().map(|dp| &mut dp[modulation.clone()]);
        match (&self.modulator, part) {
            (Some(net), part) => net.backward(w.slice(modulation), c, kept, dm, part, Some(&mut *dc), inner),
            (None, Some(part)) => part.iter_mut().zip(dm).for_each(|(dp, &mut dm)| *dp += dm),
            (None, None) => {}
        }
        let part = dp.map(|dp| &mut dp[input.clone()]);
        self.input.backward(w.slice(input), x, &[], dh, part, Some(&mut *dx_part), &mut []);
        if let Some(dx) = dx {
            join(dx_part, dc, dx, self.columns());
        }
    }

    fn jvp<F: Real>(&self, p: &[F], _: &[F], cache: &[F], rates: &[F], ydot: &mut [F], tangents: &mut [F]) {
        let n = rates.len() / self.in_dim();
        let Parts { input, modulation, blocks } = self.parts();
        let [x, c, _, m, kept, behind] = cut(cache, n, self.kept());
        let [xdot, cdot, hdot, mdot, inner, tangents] = cut_mut(tangents, n, self.kept_tangents());
        split(rates, xdot, cdot, self.columns());
        self.input.jvp(&p[input], x, &[], xdot, hdot, &mut []);
        let rate = self.modulator.as_ref().map(|net| {
            net.jvp(&p[modulation], c, kept, cdot, mdot, inner);
            Modulation { rows: &*mdot, columns: self.blocks.modulation() }
        });
        self.blocks.jvp(&p[blocks], self.modulation(p, m), rate, behind, hdot, ydot, tangents);
    }

    fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        at: Primal<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        mut dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        dxdot: Option<&mut [F]>,
        scratch: &mut [F],
    ) {
        let n = at.x.len() / self.in_dim();
        let Parts { input, modulation, blocks } = self.parts();
        let [x, c, _, m, kept, behind] = cut(at.cache, n, self.kept());
        let [xdot, cdot, _, mdot, tangents, tangents_behind] = cut(at.tangents, n, self.kept_tangents());
        let columns = self.blocks.modulation();
        let width = self.width();
        let [dm, dmdot, dh, dhdot, inner] =
            cut_mut(scratch, n, [columns, columns, width, width, self.inner_width()]);
        let dm = if self.modulator.is_some() { dm } else { &mut dm[..columns] };
        dm.fill(F::zero());
        dmdot.fill(F::zero());
        let rate = self
            .modulator
            .as_ref()
            .map(|_| (Modulation { rows: mdot, columns }, ModulationGradient { rows: &mut *dmdot, columns }));
        self.blocks.jvp_backward(
            w.slice(blocks.clone()),
            self.modulation(w.p, m),
            (behind, tangents_behind),
            (dy, dydot),
            dp.as_deref_mut().map(|dp| &mut dp[blocks]),
            ModulationGradient { rows: &mut *dm, columns },
            rate,
            (&mut *dh, &mut *dhdot),
            inner,
        );
        let [inputs, condition] = self.columns();
        let [dx_part, dc, dxdot_part, dcdot, inner] =
            cut_mut(inner, n, [inputs, condition, inputs, condition, self.modulator_scratch()]);
        let part = dp.as_deref_mut().map(|dp| &mut dp[modulation.clone()]);
        match (&self.modulator, part) {
            (Some(net), part) => {
                let at = Primal { x: c, xdot: cdot, cache: kept, tangents, adjoints: None };
                let (to, to_rate) = (Some(&mut *dc), Some(&mut *dcdot));
                net.jvp_backward(w.slice(modulation), at, Some(dm), dmdot, part, to, to_rate, inner);
            }
            (None, Some(part)) => part.iter_mut().zip(dm).for_each(|(dp, &mut dm)| *dp += dm),
            (None, None) => {}
        }
        let part = dp.map(|dp| &mut dp[input.clone()]);
        let at = Primal { x, xdot, cache: &[], tangents: &[], adjoints: None };
        let (to, to_rate) = (Some(&mut *dx_part), Some(&mut *dxdot_part));
        self.input.jvp_backward(w.slice(input), at, Some(dh), dhdot, part, to, to_rate, &mut []);
        if let Some(dx) = dx {
            join(dx_part, dc, dx, self.columns());
        }
        if let Some(dxdot) = dxdot {
            join(dxdot_part, dcdot, dxdot, self.columns());
        }
    }
}
