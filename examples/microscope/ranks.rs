//! Correlation of ranks.

/// Spearman's rank correlation; ties share their mean rank.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    let ranks = |values: &[f64]| -> Vec<f64> {
        let below = |a: f64| values.iter().filter(|&&b| b < a).count() as f64;
        let ties = |a: f64| values.iter().filter(|&&b| b == a).count() as f64;
        values.iter().map(|&a| below(a) + 0.5 * (ties(a) + 1.0)).collect()
    };
    let (x, y) = (ranks(x), ranks(y));
    let mean = 0.5 * (x.len() as f64 + 1.0);
    let covariance =
        |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum() };
    covariance(&x, &y) / (covariance(&x, &x) * covariance(&y, &y)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spearman_sees_order_alone() {
        assert!((spearman(&[1.0, 2.0, 3.0], &[1.0, 10.0, 11.0]) - 1.0).abs() < 1e-12);
        assert!((spearman(&[1.0, 2.0, 3.0, 4.0], &[2.0, 1.0, 4.0, 3.0]) - 0.6).abs() < 1e-12);
    }
}
