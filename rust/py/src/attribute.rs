//! `AttrCore`, the native half of an instrumented attribute, and access to attribute values of every kind.
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use pyo3::exceptions::{PyAttributeError, PyKeyError, PyMemoryError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use crate::flags::{self, passive};
use crate::listeners::{Firing, Heard};
use crate::manager::ManagerCore;
use crate::mapper::{Direction, RelationshipDescriptor, bits};
use crate::names;
use crate::slots;
use crate::state::{StateExtra, StateRef};
use crate::unit_of_work_core::{UnitOfWorkCore, UowRef};
use crate::{collection, errors, expiry, raw, scalar_object, write_only};

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

/// The Python-level events of an attribute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttrEvent {
    /// A scalar is about to be set.
    Set,
    /// A value is about to enter a collection.
    Append,
    /// A value was given to a collection that has it.
    AppendWoMutation,
    /// A value left.
    Remove,
    /// A collection is about to be replaced.
    BulkReplace,
    /// A scalar without a value was read.
    InitScalar,
    /// A collection was made.
    InitCollection,
    /// A collection was replaced.
    DisposeCollection,
    /// `flag_modified` was called.
    Modified,
}

impl AttrEvent {
    /// The names of the events, in the order of their numbers.
    pub const NAMES: [&'static str; 9] = [
        "set",
        "append",
        "append_wo_mutation",
        "remove",
        "bulk_replace",
        "init_scalar",
        "init_collection",
        "dispose_collection",
        "modified",
    ];
    /// What the listener's answer is: a new value of the first argument, unless it is None for `init_scalar`.
    fn replaces(self, answer: &Bound<'_, PyAny>) -> bool {
        match self {
            Self::Set | Self::Append | Self::AppendWoMutation => true,
            Self::InitScalar => !answer.is_none(),
            _ => false,
        }
    }
    /// The keyword by which listeners may get the collection's key.
    fn keyword(self, py: Python<'_>) -> Option<&Bound<'_, PyString>> {
        match self {
            Self::Append | Self::AppendWoMutation | Self::Remove => Some(names::key(py)),
            Self::BulkReplace => Some(names::keys(py)),
            _ => None,
        }
    }
}

/// What a change of an attribute began with; with the attribute it identifies an event token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Removal.
    Remove,
    /// Append to a collection.
    Append,
    /// Assignment of a scalar.
    Replace,
    /// Assignment of a whole collection.
    BulkReplace,
    /// `flag_modified`.
    Modified,
}

/// Which attribute and operation a chain of events came from; stops both sides of a relationship from calling each other.
#[derive(Clone, Copy)]
pub struct Initiator {
    /// The attribute.
    pub attr: &'static AttrCore,
    /// The operation.
    pub op: Op,
}

impl Initiator {
    /// Is this the token of `attr` and `op`?
    pub fn is(self, attr: &AttrCore, op: Op) -> bool {
        std::ptr::eq(self.attr, attr) && self.op == op
    }
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
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.object.get()) }
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

/// Calls the listeners of an event. `args` is what they get after the object; events of collections have the key last.
/// Returns the first of it as the listeners leave it.
pub fn fire<'py, const N: usize>(
    py: Python<'py>,
    event: AttrEvent,
    attr: &AttrCore,
    state: StateRef,
    mut args: [Bound<'py, PyAny>; N],
) -> PyResult<Bound<'py, PyAny>> {
    const { assert!(N > 0, "an event has arguments") };
    let keyword = event.keyword(py).filter(|_| attr.kind == AttrKind::Collection);
    let positional = N - usize::from(keyword.is_some());
    for listener in attr.heard.present(py, event as usize)? {
        let (others, key) = args.split_at(positional);
        let firing = Firing { state, position: 0, others, keyword: keyword.zip(key.first()) };
        if let Some(answer) = firing.call(&listener)?.filter(|answer| event.replaces(answer)) {
            args[0] = answer;
        }
    }
    if attr.kind == AttrKind::Scalar && !attr.listens(event) {
        attr.update_plain_set(); // the last one has left
    }
    Ok(args[0].clone())
}

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
    let loader = attr.loader.borrow().as_ref().map(|loader| loader.clone_ref(py));
    match loader {
        Some(loader) => loader.bind(py).call1((state.view(py)?, passive)),
        None => Ok(names::ATTR_EMPTY.get(py)),
    }
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

/// Records a change: keeps the old value once, enters the state in its session's dirty list once.
/// `previous` null means `NO_VALUE`. The caller stores the new value afterwards.
pub fn modified_event(
    py: Python<'_>,
    state: StateRef,
    attr: &'static AttrCore,
    previous: *mut ffi::PyObject,
) -> PyResult<()> {
    let owner = state.owner();
    if !owner.is_null() {
        // SAFETY: an owner outlives its states' pointers to it.
        let uow = unsafe { UowRef::from_ptr(owner) };
        if uow.core().is_read_only {
            return Err(errors::read_only(py, &format!("a change of attribute '{}'", attr.describe(py))));
        }
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

/// The object has possible changes: flag, dirty list, transaction.
#[inline]
pub fn mark_modified(py: Python<'_>, state: StateRef) -> PyResult<()> {
    let was = state.flags();
    state.add_flags(flags::MODIFIED);
    let owner = state.owner();
    if !owner.is_null() && was & flags::IN_LIST == 0 {
        let is_deleted = was & flags::DELETED != 0;
        // SAFETY: an owner outlives its states' pointers to it; the state's object is alive in the caller.
        unsafe {
            if state.has_key() && !is_deleted {
                UnitOfWorkCore::register_dirty(owner, state);
            }
            // a deleted object is in no list: its flag says that it was changed before
            if !is_deleted || was & flags::MODIFIED == 0 {
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

/// Stores a changed value: the slot keeps its `MODIFIED` bit and is no longer expired.
pub fn store(state: StateRef, attr: &AttrCore, value: Bound<'_, PyAny>) -> PyResult<()> {
    let index = attr.index();
    let keep = state.slot(index).flags() & slots::MODIFIED;
    match state.replace_slot(index, value.into_ptr(), keep) {
        Ok(old) => {
            // SAFETY: the slot owned it.
            unsafe { ffi::Py_XDECREF(old) };
            Ok(())
        }
        Err(value) => {
            // SAFETY: the reference came back.
            unsafe { ffi::Py_DECREF(value) };
            Err(PyMemoryError::new_err(()))
        }
    }
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

/// `instance_state(value)`, with SQLAlchemy's error for anything that is not a mapped object.
pub fn related_state(value: &Bound<'_, PyAny>) -> PyResult<StateRef> {
    crate::state::state_of(value).ok_or_else(|| {
        let name = value.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        PyAttributeError::new_err(format!("'{name}' object has no attribute '_sa_instance_state'"))
    })
}
