//! Elementary functions without a branch or a table, behind [`Real`](super::Real)'s `fast_*`.
//!
//! Each reduces its argument to a short interval about 0, where a minimax polynomial suffices, and rebuilds
//! the result from exponent bits; every case is a select. So LLVM turns a loop over them into vector code.
//! They lean on `mul_add`, one instruction inside [`vectorize`](super::simd::vectorize) and a slow, equally
//! rounded, call outside.
//!
//! The polynomials come from `tests/golden/special_coefficients.py`, constant term first.

/// The functions for one format. The modules below hold what differs: coefficients and limits.
macro_rules! functions {
    ($F:ident, $U:ident) => {
        /// Stored bits of the mantissa.
        const DIGITS: u32 = $F::MANTISSA_DIGITS - 1;
        const BIAS: $U = ($F::MAX_EXP - 1) as $U;
        const EXPONENT: $U = $F::INFINITY.to_bits();
        /// x + ROUND rounds x to an integer and leaves it, in two's complement, in the low bits of the sum.
        const ROUND: $F = ((3 as $U) << (DIGITS - 1)) as $F;
        /// The same, and adds twice the bias.
        const ROUND_BIASED: $F = ROUND + (2 * BIAS) as $F;

        /// q[0] + q[1] t + q[2] t² + …
        #[inline(always)]
        fn polynomial<const N: usize>(q: &[$F; N], t: $F) -> $F {
            q[..N - 1].iter().rev().fold(q[N - 1], |sum, &c| sum.mul_add(t, c))
        }

        /// (r, r² q(r), a, b) with eˣ = (1 + r + r² q) a b, |r| ≤ ½ ln 2. Here a b = 2ⁿ, n = round(x / ln 2);
        /// in two factors, because n runs past the exponents of one at both ends.
        #[inline(always)]
        fn exp_parts(x: $F) -> ($F, $F, $F, $F) {
            let shifted = x.mul_add(consts::LOG2_E, ROUND_BIASED);
            let minus_n = ROUND_BIASED - shifted;
            // The first step is exact: its result is a multiple of x's last place and fits the mantissa.
            let r = minus_n.mul_add(LN_2_LO, minus_n.mul_add(consts::LN_2, x));
            // The low bits hold n + 2 bias; half of it, rounded down and rounded up, are two biased
            // exponents.
            let twice = shifted.to_bits();
            let a = $F::from_bits(twice << (DIGITS - 1) & EXPONENT);
            let b = $F::from_bits(twice.wrapping_add(1) << (DIGITS - 1) & EXPONENT);
            (r, r * r * polynomial(&EXP, r), a, b)
        }

        #[inline(always)]
        pub fn exp(x: $F) -> $F {
            // These comparisons let NaN pass; beyond the bounds the result is 0 or ∞ already.
            let x = if x > EXP_MAX { EXP_MAX } else { x };
            let x = if x < EXP_MIN { EXP_MIN } else { x };
            let (r, tail, a, b) = exp_parts(x);
            (1.0 + (r + tail)) * a * b
        }

        /// ln(1 + f) + k ln 2 for √½ ≤ 1 + f ≤ √2.
        ///
        /// With s = f/(2 + f): ln(1 + f) = 2 atanh s = 2s + s R, R = s² q(s²). Since 2s = f − s f and s f =
        /// (1 − s) f²/2, ln(1 + f) = f − (f²/2 − s (f²/2 + R)), in which rounding of s touches only the small
        /// part.
        #[inline(always)]
        fn ln_parts(f: $F, k: $F) -> $F {
            let s = f / (2.0 + f);
            let z = s * s;
            let half_square = 0.5 * f * f;
            let small = s.mul_add(z.mul_add(polynomial(&LN, z), half_square), k * LN_2_LO);
            k.mul_add(consts::LN_2, f - (half_square - small))
        }

        #[inline(always)]
        pub fn ln(x: $F) -> $F {
            const SQRT_HALF: $U = consts::FRAC_1_SQRT_2.to_bits();
            const OFFSET: $U = (1.0 as $F).to_bits() - SQRT_HALF;
            /// 2^DIGITS: its low mantissa bits count in ones.
            const ONES: $F = ((1 as $U) << DIGITS) as $F;
            // Subnormals are scaled to normal numbers first.
            let subnormal = x < $F::MIN_POSITIVE;
            let scaled = x * if subnormal { 2.0 * ONES } else { 1.0 };
            let bias = ONES + BIAS as $F + if subnormal { (DIGITS + 1) as $F } else { 0.0 };
            // scaled = 2ᵏ (1 + f): the offset carries into the exponent exactly from √2 on.
            let bits = scaled.to_bits().wrapping_add(OFFSET);
            let k = $F::from_bits((bits >> DIGITS) | ONES.to_bits()) - bias;
            let f = $F::from_bits((bits & !(!0 << DIGITS)).wrapping_add(SQRT_HALF)) - 1.0;
            let finite = ln_parts(f, k);
            let at_most_zero = if x == 0.0 { $F::NEG_INFINITY } else { $F::NAN };
            let above_zero = if x < $F::INFINITY { finite } else { x };
            if x > 0.0 { above_zero } else { at_most_zero }
        }

        /// ln(1 + z) for 0 ≤ z ≤ 1.
        #[inline(always)]
        fn ln_1p(z: $F) -> $F {
            let halve = z > consts::SQRT_2 - 1.0;
            let f = if halve { 0.5 * (z - 1.0) } else { z };
            ln_parts(f, if halve { 1.0 } else { 0.0 })
        }

        /// With t = e²ˣ − 1, tanh x = t/(t + 2), t found without cancellation, so that tiny x keep every
        /// digit; from t = 2 on as 1 − 2/(t + 2), so that rounding of t + 2 does not shake the saturated end.
        #[inline(always)]
        pub fn tanh(x: $F) -> $F {
            let y = 2.0 * x.abs();
            let y = if y > TANH_ONE { TANH_ONE } else { y };
            let (r, tail, a, b) = exp_parts(y);
            let scale = a * b;
            let t = scale.mul_add(r + tail, scale - 1.0);
            let (base, numerator) = if t < 2.0 { (0.0, t) } else { (1.0, -2.0) };
            (base + numerator / (t + 2.0)).copysign(x)
        }

        #[inline(always)]
        pub fn sin_cos(x: $F) -> ($F, $F) {
            // Beyond the range 0 stands for x; 0 · ∞ and 0 · NaN are NaN.
            let x = if x.abs() <= SIN_COS_MAX { x } else { 0.0 * x };
            // x = n π/2 + r, |r| ≤ π/4, after Cody & Waite (1980); the first step is exact as in `exp_parts`.
            let shifted = x.mul_add(consts::FRAC_2_PI, ROUND);
            let minus_n = ROUND - shifted;
            let r = minus_n.mul_add(FRAC_PI_2_LO, minus_n.mul_add(consts::FRAC_PI_2, x));
            let z = r * r;
            let sin = (r * z).mul_add(polynomial(&SIN, z), r);
            let cos = z.mul_add(z.mul_add(polynomial(&COS, z), -0.5), 1.0);
            // Odd quadrants swap the two; bit 1 of n and of n + 1 are the signs.
            let n = shifted.to_bits();
            let odd = n & 1 == 1;
            let (sin, cos) = (if odd { cos } else { sin }, if odd { sin } else { cos });
            let sign = |n: $U| (n & 2) << ($U::BITS - 2);
            let flip = |v: $F, n: $U| $F::from_bits(v.to_bits() ^ sign(n));
            (flip(sin, n), flip(cos, n.wrapping_add(1)))
        }

        /// Through e^−|x|, so that neither side overflows and the left tail keeps its digits.
        #[inline(always)]
        pub fn sigmoid(x: $F) -> $F {
            let z = exp(-x.abs());
            (if x < 0.0 { z } else { 1.0 }) / (1.0 + z)
        }

        #[inline(always)]
        pub fn softplus(x: $F) -> $F {
            (if x < 0.0 { 0.0 } else { x }) + ln_1p(exp(-x.abs()))
        }
    };
}

/// f32.
pub(super) mod single {
    use std::f32::consts;

    const EXP: [f32; 5] = [0.49999994, 0.16666521, 0.04166839, 0.008368709, 0.0013814606];
    const LN: [f32; 4] = [0.6666666, 0.40000334, 0.2853731, 0.23582153];
    const SIN: [f32; 3] = [-0.16666655, 0.008332178, -0.000195173];
    const COS: [f32; 3] = [0.041666646, -0.0013887368, 2.443845e-05];
    const LN_2_LO: f32 = -1.9046542e-09;
    const FRAC_PI_2_LO: f32 = -4.371139e-08;
    const EXP_MAX: f32 = 89.0;
    const EXP_MIN: f32 = -104.0;
    /// tanh(x/2) rounds to 1 from here on.
    const TANH_ONE: f32 = 20.0;
    const SIN_COS_MAX: f32 = 1e5;

    functions!(f32, u32);
}

/// f64.
pub(super) mod double {
    use std::f64::consts;

    const EXP: [f64; 10] = [
        0.5000000000000011,
        0.16666666666666413,
        0.04166666666653028,
        0.008333333333494317,
        0.0013888888943594231,
        0.000198412695068045,
        2.4801493139932056e-05,
        2.7557586253478884e-06,
        2.76302325645083e-07,
        2.5000073699065905e-08,
    ];
    const LN: [f64; 7] = [
        0.6666666666666734,
        0.3999999999941468,
        0.2857142874238727,
        0.22222198573218857,
        0.18183564324372073,
        0.1531405059697049,
        0.14795949242949455,
    ];
    const SIN: [f64; 6] = [
        -0.16666666666666632,
        0.008333333333322424,
        -0.00019841269829816376,
        2.755731369505548e-06,
        -2.5050758629715818e-08,
        1.5896826703326978e-10,
    ];
    const COS: [f64; 6] = [
        0.0416666666666666,
        -0.0013888888888874138,
        2.480158728949171e-05,
        -2.7557314355211057e-07,
        2.087572368059195e-09,
        -1.1359669681196256e-11,
    ];
    const LN_2_LO: f64 = 2.3190468138462996e-17;
    const FRAC_PI_2_LO: f64 = 6.123233995736766e-17;
    const EXP_MAX: f64 = 710.0;
    const EXP_MIN: f64 = -746.0;
    /// tanh(x/2) rounds to 1 from here on.
    const TANH_ONE: f64 = 40.0;
    const SIN_COS_MAX: f64 = 1e9;

    functions!(f64, u64);
}

#[cfg(test)]
mod tests {
    use super::super::{Real, simd::vectorize};

    const SPECIAL: [f64; 8] = [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, f64::MAX];

    /// Every 4099th f32 of all 2³²: both signs, subnormals, NaN.
    fn singles() -> Vec<f32> {
        (0..=u32::MAX).step_by(4099).map(f32::from_bits).chain(SPECIAL.map(|v| v as f32)).collect()
    }

    /// As many f64 over the exponents of f32, with digits of their own, and a coarser sweep of all exponents.
    fn doubles() -> Vec<f64> {
        let fine = singles().into_iter().map(|v| f64::from(v) * (1.0 + 0.3 * f64::from(f32::EPSILON)));
        let coarse = (0..=u64::MAX).step_by((1 << 47) + 12_345_677).map(f64::from_bits);
        fine.chain(coarse).chain(SPECIAL).collect()
    }

    fn vectorized<F: Real>(x: &[F], f: impl Fn(F) -> F) -> Vec<F> {
        let mut y = vec![F::zero(); x.len()];
        vectorize(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x)));
        y
    }

    /// |f(x) − truth(x)| ≤ bound · max(|truth(x)|, floor) at every x, and NaN only with NaN.
    fn assert_near<F: Real>(
        name: &str,
        x: &[F],
        (bound, floor): (f64, f64),
        f: impl Fn(F) -> F,
        truth: impl Fn(f64) -> f64,
    ) {
        for (&x, y) in x.iter().zip(vectorized(x, f)) {
            let truth = truth(x.f64());
            // Equal infinities have no difference.
            let rounded = y == F::of(truth) || y.is_nan() && truth.is_nan();
            let near = (y.f64() - truth).abs() <= bound * truth.abs().max(floor);
            assert!(rounded || near, "{name}({x:?}) = {y:?}, not {truth:e}");
        }
    }

    /// Against std in f64, which is within an ulp or two itself: its error is part of the f64 bounds.
    /// Subnormal results are measured against the least normal number.
    #[test]
    fn relative_errors_keep_their_bounds() {
        let sigmoid = |x: f64| if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) };
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let (x, tiny) = (singles(), f32::MIN_POSITIVE.f64());
        assert_near("exp", &x, (1e-7, tiny), Real::fast_exp, f64::exp);
        assert_near("ln", &x, (1e-7, tiny), Real::fast_ln, f64::ln);
        assert_near("tanh", &x, (2e-7, tiny), Real::fast_tanh, f64::tanh);
        assert_near("sigmoid", &x, (2e-7, tiny), Real::fast_sigmoid, sigmoid);
        assert_near("softplus", &x, (2e-7, tiny), Real::fast_softplus, softplus);
        let (x, tiny) = (doubles(), f64::MIN_POSITIVE);
        assert_near("exp", &x, (3e-16, tiny), Real::fast_exp, f64::exp);
        assert_near("ln", &x, (3e-16, tiny), Real::fast_ln, f64::ln);
        assert_near("tanh", &x, (6e-16, tiny), Real::fast_tanh, f64::tanh);
        assert_near("sigmoid", &x, (6e-16, tiny), Real::fast_sigmoid, sigmoid);
        assert_near("softplus", &x, (6e-16, tiny), Real::fast_softplus, softplus);
    }

    #[test]
    fn ln_is_relatively_accurate_beside_one() {
        let x: Vec<f64> = (0..20_000).map(|i| 1.0 + f64::from(i - 10_000) * 1e-9).collect();
        assert_near("ln", &x, (3e-16, 0.0), Real::fast_ln, f64::ln);
        let x: Vec<f32> = (0..20_000).map(|i| f32::from_bits(1f32.to_bits() - 10_000 + i)).collect();
        assert_near("ln", &x, (1e-7, 0.0), Real::fast_ln, f64::ln);
    }

    #[test]
    fn sin_and_cos_keep_their_bounds_in_range_and_stay_bounded_beyond() {
        fn check<F: Real>(x: Vec<F>, range: f64, bound: f64) {
            let (within, beyond): (Vec<F>, Vec<F>) = x.into_iter().partition(|v| v.f64().abs() <= range);
            assert_near("sin", &within, (bound, 1.0), |v| v.fast_sin_cos().0, f64::sin);
            assert_near("cos", &within, (bound, 1.0), |v| v.fast_sin_cos().1, f64::cos);
            let sane = |x: f64| if x.is_finite() { 1.0 } else { f64::NAN };
            assert_near("sin", &beyond, (0.0, 0.0), |v| v.fast_sin_cos().0, |x| 0.0 * sane(x));
            assert_near("cos", &beyond, (0.0, 0.0), |v| v.fast_sin_cos().1, sane);
        }
        check(singles(), 1e5, 8e-8);
        check(doubles(), 1e9, 2.5e-16);
    }

    /// `mul_add` rounds once everywhere, so a scalar loop and every vector width agree.
    #[test]
    fn scalars_and_vectors_agree_to_the_bit() {
        fn check<F: Real>(x: Vec<F>) {
            let functions: [fn(F) -> F; 7] = [
                |v| v.fast_exp(),
                |v| v.fast_ln(),
                |v| v.fast_tanh(),
                |v| v.fast_sigmoid(),
                |v| v.fast_softplus(),
                |v| v.fast_sin_cos().0,
                |v| v.fast_sin_cos().1,
            ];
            let vectors: [Vec<F>; 7] = [
                vectorized(&x, |v| v.fast_exp()),
                vectorized(&x, |v| v.fast_ln()),
                vectorized(&x, |v| v.fast_tanh()),
                vectorized(&x, |v| v.fast_sigmoid()),
                vectorized(&x, |v| v.fast_softplus()),
                vectorized(&x, |v| v.fast_sin_cos().0),
                vectorized(&x, |v| v.fast_sin_cos().1),
            ];
            for (f, y) in functions.iter().zip(vectors) {
                for (&x, y) in x.iter().zip(y) {
                    let scalar = f(x);
                    assert!(
                        scalar.integer_decode() == y.integer_decode() || scalar.is_nan() && y.is_nan(),
                        "at {x:?}: {scalar:?} alone, {y:?} in a vector"
                    );
                }
            }
        }
        check(singles().into_iter().step_by(37).collect());
        check(doubles().into_iter().step_by(37).collect());
    }

    #[test]
    fn exact_where_the_value_is_exact() {
        fn check<F: Real>() {
            let (zero, one, infinity) = (F::zero(), F::one(), F::infinity());
            assert_eq!((zero.fast_exp(), infinity.fast_exp(), (-infinity).fast_exp()), (one, infinity, zero));
            assert_eq!((one.fast_ln(), zero.fast_ln(), infinity.fast_ln()), (zero, -infinity, infinity));
            assert!((-one).fast_ln().is_nan() && (-infinity).fast_ln().is_nan());
            assert_eq!((infinity.fast_tanh(), (-infinity).fast_tanh()), (one, -one));
            assert!((-zero).fast_tanh().is_sign_negative() && zero.fast_tanh().is_sign_positive());
            let tiny = F::min_positive_value() / F::of(8.0);
            assert_eq!(tiny.fast_tanh(), tiny);
            assert_eq!((infinity.fast_sigmoid(), (-infinity).fast_sigmoid()), (one, zero));
            assert_eq!((infinity.fast_softplus(), (-infinity).fast_softplus()), (infinity, zero));
            assert_eq!(zero.fast_sin_cos(), (zero, one));
            let nan = F::nan();
            assert!([nan.fast_exp(), nan.fast_ln(), nan.fast_tanh()].iter().all(|v| v.is_nan()));
            assert!(nan.fast_sigmoid().is_nan() && nan.fast_softplus().is_nan());
            assert!([nan, infinity, -infinity].iter().all(|v| v.fast_sin_cos().0.is_nan()));
            assert!([nan, infinity, -infinity].iter().all(|v| v.fast_sin_cos().1.is_nan()));
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn saturation_is_monotone_and_odd() {
        fn check<F: Real>(one_from: f64) {
            let x: Vec<F> = (0..=1600).map(|i| F::of(f64::from(i) / 64.0)).collect();
            let tanh = vectorized(&x, |v| v.fast_tanh());
            assert!(tanh.windows(2).all(|w| w[0] <= w[1]));
            assert!(x.iter().zip(&tanh).all(|(x, &y)| (-*x).fast_tanh() == -y && y <= F::one()));
            assert!(x.iter().zip(&tanh).all(|(x, &y)| x.f64() < one_from || y == F::one()));
            let sigmoid = vectorized(&x, |v| v.fast_sigmoid());
            assert!(sigmoid.windows(2).all(|w| w[0] <= w[1]) && sigmoid.iter().all(|&y| y <= F::one()));
        }
        check::<f32>(9.02);
        check::<f64>(19.1);
    }
}
