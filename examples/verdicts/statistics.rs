//! Intervals and trends of a few figures.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use crate::claim::Estimate;

/// The mean of independent figures with Student's 95 % interval; of one figure the figure.
pub fn mean(figures: &[f64]) -> Estimate {
    let n = figures.len() as f64;
    let mean = figures.iter().sum::<f64>() / n;
    if figures.len() < 2 {
        return Estimate::exact(mean);
    }
    let variance = figures.iter().map(|figure| (figure - mean).powi(2)).sum::<f64>() / (n - 1.0);
    let student = StudentsT::new(0.0, 1.0, n - 1.0).expect("more than one figure");
    Estimate { mean, half_width: student.inverse_cdf(0.975) * (variance / n).sqrt() }
}

/// The slope of the least-squares line of `y` on `x`, with its 95 % interval.
pub fn slope(x: &[f64], y: &[f64]) -> Estimate {
    let n = x.len() as f64;
    let (mx, my) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let xx: f64 = x.iter().map(|x| (x - mx).powi(2)).sum();
    let slope = x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum::<f64>() / xx;
    let left: f64 = x.iter().zip(y).map(|(x, y)| (y - my - slope * (x - mx)).powi(2)).sum();
    if x.len() < 3 {
        return Estimate::exact(slope);
    }
    let student = StudentsT::new(0.0, 1.0, n - 2.0).expect("more than two points");
    Estimate { mean: slope, half_width: student.inverse_cdf(0.975) * (left / (n - 2.0) / xx).sqrt() }
}

/// The exponent of a power law: the [`slope`] of the logarithms.
pub fn exponent(x: &[f64], y: &[f64]) -> Estimate {
    let logs = |values: &[f64]| values.iter().map(|value| value.ln()).collect::<Vec<_>>();
    slope(&logs(x), &logs(y))
}

/// The one-sided probability of Jonckheere and Terpstra's statistic, or a greater one, if the groups do not differ: small
/// where figures grow from group to group. By its normal limit without ties.
pub fn rising(groups: &[Vec<f64>]) -> f64 {
    let mut statistic = 0.0;
    for (k, group) in groups.iter().enumerate() {
        for later in &groups[k + 1..] {
            for a in group {
                statistic += later
                    .iter()
                    .map(|b| if b > a { 1.0 } else { 0.5 * f64::from(u8::from(b == a)) })
                    .sum::<f64>();
            }
        }
    }
    let sizes = || groups.iter().map(|group| group.len() as f64);
    let n: f64 = sizes().sum();
    let mean = (n * n - sizes().map(|size| size * size).sum::<f64>()) / 4.0;
    let part = |size: f64| size * size * (2.0 * size + 3.0);
    let variance = (part(n) - sizes().map(part).sum::<f64>()) / 72.0;
    Normal::standard().sf((statistic - mean) / variance.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_has_the_interval_of_student() {
        // t(4, 0.975) = 2.776445; the standard deviation of 1 to 5 is √2.5.
        let Estimate { mean, half_width } = mean(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        assert_eq!(mean, 3.0);
        assert!((half_width - 2.776_445 * 0.5f64.sqrt()).abs() < 1e-5, "{half_width}");
    }

    #[test]
    fn exponent_is_that_of_a_power_law() {
        let x = [1.0, 2.0, 5.0, 7.0];
        let found = exponent(&x, &x.map(|x| 3.0 * f64::powf(x, 1.5)));
        assert!((found.mean - 1.5).abs() < 1e-12 && found.half_width < 1e-9, "{found:?}");
    }

    #[test]
    fn rising_groups_are_improbable() {
        // By hand: three groups of two in full order give 12 of 12 pairs; the mean is 6, the variance 19/3.
        let p = rising(&[vec![1.0, 2.0], vec![3.0, 4.0], vec![5.0, 6.0]]);
        assert!((p - Normal::standard().sf(6.0 / (19.0f64 / 3.0).sqrt())).abs() < 1e-12, "{p}");
        assert!(rising(&[vec![5.0, 6.0], vec![1.0, 2.0]]) > 0.9);
    }
}
