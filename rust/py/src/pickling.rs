//! `copy` and `pickle` of mapped objects.
//!
//! A pickled object is its dictionary, with the `InstanceState` in it. That pickles as a dictionary, too (`describe_state`), which
//! names the object: whichever of the two is unpickled first, the state is the object's again (`restore_state`).
//! A shallow copy finds its original's state in its dictionary: it takes the loaded values and nothing else.
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyString, PyTuple, PyType};

use crate::adapter::AdapterCore;
use crate::attribute::AttrKind;
use crate::collection;
use crate::committed;
use crate::instance_dict;
use crate::instance_state::{self, InstanceState, Living};
use crate::mapper::InstanceEvent;
use crate::state::{RareExtra, StateRef, state_of};
use crate::{expiry, flags, identity_key, names, slots};

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

/// Whose state an object found in the dictionary that it is to be made like.
#[derive(PartialEq)]
enum Found {
    /// Its own: the state was unpickled before.
    Own,
    /// Another object's: this is a shallow copy.
    Other,
    /// None, or one that is still to be unpickled.
    Nothing,
}

fn found_in(values: &Bound<'_, PyDict>, state: Option<StateRef>) -> PyResult<Found> {
    let found = values.get_item(names::sa_instance_state(values.py()))?;
    let found = found.and_then(|found| found.cast_into::<InstanceState>().ok());
    Ok(match found.and_then(|found| found.get().state()) {
        None => Found::Nothing,
        other if other == state => Found::Own,
        Some(_) => Found::Other,
    })
}

/// `obj.__setstate__(state)`. A shallow copy leaves collections out: a collection belongs to one object.
pub fn set_state(object: &Bound<'_, PyAny>, values: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = object.py();
    let values = values.cast::<PyDict>()?.copy()?;
    let state = state_of(object);
    let found = found_in(&values, state)?;
    if let (Found::Nothing, Some(to_come)) = (&found, values.get_item(names::sa_instance_state(py))?)
        && let Ok(to_come) = to_come.cast::<InstanceState>()
    {
        instance_state::bind(to_come, object)?;
    }
    if let (Found::Other, Some(state)) = (&found, state) {
        for attr in state.manager().attrs().filter(|attr| attr.kind == AttrKind::Collection) {
            if values.contains(attr.key(py))? {
                values.del_item(attr.key(py))?;
            }
        }
    }
    if let Some(state) = state {
        forget_discriminator(py, state, &found)?;
    }
    instance_dict::of_object(object)?.call_method1("update", (values,))?;
    if let (true, Some(state)) = (found != Found::Other, state_of(object)) {
        tie_collections(py, state)?;
    }
    Ok(())
}

/// The discriminator that a new object was given counts for nothing: the object it is made like has its own, or none.
fn forget_discriminator(py: Python<'_>, state: StateRef, found: &Found) -> PyResult<()> {
    let Some(index) = state.manager().descriptor().and_then(|mapper| mapper.polymorphic_attr) else { return Ok(()) };
    if *found == Found::Own {
        if let Some(attr) = state.manager().attr(index) {
            crate::attribute::take(state, attr);
        }
        return Ok(());
    }
    if let Some(attr) = state.manager().attr(index) {
        committed::forget(py, state, attr);
    }
    state.set_committed(index, std::ptr::null_mut())?;
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

/// What a state needs to be itself again elsewhere, by SQLAlchemy's names. Values of external objects are part of it: their own
/// dictionary has only the state.
#[pyfunction]
#[pyo3(name = "_describe_state")]
pub fn describe_state<'py>(state: &Bound<'py, InstanceState>) -> PyResult<Bound<'py, PyDict>> {
    let py = state.py();
    let out = PyDict::new(py);
    out.set_item("instance", state.get().obj(py))?;
    out.set_item("class_", state.get().class(py))?;
    out.set_item("committed_state", PyDict::new(py))?;
    out.set_item("expired_attributes", PySet::empty(py)?)?;
    let view = state;
    let Some(living) = Living::of(view) else { return Ok(out) };
    let state = *living;
    expiry::apply_pending(py, state)?;
    // SAFETY: borrowed pointers of the living state, each null or valid, turned into handles before anything else runs.
    let borrowed = |object: *mut ffi::PyObject| unsafe { Bound::from_borrowed_ptr_or_opt(py, object) };
    if state.has_key() {
        out.set_item("key", identity_key::of(py, state)?)?;
    }
    if let Some(extra) = state.extra() {
        let rare = extra.rare.as_deref();
        let rare = |field: fn(&RareExtra) -> *mut ffi::PyObject| rare.map_or(std::ptr::null_mut(), field);
        for (name, object) in [
            ("load_options", extra.load_options),
            ("load_path", extra.load_path),
            ("info", rare(|rare| rare.info)),
            ("callables", rare(|rare| rare.callables)),
        ] {
            if let Some(object) = borrowed(object) {
                out.set_item(name, object)?;
            }
        }
    }
    if !state.has(flags::INLINE) {
        let values = PyDict::new(py);
        for attr in state.manager().attrs() {
            if let Some(value) = borrowed(state.slot(attr.index()).value()) {
                values.set_item(attr.key(py), value)?;
            }
        }
        out.set_item("values", values)?;
    }
    out.set_item("committed_state", committed::old_values(py, state)?)?;
    out.set_item("expired_attributes", committed::expired_in(py, state)?)?;
    let pending = view.getattr(intern!(py, "_pending_mutations"))?;
    if pending.is_truthy()? {
        out.set_item("_pending_mutations", pending)?;
    }
    out.set_item("modified", state.has(flags::MODIFIED))?;
    out.set_item("expired", state.has(flags::EXPIRED))?;
    InstanceEvent::Pickle.fire(py, state, &[out.clone().into_any()])?;
    Ok(out)
}

/// `InstanceState.__setstate__`: ties a state to its object, and brings it to what `describe_state` wrote down: detached if it
/// had an identity, transient otherwise.
#[pyfunction]
#[pyo3(name = "_restore_state")]
pub fn restore_state(state: &Bound<'_, InstanceState>, description: &Bound<'_, PyDict>) -> PyResult<()> {
    match description.get_item("instance")?.filter(|object| !object.is_none()) {
        Some(object) => restore(instance_state::bind(state, &object)?, description),
        None => {
            if let Some(class) = description.get_item("class_")?.and_then(|class| class.cast_into::<PyType>().ok()) {
                instance_state::note_class(state, &class);
            }
            Ok(())
        }
    }
}

/// An `InstanceState` was put into an object's dictionary. The object keeps the state it has; a shallow copy of an external
/// object, whose dictionary brought the original's state, takes the values from there.
pub fn adopt(state: StateRef, found: &Bound<'_, PyAny>) -> PyResult<()> {
    let Ok(found) = found.cast::<InstanceState>() else {
        return Err(PyTypeError::new_err("_sa_instance_state must be an InstanceState"));
    };
    let Some(original) = Living::of(found).filter(|original| !original.has(flags::INLINE) && **original != state)
    else {
        return Ok(());
    };
    for attr in original.manager().attrs().filter(|attr| attr.kind != AttrKind::Collection) {
        let value = original.slot(attr.index()).value();
        if !value.is_null() {
            // SAFETY: a loaded value is a living object; the copy gets a reference of its own.
            unsafe { ffi::Py_INCREF(value) };
            state.set_committed(attr.index(), value)?;
        }
    }
    Ok(())
}

/// Name of a collection that is not loaded, what was added to it, and what was removed.
type Queued<'py> = (Bound<'py, PyAny>, (Vec<Bound<'py, PyAny>>, Vec<Bound<'py, PyAny>>));

fn queued<'py>(pending: &Bound<'py, PyAny>) -> PyResult<Vec<Queued<'py>>> {
    pending.call_method0("items")?.try_iter()?.map(|item| item?.extract()).collect()
}

fn restore(state: StateRef, description: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = description.py();
    let manager = state.manager();
    let attr = |key: &Bound<'_, PyAny>| -> PyResult<&'static crate::attribute::AttrCore> {
        key.cast::<PyString>()
            .ok()
            .and_then(|key| manager.attr_by_key(key))
            .ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    };
    // what making the object has changed is no change
    for attr in manager.attrs() {
        committed::forget(py, state, attr);
    }
    state.clear_flags(flags::MODIFIED | flags::EXPIRED | flags::EXPIRED_RELATED);
    if let Some(key) = description.get_item("key")? {
        identity_key::set(state, Some(key.cast_into::<PyTuple>()?))?;
        flags::note_detached(state, flags::DETACHED_UNPICKLED);
    }
    for name in ["load_options", "load_path", "info", "callables"] {
        if let Some(value) = description.get_item(name)? {
            match name {
                "load_options" => state.put_extra(Some(value), |extra| &mut extra.load_options),
                "load_path" => state.put_extra(Some(value), |extra| &mut extra.load_path),
                "info" => state.put_rare(Some(value), |rare| &mut rare.info),
                _ => state.put_rare(Some(value), |rare| &mut rare.callables),
            }
        }
    }
    if let Some(values) = description.get_item("values")? {
        for (key, value) in values.cast::<PyDict>()?.iter() {
            state.set_committed(attr(&key)?.index(), value.into_ptr())?;
        }
        tie_collections(py, state)?;
    }
    if let Some(committed) = description.get_item("committed_state")? {
        for item in committed.call_method0("items")?.try_iter()? {
            let (key, old) = item?.extract::<(Bound<'_, PyAny>, Bound<'_, PyAny>)>()?;
            committed::keep(state, attr(&key)?, &old)?;
        }
    }
    if let Some(expired) = description.get_item("expired_attributes")? {
        for key in expired.try_iter()? {
            let index = attr(&key?)?.index();
            state.set_slot_flags(index, state.slot(index).flags() | slots::EXPIRED);
        }
    }
    if let Some(pending) = description.get_item("_pending_mutations")? {
        for (key, (added, removed)) in queued(&pending)? {
            let attr = attr(&key)?;
            for item in added {
                collection::queue(state, attr, item, true);
            }
            for item in removed {
                collection::queue(state, attr, item, false);
            }
        }
    }
    for (name, flag) in [("modified", flags::MODIFIED), ("expired", flags::EXPIRED)] {
        if description.get_item(name)?.is_some_and(|value| value.is_truthy().unwrap_or(false)) {
            state.add_flags(flag);
        }
    }
    manager.check_configured(description.py())?;
    InstanceEvent::Unpickle.fire(description.py(), state, &[description.clone().into_any()])
}
