//! `rustalchemy._core`: the list of what Python sees of the native core.
use pyo3::prelude::*;

mod processors;

/// The native core of rustalchemy.
#[pymodule(gil_used = true)]
mod _core {
    #[pymodule_export]
    use crate::processors::Processor;
}
