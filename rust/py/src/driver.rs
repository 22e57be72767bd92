//! The lane's driver, used natively: parameters, and cursors whose errors are worded by the lane as Core words them.
use pyo3::exceptions::PyException;
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

use crate::imports;
use crate::lane::DriverLane;

/// Parameters; nothing if a value cannot be processed: the executor meets it again, and says so in Core's words.
pub fn unless_unprocessable<T>(py: Python<'_>, parameters: PyResult<T>) -> PyResult<Option<T>> {
    match parameters {
        Ok(parameters) => Ok(Some(parameters)),
        Err(error) if error.is_instance_of::<PyException>(py) => Ok(None),
        Err(interrupt) => Err(interrupt),
    }
}

/// A new cursor for a statement, which is only needed to say what failed.
pub fn open<'py>(
    lane: &Bound<'py, PyAny>,
    statement: impl IntoPyObject<'py>,
    parameters: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = lane.py();
    match lane.cast::<DriverLane>()?.get().dbapi_connection(py).call_method0(intern!(py, "cursor")) {
        Ok(cursor) => Ok(cursor),
        Err(error) => {
            lane.call_method1(intern!(py, "fail"), (error.value(py), statement, parameters, py.None()))?;
            Err(error)
        }
    }
}

/// Closes a cursor that has done its work; only an interrupt is an error then.
pub fn close(lane: &Bound<'_, PyAny>, cursor: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = lane.py();
    match cursor.call_method0(intern!(py, "close")) {
        Err(error) if error.is_instance_of::<PyException>(py) => {
            lane.call_method1(intern!(py, "close_failed"), (error.value(py),)).map(drop)
        }
        closed => closed.map(drop),
    }
}

/// Whether a cursor is one whose iteration is all that its `fetchall()` does.
pub fn is_iterator(cursor: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(cursor.get_type().is(imports::SQLITE_CURSOR.get(cursor.py())?))
}

/// Fetches rows until there are so many; whether that was all.
pub fn fetch_some<'py>(cursor: &Bound<'py, PyAny>, rows: &mut Vec<Bound<'py, PyAny>>, most: usize) -> PyResult<bool> {
    let py = cursor.py();
    while rows.len() < most {
        // SAFETY: an iterator, see `is_iterator`; the result is a new reference, or null at the end or with an error set.
        match unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyIter_Next(cursor.as_ptr())) } {
            Some(row) => rows.push(row),
            None => return PyErr::take(py).map_or(Ok(true), Err),
        }
    }
    Ok(false)
}
