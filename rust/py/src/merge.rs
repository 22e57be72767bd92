//! The native part of `Session.merge()`: column values of one object go to another that has the same identity.
use pyo3::exceptions::PyKeyError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::attribute;
use crate::expiry;
use crate::hooks;
use crate::identity::base_of;
use crate::instance_state::expect_state;
use crate::overrides;
use crate::prepared::loaded_key;
use crate::state::{StateRef, state_of};
use crate::unit_of_work_core::UowRef;

/// What a merge has to look at in objects of one mapper, by attribute number.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct MergePlan {
    primary_key: Vec<u32>,
    columns: Vec<u32>,
    /// Relationships that merge cascades along.
    related: Vec<u32>,
}

#[pymethods]
impl MergePlan {
    #[new]
    #[pyo3(signature = (columns, *, primary_key=Vec::new(), related=Vec::new()))]
    fn new(columns: Vec<u32>, primary_key: Vec<u32>, related: Vec<u32>) -> Self {
        Self { primary_key, columns, related }
    }

    /// Copies column values between two `InstanceState`s: with events, or as loaded ones without `load`. What the source
    /// has not loaded is expired where the target has not loaded it either.
    fn copy(&self, source: &Bound<'_, PyAny>, target: &Bound<'_, PyAny>, load: bool) -> PyResult<()> {
        self.copy_values(source.py(), *expect_state(source)?, *expect_state(target)?, load)
    }
}

impl MergePlan {
    fn copy_values(&self, py: Python<'_>, source: StateRef, target: StateRef, load: bool) -> PyResult<()> {
        for &index in &self.columns {
            expiry::apply_pending(py, source)?;
            // SAFETY: owned by the slot.
            let value = unsafe { Bound::from_borrowed_ptr_or_opt(py, source.slot(index).value()) };
            let Some(attr) = target.manager().attr(index) else {
                return lacks(py, source, index); // an object of another class
            };
            match value {
                Some(value) if load => attribute::set(py, target, attr, &value, None)?,
                Some(value) => {
                    expiry::apply_pending(py, target)?;
                    attribute::store(target, attr, value)?;
                }
                None => {
                    expiry::apply_pending(py, target)?;
                    if target.has_key() && target.slot(index).value().is_null() {
                        expiry::expire_attribute(py, target, attr, true)?;
                        expiry::fire(py, target, Some(PyList::new(py, [attr.key(py)])?.as_any()))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// `KeyError`: the object that has the identity is of a class without the attribute.
fn lacks(py: Python<'_>, source: StateRef, index: u32) -> PyResult<()> {
    let key = source.manager().attr(index).map(|attr| attr.key(py).clone().unbind());
    Err(PyKeyError::new_err((key,)))
}

/// Merges an object into the one of the same identity that the session has, if there is nothing else to it: no object
/// to be loaded or made, no related object to be merged. `None`: Python has to do it, and nothing has happened.
pub fn into_known<'py>(uow: UowRef, instance: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = instance.py();
    let Some(source) = state_of(instance) else { return Ok(None) };
    let manager = source.manager();
    if manager.descriptor().is_none() {
        return Ok(None); // not configured yet
    }
    let Some(mapper) = manager.mapper(py) else { return Ok(None) };
    let plan = mapper.getattr(intern!(py, "_merge_plan"))?;
    let Ok(plan) = plan.cast_exact::<MergePlan>() else { return Ok(None) };
    let plan = plan.get();
    expiry::apply_pending(py, source)?;
    let has_loaders = source.rare().is_some_and(|rare| !rare.callables.is_null());
    if has_loaders || plan.related.iter().any(|&index| !source.slot(index).value().is_null()) {
        return Ok(None);
    }
    // SAFETY: owned by the state, and by these references from here on.
    let (key, token) = unsafe {
        let token = Bound::from_borrowed_ptr_or_opt(py, source.identity_token());
        (Bound::from_borrowed_ptr_or_opt(py, source.key()), token)
    };
    let key = match key {
        Some(key) => key,
        None if source.is_attached() => return Ok(None), // a pending object: there may be a warning
        None => match loaded_key(py, source, &plan.primary_key)? {
            Some(key) => key,
            None => return Ok(None),
        },
    };
    let token = token.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr);
    let Some(found) = uow.core().identity.lookup(py, base_of(py, source), key.as_ptr(), token)? else {
        return Ok(None);
    };
    if found.object.is(instance) {
        return Ok(Some(found.object));
    }
    copy_load_context(py, source, found.state)?;
    plan.copy_values(py, source, found.state, true)?;
    Ok(Some(found.object))
}

/// How the source was loaded is how the target will load what it lacks.
/// What was chosen for single attributes of the target stays, unless the source brings choices of its own.
fn copy_load_context(py: Python<'_>, source: StateRef, target: StateRef) -> PyResult<()> {
    if overrides::has_any(target) && !overrides::has_any(source) {
        hooks::hook(py, "merge_load_options")?.call1((source.view(py)?, target.view(py)?))?;
        return Ok(());
    }
    target.put_extra(source.extra_object(py, |extra| extra.load_options), |extra| &mut extra.load_options);
    target.put_extra(source.extra_object(py, |extra| extra.load_path), |extra| &mut extra.load_path);
    Ok(())
}
