use serde::{Deserialize, Serialize};

use super::codec::Codec;
use super::latent::{Latent, LatentConfig};
use super::pca::{Axes, Pca, PcaConfig};
use crate::engine::Fitted;
use crate::error::{Result, check};
use crate::model::ConditionKind;
use crate::model::file::{Composition, Persist, Stored, Tensor, encode, encode_parts};

/// Parts: `codec` and `prior`.
impl<C: Codec + Persist, P: Persist> Persist for Latent<C, P> {
    fn kind() -> &'static str {
        "latent"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let parts = [("codec", self.codec.to_bytes()?), ("prior", self.prior.to_bytes()?)];
        encode_parts(Self::kind(), &self.config, &parts)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let parts = Composition::<LatentConfig>::read(&Stored::parse(bytes)?, Self::kind())?;
        check(parts.parts.len() == 2, "parts", parts.parts.keys(), "codec and prior")?;
        let (codec, prior) = (C::from_bytes(parts.part("codec")?)?, P::from_bytes(parts.part("prior")?)?);
        Latent::new(codec, prior, parts.config)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stated {
    units: Fitted,
    /// σ².
    rest: f64,
}

/// Tensors: `directions` (k, d) and `variances` (k).
impl Persist for Pca {
    fn kind() -> &'static str {
        "pca"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let (PcaConfig { dim, latent_dim }, Axes { directions, variances, rest }) =
            (&self.config, &self.axes);
        let tensors = vec![
            Tensor::f64("directions", &[*latent_dim, *dim], &directions[..]),
            Tensor::f64("variances", &[*latent_dim], &variances[..]),
        ];
        encode(Self::kind(), &self.config, &Stated { units: self.fitted.clone(), rest: *rest }, tensors)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Stated { units: fitted, rest }): (PcaConfig, Stated) = stored.read(Self::kind())?;
        config.validate()?;
        fitted.validate(config.dim, ConditionKind::None)?;
        stored.count(2)?;
        let directions = stored.f64("directions", &[config.latent_dim, config.dim])?;
        let variances = stored.f64("variances", &[config.latent_dim])?;
        let positive = |v: &f64| *v > 0.0 && v.is_finite();
        check(variances.iter().all(positive) && positive(&rest), "variances", rest, "more than 0, finite")?;
        Ok(Pca { config, fitted, axes: Axes { directions, variances, rest } })
    }
}
