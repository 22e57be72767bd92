//! Core's `Row` objects, made of tuples.
//!
//! Making one costs next to nothing; what costs is the cyclic collector, which goes over every one of them several times while
//! a large result is being built. So it pauses meanwhile, and is not told of rows whose values cannot be part of a cycle.

use pyo3::PyTraverseError;
use pyo3::ffi;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple, PyType};

/// The collector, off until this is dropped.
struct CollectorPause {
    was_enabled: bool,
}

impl CollectorPause {
    fn begin(_py: Python<'_>) -> Self {
        // SAFETY: called with the GIL held.
        Self { was_enabled: unsafe { ffi::PyGC_Disable() } != 0 }
    }
}

impl Drop for CollectorPause {
    fn drop(&mut self) {
        if self.was_enabled {
            // SAFETY: made and dropped with the GIL held.
            unsafe { ffi::PyGC_Enable() };
        }
    }
}

/// Makes the rows of one result: `Row` objects of its metadata, or `RowMapping` objects.
///
/// The class is one of Core's compiled ones, whose constructor runs no Python code.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct RowMaker {
    class: Py<PyType>,
    metadata: Py<PyAny>,
    key_to_index: Py<PyDict>,
}

#[pymethods]
impl RowMaker {
    #[new]
    fn new(class_: Py<PyType>, metadata: Py<PyAny>, key_to_index: Py<PyDict>) -> Self {
        Self { class: class_, metadata, key_to_index }
    }

    /// A row of each tuple.
    fn rows<'py>(slf: &Bound<'py, Self>, tuples: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let maker = slf.get();
        let mut made = Vec::with_capacity(tuples.len());
        {
            let _pause = CollectorPause::begin(py);
            for values in tuples {
                made.push(maker.row(&values)?);
            }
        }
        PyList::new(py, made)
    }

    /// A row of each tuple of an iterator, made when it is asked for.
    fn iterate(slf: Bound<'_, Self>, tuples: Py<PyIterator>) -> MadeRows {
        MadeRows { maker: slf.unbind(), tuples }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.class)?;
        visit.call(&self.metadata)?;
        visit.call(&self.key_to_index)
    }
}

impl RowMaker {
    fn row<'py>(&self, values: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = values.py();
        // SAFETY: `None` lives for ever.
        let none = unsafe { ffi::Py_None() };
        let arguments = [self.metadata.as_ptr(), none, self.key_to_index.as_ptr(), values.as_ptr()];
        // SAFETY: four living arguments, borrowed by the call; the result is a new reference, or null with an error set.
        let row = unsafe {
            let made = ffi::PyObject_Vectorcall(
                self.class.as_ptr(),
                arguments.as_ptr(),
                arguments.len(),
                std::ptr::null_mut(),
            );
            Bound::from_owned_ptr_or_err(py, made)?
        };
        if let Ok(values) = values.cast_exact::<PyTuple>()
            && values.iter_borrowed().all(|value| is_collector_free(&value))
        {
            // SAFETY: both are valid objects with a collector header. What a row refers to beside its values is the result's
            // metadata, which knows no rows, so neither object can be part of a cycle.
            unsafe {
                ffi::PyObject_GC_UnTrack(values.as_ptr().cast());
                if ffi::PyObject_IS_GC(row.as_ptr()) != 0 {
                    ffi::PyObject_GC_UnTrack(row.as_ptr().cast());
                }
            }
        }
        Ok(row)
    }
}

/// Whether the collector never looks at objects of this kind, which therefore refer to none.
fn is_collector_free(value: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a valid object.
    unsafe { ffi::PyObject_IS_GC(value.as_ptr()) == 0 }
}

/// Rows of an iterator over tuples.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct MadeRows {
    maker: Py<RowMaker>,
    tuples: Py<PyIterator>,
}

#[pymethods]
impl MadeRows {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = slf.py();
        let mut tuples = slf.get().tuples.bind(py).clone();
        match tuples.next() {
            None => Ok(None),
            Some(values) => slf.get().maker.get().row(&values?).map(Some),
        }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.maker)?;
        visit.call(&self.tuples)
    }
}
