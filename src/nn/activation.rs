use super::{Layout, Network, Primal, Weights};
use crate::error::{Result, check};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorize;
#[cfg(feature = "onnx")]
use crate::onnx::{Attribute, Graph, Value};

/// An elementwise nonlinearity.
///
/// With y = f(x): dx = f′·dy and ẏ = f′·ẋ. The tangent's gradient is dẋ = f′·dẏ, and, since f′ depends on x,
/// dx = f′·dy + f″·ẋ·dẏ. `forward` keeps f′, which costs little in addition to f.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub enum Activation {
    /// tanh x.
    Tanh,
    /// x·σ(x), also called swish (Elfwing et al. 2018).
    Silu,
    /// x·½(1 + tanh(√(2/π)(x + 0.044715x³))): the tanh form of GELU (Hendrycks & Gimpel 2016).
    Gelu,
    /// max(x, 0).
    Relu,
    /// x for x > 0, otherwise slope·x.
    LeakyRelu {
        /// The slope on the negative side, −1 to 1. The adversarial literature uses 0.2.
        slope: f64,
    },
    /// ln(1 + eˣ).
    Softplus,
}

impl Activation {
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the slope, if it is out of range.
    pub fn validate(self) -> Result<()> {
        let Activation::LeakyRelu { slope } = self else { return Ok(()) };
        check((-1.0..=1.0).contains(&slope), "Activation::LeakyRelu::slope", slope, "-1 to 1")
    }

    /// The gain for a [`Linear::new`](super::Linear::new) next to this activation: 1 for tanh, √2 for the others.
    ///
    /// Between ReLUs, √2 keeps the variance exactly (He et al. 2015); elsewhere it is a convention: 1/√E f(x)² for x
    /// ~ N(0, 1) is √(2/(1 + slope²)) for the leaky ReLU, 1.53 for GELU, 1.68 for SiLU, 1.04 for softplus. For tanh
    /// it is 1.59, but a gain of 1 preserves small values, where tanh x ≈ x.
    pub fn gain(self) -> f64 {
        match self {
            Activation::Tanh => 1.0,
            _ => std::f64::consts::SQRT_2,
        }
    }

    /// x ← f(x).
    pub fn apply<F: Real>(self, x: &mut [F]) {
        // One loop per case: the match stays outside, so that the loop compiles to vector code.
        match self {
            Activation::Tanh => in_place(x, |x| x.fast_tanh()),
            Activation::Silu => in_place(x, |x| silu(x).0),
            Activation::Gelu => in_place(x, |x| gelu(x).0),
            Activation::Relu => in_place(x, |x| if x > F::zero() { x } else { F::zero() }),
            Activation::LeakyRelu { slope } => {
                let slope = F::of(slope);
                in_place(x, move |x| if x > F::zero() { x } else { slope * x })
            }
            Activation::Softplus => in_place(x, |x| x.fast_softplus()),
        }
    }

    /// y = f(x) and d = f′(x).
    fn apply_with_slope<F: Real>(self, x: &[F], y: &mut [F], d: &mut [F]) {
        let one = F::one();
        match self {
            Activation::Tanh => value_and_slope(x, y, d, move |x| {
                let y = x.fast_tanh();
                (y, one - y * y)
            }),
            Activation::Silu => value_and_slope(x, y, d, silu),
            Activation::Gelu => value_and_slope(x, y, d, |x| {
                let (y, d, _) = gelu(x);
                (y, d)
            }),
            Activation::Relu => value_and_slope(x, y, d, move |x| {
                let d = if x > F::zero() { one } else { F::zero() };
                (d * x, d)
            }),
            Activation::LeakyRelu { slope } => {
                let slope = F::of(slope);
                value_and_slope(x, y, d, move |x| {
                    let d = if x > F::zero() { one } else { slope };
                    (d * x, d)
                })
            }
            Activation::Softplus => value_and_slope(x, y, d, |x| (x.fast_softplus(), x.fast_sigmoid())),
        }
    }

    /// dx += f″(x)·ẋ·dẏ.
    fn add_curvature<F: Real>(self, x: &[F], xdot: &[F], dydot: &[F], dx: &mut [F]) {
        let one = F::one();
        match self {
            Activation::Tanh => curvature(x, xdot, dydot, dx, move |x| {
                let y = x.fast_tanh();
                -(y + y) * (one - y * y)
            }),
            // s′ = s(1−s); f′ = s + x s′; f″ = s′(2 + x(1−2s)).
            Activation::Silu => curvature(x, xdot, dydot, dx, move |x| {
                let s = x.fast_sigmoid();
                s * (one - s) * (one + one + x * (one - s - s))
            }),
            Activation::Gelu => curvature(x, xdot, dydot, dx, |x| gelu(x).2),
            Activation::Softplus => curvature(x, xdot, dydot, dx, move |x| {
                let s = x.fast_sigmoid();
                s * (one - s)
            }),
            // Linear on both sides of the kink.
            Activation::Relu | Activation::LeakyRelu { .. } => {}
        }
    }

    /// The slope below 0, if the function is linear on both sides of 0: then f″ = 0 wherever it exists.
    pub(super) fn slope_below<F: Real>(self) -> Option<F> {
        match self {
            Activation::Relu => Some(F::zero()),
            Activation::LeakyRelu { slope } => Some(F::of(slope)),
            _ => None,
        }
    }

    /// f(x) in a graph.
    #[cfg(feature = "onnx")]
    fn trace<F: Real>(self, x: Value, graph: &mut Graph) -> Value {
        match self {
            Activation::Tanh => graph.apply("Tanh", &[x]),
            Activation::Silu => {
                let s = graph.apply("Sigmoid", &[x]);
                graph.mul(x, s)
            }
            Activation::Gelu => {
                let cube = graph.mul(x, x);
                let cube = graph.mul(cube, x);
                let cube = graph.scaled(F::of(0.044_715), cube);
                let u = graph.add(x, cube);
                let u = graph.scaled(F::of(0.797_884_560_802_865_4), u);
                let h = graph.apply("Tanh", &[u]);
                let share = graph.shifted(h, F::one());
                let half = graph.scaled(F::of(0.5), x);
                graph.mul(half, share)
            }
            Activation::Relu => graph.apply("Relu", &[x]),
            Activation::LeakyRelu { slope } => {
                graph.node("LeakyRelu", &[x], &[("alpha", Attribute::Float(slope as f32))])
            }
            Activation::Softplus => graph.apply("Softplus", &[x]),
        }
    }

    /// This activation as a layer of `dim` columns.
    pub fn layer(self, dim: usize) -> super::Layer {
        super::Layer::Activation(Elementwise { activation: self, dim })
    }
}

/// (f, f′) of SiLU, f within 4e-7 and 1e-15 of the true value, relative, while σ(x) is normal; −∞ gives −0. With s =
/// σ(x): f = xs, f′ = s + f(1−s).
#[inline(always)]
fn silu<F: Real>(x: F) -> (F, F) {
    // −∞ times a sigmoid of 0 would be NaN.
    let x = if x < F::min_value() { F::min_value() } else { x };
    let s = x.fast_sigmoid();
    let y = x * s;
    (y, s + if x < F::infinity() { y * (F::one() - s) } else { F::zero() })
}

/// (f, f′, f″) of GELU's tanh form, f within 3e-7·|x| and 1e-15·|x|; −∞ gives −0. With u = c(x + ax³), h = tanh
/// u, u′ = c(1 + 3ax²), u″ = 6cax: f = x(1+h)/2, f′ = (1+h)/2 + x h′/2, f″ = h′ + x h″/2, where h′ = (1−h²)u′ and
/// h″ = (1−h²)(u″ − 2h u′²).
#[inline(always)]
fn gelu<F: Real>(x: F) -> (F, F, F) {
    let (c, a) = (F::of(0.797_884_560_802_865_4), F::of(0.044_715));
    let (half, one, three) = (F::of(0.5), F::one(), F::of(3.0));
    // From here on h is ±1 in both formats; farther out the powers of x would overflow.
    let far = F::of(16.0);
    let near = if x > far { far } else { x };
    let near = if near < -far { -far } else { near };
    let h = (c * (near + a * near * near * near)).fast_tanh();
    let (u1, u2) = (c * (one + three * a * near * near), F::of(6.0) * c * a * near);
    let q = one - h * h;
    let (h1, h2) = (q * u1, q * (u2 - (h + h) * u1 * u1));
    let x = if x < F::min_value() { F::min_value() } else { x };
    (half * x * (one + h), half * (one + h) + half * near * h1, h1 + half * near * h2)
}

// The closures own what they capture: a reference might alias the output, and the loop would not be vectorized.

#[inline(always)]
fn in_place<F: Real>(x: &mut [F], f: impl Fn(F) -> F) {
    vectorize(
        #[inline(always)]
        move || x.iter_mut().for_each(|x| *x = f(*x)),
    );
}

#[inline(always)]
fn value_and_slope<F: Real>(x: &[F], y: &mut [F], d: &mut [F], f: impl Fn(F) -> (F, F)) {
    vectorize(
        #[inline(always)]
        move || {
            for ((&x, y), d) in x.iter().zip(y).zip(d) {
                (*y, *d) = f(x);
            }
        },
    );
}

#[inline(always)]
fn curvature<F: Real>(x: &[F], xdot: &[F], dydot: &[F], dx: &mut [F], second: impl Fn(F) -> F) {
    vectorize(
        #[inline(always)]
        move || {
            for (((&x, &xdot), &dydot), dx) in x.iter().zip(xdot).zip(dydot).zip(dx) {
                *dx += second(x) * xdot * dydot;
            }
        },
    );
}

/// out = a·b, elementwise.
#[inline(always)]
fn product<F: Real>(a: &[F], b: &[F], out: &mut [F]) {
    vectorize(
        #[inline(always)]
        move || {
            for ((&a, &b), out) in a.iter().zip(b).zip(out) {
                *out = a * b;
            }
        },
    );
}

/// An [`Activation`] on rows of a given width. Made by [`Activation::layer`].
#[derive(Debug, Clone, PartialEq)]
pub struct Elementwise {
    activation: Activation,
    dim: usize,
}

impl Elementwise {
    /// See [`Activation::slope_below`].
    pub(super) fn slope_below<F: Real>(&self) -> Option<F> {
        self.activation.slope_below()
    }

    /// x ← f(x).
    pub(super) fn apply<F: Real>(&self, x: &mut [F]) {
        self.activation.apply(x);
    }
}

impl Network for Elementwise {
    fn in_dim(&self) -> usize {
        self.dim
    }
    fn out_dim(&self) -> usize {
        self.dim
    }
    fn describe(&self, _: &str, _: &mut Layout) {}
    fn num_params(&self) -> usize {
        0
    }
    fn init<F: Real>(&self, _: &mut [F], _: &mut Rng) {}
    fn transpose<F: Real>(&self, _: &[F], _: &mut [F]) {}
    // f′.
    fn cache_width(&self) -> usize {
        self.dim
    }
    fn tangent_width(&self) -> usize {
        0
    }
    fn scratch_width(&self) -> usize {
        0
    }
    fn infer<F: Real>(&self, _: &[F], x: &[F], y: &mut [F], _: &mut [F]) {
        y.copy_from_slice(x);
        self.activation.apply(y);
    }
    fn forward<F: Real>(&self, _: &[F], x: &[F], y: &mut [F], cache: &mut [F]) {
        self.activation.apply_with_slope(x, y, cache);
    }
    fn backward<F: Real>(
        &self,
        _: Weights<F>,
        _: &[F],
        cache: &[F],
        dy: &[F],
        _: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        _: &mut [F],
    ) {
        if let Some(dx) = dx {
            product(cache, dy, dx);
        }
    }
    fn jvp<F: Real>(&self, _: &[F], _: &[F], cache: &[F], xdot: &[F], ydot: &mut [F], _: &mut [F]) {
        product(cache, xdot, ydot);
    }
    fn jvp_backward<F: Real>(
        &self,
        _: Weights<F>,
        at: Primal<F>,
        dy: Option<&[F]>,
        dydot: &[F],
        _: Option<&mut [F]>,
        dx: Option<&mut [F]>,
        dxdot: Option<&mut [F]>,
        _: &mut [F],
    ) {
        if let Some(dx) = dx {
            match dy {
                Some(dy) => product(at.cache, dy, dx),
                None => dx.fill(F::zero()),
            }
            self.activation.add_curvature(at.x, at.xdot, dydot, dx);
        }
        if let Some(dxdot) = dxdot {
            product(at.cache, dydot, dxdot);
        }
    }
    #[cfg(feature = "onnx")]
    fn trace<F: Real>(&self, _: &[F], x: Value, graph: &mut Graph) -> Result<Value> {
        Ok(self.activation.trace::<F>(x, graph))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every 4099th f32: both signs, subnormals, infinities, NaN; as many f64 of all exponents, with digits below.
    fn sweep<F: Real>() -> Vec<F> {
        let special = [0.0, -0.0, 1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX, f64::MIN];
        let all = (0..=u32::MAX).step_by(4099).map(|bits| f64::from(f32::from_bits(bits)));
        let wide = (0..=u32::MAX)
            .step_by(4099)
            .map(|bits| f64::from_bits(u64::from(bits) << 32 | u64::from(bits.wrapping_mul(0x9e37_79b9))));
        all.chain(wide).chain(special).map(F::of).collect()
    }

    /// |f(x) − truth(x)| ≤ bound·scale(x), for values from `apply` and from `apply_with_slope`; slopes are finite.
    fn check<F: Real>(
        activation: Activation,
        bound: f64,
        truth: impl Fn(f64) -> f64,
        scale: impl Fn(f64) -> f64,
    ) {
        let x = sweep::<F>();
        let (mut applied, mut y, mut d) = (x.clone(), x.clone(), x.clone());
        activation.apply(&mut applied);
        activation.apply_with_slope(&x, &mut y, &mut d);
        for (((&x, &applied), &y), &d) in x.iter().zip(&applied).zip(&y).zip(&d) {
            if x.is_nan() {
                assert!(applied.is_nan() && y.is_nan());
                continue;
            }
            assert!(applied == y && d.is_finite(), "{activation:?}({x:?}): {applied:?}, {y:?}, slope {d:?}");
            let want = truth(x.f64());
            // Equal infinities have no difference; a subnormal result can only be as close as its spacing allows.
            let tolerance = bound * scale(x.f64()).abs().max(F::min_positive_value().f64());
            let near = y == F::of(want) || (y.f64() - want).abs() <= tolerance;
            assert!(near, "{activation:?}({x:?}) = {y:?}, not {want:e}");
        }
    }

    #[test]
    fn errors_keep_their_bounds_over_the_whole_range() {
        // The logistic function, without overflow for negative u.
        let logistic = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
        let silu = |x: f64| if x == f64::NEG_INFINITY { 0.0 } else { x * logistic(x) };
        // Where the sigmoid is subnormal, it has fewer digits.
        let scale = |least: f64| move |x: f64| silu(x).abs().max(least * x.abs());
        check::<f32>(Activation::Silu, 4e-7, silu, scale(f32::MIN_POSITIVE.into()));
        check::<f64>(Activation::Silu, 1e-15, silu, scale(f64::MIN_POSITIVE));
        let gelu = |x: f64| {
            // (1 + tanh u)/2 is the logistic function of 2u.
            let u = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
            if x == f64::NEG_INFINITY { 0.0 } else { x * logistic(2.0 * u) }
        };
        check::<f32>(Activation::Gelu, 3e-7, gelu, |x| x);
        check::<f64>(Activation::Gelu, 1e-15, gelu, |x| x);
    }
}
