//! `InstanceDict`: `obj.__dict__` of a mapped object, a live dictionary over loaded attributes and everything else.
//!
//! Values live in slots, so there is no dictionary to hand out. This one is a `dict` for type checks and for C code that
//! reads its items directly (it is filled when it is made), and live for everybody who uses its methods: each of them
//! fills it anew, and writing goes to the slots, without history, as writing to SQLAlchemy's instance dictionaries does.
use std::ptr;

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple, PyType};

use crate::attribute::{self, AttrCore};
use crate::instance::InstanceObject;
use crate::state::{StateRef, state_of};
use crate::{expiry, flags, instance, names, pickling};

/// `obj.__dict__`. Keeps its object alive.
#[pyclass(extends = PyDict, frozen, module = "rustalchemy._core")]
pub struct InstanceDict {
    object: Py<PyAny>,
}

/// `obj.__dict__`.
pub fn of_object<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let made = Bound::new(object.py(), InstanceDict { object: object.clone().unbind() })?;
    fill(&made)?;
    Ok(made.into_any())
}

/// `obj.__dict__ = value`; `None` stands for deletion, which empties it.
pub fn replace(object: &Bound<'_, PyAny>, value: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
    let dict = of_object(object)?.cast_into::<InstanceDict>()?;
    let Some(value) = value else { return clear(&dict) };
    let value = value
        .cast::<PyDict>()
        .map_err(|_| {
            PyTypeError::new_err(format!("__dict__ must be set to a dictionary, not a '{}'", type_name(value)))
        })?
        .copy()?;
    clear(&dict)?;
    update_from(&dict, &value)
}

/// What the object has beside its mapped attributes: its own dictionary, if there is one already.
pub fn extras<'py>(object: &Bound<'py, PyAny>, create: bool) -> PyResult<Option<Bound<'py, PyDict>>> {
    let py = object.py();
    // SAFETY: `object` is alive; `extras` of an inline object is null or a dict it owns; the generic getter returns a new
    // reference to the dict CPython keeps for the object.
    unsafe {
        if instance::is_instance(object.as_ptr()) && !create {
            let extras = (*object.as_ptr().cast::<InstanceObject>()).extras;
            return Ok(Bound::from_borrowed_ptr_or_opt(py, extras).map(|dict| dict.cast_into_unchecked()));
        }
        let dict = Bound::from_owned_ptr_or_err(py, ffi::PyObject_GenericGetDict(object.as_ptr(), ptr::null_mut()))?;
        if create && let Some(state) = state_of(object) {
            state.track(dict.as_ptr());
        }
        Ok(Some(dict.cast_into_unchecked()))
    }
}

fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(|_| "object".to_owned(), |name| name.to_string())
}

fn state(dict: &Bound<'_, InstanceDict>) -> PyResult<StateRef> {
    let object = dict.get().object.bind(dict.py());
    state_of(object).ok_or_else(|| crate::errors::unmapped_instance(dict.py(), object))
}

/// The attribute a key names, when it is one.
fn mapped(state: StateRef, key: &Bound<'_, PyAny>) -> Option<&'static AttrCore> {
    key.cast::<PyString>().ok().and_then(|key| state.manager().attr_by_key(key))
}

fn is_state_key(key: &Bound<'_, PyAny>) -> bool {
    key.cast::<PyString>().is_ok_and(|key| key == "_sa_instance_state")
}

/// Brings the underlying `dict` up to date, and returns it.
fn fill<'py>(dict: &Bound<'py, InstanceDict>) -> PyResult<Bound<'py, PyDict>> {
    let py = dict.py();
    let plain = dict.as_super().clone();
    let object = dict.get().object.bind(py);
    let state = state(dict)?;
    expiry::apply_pending(py, state)?;
    plain.clear();
    if state.has(flags::INLINE) {
        plain.set_item(names::sa_instance_state(py), state.view(py)?)?;
    }
    if let Some(extras) = extras(object, false)? {
        // SAFETY: both are dictionaries; PyDict_Update reads the plain one directly.
        if unsafe { ffi::PyDict_Update(plain.as_ptr(), extras.as_ptr()) } != 0 {
            return Err(PyErr::fetch(py));
        }
    }
    for attr in state.manager().attrs() {
        // SAFETY: the slot owns its value, which gets a reference of its own before anything else can run.
        let value = unsafe { Bound::from_borrowed_ptr_or_opt(py, state.slot(attr.index()).value()) };
        if let Some(value) = value {
            plain.set_item(attr.key(py), value)?;
        }
    }
    Ok(plain)
}

fn store(dict: &Bound<'_, InstanceDict>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = dict.py();
    let object = dict.get().object.bind(py);
    let state = state(dict)?;
    if is_state_key(key) {
        return pickling::adopt(state, value);
    }
    expiry::apply_pending(py, state)?;
    if let Some(attr) = mapped(state, key) {
        return attribute::store(state, attr, value.clone());
    }
    match extras(object, true)? {
        Some(extras) => extras.set_item(key, value),
        None => Ok(()),
    }
}

fn remove(dict: &Bound<'_, InstanceDict>, key: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = dict.py();
    let object = dict.get().object.bind(py);
    let state = state(dict)?;
    if is_state_key(key) && state.has(flags::INLINE) {
        return Ok(()); // it is the object itself
    }
    expiry::apply_pending(py, state)?;
    if let Some(attr) = mapped(state, key) {
        let slot_flags = state.slot(attr.index()).flags();
        let old = state.replace_slot(attr.index(), ptr::null_mut(), slot_flags).unwrap_or(ptr::null_mut());
        if old.is_null() {
            return Err(PyKeyError::new_err(key.clone().unbind()));
        }
        // SAFETY: the slot owned it.
        unsafe { ffi::Py_DECREF(old) };
        return Ok(());
    }
    match extras(object, false)? {
        Some(extras) => extras.del_item(key),
        None => Err(PyKeyError::new_err(key.clone().unbind())),
    }
}

fn clear(dict: &Bound<'_, InstanceDict>) -> PyResult<()> {
    for key in fill(dict)?.keys() {
        if !is_state_key(&key) {
            remove(dict, &key)?;
        }
    }
    Ok(())
}

fn update_from(dict: &Bound<'_, InstanceDict>, other: &Bound<'_, PyDict>) -> PyResult<()> {
    for (key, value) in other.iter() {
        store(dict, &key, &value)?;
    }
    Ok(())
}

/// A method of plain `dict`, called on the freshly filled dictionary.
fn plain_method<'py>(dict: &Bound<'py, InstanceDict>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let plain = fill(dict)?;
    dict.py().get_type::<PyDict>().getattr(name)?.call1((plain,))
}

#[pymethods]
impl InstanceDict {
    fn __getitem__<'py>(slf: &Bound<'py, Self>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        fill(slf)?.get_item(key)?.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }
    fn __setitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        store(slf, key, value)
    }
    fn __delitem__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<()> {
        remove(slf, key)
    }
    fn __contains__(slf: &Bound<'_, Self>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        fill(slf)?.contains(key)
    }
    fn __len__(slf: &Bound<'_, Self>) -> PyResult<usize> {
        Ok(fill(slf)?.len())
    }
    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(fill(slf)?.keys().try_iter()?.into_any())
    }
    fn __reversed__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let keys = fill(slf)?.keys();
        keys.reverse()?;
        Ok(keys.try_iter()?.into_any())
    }
    fn __repr__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        plain_method(slf, "__repr__")
    }
    fn __eq__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        fill(slf)?.copy()?.eq(other)
    }
    fn __ne__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        Self::__eq__(slf, other).map(|equal| !equal)
    }
    fn __or__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        fill(slf)?.copy()?.as_any().bitor(other)
    }
    fn __ror__<'py>(slf: &Bound<'py, Self>, other: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        other.bitor(fill(slf)?.copy()?)
    }
    fn __ior__(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::update(slf, &PyTuple::new(slf.py(), [other])?, None)
    }
    #[pyo3(signature = (key, default = None, /))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(fill(slf)?.get_item(key)?.or(default))
    }
    fn keys<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        plain_method(slf, "keys")
    }
    fn values<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        plain_method(slf, "values")
    }
    fn items<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        plain_method(slf, "items")
    }
    /// A plain, independent `dict`.
    fn copy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        fill(slf)?.copy()
    }
    #[pyo3(signature = (key, *default))]
    fn pop<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        default: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match (fill(slf)?.get_item(key)?, default.iter().next()) {
            (Some(value), _) => remove(slf, key).map(|()| value),
            (None, Some(default)) => Ok(default),
            (None, None) => Err(PyKeyError::new_err(key.clone().unbind())),
        }
    }
    fn popitem<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
        let plain = fill(slf)?;
        let keys: Bound<'py, PyList> = plain.keys();
        let Some(key) = keys.iter().rev().find(|key| !is_state_key(key)) else {
            return Err(PyKeyError::new_err("popitem(): dictionary is empty"));
        };
        let value = plain.get_item(&key)?.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))?;
        remove(slf, &key)?;
        Ok((key, value))
    }
    #[pyo3(signature = (key, default = None, /))]
    fn setdefault<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(value) = fill(slf)?.get_item(key)? {
            return Ok(value);
        }
        let value = default.unwrap_or_else(|| slf.py().None().into_bound(slf.py()));
        store(slf, key, &value)?;
        Ok(value)
    }
    #[pyo3(signature = (*others, **kwargs))]
    fn update(slf: &Bound<'_, Self>, others: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        let given = slf.py().get_type::<PyDict>().call(others, kwargs)?.cast_into::<PyDict>()?;
        update_from(slf, &given)
    }
    #[pyo3(name = "clear")]
    fn py_clear(slf: &Bound<'_, Self>) -> PyResult<()> {
        clear(slf)
    }
    /// Pickles and copies as a plain `dict`.
    fn __reduce_ex__<'py>(
        slf: &Bound<'py, Self>,
        _protocol: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyType>, (Bound<'py, PyDict>,))> {
        Ok((slf.py().get_type::<PyDict>(), (fill(slf)?.copy()?,)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)
    }
}

/// The `__dict__` of an instrumented class whose objects keep their state apart; remembers what it replaced.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct InstanceDictProperty {
    /// The class' own `__dict__` descriptor before.
    replaced: Option<Py<PyAny>>,
}

#[pymethods]
impl InstanceDictProperty {
    fn __get__<'py>(
        slf: &Bound<'py, Self>,
        object: &Bound<'py, PyAny>,
        _class: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if object.is_none() {
            return Ok(slf.clone().into_any());
        }
        if state_of(object).is_none() {
            // Not instrumented (any more): the object's own dictionary.
            return extras(object, true)?
                .map(Bound::into_any)
                .ok_or_else(|| pyo3::exceptions::PyAttributeError::new_err("__dict__"));
        }
        of_object(object)
    }
    fn __set__(&self, object: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        replace(object, Some(value))
    }
    fn __delete__(&self, object: &Bound<'_, PyAny>) -> PyResult<()> {
        replace(object, None)
    }
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.replaced)
    }
}

/// The dictionary of a class itself, writable.
fn class_dict<'py>(class: &Bound<'py, PyType>) -> Bound<'py, PyDict> {
    // SAFETY: a heap type's `tp_dict` is a dict as long as the type lives. `setattr` refuses this one name.
    unsafe { Bound::from_borrowed_ptr(class.py(), (*class.as_type_ptr()).tp_dict).cast_into_unchecked() }
}

/// Does a plain class among the bases, a mixin, come before the live `__dict__` of an inline class?
pub fn is_hidden(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let name = names::dunder_dict(class.py());
    for base in class.mro() {
        let base = base.cast_into::<PyType>()?;
        if class_dict(&base).contains(name)? {
            // The extension type itself is the last of its kind: what it derives from has no `__dict__`.
            return Ok(!crate::instance::is_instance_type(base.as_type_ptr()));
        }
    }
    Ok(false)
}

/// Gives a class with external state the live `__dict__`.
pub fn install(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let dict = class_dict(class);
    let name = names::dunder_dict(py);
    let present = dict.get_item(name)?;
    if present.as_ref().is_some_and(|present| present.is_instance_of::<InstanceDictProperty>()) {
        return Ok(());
    }
    dict.set_item(name, Bound::new(py, InstanceDictProperty { replaced: present.map(Bound::unbind) })?)?;
    // SAFETY: a living type; its method cache must not serve the old descriptor.
    unsafe { ffi::PyType_Modified(class.as_type_ptr()) };
    Ok(())
}

/// Takes the live `__dict__` back.
pub fn uninstall(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let dict = class_dict(class);
    let name = names::dunder_dict(py);
    if let Some(present) = dict.get_item(name)?
        && let Ok(property) = present.cast::<InstanceDictProperty>()
    {
        match &property.get().replaced {
            Some(replaced) => dict.set_item(name, replaced)?,
            None => dict.del_item(name)?,
        }
        // SAFETY: as in `install`.
        unsafe { ffi::PyType_Modified(class.as_type_ptr()) };
    }
    Ok(())
}
