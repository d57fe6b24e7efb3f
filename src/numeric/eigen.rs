//! Eigenvectors of symmetric matrices.

/// The eigenvectors (rows) and eigenvalues of a symmetric matrix c: (d, d), by Jacobi's rotations: each makes
/// one pair of off-diagonal elements zero, until all are.
pub(crate) fn eigen(mut c: Vec<f64>, d: usize) -> (Vec<f64>, Vec<f64>) {
    let mut axes = vec![0.0; d * d];
    axes.iter_mut().step_by(d + 1).for_each(|v| *v = 1.0);
    let scale: f64 = (0..d).map(|i| c[i * (d + 1)]).sum();
    // Convergence is quadratic; ten sweeps are more than enough for any size.
    for _ in 0..30 {
        let off: f64 = (0..d * d).filter(|at| at / d != at % d).map(|at| c[at].abs()).sum();
        if off <= 1e-17 * scale {
            break;
        }
        for p in 0..d {
            for q in p + 1..d {
                if c[p * d + q] == 0.0 {
                    continue;
                }
                // tan 2θ = 2 c_pq / (c_pp − c_qq), the smaller angle.
                let theta = (c[q * d + q] - c[p * d + p]) / (2.0 * c[p * d + q]);
                let tan = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let cos = tan.hypot(1.0).recip();
                let sin = tan * cos;
                let turn = |v: &mut [f64], a: usize, b: usize| {
                    (v[a], v[b]) = (cos * v[a] - sin * v[b], sin * v[a] + cos * v[b]);
                };
                for i in 0..d {
                    turn(&mut c, i * d + p, i * d + q);
                }
                for i in 0..d {
                    turn(&mut c, p * d + i, q * d + i);
                    turn(&mut axes, p * d + i, q * d + i);
                }
            }
        }
    }
    (axes, (0..d).map(|i| c[i * (d + 1)]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numeric::Real;
    use crate::numeric::rng::seeded;

    #[test]
    fn eigenvectors_rebuild_their_matrix() {
        for d in [1, 2, 5] {
            let mut rng = seeded(d as u64);
            let a: Vec<f64> = (0..d * d).map(|_| f64::normal(&mut rng)).collect();
            let c: Vec<f64> =
                (0..d * d).map(|at| (0..d).map(|m| a[at / d * d + m] * a[at % d * d + m]).sum()).collect();
            let (axes, values) = eigen(c.clone(), d);
            for (at, c) in c.iter().enumerate() {
                let (i, j) = (at / d, at % d);
                let rebuilt: f64 = (0..d).map(|m| values[m] * axes[m * d + i] * axes[m * d + j]).sum();
                assert!((rebuilt - c).abs() < 1e-12, "{rebuilt} {c}");
                let unit: f64 = (0..d).map(|m| axes[i * d + m] * axes[j * d + m]).sum();
                assert!((unit - f64::from(u8::from(i == j))).abs() < 1e-13);
            }
        }
    }
}
