//! `AttrCore`, the native half of an instrumented attribute, and access to column values.
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use crate::manager::ManagerCore;
use crate::mapper::RelationshipDescriptor;
use crate::raw;
use crate::state::StateRef;

/// What an attribute holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttrKind {
    /// A column value.
    Scalar,
    /// One related object.
    Object,
    /// A collection of related objects.
    Collection,
}

/// Bits of `AttrCore::listeners`: which Python-level events exist.
pub mod listen {
    /// `set`.
    pub const SET: u32 = 1;
    /// `append`.
    pub const APPEND: u32 = 2;
    /// `remove`.
    pub const REMOVE: u32 = 4;
    /// `bulk_replace`.
    pub const BULK: u32 = 8;
    /// `init_scalar`, `init_collection`, `dispose_collection`.
    pub const INIT: u32 = 16;
    /// `modified`.
    pub const MODIFIED: u32 = 32;
    /// `append_wo_mutation`.
    pub const APPEND_WO_MUTATION: u32 = 64;
}

/// One attribute of one class. Never freed once bound (a few hundred bytes per attribute of a class), so that borrowed
/// pointers to it stay valid while user code removes attributes.
pub struct AttrCore {
    /// Attribute number.
    index: u32,
    /// What it holds.
    pub kind: AttrKind,
    key: Py<PyString>,
    manager: Cell<*const ManagerCore>,
    /// The descriptor object, borrowed; null once it is gone.
    object: Cell<*mut ffi::PyObject>,
    /// The class whose objects take the fast path, when they carry their state inline.
    pub fast_class: Cell<*mut ffi::PyTypeObject>,
    /// Which Python-level events exist.
    pub listeners: Cell<u32>,
    /// The old value is loaded before a change.
    pub active_history: Cell<bool>,
    /// Takes part in loading all expired attributes at once.
    pub accepts_scalar_loader: Cell<bool>,
    /// Loader of the attribute, called `(state, passive)`.
    pub loader: RefCell<Option<Py<PyAny>>>,
    /// Comparison of values; `None`: `==`.
    pub compare: RefCell<Option<Py<PyAny>>>,
    /// Makes collections; `None`: `InstrumentedList`.
    pub collection_factory: RefCell<Option<Py<PyAny>>>,
    /// The relationship behind it.
    pub relationship: RefCell<Option<Rc<RelationshipDescriptor>>>,
}

impl AttrCore {
    /// Attribute number.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }
    /// Attribute name, interned, borrowed.
    #[inline]
    pub fn key_ptr(&self) -> *mut ffi::PyObject {
        self.key.as_ptr()
    }
    /// Attribute name.
    pub fn key<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyString> {
        self.key.bind(py)
    }
    /// The manager it was bound to.
    pub fn manager(&self) -> *const ManagerCore {
        self.manager.get()
    }
    /// Is this attribute what `class.key` finds (no property or hybrid in front of it)?
    pub fn is_plain_on(&self, _py: Python<'_>, class: &Bound<'_, PyType>, key: &Bound<'_, PyString>) -> bool {
        // SAFETY: a living type and a string.
        unsafe { raw::_PyType_Lookup(class.as_type_ptr(), key.as_ptr()) == self.object.get() }
    }
}

/// Sets an attribute with all its events.
pub fn set(_py: Python<'_>, _state: StateRef, _attr: &'static AttrCore, _value: &Bound<'_, PyAny>) -> PyResult<()> {
    Err(pyo3::exceptions::PyNotImplementedError::new_err("attribute set"))
}
