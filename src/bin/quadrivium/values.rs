//! Values on the command line that have a range.

fn number<T: std::str::FromStr>(
    text: &str,
    within: impl Fn(&T) -> bool,
    expected: &str,
) -> Result<T, String> {
    text.parse().ok().filter(within).ok_or_else(|| format!("expected {expected}"))
}

/// A count.
pub fn positive(text: &str) -> Result<usize, String> {
    number(text, |&n| n >= 1, "a whole number, 1 or more")
}

/// A part of the whole.
pub fn share(text: &str) -> Result<f64, String> {
    number(text, |&share| share > 0.0 && share < 1.0, "a number above 0 and below 1")
}

/// A part of the whole, or nothing of it.
pub fn share_or_none(text: &str) -> Result<f64, String> {
    number(text, |&share| (0.0..1.0).contains(&share), "a number from 0 to below 1")
}

/// A scale of randomness.
pub fn temperature(text: &str) -> Result<f64, String> {
    number(text, |&t| t > 0.0 && t <= 1e6, "a number above 0, at most 1e6")
}
