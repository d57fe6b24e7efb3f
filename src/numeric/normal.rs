//! The normal distribution's tails and their inverse, with all digits however far out.

use std::f64::consts::{LN_2, SQRT_2, TAU};

/// From here on the upper tail is summed by its asymptotic series, whose next term is below 1e-16.
const FAR: f64 = 30.0;

/// ln P(Z > z) of a standard normal Z.
pub(crate) fn ln_upper(z: f64) -> f64 {
    if z < 0.0 {
        return (-0.5 * libm::erfc(-z / SQRT_2)).ln_1p();
    }
    if z < FAR {
        return (0.5 * libm::erfc(z / SQRT_2)).ln();
    }
    // Q(z) = φ(z)/z · (1 − 1/z² + 3/z⁴ − 15/z⁶ + 105/z⁸ − …)
    let r = 1.0 / (z * z);
    let series = 1.0 - r * (1.0 - r * (3.0 - r * (15.0 - r * (105.0 - 945.0 * r))));
    ln_density(z) - z.ln() + series.ln()
}

/// ln φ(z).
pub(crate) fn ln_density(z: f64) -> f64 {
    -0.5 * (z * z + TAU.ln())
}

/// The z with ln P(Z > z) = `l`, for l ≤ 0: [`ln_upper`]'s inverse.
///
/// ln P(Z > z) is concave and falls with the slope −φ(z)/P(Z > z), so that Newton's steps from a z that is too large come
/// down to the solution without leaping over it; P(Z > z) ≤ ½ e^(−z²/2) gives that z.
pub(crate) fn upper_quantile(l: f64) -> f64 {
    if l > -LN_2 {
        // ln(1 − eˡ), the other tail.
        return -upper_quantile((-l.exp_m1()).ln().min(-LN_2));
    }
    if l == f64::NEG_INFINITY {
        return f64::INFINITY;
    }
    let mut z = (-2.0 * l).sqrt();
    for _ in 0..60 {
        let tail = ln_upper(z);
        let step = (tail - l) * (tail - ln_density(z)).exp();
        z += step;
        if step.abs() <= 1e-15 * (1.0 + z) {
            break;
        }
    }
    z
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_have_all_their_digits() {
        // By mpmath with 40 digits.
        for (z, expected) in [
            (0.0, -LN_2),
            (1.0, -1.841_021_645_009_263_5),
            (-1.0, -0.172_753_779_023_449_84),
            (8.0, -35.013_437_159_914_55),
            (-8.0, -6.220_960_574_271_786e-16),
            (29.9, -451.322_912_458_528_7),
            (30.1, -457.329_564_416_382_2),
            (100.0, -5_005.524_208_694_205),
        ] {
            let found = ln_upper(z);
            assert!((found / expected - 1.0).abs() < 1e-13, "{found} at {z}, expected {expected}");
        }
    }

    #[test]
    fn the_quantile_is_the_inverse() {
        for z in [-37.0, -8.0, -3.0, -1.0, -0.1, -1e-9, 0.0, 1e-9, 0.1, 1.0, 3.0, 8.0, 29.9, 30.1, 100.0, 1e6]
        {
            // On the left of −8 the upper tail is 1 in f64, and the lower one is asked for.
            let back = if z < -8.0 { -upper_quantile(ln_upper(-z)) } else { upper_quantile(ln_upper(z)) };
            // Near 1 the tail itself has lost the digits.
            let lost = if z < 0.0 { 1e-16 / ln_density(z).exp() } else { 0.0 };
            assert!((back - z).abs() <= 2e-14 * (1.0 + z.abs()) + lost.min(0.2), "{back} for {z}");
        }
        assert_eq!(upper_quantile(f64::NEG_INFINITY), f64::INFINITY);
        assert_eq!(upper_quantile(0.0), f64::NEG_INFINITY);
    }
}
