//! What the unit of work asks of attributes, in its own terms: states and attribute numbers in, errors out.
use pyo3::prelude::*;

use crate::attribute::{self, AttrCore, AttrKind};
use crate::expiry;
use crate::flags;
use crate::history::{self, History};
use crate::mapper::RelationshipDescriptor;
use crate::names;
use crate::state::{Parent, StateRef};
use crate::{relationship, write_only};

fn attr_of(state: StateRef, index: u32) -> Option<&'static AttrCore> {
    state.manager().attr(index)
}

/// Expires the values of a state that missed an `expire_all`.
pub fn apply_pending_expiry(py: Python<'_>, state: StateRef) -> PyResult<()> {
    expiry::apply_pending(py, state)
}

/// Forgets all values and changes of a state (`InstanceState._expire`).
pub fn expire_state(py: Python<'_>, state: StateRef) -> PyResult<()> {
    state.mark_current();
    expiry::expire(py, state)
}

/// Expires one attribute.
pub fn expire_attribute(py: Python<'_>, state: StateRef, index: u32) -> PyResult<()> {
    match attr_of(state, index) {
        Some(attr) => expiry::expire_attribute(py, state, attr, false),
        None => Ok(()),
    }
}

/// Everything that is not loaded counts as never set.
pub fn forget_expiry(state: StateRef) {
    expiry::clear_expired_flags(state);
}

/// Every column that is not loaded is expired.
pub fn expire_unloaded(py: Python<'_>, state: StateRef) -> PyResult<()> {
    for attr in state.manager().attrs() {
        if attr.kind == AttrKind::Scalar && state.slot(attr.index()).value().is_null() {
            expiry::expire_attribute(py, state, attr, false)?;
        }
    }
    Ok(())
}

/// Loads all expired attributes; `ObjectDeletedError` if the row is gone.
pub fn load_expired(py: Python<'_>, state: StateRef) -> PyResult<()> {
    expiry::apply_pending(py, state)?;
    expiry::load_expired(py, state, flags::passive::OFF)?;
    Ok(())
}

/// The value of an attribute, loaded if the flags allow it, or a symbol.
pub fn get<'py>(py: Python<'py>, state: StateRef, index: u32, passive: u32) -> PyResult<Bound<'py, PyAny>> {
    expiry::apply_pending(py, state)?;
    match attr_of(state, index) {
        Some(attr) => attribute::get(py, state, attr, passive),
        None => Ok(names::NO_VALUE.get(py)),
    }
}

/// The history of an attribute, loaded if the flags allow it.
pub fn history<'py>(py: Python<'py>, state: StateRef, index: u32, passive: u32) -> PyResult<History<'py>> {
    match attr_of(state, index) {
        Some(attr) => history::of(py, state, attr, passive),
        None => Ok(History::default()),
    }
}

/// Is the attribute a collection that is never loaded?
pub fn is_write_only(state: StateRef, index: u32) -> bool {
    attr_of(state, index).is_some_and(|attr| attr.write_only.get())
}

/// The members of such a collection as cascades see them: recorded ones, with the rows' objects if the flags ask for them.
pub fn write_only_members<'py>(
    py: Python<'py>,
    state: StateRef,
    index: u32,
    passive: u32,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    match attr_of(state, index) {
        Some(attr) => Ok(write_only::known(py, state, attr, passive)?.members()),
        None => Ok(Vec::new()),
    }
}

/// Sets a column attribute with its events.
pub fn set_column(py: Python<'_>, state: StateRef, index: u32, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match attr_of(state, index) {
        Some(attr) => attribute::set(py, state, attr, value, None),
        None => Ok(()),
    }
}

/// One of the symbols that stand for "no value".
pub fn is_symbol(value: &Bound<'_, PyAny>) -> bool {
    let pointer = value.as_ptr();
    names::NO_VALUE.is(pointer) || names::PASSIVE_NO_RESULT.is(pointer) || names::ATTR_EMPTY.is(pointer)
}

/// Does `child` have a parent along this relationship of `parent`'s class (`hasparent`)?
pub fn has_parent(parent: StateRef, relationship: &RelationshipDescriptor, child: StateRef) -> bool {
    attr_of(parent, relationship.attr).is_some_and(|attr| relationship::has_parent(child, attr.token.get(), false))
}

/// Was the object let go by a delete-orphan parent (`mapper._is_orphan`)?
pub fn is_orphan(py: Python<'_>, state: StateRef) -> bool {
    let was_let_go = state.has(flags::ORPHANED_OUTSIDE)
        || state.extra().is_some_and(|extra| extra.parents.iter().any(|(_, parent)| matches!(parent, Parent::Gone)));
    was_let_go && state.manager().is_orphan(py, state)
}
