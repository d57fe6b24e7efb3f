//! Toys whose density is known, by name.

use numpy::ndarray::ArrayView2;
use numpy::{PyArray1, PyArray2, PyReadonlyArray2};
use pyo3::prelude::*;
use quadrivium::seeded;
use quadrivium::worlds::Toy;

use crate::failure::{raise, wrong};

/// The names of the toys.
const NAMES: [&str; 10] = [
    "2spirals",
    "8gaussians",
    "checkerboard",
    "circles",
    "grid25",
    "moons",
    "pinwheel",
    "ring8",
    "rings",
    "swissroll",
];

fn toy(name: &str) -> PyResult<Toy> {
    match name {
        "2spirals" => Ok(Toy::two_spirals()),
        "8gaussians" => Ok(Toy::ffjord8()),
        "checkerboard" => Ok(Toy::checkerboard()),
        "circles" => Ok(Toy::circles()),
        "grid25" => Ok(Toy::grid25()),
        "moons" => Toy::moons(0.1).map_err(raise),
        "pinwheel" => Ok(Toy::pinwheel()),
        "ring8" => Ok(Toy::ring8()),
        "rings" => Ok(Toy::rings()),
        "swissroll" => Ok(Toy::swiss_roll()),
        other => Err(wrong(format!("no toy {other:?}: expected one of {}", NAMES.join(", ")))),
    }
}

#[pyfunction]
fn toy_sample<'py>(py: Python<'py>, name: &str, n: usize, seed: u64) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let toy = toy(name)?;
    let x = py.detach(|| toy.sample(n, &mut seeded(seed)).mapv(f64::from));
    Ok(PyArray2::from_owned_array(py, x))
}

#[pyfunction]
fn toy_log_density<'py>(
    py: Python<'py>,
    name: &str,
    x: PyReadonlyArray2<'py, f64>,
) -> PyResult<Bound<'py, PyArray1<f64>>> {
    let (toy, x) = (toy(name)?, single(x.as_array()));
    let nats = py.detach(|| toy.log_density(x.view())).map_err(raise)?;
    Ok(PyArray1::from_owned_array(py, nats))
}

#[pyfunction]
fn toy_entropy(py: Python<'_>, name: &str) -> PyResult<Option<f64>> {
    let toy = toy(name)?;
    Ok(py.detach(|| toy.entropy()))
}

/// Numbers as the library has them.
pub fn single(x: ArrayView2<f64>) -> numpy::ndarray::Array2<f32> {
    x.mapv(|x| x as f32)
}

pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("TOYS", NAMES.to_vec())?;
    module.add_function(wrap_pyfunction!(toy_sample, module)?)?;
    module.add_function(wrap_pyfunction!(toy_log_density, module)?)?;
    module.add_function(wrap_pyfunction!(toy_entropy, module)?)
}
