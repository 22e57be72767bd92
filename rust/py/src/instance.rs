//! `Instance`, the inline carrier: base type of declarative bases, whose struct is the object's state.
//!
//! A raw type: objects are left out of the collector until they can be part of a cycle, and deallocation takes them out of
//! the identity table before anything else can run.
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::{PyMemoryError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};

use crate::attribute;
use crate::flags;
use crate::held::Held;
use crate::instance_dict;
use crate::manager::ManagerCore;
use crate::names;
use crate::raw::{self, guarded, type_slot};
use crate::slots;
use crate::state::{StateCore, StateRef};
use crate::unit_of_work_core::UnitOfWorkCore;

/// The struct of a mapped object with inline state.
#[repr(C)]
pub struct InstanceObject {
    base: ffi::PyObject,
    /// Weak references (`tp_weaklistoffset`).
    weakrefs: *mut ffi::PyObject,
    /// Attributes that are not mapped (`tp_dictoffset`); null until the first one is set.
    pub extras: *mut ffi::PyObject,
    /// The state.
    pub core: StateCore,
}

static INSTANCE_TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// How the type sets attributes, which subclasses inherit, and nobody else: CPython gives the function of a wrapped slot to
/// subclasses only.
static INSTANCE_SETATTRO: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// Does this type carry its state inline?
#[inline]
pub fn is_instance_type(class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: `class` is a living type.
    unsafe {
        let own = INSTANCE_SETATTRO.load(Ordering::Relaxed);
        // asked for nearly every object that anything is done with: mostly it takes no walk along the bases
        let inherits = (*class).tp_setattro.is_some_and(|setattro| ptr::eq(setattro as *const c_void, own));
        inherits || ffi::PyType_IsSubtype(class, INSTANCE_TYPE.load(Ordering::Relaxed)) != 0
    }
}

/// Does this object carry its state inline?
///
/// # Safety
/// `object` is a living object.
#[inline]
pub unsafe fn is_instance(object: *mut ffi::PyObject) -> bool {
    // SAFETY: promised by the caller.
    is_instance_type(unsafe { ffi::Py_TYPE(object) })
}

/// The state of an inline carrier.
///
/// # Safety
/// `object` is a living `Instance` with a manager.
#[inline]
pub unsafe fn inline_state(object: *mut ffi::PyObject) -> StateRef {
    // SAFETY: promised by the caller.
    unsafe { StateRef::from_ptr(&raw mut (*object.cast::<InstanceObject>()).core) }
}

/// Memory for an object of `class` (an `Instance` subtype), zeroed, not tracked by the collector.
unsafe fn allocate_raw(class: *mut ffi::PyTypeObject, manager: *const ManagerCore) -> *mut ffi::PyObject {
    // SAFETY: PyObject_GC_New gives `tp_basicsize` bytes with an initialised header; everything after it is ours to fill.
    unsafe {
        let object = ffi::PyObject_GC_New::<ffi::PyObject>(class);
        if object.is_null() {
            return ptr::null_mut();
        }
        let head = size_of::<ffi::PyObject>();
        #[allow(clippy::cast_sign_loss)]
        let size = (*class).tp_basicsize as usize;
        ptr::write_bytes(object.cast::<u8>().add(head), 0, size - head);
        let instance = object.cast::<InstanceObject>();
        ptr::write(&raw mut (*instance).core, StateCore::new(manager, flags::INLINE));
        if !manager.is_null() {
            let count = (*manager).slot_count();
            let array = slots::allocate(count);
            if !array.is_null() {
                (*instance).core.slots = array;
                (*instance).core.slot_len = count;
            }
        }
        object
    }
}

/// A new object of a managed class, without `__init__`.
pub fn allocate<'py>(py: Python<'py>, manager: &ManagerCore) -> PyResult<Bound<'py, PyAny>> {
    let class = manager.class_ptr();
    if class.is_null() {
        return Err(PyTypeError::new_err("the class of this manager is gone"));
    }
    // SAFETY: `class` is an inline class, as the manager says.
    unsafe { Bound::from_owned_ptr_or_err(py, allocate_raw(class, manager)) }
}

/// The manager for a new object of exactly this class: its own, or one made for an unmapped subclass.
unsafe fn manager_for(py: Python<'_>, class: *mut ffi::PyTypeObject) -> PyResult<*const ManagerCore> {
    // SAFETY: `class` is a living type.
    unsafe {
        let manager = ManagerCore::lookup(py, class);
        if manager.is_null() || (*manager).class_ptr() == class {
            return Ok(manager);
        }
        let owner = (*manager).object(py);
        if (*manager).mapper(py).is_some() && owner.hasattr(names::subclass_manager(py))? {
            owner.call_method1(names::subclass_manager(py), (Bound::<PyAny>::from_borrowed_ptr(py, class.cast()),))?;
            return Ok(ManagerCore::lookup(py, class));
        }
        Ok(manager)
    }
}

/// Gives a manager to an object made before its class was instrumented; false when there is none.
///
/// # Safety
/// `object` is a living `Instance` without a manager.
#[cold]
pub unsafe fn adopt_manager(py: Python<'_>, object: *mut ffi::PyObject) -> bool {
    // SAFETY: promised by the caller.
    unsafe {
        let manager = ManagerCore::lookup(py, ffi::Py_TYPE(object));
        if manager.is_null() {
            return false;
        }
        ffi::Py_INCREF((*manager).object_ptr());
        (*object.cast::<InstanceObject>()).core.manager = manager;
        true
    }
}

unsafe extern "C" fn instance_new(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with a subtype of Instance.
    unsafe {
        guarded(|py| {
            let manager = manager_for(py, class)?;
            if !manager.is_null() {
                (*manager).check_configured(py)?;
            }
            let object = allocate_raw(class, manager);
            if object.is_null() {
                return Err(PyMemoryError::new_err(()));
            }
            let object = Bound::from_owned_ptr(py, object);
            if !manager.is_null() {
                (*manager).set_polymorphic_identity(py, inline_state(object.as_ptr()))?;
            }
            Ok(object.into_ptr())
        })
    }
}

unsafe extern "C" fn instance_init(
    object: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: called by the interpreter with an Instance, a tuple and a dict or null.
    unsafe {
        guarded(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked::<PyTuple>();
            if !args.is_empty() {
                return Err(PyTypeError::new_err(format!(
                    "{}.__init__() takes 1 positional argument but {} were given",
                    object.get_type().qualname()?,
                    args.len() + 1
                )));
            }
            if let Some(kwargs) = Bound::from_borrowed_ptr_or_opt(py, kwargs) {
                keyword_construct(&object, &kwargs.cast_into_unchecked::<PyDict>())?;
            }
            Ok(0)
        })
    }
}

/// The Python function that is the declarative constructor; what it does, `instance_init` does natively.
static CONSTRUCTOR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Names the declarative constructor; classes instrumented later that have it as `__init__` are constructed natively.
#[pyfunction]
pub fn set_declarative_constructor(constructor: &Bound<'_, PyAny>) {
    CONSTRUCTOR.get_or_init(constructor.py(), || constructor.clone().unbind());
}

/// Lets calls of a class run the declarative constructor without its Python function, if that is what its `__init__` is.
///
/// The class still shows the function. Setting another `__init__` makes CPython fill the type slot anew.
pub fn construct_natively(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let Some(constructor) = CONSTRUCTOR.get(py) else { return Ok(()) };
    if is_instance_type(class.as_type_ptr()) && class.getattr(pyo3::intern!(py, "__init__"))?.is(constructor) {
        // SAFETY: a living heap type whose objects are Instances, which is what `instance_init` takes.
        unsafe { (*class.as_type_ptr()).tp_init = Some(instance_init) };
    }
    Ok(())
}

/// The declarative constructor: every keyword must be an attribute of the class.
pub fn keyword_construct(object: &Bound<'_, PyAny>, kwargs: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = object.py();
    let Some(state) = crate::state::state_of(object) else {
        return Err(crate::errors::unmapped_instance(py, object));
    };
    let manager = state.manager();
    let class = object.get_type();
    for (key, value) in kwargs.iter() {
        // SAFETY: keyword names are strings.
        let key = unsafe { key.cast_into_unchecked::<PyString>() };
        if let Some(attr) = manager.attr_by_key(&key)
            && attr.is_plain_on(&class, &key)
        {
            attribute::set(py, state, attr, &value, None)?;
        } else if class.hasattr(&key)? {
            object.setattr(&key, value)?;
        } else {
            return Err(PyTypeError::new_err(format!(
                "'{}' is an invalid keyword argument for {}",
                key.to_cow()?,
                class.name()?
            )));
        }
    }
    Ok(())
}

unsafe extern "C" fn instance_traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called by the collector with an Instance; nothing here allocates or runs Python code.
    unsafe {
        let result = visit(ffi::Py_TYPE(object).cast(), arg);
        if result != 0 {
            return result;
        }
        let instance = object.cast::<InstanceObject>();
        if !(*instance).extras.is_null() {
            let result = visit((*instance).extras, arg);
            if result != 0 {
                return result;
            }
        }
        (*instance).core.traverse(visit, arg)
    }
}

unsafe extern "C" fn instance_clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector with an Instance. The map forgets the object first, so nobody finds it half empty.
    unsafe {
        let instance = object.cast::<InstanceObject>();
        forget(&raw mut (*instance).core);
        let extras = ptr::replace(&raw mut (*instance).extras, ptr::null_mut());
        (*instance).core.clear();
        ffi::Py_XDECREF(extras);
    }
    0
}

/// Takes a state out of its owner's identity table.
unsafe fn forget(core: *mut StateCore) {
    // SAFETY: the core belongs to a carrier that is being torn down; owners outlive their states' `owner` pointers.
    unsafe {
        if !(*core).owner.is_null() && !(*core).manager.is_null() {
            let state = StateRef::from_ptr(core);
            UnitOfWorkCore::forget((*core).owner, state);
            (*core).owner = ptr::null_mut();
        }
    }
}

/// `forget` for external carriers. The caller drops what lists held of the object when nothing is half done.
///
/// # Safety
/// The carrier of `core` is being cleared or deallocated.
pub unsafe fn forget_state(core: *mut StateCore) -> [Option<Held>; 2] {
    // SAFETY: promised by the caller; owners outlive their states' `owner` pointers.
    unsafe {
        let left = match (*core).owner {
            owner if owner.is_null() => [None, None],
            owner => UnitOfWorkCore::leave_all_lists(owner, StateRef::from_ptr(core)),
        };
        forget(core);
        left
    }
}

unsafe extern "C" fn instance_dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone. Order: out of the collector, out of the identity table (no Python code has run
    // since the count became zero, or the lookups saw the zero count), weak references, contents, memory, type.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let instance = object.cast::<InstanceObject>();
        forget(&raw mut (*instance).core);
        if !(*instance).weakrefs.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        (*instance).core.clear();
        let manager = ptr::replace(&raw mut (*instance).core.manager, ptr::null());
        let extras = ptr::replace(&raw mut (*instance).extras, ptr::null_mut());
        ffi::Py_XDECREF(extras);
        if !manager.is_null() {
            ffi::Py_DECREF((*manager).object_ptr());
        }
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_GC_Del(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn instance_setattro(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: called by the interpreter. Descriptors go first as in PyObject_GenericSetAttr; only a plain attribute needs
    // more: from then on the object can be part of a cycle.
    unsafe {
        let descriptor = raw::_PyType_Lookup(ffi::Py_TYPE(object), name);
        if !descriptor.is_null()
            && let Some(set) = (*ffi::Py_TYPE(descriptor)).tp_descr_set
        {
            ffi::Py_INCREF(descriptor);
            let result = set(descriptor, object, value);
            ffi::Py_DECREF(descriptor);
            return result;
        }
        let result = ffi::PyObject_GenericSetAttr(object, name, value);
        if result == 0 && !value.is_null() {
            let state = inline_state(object);
            state.track((*object.cast::<InstanceObject>()).extras);
        }
        result
    }
}

unsafe extern "C" fn get_dict(object: *mut ffi::PyObject, _closure: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an Instance.
    unsafe {
        guarded(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            instance_dict::of_object(&object).map(Bound::into_ptr)
        })
    }
}

unsafe extern "C" fn set_dict(object: *mut ffi::PyObject, value: *mut ffi::PyObject, _closure: *mut c_void) -> c_int {
    // SAFETY: called by the interpreter with an Instance; null means deletion.
    unsafe {
        guarded(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            let value = Bound::from_borrowed_ptr_or_opt(py, value);
            instance_dict::replace(&object, value.as_ref()).map(|()| 0)
        })
    }
}

unsafe extern "C" fn get_state_view(object: *mut ffi::PyObject, _closure: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an Instance.
    unsafe {
        guarded(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            match crate::state::state_of(&object) {
                Some(state) => state.view(py).map(Bound::into_ptr),
                None => Err(pyo3::exceptions::PyAttributeError::new_err(format!(
                    "'{}' object has no attribute '_sa_instance_state'",
                    object.get_type().name()?
                ))),
            }
        })
    }
}

fn reduce_ex(
    slf: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    crate::pickling::reduce_ex(slf, args)
}

fn get_state(
    slf: &Bound<'_, PyAny>,
    _args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    crate::pickling::get_state(slf)
}

fn set_state(
    slf: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    crate::pickling::set_state(slf, &args.get_item(0)?).map(|()| slf.py().None())
}

/// A member entry of a raw type.
pub fn member(name: &'static std::ffi::CStr, offset: usize) -> ffi::PyMemberDef {
    #[allow(clippy::cast_possible_wrap)]
    ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    }
}

/// A getset entry of a raw type.
pub fn getset(name: &'static std::ffi::CStr, get: ffi::getter, set: Option<ffi::setter>) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { name: name.as_ptr(), get: Some(get), set, doc: ptr::null(), closure: ptr::null_mut() }
}

/// Makes the type; called once while the module initialises.
pub fn make_type(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    if INSTANCE_TYPE.load(Ordering::Relaxed).is_null() {
        // The tables live as long as the type, which lives as long as the process.
        let members = Vec::leak(vec![
            member(c"__weaklistoffset__", offset_of!(InstanceObject, weakrefs)),
            member(c"__dictoffset__", offset_of!(InstanceObject, extras)),
            // SAFETY: an all-zero definition ends the table.
            unsafe { std::mem::zeroed() },
        ]);
        let getsets = Vec::leak(vec![
            getset(c"__dict__", get_dict, Some(set_dict)),
            getset(c"_sa_instance_state", get_state_view, None),
            // SAFETY: as above.
            unsafe { std::mem::zeroed() },
        ]);
        let methods = Vec::leak(vec![
            crate::raw_method!(c"__reduce_ex__", reduce_ex),
            crate::raw_method!(c"__getstate__", get_state),
            crate::raw_method!(c"__setstate__", set_state),
            ffi::PyMethodDef::zeroed(),
        ]);
        let slots = vec![
            type_slot(ffi::Py_tp_new, instance_new as *mut c_void),
            type_slot(ffi::Py_tp_init, instance_init as *mut c_void),
            type_slot(ffi::Py_tp_dealloc, instance_dealloc as *mut c_void),
            type_slot(ffi::Py_tp_traverse, instance_traverse as *mut c_void),
            type_slot(ffi::Py_tp_clear, instance_clear as *mut c_void),
            type_slot(ffi::Py_tp_setattro, instance_setattro as *mut c_void),
            type_slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
            type_slot(ffi::Py_tp_getset, getsets.as_mut_ptr().cast()),
            type_slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        ];
        let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
        // SAFETY: the functions above work on `InstanceObject`s.
        let made =
            unsafe { raw::make_type(py, c"rustalchemy._core.Instance", size_of::<InstanceObject>(), flags, slots)? };
        // SAFETY: a complete type.
        if let Some(setattro) = unsafe { (*made).tp_setattro } {
            INSTANCE_SETATTRO.store(setattro as *mut c_void, Ordering::Relaxed);
        }
        INSTANCE_TYPE.store(made, Ordering::Relaxed);
    }
    // SAFETY: the type is kept for ever.
    Ok(unsafe { Bound::from_borrowed_ptr(py, INSTANCE_TYPE.load(Ordering::Relaxed).cast()) })
}
