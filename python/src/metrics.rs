//! Distances between samples.

use numpy::PyReadonlyArray2;
use numpy::ndarray::Array2;
use pyo3::prelude::*;
use quadrivium::metrics::{self, Prdc};
use quadrivium::{Result, seeded};

use crate::failure::raise;
use crate::pool::whole;
use crate::worlds::single;

type Rows<'py> = PyReadonlyArray2<'py, f64>;

fn measured<T: Send>(
    py: Python<'_>,
    (x, y): (Rows<'_>, Rows<'_>),
    jobs: Option<i64>,
    measure: impl FnOnce(&Array2<f32>, &Array2<f32>) -> Result<T> + Send,
) -> PyResult<T> {
    let (x, y) = (single(x.as_array()), single(y.as_array()));
    whole(py, jobs, |_| measure(&x, &y))?.map_err(raise)
}

#[pyfunction]
fn energy_distance(py: Python<'_>, x: Rows<'_>, y: Rows<'_>, jobs: Option<i64>) -> PyResult<f64> {
    measured(py, (x, y), jobs, |x, y| metrics::energy_distance(x.view(), y.view()))
}

#[pyfunction]
fn frechet_distance(py: Python<'_>, x: Rows<'_>, y: Rows<'_>, jobs: Option<i64>) -> PyResult<f64> {
    measured(py, (x, y), jobs, |x, y| metrics::frechet_distance(x.view(), y.view()))
}

#[pyfunction]
fn wasserstein(py: Python<'_>, x: Rows<'_>, y: Rows<'_>, jobs: Option<i64>) -> PyResult<f64> {
    measured(py, (x, y), jobs, |x, y| metrics::wasserstein2(x.view(), y.view()))
}

#[pyfunction]
fn sliced_wasserstein(
    py: Python<'_>,
    x: Rows<'_>,
    y: Rows<'_>,
    directions: usize,
    seed: u64,
    jobs: Option<i64>,
) -> PyResult<f64> {
    measured(py, (x, y), jobs, |x, y| {
        metrics::sliced_wasserstein2(x.view(), y.view(), directions, &mut seeded(seed))
    })
}

#[pyfunction]
fn mmd_squared(
    py: Python<'_>,
    x: Rows<'_>,
    y: Rows<'_>,
    bandwidths: Option<Vec<f64>>,
    jobs: Option<i64>,
) -> PyResult<f64> {
    measured(py, (x, y), jobs, |x, y| {
        let bandwidths = match bandwidths {
            Some(bandwidths) => bandwidths,
            None => vec![metrics::median_distance(x.view(), y.view())?],
        };
        metrics::mmd_squared(x.view(), y.view(), &bandwidths)
    })
}

#[pyfunction]
fn two_sample_accuracy(py: Python<'_>, x: Rows<'_>, y: Rows<'_>, jobs: Option<i64>) -> PyResult<f64> {
    measured(py, (x, y), jobs, |x, y| metrics::two_sample_accuracy(x.view(), y.view()))
}

/// Precision, recall, density, coverage.
#[pyfunction]
fn prdc(
    py: Python<'_>,
    real: Rows<'_>,
    fake: Rows<'_>,
    k: usize,
    jobs: Option<i64>,
) -> PyResult<(f64, f64, f64, f64)> {
    let found = measured(py, (real, fake), jobs, |real, fake| metrics::prdc(real.view(), fake.view(), k))?;
    let Prdc { precision, recall, density, coverage } = found;
    Ok((precision, recall, density, coverage))
}

pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(energy_distance, module)?)?;
    module.add_function(wrap_pyfunction!(frechet_distance, module)?)?;
    module.add_function(wrap_pyfunction!(wasserstein, module)?)?;
    module.add_function(wrap_pyfunction!(sliced_wasserstein, module)?)?;
    module.add_function(wrap_pyfunction!(mmd_squared, module)?)?;
    module.add_function(wrap_pyfunction!(two_sample_accuracy, module)?)?;
    module.add_function(wrap_pyfunction!(prdc, module)?)
}
