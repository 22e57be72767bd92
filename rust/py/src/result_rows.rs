//! Core's `Row` objects, made of tuples.
//!
//! Making one costs next to nothing; what costs is the cyclic collector, which goes over every one of them several times while
//! a large result is being built. So it pauses meanwhile, and is not told of rows whose values cannot be part of a cycle.

use std::ptr;

use pyo3::PyTraverseError;
use pyo3::ffi;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyTuple, PyType};

use crate::raw;

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
            let mut call = maker.call(py)?;
            for values in tuples {
                made.push(call.row(&values)?);
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
    fn call<'py>(&self, py: Python<'py>) -> PyResult<RowCall<'py>> {
        RowCall::new(self.class.bind(py), [self.metadata.bind(py), self.key_to_index.bind(py).as_any()])
    }
}

/// Calls a row class again and again. The arguments stay in one tuple, where only the values change.
struct RowCall<'py> {
    class: Bound<'py, PyType>,
    arguments: Bound<'py, PyTuple>,
}

impl<'py> RowCall<'py> {
    /// Place of the values among the arguments.
    const VALUES: ffi::Py_ssize_t = 3;

    fn new(class: &Bound<'py, PyType>, [metadata, key_to_index]: [&Bound<'py, PyAny>; 2]) -> PyResult<Self> {
        let none = class.py().None().into_bound(class.py());
        let arguments = PyTuple::new(class.py(), [metadata, &none, key_to_index, &none])?;
        Ok(Self { class: class.clone(), arguments })
    }

    fn row(&mut self, values: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = values.py();
        self.put(values)?;
        let class = self.class.as_type_ptr();
        let arguments = self.arguments.as_ptr();
        // SAFETY: what calling the class does, which its metaclass leaves to `type`: a living class makes an object, which then
        // takes the arguments in. Both borrow these.
        let row = unsafe {
            let is_plain = (*ffi::Py_TYPE(class.cast())).tp_call.map(|call| call as usize)
                == ffi::PyType_Type.tp_call.map(|call| call as usize);
            match ((*class).tp_new, (*class).tp_init) {
                (Some(new), Some(init)) if is_plain => {
                    let row = Bound::from_owned_ptr_or_err(py, new(class, arguments, ptr::null_mut()))?;
                    if init(row.as_ptr(), arguments, ptr::null_mut()) < 0 {
                        return Err(PyErr::fetch(py));
                    }
                    row
                }
                _ => self.class.call1(&self.arguments)?,
            }
        };
        if raw::untrack_plain_tuple(values) {
            // SAFETY: a valid object. What a row refers to beside its values is the result's metadata, which knows no rows, so it
            // cannot be part of a cycle.
            unsafe {
                if ffi::PyObject_IS_GC(row.as_ptr()) != 0 {
                    ffi::PyObject_GC_UnTrack(row.as_ptr().cast());
                }
            }
        }
        Ok(row)
    }

    /// The values are the last of the arguments from now on. A tuple that somebody has kept is left to him.
    fn put(&mut self, values: &Bound<'py, PyAny>) -> PyResult<()> {
        // SAFETY: a living object.
        if unsafe { ffi::Py_REFCNT(self.arguments.as_ptr()) } > 1 {
            self.arguments = PyTuple::new(values.py(), self.arguments.iter())?;
        }
        // SAFETY: a tuple of four, all ours; PyTuple_SetItem lets go of what was there, which the row before holds.
        let result = unsafe { ffi::PyTuple_SetItem(self.arguments.as_ptr(), Self::VALUES, values.clone().into_ptr()) };
        if result == 0 { Ok(()) } else { Err(PyErr::fetch(values.py())) }
    }
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
            Some(values) => slf.get().maker.get().call(py)?.row(&values?).map(Some),
        }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.maker)?;
        visit.call(&self.tuples)
    }
}
