use std::sync::Arc;

use super::limits::{self, check_hidden, check_params, check_some_hidden, check_time_features, check_width};
use super::residual::{self, ResidualField};
use super::timed::{OCTAVES, Timed};
use super::{Activation, Fourier, Layer, Linear, Residual, Sequential, VectorField};
use crate::error::{Result, check};
use crate::numeric::Real;

/// The most blocks of a residual network.
const BLOCKS: usize = 1024;

/// What a network is made of, apart from the columns that go in and come out: the part of a config that says how
/// large and of which kind it is.
///
/// A specification builds two kinds of networks: [`vector_field`](NetworkSpec::vector_field) one of rows, time and
/// condition, for diffusion, flow matching and score models, and [`network`](NetworkSpec::network) one of plain rows,
/// for encoders, decoders, critics and generators. Nothing is allocated for parameters until the caller does so.
///
/// ```
/// use quadrivium::nn::{Activation, Network, NetworkSpec};
///
/// let spec = NetworkSpec::Residual { width: 64, blocks: 3, activation: Activation::Silu, octaves: 4 };
/// let field = spec.vector_field::<f32>(2, 10, 32)?;
/// assert_eq!(field.num_params(), spec.vector_field_params(2, 10, 32));
/// let critic = spec.network(2, 10, 1, 1.0)?;
/// assert_eq!((critic.in_dim(), critic.out_dim()), (12, 1));
/// # Ok::<(), quadrivium::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "safetensors", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub enum NetworkSpec {
    /// A multilayer perceptron. Time and condition enter its first layer.
    Mlp {
        /// Units of each hidden layer, each 1 to 65,536. A vector field has at least one layer.
        hidden: Vec<usize>,
        /// Between the layers.
        activation: Activation,
        /// Fourier features of each coordinate: sine and cosine of 2ᵏ rad, k = 0 … octaves − 1, beside the coordinate
        /// itself. 0 (raw coordinates) to 13.
        octaves: usize,
    },
    /// Residual blocks with layer normalization, modulated by time and condition (adaLN-zero, Peebles & Xie 2023): see
    /// [`Residual`]. Deep networks of this kind train where deep perceptrons do not.
    Residual {
        /// Columns that pass from block to block, 1 to 65,536. The hidden layer of a block is twice as wide.
        width: usize,
        /// How many blocks, 1 to 1024, each with two products.
        blocks: usize,
        /// Inside the blocks and in the network that modulates them.
        activation: Activation,
        /// Fourier features of each coordinate, as of [`Mlp`](NetworkSpec::Mlp).
        octaves: usize,
    },
}

impl NetworkSpec {
    /// Refuses what no network can be made of, whatever its columns.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the first field out of range.
    pub fn validate(&self) -> Result<()> {
        let (activation, octaves) = match self {
            NetworkSpec::Mlp { hidden, activation, octaves } => {
                check_hidden("NetworkSpec::Mlp::hidden", hidden)?;
                (activation, octaves)
            }
            NetworkSpec::Residual { width, blocks, activation, octaves } => {
                check_width("NetworkSpec::Residual::width", *width)?;
                check((1..=BLOCKS).contains(blocks), "NetworkSpec::Residual::blocks", blocks, "1 to 1024")?;
                (activation, octaves)
            }
        };
        check(*octaves <= OCTAVES, "NetworkSpec::octaves", octaves, "0 to 13")?;
        activation.validate()
    }

    /// The network of rows of `dim` columns, their moments, embedded in `time_features` columns, and a condition of
    /// `condition` columns, 0 for none. Its values start at 0.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) as [`validate`](NetworkSpec::validate), for a perceptron without a hidden
    /// layer, for columns beyond 1 to 65,536 (for the condition 0 to 65,536), for an odd number of time features, and
    /// for more than 2²⁸ parameters.
    pub fn vector_field<F: Real>(
        &self,
        dim: usize,
        condition: usize,
        time_features: usize,
    ) -> Result<Arc<dyn VectorField<F>>> {
        self.field(dim, condition, 1, time_features)
    }

    /// The network of rows and two moments each, from which and to which a flow map goes: otherwise as
    /// [`vector_field`](NetworkSpec::vector_field). Each moment is embedded in `time_features` columns.
    ///
    /// # Errors
    /// As [`vector_field`](NetworkSpec::vector_field).
    ///
    /// ```
    /// use quadrivium::nn::{Activation, NetworkSpec};
    /// let spec = NetworkSpec::Mlp { hidden: vec![64; 2], activation: Activation::Silu, octaves: 3 };
    /// let field = spec.two_time_field::<f32>(2, 0, 16)?;
    /// assert_eq!((field.times(), field.num_params()), (2, spec.two_time_field_params(2, 0, 16)));
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn two_time_field<F: Real>(
        &self,
        dim: usize,
        condition: usize,
        time_features: usize,
    ) -> Result<Arc<dyn VectorField<F>>> {
        self.field(dim, condition, 2, time_features)
    }

    fn field<F: Real>(
        &self,
        dim: usize,
        condition: usize,
        times: usize,
        time_features: usize,
    ) -> Result<Arc<dyn VectorField<F>>> {
        self.validate()?;
        check_width("dim", dim)?;
        check_condition(condition)?;
        check_time_features("time_features", time_features)?;
        let params = self.vector_field_params(dim, condition, times * time_features);
        Ok(match self {
            NetworkSpec::Mlp { hidden, activation, octaves } => {
                check_some_hidden("NetworkSpec::Mlp::hidden", hidden)?;
                check_params("NetworkSpec::Mlp::hidden", hidden, params)?;
                let field = Timed::new(dim, hidden, *activation, *octaves, time_features)?;
                let field = if times == 2 { field.of_two_times() } else { field };
                Arc::new(field.conditional(condition))
            }
            &NetworkSpec::Residual { width, blocks, activation, octaves } => {
                check_params("NetworkSpec::Residual::width", &[width], params)?;
                let shape = (width, blocks);
                Arc::new(ResidualField::new(dim, condition, shape, activation, octaves, (times, time_features))?)
            }
        })
    }

    /// How many parameters the network of [`vector_field`](NetworkSpec::vector_field) has; a count beyond usize is the
    /// largest.
    pub fn vector_field_params(&self, dim: usize, condition: usize, time_features: usize) -> usize {
        let embedded = time_features.saturating_add(condition);
        match self {
            NetworkSpec::Mlp { hidden, octaves, .. } => {
                // Features, time and condition go into the first layer.
                limits::count_params(features(dim, *octaves).saturating_add(embedded), hidden, dim)
            }
            &NetworkSpec::Residual { width, blocks, octaves, .. } => {
                residual::count_params(features(dim, octaves), embedded, (width, blocks), dim)
            }
        }
    }

    /// How many parameters the network of [`two_time_field`](NetworkSpec::two_time_field) has; a count beyond usize is the
    /// largest.
    pub fn two_time_field_params(&self, dim: usize, condition: usize, time_features: usize) -> usize {
        self.vector_field_params(dim, condition, time_features.saturating_mul(2))
    }

    /// The network of rows (x, c), `inputs` columns and behind them `condition`, 0 for none, with `outputs` columns
    /// of values. The weights of its last product start as N(0, gain²/in): a gain of 0 makes the values start at 0.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) as [`validate`](NetworkSpec::validate), for columns beyond 1 to 65,536
    /// (for the condition 0 to 65,536), and for more than 2²⁸ parameters.
    pub fn network(&self, inputs: usize, condition: usize, outputs: usize, gain: f64) -> Result<Sequential> {
        self.validate()?;
        check_width("inputs", inputs)?;
        check_condition(condition)?;
        check_width("outputs", outputs)?;
        let params = self.network_params(inputs, condition, outputs);
        let mut layers = Vec::new();
        let mut with_features = |octaves: usize| {
            if octaves > 0 {
                layers.push(Layer::Fourier(Fourier::octaves(inputs, 1.0, octaves).passing(condition)));
            }
            features(inputs, octaves)
        };
        match self {
            NetworkSpec::Mlp { hidden, activation, octaves } => {
                check_params("NetworkSpec::Mlp::hidden", hidden, params)?;
                let mut width = with_features(*octaves) + condition;
                for &units in hidden {
                    layers.push(Layer::Linear(Linear::new(width, units, activation.gain())));
                    layers.push(activation.layer(units));
                    width = units;
                }
                layers.push(Layer::Linear(Linear::new(width, outputs, gain)));
            }
            &NetworkSpec::Residual { width, blocks, activation, octaves } => {
                check_params("NetworkSpec::Residual::width", &[width], params)?;
                let inputs = with_features(octaves);
                let net = Residual::new(inputs, condition, width, blocks, activation, outputs, gain);
                layers.push(Layer::Modulated(Box::new(net)));
            }
        }
        Ok(Sequential::new(layers))
    }

    /// How many parameters the network of [`network`](NetworkSpec::network) has; a count beyond usize is the largest.
    pub fn network_params(&self, inputs: usize, condition: usize, outputs: usize) -> usize {
        match self {
            NetworkSpec::Mlp { hidden, octaves, .. } => {
                limits::count_params(features(inputs, *octaves).saturating_add(condition), hidden, outputs)
            }
            &NetworkSpec::Residual { width, blocks, octaves, .. } => {
                residual::count_params(features(inputs, octaves), condition, (width, blocks), outputs)
            }
        }
    }
}

/// Columns of the Fourier features of `dim` coordinates.
fn features(dim: usize, octaves: usize) -> usize {
    octaves.saturating_mul(2).saturating_add(1).saturating_mul(dim)
}

/// Refuses a condition of more columns than a row may have.
fn check_condition(columns: usize) -> Result<()> {
    if columns == 0 { Ok(()) } else { check_width("condition", columns) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::nn::{Network, mlp};

    fn specs() -> Vec<NetworkSpec> {
        let activation = Activation::Silu;
        let mut specs = Vec::new();
        for octaves in [0, 3] {
            specs.push(NetworkSpec::Mlp { hidden: vec![7], activation, octaves });
            specs.push(NetworkSpec::Mlp { hidden: vec![7, 5, 6], activation, octaves });
            specs.push(NetworkSpec::Residual { width: 6, blocks: 1, activation, octaves });
            specs.push(NetworkSpec::Residual { width: 5, blocks: 3, activation, octaves });
        }
        specs
    }

    #[test]
    fn spec_counts_are_those_of_the_networks() {
        for spec in specs() {
            for condition in [0, 1, 4] {
                let net = spec.network(3, condition, 2, 1.0).unwrap();
                let count = spec.network_params(3, condition, 2);
                assert_eq!(
                    (net.num_params(), net.layout().num_params()),
                    (count, count),
                    "{spec:?}, {condition}"
                );
                assert_eq!((net.in_dim(), net.out_dim()), (3 + condition, 2));
                let field = spec.vector_field::<f64>(3, condition, 4).unwrap();
                let count = spec.vector_field_params(3, condition, 4);
                assert_eq!((field.num_params(), field.layout().num_params()), (count, count), "{spec:?}");
                assert_eq!((field.dim(), field.condition(), field.times()), (3, condition, 1));
                let field = spec.two_time_field::<f64>(3, condition, 4).unwrap();
                let count = spec.two_time_field_params(3, condition, 4);
                assert_eq!((field.num_params(), field.layout().num_params()), (count, count), "{spec:?}");
                assert_eq!(field.times(), 2);
            }
        }
        let endless = NetworkSpec::Residual {
            width: usize::MAX,
            blocks: 2,
            activation: Activation::Silu,
            octaves: usize::MAX,
        };
        assert_eq!(endless.network_params(usize::MAX, 1, 2), usize::MAX);
        assert_eq!(endless.vector_field_params(usize::MAX, 1, 2), usize::MAX);
    }

    #[test]
    fn spec_without_features_and_condition_is_the_plain_perceptron() {
        let spec = NetworkSpec::Mlp { hidden: vec![8, 9], activation: Activation::Tanh, octaves: 0 };
        assert_eq!(spec.network(3, 0, 2, 1.0).unwrap(), mlp(&[3, 8, 9, 2], Activation::Tanh));
    }

    #[test]
    fn spec_out_of_range_is_refused_before_anything_is_allocated() {
        let field = |error: Error| match error {
            Error::Config { field, .. } => field,
            error => panic!("{error}"),
        };
        let activation = Activation::Silu;
        let mlp = |hidden: &[usize]| NetworkSpec::Mlp { hidden: hidden.to_vec(), activation, octaves: 0 };
        let residual = |width, blocks| NetworkSpec::Residual { width, blocks, activation, octaves: 0 };
        for (spec, want) in [
            (mlp(&[8, 0]), "NetworkSpec::Mlp::hidden"),
            (mlp(&[65_536; 3]), "NetworkSpec::Mlp::hidden"),
            (residual(0, 1), "NetworkSpec::Residual::width"),
            (residual(8, 0), "NetworkSpec::Residual::blocks"),
            (residual(8, 1025), "NetworkSpec::Residual::blocks"),
            (residual(65_536, 1), "NetworkSpec::Residual::width"),
            (NetworkSpec::Residual { width: 8, blocks: 1, activation, octaves: 14 }, "NetworkSpec::octaves"),
            (
                NetworkSpec::Mlp {
                    hidden: vec![8],
                    activation: Activation::LeakyRelu { slope: 2.0 },
                    octaves: 0,
                },
                "Activation::LeakyRelu::slope",
            ),
        ] {
            assert_eq!(field(spec.network(2, 0, 1, 1.0).unwrap_err()), want, "{spec:?}");
            assert_eq!(field(spec.vector_field::<f32>(2, 0, 4).unwrap_err()), want, "{spec:?}");
        }
        // A plain network may be one product, a vector field may not.
        assert!(mlp(&[]).network(2, 0, 1, 1.0).is_ok());
        assert_eq!(field(mlp(&[]).vector_field::<f32>(2, 0, 4).unwrap_err()), "NetworkSpec::Mlp::hidden");
        assert_eq!(field(mlp(&[8]).vector_field::<f32>(2, 0, 5).unwrap_err()), "time_features");
        assert_eq!(field(mlp(&[8]).vector_field::<f32>(0, 0, 4).unwrap_err()), "dim");
        assert_eq!(field(mlp(&[8]).network(2, 65_537, 1, 1.0).unwrap_err()), "condition");
    }

    #[cfg(feature = "safetensors")]
    #[test]
    fn spec_comes_back_from_its_json() {
        for spec in specs() {
            let json = serde_json::to_string(&spec).unwrap();
            assert_eq!(serde_json::from_str::<NetworkSpec>(&json).unwrap(), spec);
        }
        assert!(
            serde_json::from_str::<NetworkSpec>(
                r#"{"Mlp":{"hidden":[2],"activation":"Silu","octaves":0,"depth":1}}"#
            )
            .is_err()
        );
    }
}
