//! Expiry: forgetting values of one state, wholly or by attribute, and loading them again.
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::exceptions::PyKeyError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use smallvec::SmallVec;

use crate::attribute::{AttrCore, AttrKind};
use crate::flags;
use crate::instance_state::dict_of;
use crate::listeners::Heard;
use crate::manager::manager_object;
use crate::mapper::InstanceEvent;
use crate::slots;
use crate::state::StateRef;
use crate::unit_of_work_core::UowRef;
use crate::{collection, committed, hooks, names, overrides, prepared};

/// Expires a persistent state that its session expired by generation. Cheap when there is nothing to do.
#[inline]
pub fn apply_pending(py: Python<'_>, state: StateRef) -> PyResult<()> {
    if state.is_outdated() { apply_generation(py, state) } else { Ok(()) }
}

#[cold]
fn apply_generation(py: Python<'_>, state: StateRef) -> PyResult<()> {
    state.mark_current();
    if state.has_key() && !state.has(flags::DELETED) {
        expire(py, state)?;
    }
    Ok(())
}

/// `InstanceState._expire`: all mapped values are forgotten, column attributes are marked to be loaded again.
/// The caller takes the state out of `dirty` first.
pub fn expire(py: Python<'_>, state: StateRef) -> PyResult<()> {
    state.add_flags(flags::EXPIRED | flags::EXPIRED_RELATED);
    state.clear_flags(flags::MODIFIED);
    let mut dropped = Vec::new();
    let mut parents = SmallVec::new();
    if let Some(extra) = state.extra_opt_mut() {
        dropped.extend(std::mem::take(&mut extra.committed).into_iter().map(|(_, value)| value));
        let pending = extra.rare.as_mut().map(|rare| std::mem::take(&mut rare.pending)).unwrap_or_default();
        for (_, pending) in pending {
            dropped.extend(pending.added);
            dropped.extend(pending.removed);
        }
        parents = std::mem::take(&mut extra.parents);
    }
    let manager = state.manager();
    let mut invalidated = Vec::new();
    for attr in manager.attrs() {
        let index = attr.index();
        let expired = if attr.accepts_scalar_loader.get() { slots::EXPIRED } else { 0 };
        if expired == 0 && index >= state.slot_len() {
            continue;
        }
        if let Ok(old) = state.replace_slot(index, std::ptr::null_mut(), expired)
            && !old.is_null()
        {
            remember_last_known(state, index, old);
            if attr.kind == AttrKind::Collection {
                invalidated.push(old);
            } else {
                dropped.push(old);
            }
        }
    }
    let forgotten = forget_expired_callables(py, state).and_then(|()| forget_choices(py, state));
    let mut result = Ok(());
    for collection in invalidated {
        // SAFETY: the slot owned it.
        let collection = unsafe { Bound::from_owned_ptr(py, collection) };
        result = result.and(collection::invalidate(&collection));
    }
    for value in dropped {
        // SAFETY: all of these were owned by the state.
        unsafe { ffi::Py_DECREF(value) }
    }
    drop(parents);
    result.and(forgotten).and_then(|()| fire(py, state, None))
}

/// Set for good once a mapper with listeners of the expire event was described.
static HEARD: AtomicBool = AtomicBool::new(false);

/// Takes note of a mapper's `instance_events`.
pub fn note_events(instance_events: &Heard) {
    if instance_events.listens(InstanceEvent::Expire as usize) {
        HEARD.store(true, Ordering::Relaxed);
    }
}

/// Does anybody listen to the expire event of this state's class? Then expiry cannot wait for the next access.
pub fn is_heard(state: StateRef) -> bool {
    state.manager().descriptor().is_some_and(|mapper| mapper.instance_events.listens(InstanceEvent::Expire as usize))
}

/// Does anybody listen to an expire event at all?
pub fn anyone_hears() -> bool {
    HEARD.load(Ordering::Relaxed)
}

/// Tells the listeners that attributes, or with `None` all of them, were expired.
pub fn fire(py: Python<'_>, state: StateRef, names: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    if !anyone_hears() || !is_heard(state) {
        return Ok(());
    }
    let names = names.map_or_else(|| py.None().into_bound(py), Clone::clone);
    InstanceEvent::Expire.fire(py, state, &[names])
}

/// `InstanceState._expire_attributes`: some attributes are forgotten together with their pending changes.
pub fn expire_attribute(py: Python<'_>, state: StateRef, attr: &'static AttrCore, no_loader: bool) -> PyResult<()> {
    let index = attr.index();
    let flag;
    if attr.accepts_scalar_loader.get() {
        let has_own = || has_callable(py, state, attr) || overrides::has_override(py, state, attr);
        if no_loader && (crate::attribute::is_loaded_by_class(attr) || has_own()) {
            return Ok(());
        }
        flag = slots::EXPIRED;
        forget_callable(py, state, attr)?;
    } else {
        if state.has(flags::EXPIRED_RELATED) {
            // This one may have been loaded since.
            committed::mark_related(state);
        }
        flag = state.slot(index).flags() & slots::EXPIRED;
    }
    let old = state.replace_slot(index, std::ptr::null_mut(), flag).unwrap_or(std::ptr::null_mut());
    if !old.is_null() {
        remember_last_known(state, index, old);
    }
    // SAFETY: the slot owned it.
    let old = unsafe { Bound::from_owned_ptr_or_opt(py, old) };
    if let (Some(old), AttrKind::Collection) = (&old, attr.kind) {
        collection::invalidate(old)?;
    }
    state.forget_committed(index);
    collection::drop_pending(state, index);
    Ok(())
}

/// As `expire_attribute`, by name. Of a synonym or a composite there is nothing but what the object's dictionary has.
pub fn expire_named(py: Python<'_>, state: StateRef, name: &Bound<'_, PyString>, no_loader: bool) -> PyResult<()> {
    if let Some(attr) = state.manager().attr_by_key(name) {
        return expire_attribute(py, state, attr, no_loader);
    }
    if !manager_object(py, state).contains(name)? {
        return Err(PyKeyError::new_err(name.clone().unbind()));
    }
    dict_of(py, state)?.call_method1("pop", (name, py.None()))?;
    Ok(())
}

/// Loads what is expired; then nothing is expired any more. Returns `ATTR_WAS_SET`.
pub fn load_expired(py: Python<'_>, state: StateRef, passive: u32) -> PyResult<Bound<'_, PyAny>> {
    let waits_for_peers = state.has(flags::EXPIRED)
        && !state.owner().is_null()
        // SAFETY: an owner outlives its states' pointers to it.
        && unsafe { UowRef::from_ptr(state.owner()) }.core().refreshes_peers;
    if !waits_for_peers && prepared::refresh(py, state, passive)? {
        state.clear_flags(flags::EXPIRED);
        clear_expired_flags(state);
        return Ok(names::ATTR_WAS_SET.get(py));
    }
    hooks::hook(py, "load_expired")?.call1((state.view(py)?, passive))?;
    clear_expired_flags(state);
    Ok(names::ATTR_WAS_SET.get(py))
}

/// `expired_attributes.clear()`.
pub fn clear_expired_flags(state: StateRef) {
    state.clear_flags(flags::EXPIRED_RELATED);
    for index in 0..state.slot_len() {
        let slot = state.slot(index);
        if slot.is_expired() {
            state.set_slot_flags(index, slot.flags() & !slots::EXPIRED);
        }
    }
}

fn has_callable(py: Python<'_>, state: StateRef, attr: &AttrCore) -> bool {
    state.rare().is_some_and(|rare| {
        // SAFETY: `callables` is null or a dict owned by the state.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, rare.callables) }
            .is_some_and(|callables| callables.contains(attr.key(py)).unwrap_or(false))
    })
}

/// Takes the per-state loader of an attribute away.
pub fn forget_callable(py: Python<'_>, state: StateRef, attr: &AttrCore) -> PyResult<()> {
    if has_callable(py, state, attr)
        && let Some(rare) = state.rare()
    {
        // SAFETY: as in `has_callable`.
        unsafe { Bound::from_borrowed_ptr(py, rare.callables) }.del_item(attr.key(py))?;
    }
    Ok(())
}

/// After a full expiry, per-state loaders of column attributes are gone.
fn forget_expired_callables(py: Python<'_>, state: StateRef) -> PyResult<()> {
    if state.rare().is_none_or(|rare| rare.callables.is_null()) {
        return Ok(());
    }
    for attr in state.manager().attrs() {
        if attr.accepts_scalar_loader.get() {
            forget_callable(py, state, attr)?;
        }
    }
    Ok(())
}

/// After a full expiry, what options chose for single attributes has ended; the options themselves stay.
fn forget_choices(py: Python<'_>, state: StateRef) -> PyResult<()> {
    let Some(extra) = state.extra().filter(|extra| extra.has_overrides()) else { return Ok(()) };
    // SAFETY: not null, and owned by the state; a reference of our own outlasts the allocation.
    let options = unsafe { Bound::from_borrowed_ptr(py, extra.load_options) }.cast_into::<PyTuple>()?;
    let plain = options.get_slice(0, options.len()).into_any();
    state.put_extra(Some(plain), |extra| &mut extra.load_options);
    Ok(())
}

fn remember_last_known(state: StateRef, index: u32, value: *mut ffi::PyObject) {
    let Some(rare) = state.rare_opt_mut() else { return };
    if let Some(entry) = rare.last_known.iter_mut().find(|(at, _)| *at == index) {
        // SAFETY: `value` is alive; the entry owns its content. `NO_VALUE` never reaches a count of zero.
        unsafe {
            ffi::Py_INCREF(value);
            let old = std::mem::replace(&mut entry.1, value);
            ffi::Py_DECREF(old);
        }
    }
}

/// A change makes the last known value of an attribute meaningless.
#[inline]
pub fn forget_last_known(state: StateRef, index: u32) {
    if state.rare().is_some_and(|rare| !rare.last_known.is_empty()) {
        remember_last_known(state, index, names::NO_VALUE.as_ptr());
    }
}
