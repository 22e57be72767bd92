//! `rustalchemy._core`: the list of what Python sees of the native core.
use pyo3::prelude::*;

/// The native core of rustalchemy.
#[pymodule(gil_used = true)]
mod _core {}
