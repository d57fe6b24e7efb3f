//! `Real`: the number type of kernels, networks and objectives, so that each derivative is checked in f64 and runs in f32.

use std::fmt::{Debug, Display};
use std::iter::Sum;

use num_traits::{Float, NumAssign};
use rand_distr::{Distribution, StandardNormal};

use super::gemm::Gemm;

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// `f32` or `f64`. The functions named `fast_*` are branch-free, so that a loop over a slice inside
/// [`vectorise`](crate::numeric::simd::vectorise) becomes vector code; their error bounds stand in their docs and tests.
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
    /// eˣ.
    fn fast_exp(self) -> Self;
    /// ln x.
    fn fast_ln(self) -> Self;
    /// tanh x.
    fn fast_tanh(self) -> Self;
    /// (sin x, cos x).
    fn fast_sin_cos(self) -> (Self, Self);
    /// 1/(1 + e⁻ˣ).
    fn fast_sigmoid(self) -> Self;
    /// ln(1 + eˣ).
    fn fast_softplus(self) -> Self;
}

macro_rules! real {
    ($type:ty) => {
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
                self.exp()
            }
            #[inline(always)]
            fn fast_ln(self) -> Self {
                self.ln()
            }
            #[inline(always)]
            fn fast_tanh(self) -> Self {
                self.tanh()
            }
            #[inline(always)]
            fn fast_sin_cos(self) -> (Self, Self) {
                self.sin_cos()
            }
            #[inline(always)]
            fn fast_sigmoid(self) -> Self {
                1.0 / (1.0 + (-self).fast_exp())
            }
            #[inline(always)]
            fn fast_softplus(self) -> Self {
                self.max(0.0) + (-self.abs()).exp().ln_1p()
            }
        }
    };
}

real!(f32);
real!(f64);
