use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::widths::EXPONENTS;
use super::{KernelDensity, KernelDensityConfig, Sphere, WIDTHS};
use crate::baseline::numbers;
use crate::error::{Error, FileError, Result, check};
use crate::model::ConditionKind;
use crate::model::file::{Persist, Stored, Tensor, encode};
use crate::numeric::cholesky::invert_lower;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Fitted {
    bandwidth: f64,
    /// By which widths differ.
    #[serde(default, skip_serializing_if = "is_zero")]
    exponent: f64,
    /// How many rows each class has, if classes are the condition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    classes: Vec<usize>,
}

fn is_zero(exponent: &f64) -> bool {
    *exponent == 0.0
}

/// Tensors: `rows` (n, d), and the L and the shift of y = L⁻¹ (x − shift), `factor` (d, d) and `shift` (d).
impl Persist for KernelDensity {
    fn kind() -> &'static str {
        "kernel_density"
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let (n, d) = self.x.dim();
        let tensors = vec![
            Tensor::f32("rows", &[n, d], self.x.as_slice().expect("row-major")),
            Tensor::f64("factor", &[d, d], &self.sphere.l[..]),
            Tensor::f64("shift", &[d], &self.sphere.shift[..]),
        ];
        encode(
            Self::kind(),
            &self.config,
            &Fitted { bandwidth: self.bandwidth, exponent: self.exponent, classes: self.classes.clone() },
            tensors,
        )
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let stored = Stored::parse(bytes)?;
        let (config, Fitted { bandwidth, exponent, classes }): (KernelDensityConfig, _) =
            stored.read(Self::kind())?;
        config.validate()?;
        check(WIDTHS.contains(&bandwidth), "bandwidth", bandwidth, "1e-100 to 1e100")?;
        let sane = exponent == 0.0 || (EXPONENTS.contains(&exponent) && numbers(config.condition) == 0);
        check(sane, "exponent", exponent, "0, ½ or 1, and 0 under a vector")?;
        stored.count(3)?;
        let d = config.dim + numbers(config.condition);
        let n = stored.shape("rows")?.first().copied().unwrap_or(0);
        check(n >= 1, "rows", n, "at least 1")?;
        let expected =
            if let ConditionKind::Class { classes } = config.condition { classes as usize } else { 0 };
        let sum = classes.iter().fold(0usize, |sum, &rows| sum.saturating_add(rows));
        // Before its first training a model has one row, of no class.
        let fits = classes.len() == expected && (expected == 0 || sum == n || (sum == 0 && n == 1));
        check(fits, "classes", &classes, "the rows of each, together all")?;
        let x = stored.f32("rows", &[n, d])?;
        let shift = stored.f64("shift", &[d])?;
        let l = stored.f64("factor", &[d, d])?;
        let triangular = |(at, &v): (usize, &f64)| match (at / d, at % d) {
            (i, j) if i == j => v > 0.0,
            (i, j) => i > j || v == 0.0,
        };
        if !l.iter().enumerate().all(triangular) {
            let what = "tensor factor is not lower triangular with a diagonal above 0";
            return Err(Error::File(FileError::Format { what: what.into() }));
        }

        let sphere = Sphere { whiten: invert_lower(&l, d), l, shift };
        let x = Array2::from_shape_vec((n, d), x).expect("as many numbers as the shape says");
        let what = "tensor factor has no marginal";
        let fitted = KernelDensity::on(config, x, classes, sphere, exponent);
        let fitted = fitted.ok_or_else(|| Error::File(FileError::Format { what: what.into() }))?;
        Ok(KernelDensity { bandwidth, ..fitted })
    }
}
