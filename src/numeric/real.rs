//! `Real`: the number type of kernels, networks and objectives, so that each derivative is checked in f64 and
//! runs in f32.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use num_traits::{Float, NumAssign};
use rand_distr::{Distribution, StandardNormal};

use super::gemm::Gemm;
use super::special;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`.
///
/// The functions named `fast_*` are branch-free, so that a loop over a slice inside
/// `simd::vectorize` becomes vector code; a scalar gives the same bits, slowly. The
/// bounds in their docs are for f32 and f64, relative to the true value and held over the whole range; a
/// subnormal result is as near as its spacing allows. NaN gives NaN.
pub trait Real:
    Float + NumAssign + Sum + Default + Debug + Display + Send + Sync + 'static + sealed::Sealed
{
    /// The nearest value to `v`.
    fn of(v: f64) -> Self;
    /// This value in f64, exactly.
    fn f64(self) -> f64;
    /// The product of [`gemm`](super::gemm::gemm) on this processor's vectors.
    #[doc(hidden)]
    fn run_gemm(gemm: Gemm<'_, Self>);
    /// A standard normal draw.
    fn normal(rng: &mut impl rand::Rng) -> Self;
    /// eˣ within 1e-7 and 3e-16; ∞ beyond the format's largest number, down to 0 through the subnormals.
    fn fast_exp(self) -> Self;
    /// ln x within 1e-7 and 3e-16, beside 1 and for subnormals too; ln 0 = −∞, NaN below 0.
    fn fast_ln(self) -> Self;
    /// tanh x within 2e-7 and 6e-16, x itself near 0; odd, at most 1.
    fn fast_tanh(self) -> Self;
    /// (sin x, cos x) within 8e-8 for |x| ≤ 1e5 and 2.5e-16 for |x| ≤ 1e9, absolute. Finite x beyond count as
    /// 0.
    fn fast_sin_cos(self) -> (Self, Self);
    /// The logistic function 1/(1 + e⁻ˣ) within 2e-7 and 6e-16, on both sides.
    fn fast_sigmoid(self) -> Self;
    /// ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|) within 2e-7 and 6e-16, on both sides.
    fn fast_softplus(self) -> Self;
}

macro_rules! real {
    ($type:ty, $functions:ident) => {
        impl Real for $type {
            #[inline(always)]
            fn of(v: f64) -> Self {
                v as $type
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                self as f64
            }
            fn run_gemm(gemm: Gemm<'_, Self>) {
                super::gemm::dispatch(gemm)
            }
            #[inline]
            fn normal(rng: &mut impl rand::Rng) -> Self {
                StandardNormal.sample(rng)
            }
            #[inline(always)]
            fn fast_exp(self) -> Self {
                special::$functions::exp(self)
            }
            #[inline(always)]
            fn fast_ln(self) -> Self {
                special::$functions::ln(self)
            }
            #[inline(always)]
            fn fast_tanh(self) -> Self {
                special::$functions::tanh(self)
            }
            #[inline(always)]
            fn fast_sin_cos(self) -> (Self, Self) {
                special::$functions::sin_cos(self)
            }
            #[inline(always)]
            fn fast_sigmoid(self) -> Self {
                special::$functions::sigmoid(self)
            }
            #[inline(always)]
            fn fast_softplus(self) -> Self {
                special::$functions::softplus(self)
            }
        }
    };
}

real!(f32, single);
real!(f64, double);
