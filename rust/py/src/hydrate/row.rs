//! Rows of the driver and their values.
use pyo3::exceptions::PyIndexError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use smallvec::SmallVec;

use crate::processors::Processor;
use crate::row_plan::EntityPlan;

/// A row of the driver as a tuple.
pub(super) struct Row<'py>(pub(super) Bound<'py, PyTuple>);

impl<'py> Row<'py> {
    pub(super) fn new(rows: &Bound<'py, PyList>, at: usize) -> PyResult<Self> {
        Self::of(rows.get_item(at)?)
    }

    pub(super) fn of(row: Bound<'py, PyAny>) -> PyResult<Self> {
        if row.is_exact_instance_of::<PyTuple>() {
            // SAFETY: just checked.
            return Ok(Self(unsafe { row.cast_into_unchecked() }));
        }
        // SAFETY: `row` is a valid object; the result is a new reference to a tuple, or null with an error set.
        unsafe {
            Ok(Self(Bound::from_owned_ptr_or_err(row.py(), ffi::PySequence_Tuple(row.as_ptr()))?.cast_into_unchecked()))
        }
    }

    pub(super) fn check(&self, width: usize) -> PyResult<()> {
        if self.0.len() < width {
            return Err(PyIndexError::new_err(format!("the row has {} values, its plan needs {width}", self.0.len())));
        }
        Ok(())
    }

    /// A value, borrowed from the row. `position` is inside, see `check`.
    #[inline]
    fn raw(&self, position: usize) -> *mut ffi::PyObject {
        #[allow(clippy::cast_possible_wrap)] // a position inside of a tuple
        // SAFETY: callers have compared the plan's width with the row's.
        unsafe {
            ffi::PyTuple_GET_ITEM(self.0.as_ptr(), position as ffi::Py_ssize_t)
        }
    }

    /// A value, held.
    #[inline]
    pub(super) fn get(&self, position: usize) -> Bound<'py, PyAny> {
        // SAFETY: as `raw`.
        unsafe { Bound::from_borrowed_ptr(self.0.py(), self.raw(position)) }
    }

    /// A value as the attribute will have it.
    #[inline]
    pub(super) fn processed(&self, position: usize, processor: Option<&Py<Processor>>) -> PyResult<Bound<'py, PyAny>> {
        let value = self.get(position);
        match processor {
            None => Ok(value),
            Some(processor) => processor.get().apply(&value),
        }
    }
}

/// Processed values of key or columns.
pub(super) type Values<'py> = SmallVec<[Bound<'py, PyAny>; 8]>;

/// All columns of a row, processed. `key` has the processed key, or nothing.
pub(super) fn processed_columns<'py>(
    plan: &EntityPlan,
    row: &Row<'py>,
    key: &[Bound<'py, PyAny>],
) -> PyResult<Values<'py>> {
    plan.columns()
        .map(|(column, shared)| match shared.and_then(|at| key.get(at)) {
            Some(value) => Ok(value.clone()),
            None => row.processed(column.position, column.processor.as_ref()),
        })
        .collect()
}
