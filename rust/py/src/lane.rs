//! The statement lane, seen from the core: the lane that a session's transaction keeps, and SELECTs through it.
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString, PyTuple, PyType};

use crate::driver;
use crate::hydrate::Execution;

/// Rows of a block: so few that they do not leave the processor's cache before they are looked at.
const BLOCK: usize = 64;

/// The lane of the session's transaction. One is opened, and a transaction begun, where there is none yet; nothing if
/// statements have to go through Core.
pub fn of_session<'py>(session: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    if let Some(lane) = kept(session)? {
        return Ok(Some(lane));
    }
    let lane = session.call_method0(intern!(session.py(), "_open_lane"))?;
    Ok((!lane.is_none()).then_some(lane))
}

/// The lane that the session's transaction keeps, if it still is the way to go (`SessionBinds._kept_lane`).
fn kept<'py>(session: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static ACTIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static CONNECTION: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = session.py();
    let transaction = session.getattr(intern!(py, "_transaction"))?;
    if transaction.is_none() {
        return Ok(None);
    }
    let outer = transaction.getattr(intern!(py, "_outer_boundary"))?;
    let transaction = if outer.is_none() { transaction } else { outer };
    let lane = transaction.getattr(intern!(py, "_lane"))?;
    if lane.is_none() {
        return Ok(None);
    }
    let active = ACTIVE.get_or_try_init(py, || {
        let module = py.import("rustalchemy.orm._transaction_states")?;
        PyResult::Ok(module.getattr("ACTIVE")?.unbind())
    })?;
    let engine = lane.getattr(intern!(py, "engine"))?;
    if !engine.is(&session.getattr(intern!(py, "bind"))?)
        || session.getattr(intern!(py, "binds"))?.is_truthy()?
        || !transaction.getattr(intern!(py, "_state"))?.is(active)
        || transaction.getattr(intern!(py, "session"))?.is_none()
        || !session.getattr(intern!(py, "_trans_context_manager"))?.is_none()
    {
        return Ok(None);
    }
    let is_open = if lane.getattr(intern!(py, "_connection"))?.is_none() {
        let has_events = intern!(py, "_has_events");
        !lane.getattr(intern!(py, "_pooled"))?.getattr(intern!(py, "dbapi_connection"))?.is_none()
            && !engine.getattr(has_events)?.is_truthy()?
            && !lane.getattr(intern!(py, "dialect"))?.getattr(has_events)?.is_truthy()?
            && !CONNECTION.import(py, "sqlalchemy.engine", "Connection")?.getattr(has_events)?.is_truthy()?
    } else {
        lane.call_method0(intern!(py, "is_open"))?.is_truthy()?
    };
    Ok(is_open.then_some(lane))
}

/// Executes on the lane's connection, and returns all rows. Errors of the driver are raised as Core raises them.
pub fn fetch<'py>(
    lane: &Bound<'py, PyAny>,
    sql: &Bound<'py, PyString>,
    parameters: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyList>> {
    let py = lane.py();
    let cursor = driver::open(lane, sql, parameters)?;
    let rows = cursor
        .call_method1(intern!(py, "execute"), (sql, parameters))
        .and_then(|_| cursor.call_method0(intern!(py, "fetchall")));
    match rows {
        Ok(rows) => {
            driver::close(lane, &cursor)?;
            match rows.cast_into::<PyList>() {
                Ok(rows) => Ok(rows),
                Err(error) => PyList::new(py, error.into_inner().try_iter()?.collect::<PyResult<Vec<_>>>()?),
            }
        }
        Err(error) => {
            lane.call_method1(intern!(py, "fail"), (error.value(py), sql, parameters, cursor))?;
            Err(error)
        }
    }
}

/// Executes on the lane's connection, and hands over the rows, to be taken out of the vector: block by block while the cursor
/// goes on if `streams`, else all at once. Errors of the driver are raised as Core raises them.
pub fn each_block<'py>(
    execution: &Execution<'_, 'py>,
    streams: bool,
    mut take: impl FnMut(&mut Vec<Bound<'py, PyAny>>) -> PyResult<()>,
) -> PyResult<()> {
    let Execution { lane, sql, parameters } = *execution;
    let py = lane.py();
    let cursor = driver::open(lane, sql, parameters)?;
    let fail = |error: PyErr| {
        let raised = lane.call_method1(intern!(py, "fail"), (error.value(py), sql, parameters, &cursor));
        raised.err().unwrap_or(error)
    };
    cursor.call_method1(intern!(py, "execute"), (sql, parameters)).map_err(fail)?;
    let mut rows = Vec::new();
    if streams && driver::is_iterator(&cursor)? {
        let mut is_last = false;
        while !is_last {
            is_last = driver::fetch_some(&cursor, &mut rows, BLOCK).map_err(fail)?;
            if let Err(error) = take(&mut rows) {
                driver::close(lane, &cursor)?;
                return Err(error);
            }
        }
        return driver::close(lane, &cursor);
    }
    let fetched = cursor.call_method0(intern!(py, "fetchall")).map_err(fail)?;
    driver::close(lane, &cursor)?;
    rows.extend(fetched.try_iter()?.collect::<PyResult<Vec<_>>>()?);
    take(&mut rows)
}
