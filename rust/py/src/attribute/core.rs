//! `AttrCore`, the native half of an instrumented attribute: what it holds, how it is loaded, its relationship.
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use crate::listeners::Heard;
use crate::manager::ManagerCore;
use crate::mapper::{Direction, RelationshipDescriptor, bits};
use crate::prepared::KeyedRelation;
use crate::raw;

use super::events::{AttrEvent, Op};

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

/// One attribute of one class. Never freed once bound (a few hundred bytes per attribute of a class), so that borrowed
/// pointers to it stay valid while user code removes attributes.
pub struct AttrCore {
    index: u32,
    /// What it holds.
    pub kind: AttrKind,
    key: Py<PyString>,
    manager: *const ManagerCore,
    /// The descriptor object, borrowed; null once it is gone.
    pub object: Cell<*mut ffi::PyObject>,
    /// The class whose objects take the fast path, when they carry their state inline; null otherwise. Borrowed.
    pub fast_class: Cell<*mut ffi::PyTypeObject>,
    /// Column value without Python-level `set` listeners, active history or veto: assignment has a fast path.
    pub plain_set: Cell<bool>,
    /// Who listens.
    pub heard: Heard,
    /// The event tokens listeners get, by operation: those of the attribute's `impl`, once they were asked for.
    pub tokens: RefCell<[Option<Py<PyAny>>; Op::COUNT]>,
    /// The old value is loaded before a change.
    pub active_history: Cell<bool>,
    /// Takes part in expiry as a column does (`accepts_scalar_loader`).
    pub accepts_scalar_loader: Cell<bool>,
    /// Is loaded together with other expired attributes (`load_on_unexpire`).
    pub load_on_unexpire: Cell<bool>,
    /// Changes are recorded (`send_modified_events`).
    pub send_modified_events: Cell<bool>,
    /// Children remember this parent (`trackparent`).
    pub track_parent: Cell<bool>,
    /// An old value that was not at hand is looked up when history is asked for (simple many-to-one).
    pub deferred_history: Cell<bool>,
    /// Lazy loading works for pending objects too.
    pub load_on_pending: Cell<bool>,
    /// Identifies the relationship, the same for all classes that inherit it (`parent_token`).
    pub token: Cell<usize>,
    /// Name of the other side's attribute, where no relationship says it.
    pub backref: RefCell<Option<Py<PyString>>>,
    /// A collection that is never loaded: `write_only.rs`.
    pub write_only: Cell<bool>,
    /// A relationship stands behind it: unset values of objects without a row are known without asking the loader.
    pub has_relationship: Cell<bool>,
    /// Loader of the attribute, called `(state, passive)`.
    pub loader: RefCell<Option<Py<PyAny>>>,
    /// The loader has nothing to say about states without loader options.
    pub loader_needs_options: Cell<bool>,
    /// Answers in the loader's place from the identity map where nothing may be loaded, once the loader has said so.
    pub known: RefCell<Option<Py<KeyedRelation>>>,
    /// Comparison of values; `None`: `==`.
    pub compare: RefCell<Option<Py<PyAny>>>,
    /// Value of an unset scalar; `None`: Python's `None`.
    pub default: RefCell<Option<Py<PyAny>>>,
    /// Makes collections; `None`: `InstrumentedList`.
    pub collection_factory: RefCell<Option<Py<PyAny>>>,
    /// The relationship behind it.
    pub relationship: RefCell<Option<Rc<RelationshipDescriptor>>>,
}

impl AttrCore {
    /// A new attribute core, never freed.
    pub fn leak(index: u32, kind: AttrKind, key: Py<PyString>, manager: *const ManagerCore) -> &'static Self {
        let core: &'static Self = Box::leak(Box::new(Self {
            index,
            kind,
            key,
            manager,
            object: Cell::new(std::ptr::null_mut()),
            fast_class: Cell::new(std::ptr::null_mut()),
            plain_set: Cell::new(kind == AttrKind::Scalar),
            heard: Heard::default(),
            tokens: RefCell::default(),
            active_history: Cell::new(false),
            accepts_scalar_loader: Cell::new(kind == AttrKind::Scalar),
            load_on_unexpire: Cell::new(true),
            send_modified_events: Cell::new(true),
            track_parent: Cell::new(false),
            deferred_history: Cell::new(false),
            load_on_pending: Cell::new(false),
            token: Cell::new(0),
            backref: RefCell::default(),
            write_only: Cell::new(false),
            has_relationship: Cell::new(false),
            loader: RefCell::default(),
            loader_needs_options: Cell::new(false),
            known: RefCell::default(),
            compare: RefCell::default(),
            default: RefCell::default(),
            collection_factory: RefCell::default(),
            relationship: RefCell::default(),
        }));
        core.token.set(std::ptr::from_ref(core) as usize);
        core
    }
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
        self.manager
    }
    /// Is this attribute what `class.key` finds (no property or hybrid in front of it)?
    pub fn is_plain_on(&self, class: &Bound<'_, PyType>, key: &Bound<'_, PyString>) -> bool {
        // SAFETY: a living type and a string.
        unsafe { raw::_PyType_Lookup(class.as_type_ptr(), key.as_ptr()) == self.object.get() }
    }
    /// `Class.key`, as SQLAlchemy prints an attribute.
    pub fn describe(&self, py: Python<'_>) -> String {
        // SAFETY: the GIL is held.
        let class = unsafe { self.object(py).and_then(|object| object.getattr("class_").ok()) }
            .and_then(|class| class.cast_into::<PyType>().ok())
            .and_then(|class| class.name().ok())
            .map_or_else(|| "?".to_owned(), |name| name.to_string());
        format!("{class}.{}", self.key.bind(py))
    }
    /// The descriptor object while it lives.
    ///
    /// # Safety
    /// None beyond holding the GIL: the pointer is cleared when the descriptor goes.
    pub unsafe fn object<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: cleared by the descriptor's deallocation.
        unsafe { raw::living(py, self.object.get()) }
    }
    /// Is this Python-level event listened to?
    #[inline]
    pub fn listens(&self, event: AttrEvent) -> bool {
        self.heard.listens(event as usize)
    }
    /// Works out `plain_set` again.
    pub fn update_plain_set(&self) {
        self.plain_set.set(
            self.kind == AttrKind::Scalar
                && !self.listens(AttrEvent::Set)
                && !self.active_history.get()
                && self.send_modified_events.get(),
        );
    }
    /// Takes over the relationship's description.
    pub fn set_relationship(&self, py: Python<'_>, descriptor: RelationshipDescriptor) -> PyResult<()> {
        self.track_parent.set(descriptor.single_parent || descriptor.direction == Direction::OneToMany);
        self.send_modified_events.set(!descriptor.viewonly);
        self.active_history.set(descriptor.active_history);
        let entries = descriptor.dict.bind(py);
        if let Some(value) = entries.get_item("load_on_pending")? {
            self.load_on_pending.set(value.is_truthy()?);
        }
        if let Some(prop) = &descriptor.prop {
            self.token.set(prop.as_ptr() as usize);
        }
        self.has_relationship.set(true);
        let old = self.relationship.replace(Some(Rc::new(descriptor)));
        drop(old);
        Ok(())
    }
    /// The relationship's description.
    pub fn relationship(&self) -> Option<Rc<RelationshipDescriptor>> {
        self.relationship.borrow().clone()
    }
    /// Does the relationship cascade this way?
    pub fn cascades(&self, bit: u32) -> bool {
        self.relationship.borrow().as_ref().is_some_and(|relationship| relationship.cascade & bit != 0)
    }
    /// Cascades delete-orphan?
    pub fn is_delete_orphan(&self) -> bool {
        self.cascades(bits::DELETE_ORPHAN)
    }
    /// Is there another side to keep in step?
    #[inline]
    pub fn has_reverse(&self) -> bool {
        self.relationship.borrow().as_ref().is_some_and(|relationship| !relationship.reverse.is_empty())
            || self.backref.borrow().is_some()
    }
    /// The other side of the relationship on an object of `manager`'s class.
    pub fn reverse_on(&self, py: Python<'_>, manager: &ManagerCore) -> Option<Option<&'static Self>> {
        if let Some(key) = &*self.backref.borrow() {
            return Some(manager.attr_by_key(key.bind(py)));
        }
        let (index, holder) = {
            let relationship = self.relationship.borrow();
            let (holder, index) = relationship.as_ref()?.reverse.first()?;
            (*index, std::ptr::from_ref(holder.get()))
        };
        // SAFETY: the relationship's description owns `holder`.
        let holder = unsafe { (*holder).core() };
        Some(if manager.is_subclass_of(holder) { manager.attr(index) } else { None })
    }
}
