//! `AttributeDescriptor`: what stands on a mapped class for each attribute. A raw type, because PyO3's trampolines would
//! cost as much as the access itself.
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::attribute::{self, AttrCore, AttrEvent, AttrKind};
use crate::errors;
use crate::flags::{self, passive};
use crate::instance::{self, InstanceObject};
use crate::instance_dict;
use crate::listeners::Heard;
use crate::manager::{ClassManager, ManagerCore};
use crate::mapper::RelationshipDescriptor;
use crate::names;
use crate::prepared::KeyedRelation;
use crate::raw::{self, guarded, type_slot};
use crate::slots::{self, Slot};
use crate::state::{StateRef, state_of};

/// The struct of a descriptor.
#[repr(C)]
pub struct DescriptorObject {
    base: ffi::PyObject,
    /// The attribute; null until `_bind`.
    core: *const AttrCore,
}

static DESCRIPTOR_TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// The attribute of a descriptor object.
pub fn core_of(descriptor: &Bound<'_, PyAny>) -> PyResult<&'static AttrCore> {
    // SAFETY: the type is checked; cores are never freed.
    unsafe {
        if ffi::PyObject_TypeCheck(descriptor.as_ptr(), DESCRIPTOR_TYPE.load(Ordering::Relaxed)) == 0 {
            return Err(PyTypeError::new_err("an AttributeDescriptor is needed"));
        }
        (*descriptor.as_ptr().cast::<DescriptorObject>())
            .core
            .as_ref()
            .ok_or_else(|| PyTypeError::new_err("this attribute is not bound to a class yet"))
    }
}

/// The state of `object` as far as `attr` may touch it: its class must be the attribute's or derived from it.
fn checked_state(object: &Bound<'_, PyAny>, attr: &AttrCore) -> PyResult<StateRef> {
    let py = object.py();
    let Some(state) = state_of(object) else { return Err(errors::unmapped_instance(py, object)) };
    // SAFETY: the class owns its manager as long as descriptors bound to it are on classes.
    let holder = unsafe { attr.manager().as_ref() };
    if ptr::eq(state.manager(), attr.manager()) || holder.is_some_and(|holder| state.manager().is_subclass_of(holder)) {
        return Ok(state);
    }
    Err(PyTypeError::new_err(format!(
        "descriptor '{}' does not apply to a '{}' object",
        attr.describe(py),
        object.get_type().name()?
    )))
}

/// The state of an object of exactly the class the attribute was bound to, if that has the inline layout.
///
/// # Safety
/// `descriptor` is an `AttributeDescriptor`.
unsafe fn own_state(descriptor: &Bound<'_, PyAny>, object: &Bound<'_, PyAny>) -> Option<(StateRef, &'static AttrCore)> {
    // SAFETY: promised by the caller; cores are never freed; `fast_class` says what the object's struct is.
    unsafe {
        let attr = (*descriptor.as_ptr().cast::<DescriptorObject>()).core.as_ref()?;
        if ffi::Py_TYPE(object.as_ptr()) != attr.fast_class.get() {
            return None;
        }
        let state = instance::inline_state(object.as_ptr());
        (attr.index() < u32::from((*state.as_ptr()).slot_len)).then_some((state, attr))
    }
}

unsafe extern "C" fn descr_get(
    descriptor: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
    _owner: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter. Exactly the class the attribute was bound to has the inline layout, so the cast
    // holds; any other object takes the slow path, which checks.
    unsafe {
        if object.is_null() || object == ffi::Py_None() {
            ffi::Py_INCREF(descriptor);
            return descriptor;
        }
        let attr = (*descriptor.cast::<DescriptorObject>()).core;
        if !attr.is_null() && ffi::Py_TYPE(object) == (*attr).fast_class.get() {
            let core = &raw mut (*object.cast::<InstanceObject>()).core;
            let index = (*attr).index();
            if index < u32::from((*core).slot_len) && !StateRef::from_ptr(core).is_outdated() {
                let value = (*(*core).slots.add(index as usize)).value();
                if !value.is_null() {
                    ffi::Py_INCREF(value);
                    return value;
                }
            }
        }
        descr_get_slow(descriptor, object)
    }
}

#[cold]
unsafe fn descr_get_slow(descriptor: *mut ffi::PyObject, object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: as `descr_get`.
    unsafe {
        guarded(|py| {
            let descriptor = Bound::from_borrowed_ptr(py, descriptor);
            let object = Bound::from_borrowed_ptr(py, object);
            if state_of(&object).is_none() {
                return value_without_state(&descriptor, &object).map(Bound::into_ptr);
            }
            let attr = core_of(&descriptor)?;
            let state = checked_state(&object, attr)?;
            let attr = state.manager().attr(attr.index()).unwrap_or(attr);
            attribute::get(py, state, attr, passive::OFF).map(Bound::into_ptr)
        })
    }
}

/// What an object that was made before its class was mapped has of its own.
fn value_without_state<'py>(descriptor: &Bound<'py, PyAny>, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    // SAFETY: a living object.
    let is_inline = unsafe { instance::is_instance(object.as_ptr()) };
    let own = if is_inline { None } else { instance_dict::extras(object, true).ok().flatten() };
    let found = match (own, descriptor.getattr_opt(pyo3::intern!(py, "key"))?) {
        (Some(own), Some(key)) => own.get_item(key)?,
        _ => None,
    };
    found.ok_or_else(|| errors::unmapped_instance(py, object))
}

unsafe extern "C" fn descr_set(
    descriptor: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: called by the interpreter; the fast path's cast holds as in `descr_get`. It does what `attribute::set` does
    // for a plain column whose first change is recorded already, or that needs no recording elsewhere.
    unsafe {
        let attr = (*descriptor.cast::<DescriptorObject>()).core;
        if !value.is_null()
            && !attr.is_null()
            && ffi::Py_TYPE(object) == (*attr).fast_class.get()
            && (*attr).plain_set.get()
        {
            let core = &raw mut (*object.cast::<InstanceObject>()).core;
            let index = (*attr).index();
            let owner = (*core).owner;
            if index < u32::from((*core).slot_len)
                && !names::DONT_SET.is(value)
                && (owner.is_null() || (*core).flags & flags::IN_LIST != 0)
            {
                let state = StateRef::from_ptr(core);
                let place = (*core).slots.add(index as usize);
                let slot = *place;
                let has_last_known = state.rare().is_some_and(|rare| !rare.last_known.is_empty());
                if !has_last_known {
                    let old = slot.value();
                    (*core).flags |= flags::MODIFIED;
                    ffi::Py_INCREF(value);
                    if slot.is_modified() || old.is_null() {
                        *place = Slot::new(value, slots::MODIFIED);
                        state.track(value);
                        ffi::Py_XDECREF(old);
                    } else {
                        *place = Slot::new(value, slots::MODIFIED);
                        state.track(value);
                        state.keep_committed(index, old); // the slot's reference moves there
                    }
                    return 0;
                }
            }
        }
        descr_set_slow(descriptor, object, value)
    }
}

#[inline(never)]
unsafe fn descr_set_slow(
    descriptor: *mut ffi::PyObject,
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: as `descr_set`.
    unsafe {
        guarded(|py| {
            let descriptor = Bound::from_borrowed_ptr(py, descriptor);
            let object = Bound::from_borrowed_ptr(py, object);
            let (state, attr) = match own_state(&descriptor, &object) {
                Some(found) => found,
                None => {
                    attribute::related_state(&object)?;
                    let attr = core_of(&descriptor)?;
                    let state = checked_state(&object, attr)?;
                    (state, state.manager().attr(attr.index()).unwrap_or(attr))
                }
            };
            match Bound::from_borrowed_ptr_or_opt(py, value) {
                Some(value) => attribute::set(py, state, attr, &value, None)?,
                None => attribute::delete(py, state, attr)?,
            }
            Ok(0)
        })
    }
}

unsafe extern "C" fn descriptor_new(
    class: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: generic allocation zeroes the struct: not bound.
    unsafe { ffi::PyType_GenericAlloc(class, 0) }
}

unsafe extern "C" fn descriptor_init(
    _slf: *mut ffi::PyObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> c_int {
    0
}

unsafe extern "C" fn descriptor_traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called by the collector; only owned references are visited.
    unsafe {
        let result = visit(ffi::Py_TYPE(object).cast(), arg);
        if result != 0 {
            return result;
        }
        let Some(core) = (*object.cast::<DescriptorObject>()).core.as_ref() else { return 0 };
        if core.object.get() != object {
            return 0;
        }
        for held in [&core.loader, &core.compare, &core.default, &core.collection_factory] {
            if let Ok(held) = held.try_borrow()
                && let Some(held) = held.as_ref()
            {
                let result = visit(held.as_ptr(), arg);
                if result != 0 {
                    return result;
                }
            }
        }
        if let Ok(known) = core.known.try_borrow()
            && let Some(known) = known.as_ref()
        {
            let result = visit(known.as_ptr(), arg);
            if result != 0 {
                return result;
            }
        }
        if let Ok(relationship) = core.relationship.try_borrow()
            && let Some(relationship) = relationship.as_ref()
        {
            let result = relationship.traverse_raw(visit, arg);
            if result != 0 {
                return result;
            }
        }
        if let Ok(tokens) = core.tokens.try_borrow() {
            for token in tokens.iter().flatten() {
                let result = visit(token.as_ptr(), arg);
                if result != 0 {
                    return result;
                }
            }
        }
        core.heard.traverse_raw(visit, arg)
    }
}

fn release(core: &AttrCore) {
    core.fast_class.set(ptr::null_mut());
    let held = (
        core.loader.take(),
        core.known.take().map(Py::into_any),
        core.compare.take(),
        core.default.take(),
        core.collection_factory.take(),
        core.relationship.take(),
        core.tokens.take(),
    );
    core.heard.replace(Heard::default());
    drop(held);
}

unsafe extern "C" fn descriptor_clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector.
    unsafe {
        if let Some(core) = (*object.cast::<DescriptorObject>()).core.as_ref()
            && core.object.get() == object
        {
            release(core);
        }
    }
    0
}

unsafe extern "C" fn descriptor_dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone. The core itself stays, see `AttrCore`.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        if let Some(core) = (*object.cast::<DescriptorObject>()).core.as_ref()
            && core.object.get() == object
        {
            core.object.set(ptr::null_mut());
            release(core);
        }
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_GC_Del(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

// ---- methods ----------------------------------------------------------------------------------------------------------

fn argument<'py>(
    args: &Bound<'py, PyTuple>,
    kwargs: Option<&Bound<'py, PyDict>>,
    position: usize,
    name: &'static str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if position < args.len() {
        return args.get_item(position).map(Some);
    }
    kwargs.map_or(Ok(None), |kwargs| kwargs.get_item(name))
}

fn needed<'py>(value: Option<Bound<'py, PyAny>>, name: &'static str) -> PyResult<Bound<'py, PyAny>> {
    value.ok_or_else(|| PyTypeError::new_err(format!("argument '{name}' is missing")))
}

fn truth(value: Option<Bound<'_, PyAny>>, default: bool) -> PyResult<bool> {
    value.map_or(Ok(default), |value| value.is_truthy())
}

const KEYWORD: usize = usize::MAX;

fn bind(slf: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let manager = needed(argument(args, kwargs, 0, "manager")?, "manager")?.cast_into::<ClassManager>()?;
    let key = needed(argument(args, kwargs, 1, "key")?, "key")?.cast_into::<PyString>()?;
    let key = PyString::intern(py, &key.to_cow()?);
    let kind: u32 = argument(args, kwargs, KEYWORD, "kind")?.map_or(Ok(0), |value| value.extract())?;
    let kind = match kind {
        0 => AttrKind::Scalar,
        1 => AttrKind::Object,
        2 => AttrKind::Collection,
        _ => return Err(PyKeyError::new_err("kind")),
    };
    let core = ManagerCore::of(&manager);
    let index = core.allocate(&key)?;
    let attr = AttrCore::leak(index, kind, key.unbind(), core);
    attr.object.set(slf.as_ptr());
    if core.is_inline() {
        attr.fast_class.set(core.class_ptr());
    }
    attr.active_history.set(truth(argument(args, kwargs, KEYWORD, "active_history")?, false)?);
    attr.accepts_scalar_loader
        .set(truth(argument(args, kwargs, KEYWORD, "default_loader")?, kind == AttrKind::Scalar)?);
    if let Some(source) = slf.getattr_opt("impl").unwrap_or(None).filter(|source| !source.is_none()) {
        let flag = |name: &str, default: bool| source.getattr(name).map_or(Ok(default), |value| value.is_truthy());
        attr.load_on_unexpire.set(flag("load_on_unexpire", true)?);
        attr.send_modified_events.set(flag("send_modified_events", true)?);
        attr.track_parent.set(flag("trackparent", false)?);
        attr.deferred_history.set(flag("_deferred_history", false)?);
        if kind == AttrKind::Collection && flag("_write_only", false)? {
            attr.write_only.set(true);
            attr.fast_class.set(ptr::null_mut()); // what stands in its slot is not what a reader gets
        }
        if let Ok(token) = source.getattr("parent_token")
            && !token.is(&source)
        {
            attr.token.set(token.as_ptr() as usize);
        }
    }
    attr.update_plain_set();
    // SAFETY: `slf` is a descriptor; an earlier core of it is left to those who still use it.
    unsafe {
        let place = slf.as_ptr().cast::<DescriptorObject>();
        if let Some(old) = (*place).core.as_ref() {
            old.object.set(ptr::null_mut());
            release(old);
        }
        (*place).core = attr;
    }
    core.install_attr(attr, slf);
    Ok(py.None())
}

fn set_relationship(
    slf: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let py = slf.py();
    let dict = args.get_item(0)?.cast_into::<PyDict>()?;
    core_of(slf)?.set_relationship(py, RelationshipDescriptor::from_dict(&dict)?)?;
    Ok(py.None())
}

fn optional_argument(args: &Bound<'_, PyTuple>) -> PyResult<Option<Py<PyAny>>> {
    Ok(Some(args.get_item(0)?).filter(|value| !value.is_none()).map(Bound::unbind))
}

fn set_loader(
    slf: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let attr = core_of(slf)?;
    attr.loader_needs_options.set(args.len() > 1 && args.get_item(1)?.is_truthy()?);
    let old = (attr.loader.replace(optional_argument(args)?), attr.known.take());
    drop(old);
    Ok(slf.py().None())
}

/// What answers in the place of a loader; nothing happens if the attribute has got another one.
fn set_known(
    slf: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let (relation, loader) = args.extract::<(Bound<'_, KeyedRelation>, Bound<'_, PyAny>)>()?;
    let attr = core_of(slf)?;
    let present = attr.loader.borrow().as_ref().map(|present| present.bind(slf.py()).clone());
    if present.map_or(Ok(false), |present| present.eq(loader))? {
        let old = attr.known.replace(Some(relation.unbind()));
        drop(old);
    }
    Ok(slf.py().None())
}

/// A method that puts its argument, or nothing for None, into a field of the attribute.
macro_rules! setter {
    ($method:ident, $field:ident) => {
        fn $method(
            slf: &Bound<'_, PyAny>,
            args: &Bound<'_, PyTuple>,
            _kw: Option<&Bound<'_, PyDict>>,
        ) -> PyResult<Py<PyAny>> {
            let old = core_of(slf)?.$field.replace(optional_argument(args)?);
            drop(old);
            Ok(slf.py().None())
        }
    };
}
setter!(set_compare, compare);
setter!(set_default, default);
setter!(set_collection_factory, collection_factory);

fn set_listeners(
    slf: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let attr = core_of(slf)?;
    attr.heard.replace(Heard::from_dict(&args.get_item(0)?.cast_into::<PyDict>()?, &AttrEvent::NAMES)?);
    attr.update_plain_set();
    Ok(slf.py().None())
}

fn set_backref(
    slf: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let key = args.get_item(0)?;
    let key = if key.is_none() { None } else { Some(key.cast_into::<PyString>()?.unbind()) };
    let old = core_of(slf)?.backref.replace(key);
    drop(old);
    Ok(slf.py().None())
}

fn set_active_history(
    slf: &Bound<'_, PyAny>,
    args: &Bound<'_, PyTuple>,
    _kw: Option<&Bound<'_, PyDict>>,
) -> PyResult<Py<PyAny>> {
    let attr = core_of(slf)?;
    attr.active_history.set(args.get_item(0)?.is_truthy()?);
    attr.update_plain_set();
    Ok(slf.py().None())
}

unsafe extern "C" fn get_index(object: *mut ffi::PyObject, _closure: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with a descriptor.
    unsafe {
        guarded(|py| {
            let attr = core_of(&Bound::from_borrowed_ptr(py, object))?;
            Ok(attr.index().into_pyobject(py)?.into_any().into_ptr())
        })
    }
}

/// Makes the type; called once while the module initialises.
pub fn make_type(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    if DESCRIPTOR_TYPE.load(Ordering::Relaxed).is_null() {
        // The tables live as long as the type, which lives as long as the process.
        let methods = Vec::leak(vec![
            crate::raw_method!(c"_bind", bind),
            crate::raw_method!(c"_set_relationship", set_relationship),
            crate::raw_method!(c"_set_loader", set_loader),
            crate::raw_method!(c"_set_known", set_known),
            crate::raw_method!(c"_set_listeners", set_listeners),
            crate::raw_method!(c"_set_compare", set_compare),
            crate::raw_method!(c"_set_default", set_default),
            crate::raw_method!(c"_set_backref", set_backref),
            crate::raw_method!(c"_set_active_history", set_active_history),
            crate::raw_method!(c"_set_collection_factory", set_collection_factory),
            ffi::PyMethodDef::zeroed(),
        ]);
        // SAFETY: an all-zero definition ends the table.
        let getsets = Vec::leak(vec![instance::getset(c"_index", get_index, None), unsafe { std::mem::zeroed() }]);
        let slots = vec![
            type_slot(ffi::Py_tp_new, descriptor_new as *mut c_void),
            type_slot(ffi::Py_tp_init, descriptor_init as *mut c_void),
            type_slot(ffi::Py_tp_dealloc, descriptor_dealloc as *mut c_void),
            type_slot(ffi::Py_tp_traverse, descriptor_traverse as *mut c_void),
            type_slot(ffi::Py_tp_clear, descriptor_clear as *mut c_void),
            type_slot(ffi::Py_tp_descr_get, descr_get as *mut c_void),
            type_slot(ffi::Py_tp_descr_set, descr_set as *mut c_void),
            type_slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
            type_slot(ffi::Py_tp_getset, getsets.as_mut_ptr().cast()),
        ];
        let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
        // SAFETY: the functions above work on `DescriptorObject`s.
        let made = unsafe {
            raw::make_type(py, c"rustalchemy._core.AttributeDescriptor", size_of::<DescriptorObject>(), flags, slots)?
        };
        DESCRIPTOR_TYPE.store(made, Ordering::Relaxed);
    }
    // SAFETY: the type is kept for ever.
    Ok(unsafe { Bound::from_borrowed_ptr(py, DESCRIPTOR_TYPE.load(Ordering::Relaxed).cast()) })
}
