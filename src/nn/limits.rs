//! How large a network may be: what a config asks for is known, and refused, before anything is allocated.

use std::fmt::Debug;

use crate::error::{Result, check};

/// The most columns of a row or of a latent variable, and the most units of a layer.
const WIDEST: usize = 65_536;

/// The most parameters of a network: 1 GiB in f32, of which a training keeps a few copies.
const MOST_PARAMS: usize = 1 << 28;

/// Refuses columns beyond 1 to 65,536.
pub(crate) fn check_width(field: &'static str, width: usize) -> Result<()> {
    check((1..=WIDEST).contains(&width), field, width, "1 to 65,536")
}

/// Refuses hidden layers beyond 1 to 65,536 units each.
pub(crate) fn check_hidden(field: &'static str, hidden: &[usize]) -> Result<()> {
    let units = hidden.iter().all(|units| (1..=WIDEST).contains(units));
    check(units, field, hidden, "layers of 1 to 65,536 units")
}

/// The same where there must be a layer.
pub(crate) fn check_some_hidden(field: &'static str, hidden: &[usize]) -> Result<()> {
    check(!hidden.is_empty(), field, hidden, "at least one layer")?;
    check_hidden(field, hidden)
}

/// Refuses time features that are odd, or beyond 2 to 65,536.
pub(crate) fn check_time_features(field: &'static str, width: usize) -> Result<()> {
    let even = (2..=WIDEST).contains(&width) && width.is_multiple_of(2);
    check(even, field, width, "even, 2 to 65,536")
}

/// The parameters of layers from `inputs` through `hidden` to `outputs`, each with its biases; a count beyond
/// usize is the largest.
pub(crate) fn count_params(inputs: usize, hidden: &[usize], outputs: usize) -> usize {
    let ends = hidden.iter().copied().chain([outputs]);
    let layers = [inputs].into_iter().chain(hidden.iter().copied()).zip(ends);
    layers.fold(0, |sum, (from, to)| sum.saturating_add(from.saturating_add(1).saturating_mul(to)))
}

/// Refuses a network of more than 2²⁸ parameters; masked weights count.
pub(crate) fn check_params(field: &'static str, network: impl Debug, params: usize) -> Result<()> {
    check(params <= MOST_PARAMS, field, network, "a network of at most 268,435,456 parameters")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Activation, Network, mlp};

    #[test]
    fn the_count_is_that_of_the_network() {
        for hidden in [vec![], vec![5], vec![5, 7, 2]] {
            let net = mlp(&[&[3], &hidden[..], &[4]].concat(), Activation::Silu);
            assert_eq!(count_params(3, &hidden, 4), net.num_params());
        }
        assert_eq!(count_params(usize::MAX, &[usize::MAX], 2), usize::MAX);
    }

    #[test]
    fn the_bounds_are_where_the_messages_say() {
        assert!(check_width("", 65_536).is_ok() && check_width("", 65_537).is_err());
        assert!(check_width("", 0).is_err());
        assert!(check_hidden("", &[1, 65_536]).is_ok() && check_hidden("", &[1, 65_537]).is_err());
        assert!(check_hidden("", &[]).is_ok() && check_some_hidden("", &[]).is_err());
        assert!(check_time_features("", 65_536).is_ok() && check_time_features("", 65_538).is_err());
        assert!(check_time_features("", 3).is_err());
        assert!(check_params("", "", 268_435_456).is_ok() && check_params("", "", 268_435_457).is_err());
    }
}
