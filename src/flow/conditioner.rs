use std::ops::Range;

use super::{Architecture, FlowConfig};
use crate::nn::{Fourier, Fused, Layer, Masked, Perceptron, Sequential};

/// Radians per standard deviation of the lowest Fourier feature.
const BASE_FREQUENCY: f64 = 1.0;

/// Which coordinates of a layer move, and the network that says how: θ of each that moves, a function of
/// those that it may depend on and of the condition.
#[derive(Debug, Clone)]
pub(super) struct Conditioner {
    /// x_1 … x_sees, c → θ of the coordinates that move, one block each. Its last layer starts at zero.
    pub net: Fused,
    /// How many coordinates, the first, the network looks at.
    pub sees: usize,
    /// Columns of the condition, which it sees behind them.
    pub given: usize,
    /// The coordinates that move.
    pub moves: Range<usize>,
    /// Evaluations of the network that the inverse takes: the coordinates seen pass unchanged, or they appear
    /// one by one.
    pub inverse_passes: usize,
}

impl Conditioner {
    pub fn new(config: &FlowConfig) -> Self {
        match config.architecture {
            Architecture::Coupling => coupling(config),
            Architecture::MaskedAutoregressive => masked(config),
        }
    }
}

/// The first half passes, the rest moves. Of one column nothing passes: it moves as the condition says.
fn coupling(config: &FlowConfig) -> Conditioner {
    let (sees, moves) = (config.dim / 2, config.dim / 2..config.dim);
    let given = config.condition.width();
    let outputs = moves.len() * config.transform.params();
    let net = config.network.build(sees, given, outputs, 0.0);
    // Without octaves the features are the coordinates themselves.
    let first = usize::from(config.network.octaves() == 0);
    let net = Sequential::new(net.layers()[first..].to_vec()).fused();
    Conditioner { net, sees, given, moves, inverse_passes: 1 }
}

/// All move; block i of θ is a function of x_<i (MADE, Germain et al. 2015).
///
/// A feature of x_j has degree j + 1, a hidden unit of degree m sees what has degree ≤ m of the layer below,
/// and block i, from 0, sees degrees ≤ i. A condition has degree 0, as some hidden units then have; without one
/// block 0 is a bias. The last coordinate is never seen; a single one is shown to the network, and no output is
/// connected to it.
fn masked(config: &FlowConfig) -> Conditioner {
    let (dim, params) = (config.dim, config.transform.params());
    let (sees, given) = ((dim - 1).max(1), config.condition.width());
    let Perceptron { hidden, activation, octaves } =
        config.network.perceptron().expect("validate refuses other networks that are masked");
    let (mut layers, width) = features(sees, given, octaves);
    // Features stand in blocks of `sees`, and the condition behind them: see [`Fourier`].
    let of_features = (0..width - given).map(|feature| 1 + feature % sees);
    let mut degrees: Vec<usize> = of_features.chain(std::iter::repeat_n(0, given)).collect();
    let least = usize::from(given == 0);
    for &units in hidden {
        let next: Vec<usize> = (0..units).map(|unit| least + unit * (dim - least) / units).collect();
        let connects = |from: usize, to: usize| degrees[from] <= next[to];
        layers.push(Layer::Masked(Masked::new(degrees.len(), units, activation.gain(), connects)));
        layers.push(activation.layer(units));
        degrees = next;
    }
    let connects = |from: usize, to: usize| degrees[from] <= to / params;
    layers.push(Layer::Masked(Masked::new(degrees.len(), dim * params, 0.0, connects)));
    Conditioner { net: Sequential::new(layers).fused(), sees, given, moves: 0..dim, inverse_passes: dim }
}

/// The layer of Fourier features, if there is one, and the width behind it, the condition's columns with it.
fn features(sees: usize, given: usize, octaves: usize) -> (Vec<Layer>, usize) {
    match octaves {
        0 => (Vec::new(), sees + given),
        octaves => {
            let fourier = Fourier::octaves(sees, BASE_FREQUENCY, octaves).passing(given);
            (vec![Layer::Fourier(fourier)], sees * (1 + 2 * octaves) + given)
        }
    }
}
