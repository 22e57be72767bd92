//! `InstanceDict`: `obj.__dict__` of a mapped object.
use pyo3::ffi;
use pyo3::prelude::*;

/// `obj.__dict__`.
pub fn of_object<'py>(_object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    Err(pyo3::exceptions::PyNotImplementedError::new_err("__dict__"))
}
/// `obj.__dict__ = value`.
pub fn replace(_object: &Bound<'_, PyAny>, _value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    Err(pyo3::exceptions::PyNotImplementedError::new_err("__dict__"))
}
/// The state of this `InstanceDict` (borrowed, may be null) goes away.
///
/// # Safety
/// `dict_view` is null or a living `InstanceDict`.
pub unsafe fn forget_state(_dict_view: *mut ffi::PyObject) {}
