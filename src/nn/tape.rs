use super::{Network, Primal, Weights};
use crate::numeric::Real;

/// The buffers of one network on one batch of rows, sized on first use and kept. After `forward`, any of the other
/// functions may follow.
///
/// ```
/// use quadrivium::nn::{Activation, Network, Tape, Weights, mlp};
/// let net = mlp(&[2, 8, 1], Activation::Tanh);
/// let mut p = vec![0.0f64; net.num_params()];
/// net.init(&mut p, &mut quadrivium::seeded(0));
/// let mut t = p.clone();
/// net.transpose(&p, &mut t);
/// let mut tape = Tape::default();
/// let y = tape.forward(&net, &p, &[0.5, -1.0])[0];
/// let mut dx = [0.0; 2];
/// tape.backward(&net, Weights { p: &p, t: &t }, &[1.0], None, Some(&mut dx));
/// // The gradient predicts the effect of a small change of x.
/// let moved = Tape::default().forward(&net, &p, &[0.5 + 1e-6, -1.0])[0];
/// assert!(((moved - y) / 1e-6 - dx[0]).abs() < 1e-5);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Tape<F> {
    x: Vec<F>,
    xdot: Vec<F>,
    y: Vec<F>,
    ydot: Vec<F>,
    cache: Vec<F>,
    tangents: Vec<F>,
    adjoints: Vec<F>,
    scratch: Vec<F>,
}

/// The first `n` numbers of `v`, which grows if it must and never shrinks.
pub(crate) fn grow<F: Real>(v: &mut Vec<F>, n: usize) -> &mut [F] {
    if v.len() < n {
        v.resize(n, F::zero());
    }
    &mut v[..n]
}

/// Makes `v` a copy of `x`, without a new allocation if it was already long enough.
fn assign<F: Real>(v: &mut Vec<F>, x: &[F]) {
    v.clear();
    v.extend_from_slice(x);
}

impl<F: Real> Tape<F> {
    /// y = f(x; p); x: (n, in), y: (n, out).
    pub fn forward(&mut self, net: &impl Network, p: &[F], x: &[F]) -> &[F] {
        let rows = x.len() / net.in_dim();
        assign(&mut self.x, x);
        self.y.resize(rows * net.out_dim(), F::zero());
        let cache = grow(&mut self.cache, rows * net.cache_width());
        net.forward(p, &self.x, &mut self.y, cache);
        &self.y
    }

    /// y = f(x; p), without keeping anything for the other functions.
    pub fn infer(&mut self, net: &impl Network, p: &[F], x: &[F]) -> &[F] {
        let rows = x.len() / net.in_dim();
        self.y.resize(rows * net.out_dim(), F::zero());
        net.infer(p, x, &mut self.y, grow(&mut self.scratch, rows * net.scratch_width()));
        &self.y
    }

    /// The y of the last `forward` or `infer`.
    pub fn y(&self) -> &[F] {
        &self.y
    }

    /// The ẏ of the last `jvp`.
    pub fn ydot(&self) -> &[F] {
        &self.ydot
    }

    /// dp += ∂⟨dy, y⟩/∂p, dx = ∂⟨dy, y⟩/∂x at the last `forward`.
    pub fn backward(
        &mut self,
        net: &impl Network,
        w: Weights<F>,
        dy: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
    ) {
        let rows = self.x.len() / net.in_dim();
        let scratch = grow(&mut self.scratch, rows * net.scratch_width());
        net.backward(w, &self.x, &self.cache[..rows * net.cache_width()], dy, dp, dx, scratch);
    }

    /// dx = ∂⟨dy, y⟩/∂x at the last `forward`, kept for [`jvp_backward_kept`](Tape::jvp_backward_kept).
    pub fn backward_keeping(&mut self, net: &impl Network, w: Weights<F>, dy: &[F], dx: &mut [F]) {
        let rows = self.x.len() / net.in_dim();
        let scratch = grow(&mut self.scratch, rows * net.scratch_width());
        let adjoints = grow(&mut self.adjoints, rows * net.adjoint_width());
        let cache = &self.cache[..rows * net.cache_width()];
        net.backward_keeping(w, &self.x, cache, dy, dx, adjoints, scratch);
    }

    /// ẏ = (∂f/∂x) ẋ at the last `forward`.
    pub fn jvp(&mut self, net: &impl Network, p: &[F], xdot: &[F]) -> &[F] {
        let rows = self.x.len() / net.in_dim();
        assign(&mut self.xdot, xdot);
        self.ydot.resize(rows * net.out_dim(), F::zero());
        let tangents = grow(&mut self.tangents, rows * net.tangent_width());
        let cache = &self.cache[..rows * net.cache_width()];
        net.jvp(p, &self.x, cache, &self.xdot, &mut self.ydot, tangents);
        &self.ydot
    }

    /// With φ = ⟨dy, y⟩ + ⟨dẏ, ẏ⟩ at the last `forward` and `jvp`: dp += ∂φ/∂p, dx = ∂φ/∂x, dẋ = ∂φ/∂ẋ. A
    /// `dy` of `None` counts as zero.
    pub fn jvp_backward(
        &mut self,
        net: &impl Network,
        w: Weights<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        dxdot: Option<&mut [F]>,
    ) {
        self.jvp_backward_from(net, w, dy, dydot, dp, dx, dxdot, false);
    }

    /// dp += ∂(⟨dy, y⟩ + ⟨dẏ, ẏ⟩)/∂p, where dẏ is the dy of the last
    /// [`backward_keeping`](Tape::backward_keeping), whose results are reused.
    pub fn jvp_backward_kept(
        &mut self,
        net: &impl Network,
        w: Weights<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        dp: &mut [F],
    ) {
        self.jvp_backward_from(net, w, dy, dydot, Some(dp), None, None, true);
    }

    fn jvp_backward_from(
        &mut self,
        net: &impl Network,
        w: Weights<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        dxdot: Option<&mut [F]>,
        kept: bool,
    ) {
        let rows = self.x.len() / net.in_dim();
        let at = Primal {
            x: &self.x,
            xdot: &self.xdot,
            cache: &self.cache[..rows * net.cache_width()],
            tangents: &self.tangents[..rows * net.tangent_width()],
            adjoints: kept.then(|| &self.adjoints[..rows * net.adjoint_width()]),
        };
        let scratch = grow(&mut self.scratch, rows * net.scratch_width());
        net.jvp_backward(w, at, dy, dydot, dp, dx, dxdot, scratch);
    }
}
