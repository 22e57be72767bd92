//! What the unit of work asks of attributes.
use pyo3::prelude::*;

use crate::attribute::{self, AttrKind};
use crate::expiry;
use crate::flags::{self, passive};
use crate::history;
use crate::related::Links;
use crate::relationship;
use crate::state::StateRef;

/// Expires the values of a state that missed an `expire_all`.
pub fn apply_pending_expiry(py: Python<'_>, state: StateRef) -> PyResult<()> {
    expiry::apply_pending(py, state)
}

/// Forgets all values and changes of a state (`InstanceState._expire`).
pub fn expire_state(py: Python<'_>, state: StateRef) -> PyResult<()> {
    let owner = state.owner();
    if !owner.is_null() {
        // SAFETY: a unit of work clears `owner` of its states before it goes away.
        state.set_generation(unsafe { (*owner).generation });
    }
    expiry::expire(py, state)
}

/// The value of an attribute, loaded if the flags allow it, or a symbol.
pub fn get<'py>(py: Python<'py>, state: StateRef, index: u32, passive: u32) -> PyResult<Bound<'py, PyAny>> {
    match state.manager().attr(index) {
        Some(attr) => attribute::get(py, state, attr, passive),
        None => Ok(crate::names::NO_VALUE.get(py)),
    }
}

/// The history of an attribute, loaded if the flags allow it.
pub fn history<'py>(py: Python<'py>, state: StateRef, index: u32, passive: u32) -> PyResult<Links<'py>> {
    let Some(attr) = state.manager().attr(index) else { return Ok(Links::default()) };
    let history = history::of(py, state, attr, passive)?;
    Ok(Links { added: history.added, unchanged: history.unchanged, deleted: history.deleted })
}

/// Expires one attribute.
pub fn expire_attribute(py: Python<'_>, state: StateRef, index: u32) -> PyResult<()> {
    match state.manager().attr(index) {
        Some(attr) => expiry::expire_attribute(py, state, attr, false),
        None => Ok(()),
    }
}

/// Everything that is not loaded counts as never set.
pub fn forget_expiry(state: StateRef) {
    expiry::clear_expired_flags(state);
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
    attribute::is_no_state(value.as_ptr()) || crate::names::ATTR_EMPTY.is(value.as_ptr())
}

/// Does `child` have a parent along this relationship of `parent`'s class (`hasparent`)?
pub fn has_parent(parent: StateRef, relationship: &crate::mapper::RelationshipDescriptor, child: StateRef) -> bool {
    parent
        .manager()
        .attr(relationship.attr)
        .is_some_and(|attr| relationship::has_parent(child, attr.token.get(), false))
}

/// Was the object let go by a delete-orphan parent (`mapper._is_orphan`)?
pub fn is_orphan(py: Python<'_>, state: StateRef) -> PyResult<bool> {
    match state.manager().mapper(py) {
        Some(mapper) => mapper.call_method1("_is_orphan", (state.view(py)?,))?.is_truthy(),
        None => Ok(false),
    }
}

/// Loads all expired attributes; `ObjectDeletedError` if the row is gone.
pub fn load_expired(py: Python<'_>, state: StateRef) -> PyResult<()> {
    expiry::apply_pending(py, state)?;
    if state.has(flags::EXPIRED) {
        expiry::load_expired(py, state, passive::OFF)?;
    }
    Ok(())
}

/// Sets a column attribute with its events.
pub fn set_column(py: Python<'_>, state: StateRef, index: u32, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match state.manager().attr(index) {
        Some(attr) => attribute::set(py, state, attr, value, None),
        None => Ok(()),
    }
}
