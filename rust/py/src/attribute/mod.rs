//! Access to attribute values of every kind: reading with the loaders in charge, setting and deleting with all events.
//!
//! What an attribute is stands in `core`, its events in `events`, how a change is recorded in `change`.
mod change;
mod core;
mod events;

use pyo3::exceptions::{PyAttributeError, PyKeyError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::flags::{self, passive};
use crate::names;
use crate::state::{StateExtra, StateRef};
use crate::{collection, expiry, prepared, scalar_object, write_only};

pub use self::change::{
    dereferenced, dereferenced_class, is_read_only, mark_modified, modified_event, refused, store, take,
};
pub use self::core::{AttrCore, AttrKind};
pub use self::events::{AttrEvent, Initiator, Op, fire};

/// Is this one of the symbols that stand for "no value known"?
#[inline]
pub fn is_no_state(value: *mut ffi::PyObject) -> bool {
    names::NO_VALUE.is(value) || names::PASSIVE_NO_RESULT.is(value)
}

/// Reads an attribute. May return `NO_VALUE` or `PASSIVE_NO_RESULT`, depending on `passive`.
pub fn get<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    passive: u32,
) -> PyResult<Bound<'py, PyAny>> {
    expiry::apply_pending(py, state)?;
    if attr.write_only.get() {
        return write_only::read(py, state, attr, passive);
    }
    let index = attr.index();
    let value = state.slot(index).value();
    if !value.is_null() {
        // SAFETY: owned by the slot.
        return Ok(unsafe { Bound::from_borrowed_ptr(py, value) });
    }
    // A change with a known old value is in memory: nothing to load.
    let has_history = state.committed(index).is_some_and(|old| !old.is_null());
    if !has_history {
        if passive & passive::CALLABLES_OK == 0 {
            return Ok(names::PASSIVE_NO_RESULT.get(py));
        }
        let value = fire_loader_callables(py, state, attr, passive)?;
        let pointer = value.as_ptr();
        if is_no_state(pointer) {
            return Ok(value);
        }
        if names::ATTR_WAS_SET.is(pointer) {
            let value = state.slot(index).value();
            if value.is_null() {
                return Err(PyKeyError::new_err(format!(
                    "Deferred loader for attribute '{}' failed to populate correctly",
                    attr.key(py)
                )));
            }
            // SAFETY: owned by the slot.
            return Ok(unsafe { Bound::from_borrowed_ptr(py, value) });
        }
        if !names::ATTR_EMPTY.is(pointer) {
            return set_committed_value(py, state, attr, &value);
        }
    }
    if passive & passive::INIT_OK == 0 {
        return Ok(names::NO_VALUE.get(py));
    }
    default_value(py, state, attr)
}

/// Runs the loader that is in charge: expired row, per-state callable, or the attribute's own.
pub fn fire_loader_callables<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    passive: u32,
) -> PyResult<Bound<'py, PyAny>> {
    if attr.accepts_scalar_loader.get() && attr.load_on_unexpire.get() && state.slot(attr.index()).is_expired() {
        if passive & passive::SQL_OK == 0 {
            return Ok(names::PASSIVE_NO_RESULT.get(py));
        }
        return expiry::load_expired(py, state, passive).map_err(|error| name_the_access(py, state, attr, error));
    }
    if let Some(rare) = state.rare()
        && !rare.callables.is_null()
    {
        // SAFETY: `callables` is a dict owned by the state.
        let callables = unsafe { Bound::from_borrowed_ptr(py, rare.callables) };
        if let Ok(callable) = callables.get_item(attr.key(py)) {
            return callable.call1((state.view(py)?, passive));
        }
    }
    if attr.has_relationship.get() {
        let may_load = attr.load_on_pending.get() || state.has(flags::LOAD_PENDING);
        if !(state.has_key() || (may_load && state.is_attached())) {
            return Ok(names::ATTR_EMPTY.get(py)); // what the lazy loader says of objects without a row
        }
        if attr.kind == AttrKind::Collection && passive & passive::SQL_OK == 0 && attr.loader.borrow().is_some() {
            return Ok(names::PASSIVE_NO_RESULT.get(py)); // a collection cannot come from the identity map
        }
    }
    if !has_loader(state, attr) {
        return Ok(names::ATTR_EMPTY.get(py));
    }
    if passive != passive::OFF
        && let Some(related) = prepared::known(py, state, attr, passive)?
    {
        return Ok(related);
    }
    let loader = attr.loader.borrow().as_ref().map(|loader| loader.clone_ref(py));
    match loader {
        Some(loader) => loader.bind(py).call1((state.view(py)?, passive)),
        None => Ok(names::ATTR_EMPTY.get(py)),
    }
}

/// Is there a class-level loader that has something for objects that were loaded without options?
pub fn is_loaded_by_class(attr: &AttrCore) -> bool {
    attr.loader.borrow().is_some() && !attr.loader_needs_options.get()
}

/// Is there a class-level loader that may have something for this state?
pub fn has_loader(state: StateRef, attr: &AttrCore) -> bool {
    attr.loader.borrow().is_some()
        && !(attr.loader_needs_options.get() && state.extra().is_none_or(StateExtra::has_no_load_options))
}

/// The value of an attribute that was never set: not stored.
fn default_value<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore) -> PyResult<Bound<'py, PyAny>> {
    if attr.kind == AttrKind::Collection {
        return collection::empty_collection(py, state, attr);
    }
    let default = attr.default.borrow().as_ref().map_or_else(|| py.None(), |value| value.clone_ref(py)).into_bound(py);
    if attr.listens(AttrEvent::InitScalar) {
        let dict = crate::instance_state::dict_of(py, state)?;
        return fire(py, AttrEvent::InitScalar, attr, state, [default, dict]);
    }
    Ok(default)
}

/// Stores a value as loaded: no history, no events.
pub fn set_committed_value<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    if attr.kind == AttrKind::Collection {
        return collection::set_committed(py, state, attr, value);
    }
    state.set_committed(attr.index(), value.clone().into_ptr())?;
    expiry::forget_callable(py, state, attr)?;
    state.clear_flags(flags::EXPIRED);
    Ok(value.clone())
}

/// An expired value of a detached object was asked for: say which.
#[cold]
fn name_the_access(py: Python<'_>, state: StateRef, attr: &AttrCore, error: PyErr) -> PyErr {
    if state.owner().is_null()
        && let Ok(hook) = crate::hooks::hook(py, "name_the_access")
        && let Err(error) = hook.call1((error.value(py), attr.key(py)))
    {
        return error;
    }
    error
}

/// Sets an attribute with all its events.
pub fn set<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
) -> PyResult<()> {
    match attr.kind {
        AttrKind::Scalar => set_scalar(py, state, attr, value, initiator),
        AttrKind::Object => scalar_object::set(py, state, attr, value, initiator, passive::OFF, None, false),
        AttrKind::Collection => collection::set(py, state, attr, value, passive::OFF, true),
    }
}

fn set_scalar<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
) -> PyResult<()> {
    if names::DONT_SET.is(value.as_ptr()) {
        return Ok(());
    }
    expiry::apply_pending(py, state)?;
    let old = old_scalar(py, state, attr)?;
    let mut value = value.clone();
    if attr.listens(AttrEvent::Set) {
        let token = crate::token::of(py, initiator.unwrap_or(Initiator { attr, op: Op::Replace }))?;
        value = fire(py, AttrEvent::Set, attr, state, [value, old.clone(), token])?;
    }
    modified_event(py, state, attr, old.as_ptr())?;
    store(state, attr, value)
}

fn old_scalar<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore) -> PyResult<Bound<'py, PyAny>> {
    if attr.active_history.get() {
        return get(py, state, attr, passive::RETURN_NO_VALUE);
    }
    let value = state.slot(attr.index()).value();
    // SAFETY: owned by the slot.
    Ok(unsafe { Bound::from_borrowed_ptr_or_opt(py, value) }.unwrap_or_else(|| names::NO_VALUE.get(py)))
}

/// Deletes an attribute with all its events.
pub fn delete(py: Python<'_>, state: StateRef, attr: &'static AttrCore) -> PyResult<()> {
    expiry::apply_pending(py, state)?;
    match attr.kind {
        AttrKind::Scalar => delete_scalar(py, state, attr),
        AttrKind::Object => scalar_object::delete(py, state, attr),
        AttrKind::Collection => collection::delete(py, state, attr),
    }
}

fn delete_scalar(py: Python<'_>, state: StateRef, attr: &'static AttrCore) -> PyResult<()> {
    let old = old_scalar(py, state, attr)?;
    let expired = state.has(flags::EXPIRED) || state.slot(attr.index()).is_expired();
    if attr.listens(AttrEvent::Remove) {
        let token = crate::token::of(py, Initiator { attr, op: Op::Remove })?;
        fire(py, AttrEvent::Remove, attr, state, [old.clone(), token])?;
    }
    modified_event(py, state, attr, old.as_ptr())?;
    let existed = take(state, attr);
    if !existed && names::NO_VALUE.is(old.as_ptr()) && !expired {
        return Err(PyAttributeError::new_err(format!("{} object does not have a value", attr.describe(py))));
    }
    Ok(())
}

/// `instance_state(value)`, with SQLAlchemy's error for anything that is not a mapped object.
pub fn related_state(value: &Bound<'_, PyAny>) -> PyResult<StateRef> {
    crate::state::state_of(value).ok_or_else(|| {
        let name = value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        PyAttributeError::new_err(format!("'{name}' object has no attribute '_sa_instance_state'"))
    })
}
