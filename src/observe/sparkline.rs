const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A curve with one character per value, from ▁ for the smallest to █ for the largest. A value that is not finite is
/// shown as a space.
///
/// ```
/// assert_eq!(quadrivium::observe::sparkline(&[8.0, 4.0, 2.0, f64::NAN, 1.0]), "█▄▂ ▁");
/// ```
pub fn sparkline(values: &[f64]) -> String {
    let finite = || values.iter().copied().filter(|v| v.is_finite());
    let (least, greatest) =
        (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    // Computed from halves, because the difference of the largest numbers would overflow.
    let span = greatest / 2.0 - least / 2.0;
    let level = |v: f64| if span > 0.0 { ((v / 2.0 - least / 2.0) / span * 7.0).round() as usize } else { 0 };
    values.iter().map(|&v| if v.is_finite() { LEVELS[level(v)] } else { ' ' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_values_have_a_curve() {
        assert_eq!(sparkline(&[]), "");
        assert_eq!(sparkline(&[3.0; 3]), "▁▁▁");
        assert_eq!(sparkline(&[f64::INFINITY]), " ");
        assert_eq!(sparkline(&[-f64::MAX, 0.0, f64::MAX]), "▁▅█");
        assert_eq!(sparkline(&(0..8).map(f64::from).collect::<Vec<_>>()), "▁▂▃▄▅▆▇█");
    }
}
