use std::any::Any;
use std::fmt::Debug;

use super::{Layout, Weights};
#[cfg(feature = "onnx")]
use crate::error::Result;
use crate::numeric::Real;
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value, unsupported};

/// The position of a row on its path between noise and data, or the rate at which it moves along that path.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Moment {
    /// The time, in the unit that the model uses. The network learns the time from this number alone.
    pub time: f64,
    /// The standard deviation of the noise in x. A network may use it to ignore detail that the noise hides.
    pub blur: f64,
}

/// What a [`VectorField`] is evaluated at: n rows, their moments and their conditions.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a, F> {
    /// x: (n, dim).
    pub x: &'a [F],
    /// One moment for each row, or a single one that all rows share. A network of two times has two in their place, one
    /// behind the other, and the blur of the first is the row's.
    pub moments: &'a [Moment],
    /// c: (n, k), or (1, k) where all rows share it; empty where k = 0. No gradient with respect to c is computed.
    pub condition: &'a [F],
}

impl<F> Inputs<'_, F> {
    /// The moment of row r, of a network of one time.
    pub fn moment(&self, r: usize) -> Moment {
        self.moments[if self.moments.len() == 1 { 0 } else { r }]
    }

    /// The condition of row r, of `k` numbers.
    pub fn condition(&self, r: usize, k: usize) -> &[F] {
        let at = if self.condition.len() == k { 0 } else { r * k };
        &self.condition[at..at + k]
    }
}

/// [`Inputs`] as values of a graph. Each has a row for each row of x, or a single one.
#[cfg(feature = "onnx")]
#[derive(Debug, Clone, Copy)]
pub struct TracedInputs<'a> {
    /// x: (n, dim).
    pub x: Value,
    /// The times of the moments of a row, each (n, 1).
    pub times: &'a [Value],
    /// The blur of the first moment: (n, 1).
    pub blur: Value,
    /// c: (n, k), if there is a condition.
    pub condition: Option<Value>,
}

/// A direction in which [`Inputs`] move: tangents of the rows and of their moments. The condition is constant.
#[derive(Debug, Clone, Copy)]
pub struct Direction<'a, F> {
    /// ẋ: (n, dim).
    pub x: &'a [F],
    /// The rates of the moments, as many as there are moments; empty if the moments are constant.
    pub moments: &'a [Moment],
}

/// The buffers of one batch of rows: a value of a type that the network chooses, made on first use and kept.
#[derive(Debug, Default)]
pub struct Workspace(Option<Box<dyn Any + Send>>);

impl Workspace {
    /// The value of type `T`, which is kept until another type is requested.
    ///
    /// ```
    /// let mut workspace = quadrivium::nn::Workspace::default();
    /// workspace.of::<Vec<f32>>().push(1.0);
    /// assert_eq!(workspace.of::<Vec<f32>>(), &[1.0]);
    /// ```
    pub fn of<T: Any + Default + Send>(&mut self) -> &mut T {
        if !self.0.as_ref().is_some_and(|value| value.is::<T>()) {
            self.0 = Some(Box::<T>::default());
        }
        self.0.as_mut().and_then(|value| value.downcast_mut()).expect("a value of that type")
    }
}

/// A network v(x, t, c; p) of rows x: (n, dim), the moment t of each row and a condition c, with values v: (n, dim).
/// Diffusion, flow matching and score models learn such a network.
///
/// Like a [`Network`](super::Network), it holds no parameters, only their number and meaning, and the caller owns
/// all buffers. Unlike a `Network`, it is dyn-safe, so a model accepts any implementation: implement it for a network
/// of your own, and it trains, draws and scores like the built-in ones.
///
/// `backward` and `jvp` are called with the inputs and the workspace of the last `forward`, so `forward` may keep in
/// the workspace what they need.
///
/// ```
/// use quadrivium::nn::*;
/// use quadrivium::numeric::rng::Rng;
///
/// /// A perceptron of the columns (x, t, c).
/// #[derive(Debug)]
/// struct Plain {
///     body: Sequential,
///     dim: usize,
///     condition: usize,
/// }
///
/// impl VectorField for Plain {
///     fn dim(&self) -> usize {
///         self.dim
///     }
///     fn condition(&self) -> usize {
///         self.condition
///     }
///     fn num_params(&self) -> usize {
///         self.body.num_params()
///     }
///     fn init(&self, p: &mut [f32], rng: &mut Rng) {
///         self.body.init(p, rng);
///     }
///     fn transpose(&self, p: &[f32], t: &mut [f32]) {
///         self.body.transpose(p, t);
///     }
///     fn forward(&self, p: &[f32], at: Inputs<f32>, v: &mut [f32], workspace: &mut Workspace) {
///         let mut columns = Vec::new();
///         for (r, x) in at.x.chunks_exact(self.dim).enumerate() {
///             columns.extend_from_slice(x);
///             columns.push(at.moment(r).time as f32);
///             columns.extend_from_slice(at.condition(r, self.condition));
///         }
///         v.copy_from_slice(workspace.of::<Tape<f32>>().forward(&self.body, p, &columns));
///     }
///     fn backward(
///         &self,
///         w: Weights<f32>,
///         at: Inputs<f32>,
///         dv: &[f32],
///         dp: Option<&mut [f32]>,
///         dx: Option<&mut [f32]>,
///         workspace: &mut Workspace,
///     ) {
///         let width = self.body.in_dim();
///         let mut columns = vec![0.0; at.x.len() / self.dim * width];
///         workspace.of::<Tape<f32>>().backward(&self.body, w, dv, dp, Some(&mut columns));
///         if let Some(dx) = dx {
///             for (dx, row) in dx.chunks_exact_mut(self.dim).zip(columns.chunks_exact(width)) {
///                 dx.copy_from_slice(&row[..self.dim]);
///             }
///         }
///     }
///     fn jvp(&self, p: &[f32], at: Inputs<f32>, dot: Direction<f32>, vdot: &mut [f32], workspace: &mut Workspace) {
///         let mut columns = Vec::new();
///         for (r, xdot) in dot.x.chunks_exact(self.dim).enumerate() {
///             columns.extend_from_slice(xdot);
///             let rate = Inputs { moments: dot.moments, ..at };
///             columns.push(if dot.moments.is_empty() { 0.0 } else { rate.moment(r).time as f32 });
///             columns.resize((r + 1) * self.body.in_dim(), 0.0);
///         }
///         vdot.copy_from_slice(workspace.of::<Tape<f32>>().jvp(&self.body, p, &columns));
///     }
/// }
///
/// let net = Plain { body: mlp(&[2 + 1 + 3, 32, 2], Activation::Silu), dim: 2, condition: 3 };
/// let mut p = vec![0.0; net.num_params()];
/// net.init(&mut p, &mut quadrivium::seeded(0));
/// let moments = [Moment { time: 0.5, blur: 0.0 }];
/// let at = Inputs { x: &[0.1, 0.2, 0.3, 0.4], moments: &moments, condition: &[0.0, 1.0, 0.0] };
/// let (mut v, mut workspace) = ([0.0; 4], Workspace::default());
/// net.forward(&p, at, &mut v, &mut workspace);
/// // The tangent in time predicts a small step of time.
/// let rate = [Moment { time: 1.0, blur: 0.0 }];
/// let mut vdot = [0.0; 4];
/// net.jvp(&p, at, Direction { x: &[0.0; 4], moments: &rate }, &mut vdot, &mut workspace);
/// let later = [Moment { time: 0.51, blur: 0.0 }];
/// let mut moved = [0.0; 4];
/// net.infer(&p, Inputs { moments: &later, ..at }, &mut moved, &mut workspace);
/// assert!((moved[0] - v[0] - 0.01 * vdot[0]).abs() < 1e-3);
/// ```
pub trait VectorField<F: Real = f32>: Debug + Send + Sync {
    /// Columns of x and of v.
    fn dim(&self) -> usize;

    /// Columns k of the condition; 0 if there is none.
    fn condition(&self) -> usize {
        0
    }

    /// Moments of a row: 2 for a network v(x, s, t, c) of two times, which a flow map asks for. Default 1.
    fn times(&self) -> usize {
        1
    }

    /// Length of p.
    fn num_params(&self) -> usize;

    /// The table of p, from which files take the parameters' names. Default: one tensor with all parameters.
    fn layout(&self) -> Layout {
        let mut layout = Layout::default();
        layout.push("parameters".into(), &[self.num_params()]);
        layout
    }

    /// Draws starting parameters.
    fn init(&self, p: &mut [F], rng: &mut Rng);

    /// Fills the part of t that the backward functions read through [`Weights::t`], once per training step. Default:
    /// nothing.
    fn transpose(&self, p: &[F], t: &mut [F]) {
        let _ = (p, t);
    }

    /// Fills v: (n, dim), and keeps in `workspace` what the functions below need.
    fn forward(&self, p: &[F], at: Inputs<F>, v: &mut [F], workspace: &mut Workspace);

    /// Fills v: (n, dim), keeping nothing. Default: [`forward`](VectorField::forward).
    fn infer(&self, p: &[F], at: Inputs<F>, v: &mut [F], workspace: &mut Workspace) {
        self.forward(p, at, v, workspace);
    }

    /// dp += ∂⟨dv, v⟩/∂p and dx = ∂⟨dv, v⟩/∂x, each only if requested, after `forward` at the same inputs.
    fn backward(
        &self,
        w: Weights<F>,
        at: Inputs<F>,
        dv: &[F],
        dp: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        workspace: &mut Workspace,
    );

    /// v̇ = (∂v/∂x) ẋ + (∂v/∂t) ṫ after `forward` at the same inputs.
    fn jvp(&self, p: &[F], at: Inputs<F>, dot: Direction<F>, vdot: &mut [F], workspace: &mut Workspace);

    /// The second-order function, if the network has it. Default: none; a training method that needs it, such as
    /// sliced score matching, then refuses the network.
    fn second_order(&self) -> Option<&dyn SecondOrder<F>> {
        None
    }

    /// Adds the nodes that compute v to a graph, and returns v. Default: none.
    ///
    /// # Errors
    /// [`ExportError::Unsupported`](crate::error::ExportError), if the network has no description as a graph.
    #[cfg(feature = "onnx")]
    fn trace(&self, p: &[F], at: TracedInputs<'_>, graph: &mut Graph) -> Result<Value> {
        let _ = (p, at, graph);
        unsupported("a network of your own", "its `VectorField::trace` is not implemented")
    }
}

/// The gradient of a tangent, for losses that contain one: sliced score matching, Lagrangian flow maps.
pub trait SecondOrder<F: Real = f32>: VectorField<F> {
    /// dp += ∂(⟨dv, v⟩ + ⟨dv̇, v̇⟩)/∂p after `forward` and `jvp` at the same inputs and direction.
    fn jvp_backward(
        &self,
        w: Weights<F>,
        at: Inputs<F>,
        dot: Direction<F>,
        dv: &[F],
        dvdot: &[F],
        dp: &mut [F],
        workspace: &mut Workspace,
    );
}
