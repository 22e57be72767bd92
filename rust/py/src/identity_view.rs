//! `_core.IdentityMap`: a session's identity map as Python sees it, a live view keyed by SQLAlchemy's identity keys.
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList, PyTuple, PyType};

use crate::held::Held;
use crate::identity_key;
use crate::instance_state::{InstanceState, Living};
use crate::manager::ManagerCore;
use crate::unit_of_work::UnitOfWork;
use crate::unit_of_work_core::UowRef;

/// A live view of a session's identity map.
#[pyclass(frozen, name = "IdentityMap", module = "rustalchemy._core")]
pub struct IdentityMapView(Py<UnitOfWork>);

impl IdentityMapView {
    /// The view of a session.
    pub fn of(session: &Bound<'_, UnitOfWork>) -> Self {
        Self(session.clone().unbind())
    }
    fn uow(&self, py: Python<'_>) -> UowRef {
        UnitOfWork::handle(self.0.bind(py))
    }
    fn all(&self, py: Python<'_>) -> Vec<Held> {
        self.uow(py).core().identity.held(|_| true)
    }
    /// The object with an identity key of the form (class, primary key, token).
    fn find<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Ok(key) = key.cast::<PyTuple>() else { return Ok(None) };
        let Ok(class) = key.get_item(0).and_then(|class| Ok(class.cast_into::<PyType>()?)) else { return Ok(None) };
        let Ok(parts) = key.get_item(1).and_then(|parts| Ok(parts.cast_into::<PyTuple>()?)) else { return Ok(None) };
        // SAFETY: the class is held here, and with it its manager.
        let Some(manager) = (unsafe { ManagerCore::lookup(py, class.as_type_ptr()).as_ref() }) else { return Ok(None) };
        let Some(descriptor) = manager.descriptor() else { return Ok(None) };
        let base = ManagerCore::of(descriptor.identity.bind(py));
        if parts.len() != descriptor.primary_key.len() || parts.is_empty() {
            return Ok(None);
        }
        let ident = if parts.len() == 1 { parts.get_item(0)? } else { parts.into_any() };
        let token = key.get_item(2).ok().filter(|token| !token.is_none());
        let token = token.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr);
        let found = self.uow(py).core().identity.lookup(py, base, ident.as_ptr(), token)?;
        Ok(found.map(|found| found.object))
    }
}

fn view_state<'py>(state: &Bound<'py, PyAny>) -> Option<Living<'py>> {
    Living::of(state.cast::<InstanceState>().ok()?)
}

#[pymethods]
impl IdentityMapView {
    fn __len__(&self, py: Python<'_>) -> usize {
        self.uow(py).core().identity.len()
    }
    fn __contains__(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(self.find(py, key)?.is_some())
    }
    fn has_key(&self, py: Python<'_>, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        self.__contains__(py, key)
    }
    fn __getitem__<'py>(&self, py: Python<'py>, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.find(py, key)?.ok_or_else(|| PyKeyError::new_err(key.clone().unbind()))
    }
    #[pyo3(signature = (key, default = None))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        key: &Bound<'py, PyAny>,
        default: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.find(py, key)?.or(default))
    }
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let keys: Vec<_> =
            self.all(py).iter().map(|held| identity_key::of(py, held.state())).collect::<PyResult<_>>()?;
        PyList::new(py, keys)
    }
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.all(py).iter().map(|held| held.object(py)))
    }
    fn items<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let items: Vec<_> = self
            .all(py)
            .iter()
            .map(|held| Ok((identity_key::of(py, held.state())?, held.object(py))))
            .collect::<PyResult<_>>()?;
        PyList::new(py, items)
    }
    fn all_states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let views: Vec<_> = self.all(py).iter().map(|held| held.state().view(py)).collect::<PyResult<_>>()?;
        PyList::new(py, views)
    }
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.keys(py)?.try_iter()
    }
    fn contains_state(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> bool {
        view_state(state).is_some_and(|state| state.owner() == self.uow(py).as_ptr() && state.has(crate::flags::IN_MAP))
    }
    fn add(&self, py: Python<'_>, state: &Bound<'_, PyAny>) -> PyResult<bool> {
        let Some(state) = view_state(state) else { return Ok(false) };
        if state.has(crate::flags::IN_MAP) {
            return Ok(false);
        }
        self.uow(py).map_attach(py, *state)?;
        Ok(true)
    }
    fn replace<'py>(&self, py: Python<'py>, state: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(state) = view_state(state) else { return Ok(None) };
        state.set_owner(self.uow(py).as_ptr());
        self.uow(py).map_replace(py, *state)?.map(|held| held.state().view(py)).transpose()
    }
    fn safe_discard(&self, py: Python<'_>, state: &Bound<'_, PyAny>) {
        if let Some(state) = view_state(state) {
            let uow = self.uow(py);
            uow.map_discard(*state);
            if state.owner() == uow.as_ptr() {
                drop(uow.leave_dirty(*state));
                uow.core().outside.insert(*state);
            }
        }
    }
    fn discard(&self, py: Python<'_>, state: &Bound<'_, PyAny>) {
        self.safe_discard(py, state);
    }
    fn check_modified(&self, py: Python<'_>) -> bool {
        !self.uow(py).core().dirty.is_empty()
    }
    /// States with changes.
    #[getter]
    fn _modified<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let dirty: Vec<Held> = self.uow(py).core().dirty.iter().filter_map(Held::new).collect();
        let views: Vec<_> = dirty.iter().map(|held| held.state().view(py)).collect::<PyResult<_>>()?;
        Ok(pyo3::types::PySet::new(py, views)?.into_any())
    }
    fn __repr__(&self, py: Python<'_>) -> String {
        format!("<IdentityMap of {} objects>", self.__len__(py))
    }
}
