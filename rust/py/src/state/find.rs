//! From an object to its state, whichever carrier it has.
use pyo3::ffi;
use pyo3::prelude::*;

use crate::instance::{self, InstanceObject};
use crate::instance_state::{self, InstanceState};
use crate::manager::ManagerCore;
use crate::names;
use crate::pickling;

use super::StateRef;

/// The state of a mapped object, whichever carrier it has; `None` for anything else.
#[inline]
pub fn state_of(object: &Bound<'_, PyAny>) -> Option<StateRef> {
    // SAFETY: a living object; the caller's handle keeps it alive.
    unsafe { state_of_ptr(object.py(), object.as_ptr()) }
}

/// The state of an object that carries it inline and was instrumented: a look that runs nothing.
///
/// # Safety
/// As `state_of_ptr`.
#[inline]
pub unsafe fn inline_state_of(object: *mut ffi::PyObject) -> Option<StateRef> {
    // SAFETY: promised by the caller; the layout is checked by `is_instance`.
    unsafe {
        if !instance::is_instance(object) {
            return None;
        }
        let core = &raw mut (*object.cast::<InstanceObject>()).core;
        (!(*core).manager.is_null()).then(|| StateRef::from_ptr(core))
    }
}

/// As `state_of`, for a borrowed pointer.
///
/// # Safety
/// `object` is a living object and stays alive as long as the result is used.
#[inline]
pub unsafe fn state_of_ptr(py: Python<'_>, object: *mut ffi::PyObject) -> Option<StateRef> {
    // SAFETY: promised by the caller; the layout is checked by `is_instance` / `is_carrier`.
    unsafe {
        if instance::is_instance(object) {
            let core = &raw mut (*object.cast::<InstanceObject>()).core;
            if (*core).manager.is_null() && !instance::adopt_manager(py, object) {
                return None;
            }
            return Some(StateRef::from_ptr(core));
        }
        let carrier = ffi::PyObject_GenericGetAttr(object, names::sa_instance_state(py).as_ptr());
        if carrier.is_null() {
            ffi::PyErr_Clear();
        } else {
            // The object's own dict holds another reference, so the carrier outlives this one.
            ffi::Py_DECREF(carrier);
            return match instance_state::carrier_core(py, carrier, object) {
                Some(state) => Some(state),
                None => adopt_external(py, object, carrier),
            };
        }
        None
    }
}

/// Gives a carrier to a copy of an object of an instrumented class, which brought its original's along.
#[cold]
unsafe fn adopt_external(py: Python<'_>, object: *mut ffi::PyObject, found: *mut ffi::PyObject) -> Option<StateRef> {
    // SAFETY: promised by `state_of_ptr`'s caller.
    unsafe {
        let manager = ManagerCore::lookup(py, ffi::Py_TYPE(object));
        if manager.is_null() || (*manager).is_inline() {
            return None;
        }
        let found = Bound::from_borrowed_ptr(py, found);
        found.cast::<InstanceState>().ok()?.get().state()?;
        let object = Bound::from_borrowed_ptr(py, object);
        let state = instance_state::attach_carrier(&object, &*manager).ok()?;
        match pickling::adopt(state, &found) {
            Ok(()) => Some(state),
            Err(error) => {
                error.write_unraisable(py, Some(&object));
                None
            }
        }
    }
}
