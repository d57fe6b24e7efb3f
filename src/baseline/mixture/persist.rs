use ndarray::{Array1, Array2, Array3};
use serde::{Deserialize, Serialize};

use super::gaussians::Gaussians;
use super::{Covariance, GaussianMixture, GaussianMixtureConfig};
use crate::error::{Error, Result, check};
use crate::model::file::{Persist, Stored, Tensor, encode};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    started: bool,
    /// The family of the covariances, which the first files did not name: theirs are full.
    #[serde(default = "full")]
    family: Covariance,
}

fn full() -> Covariance {
    Covariance::Full
}

/// Tensors: `weights` (k), `means` (k, d), `covariances` (k, d, d).
impl Persist for GaussianMixture {
    fn kind() -> &'static str {
        "gaussian_mixture"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let Gaussians { weights, means, covariances, .. } = &self.gaussians;
        let row_major: Vec<f64> = covariances.iter().copied().collect();
        let tensors = vec![
            Tensor::f64("weights", weights.shape(), weights.to_vec()),
            Tensor::f64("means", means.shape(), means.as_slice().expect("standard layout")),
            Tensor::f64("covariances", covariances.shape(), row_major),
        ];
        encode(Self::kind(), &self.config, &Fitted { started: self.started, family: self.family }, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Fitted { started, family }): (GaussianMixtureConfig, _) = stored.read(Self::kind())?;
        config.validate()?;
        let fits = family != Covariance::Best && [Covariance::Best, family].contains(&config.covariance);
        check(fits, "family", family, "that of the config, and one of the four")?;
        stored.count(3)?;
        let d = config.dim;
        let k = stored.shape("weights")?.first().copied().unwrap_or(0);
        let most = config.most_components();
        check((1..=most).contains(&k), "weights", k, "1 to as many as the config's components")?;
        let weights = stored.f64("weights", &[k])?;
        let means = stored.f64("means", &[k, d])?;
        let covariances = stored.f64("covariances", &[k, d, d])?;
        let total: f64 = weights.iter().sum();
        let shares = weights.iter().all(|&w| w >= 0.0) && (total - 1.0).abs() <= 1e-6;
        check(shares, "weights", &weights, "each 0 or more, with sum 1")?;

        let fits = "as many numbers as the shape says";
        let means = Array2::from_shape_vec((k, d), means).expect(fits);
        let covariances = Array3::from_shape_vec((k, d, d), covariances).expect(fits);
        let gaussians = Gaussians::new(Array1::from_vec(weights), means, covariances).map_err(|k| {
            let what = format!("covariance {k} is not symmetric and positive definite");
            Error::Format { what }
        })?;
        Ok(GaussianMixture { config, gaussians, family, started })
    }
}
