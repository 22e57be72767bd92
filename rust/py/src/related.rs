//! What stands in a relationship attribute: now, before, and what changed. Used by cascades and by the flush.
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyTuple};

use crate::bridge as attribute;
use crate::errors;
use crate::flags::passive;
use crate::held::Held;
use crate::history::{self, History};
use crate::list;
use crate::mapper::RelationshipDescriptor;
use crate::names;
use crate::state::{StateRef, inline_state_of, state_of};

/// A flag of ours beside SQLAlchemy's passive flags: not even an old value that was not at hand may be looked up.
pub const UNRESOLVED: u32 = 1 << 20;

/// The state and object of a member; `None` for `None`.
pub fn held(py: Python<'_>, member: &Bound<'_, PyAny>) -> PyResult<Option<Held>> {
    if member.is_none() {
        return Ok(None);
    }
    let state = state_of(member).ok_or_else(|| errors::unmapped_instance(py, member))?;
    Ok(Held::new(state))
}

/// The members of a collection object, in its order.
pub fn members<'py>(py: Python<'py>, collection: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if let Ok(list) = collection.cast::<PyList>() {
        return Ok(list.iter().collect());
    }
    if let Ok(tuple) = collection.cast::<PyTuple>() {
        return Ok(tuple.iter().collect());
    }
    if let Ok(set) = collection.cast_exact::<PySet>() {
        return Ok(set.iter().collect());
    }
    if let Some(adapter) = collection.getattr_opt(names::sa_adapter(py))?
        && !adapter.is_none()
    {
        return adapter.try_iter()?.collect();
    }
    if let Ok(dict) = collection.cast::<PyDict>() {
        return Ok(dict.values().iter().collect());
    }
    collection.try_iter()?.collect()
}

fn is_value(object: *mut ffi::PyObject) -> bool {
    !object.is_null()
        && !names::NO_VALUE.is(object)
        && !names::PASSIVE_NO_RESULT.is(object)
        && !names::ATTR_EMPTY.is(object)
}

fn is_empty_tuple(object: *mut ffi::PyObject) -> bool {
    // SAFETY: a living object.
    unsafe { ffi::PyTuple_CheckExact(object) != 0 && ffi::PyTuple_GET_SIZE(object) == 0 }
}

/// The value in the slot, without loading anything.
fn loaded<'py>(py: Python<'py>, state: StateRef, index: u32) -> Option<Bound<'py, PyAny>> {
    if state.is_outdated() {
        return None;
    }
    // SAFETY: the slot owns its value or is empty.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, state.slot(index).value()) }
}

/// The value, loaded if the passive flags allow it.
fn value<'py>(py: Python<'py>, state: StateRef, index: u32, flags: u32) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Some(value) = loaded(py, state, index) {
        return Ok(Some(value));
    }
    if flags & passive::CALLABLES_OK == 0 {
        return Ok(None);
    }
    let value = attribute::get(py, state, index, flags)?;
    Ok(Some(value).filter(|value| is_value(value.as_ptr())))
}

/// The current members (`_value_as_iterable`).
pub fn current<'py>(
    py: Python<'py>,
    state: StateRef,
    relationship: &RelationshipDescriptor,
    flags: u32,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if attribute::is_write_only(state, relationship.attr) {
        return attribute::write_only_members(py, state, relationship.attr, flags);
    }
    match value(py, state, relationship.attr, flags)? {
        Some(value) if relationship.uselist => members(py, &value),
        Some(value) if !value.is_none() => Ok(vec![value]),
        _ => Ok(Vec::new()),
    }
}

/// Is every member, now and before, one that `is_known` accepts? False where that would take more than looking at a list.
pub fn is_known_throughout(
    state: StateRef,
    relationship: &RelationshipDescriptor,
    is_known: impl Fn(StateRef) -> bool,
) -> bool {
    let index = relationship.attr;
    let value = state.slot(index).value();
    if value.is_null() || state.is_outdated() || attribute::is_write_only(state, index) {
        return false;
    }
    let had_members = state.committed(index).is_some_and(|original| is_value(original) && !is_empty_tuple(original));
    // SAFETY: living objects: the slot owns the value, that its members; nothing runs that could change them.
    let is_passed = |&member: &*mut ffi::PyObject| unsafe {
        member == ffi::Py_None() || inline_state_of(member).is_some_and(&is_known)
    };
    if had_members {
        return false;
    }
    if !relationship.uselist {
        return is_passed(&value);
    }
    // SAFETY: as above.
    unsafe { list::members_of(value) }.is_some_and(|members| members.iter().all(is_passed))
}

/// Members now and members that were replaced (`get_all_pending`); loaded if the passive flags allow it.
pub fn all_pending<'py>(
    py: Python<'py>,
    state: StateRef,
    relationship: &RelationshipDescriptor,
    flags: u32,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if attribute::is_write_only(state, relationship.attr) {
        let links = attribute::history(py, state, relationship.attr, passive::NO_INITIALIZE)?;
        return Ok(links.added.into_iter().chain(links.deleted).collect());
    }
    let Some(current) = value(py, state, relationship.attr, flags)? else { return Ok(Vec::new()) };
    // SAFETY: the committed value is owned by the state, or null.
    let original = state
        .committed(relationship.attr)
        .filter(|&original| is_value(original))
        .map(|original| unsafe { Bound::from_borrowed_ptr(py, original) });
    if !relationship.uselist {
        let mut found = vec![current.clone()];
        found.extend(original.filter(|original| !original.is_none() && !original.is(&current)));
        return Ok(found);
    }
    let current = members(py, &current)?;
    let original = original.map_or(Ok(Vec::new()), |original| members(py, &original))?;
    if original.is_empty() {
        return Ok(current);
    }
    let links = history::of_members(current, original);
    Ok(links.added.into_iter().chain(links.unchanged).chain(links.deleted).collect())
}

/// The history of a relationship attribute against its committed value.
pub fn links<'py>(
    py: Python<'py>,
    state: StateRef,
    relationship: &RelationshipDescriptor,
    flags: u32,
) -> PyResult<History<'py>> {
    let index = relationship.attr;
    let current = if attribute::is_write_only(state, index) { None } else { loaded(py, state, index) };
    let Some(current) = current else {
        let may_load = flags & passive::CALLABLES_OK != 0 && (state.has_key() || state.slot(index).is_modified());
        let has_queue = state.rare().is_some_and(|rare| rare.pending.iter().any(|(at, _)| *at == index));
        if !may_load && !has_queue && !state.slot(index).is_modified() {
            return Ok(History::default());
        }
        if flags & UNRESOLVED == 0 && state.slot(index).is_modified() {
            resolve_original(py, state, index, flags)?; // of a scalar that was deleted
        }
        return attribute::history(py, state, index, flags | passive::LOAD_AGAINST_COMMITTED | passive::NO_RAISE);
    };
    if !state.slot(index).is_modified() {
        let unchanged = if relationship.uselist { members(py, &current)? } else { vec![current] };
        return Ok(History { unchanged, ..History::default() });
    }
    if flags & UNRESOLVED == 0 {
        resolve_original(py, state, index, flags)?;
    }
    // SAFETY: the committed value is owned by the state, or null.
    let original = state
        .committed(index)
        .filter(|&original| is_value(original))
        .map(|original| unsafe { Bound::from_borrowed_ptr(py, original) });
    if relationship.uselist {
        let current = members(py, &current)?;
        return Ok(match original {
            Some(original) if !original.is_none() => history::of_members(current, members(py, &original)?),
            _ => History { added: current, ..History::default() },
        });
    }
    let mut links = History::default();
    match original {
        Some(original) if original.is(&current) => links.unchanged.push(current),
        Some(original) => {
            if !original.is_none() {
                links.deleted.push(original);
            }
            links.added.push(current);
        }
        None => links.added.push(current),
    }
    Ok(links)
}

/// The old value of a simple many-to-one (or one-to-one) may not have been at hand when it was replaced. Looked up here, it
/// takes its place among the committed values, so that it is looked up once, and held.
fn resolve_original(py: Python<'_>, state: StateRef, index: u32, flags: u32) -> PyResult<()> {
    if !state.committed(index).is_some_and(|original| names::PASSIVE_NO_RESULT.is(original)) {
        return Ok(());
    }
    let history = attribute::history(py, state, index, flags | passive::LOAD_AGAINST_COMMITTED | passive::NO_RAISE)?;
    // Nothing deleted: there was nothing (no committed value then), or the new value is the old one.
    let original = history.deleted.into_iter().chain(history.unchanged).next();
    if state.slot(index).is_modified() {
        state.forget_committed(index);
        // One that is deleted has nothing else to say that it was looked up.
        let is_deleted = state.slot(index).value().is_null();
        if let Some(original) = original.or_else(|| is_deleted.then(|| py.None().into_bound(py))) {
            state.keep_committed(index, original.into_ptr());
        }
    }
    Ok(())
}

/// Is there surely nothing to do: value unchanged (or never set), and nothing queued?
pub fn is_untouched(state: StateRef, relationship: &RelationshipDescriptor) -> bool {
    !state.slot(relationship.attr).is_modified()
        && state.rare().is_none_or(|rare| rare.pending.iter().all(|(at, _)| *at != relationship.attr))
}

/// Is the attribute's history not empty? As `links`, but in the common cases without building it.
pub fn has_history(
    py: Python<'_>,
    state: StateRef,
    relationship: &RelationshipDescriptor,
    flags: u32,
) -> PyResult<bool> {
    if attribute::is_write_only(state, relationship.attr) {
        return Ok(!links(py, state, relationship, flags)?.is_empty());
    }
    match loaded(py, state, relationship.attr) {
        Some(_) if !relationship.uselist => Ok(true),
        Some(value) if !state.slot(relationship.attr).is_modified() => match value.cast::<PyList>() {
            Ok(list) => Ok(!list.is_empty()),
            Err(_) => Ok(!members(py, &value)?.is_empty()),
        },
        _ => Ok(!links(py, state, relationship, flags)?.is_empty()),
    }
}
