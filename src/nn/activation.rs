use super::{Layout, Network, Primal, Weights};
use crate::error::{Result, check};
use crate::numeric::Real;
use crate::numeric::rng::Rng;
use crate::numeric::simd::vectorise;

/// An elementwise nonlinearity.
///
/// With y = f(x): dx = f′·dy and ẏ = f′·ẋ. The tangent's gradient is dẋ = f′·dẏ, and, as f′ depends on x,
/// dx = f′·dy + f″·ẋ·dẏ. `forward` keeps f′, which costs little beside f.
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
    /// x for x > 0, else slope·x.
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

    /// The gain that keeps the variance through this activation, for [`Linear::new`](super::Linear::new).
    pub fn gain(self) -> f64 {
        match self {
            Activation::Tanh => 1.0,
            _ => std::f64::consts::SQRT_2,
        }
    }

    /// x ← f(x).
    pub fn apply<F: Real>(self, x: &mut [F]) {
        // A loop per case: the choice stays outside, so that the loop is vector code.
        match self {
            Activation::Tanh => in_place(x, |x| x.fast_tanh()),
            Activation::Silu => in_place(x, |x| x * x.fast_sigmoid()),
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
            Activation::Silu => value_and_slope(x, y, d, move |x| {
                let s = x.fast_sigmoid();
                let y = x * s;
                (y, s + y * (one - s))
            }),
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
            // Straight on both sides of the kink.
            Activation::Relu | Activation::LeakyRelu { .. } => {}
        }
    }

    /// The slope below 0, if the function is straight on both sides: then f″ = 0 wherever it exists.
    pub(super) fn slope_below<F: Real>(self) -> Option<F> {
        match self {
            Activation::Relu => Some(F::zero()),
            Activation::LeakyRelu { slope } => Some(F::of(slope)),
            _ => None,
        }
    }

    /// This activation as a layer of `dim` columns.
    pub fn layer(self, dim: usize) -> super::Layer {
        super::Layer::Activation(Elementwise { activation: self, dim })
    }
}

/// (f, f′, f″) of GELU's tanh form. With u = c(x + ax³), h = tanh u, u′ = c(1 + 3ax²), u″ = 6cax:
/// f = x(1+h)/2, f′ = (1+h)/2 + x h′/2, f″ = h′ + x h″/2, where h′ = (1−h²)u′ and h″ = (1−h²)(u″ − 2h u′²).
#[inline(always)]
fn gelu<F: Real>(x: F) -> (F, F, F) {
    let (c, a) = (F::of(0.797_884_560_802_865_4), F::of(0.044_715));
    let (half, one, three) = (F::of(0.5), F::one(), F::of(3.0));
    let h = (c * (x + a * x * x * x)).fast_tanh();
    let (u1, u2) = (c * (one + three * a * x * x), F::of(6.0) * c * a * x);
    let q = one - h * h;
    let (h1, h2) = (q * u1, q * (u2 - (h + h) * u1 * u1));
    (half * x * (one + h), half * (one + h) + half * x * h1, h1 + half * x * h2)
}

// The loops own what they capture: behind a reference it might alias the output, and the loop would stay
// scalar.

#[inline(always)]
fn in_place<F: Real>(x: &mut [F], f: impl Fn(F) -> F) {
    vectorise(
        #[inline(always)]
        move || x.iter_mut().for_each(|x| *x = f(*x)),
    );
}

#[inline(always)]
fn value_and_slope<F: Real>(x: &[F], y: &mut [F], d: &mut [F], f: impl Fn(F) -> (F, F)) {
    vectorise(
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
    vectorise(
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
    vectorise(
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
}
