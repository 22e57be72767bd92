//! The few Python functions the core calls, handed over once by `rustalchemy.orm`.
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use std::sync::Mutex;

use crate::names;

static HOOKS: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

/// Hands the Python side over: an object with the functions of the contract's section 7 and the symbols of section 8.
#[pyfunction]
pub fn install_hooks(hooks: &Bound<'_, PyAny>) -> PyResult<()> {
    names::install(hooks)?;
    let old = match HOOKS.lock() {
        Ok(mut slot) => slot.replace(hooks.clone().unbind()),
        Err(_) => None,
    };
    drop(old); // after unlocking: dropping may run Python code
    Ok(())
}

/// The hooks object, if it was installed.
pub fn installed(py: Python<'_>) -> Option<Bound<'_, PyAny>> {
    let hooks = HOOKS.lock().ok()?.as_ref().map(|hooks| hooks.clone_ref(py))?;
    Some(hooks.into_bound(py))
}

/// One hook by name.
pub fn hook<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    installed(py)
        .ok_or_else(|| PyRuntimeError::new_err("rustalchemy._core has no hooks yet: import rustalchemy.orm"))?
        .getattr(name)
}
