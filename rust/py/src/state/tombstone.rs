//! `Tombstone`: what is left of a state for those that must not keep its object alive.
use std::cell::Cell;
use std::ptr;
use std::rc::Rc;

use pyo3::ffi;

use super::{StateCore, StateRef};

/// A weak handle on a state that outlives it: tells whether it lives, and its last identity.
pub struct Tombstone {
    /// The state; null once the object is gone.
    pub state: Cell<*mut StateCore>,
    /// The identity it had when it went, owned; null without identity or while it lives.
    pub last_key: Cell<*mut ffi::PyObject>,
}

impl Tombstone {
    /// The identity of the state, borrowed, or null.
    pub fn key(&self) -> *mut ffi::PyObject {
        let state = self.state.get();
        if state.is_null() {
            self.last_key.get()
        } else {
            // SAFETY: a state clears `state` in its tombstone before it is freed.
            unsafe { (*state).key }
        }
    }
}

impl Drop for Tombstone {
    fn drop(&mut self) {
        // SAFETY: `last_key` is owned or null; states are only touched with the GIL held.
        unsafe { ffi::Py_XDECREF(self.last_key.get()) }
    }
}

impl StateRef {
    /// The handle that outlives this state.
    pub fn tombstone(self) -> Rc<Tombstone> {
        let core = self.0.as_ptr();
        Rc::clone(
            self.extra_mut().tombstone.get_or_insert_with(|| {
                Rc::new(Tombstone { state: Cell::new(core), last_key: Cell::new(ptr::null_mut()) })
            }),
        )
    }
}
