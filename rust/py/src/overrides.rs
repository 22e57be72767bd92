//! Strategies that loader options chose for single attributes of an object: kept with its `load_options`.
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::attribute::AttrCore;
use crate::state::{StateExtra, StateRef};

/// Whether strategies were chosen for attributes of an object.
pub fn has_any(state: StateRef) -> bool {
    state.extra().is_some_and(StateExtra::has_overrides)
}

/// What was chosen: attribute name to choice.
pub fn chosen(py: Python<'_>, state: StateRef) -> PyResult<Option<Bound<'_, PyDict>>> {
    let Some(extra) = state.extra().filter(|extra| extra.has_overrides()) else { return Ok(None) };
    // SAFETY: not null, and owned by the state; a reference of our own outlasts the look-up.
    let options = unsafe { Bound::from_borrowed_ptr(py, extra.load_options) };
    Ok(Some(options.getattr(intern!(py, "overrides"))?.cast_into::<PyDict>()?))
}

/// Whether a strategy was chosen for an attribute.
pub fn has_override(py: Python<'_>, state: StateRef, attr: &AttrCore) -> bool {
    let chosen = chosen(py, state).ok().flatten();
    chosen.is_some_and(|chosen| chosen.contains(attr.key(py)).unwrap_or(false))
}
