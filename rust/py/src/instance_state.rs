//! `InstanceState`: what `inspect(obj)` returns. Carrier of external objects, view of inline ones.
use std::cell::{Cell, RefCell, UnsafeCell};
use std::ops::Deref;
use std::ptr;

use pyo3::PyTypeInfo;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

use crate::flags;
use crate::hooks;
use crate::manager::ManagerCore;
use crate::names;
use crate::raw;
use crate::state::{StateCore, StateRef, state_of};

/// What an `InstanceState` stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Nothing (yet).
    Empty,
    /// View of a living inline object; `target` is a borrowed pointer to it.
    View,
    /// Carrier of an external object; `target` is an owned weak reference to it.
    Carrier,
}

/// Bookkeeping of one mapped object, as Python sees it.
#[pyclass(subclass, weakref, frozen, name = "InstanceState", module = "rustalchemy._core")]
pub struct InstanceState {
    role: Cell<Role>,
    /// This very object, borrowed.
    object: Cell<*mut ffi::PyObject>,
    target: Cell<*mut ffi::PyObject>,
    class: RefCell<Option<Py<PyType>>>,
    core: UnsafeCell<StateCore>,
}

// SAFETY: the module declares `gil_used`; every access happens with the GIL held.
unsafe impl Send for InstanceState {}
// SAFETY: as above.
unsafe impl Sync for InstanceState {}

/// The class of new states: `InstanceState`, or the subclass `rustalchemy.orm` installed.
static STATE_CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();

fn state_class(py: Python<'_>) -> Bound<'_, PyType> {
    if let Some(class) = STATE_CLASS.get(py) {
        return class.bind(py).clone();
    }
    if let Some(hooks) = hooks::installed(py)
        && let Ok(class) = hooks.getattr("InstanceState")
        && let Ok(class) = class.cast_into::<PyType>()
    {
        return STATE_CLASS.get_or_init(py, || class.unbind()).bind(py).clone();
    }
    InstanceState::type_object(py)
}

fn make(py: Python<'_>) -> PyResult<Bound<'_, InstanceState>> {
    let made = state_class(py).call0()?.cast_into::<InstanceState>()?;
    made.get().object.set(made.as_ptr());
    Ok(made)
}

/// The `InstanceState` of a state.
pub fn view_of(py: Python<'_>, state: StateRef) -> PyResult<Bound<'_, PyAny>> {
    if !state.has(flags::INLINE) {
        // SAFETY: an external state's carrier is not freed yet.
        return unsafe { raw::living(py, state.carrier()) }.ok_or_else(|| gone(py));
    }
    if let Some(view) = known_view(py, state) {
        return Ok(view);
    }
    let view = make(py)?;
    // Making it may have run a collection, and with it code that asked for the same view.
    if let Some(view) = known_view(py, state) {
        return Ok(view);
    }
    look_at(&view, state)?;
    Ok(view.into_any())
}

fn known_view(py: Python<'_>, state: StateRef) -> Option<Bound<'_, PyAny>> {
    // SAFETY: the view is owned by the state, or null.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, state.extra()?.view) }
}

fn gone(py: Python<'_>) -> PyErr {
    crate::errors::invalid_request(py, "the object of this InstanceState has been garbage collected".to_owned())
}

/// Makes an empty state the view of an inline object that has none.
fn look_at(view: &Bound<'_, InstanceState>, state: StateRef) -> PyResult<()> {
    let inner = view.get();
    *inner.class.borrow_mut() = Some(state.manager().class(view.py())?.unbind());
    inner.role.set(Role::View);
    inner.target.set(state.object_ptr());
    state.extra_mut().view = view.clone().into_ptr();
    state.track(view.as_ptr());
    Ok(())
}

/// A state that stands for nothing yet: what unpickling begins with.
#[pyfunction]
#[pyo3(name = "_new_state")]
pub fn new_state(py: Python<'_>) -> PyResult<Bound<'_, InstanceState>> {
    make(py)
}

/// Ties an empty state to an object that has no other; a state that stands for something stays what it is. Returns the
/// state of the object.
pub fn bind(state: &Bound<'_, InstanceState>, object: &Bound<'_, PyAny>) -> PyResult<StateRef> {
    let py = object.py();
    let unmapped = || crate::errors::unmapped_instance(py, object);
    let is_empty = state.get().role.get() == Role::Empty;
    // SAFETY: a living object.
    if unsafe { crate::instance::is_instance(object.as_ptr()) } {
        let found = state_of(object).ok_or_else(unmapped)?;
        if is_empty && found.extra().is_none_or(|extra| extra.view.is_null()) {
            look_at(state, found)?;
        }
        return Ok(found);
    }
    if is_empty && !has_state(object) {
        // SAFETY: a living object's type; the class owns its manager.
        let manager = unsafe { ManagerCore::lookup(py, ffi::Py_TYPE(object.as_ptr())).as_ref() };
        return carry(state, object, manager.ok_or_else(unmapped)?);
    }
    state_of(object).ok_or_else(unmapped)
}

/// The class of an object that was lost on the way.
pub fn note_class(state: &Bound<'_, InstanceState>, class: &Bound<'_, PyType>) {
    if state.get().role.get() == Role::Empty {
        let before = state.get().class.replace(Some(class.clone().unbind()));
        drop(before);
    }
}

/// A view's object goes away: it reads as dead from now on.
///
/// # Safety
/// `view` is null or a living `InstanceState`.
pub unsafe fn forget_object(view: *mut ffi::PyObject) {
    if view.is_null() {
        return;
    }
    // SAFETY: promised by the caller; states are torn down with the GIL held.
    unsafe {
        let py = Python::assume_attached();
        let view = Bound::from_borrowed_ptr(py, view).cast_into_unchecked::<InstanceState>();
        view.get().target.set(ptr::null_mut());
    }
}

/// The core of the carrier found in `object`'s dict, if it is really `object`'s.
///
/// # Safety
/// Both are living objects.
pub unsafe fn carrier_core(
    py: Python<'_>,
    carrier: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
) -> Option<StateRef> {
    // SAFETY: promised by the caller; the type is checked first.
    unsafe {
        if ffi::PyObject_TypeCheck(carrier, InstanceState::type_object_raw(py)) == 0 {
            return None;
        }
        let carrier = Bound::from_borrowed_ptr(py, carrier).cast_into_unchecked::<InstanceState>();
        let inner = carrier.get();
        if inner.role.get() != Role::Carrier || inner.target_ptr() != object {
            return None;
        }
        Some(StateRef::from_ptr(inner.core.get()))
    }
}

/// Does an external object have its own carrier already?
pub fn has_state(object: &Bound<'_, PyAny>) -> bool {
    let py = object.py();
    // SAFETY: living objects; the object's dict keeps the carrier alive after the reference found is given back.
    unsafe {
        let carrier = ffi::PyObject_GenericGetAttr(object.as_ptr(), names::sa_instance_state(py).as_ptr());
        if carrier.is_null() {
            ffi::PyErr_Clear();
            return false;
        }
        ffi::Py_DECREF(carrier);
        crate::instance::is_instance(object.as_ptr()) || carrier_core(py, carrier, object.as_ptr()).is_some()
    }
}

/// Gives an external object a carrier.
pub fn attach_carrier<'py>(object: &Bound<'py, PyAny>, manager: &ManagerCore) -> PyResult<StateRef> {
    let py = object.py();
    let carrier = make(py)?;
    carry(&carrier, object, manager)
}

/// Makes an empty state the carrier of an external object.
fn carry(carrier: &Bound<'_, InstanceState>, object: &Bound<'_, PyAny>, manager: &ManagerCore) -> PyResult<StateRef> {
    let py = object.py();
    let inner = carrier.get();
    // SAFETY: plain creation of a weak reference; the result is owned by `target`.
    let weak = unsafe { ffi::PyWeakref_NewRef(object.as_ptr(), ptr::null_mut()) };
    if weak.is_null() {
        return Err(PyErr::fetch(py));
    }
    inner.role.set(Role::Carrier);
    inner.target.set(weak);
    *inner.class.borrow_mut() = Some(object.get_type().unbind());
    // SAFETY: the fresh carrier's core is unused so far.
    unsafe { *inner.core.get() = StateCore::new(manager, 0) };
    // SAFETY: all arguments are living objects. The user's own `__setattr__` is not asked.
    let stored = unsafe {
        ffi::PyObject_GenericSetAttr(object.as_ptr(), names::sa_instance_state(py).as_ptr(), carrier.as_ptr())
    };
    if stored != 0 {
        return Err(PyErr::fetch(py));
    }
    // SAFETY: the object's dict owns the carrier now.
    Ok(unsafe { StateRef::from_ptr(inner.core.get()) })
}

/// A new external object without `__init__`.
pub fn allocate_external<'py>(py: Python<'py>, manager: &ManagerCore) -> PyResult<Bound<'py, PyAny>> {
    let class = manager.class(py)?;
    let object = class.call_method1("__new__", (&class,))?;
    if state_of(&object).is_none() {
        attach_carrier(&object, manager)?;
    }
    Ok(object)
}

/// The external carrier that embeds `core`, borrowed.
///
/// # Safety
/// `core` belongs to a living external carrier.
pub unsafe fn carrier_of(core: *mut StateCore) -> *mut ffi::PyObject {
    // SAFETY: promised by the caller; `UnsafeCell` has its content's layout.
    unsafe {
        let inner = core.cast::<u8>().sub(std::mem::offset_of!(InstanceState, core)).cast::<InstanceState>();
        (*inner).object.get()
    }
}

/// The object of the external carrier that embeds `core`, borrowed, or null.
///
/// # Safety
/// As `carrier_of`.
pub unsafe fn object_of(core: *mut StateCore) -> *mut ffi::PyObject {
    // SAFETY: as `carrier_of`.
    unsafe {
        let inner = core.cast::<u8>().sub(std::mem::offset_of!(InstanceState, core)).cast::<InstanceState>();
        (*inner).target_ptr()
    }
}

impl InstanceState {
    /// The mapped object, borrowed; null once it is gone or on its way.
    pub fn target_ptr(&self) -> *mut ffi::PyObject {
        let target = self.target.get();
        if target.is_null() {
            return target;
        }
        if self.role.get() != Role::Carrier {
            // SAFETY: a view's target is an object that is not freed before `forget_object`.
            return if unsafe { raw::is_living(target) } { target } else { ptr::null_mut() };
        }
        // SAFETY: `target` is a weak reference object; a cleared one refers to None.
        unsafe {
            let object = ffi::PyWeakref_GetObject(target);
            if object == ffi::Py_None() { ptr::null_mut() } else { object }
        }
    }
    /// The state behind this object: its own core, or the viewed object's; `None` once an inline object is gone. Whoever goes
    /// on to anything that can run Python code asks for it as `Living`.
    pub fn state(&self) -> Option<StateRef> {
        match self.role.get() {
            Role::Empty => None,
            // SAFETY: `self` is the carrier.
            Role::Carrier => Some(unsafe { StateRef::from_ptr(self.core.get()) }),
            Role::View => {
                let target = self.target_ptr();
                // SAFETY: a view's target is an inline object.
                (!target.is_null()).then(|| unsafe { crate::instance::inline_state(target) })
            }
        }
    }
}

impl InstanceState {
    /// An object that stands for nothing yet.
    pub fn empty() -> Self {
        Self {
            role: Cell::new(Role::Empty),
            object: Cell::new(ptr::null_mut()),
            target: Cell::new(ptr::null_mut()),
            class: RefCell::default(),
            core: UnsafeCell::new(StateCore::new(ptr::null(), 0)),
        }
    }
    /// The mapped object's class.
    pub fn class<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyType>> {
        self.class.borrow().as_ref().map(|class| class.bind(py).clone())
    }
    /// Visits owned references. A carrier's values are visited through its core.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(class) = self.class.try_borrow() {
            visit.call(&*class)?;
        }
        if self.role.get() == Role::Carrier {
            // SAFETY: the carrier's own core, read only.
            unsafe { (*self.core.get()).traverse_with(visit)? }
        }
        Ok(())
    }
    /// Breaks cycles through a carrier's values.
    pub fn clear(&self) {
        if self.role.get() == Role::Carrier {
            // SAFETY: the collector found the carrier unreachable; the identity table forgets it first.
            unsafe {
                let held = crate::instance::forget_state(self.core.get());
                (*self.core.get()).clear();
                drop(held);
            }
        }
    }
}

/// The state an `InstanceState` stands for, with its object: the view alone does not keep an inline object alive.
pub struct Living<'py> {
    state: StateRef,
    /// `None` for a carrier whose object is gone: then the `InstanceState` itself, which the caller holds, has the state.
    _object: Option<Bound<'py, PyAny>>,
}

impl<'py> Living<'py> {
    /// The state behind an `InstanceState` that the caller holds; `None` once an inline object is gone.
    pub fn of(view: &Bound<'py, InstanceState>) -> Option<Self> {
        let state = view.get().state()?;
        Some(Self { state, _object: state.object(view.py()) })
    }
    /// The state of a mapped object.
    pub fn of_object(object: &Bound<'py, PyAny>) -> Option<Self> {
        state_of(object).map(|state| Self { state, _object: Some(object.clone()) })
    }
    /// The state that an `InstanceState`, or an object, stands for.
    pub fn named_by(target: &Bound<'py, PyAny>) -> Option<Self> {
        match target.cast::<InstanceState>() {
            Ok(view) => Self::of(view),
            Err(_) => Self::of_object(target),
        }
    }
}

impl Deref for Living<'_> {
    type Target = StateRef;
    fn deref(&self) -> &StateRef {
        &self.state
    }
}

/// The state behind an `InstanceState` argument.
pub fn expect_state<'py>(view: &Bound<'py, PyAny>) -> PyResult<Living<'py>> {
    Living::of(view.cast::<InstanceState>()?).ok_or_else(|| gone(view.py()))
}

/// The object's `__dict__`.
pub fn dict_of(py: Python<'_>, state: StateRef) -> PyResult<Bound<'_, PyAny>> {
    match state.object(py) {
        Some(object) => crate::instance_dict::of_object(&object),
        None => Ok(PyDict::new(py).into_any()),
    }
}

impl Drop for InstanceState {
    fn drop(&mut self) {
        if self.role.get() != Role::Carrier {
            return;
        }
        // SAFETY: the carrier goes away, with the GIL held: the identity table forgets it before anything else can run.
        unsafe {
            let core = self.core.get();
            let held = crate::instance::forget_state(core);
            (*core).clear();
            let manager = ptr::replace(&raw mut (*core).manager, ptr::null());
            ffi::Py_XDECREF(self.target.replace(ptr::null_mut()));
            if !manager.is_null() {
                ffi::Py_DECREF((*manager).object_ptr());
            }
            drop(held);
        }
    }
}
