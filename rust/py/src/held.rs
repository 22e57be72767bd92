//! `Held`: a state together with a reference to its object.
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::state::StateRef;

/// Keeps a mapped object, and with it its state, alive across Python calls.
pub struct Held {
    state: StateRef,
    object: NonNull<ffi::PyObject>,
}

// SAFETY: the module declares `gil_used`; a `Held` is only touched and dropped with the GIL held.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// Takes a reference to the state's object; `None` when the object of an external state is gone.
    #[inline]
    pub fn new(state: StateRef) -> Option<Self> {
        let object = NonNull::new(state.object_ptr())?;
        // SAFETY: a living object.
        unsafe { ffi::Py_INCREF(object.as_ptr()) };
        Some(Self { state, object })
    }
    /// The state.
    #[inline]
    pub fn state(&self) -> StateRef {
        self.state
    }
    /// The object, borrowed.
    #[inline]
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.object.as_ptr()
    }
    /// The object.
    pub fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: `self` owns a reference.
        unsafe { Bound::from_borrowed_ptr(py, self.object.as_ptr()) }
    }
    /// Shows the object to the collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: `self` owns a reference, which is only lent: `ManuallyDrop` keeps its count. Traversal has the GIL.
        let object = ManuallyDrop::new(unsafe {
            Bound::from_owned_ptr(Python::assume_attached(), self.object.as_ptr()).unbind()
        });
        visit.call(&*object)
    }
}

impl Clone for Held {
    fn clone(&self) -> Self {
        // SAFETY: `self` owns a reference.
        unsafe { ffi::Py_INCREF(self.object.as_ptr()) };
        Self { state: self.state, object: self.object }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: `self` owned the reference; see `Send` for the GIL.
        unsafe { ffi::Py_DECREF(self.object.as_ptr()) }
    }
}
