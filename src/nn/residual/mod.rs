//! Residual networks whose blocks a time and a condition modulate.

mod blocks;
mod field;
mod modulation;
mod rows;

pub(crate) use field::ResidualField;
pub use rows::Residual;

use self::blocks::Blocks;
use super::{Activation, Fused, Layer, Linear, Sequential};

/// The network that makes the modulation of `blocks` from e: one hidden layer, and a last product that starts at
/// zero, so that every block starts as the identity.
fn modulator(inputs: usize, width: usize, activation: Activation, blocks: &Blocks) -> Fused {
    Sequential::new(vec![
        Layer::Linear(Linear::new(inputs, width, 1.0)),
        activation.layer(width),
        Layer::Linear(Linear::new(width, blocks.modulation(), 0.0)),
    ])
    .fused()
}

/// Parameters of a residual network of `inputs` columns, modulated by `embedded` columns or, if there are none, by
/// constants; a count beyond usize is the largest.
pub(super) fn count_params(
    inputs: usize,
    embedded: usize,
    (width, count): (usize, usize),
    outputs: usize,
) -> usize {
    use super::limits::count_params as layers;
    let modulation = count.saturating_mul(3).saturating_add(2).saturating_mul(width);
    let modulator = if embedded == 0 { modulation } else { layers(embedded, &[width], modulation) };
    let body = layers(width, &[width.saturating_mul(blocks::EXPANSION)], width).saturating_mul(count);
    [layers(inputs, &[], width), modulator, body, layers(width, &[], outputs)]
        .into_iter()
        .fold(0, usize::saturating_add)
}
