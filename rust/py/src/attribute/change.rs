//! Changes of attributes: recorded once per attribute and state, stored in the slot.
use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::state::StateRef;
use crate::unit_of_work_core::{UnitOfWorkCore, UowRef};
use crate::{errors, expiry, flags, names, slots};

use super::AttrCore;

/// Records a change: keeps the old value once, enters the state in its session's dirty list once.
/// `previous` null means `NO_VALUE`. The caller stores the new value afterwards.
pub fn modified_event(
    py: Python<'_>,
    state: StateRef,
    attr: &'static AttrCore,
    previous: *mut ffi::PyObject,
) -> PyResult<()> {
    if is_read_only(state) {
        return Err(refused(py, attr));
    }
    if !attr.send_modified_events.get() {
        return Ok(());
    }
    let index = attr.index();
    let slot = state.slot(index);
    if !slot.is_modified() {
        if !previous.is_null() && !names::NO_VALUE.is(previous) {
            // SAFETY: a living object; the state gets its own reference.
            unsafe { ffi::Py_INCREF(previous) };
            state.keep_committed(index, previous);
        }
        let kept = state.slot(index);
        match state.replace_slot(index, kept.value(), kept.flags() | slots::MODIFIED) {
            Ok(_same) => {}
            Err(_) => return Err(PyMemoryError::new_err(())),
        }
    }
    expiry::forget_last_known(state, index);
    mark_modified(py, state)
        .and_then(|()| if state.object_ptr().is_null() { Err(dereferenced(py, state, attr)) } else { Ok(()) })
}

/// Whether the state's session is one that writes nothing.
#[inline]
pub fn is_read_only(state: StateRef) -> bool {
    let owner = state.owner();
    // SAFETY: an owner outlives its states' pointers to it.
    !owner.is_null() && unsafe { UowRef::from_ptr(owner) }.core().is_read_only
}

/// The error for a change of an object of a read-only session.
#[cold]
pub fn refused(py: Python<'_>, attr: &AttrCore) -> PyErr {
    errors::read_only(py, &format!("a change of attribute '{}'", attr.describe(py)))
}

/// The object has possible changes: flag, dirty list, transaction.
#[inline]
pub fn mark_modified(py: Python<'_>, state: StateRef) -> PyResult<()> {
    let was = state.flags();
    state.add_flags(flags::MODIFIED);
    let owner = state.owner();
    if !owner.is_null() && was & flags::IN_LIST == 0 {
        let may_be_dirty = state.has_key() && was & flags::DELETED == 0;
        // SAFETY: an owner outlives its states' pointers to it; the state's object is alive in the caller.
        unsafe {
            if may_be_dirty {
                UnitOfWorkCore::register_dirty(owner, state);
            }
            // one that can be in no list, deleted or attached only for loading: its flag says that it was changed before
            if may_be_dirty || was & flags::MODIFIED == 0 {
                UnitOfWorkCore::ensure_begun(py, owner)?;
            }
        }
    }
    Ok(())
}

/// The error for a change on an object that is gone.
pub fn dereferenced(py: Python<'_>, state: StateRef, attr: &AttrCore) -> PyErr {
    let class = state.manager().class(py).ok();
    dereferenced_class(py, class.as_ref(), attr)
}

/// As `dereferenced`, when only the class is known.
pub fn dereferenced_class(py: Python<'_>, class: Option<&Bound<'_, PyType>>, attr: &AttrCore) -> PyErr {
    let name = class.and_then(|class| class.name().ok()).map_or_else(|| "?".to_owned(), |name| name.to_string());
    errors::of(
        py,
        &crate::imports::OBJECT_DEREFERENCED,
        format!(
            "Can't emit change event for attribute '{}' - parent object of type <{name}> has been garbage collected.",
            attr.describe(py)
        ),
    )
}

/// Stores a changed value: the slot keeps its `MODIFIED` bit and is no longer expired.
pub fn store(state: StateRef, attr: &AttrCore, value: Bound<'_, PyAny>) -> PyResult<()> {
    let index = attr.index();
    state.store(index, value.into_ptr(), state.slot(index).flags() & slots::MODIFIED)
}

/// Empties a slot, keeping its flags; tells whether it had a value.
pub fn take(state: StateRef, attr: &AttrCore) -> bool {
    let slot = state.slot(attr.index());
    if slot.value().is_null() {
        return false;
    }
    if let Ok(old) = state.replace_slot(attr.index(), std::ptr::null_mut(), slot.flags()) {
        // SAFETY: the slot owned it.
        unsafe { ffi::Py_XDECREF(old) };
    }
    true
}
