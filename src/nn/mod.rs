//! Networks: a shape, a flat parameter slice, four functions.
//!
//! A network holds no parameters and no state. It describes a function y = f(x; p) of rows x: (n, in) and one
//! contiguous slice p, and knows how to compute
//!
//! | function | computes |
//! | --- | --- |
//! | [`forward`](Network::forward) | y, and a cache for the others |
//! | [`backward`](Network::backward) | dp += ∂⟨dy, y⟩/∂p, dx = ∂⟨dy, y⟩/∂x |
//! | [`jvp`](Network::jvp) | ẏ = (∂f/∂x) ẋ |
//! | [`jvp_backward`](Network::jvp_backward) | the gradient of ⟨dy, y⟩ + ⟨dẏ, ẏ⟩ with respect to p, x and ẋ |
//!
//! The last function makes second derivatives compose: ẏ depends on x through f′, so its gradient contains f″. A
//! gradient penalty is one call of `jvp_backward`. [`infer`](Network::infer) is `forward` without the cache, for
//! sampling and scoring.
//!
//! All buffers belong to the caller: row-major slices whose lengths are the widths below times the number of
//! rows. [`Tape`] is a ready-made set of buffers.
//!
//! A [`Network`] is a function of rows, composed at compile time. A [`VectorField`] is a function of rows, time and
//! condition, such as a diffusion model learns; it is dyn-safe, so that a model accepts one written by the user. A
//! [`NetworkSpec`] is the part of a config that builds either of them.

mod activation;
mod blurred;
mod causal;
mod embedded;
pub(crate) mod fade;
mod field;
mod fourier;
mod fused;
mod join;
mod layout;
pub(crate) mod limits;
mod linear;
mod residual;
mod sequential;
mod spec;
mod tape;
pub(crate) mod timed;

pub use activation::Activation;
pub use causal::{CausalNetwork, CausalWorkspace, Decoding};
#[cfg(feature = "onnx")]
pub use field::TracedInputs;
pub use field::{Direction, Inputs, Moment, SecondOrder, VectorField, Workspace};
pub use fourier::Fourier;
pub(crate) use fourier::{REACH, clamp, most_octaves};
pub use fused::Fused;
pub(crate) use join::{join, take_rows};
pub use layout::{Layout, Tensor};
pub use linear::{Linear, Masked};
pub use residual::Residual;
pub use sequential::{Layer, Sequential, mlp};
pub use spec::NetworkSpec;
pub(crate) use spec::Perceptron;
pub use tape::Tape;
pub(crate) use tape::grow;

#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value, unsupported};

/// Parameters for a backward pass: `p`, and the same layout with each matrix transposed, made once per step
/// by [`Network::transpose`], so that dx = dy·Wᵀ reads its weights in the order of the forward kernel.
#[derive(Debug, Clone, Copy)]
pub struct Weights<'a, F> {
    /// The parameters.
    pub p: &'a [F],
    /// The same parameters with each matrix transposed.
    pub t: &'a [F],
}

impl<'a, F> Weights<'a, F> {
    /// The weights of one layer.
    pub fn slice(self, range: std::ops::Range<usize>) -> Self {
        Weights { p: &self.p[range.clone()], t: &self.t[range] }
    }
}

/// A function of rows and a flat parameter slice, with its derivatives. The number of rows follows from the slices:
/// n = x.len() / in.
pub trait Network: Send + Sync {
    /// Columns of x.
    fn in_dim(&self) -> usize;
    /// Columns of y.
    fn out_dim(&self) -> usize;
    /// Appends the tensors of p, in order, with names that start with `prefix`.
    fn describe(&self, prefix: &str, layout: &mut Layout);
    /// Length of p.
    fn num_params(&self) -> usize;
    /// Draws starting parameters.
    fn init<F: Real>(&self, p: &mut [F], rng: &mut Rng);
    /// t = p with each matrix transposed.
    fn transpose<F: Real>(&self, p: &[F], t: &mut [F]);

    /// Numbers per row that `forward` keeps for the derivatives.
    fn cache_width(&self) -> usize;
    /// Numbers per row that `jvp` keeps for `jvp_backward`.
    fn tangent_width(&self) -> usize;
    /// Numbers per row that `backward` can keep for `jvp_backward`.
    fn adjoint_width(&self) -> usize {
        0
    }
    /// Numbers per row of scratch space that the functions need.
    fn scratch_width(&self) -> usize;

    /// y = f(x; p), without keeping anything.
    fn infer<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], scratch: &mut [F]);

    /// y = f(x; p), filling `cache`.
    fn forward<F: Real>(&self, p: &[F], x: &[F], y: &mut [F], cache: &mut [F]);

    /// dp += ∂⟨dy, y⟩/∂p and dx = ∂⟨dy, y⟩/∂x, after `forward` on the same x.
    fn backward<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        cache: &[F],
        dy: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        scratch: &mut [F],
    );

    /// dx = ∂⟨dy, y⟩/∂x, filling `adjoints` for a `jvp_backward` whose dẏ is this dy.
    fn backward_keeping<F: Real>(
        &self,
        w: Weights<F>,
        x: &[F],
        cache: &[F],
        dy: &[F],
        dx: &mut [F],
        adjoints: &mut [F],
        scratch: &mut [F],
    ) {
        let _ = adjoints;
        self.backward(w, x, cache, dy, None, Some(dx), scratch);
    }

    /// ẏ = (∂f/∂x) ẋ after `forward` on the same x, filling `tangents`.
    fn jvp<F: Real>(&self, p: &[F], x: &[F], cache: &[F], xdot: &[F], ydot: &mut [F], tangents: &mut [F]);

    /// With φ = ⟨dy, y⟩ + ⟨dẏ, ẏ⟩: dp += ∂φ/∂p, dx = ∂φ/∂x, dẋ = ∂φ/∂ẋ, after `forward` and `jvp`. If `dy` is `None`,
    /// it counts as zero, which costs less: after linear layers, only the tangent has a gradient.
    fn jvp_backward<F: Real>(
        &self,
        w: Weights<F>,
        at: Primal<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        dxdot: Option<&mut [F]>,
        scratch: &mut [F],
    );

    /// Adds the nodes that compute y = f(x; p), x: (n, in), to a graph, and returns y. Default: none.
    ///
    /// # Errors
    /// [`ExportError::Unsupported`](crate::error::ExportError), if the network has no description as a graph.
    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, p: &[F], x: Value, graph: &mut Graph) -> Result<Value> {
        let _ = (p, x, graph);
        unsupported("a network of your own", "its `Network::trace` is not implemented")
    }
}

/// The point and direction of a `jvp`, with what `forward` and `jvp` kept.
#[derive(Debug, Clone, Copy)]
pub struct Primal<'a, F> {
    /// x: (n, in).
    pub x: &'a [F],
    /// ẋ: (n, in).
    pub xdot: &'a [F],
    /// Filled by `forward`.
    pub cache: &'a [F],
    /// Filled by `jvp`.
    pub tangents: &'a [F],
    /// Filled by `backward_keeping`, if it was called with the dẏ of this call as its dy.
    pub adjoints: Option<&'a [F]>,
}

#[cfg(test)]
mod tests;
