//! The statement lane, seen from the core: the lane that a session's transaction keeps, and SELECTs through it.
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString, PyTuple, PyType};

use crate::driver;
use crate::hydrate::Execution;

/// Rows of a block: so few that they do not leave the processor's cache before they are looked at.
const BLOCK: usize = 64;

/// What the core has to know of a lane; `orm._lane.Lane` adds what it says and does.
#[pyclass(frozen, subclass, module = "rustalchemy._core")]
pub struct DriverLane {
    #[pyo3(get)]
    engine: Py<PyAny>,
    #[pyo3(get)]
    dialect: Py<PyAny>,
    /// What the pool gave out.
    #[pyo3(get, name = "_pooled")]
    pooled: Py<PyAny>,
    #[pyo3(get, name = "_dbapi_connection")]
    dbapi_connection: Py<PyAny>,
    is_bare: AtomicBool,
}

#[pymethods]
impl DriverLane {
    #[new]
    #[pyo3(signature = (engine, pooled, connection, _owner))]
    fn new(
        engine: &Bound<'_, PyAny>,
        pooled: &Bound<'_, PyAny>,
        connection: &Bound<'_, PyAny>,
        _owner: &Bound<'_, PyAny>,
    ) -> PyResult<Self> {
        let py = engine.py();
        Ok(Self {
            engine: engine.clone().unbind(),
            dialect: engine.getattr(intern!(py, "dialect"))?.unbind(),
            pooled: pooled.clone().unbind(),
            dbapi_connection: pooled.getattr(intern!(py, "dbapi_connection"))?.unbind(),
            is_bare: AtomicBool::new(connection.is_none()),
        })
    }

    /// Whether there is no Connection for it yet.
    #[getter]
    fn is_bare(&self) -> bool {
        self.is_bare.load(Ordering::Relaxed)
    }

    /// A Connection was put in its place.
    fn _has_connection(&self) {
        self.is_bare.store(false, Ordering::Relaxed);
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.engine)?;
        visit.call(&self.dialect)?;
        visit.call(&self.pooled)?;
        visit.call(&self.dbapi_connection)
    }
}

impl DriverLane {
    /// The dialect of a lane.
    pub fn dialect<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.dialect.bind(py)
    }

    /// The driver's connection.
    pub fn dbapi_connection<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyAny> {
        self.dbapi_connection.bind(py)
    }

    /// Whether nothing has changed since the lane was made that would close it (`Lane.is_open`).
    fn is_open(slf: &Bound<'_, Self>) -> PyResult<bool> {
        static CONNECTION: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let (py, this) = (slf.py(), slf.get());
        if !this.is_bare() {
            return slf.call_method0(intern!(py, "is_open"))?.is_truthy();
        }
        let has_events = intern!(py, "_has_events");
        Ok(!this.pooled.bind(py).getattr(intern!(py, "dbapi_connection"))?.is_none()
            && !this.engine.bind(py).getattr(has_events)?.is_truthy()?
            && !this.dialect.bind(py).getattr(has_events)?.is_truthy()?
            && !CONNECTION.import(py, "sqlalchemy.engine", "Connection")?.getattr(has_events)?.is_truthy()?)
    }
}

/// The lane of the session's transaction. One is opened, and a transaction begun, where there is none yet; nothing if
/// statements have to go through Core.
pub fn of_session<'py>(session: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, DriverLane>>> {
    if let Some(lane) = kept(session)? {
        return Ok(Some(lane));
    }
    let lane = session.call_method0(intern!(session.py(), "_open_lane"))?;
    if lane.is_none() { Ok(None) } else { Ok(Some(lane.cast_into()?)) }
}

/// The lane that the session's transaction keeps, if it still is the way to go (`SessionBinds._kept_lane`).
fn kept<'py>(session: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, DriverLane>>> {
    static ACTIVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = session.py();
    let transaction = session.getattr(intern!(py, "_transaction"))?;
    if transaction.is_none() {
        return Ok(None);
    }
    let outer = transaction.getattr(intern!(py, "_outer_boundary"))?;
    let transaction = if outer.is_none() { transaction } else { outer };
    let Ok(lane) = transaction.getattr(intern!(py, "_lane"))?.cast_into::<DriverLane>() else { return Ok(None) };
    let active = ACTIVE.get_or_try_init(py, || {
        let module = py.import("rustalchemy.orm._transaction_states")?;
        PyResult::Ok(module.getattr("ACTIVE")?.unbind())
    })?;
    let is_kept = lane.get().engine.is(&session.getattr(intern!(py, "bind"))?)
        && !session.getattr(intern!(py, "binds"))?.is_truthy()?
        && transaction.getattr(intern!(py, "_state"))?.is(active)
        && session.getattr(intern!(py, "_trans_context_manager"))?.is_none()
        && DriverLane::is_open(&lane)?;
    Ok(is_kept.then_some(lane))
}

/// Executes on the lane's connection. Errors of the driver are raised as Core raises them.
fn executed<'py>(execution: &Execution<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let Execution { lane, sql, parameters } = *execution;
    let cursor = driver::open(lane, sql, parameters)?;
    match cursor.call_method1(intern!(lane.py(), "execute"), (sql, parameters)) {
        Ok(_) => Ok(cursor),
        Err(error) => Err(worded(execution, &cursor, error)),
    }
}

/// The error that Core raises for one of the driver.
fn worded(execution: &Execution<'_, '_>, cursor: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
    let Execution { lane, sql, parameters } = *execution;
    let py = lane.py();
    let raised = lane.call_method1(intern!(py, "fail"), (error.value(py), sql, parameters, cursor));
    raised.err().unwrap_or(error)
}

/// All rows of a cursor, which is closed.
fn all_rows<'py>(execution: &Execution<'_, 'py>, cursor: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    let py = cursor.py();
    let fetched = cursor.call_method0(intern!(py, "fetchall")).map_err(|error| worded(execution, cursor, error))?;
    driver::close(execution.lane, cursor)?;
    match fetched.cast_into::<PyList>() {
        Ok(rows) => Ok(rows),
        Err(error) => PyList::new(py, error.into_inner().try_iter()?.collect::<PyResult<Vec<_>>>()?),
    }
}

/// Executes on the lane's connection, and returns all rows. Errors of the driver are raised as Core raises them.
pub fn fetch<'py>(
    lane: &Bound<'py, PyAny>,
    sql: &Bound<'py, PyString>,
    parameters: &Bound<'py, PyTuple>,
) -> PyResult<Bound<'py, PyList>> {
    let execution = Execution { lane, sql, parameters };
    all_rows(&execution, &executed(&execution)?)
}

/// Executes on the lane's connection, and hands over the rows, to be taken out of the vector: block by block while the cursor
/// goes on if `streams`, else all at once. Errors of the driver are raised as Core raises them.
pub fn each_block<'py>(
    execution: &Execution<'_, 'py>,
    streams: bool,
    mut take: impl FnMut(&mut Vec<Bound<'py, PyAny>>) -> PyResult<()>,
) -> PyResult<()> {
    let cursor = executed(execution)?;
    if !streams || !driver::is_iterator(&cursor)? {
        return take(&mut all_rows(execution, &cursor)?.iter().collect());
    }
    let mut rows = Vec::new();
    let mut is_last = false;
    while !is_last {
        let fetched = driver::fetch_some(&cursor, &mut rows, BLOCK);
        is_last = fetched.map_err(|error| worded(execution, &cursor, error))?;
        if let Err(error) = take(&mut rows) {
            driver::close(execution.lane, &cursor)?;
            return Err(error);
        }
    }
    driver::close(execution.lane, &cursor)
}
