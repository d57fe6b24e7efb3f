use std::sync::Arc;

use super::limits::{self, check_hidden, check_params, check_some_hidden, check_time_features, check_width};
use super::residual::{self, ResidualField};
use super::timed::{OCTAVES, Timed};
use super::{
    Activation, Fourier, Fused, Layer, Linear, Network, REACH, Residual, Sequential, VectorField,
    most_octaves,
};
use crate::error::{Result, check};
use crate::numeric::Real;

/// The most blocks of a residual network.
const BLOCKS: usize = 1024;

/// The kind and size of a network, without the numbers of its input and output columns. It is a part of a model's
/// config.
///
/// A specification builds two kinds of networks. [`vector_field`](NetworkSpec::vector_field) builds one of rows, time
/// and condition, for diffusion, flow matching and score models. [`network`](NetworkSpec::network) builds one of
/// plain rows, for encoders, decoders, critics and generators. Neither allocates parameters; the caller does.
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
#[cfg_attr(
    feature = "safetensors",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "kind", deny_unknown_fields)
)]
#[non_exhaustive]
pub enum NetworkSpec {
    /// A multilayer perceptron. Time and condition enter its first layer.
    Mlp {
        /// Units of each hidden layer, each 1 to 65,536. A vector field needs at least one hidden layer.
        hidden: Vec<usize>,
        /// The activation between the layers.
        activation: Activation,
        /// Fourier features of each coordinate: sine and cosine of 2ᵏ rad, k = 0 … octaves − 1, in addition to the
        /// coordinate itself. Structure of width w needs 2ᵏ near 1/w. 0 (raw coordinates) to 14; in a vector field at
        /// most 13.
        octaves: usize,
    },
    /// Residual blocks with layer normalization, modulated by time and condition (adaLN-zero, Peebles & Xie 2023):
    /// see [`Residual`]. Deep networks of this kind train where deep perceptrons do not. Apart from the biases, the
    /// normalization hides the length of a row. A generator or an energy needs this length; one or more octaves show
    /// it.
    Residual {
        /// Columns passed from block to block, 1 to 65,536. The hidden layer of a block is twice as wide.
        width: usize,
        /// The number of blocks, 1 to 1024, each with two matrix products.
        blocks: usize,
        /// The activation inside the blocks and in the network that modulates them.
        activation: Activation,
        /// Fourier features of each coordinate, as in [`Mlp`](NetworkSpec::Mlp).
        octaves: usize,
    },
}

/// The parts of [`NetworkSpec::Mlp`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Perceptron<'a> {
    pub(crate) hidden: &'a [usize],
    pub(crate) activation: Activation,
    pub(crate) octaves: usize,
}

impl NetworkSpec {
    /// A short way to write [`NetworkSpec::Mlp`].
    ///
    /// ```
    /// use quadrivium::nn::{Activation, NetworkSpec};
    /// use quadrivium::DiffusionConfig;
    ///
    /// let network = NetworkSpec::mlp([64; 3], Activation::Silu, 4);
    /// let config = DiffusionConfig { network, ..Default::default() };
    /// # assert!(config.validate().is_ok());
    /// ```
    pub fn mlp(hidden: impl Into<Vec<usize>>, activation: Activation, octaves: usize) -> Self {
        NetworkSpec::Mlp { hidden: hidden.into(), activation, octaves }
    }

    /// The same specification with another number of octaves.
    pub fn with_octaves(mut self, count: usize) -> Self {
        let (NetworkSpec::Mlp { octaves, .. } | NetworkSpec::Residual { octaves, .. }) = &mut self;
        *octaves = count;
        self
    }

    /// The number of octaves of the Fourier features.
    pub fn octaves(&self) -> usize {
        let (NetworkSpec::Mlp { octaves, .. } | NetworkSpec::Residual { octaves, .. }) = self;
        *octaves
    }

    /// The activation between the layers.
    pub fn activation(&self) -> Activation {
        let (NetworkSpec::Mlp { activation, .. } | NetworkSpec::Residual { activation, .. }) = self;
        *activation
    }

    /// The perceptron, if the specification is one: networks with masked weights have to be perceptrons.
    pub(crate) fn perceptron(&self) -> Option<Perceptron<'_>> {
        match self {
            NetworkSpec::Mlp { hidden, activation, octaves } => {
                Some(Perceptron { hidden, activation: *activation, octaves: *octaves })
            }
            NetworkSpec::Residual { .. } => None,
        }
    }

    /// Refuses a specification from which no network can be built, for any number of columns.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) that names the specification and says what is out of range.
    pub fn validate(&self) -> Result<()> {
        self.check("NetworkSpec")
    }

    /// [`validate`](NetworkSpec::validate) for a named field of a config.
    pub(crate) fn check(&self, field: &'static str) -> Result<()> {
        let (activation, octaves) = match self {
            NetworkSpec::Mlp { hidden, activation, octaves } => {
                check_hidden(field, hidden)?;
                (activation, octaves)
            }
            NetworkSpec::Residual { width, blocks, activation, octaves } => {
                check_width(field, *width)?;
                check((1..=BLOCKS).contains(blocks), field, format_args!("{blocks} blocks"), "1 to 1024")?;
                (activation, octaves)
            }
        };
        check(*octaves <= most_octaves(REACH), field, format_args!("{octaves} octaves"), "0 to 14")?;
        activation.validate()
    }

    /// Refuses what [`vector_field`](NetworkSpec::vector_field) cannot build, for a named field of a config.
    pub(crate) fn check_vector_field(
        &self,
        field: &'static str,
        (dim, condition, time_features): (usize, usize, usize),
    ) -> Result<()> {
        self.check(field)?;
        if let Some(Perceptron { hidden, .. }) = self.perceptron() {
            check_some_hidden(field, hidden)?;
        }
        let octaves = self.octaves();
        check(octaves <= OCTAVES, field, format_args!("{octaves} octaves"), "0 to 13")?;
        check_params(field, self, self.vector_field_params(dim, condition, time_features))
    }

    /// Refuses what [`network`](NetworkSpec::network) cannot build, for a named field of a config.
    pub(crate) fn check_network(
        &self,
        field: &'static str,
        (inputs, condition, outputs): (usize, usize, usize),
    ) -> Result<()> {
        self.check(field)?;
        check_params(field, self, self.network_params(inputs, condition, outputs))
    }

    /// Builds the network of rows of `dim` columns, their moments, embedded in `time_features` columns, and a
    /// condition of `condition` columns (0 for none). Its values start at 0.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) as in [`validate`](NetworkSpec::validate), for a perceptron without a
    /// hidden layer or with more than 13 octaves, for a number of columns outside 1 to 65,536 (for the condition, 0
    /// to 65,536), for an odd number of time features, and for more than 2²⁸ parameters.
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
        check_width("dim", dim)?;
        check_condition(condition)?;
        check_time_features("time_features", time_features)?;
        self.check_vector_field("NetworkSpec", (dim, condition, times * time_features))?;
        Ok(match self {
            NetworkSpec::Mlp { hidden, activation, octaves } => {
                let field = Timed::new(dim, hidden, *activation, *octaves, time_features)?;
                let field = if times == 2 { field.of_two_times() } else { field };
                Arc::new(field.conditional(condition))
            }
            &NetworkSpec::Residual { width, blocks, activation, octaves } => {
                let shape = (width, blocks);
                Arc::new(ResidualField::new(
                    dim,
                    condition,
                    shape,
                    activation,
                    octaves,
                    (times, time_features),
                )?)
            }
        })
    }

    /// The number of parameters of the network that [`vector_field`](NetworkSpec::vector_field) builds, saturating at
    /// the largest usize.
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

    /// How many parameters the network of [`two_time_field`](NetworkSpec::two_time_field) has; a count beyond usize
    /// is the largest.
    pub fn two_time_field_params(&self, dim: usize, condition: usize, time_features: usize) -> usize {
        self.vector_field_params(dim, condition, time_features.saturating_mul(2))
    }

    /// Builds the network of rows (x, c) with `inputs` columns x, followed by `condition` columns c (0 for none), and
    /// `outputs` columns of values. The weights of its last product start as N(0, gain²/in): with a gain of 0 the
    /// values start at 0.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) as in [`validate`](NetworkSpec::validate), for a number of columns
    /// outside 1 to 65,536 (0 to 65,536 for the condition, and for the inputs if there is a condition), and for more
    /// than 2²⁸ parameters.
    pub fn network(&self, inputs: usize, condition: usize, outputs: usize, gain: f64) -> Result<Fused> {
        if inputs > 0 || condition == 0 {
            check_width("inputs", inputs)?;
        }
        check_condition(condition)?;
        check_width("outputs", outputs)?;
        self.check_network("NetworkSpec", (inputs, condition, outputs))?;
        Ok(self.build(inputs, condition, outputs, gain))
    }

    /// [`network`](NetworkSpec::network) for a specification that has already been checked.
    pub(crate) fn build(&self, inputs: usize, condition: usize, outputs: usize, gain: f64) -> Fused {
        match *self {
            NetworkSpec::Mlp { .. } => {
                self.ending_in(inputs, condition, |width| Layer::Linear(Linear::new(width, outputs, gain)))
            }
            NetworkSpec::Residual { width, blocks, activation, octaves } => {
                let features = Fourier::octaves(inputs, 1.0, octaves).passing(condition);
                let inputs = features.out_dim() - condition;
                let net = Residual::new(inputs, condition, width, blocks, activation, outputs, gain);
                Sequential::new(vec![Layer::Fourier(features), Layer::Modulated(Box::new(net))]).fused()
            }
        }
    }

    /// [`build`](NetworkSpec::build) with a last layer of another kind, made for the number of columns that it
    /// receives. In a residual network, the network's own last product comes before that layer.
    pub(crate) fn ending_in(
        &self,
        inputs: usize,
        condition: usize,
        last: impl FnOnce(usize) -> Layer,
    ) -> Fused {
        let features = Fourier::octaves(inputs, 1.0, self.octaves()).passing(condition);
        let mut columns = features.out_dim();
        let mut layers = vec![Layer::Fourier(features)];
        match *self {
            NetworkSpec::Mlp { ref hidden, activation, .. } => {
                for &units in hidden {
                    layers.push(Layer::Linear(Linear::new(columns, units, activation.gain())));
                    layers.push(activation.layer(units));
                    columns = units;
                }
            }
            NetworkSpec::Residual { width, blocks, activation, .. } => {
                let inputs = columns - condition;
                let net = Residual::new(inputs, condition, width, blocks, activation, width, 1.0);
                layers.push(Layer::Modulated(Box::new(net)));
                columns = width;
            }
        }
        layers.push(last(columns));
        Sequential::new(layers).fused()
    }

    /// The number of parameters of the network that [`network`](NetworkSpec::network) builds, saturating at the
    /// largest usize.
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

    /// The number of parameters of the network that [`ending_in`](NetworkSpec::ending_in) builds, if its last layer
    /// has `outputs` columns of weights and biases.
    pub(crate) fn params_ending_in(&self, inputs: usize, condition: usize, outputs: usize) -> usize {
        match *self {
            NetworkSpec::Mlp { .. } => self.network_params(inputs, condition, outputs),
            NetworkSpec::Residual { width, .. } => {
                let last = width.saturating_add(1).saturating_mul(outputs);
                self.network_params(inputs, condition, width).saturating_add(last)
            }
        }
    }
}

/// Number of columns of the Fourier features of `dim` coordinates.
fn features(dim: usize, octaves: usize) -> usize {
    octaves.saturating_mul(2).saturating_add(1).saturating_mul(dim)
}

/// Refuses a condition with more columns than a row may have.
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
    fn spec_without_octaves_and_condition_is_the_plain_perceptron_of_the_coordinates() {
        let spec = NetworkSpec::mlp([8, 9], Activation::Tanh, 0);
        let (net, plain) = (spec.network(3, 0, 2, 1.0).unwrap(), mlp(&[3, 8, 9, 2], Activation::Tanh));
        assert_eq!(net.layers()[0], Layer::Fourier(Fourier::octaves(3, 1.0, 0)));
        assert_eq!(net.layers()[1..], *plain.layers());
    }

    #[test]
    fn spec_counts_those_of_another_last_layer() {
        for spec in specs() {
            let net = spec.ending_in(3, 2, |width| Layer::Linear(Linear::new(width, 5, 1.0)));
            assert_eq!(net.num_params(), spec.params_ending_in(3, 2, 5), "{spec:?}");
            assert_eq!((net.in_dim(), net.out_dim()), (5, 5));
        }
    }

    #[test]
    fn spec_out_of_range_is_refused_before_anything_is_allocated() {
        let field = |error: Error| match error {
            Error::Config { field, .. } => field,
            error => panic!("{error}"),
        };
        let activation = Activation::Silu;
        let mlp = |hidden: &[usize]| NetworkSpec::mlp(hidden, activation, 0);
        let residual = |width, blocks| NetworkSpec::Residual { width, blocks, activation, octaves: 0 };
        let steep = NetworkSpec::mlp([8], Activation::LeakyRelu { slope: 2.0 }, 0);
        for (spec, want) in [
            (mlp(&[8, 0]), "NetworkSpec"),
            (mlp(&[65_536; 3]), "NetworkSpec"),
            (residual(0, 1), "NetworkSpec"),
            (residual(8, 0), "NetworkSpec"),
            (residual(8, 1025), "NetworkSpec"),
            (residual(65_536, 1), "NetworkSpec"),
            (residual(8, 1).with_octaves(15), "NetworkSpec"),
            (steep, "Activation::LeakyRelu::slope"),
        ] {
            assert_eq!(field(spec.network(2, 0, 1, 1.0).unwrap_err()), want, "{spec:?}");
            assert_eq!(field(spec.vector_field::<f32>(2, 0, 4).unwrap_err()), want, "{spec:?}");
        }
        // A plain network may be a single product and may have more octaves; a vector field may not.
        assert!(mlp(&[]).with_octaves(14).network(2, 0, 1, 1.0).is_ok());
        assert_eq!(field(mlp(&[]).vector_field::<f32>(2, 0, 4).unwrap_err()), "NetworkSpec");
        let fine = mlp(&[8]).with_octaves(14);
        assert_eq!(field(fine.vector_field::<f32>(2, 0, 4).unwrap_err()), "NetworkSpec");
        assert_eq!(field(mlp(&[8]).vector_field::<f32>(2, 0, 5).unwrap_err()), "time_features");
        assert_eq!(field(mlp(&[8]).vector_field::<f32>(0, 0, 4).unwrap_err()), "dim");
        assert_eq!(field(mlp(&[8]).network(2, 65_537, 1, 1.0).unwrap_err()), "condition");
        // With a condition, there may be zero inputs.
        assert!(mlp(&[8]).network(0, 1, 1, 1.0).is_ok());
        assert_eq!(field(mlp(&[8]).network(0, 0, 1, 1.0).unwrap_err()), "inputs");
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
                r#"{"kind":"Mlp","hidden":[2],"activation":"Silu","octaves":0,"depth":1}"#
            )
            .is_err()
        );
    }
}
