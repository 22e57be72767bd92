//! Identity keys of states as Python sees them: `(base class, primary key tuple, identity token)`.
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::manager::ManagerCore;
use crate::state::StateRef;

/// The identity key of a state.
pub fn of(py: Python<'_>, state: StateRef) -> PyResult<Bound<'_, PyTuple>> {
    let base = match state.manager().descriptor() {
        Some(descriptor) => ManagerCore::of(descriptor.identity.bind(py)).class(py)?,
        None => state.manager().class(py)?,
    };
    // SAFETY: owned by the state, or null.
    let token = unsafe { Bound::from_borrowed_ptr_or_opt(py, state.identity_token()) };
    (base, primary_key(py, state)?, token).into_pyobject(py)
}

/// The primary key as a tuple; nothing without identity.
pub fn primary_key(py: Python<'_>, state: StateRef) -> PyResult<Option<Bound<'_, PyTuple>>> {
    // SAFETY: owned by the state, or null.
    let Some(key) = (unsafe { Bound::from_borrowed_ptr_or_opt(py, state.key()) }) else { return Ok(None) };
    let is_composite = state
        .manager()
        .descriptor()
        .map_or(key.is_instance_of::<PyTuple>(), |descriptor| descriptor.primary_key.len() > 1);
    Ok(Some(if is_composite { key.cast_into::<PyTuple>()? } else { PyTuple::new(py, [key])? }))
}

/// Gives a state an identity key of the form (class, primary key, token).
pub fn set(state: StateRef, key: Option<Bound<'_, PyTuple>>) -> PyResult<()> {
    let Some(key) = key else {
        state.set_key(std::ptr::null_mut());
        return Ok(());
    };
    if key.len() < 3 {
        // not a key SQLAlchemy would make; it still means "has an identity"
        state.track(key.as_ptr());
        state.set_key(key.into_ptr());
        return Ok(());
    }
    let identity = key.get_item(1)?.cast_into::<PyTuple>()?;
    let value = if identity.len() == 1 { identity.get_item(0)? } else { identity.into_any() };
    state.track(value.as_ptr());
    state.set_key(value.into_ptr());
    state.put_rare(Some(key.get_item(2)?), |rare| &mut rare.identity_token);
    Ok(())
}
