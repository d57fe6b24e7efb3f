//! Symmetric positive definite matrices of a few dimensions: C = L Lᵀ, row-major.

use ndarray::ArrayView2;

/// ln |L|, half of ln |C|. l: (d, d)
pub(crate) fn ln_det(l: &[f64], d: usize) -> f64 {
    (0..d).map(|i| l[i * (d + 1)].ln()).sum()
}

/// The matrix with this diagonal, row-major.
pub(crate) fn diagonal(entries: &[f64]) -> Vec<f64> {
    let d = entries.len();
    let mut c = vec![0.0; d * d];
    c.iter_mut().step_by(d + 1).zip(entries).for_each(|(to, &entry)| *to = entry);
    c
}

/// The lower factor of a symmetric positive definite matrix, row-major.
pub(crate) fn cholesky(c: ArrayView2<f64>) -> Option<Vec<f64>> {
    let d = c.nrows();
    let mut l = vec![0.0; d * d];
    for i in 0..d {
        for j in 0..=i {
            let scale = (c[[i, i]] * c[[j, j]]).sqrt();
            if (c[[i, j]] - c[[j, i]]).abs() > 1e-12 * scale {
                return None;
            }
            let rest = c[[i, j]] - (0..j).map(|m| l[i * d + m] * l[j * d + m]).sum::<f64>();
            if i != j {
                l[i * d + j] = rest / l[j * d + j];
            } else if rest > 1e-14 * c[[i, i]] && rest.is_finite() {
                l[i * d + i] = rest.sqrt();
            } else {
                return None;
            }
        }
    }
    Some(l)
}

/// W = L⁻¹, lower triangular too, by forward substitution on the columns of the identity. l, w: (d, d)
pub(crate) fn invert_lower(l: &[f64], d: usize) -> Vec<f64> {
    let mut w = vec![0.0; d * d];
    for j in 0..d {
        for i in j..d {
            let identity = if i == j { 1.0 } else { 0.0 };
            let known: f64 = (j..i).map(|m| l[i * d + m] * w[m * d + j]).sum();
            w[i * d + j] = (identity - known) / l[i * d + i];
        }
    }
    w
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn cholesky_returns_the_factor_or_refuses() {
        let c = array![[4.0, 2.0], [2.0, 5.0]];
        assert_eq!(cholesky(c.view()).unwrap(), [2.0, 0.0, 1.0, 2.0]);
        for bad in [
            array![[1.0, 2.0], [2.0, 1.0]],
            array![[1.0, 0.5], [0.4, 1.0]],
            array![[0.0, 0.0], [0.0, 1.0]],
            array![[1.0, 1.0], [1.0, 1.0]],
            array![[f64::NAN, 0.0], [0.0, 1.0]],
            array![[1.0, f64::NAN], [f64::NAN, 1.0]],
            array![[f64::INFINITY, 0.0], [0.0, 1.0]],
        ] {
            assert_eq!(cholesky(bad.view()), None, "{bad}");
        }
    }

    #[test]
    fn the_inverse_undoes_the_factor() {
        let c = array![[4.0, 2.0, -1.0], [2.0, 5.0, 0.5], [-1.0, 0.5, 3.0]];
        let l = cholesky(c.view()).unwrap();
        assert!((2.0 * ln_det(&l, 3) - 40f64.ln()).abs() < 1e-14);
        let w = Array2::from_shape_vec((3, 3), invert_lower(&l, 3)).unwrap();
        let l = Array2::from_shape_vec((3, 3), l).unwrap();
        assert!((w.dot(&l) - Array2::<f64>::eye(3)).iter().all(|v| v.abs() < 1e-15));
        assert_eq!((w[[0, 1]], w[[0, 2]], w[[1, 2]]), (0.0, 0.0, 0.0));
    }
}
