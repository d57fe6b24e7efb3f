use std::fmt::Debug;
use std::sync::Arc;

#[cfg(feature = "onnx")]
use super::onnx::Told;
use super::path::{Noising, Path};
use super::schedule::NoiseLevel;
use super::{Beyond, DiffusionConfig};
use crate::error::{Result, check};
#[cfg(feature = "onnx")]
use crate::nn::TracedInputs;
#[cfg(feature = "onnx")]
use crate::nn::fade;
use crate::nn::fade::Fade;
use crate::nn::timed::clamp;
use crate::nn::{Direction, Inputs, Moment, VectorField, Weights, Workspace, grow};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
#[cfg(feature = "onnx")]
use crate::onnx::{Element, Graph, Value};

/// What the network's output v has to do with the prediction that a path asks for, row by row.
pub(crate) trait Parametrization: Debug + Clone + Send + Sync {
    type Path: Path;

    /// Appends what the network is told about a level: a moment, or as many as it has times.
    fn tell(&self, level: Level<Self>, moments: &mut Vec<Moment>);

    /// From v to the prediction at x, in place.
    fn predict<F: Real>(&self, level: Level<Self>, x: &[F], v: &mut [F]);

    /// From the gradient at the prediction to that at v, in place. The same takes v's tangent gradient, for the
    /// prediction is linear in v.
    fn pull_back<F: Real>(&self, level: Level<Self>, dv: &mut [F]);

    /// From v̇ to the tangent of the prediction at x along ẋ, in place.
    fn tangent<F: Real>(&self, level: Level<Self>, x: &[F], xdot: &[F], vdot: &mut [F]);

    /// The numbers that name a level in a graph.
    #[cfg(feature = "onnx")]
    fn numbers(level: Level<Self>) -> Vec<f64>;

    /// `tell` of the numbers of a level in a graph, in f64, each (n, 1) or (1, 1).
    #[cfg(feature = "onnx")]
    fn trace_tell(&self, level: &[Value], graph: &mut Graph) -> Told;

    /// `predict` in a graph, in f32.
    #[cfg(feature = "onnx")]
    fn trace_predict(&self, told: &Told, x: Value, v: Value, graph: &mut Graph) -> Value;
}

/// The levels of a parametrization's path.
pub(crate) type Level<P> = <<P as Parametrization>::Path as Path>::Level;

/// The noise ε̂ in a row at a level, from a network's velocity v (Salimans & Ho 2022):
///
/// ε̂ = σ x + α v.
///
/// The network need not repeat its input: v = 0 is the noise of data that are standard normal, and at high noise,
/// where α is small, its errors do not count. With [`Beyond::Point`], beyond x̃ = clamp(x, ±20) ε̂ goes on as the
/// noise of a point there, σ x̃ + α v + (x − x̃)/σ.
#[derive(Debug, Clone)]
pub(crate) struct Noise {
    beyond: Beyond,
}

impl Noise {
    /// x, or with [`Beyond::Point`] x̃.
    fn near<F: Real>(&self, x: F) -> F {
        match self.beyond {
            Beyond::Normal => x,
            Beyond::Point => clamp(x),
        }
    }
}

impl Parametrization for Noise {
    type Path = Noising;

    fn tell(&self, level: NoiseLevel, moments: &mut Vec<Moment>) {
        moments.push(Moment { time: level.log_snr, blur: level.sigma });
    }

    fn predict<F: Real>(&self, level: NoiseLevel, x: &[F], v: &mut [F]) {
        let [alpha, sigma] = [level.alpha, level.sigma].map(F::of);
        for (&x, v) in x.iter().zip(v) {
            let near = self.near(x);
            *v = sigma * near + alpha * *v + (x - near) / sigma;
        }
    }

    fn pull_back<F: Real>(&self, level: NoiseLevel, dv: &mut [F]) {
        let alpha = F::of(level.alpha);
        dv.iter_mut().for_each(|dv| *dv = alpha * *dv);
    }

    fn tangent<F: Real>(&self, level: NoiseLevel, x: &[F], xdot: &[F], vdot: &mut [F]) {
        let [alpha, sigma] = [level.alpha, level.sigma].map(F::of);
        for ((&x, &xdot), v) in x.iter().zip(xdot).zip(vdot) {
            let skip = if self.near(x) == x { sigma } else { sigma.recip() };
            *v = skip * xdot + alpha * *v;
        }
    }

    #[cfg(feature = "onnx")]
    fn numbers(level: NoiseLevel) -> Vec<f64> {
        vec![level.log_snr]
    }

    #[cfg(feature = "onnx")]
    fn trace_tell(&self, level: &[Value], graph: &mut Graph) -> Told {
        let opposite = graph.scaled(-1.0, level[0]);
        let [alpha, sigma] = [level[0], opposite].map(|log_snr| {
            let variance = graph.apply("Sigmoid", &[log_snr]);
            let root = graph.apply("Sqrt", &[variance]);
            graph.cast(root, Element::F32)
        });
        Told { times: vec![graph.cast(level[0], Element::F32)], blur: sigma, alpha: Some(alpha) }
    }

    #[cfg(feature = "onnx")]
    fn trace_predict(&self, told: &Told, x: Value, v: Value, graph: &mut Graph) -> Value {
        let (alpha, sigma) = (told.alpha.expect("a noise level has one"), told.blur);
        let v = graph.mul(alpha, v);
        let near = match self.beyond {
            Beyond::Normal => x,
            Beyond::Point => graph.clip(x, clamp(f32::MIN), clamp(f32::MAX)),
        };
        let shrunk = graph.mul(sigma, near);
        let predicted = graph.add(shrunk, v);
        if near == x {
            return predicted;
        }
        let beyond = graph.sub(x, near);
        let beyond = graph.div(beyond, sigma);
        graph.add(predicted, beyond)
    }
}

/// A network of any kind that predicts what its path asks for.
#[derive(Debug, Clone)]
pub(crate) struct PathNet<F, P> {
    field: Arc<dyn VectorField<F>>,
    /// Whether it is the built-in network, which a config describes.
    #[cfg_attr(not(feature = "safetensors"), allow(dead_code, reason = "files alone need a description"))]
    built_in: bool,
    /// Whether v fades out from 12 to 18 standard deviations, where there are no data.
    fades: bool,
    pub(super) how: P,
}

/// A network of the noise in rows.
pub(crate) type NoiseNet<F = f32> = PathNet<F, Noise>;

/// Where a network is asked: rows x: (n, d) with conditions c: (n, k), or (1, k) where all rows have the same, at
/// `levels`, one for each row or a single one for all.
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'a, F, L> {
    pub(crate) x: &'a [F],
    pub(crate) c: &'a [F],
    pub(crate) levels: &'a [L],
}

impl<F, L: Copy> At<'_, F, L> {
    fn level(&self, row: usize) -> L {
        self.levels[if self.levels.len() == 1 { 0 } else { row }]
    }
}

/// The buffers of one batch of rows, sized on first use and kept: `forward` may be followed by the others.
#[derive(Debug, Default)]
pub(crate) struct Pass<F> {
    moments: Vec<Moment>, // (n) or (1), of two times (n, 2) or (1, 2)
    v: Vec<F>,            // v, then the prediction: (n, d)
    vdot: Vec<F>,         // and its tangent: (n, d)
    dv: Vec<F>,           // (n, d)
    dvdot: Vec<F>,        // (n, d)
    fade: Fade<F>,
    workspace: Workspace,
}

impl<F: Real> Pass<F> {
    /// Whether v is 0 at a row and about it, after `forward`: there the network has faded out.
    pub(crate) fn rests(&self, row: usize) -> bool {
        self.fade.rests(row)
    }
}

impl<F: Real> NoiseNet<F> {
    /// The built-in network of a config.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for a network that cannot be made.
    pub(crate) fn new(config: &DiffusionConfig) -> Result<Self> {
        let &DiffusionConfig { dim, ref network, time_features, condition, .. } = config;
        let field = network.vector_field(dim, condition.width(), time_features)?;
        Ok(PathNet::built_in(field, Self::fades(config), Self::how(config)))
    }

    pub(crate) fn fades(config: &DiffusionConfig) -> bool {
        config.beyond == Beyond::Normal
    }

    pub(crate) fn how(config: &DiffusionConfig) -> Noise {
        Noise { beyond: config.beyond }
    }
}

impl<F: Real, P: Parametrization> PathNet<F, P> {
    pub(crate) fn built_in(field: Arc<dyn VectorField<F>>, fades: bool, how: P) -> Self {
        PathNet { field, built_in: true, fades, how }
    }

    /// A user's network of rows of `dim` columns, `times` moments each, and conditions of `width`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if it is for others.
    pub(crate) fn foreign(
        field: Arc<dyn VectorField<F>>,
        (dim, times, width): (usize, usize, usize),
        fades: bool,
        how: P,
    ) -> Result<Self> {
        check(field.dim() == dim, "VectorField::dim", field.dim(), "the columns of the config")?;
        let wanted = if times == 2 { "2: from where, and where to" } else { "1" };
        check(field.times() == times, "VectorField::times", field.times(), wanted)?;
        let k = field.condition();
        check(k == width, "VectorField::condition", k, "the columns that the config's condition has")?;
        Ok(PathNet { field, built_in: false, fades, how })
    }

    pub(crate) fn dim(&self) -> usize {
        self.field.dim()
    }

    /// Columns k of a condition.
    pub(crate) fn width(&self) -> usize {
        self.field.condition()
    }

    pub(crate) fn num_params(&self) -> usize {
        self.field.num_params()
    }

    /// Whether a config describes it.
    #[cfg(feature = "safetensors")]
    pub(crate) fn is_built_in(&self) -> bool {
        self.built_in
    }

    /// The table of p.
    #[cfg(feature = "safetensors")]
    pub(crate) fn layout(&self) -> crate::nn::Layout {
        self.field.layout()
    }

    /// Whether losses that contain a tangent can be trained.
    pub(crate) fn has_second_order(&self) -> bool {
        self.field.second_order().is_some()
    }

    pub(crate) fn init(&self, p: &mut [F], rng: &mut Rng) {
        self.field.init(p, rng);
    }

    /// Fills the part of t that `backward` reads.
    pub(crate) fn transpose(&self, p: &[F], t: &mut [F]) {
        self.field.transpose(p, t);
    }

    /// The prediction: (n, d), nothing kept.
    pub(crate) fn infer<'a>(&self, p: &[F], at: At<'_, F, Level<P>>, pass: &'a mut Pass<F>) -> &'a [F] {
        self.evaluate(at, pass, |inputs, v, workspace| self.field.infer(p, inputs, v, workspace))
    }

    /// The prediction: (n, d).
    pub(crate) fn forward<'a>(&self, p: &[F], at: At<'_, F, Level<P>>, pass: &'a mut Pass<F>) -> &'a [F] {
        self.evaluate(at, pass, |inputs, v, workspace| self.field.forward(p, inputs, v, workspace))
    }

    fn evaluate<'a>(
        &self,
        at: At<'_, F, Level<P>>,
        Pass { moments, v, fade, workspace, .. }: &'a mut Pass<F>,
        run: impl FnOnce(Inputs<F>, &mut [F], &mut Workspace),
    ) -> &'a [F] {
        moments.clear();
        at.levels.iter().for_each(|&level| self.how.tell(level, moments));
        let (d, v) = (self.dim(), grow(v, at.x.len()));
        run(Inputs { x: at.x, moments, condition: at.c }, v, workspace);
        if self.fades {
            fade.apply(d, at.x, v);
        }
        for (r, (x, v)) in at.x.chunks_exact(d).zip(v.chunks_exact_mut(d)).enumerate() {
            self.how.predict(at.level(r), x, v);
        }
        v
    }

    /// The prediction at rows x: (n, d) in a graph.
    #[cfg(feature = "onnx")]
    pub(super) fn trace(
        &self,
        p: &[F],
        told: &Told,
        x: Value,
        c: Option<Value>,
        graph: &mut Graph,
    ) -> Result<Value> {
        let at = TracedInputs { x, times: &told.times, blur: told.blur, condition: c };
        let mut v = self.field.trace(p, at, graph)?;
        if self.fades {
            v = fade::trace::<F>(x, v, graph);
        }
        Ok(self.how.trace_predict(told, x, v, graph))
    }

    /// dp += ∂⟨dy, prediction⟩/∂p after `forward` at the same place.
    pub(crate) fn backward(
        &self,
        w: Weights<F>,
        at: At<'_, F, Level<P>>,
        dy: &[F],
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) {
        let Pass { moments, dv, fade, workspace, .. } = pass;
        let dv = fade.backward(self.dim(), self.pulled_back(at, dy, dv));
        let inputs = Inputs { x: at.x, moments, condition: at.c };
        self.field.backward(w, inputs, dv, Some(dp), None, workspace);
    }

    /// dp += ∂(⟨dy, prediction⟩ + ⟨dẏ, its tangent⟩)/∂p after `forward` and `jvp` at the same place along the same
    /// direction.
    ///
    /// # Panics
    /// If the network has no second-order function.
    pub(crate) fn jvp_backward(
        &self,
        w: Weights<F>,
        at: At<'_, F, Level<P>>,
        dot: Direction<F>,
        (dy, dydot): (&[F], &[F]),
        dp: &mut [F],
        pass: &mut Pass<F>,
    ) {
        let Pass { moments, dv, dvdot, fade, workspace, .. } = pass;
        let (dv, dvdot) = (self.pulled_back(at, dy, dv), self.pulled_back(at, dydot, dvdot));
        let (dv, dvdot) = fade.jvp_backward(self.dim(), dv, dvdot);
        let inputs = Inputs { x: at.x, moments, condition: at.c };
        let field = self.field.second_order().expect("asked for before a training");
        field.jvp_backward(w, inputs, dot, dv, dvdot, dp, workspace);
    }

    /// What reaches v of a gradient at the prediction.
    fn pulled_back<'a>(&self, at: At<'_, F, Level<P>>, dy: &[F], dv: &'a mut Vec<F>) -> &'a [F] {
        dv.clear();
        dv.extend_from_slice(dy);
        for (r, dv) in dv.chunks_exact_mut(self.dim()).enumerate() {
            self.how.pull_back(at.level(r), dv);
        }
        dv
    }

    /// The tangent of the prediction along a direction after `forward` at the same place. The moments of a network
    /// whose output is not the prediction itself stay.
    pub(crate) fn jvp<'a>(
        &self,
        p: &[F],
        at: At<'_, F, Level<P>>,
        dot: Direction<F>,
        Pass { moments, vdot, fade, workspace, .. }: &'a mut Pass<F>,
    ) -> &'a [F] {
        let (d, vdot) = (self.dim(), grow(vdot, at.x.len()));
        let inputs = Inputs { x: at.x, moments, condition: at.c };
        self.field.jvp(p, inputs, dot, vdot, workspace);
        fade.jvp(d, at.x, dot.x, vdot);
        let rows = at.x.chunks_exact(d).zip(dot.x.chunks_exact(d)).zip(vdot.chunks_exact_mut(d));
        for (r, ((x, xdot), vdot)) in rows.enumerate() {
            self.how.tangent(at.level(r), x, xdot, vdot);
        }
        vdot
    }
}
