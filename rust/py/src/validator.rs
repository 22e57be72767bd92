//! `@validates`: the program's method, called by the events of its attribute without a Python frame in between.
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::attribute::{AttrEvent, Initiator, Op};
use crate::instance_state::InstanceState;
use crate::state::StateRef;
use crate::{raw, token};

/// A validation method as it listens to one event of an attribute.
#[pyclass(frozen, weakref, module = "rustalchemy._core")]
pub struct Validator {
    method: Py<PyAny>,
    key: Py<PyString>,
    event: AttrEvent,
    /// Hears of removals; the method gets a third argument that says whether it is one.
    includes_removes: bool,
    /// Also validates what the other side of the relationship sets.
    includes_backrefs: bool,
}

#[pymethods]
impl Validator {
    #[new]
    #[pyo3(signature = (method, key, event, *, include_removes, include_backrefs))]
    fn new(
        method: Py<PyAny>,
        key: Py<PyString>,
        event: &str,
        include_removes: bool,
        include_backrefs: bool,
    ) -> PyResult<Self> {
        let event = [AttrEvent::Set, AttrEvent::Append, AttrEvent::Remove, AttrEvent::BulkReplace]
            .into_iter()
            .find(|known| AttrEvent::NAMES[*known as usize] == event)
            .ok_or_else(|| PyValueError::new_err(format!("no event of validators: {event}")))?;
        Ok(Self { method, key, event, includes_removes: include_removes, includes_backrefs: include_backrefs })
    }

    /// As the event's dispatcher calls it: the `InstanceState`, the value, the old value if there is one, the initiator.
    #[pyo3(signature = (state, value, *others, **_keys))]
    fn __call__<'py>(
        &self,
        state: &Bound<'py, PyAny>,
        value: Bound<'py, PyAny>,
        others: &Bound<'py, PyTuple>,
        _keys: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // None once the object is gone, which is what the method gets then
        let state = state.cast::<InstanceState>()?.get().state();
        let initiator = others.iter().last().and_then(|token| token::initiator(Some(&token)));
        Ok(self.validate(state, &value, initiator)?.unwrap_or(value))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.method)
    }
}

impl Validator {
    /// The value that takes the place of `value`, if the method was asked for one.
    pub fn validate<'py>(
        &self,
        state: Option<StateRef>,
        value: &Bound<'py, PyAny>,
        initiator: Option<Initiator>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = value.py();
        if !self.includes_backrefs && !self.is_initiator(py, state, initiator) {
            return Ok(None);
        }
        match self.event {
            // A replaced collection was validated as a whole.
            AttrEvent::Append if initiator.is_some_and(|initiator| initiator.op == Op::BulkReplace) => Ok(None),
            AttrEvent::BulkReplace => {
                let values = value.cast::<PyList>()?;
                let valid = values.iter().map(|value| self.ask(state, &value)).collect::<PyResult<Vec<_>>>()?;
                values.set_slice(0, values.len(), PyList::new(py, valid)?.as_any())?;
                Ok(None)
            }
            _ => self.ask(state, value).map(Some),
        }
    }

    /// Did the change begin with this attribute, not with the other side of its relationship?
    fn is_initiator(&self, py: Python<'_>, state: Option<StateRef>, initiator: Option<Initiator>) -> bool {
        let own = state.and_then(|state| state.manager().attr_by_key(self.key.bind(py)));
        initiator.zip(own).is_some_and(|(initiator, own)| std::ptr::eq(initiator.attr, own))
    }

    fn ask<'py>(&self, state: Option<StateRef>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = value.py();
        let object = state.and_then(|state| state.object(py)).unwrap_or_else(|| py.None().into_bound(py));
        let key = self.key.bind(py).as_any();
        let is_remove = pyo3::types::PyBool::new(py, self.event == AttrEvent::Remove).to_owned().into_any();
        let arguments = [&object, key, value].into_iter().chain(self.includes_removes.then_some(&is_remove));
        raw::call(self.method.bind(py), arguments, None)
    }
}
