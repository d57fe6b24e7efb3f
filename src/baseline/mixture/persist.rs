use ndarray::{Array1, Array2, Array3};
use serde::{Deserialize, Serialize};

use super::gaussians::Gaussians;
use super::{Covariance, GaussianMixture, GaussianMixtureConfig, Part};
use crate::error::{Error, FileError, Result, check};
use crate::model::ConditionKind;
use crate::model::file::{Persist, Stored, Tensor, encode};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    started: bool,
    /// The family of the covariances, which the first files did not name: theirs are full.
    #[serde(default = "full")]
    family: Covariance,
    /// λ of its prior, where it is not the config's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shrinkage: Option<f64>,
    /// How many rows it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rows: Option<usize>,
    /// Under classes, those of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<OfClass>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfClass {
    share: f64,
    family: Covariance,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shrinkage: Option<f64>,
    components: usize,
}

fn full() -> Covariance {
    Covariance::Full
}

/// Tensors: `weights` (k), `means` (k, d), `covariances` (k, d, d), of classes one class after the other.
impl Persist for GaussianMixture {
    fn kind() -> &'static str {
        "gaussian_mixture"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let each = |of: fn(&Gaussians) -> Vec<f64>| -> Vec<f64> {
            self.parts.iter().flat_map(|part| of(&part.gaussians)).collect()
        };
        let (k, d) = (self.marginal.len(), self.config.width());
        let tensors = vec![
            Tensor::f64("weights", &[k], each(|g| g.weights.to_vec())),
            Tensor::f64("means", &[k, d], each(|g| g.means.iter().copied().collect())),
            Tensor::f64("covariances", &[k, d, d], each(|g| g.covariances.iter().copied().collect())),
        ];
        let classes = matches!(self.config.condition, ConditionKind::Class { .. });
        let shrinkage = |part: &Part| Some(part.shrinkage).filter(|&own| own != self.config.shrinkage);
        let of_class = |part: &Part| OfClass {
            share: part.share,
            family: part.family,
            shrinkage: shrinkage(part),
            components: part.gaussians.len(),
        };
        let fitted = Fitted {
            started: self.started,
            family: self.parts[0].family,
            shrinkage: shrinkage(&self.parts[0]).filter(|_| !classes),
            rows: self.rows,
            classes: if classes { self.parts.iter().map(of_class).collect() } else { Vec::new() },
        };
        encode(Self::kind(), &self.config, &fitted, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, fitted): (GaussianMixtureConfig, Fitted) = stored.read(Self::kind())?;
        config.validate()?;
        stored.count(3)?;
        let (d, most) = (config.width(), config.most_components());
        let k = stored.shape("weights")?.first().copied().unwrap_or(0);
        let Fitted { started, family, shrinkage, rows, classes } = fitted;
        let classes = match config.condition {
            ConditionKind::Class { classes: count } => {
                check(classes.len() == count as usize, "classes", classes.len(), "those of the config")?;
                classes
            }
            _ => {
                check(classes.is_empty(), "classes", classes.len(), "none without classes in the config")?;
                vec![OfClass { share: 1.0, family, shrinkage, components: k }]
            }
        };
        let counts: Vec<usize> = classes.iter().map(|class| class.components).collect();
        let sane = counts.iter().all(|count| (1..=most).contains(count));
        check(sane, "weights", &counts, "1 to as many as the config's components")?;
        let sum = counts.iter().fold(0usize, |sum, &count| sum.saturating_add(count));
        check(sum == k, "weights", k, "the components of all classes")?;
        let shares: Vec<f64> = classes.iter().map(|class| class.share).collect();
        check(sum_to_one(&shares), "shares", &shares, "each 0 or more, with sum 1")?;
        let weights = stored.f64("weights", &[k])?;
        let means = stored.f64("means", &[k, d])?;
        let covariances = stored.f64("covariances", &[k, d, d])?;

        let (mut parts, mut first) = (Vec::new(), 0);
        for OfClass { share, family, shrinkage, components } in classes {
            let shrinkage = shrinkage.unwrap_or(config.shrinkage);
            let sane = shrinkage >= 0.0 && shrinkage.is_finite();
            check(sane, "shrinkage", shrinkage, "0 or more, finite")?;
            let fits = family != Covariance::Best && [Covariance::Best, family].contains(&config.covariance);
            // A class without rows has the one Gaussian of all, whatever the others have.
            let fits = fits || (share == 0.0 && family == Covariance::Full);
            check(fits, "family", family, "that of the config, and one of the four")?;
            let (last, shape) = (first + components, "as many numbers as the shape says");
            let weights = weights[first..last].to_vec();
            check(sum_to_one(&weights), "weights", &weights, "each 0 or more, with sum 1")?;
            let means = Array2::from_shape_vec((components, d), means[first * d..last * d].to_vec());
            let covariances = covariances[first * d * d..last * d * d].to_vec();
            let covariances = Array3::from_shape_vec((components, d, d), covariances);
            let (means, covariances) = (means.expect(shape), covariances.expect(shape));
            let gaussians = Gaussians::new(Array1::from_vec(weights), means, covariances)
                .map_err(|k| singular(first + k))?;
            parts.push(Part { share, family, shrinkage, gaussians: gaussians.into() });
            first = last;
        }
        GaussianMixture::of(config, parts, started, rows).map_err(singular)
    }
}

fn sum_to_one(shares: &[f64]) -> bool {
    shares.iter().all(|&share| share >= 0.0) && (shares.iter().sum::<f64>() - 1.0).abs() <= 1e-6
}

fn singular(k: usize) -> Error {
    Error::File(FileError::Format { what: format!("covariance {k} is not symmetric and positive definite") })
}
