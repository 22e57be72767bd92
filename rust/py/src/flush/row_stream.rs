//! Parameters for `executemany`, made row by row while the driver takes them: no list, and one tuple alive at a time.
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::row_set::{Parameter, RowSet};

/// The parameters of rows whose values need no processing; may be gone through more than once.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct RowStream {
    set: Rc<RowSet>,
    parameters: Rc<[Parameter]>,
}

// SAFETY: the module declares `gil_used`; the `Rc`s are only cloned and dropped with the GIL held.
unsafe impl Send for RowStream {}
// SAFETY: as above.
unsafe impl Sync for RowStream {}

impl RowStream {
    pub(super) fn new(set: Rc<RowSet>, parameters: Rc<[Parameter]>) -> Self {
        Self { set, parameters }
    }

    /// Whether no value needs processing: errors of that kind have to come before the first row is sent.
    pub(super) fn suits(parameters: &[Parameter]) -> bool {
        parameters.iter().all(|parameter| parameter.processor.is_none())
    }
}

#[pymethods]
impl RowStream {
    fn __len__(&self) -> usize {
        self.set.len()
    }
    fn __iter__(slf: &Bound<'_, Self>) -> RowIterator {
        RowIterator { stream: slf.clone().unbind(), next: AtomicUsize::new(0) }
    }
}

/// One way through a stream.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct RowIterator {
    stream: Py<RowStream>,
    next: AtomicUsize,
}

#[pymethods]
impl RowIterator {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }
    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let RowStream { set, parameters } = self.stream.get();
        let row = self.next.fetch_add(1, Ordering::Relaxed);
        if row >= set.len() {
            return Ok(None);
        }
        set.parameters(py, row, parameters).map(Some)
    }
    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.stream)
    }
}
