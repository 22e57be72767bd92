//! What a state owns, as the collector visits it and as it is let go.
use std::ptr;
use std::rc::Rc;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::instance_state;
use crate::slots;

use super::StateCore;

impl StateCore {
    /// As `traverse`, for a class made by PyO3.
    ///
    /// # Safety
    /// Called from a carrier's `__traverse__` only.
    pub unsafe fn traverse_with(&self, visit: &pyo3::gc::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        struct Borrowed<'a, 'v>(&'a pyo3::gc::PyVisit<'v>, Result<(), pyo3::PyTraverseError>);
        unsafe extern "C" fn forward(object: *mut ffi::PyObject, arg: *mut std::ffi::c_void) -> i32 {
            // SAFETY: `arg` is the `Borrowed` below; the handle is visited, never dropped.
            unsafe {
                let borrowed = &mut *arg.cast::<Borrowed<'_, '_>>();
                let handle = std::mem::ManuallyDrop::new(std::mem::transmute::<*mut ffi::PyObject, Py<PyAny>>(object));
                borrowed.1 = borrowed.0.call(&*handle);
                i32::from(borrowed.1.is_err())
            }
        }
        let mut borrowed = Borrowed(visit, Ok(()));
        // SAFETY: `forward` gets what it expects.
        unsafe { self.traverse(forward, (&raw mut borrowed).cast()) };
        borrowed.1
    }

    /// Visits every owned reference for the collector.
    ///
    /// # Safety
    /// Called from a carrier's `tp_traverse` only.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut std::ffi::c_void) -> i32 {
        macro_rules! visit {
            ($object:expr) => {{
                let object = $object;
                if !object.is_null() {
                    // SAFETY: `visit` is the collector's own function; the object is owned by this state.
                    let result = unsafe { visit(object, arg) };
                    if result != 0 {
                        return result;
                    }
                }
            }};
        }
        for index in 0..self.slot_len as usize {
            // SAFETY: index is inside the array.
            visit!(unsafe { (*self.slots.add(index)).value() });
        }
        if !self.manager.is_null() {
            // SAFETY: the state owns its manager.
            visit!(unsafe { (*self.manager).object_ptr() });
        }
        visit!(self.key);
        // What states share leads to no object.
        if let Some(extra) = self.extra.as_ref().filter(|extra| Rc::strong_count(extra) == 1) {
            for (_, value) in &extra.committed {
                visit!(*value);
            }
            visit!(extra.view);
            visit!(extra.load_options);
            visit!(extra.load_path);
            if let Some(rare) = extra.rare.as_deref() {
                for (_, value) in rare.empty_collections.iter().chain(&rare.last_known) {
                    visit!(*value);
                }
                for (_, pending) in &rare.pending {
                    for object in pending.added.iter().chain(pending.removed.iter()) {
                        visit!(*object);
                    }
                }
                visit!(rare.callables);
                visit!(rare.info);
                visit!(rare.identity_token);
            }
        }
        0
    }

    /// Drops everything Python-visible this state owns except its manager. Safe to call twice and during collection.
    pub fn clear(&mut self) {
        let slots = std::mem::replace(&mut self.slots, ptr::null_mut());
        let slot_len = std::mem::take(&mut self.slot_len);
        let key = std::mem::replace(&mut self.key, ptr::null_mut());
        // Shared options are let go of by the last who has them.
        let extra = self.extra.take().and_then(|extra| Rc::try_unwrap(extra).ok());
        if let Some(tombstone) = extra.as_ref().and_then(|extra| extra.tombstone.as_ref()) {
            tombstone.state.set(ptr::null_mut());
            // SAFETY: `key` is valid or null; the tombstone gets its own reference.
            unsafe { ffi::Py_XINCREF(key) };
            tombstone.last_key.set(key);
        }
        // SAFETY: all of these were owned by the state and are unreachable from it now.
        unsafe {
            for index in 0..slot_len as usize {
                ffi::Py_XDECREF((*slots.add(index)).value());
            }
            slots::free(slots);
            ffi::Py_XDECREF(key);
            if let Some(extra) = extra {
                for (_, value) in extra.committed {
                    ffi::Py_XDECREF(value);
                }
                instance_state::forget_object(extra.view);
                for object in [extra.view, extra.load_options, extra.load_path] {
                    ffi::Py_XDECREF(object);
                }
                if let Some(rare) = extra.rare {
                    for (_, value) in rare.empty_collections.into_iter().chain(rare.last_known) {
                        ffi::Py_XDECREF(value);
                    }
                    for (_, mutations) in rare.pending {
                        mutations.release();
                    }
                    for object in [rare.callables, rare.info, rare.identity_token] {
                        ffi::Py_XDECREF(object);
                    }
                }
            }
        }
    }
}
