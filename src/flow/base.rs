use ndarray::{Array1, Array2, ArrayView2};

use super::Flow;
use super::chain::Pass;
use crate::engine::{Given, tiles};
use crate::error::Result;
use crate::model::check_rows;
use crate::numeric::gemm::transpose;

impl Flow {
    /// u = f(x) of each row of x, (n, dim), in the base space, where the flow's rows are N(0, I), and ln |det ∂u/∂x| in
    /// the units of the data. A row so far out that its u is beyond f32 has u = 0 and ln |det| = −∞.
    ///
    /// # Errors
    /// [`DataError::Shape`](crate::error::DataError::Shape) for a wrong number of columns,
    /// [`DataError::NonFinite`](crate::error::DataError::NonFinite) for a NaN or an infinity,
    /// [`Error::Condition`](crate::Error::Condition) of a flow with a condition.
    ///
    /// ```
    /// use quadrivium::{prelude::*, ndarray::array, seeded};
    ///
    /// let flow = Flow::new(FlowConfig::default(), &mut seeded(0))?;
    /// let x = array![[0.5, -1.0], [2.0, 0.0]];
    /// let (u, log_det) = flow.to_base(x.view())?;
    /// let back = flow.from_base(u.view())?;
    /// assert!((back - x).iter().all(|v| v.abs() < 1e-5) && log_det.len() == 2);
    /// # Ok::<(), quadrivium::Error>(())
    /// ```
    pub fn to_base(&self, x: ArrayView2<f32>) -> Result<(Array2<f32>, Array1<f64>)> {
        let dim = self.config.dim;
        check_rows("x", x, dim)?;
        let c = self.fitted.conditions.encode(None)?;
        let (n, x) = (x.nrows(), x.as_standard_layout());
        let x = x.as_slice().expect("standard layout");
        // [u | ln |det|]: (n, dim + 1)
        let mut out = vec![0.0f64; n * (dim + 1)];
        tiles::for_each_tile(
            &mut out,
            dim + 1,
            |(z, u, pass): &mut (Vec<f32>, Vec<f32>, Pass<f32>), first, out| {
                let rows = out.len() / (dim + 1);
                let x = &x[first * dim..][..rows * dim];
                z.clear();
                z.extend_from_slice(x);
                self.fitted.standardizer.standardize(z);
                self.chain.infer(&self.parameters.average, z, Given::of(&c).rows(first, rows), pass);
                u.resize(z.len(), 0.0);
                transpose((dim, rows), &pass.z, u);
                let mut units = vec![0.0; rows];
                self.fitted.standardizer.add_log_det(x, &mut units);
                let rows = out.chunks_exact_mut(dim + 1).zip(u.chunks_exact(dim));
                for ((out, u), (log_det, units)) in rows.zip(pass.log_det.iter().zip(units)) {
                    let log_det = f64::from(*log_det) + units;
                    let within = log_det.is_finite() && u.iter().all(|u| u.is_finite());
                    out[dim] = if within { log_det } else { f64::NEG_INFINITY };
                    out[..dim]
                        .iter_mut()
                        .zip(u)
                        .for_each(|(to, &u)| *to = if within { u.into() } else { 0.0 });
                }
                Ok(())
            },
        )?;
        let out = Array2::from_shape_vec((n, dim + 1), out).expect("n rows");
        let (u, log_det) = out.view().split_at(ndarray::Axis(1), dim);
        Ok((u.mapv(|u| u as f32), log_det.column(0).to_owned()))
    }

    /// x = f⁻¹(u) of each row of u, (n, dim), in the units of the data.
    ///
    /// # Errors
    /// As [`to_base`](Flow::to_base).
    pub fn from_base(&self, u: ArrayView2<f32>) -> Result<Array2<f32>> {
        let dim = self.config.dim;
        check_rows("u", u, dim)?;
        let c = self.fitted.conditions.encode(None)?;
        let mut x = u.as_standard_layout().into_owned();
        let rows = x.as_slice_mut().expect("standard layout");
        tiles::for_each_tile(rows, dim, |pass: &mut Pass<f32>, first, x| {
            let n = x.len() / dim;
            pass.z.resize(x.len(), 0.0);
            transpose((n, dim), x, &mut pass.z);
            self.chain.inverse(&self.parameters.average, Given::of(&c).rows(first, n), pass, x);
            self.fitted.standardizer.restore(x);
            Ok(())
        })?;
        Ok(x)
    }
}
