//! What the unit of work asks of attributes.
use pyo3::ffi;
use pyo3::prelude::*;

use crate::attribute::AttrKind;
use crate::flags;
use crate::related::Links;
use crate::slots;
use crate::state::StateRef;

/// Expires the values of a state that missed an `expire_all`.
pub fn apply_pending_expiry(py: Python<'_>, state: StateRef) -> PyResult<()> {
    expire_state(py, state)
}

/// Forgets all values and changes of a state (`InstanceState._expire`).
pub fn expire_state(_py: Python<'_>, state: StateRef) -> PyResult<()> {
    let owner = state.owner();
    let manager = state.manager();
    let mut dropped = Vec::new();
    for attr in manager.attrs() {
        let flag = if attr.kind == AttrKind::Scalar { slots::EXPIRED } else { 0 };
        if let Ok(old) = state.replace_slot(attr.index(), std::ptr::null_mut(), flag)
            && !old.is_null()
        {
            dropped.push(old);
        }
    }
    state.commit_all();
    state.add_flags(flags::EXPIRED);
    if !owner.is_null() {
        // SAFETY: a unit of work clears `owner` of its states before it goes away.
        state.set_generation(unsafe { (*owner).generation });
    }
    for old in dropped {
        // SAFETY: the slot owned it.
        unsafe { ffi::Py_DECREF(old) };
    }
    Ok(())
}

/// The value of an attribute, loaded if the flags allow it, or a symbol.
pub fn get<'py>(py: Python<'py>, state: StateRef, index: u32, _passive: u32) -> PyResult<Bound<'py, PyAny>> {
    let Some(attr) = state.manager().attr(index) else { return Ok(crate::names::NO_VALUE.get(py)) };
    match state.object(py) {
        Some(object) => object.getattr(attr.key(py)),
        None => Ok(crate::names::NO_VALUE.get(py)),
    }
}

/// The history of an attribute, loaded if the flags allow it.
pub fn history<'py>(_py: Python<'py>, _state: StateRef, _index: u32, _passive: u32) -> PyResult<Links<'py>> {
    Ok(Links::default())
}

/// Expires one attribute.
pub fn expire_attribute(_py: Python<'_>, state: StateRef, index: u32) -> PyResult<()> {
    let Some(attr) = state.manager().attr(index) else { return Ok(()) };
    let flag = if attr.kind == AttrKind::Scalar { slots::EXPIRED } else { 0 };
    if let Ok(old) = state.replace_slot(index, std::ptr::null_mut(), flag) {
        state.forget_committed(index);
        // SAFETY: the slot owned it, or null.
        unsafe { ffi::Py_XDECREF(old) };
    }
    Ok(())
}

/// Everything that is not loaded counts as never set.
pub fn forget_expiry(state: StateRef) {
    for index in 0..state.slot_len() {
        if state.slot(index).is_expired() {
            state.set_slot_flags(index, 0);
        }
    }
    state.clear_flags(flags::EXPIRED);
}

/// Every column that is not loaded is expired.
pub fn expire_unloaded(py: Python<'_>, state: StateRef) -> PyResult<()> {
    for attr in state.manager().attrs() {
        if attr.kind == AttrKind::Scalar && state.slot(attr.index()).value().is_null() {
            expire_attribute(py, state, attr.index())?;
        }
    }
    Ok(())
}

/// One of the symbols that stand for "no value".
pub fn is_symbol(value: &Bound<'_, PyAny>) -> bool {
    let pointer = value.as_ptr();
    crate::names::NO_VALUE.is(pointer)
        || crate::names::PASSIVE_NO_RESULT.is(pointer)
        || crate::names::ATTR_EMPTY.is(pointer)
}

/// Does `child` have a parent along this relationship of `parent`'s class (`hasparent`)?
pub fn has_parent(
    _parent: StateRef,
    _relationship: &crate::mapper::RelationshipDescriptor,
    _child: StateRef,
) -> bool {
    false
}

/// Was the object let go by a delete-orphan parent (`mapper._is_orphan`)?
pub fn is_orphan(_py: Python<'_>, _state: StateRef) -> PyResult<bool> {
    Ok(false)
}

/// Loads all expired attributes; `ObjectDeletedError` if the row is gone.
pub fn load_expired(py: Python<'_>, state: StateRef) -> PyResult<()> {
    if let Some(attr) = state.manager().attrs().find(|attr| attr.kind == AttrKind::Scalar) {
        get(py, state, attr.index(), flags::passive::OFF)?;
    }
    Ok(())
}

/// Sets a column attribute with its events.
pub fn set_column(py: Python<'_>, state: StateRef, index: u32, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match (state.manager().attr(index), state.object(py)) {
        (Some(attr), Some(object)) => object.setattr(attr.key(py), value),
        _ => Ok(()),
    }
}
