//! `copy` and `pickle` of mapped objects.
//!
//! A pickled object is its dictionary; the `InstanceState` in it pickles as a plain description (`describe`) from which
//! `_core._unpickle_state` makes a state that belongs to nobody. The object that finds it in its dictionary adopts it.
//! A shallow copy finds its original's state there instead: it takes the loaded values and nothing else.
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple};

use crate::adapter::AdapterCore;
use crate::attribute::AttrKind;
use crate::collection;
use crate::instance_dict;
use crate::instance_state::InstanceState;
use crate::mapper::InstanceEvent;
use crate::state::{StateRef, state_of};
use crate::{expiry, flags, names, slots};

/// Protocols below 2 cannot rebuild objects of native classes; they are raised to 2.
pub fn reduce_ex(object: &Bound<'_, PyAny>, args: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
    let py = object.py();
    let protocol = args.get_item(0)?.extract::<i64>()?.max(2);
    let plain = py.get_type::<PyAny>().getattr("__reduce_ex__")?;
    Ok(plain.call1((object, protocol))?.unbind())
}

/// `obj.__getstate__()`: the dictionary, `_sa_instance_state` included.
pub fn get_state(object: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
    Ok(instance_dict::of_object(object)?.call_method0("copy")?.unbind())
}

/// `obj.__setstate__(state)`. A shallow copy leaves collections out: a collection belongs to one object.
pub fn set_state(object: &Bound<'_, PyAny>, values: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = object.py();
    let values = values.cast::<PyDict>()?.copy()?;
    let is_copy = values
        .get_item(names::sa_instance_state(py))?
        .and_then(|found| found.cast_into::<InstanceState>().ok())
        .is_some_and(|found| found.get().description(py).is_none());
    if let (true, Some(state)) = (is_copy, state_of(object)) {
        for attr in state.manager().attrs().filter(|attr| attr.kind == AttrKind::Collection) {
            if values.contains(attr.key(py))? {
                values.del_item(attr.key(py))?;
            }
        }
    }
    if let Some(state) = state_of(object) {
        forget_discriminator(state)?;
    }
    instance_dict::of_object(object)?.call_method1("update", (values,))?;
    if let (false, Some(state)) = (is_copy, state_of(object)) {
        tie_collections(py, state)?;
    }
    Ok(())
}

/// The discriminator that a new object was given counts for nothing: the object it is made like has its own, or none.
fn forget_discriminator(state: StateRef) -> PyResult<()> {
    let Some(attr) = state.manager().descriptor().and_then(|mapper| mapper.polymorphic_attr) else { return Ok(()) };
    state.set_committed(attr, std::ptr::null_mut())?;
    state.clear_flags(flags::MODIFIED);
    Ok(())
}

/// Collections come out of a pickle without adapter: they belong to this object now.
fn tie_collections(py: Python<'_>, state: StateRef) -> PyResult<()> {
    for attr in state.manager().attrs().filter(|attr| attr.kind == AttrKind::Collection && !attr.write_only.get()) {
        let value = state.slot(attr.index()).value();
        if !value.is_null() {
            // SAFETY: a loaded value is a living object; the handle keeps it so while Python code runs.
            let value = unsafe { Bound::from_borrowed_ptr(py, value) };
            collection::tie(&value, &AdapterCore::new(state, attr))?;
        }
    }
    Ok(())
}

/// What a state needs to be itself again elsewhere. Values of external objects are part of it: their own dictionary has
/// only the state.
pub fn describe<'py>(py: Python<'py>, state: StateRef) -> PyResult<Bound<'py, PyDict>> {
    expiry::apply_pending(py, state)?;
    let manager = state.manager();
    let out = PyDict::new(py);
    out.set_item("class_", manager.class(py)?)?;
    // SAFETY: borrowed pointers of the living state, each null or valid, turned into handles before anything else runs.
    let borrowed = |object: *mut ffi::PyObject| unsafe { Bound::from_borrowed_ptr_or_opt(py, object) };
    if let Some(key) = borrowed(state.key()) {
        out.set_item("key", key)?;
    }
    if let Some(extra) = state.extra() {
        let rare = extra.rare.as_deref();
        for (name, object) in [
            ("identity_token", rare.map_or(std::ptr::null_mut(), |rare| rare.identity_token)),
            ("load_options", extra.load_options),
            ("load_path", extra.load_path),
            ("info", rare.map_or(std::ptr::null_mut(), |rare| rare.info)),
        ] {
            if let Some(object) = borrowed(object) {
                out.set_item(name, object)?;
            }
        }
    }
    let (values, committed) = (PyDict::new(py), PyDict::new(py));
    let mut expired: Vec<Bound<'py, PyString>> = Vec::new();
    for attr in manager.attrs() {
        let slot = state.slot(attr.index());
        if let (Some(value), false) = (borrowed(slot.value()), state.has(flags::INLINE)) {
            values.set_item(attr.key(py), value)?;
        }
        if let Some(old) = state.committed(attr.index()) {
            committed.set_item(attr.key(py), borrowed(old).unwrap_or_else(|| names::NO_VALUE.get(py)))?;
        }
        if slot.is_expired() {
            expired.push(attr.key(py).clone());
        }
    }
    out.set_item("values", values)?;
    out.set_item("committed", committed)?;
    out.set_item("expired", expired)?;
    out.set_item("modified", state.has(flags::MODIFIED))?;
    out.set_item("is_expired", state.has(flags::EXPIRED))?;
    InstanceEvent::Pickle.fire(py, state, &[out.clone().into_any()])?;
    Ok(out)
}

/// An `InstanceState` that belongs to no object yet, from its description.
#[pyfunction]
#[pyo3(name = "_unpickle_state")]
pub fn unpickle_state<'py>(description: &Bound<'py, PyDict>) -> PyResult<Bound<'py, InstanceState>> {
    InstanceState::from_description(description)
}

/// An `InstanceState` was put into an object's dictionary: a description is adopted, the state of another object is not.
/// Either way the object keeps the state it has.
pub fn adopt(object: &Bound<'_, PyAny>, state: StateRef, found: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(found) = found.cast::<InstanceState>() else {
        return Err(PyTypeError::new_err("_sa_instance_state must be an InstanceState"));
    };
    if let Some(description) = found.get().description(object.py()) {
        return restore(state, &description);
    }
    // A shallow copy of an external object: its dictionary brought the original's state, which has the values.
    if let Some(original) = found.get().state()
        && !original.has(flags::INLINE)
        && original != state
    {
        for attr in original.manager().attrs().filter(|attr| attr.kind != AttrKind::Collection) {
            let value = original.slot(attr.index()).value();
            if !value.is_null() {
                // SAFETY: a loaded value is a living object; the copy gets a reference of its own.
                unsafe { ffi::Py_INCREF(value) };
                state.set_committed(attr.index(), value)?;
            }
        }
    }
    Ok(())
}

/// Brings a state to what `describe` wrote down: detached when it had an identity, transient otherwise.
fn restore(state: StateRef, description: &Bound<'_, PyDict>) -> PyResult<()> {
    let manager = state.manager();
    let attr = |key: &Bound<'_, PyAny>| -> PyResult<&'static crate::attribute::AttrCore> {
        key.cast::<PyString>()
            .ok()
            .and_then(|key| manager.attr_by_key(key))
            .ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    };
    if let Some(key) = description.get_item("key")? {
        state.set_key(key.into_ptr());
        crate::flags::note_detached(state, crate::flags::DETACHED_UNPICKLED);
    }
    for name in ["identity_token", "load_options", "load_path", "info"] {
        if let Some(value) = description.get_item(name)? {
            let place = match name {
                "identity_token" => &mut state.rare_mut().identity_token,
                "load_options" => &mut state.extra_mut().load_options,
                "load_path" => &mut state.extra_mut().load_path,
                _ => &mut state.rare_mut().info,
            };
            let old = std::mem::replace(place, value.clone().into_ptr());
            state.track(value.as_ptr());
            // SAFETY: the field owned its content.
            unsafe { ffi::Py_XDECREF(old) };
        }
    }
    if let Some(values) = description.get_item("values")? {
        for (key, value) in values.cast::<PyDict>()?.iter() {
            state.set_committed(attr(&key)?.index(), value.into_ptr())?;
        }
        tie_collections(description.py(), state)?;
    }
    if let Some(committed) = description.get_item("committed")? {
        for (key, old) in committed.cast::<PyDict>()?.iter() {
            let index = attr(&key)?.index();
            state.set_slot_flags(index, state.slot(index).flags() | slots::MODIFIED);
            if !names::NO_VALUE.is(old.as_ptr()) {
                state.forget_committed(index);
                state.keep_committed(index, old.into_ptr());
            }
        }
    }
    if let Some(expired) = description.get_item("expired")? {
        for key in expired.try_iter()? {
            let index = attr(&key?)?.index();
            state.set_slot_flags(index, state.slot(index).flags() | slots::EXPIRED);
        }
    }
    for (name, flag) in [("modified", flags::MODIFIED), ("is_expired", flags::EXPIRED)] {
        if description.get_item(name)?.is_some_and(|value| value.is_truthy().unwrap_or(false)) {
            state.add_flags(flag);
        }
    }
    manager.check_configured(description.py())?;
    InstanceEvent::Unpickle.fire(description.py(), state, &[description.clone().into_any()])
}
