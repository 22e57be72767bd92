//! Whole batches for loads that follow a result (select-in loading): read keys of many objects, store what was found.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::attribute::AttrKind;
use crate::errors;
use crate::expiry;
use crate::flags;
use crate::hydrate::Groups;
use crate::loaded_values;
use crate::names;
use crate::state::{self, StateRef};

fn state_of(object: &Bound<'_, PyAny>) -> PyResult<StateRef> {
    state::state_of(object).ok_or_else(|| errors::unmapped_instance(object.py(), object))
}

/// The loaded value of an attribute, held.
fn loaded_value<'py>(py: Python<'py>, state: StateRef, attr: u32) -> Option<Bound<'py, PyAny>> {
    if state.is_outdated() {
        return None;
    }
    // SAFETY: a slot's value is a valid object or null.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, state.slot(attr).value()) }
}

/// The loaded values of some attributes of many objects, each a value (one attribute) or a tuple; `NO_VALUE` where any of an
/// object's attributes is not loaded. Nothing is loaded.
#[pyfunction]
#[allow(clippy::needless_pass_by_value)] // extracted arguments are owned
pub fn read_loaded<'py>(objects: &Bound<'py, PyList>, attrs: Vec<u32>) -> PyResult<Bound<'py, PyList>> {
    let py = objects.py();
    let results = PyList::empty(py);
    for object in objects.iter() {
        let state = state_of(&object)?;
        let values: Option<Vec<_>> = attrs.iter().map(|&attr| loaded_value(py, state, attr)).collect();
        match values {
            None => results.append(names::NO_VALUE.get(py))?,
            Some(values) => match values.as_slice() {
                [value] => results.append(value)?,
                values => results.append(PyTuple::new(py, values)?)?,
            },
        }
    }
    Ok(results)
}

/// Stores one attribute of many objects as committed values, without events. Values of a collection are iterables; the
/// attribute's own kind of collection is made of them. Where `overwrite` is given and false, a loaded attribute stays.
#[pyfunction]
#[pyo3(signature = (objects, attr, values, overwrite=None))]
#[allow(clippy::needless_pass_by_value)] // extracted arguments are owned
pub fn store_loaded(
    objects: &Bound<'_, PyList>,
    attr: u32,
    values: &Bound<'_, PyList>,
    overwrite: Option<Vec<bool>>,
) -> PyResult<()> {
    let py = objects.py();
    if objects.len() != values.len() || overwrite.as_ref().is_some_and(|flags| flags.len() != objects.len()) {
        return Err(PyValueError::new_err("there must be one value for each object"));
    }
    for (at, (object, value)) in objects.iter().zip(values.iter()).enumerate() {
        let state = state_of(&object)?;
        let may_overwrite = overwrite.as_ref().is_none_or(|flags| flags.get(at).copied().unwrap_or(true));
        if !takes_loaded(py, state, attr, may_overwrite)? {
            continue;
        }
        let is_collection = state.manager().attr(attr).is_some_and(|attr| attr.kind == AttrKind::Collection);
        if is_collection {
            loaded_values::store_collection(py, state, attr, &value)?;
        } else {
            state.set_committed(attr, value.into_ptr())?;
        }
        loaded_values::note_related(state);
    }
    Ok(())
}

/// Whether an attribute takes a loaded value: it has none, or one that may be overwritten.
fn takes_loaded(py: Python<'_>, state: StateRef, attr: u32, may_overwrite: bool) -> PyResult<bool> {
    if state.is_outdated() {
        loaded_values::apply_pending_expiry(py, state)?;
    }
    Ok(may_overwrite || state.slot(attr).value().is_null())
}

/// As `store_loaded`, for a collection of many parents: `(object, identity, overwrite)`, with their children by identity.
/// A parent that is not among the groups has none.
#[pyfunction]
pub fn store_groups(parents: &Bound<'_, PyList>, attr: u32, groups: &Bound<'_, PyDict>) -> PyResult<()> {
    let py = parents.py();
    let none = PyList::empty(py).into_any();
    for parent in parents.iter() {
        let parent = parent.cast_into::<PyTuple>()?;
        let state = state_of(&parent.get_item(0)?)?;
        if takes_loaded(py, state, attr, parent.get_item(2)?.is_truthy()?)? {
            let children = groups.get_item(parent.get_item(1)?)?;
            loaded_values::store_collection(py, state, attr, children.as_ref().unwrap_or(&none))?;
            loaded_values::note_related(state);
        }
    }
    Ok(())
}

/// Gives a loaded column attribute of many objects the values that an UPDATE statement set, as committed ones. Where the
/// attribute has a change that was not flushed it is expired, and where it is not loaded nothing happens.
#[pyfunction]
pub fn store_synchronized(objects: &Bound<'_, PyList>, attr: u32, values: &Bound<'_, PyList>) -> PyResult<()> {
    let py = objects.py();
    if objects.len() != values.len() {
        return Err(PyValueError::new_err("there must be one value for each object"));
    }
    for (object, value) in objects.iter().zip(values.iter()) {
        let state = state_of(&object)?;
        if state.is_outdated() {
            loaded_values::apply_pending_expiry(py, state)?;
        }
        state.clear_flags(flags::EXPIRED); // something of it is known to be as it is in the database
        let slot = state.slot(attr);
        if slot.value().is_null() {
            continue;
        }
        if slot.is_modified() {
            if let Some(attr) = state.manager().attr(attr) {
                expiry::expire_attribute(py, state, attr, false)?;
            }
        } else {
            state.set_committed(attr, value.into_ptr())?;
        }
    }
    Ok(())
}

/// Groups rows by their first `width` values: a dict of key (a value, or a tuple where `width` is above one) to the list of
/// what comes after the key in each row (the value itself where one comes, else a tuple).
#[pyfunction]
pub fn group_rows<'py>(rows: &Bound<'py, PyAny>, width: usize) -> PyResult<Bound<'py, PyDict>> {
    let py = rows.py();
    let mut groups = Groups::new(py);
    for row in rows.try_iter()? {
        let row = row?;
        let row = match row.cast_into_exact::<PyTuple>() {
            Ok(row) => row,
            Err(error) => PyTuple::new(py, error.into_inner().try_iter()?.collect::<PyResult<Vec<_>>>()?)?,
        };
        let key = if width == 1 { row.get_item(0)? } else { row.get_slice(0, width).into_any() };
        let rest =
            if row.len() == width + 1 { row.get_item(width)? } else { row.get_slice(width, row.len()).into_any() };
        groups.add(key, rest)?;
    }
    Ok(groups.into_dict())
}
