//! Lazy loads of collections, and of related objects not found by primary key: one native call from cursor to objects.
//!
//! As for `prepared.rs`, Python does the first load and leaves the statement behind, with the target's mapper, which drops
//! it when its description changes.
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::hydrate::{self, HydrateOptions};
use crate::instance_state::{InstanceState, Living};
use crate::manager::{ClassManager, ManagerCore};
use crate::prepared::{self, PreparedRow};
use crate::state::StateRef;
use crate::unit_of_work_core::UowRef;

/// A relationship whose rows are found by columns of the parent.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct RelatedRows {
    target: Py<ClassManager>,
    columns: Vec<u32>,
}

#[pymethods]
impl RelatedRows {
    /// `columns`: the parent's attributes that are the statement's parameters, in the order of their numbers there.
    #[new]
    fn new(target: Py<ClassManager>, columns: Vec<u32>) -> Self {
        Self { target, columns }
    }

    /// The related objects, each once; `NotImplemented` where the attribute's loader has to be asked.
    fn load<'py>(slf: &Bound<'py, Self>, state: &Bound<'py, InstanceState>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let objects = match Living::of(state) {
            Some(state) => find(slf, *state)?,
            None => None,
        };
        Ok(objects.map_or_else(|| py.NotImplemented().into_bound(py), Bound::into_any))
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.target)
    }
}

fn find<'py>(slf: &Bound<'py, RelatedRows>, state: StateRef) -> PyResult<Option<Bound<'py, PyList>>> {
    let py = slf.py();
    if !prepared::may_load(state) || state.is_outdated() {
        return Ok(None);
    }
    let Some(mapper) = ManagerCore::of(slf.get().target.bind(py)).mapper(py) else { return Ok(None) };
    let Some(prepared) = PreparedRow::of_relation(&mapper, slf.as_any())? else { return Ok(None) };
    let Some(key) = prepared::loaded_key(py, state, &slf.get().columns)? else { return Ok(None) };
    // SAFETY: the owner of a state is a living unit of work; the session is held from the next line on.
    let uow = unsafe { UowRef::from_ptr(state.owner()) };
    let Some(session) = uow.session(py) else { return Ok(None) };
    if !prepared::is_plain(&session)? {
        return Ok(None);
    }
    let Some(rows) = prepared.get().rows(&session, uow, &key)? else { return Ok(None) };
    let plan = prepared.get().plan(py);
    let options = HydrateOptions { passes_by_loaded: true, ..HydrateOptions::default() };
    let objects = hydrate::hydrate(&session, uow.as_ptr(), plan, &rows, options, None)?;
    each_once(objects).map(Some)
}

/// The objects without repetitions: a secondary table may have a link twice, and joined collections multiply rows.
fn each_once(objects: Bound<'_, PyList>) -> PyResult<Bound<'_, PyList>> {
    let mut addresses: Vec<usize> = objects.iter().map(|object| object.as_ptr() as usize).collect();
    addresses.sort_unstable();
    addresses.dedup();
    if addresses.len() == objects.len() {
        return Ok(objects);
    }
    let mut seen = hashbrown::HashSet::with_capacity(addresses.len());
    PyList::new(objects.py(), objects.iter().filter(|object| seen.insert(object.as_ptr() as usize)).collect::<Vec<_>>())
}
