//! `copy` and `pickle` of mapped objects.
use pyo3::prelude::*;
use pyo3::types::PyTuple;

/// `__reduce_ex__`.
pub fn reduce_ex(_object: &Bound<'_, PyAny>, _args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    Err(pyo3::exceptions::PyNotImplementedError::new_err("__reduce_ex__"))
}
/// `__getstate__`.
pub fn get_state(_object: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    Err(pyo3::exceptions::PyNotImplementedError::new_err("__getstate__"))
}
/// `__setstate__`.
pub fn set_state(_object: &Bound<'_, PyAny>, _state: &Bound<'_, PyAny>) -> PyResult<()> {
    Err(pyo3::exceptions::PyNotImplementedError::new_err("__setstate__"))
}
