//! The native part of `quadrivium_models`: what it takes to call the library from Python, and no mathematics. What
//! users see is written in Python, beside this folder.

mod config;
mod failure;
mod fit;
mod metrics;
mod model;
mod pool;
mod read;
mod table;
mod worlds;

use pyo3::prelude::*;

/// The library behind `quadrivium_models`.
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<model::Model>()?;
    module.add_function(wrap_pyfunction!(config::recipe, module)?)?;
    module.add_function(wrap_pyfunction!(fit::fit, module)?)?;
    module.add_function(wrap_pyfunction!(read::read, module)?)?;
    metrics::add_to(module)?;
    worlds::add_to(module)
}
