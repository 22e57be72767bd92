//! SELECTs of a shape that was run before: from the statement to its objects in one call.
//!
//! Python runs the first ones of a shape and leaves a `ReadySelect` behind (`orm._prepared_select`) once rows need nothing but a
//! row plan. As for `prepared.rs`, the answer is "not here" wherever anybody else has a say.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use smallvec::SmallVec;

use crate::following::{self, FollowingLoad};
use crate::hydrate;
use crate::imports::ImportedType;
use crate::lane::{self, DriverLane};
use crate::load_context::LoadContext;
use crate::prepared::{self, PreparedRow};
use crate::statement_shape::StatementShapes;
use crate::unit_of_work::UnitOfWork;
use crate::unit_of_work_core::UowRef;

static SELECT: ImportedType = ImportedType::new("sqlalchemy.sql.selectable", "Select");

/// What statements of one shape are run by, for one dialect.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct ReadySelect {
    /// Its keys are the numbers of the statement's parameters.
    row: Py<PreparedRow>,
    /// Names of the result's columns.
    #[pyo3(get)]
    metadata: Py<PyAny>,
    /// The statement's plan, as Python knows it.
    #[pyo3(get)]
    plan: Py<PyAny>,
    /// Loads that follow its rows.
    following: Vec<Py<FollowingLoad>>,
}

#[pymethods]
impl ReadySelect {
    #[new]
    #[pyo3(signature = (row, metadata, plan, following=Vec::new()))]
    fn new(row: Py<PreparedRow>, metadata: Py<PyAny>, plan: Py<PyAny>, following: Vec<Py<FollowingLoad>>) -> Self {
        Self { row, metadata, plan, following }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.row)?;
        visit.call(&self.metadata)?;
        visit.call(&self.plan)?;
        self.following.iter().try_for_each(|load| visit.call(load))
    }
}

impl ReadySelect {
    /// The objects that these values find, and what is loaded after them; nothing if Python has to run the statement.
    fn objects<'py>(
        &self,
        session: &Bound<'py, UnitOfWork>,
        uow: UowRef,
        lane: &Bound<'py, DriverLane>,
        values: &[Bound<'py, PyAny>],
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let (py, row) = (session.py(), self.row.get());
        if self.following.is_empty() {
            return row.objects(session, uow, lane, values, None);
        }
        if !hydrate::is_unobserved(py, uow.core(), row.plan(py).get()) {
            // whoever listens may do what the loads that follow have to take note of
            return Ok(None);
        }
        let context = Bound::new(py, LoadContext::new(None, None))?;
        let objects = row.objects(session, uow, lane, values, Some(&context))?;
        if objects.is_some() {
            following::run(session, uow, lane, &self.following, context.get())?;
        }
        Ok(objects)
    }
}

/// Runs a statement; nothing if Python has to do it.
pub fn run<'py>(
    session: &Bound<'py, UnitOfWork>,
    shapes: &Bound<'py, StatementShapes>,
    statement: &Bound<'py, PyAny>,
) -> PyResult<Option<FetchedRows>> {
    let (py, uow) = (session.py(), UnitOfWork::handle(session));
    if !statement.get_type().is(SELECT.get(py)?) {
        return Ok(None);
    }
    if !is_ours(statement)?
        || has_parameters(statement)?
        || !prepared::is_plain(session)?
        || !prepared::is_flushed(session, uow)?
    {
        return Ok(None);
    }
    let Some(lane) = lane::of_session(session)? else { return Ok(None) };
    let Some((key, parameters)) = shapes.get().shape(statement)? else { return Ok(None) };
    let Some(ready) = ready_for(&lane, &key)? else { return Ok(None) };
    let mut values: SmallVec<[Bound<'py, PyAny>; 4]> = SmallVec::with_capacity(parameters.len());
    for parameter in parameters {
        if parameter.getattr(intern!(py, "required"))?.is_truthy()?
            || !parameter.getattr(intern!(py, "callable"))?.is_none()
        {
            return Ok(None);
        }
        values.push(parameter.getattr(intern!(py, "value"))?);
    }
    let objects = ready.get().objects(session, uow, &lane, &values)?;
    Ok(objects.map(|objects| FetchedRows::new(session, uow, &objects, ready.unbind())))
}

/// The objects of a prepared statement with these values; nothing if Python has to run it.
pub fn query_rows<'py>(
    session: &Bound<'py, PyAny>,
    prepared: &PreparedRow,
    values: &[Bound<'py, PyAny>],
) -> PyResult<Option<Bound<'py, PyList>>> {
    let Ok(session) = session.cast::<UnitOfWork>() else { return Ok(None) };
    let uow = UnitOfWork::handle(session);
    if !prepared::is_plain(session)? || prepared::overrides_execute(session)? || !prepared::is_flushed(session, uow)? {
        return Ok(None);
    }
    let Some(lane) = lane::of_session(session)? else { return Ok(None) };
    prepared.objects(session, uow, &lane, values, None)
}

/// Whether a SELECT was given values of parameters (`Select.params()`).
fn has_parameters(statement: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = statement.py();
    let given = statement.getattr(intern!(py, "__dict__"))?.cast::<PyDict>()?.get_item(intern!(py, "_params"))?;
    given.map_or(Ok(false), |given| given.is_truthy())
}

/// Whether a SELECT is of mapped classes, and has no execution options.
fn is_ours(statement: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = statement.py();
    if statement.getattr(intern!(py, "_execution_options"))?.is_truthy()? {
        return Ok(false);
    }
    let attributes = statement.getattr(intern!(py, "_propagate_attrs"))?;
    let Ok(attributes) = attributes.cast::<PyDict>() else { return Ok(false) };
    let plugin = attributes.get_item(intern!(py, "compile_state_plugin"))?;
    plugin.map_or(Ok(false), |plugin| plugin.eq(intern!(py, "rustalchemy")))
}

/// What the lane's dialect has for a shape (`orm._statement_cache`).
fn ready_for<'py>(
    lane: &Bound<'py, DriverLane>,
    key: &Bound<'py, PyTuple>,
) -> PyResult<Option<Bound<'py, ReadySelect>>> {
    let py = lane.py();
    let Some(kept) = lane.get().dialect(py).getattr_opt(intern!(py, "_rustalchemy_shapes"))? else { return Ok(None) };
    let Some(known) = kept.cast::<PyDict>()?.get_item(key)? else { return Ok(None) };
    let ready = known.get_item(0)?.getattr(intern!(py, "ready"))?;
    Ok(ready.cast_into::<ReadySelect>().ok())
}

/// What is left of some rows, and the session as long as nobody has looked at them.
struct Left {
    rows: Py<PyList>,
    at: usize,
    session: Option<Py<UnitOfWork>>,
}

/// The rows of one execution, fetched as a whole.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct FetchedRows {
    left: Mutex<Option<Left>>,
    /// How often the session was emptied before.
    epoch: u32,
    is_closed: AtomicBool,
    #[pyo3(get)]
    ready: Py<ReadySelect>,
}

#[pymethods]
impl FetchedRows {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        this.look(py)?;
        let mut row = None;
        if let Ok(mut left) = this.left.lock()
            && let Some(left) = left.as_mut()
        {
            let rows = left.rows.bind(py);
            if left.at < rows.len() {
                row = Some(rows.get_item(left.at)?);
                left.at += 1;
            }
        }
        if row.is_none() {
            drop(this.take_left());
        }
        Ok(row)
    }

    /// All rows that are left.
    fn take<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyList>> {
        let (py, this) = (slf.py(), slf.get());
        this.look(py)?;
        let Some(left) = this.take_left() else { return Ok(PyList::empty(py)) };
        let rows = left.rows.into_bound(py);
        Ok(if left.at == 0 { rows } else { rows.get_slice(left.at, rows.len()) })
    }

    /// The only row, or with `any` the first of any number, of a result that nobody has used before: it is closed. In every
    /// other case `NotImplemented`, and nothing has happened.
    #[pyo3(signature = (any = false))]
    fn take_one<'py>(slf: &Bound<'py, Self>, any: bool) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let Some(rows) = this.untouched(py) else { return Ok(py.NotImplemented().into_bound(py)) };
        if rows.len() != 1 && !(any && rows.len() > 1) {
            return Ok(py.NotImplemented().into_bound(py));
        }
        let row = rows.get_item(0)?;
        if row.is_none() {
            // which to Core is the end of the rows
            return Ok(py.NotImplemented().into_bound(py));
        }
        this.look(py)?;
        drop(this.take_left());
        this.is_closed.store(true, Ordering::Relaxed);
        Ok(row)
    }

    /// Whether the result was closed for good by who took its only row.
    #[getter]
    fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(left) = self.left.try_lock()
            && let Some(left) = left.as_ref()
        {
            visit.call(&left.rows)?;
            visit.call(&left.session)?;
        }
        visit.call(&self.ready)
    }

    fn __clear__(&self) {
        drop(self.take_left());
    }
}

impl FetchedRows {
    fn new(session: &Bound<'_, UnitOfWork>, uow: UowRef, rows: &Bound<'_, PyList>, ready: Py<ReadySelect>) -> Self {
        let left = Left { rows: rows.clone().unbind(), at: 0, session: Some(session.clone().unbind()) };
        Self {
            left: Mutex::new(Some(left)),
            epoch: uow.core().identity_epoch,
            is_closed: AtomicBool::new(false),
            ready,
        }
    }

    /// What is left, which the caller drops: that may run Python code.
    fn take_left(&self) -> Option<Left> {
        self.left.lock().ok()?.take()
    }

    /// The rows, if none was looked at.
    fn untouched<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyList>> {
        let left = self.left.lock().ok()?;
        left.as_ref().filter(|left| left.session.is_some()).map(|left| left.rows.bind(py).clone())
    }

    /// Somebody looks at the rows: for the first time only if the session was not closed meanwhile.
    fn look(&self, py: Python<'_>) -> PyResult<()> {
        let session = self.left.lock().ok().and_then(|mut left| left.as_mut().and_then(|left| left.session.take()));
        let Some(session) = session else { return Ok(()) };
        if UnitOfWork::handle(session.bind(py)).core().identity_epoch == self.epoch {
            return Ok(());
        }
        let has_rows = self.left.lock().ok().and_then(|left| left.as_ref().map(|left| left.rows.bind(py).len() > 0));
        if has_rows == Some(true) {
            let refuse = py.import("rustalchemy.orm._row_loading")?.getattr("refuse_expunged")?;
            refuse.call1((&self.ready.get().plan,))?;
        }
        Ok(())
    }
}
