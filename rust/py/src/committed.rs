//! Committed values and marks of expiry by name: what the live views of `inspect(obj)` read and write.
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyString, PyTuple};

use crate::attribute::{AttrCore, AttrKind};
use crate::instance_state::{InstanceState, Living, expect_state};
use crate::state::StateRef;
use crate::{collection, expiry, flags, names, slots};

fn living<'py>(state: &Bound<'py, InstanceState>) -> PyResult<Living<'py>> {
    let found = expect_state(state.as_any())?;
    expiry::apply_pending(state.py(), *found)?;
    Ok(found)
}

fn named<'py>(
    state: &Bound<'py, InstanceState>,
    key: &Bound<'py, PyString>,
) -> PyResult<(Living<'py>, &'static AttrCore)> {
    let found = living(state)?;
    let attr = found.manager().expect_attr(key)?;
    Ok((found, attr))
}

/// Relationships of an object that was wholly expired count as expired as long as they have no value; no slot says so.
fn is_expired_with_all(state: StateRef, attr: &AttrCore) -> bool {
    state.has(flags::EXPIRED_RELATED)
        && state.has_key()
        && state.slot(attr.index()).value().is_null()
        && !attr.accepts_scalar_loader.get()
}

/// Marks each relationship that was expired with all and has no value since, so that they need not be expired together.
pub fn mark_related(state: StateRef) {
    let with_all: Vec<&AttrCore> = state.manager().attrs().filter(|attr| is_expired_with_all(state, attr)).collect();
    for attr in with_all {
        state.set_slot_flags(attr.index(), state.slot(attr.index()).flags() | slots::EXPIRED);
    }
    state.clear_flags(flags::EXPIRED_RELATED);
}

/// Names of expired attributes: what the next access to one of them loads, and the relationships that were expired with all.
#[pyfunction]
#[pyo3(name = "_expired_names")]
pub fn expired_names<'py>(state: &Bound<'py, InstanceState>) -> PyResult<Bound<'py, PySet>> {
    expired_in(state.py(), *living(state)?)
}

/// As `_expired_names`.
pub fn expired_in(py: Python<'_>, state: StateRef) -> PyResult<Bound<'_, PySet>> {
    let keys = PySet::empty(py)?;
    for attr in state.manager().attrs() {
        if state.slot(attr.index()).is_expired() || is_expired_with_all(state, attr) {
            keys.add(attr.key(py))?;
        }
    }
    Ok(keys)
}

/// Marks an attribute as expired, or not, whatever its value.
#[pyfunction]
#[pyo3(name = "_mark_expired")]
pub fn mark_expired(state: &Bound<'_, InstanceState>, key: &Bound<'_, PyString>, is_expired: bool) -> PyResult<()> {
    let (state, attr) = named(state, key)?;
    if is_expired {
        state.set_slot_flags(attr.index(), state.slot(attr.index()).flags() | slots::EXPIRED);
        return Ok(());
    }
    mark_related(*state);
    state.set_slot_flags(attr.index(), state.slot(attr.index()).flags() & !slots::EXPIRED);
    Ok(())
}

/// Old values of changed attributes, of collections as lists.
#[pyfunction]
#[pyo3(name = "_committed_values")]
pub fn committed_values<'py>(state: &Bound<'py, InstanceState>) -> PyResult<Bound<'py, PyDict>> {
    old_values(state.py(), *living(state)?)
}

/// As `_committed_values`.
pub fn old_values(py: Python<'_>, state: StateRef) -> PyResult<Bound<'_, PyDict>> {
    let result = PyDict::new(py);
    for attr in state.manager().attrs() {
        let Some(old) = state.committed(attr.index()) else { continue };
        // SAFETY: owned by the state, or null.
        let old = unsafe { Bound::from_borrowed_ptr_or_opt(py, old) };
        let old = match old {
            None => names::NO_VALUE.get(py),
            Some(old) if attr.kind == AttrKind::Collection && old.is_exact_instance_of::<PyTuple>() => {
                PyList::new(py, collection::items(&old)?)?.into_any()
            }
            Some(old) => old,
        };
        result.set_item(attr.key(py), old)?;
    }
    Ok(result)
}

/// Makes an attribute count as changed from an old value.
#[pyfunction]
#[pyo3(name = "_set_committed")]
pub fn set_committed(
    state: &Bound<'_, InstanceState>,
    key: &Bound<'_, PyString>,
    old: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let (state, attr) = named(state, key)?;
    keep(*state, attr, old)
}

/// As `_set_committed`. An old value before it goes last: that may run Python code.
pub fn keep(state: StateRef, attr: &AttrCore, old: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = old.py();
    let index = attr.index();
    let old = if attr.kind == AttrKind::Collection && !names::NO_VALUE.is(old.as_ptr()) && !old.is_none() {
        let members = old.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        PyTuple::new(py, members)?.into_any()
    } else {
        old.clone()
    };
    let before = state.take_committed(index);
    state.set_slot_flags(index, state.slot(index).flags() | slots::MODIFIED);
    if !names::NO_VALUE.is(old.as_ptr()) {
        state.keep_committed(index, old.into_ptr());
    }
    release(py, before);
    Ok(())
}

/// Makes an attribute count as unchanged.
#[pyfunction]
#[pyo3(name = "_forget_committed")]
pub fn forget_committed(state: &Bound<'_, InstanceState>, key: &Bound<'_, PyString>) -> PyResult<()> {
    let py = state.py();
    let (state, attr) = named(state, key)?;
    forget(py, *state, attr);
    Ok(())
}

/// As `_forget_committed`.
pub fn forget(py: Python<'_>, state: StateRef, attr: &AttrCore) {
    let index = attr.index();
    let before = state.take_committed(index);
    state.set_slot_flags(index, state.slot(index).flags() & !slots::MODIFIED);
    release(py, before);
}

fn release(py: Python<'_>, value: *mut ffi::PyObject) {
    // SAFETY: the state has handed its reference over, or there is none.
    drop(unsafe { Bound::from_owned_ptr_or_opt(py, value) });
}
