//! `_core.RegisteredFlush`: a flush that knows its objects, to be ordered and carried out once.
use std::cell::RefCell;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

use crate::unit_of_work_core::UowRef;

use super::Flush;

/// A flush that knows its objects; holds them until it is finished or aborted.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct RegisteredFlush {
    flush: RefCell<Option<Box<Flush>>>,
}

// SAFETY: the module declares `gil_used`; the cell is only touched with the GIL held and never across Python calls.
unsafe impl Send for RegisteredFlush {}
// SAFETY: as above.
unsafe impl Sync for RegisteredFlush {}

impl RegisteredFlush {
    /// *Register*; nothing where nothing is left to do: pending orphans only have to leave the session.
    pub fn make<'py>(
        py: Python<'py>,
        uow: UowRef,
        objects: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        let mut flush = Flush::new(uow, false, objects.is_none());
        flush.register_session(py, objects)?;
        if flush.states.is_empty() {
            return Ok(None);
        }
        Bound::new(py, Self { flush: RefCell::new(Some(Box::new(flush))) }).map(Some)
    }

    fn take(slf: &Bound<'_, Self>, uow: UowRef) -> PyResult<Box<Flush>> {
        let flush = slf.get().flush.borrow_mut().take();
        let flush =
            flush.ok_or_else(|| PyRuntimeError::new_err("this flush was carried out, or is being carried out"))?;
        if flush.uow != uow {
            return Err(PyRuntimeError::new_err("this flush belongs to another session"));
        }
        Ok(flush)
    }

    /// *Graph*, *plan* and *execute*: sends every batch through the executor.
    pub fn execute(slf: &Bound<'_, Self>, uow: UowRef, executor: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let mut flush = Self::take(slf, uow)?;
        let result = flush.make_plan(py).and_then(|_| flush.execute(py, executor));
        slf.get().flush.replace(Some(flush));
        result
    }

    /// *Finish*: settles states, map and history.
    pub fn finish(slf: &Bound<'_, Self>, uow: UowRef) -> PyResult<usize> {
        let mut flush = Self::take(slf, uow)?;
        flush.finish(slf.py())
    }

    /// Lets go of the objects.
    pub fn abort(slf: &Bound<'_, Self>) {
        let flush = slf.get().flush.borrow_mut().take();
        drop(flush);
    }
}

#[pymethods]
impl RegisteredFlush {
    /// The number of objects that take part.
    #[getter]
    fn objects(&self) -> usize {
        self.flush.borrow().as_ref().map_or(0, |flush| flush.states.len())
    }
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(flush) = self.flush.try_borrow()
            && let Some(flush) = &*flush
        {
            for mapper in &flush.mappers {
                visit.call(&mapper.manager)?;
            }
            for held in &flush.states {
                held.traverse(&visit)?;
            }
        }
        Ok(())
    }
    fn __clear__(slf: &Bound<'_, Self>) {
        Self::abort(slf);
    }
}
