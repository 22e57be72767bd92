//! The lane's driver, used natively: parameters, and cursors whose errors are worded by the lane as Core words them.
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;

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
    let connection = lane.getattr(intern!(py, "_dbapi_connection"))?;
    match connection.call_method0(intern!(py, "cursor")) {
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
