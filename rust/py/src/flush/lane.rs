//! Runs of UPDATE rows that go to the lane's cursor without Python in between.
//!
//! Rows keep the order of their keys, as triggers, unique constraints and the text of an error can tell; where neighbours change
//! different columns, a run is a row or two. The first run of a shape ever goes through the executor. If it answers with a prepared
//! statement, further runs of that shape are one call of the driver each, all on one cursor.
use std::rc::Rc;

use hashbrown::HashMap;
use pyo3::PyTraverseError;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::driver;
use crate::mapper::{MapperDescriptor, TableDescriptor};
use crate::processors::Processor;
use crate::unit_of_work_core::UowRef;

use super::row_set::{Parameter, RowSet};
use super::row_stream::RowStream;
use super::update::{Run, RunShape};

/// A compiled INSERT or UPDATE whose rows need nothing but parameters: Python makes no values, and nothing comes back but the
/// key that the cursor knows.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct PreparedWrite {
    sql: Py<PyString>,
    order: Vec<i64>,
    processors: Vec<Option<Py<Processor>>>,
    key: Option<u32>,
}

#[pymethods]
impl PreparedWrite {
    /// `order` and `processors` are those of `Batch.rows`; `key` is the column that an INSERT's `lastrowid` goes to.
    #[new]
    #[pyo3(signature = (sql, order, processors, key = None))]
    fn new(
        sql: Py<PyString>,
        order: Vec<i64>,
        processors: Vec<Option<Py<Processor>>>,
        key: Option<u32>,
    ) -> PyResult<Self> {
        if processors.len() != order.len() {
            return Err(PyTypeError::new_err("one processor, or None, for every entry of the order"));
        }
        Ok(Self { sql, order, processors, key })
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.processors.iter().try_for_each(|processor| visit.call(processor))
    }
}

impl PreparedWrite {
    /// The text.
    pub(super) fn sql<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        self.sql.bind(py)
    }

    /// The column that an INSERT's `lastrowid` goes to.
    pub(super) fn key(&self) -> Option<u32> {
        self.key
    }

    /// Where the parameters of these rows come from.
    pub(super) fn resolve(&self, py: Python<'_>, set: &RowSet, table: &TableDescriptor) -> PyResult<Vec<Parameter>> {
        set.resolve(py, table, &self.order, &self.processors)
    }
}

/// A shape that needs the executor no more.
struct Known {
    sql: Py<PyString>,
    parameters: Rc<[Parameter]>,
}

/// The shapes of one step's UPDATE statements that the lane takes as they are, and the cursor they share.
#[derive(Default)]
pub(super) struct UpdateLane {
    known: HashMap<RunShape, Known>,
    lane: Option<Py<PyAny>>,
    /// Opened when the first run goes this way.
    cursor: Option<Py<PyAny>>,
}

impl UpdateLane {
    /// Remembers what the executor answered: the prepared statement and the lane, or None.
    pub(super) fn learn(
        &mut self,
        shape: RunShape,
        set: &RowSet,
        descriptor: &MapperDescriptor,
        answer: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        match descriptor.known_writes.learn(shape.write(), answer)? {
            Some(answer) => self.know(shape, set, descriptor, answer),
            None => Ok(()),
        }
    }

    fn know(
        &mut self,
        shape: RunShape,
        set: &RowSet,
        descriptor: &MapperDescriptor,
        (prepared, lane): (Bound<'_, PreparedWrite>, Bound<'_, PyAny>),
    ) -> PyResult<()> {
        let py = lane.py();
        if !self.lane.get_or_insert_with(|| lane.clone().unbind()).is(&lane) {
            return Ok(());
        }
        let parameters = prepared.get().resolve(py, set, &descriptor.tables[shape.table_no])?;
        self.known.insert(shape, Known { sql: prepared.get().sql.clone_ref(py), parameters: parameters.into() });
        Ok(())
    }

    /// Sends a run, and returns how many rows were matched; `None` if the executor has to do it.
    pub(super) fn send(
        &mut self,
        py: Python<'_>,
        uow: UowRef,
        descriptor: &MapperDescriptor,
        run: &Run,
    ) -> PyResult<Option<i64>> {
        if !self.known.contains_key(&run.shape)
            && let Some(found) = descriptor.known_writes.recall(py, uow, &run.shape.write())?
        {
            self.know(run.shape.clone(), &run.set, descriptor, found)?;
        }
        let (Some(lane), Some(known)) = (&self.lane, self.known.get(&run.shape)) else { return Ok(None) };
        let is_many = run.set.len() != 1;
        let parameters = if !is_many {
            run.set.parameters(py, 0, &known.parameters).map(Bound::into_any)
        } else if RowStream::suits(&known.parameters) {
            let stream = RowStream::new(Rc::clone(&run.set), Rc::clone(&known.parameters));
            Bound::new(py, stream).map(Bound::into_any)
        } else {
            run.set.all_parameters(py, &known.parameters).map(Bound::into_any)
        };
        let Some(parameters) = driver::unless_unprocessable(py, parameters)? else { return Ok(None) };
        let method = if is_many { intern!(py, "executemany") } else { intern!(py, "execute") };
        let cursor = match &self.cursor {
            Some(cursor) => cursor.bind(py),
            None => self.cursor.insert(driver::open(lane.bind(py), &known.sql, &parameters)?.unbind()).bind(py),
        };
        let matched = cursor
            .call_method1(method, (&known.sql, &parameters))
            .and_then(|_| cursor.getattr(intern!(py, "rowcount"))?.extract());
        match matched {
            Ok(matched) => Ok(Some(matched)),
            Err(error) => {
                let shown = if is_many {
                    parameters.try_iter()?.collect::<PyResult<Vec<_>>>()?.into_pyobject(py)?
                } else {
                    parameters
                };
                let failed = (error.value(py), &known.sql, shown, cursor, is_many);
                lane.bind(py).call_method1(intern!(py, "fail"), failed)?;
                Err(error)
            }
        }
    }

    /// Gives the cursor back.
    pub(super) fn close(self, py: Python<'_>) -> PyResult<()> {
        match (self.lane, self.cursor) {
            (Some(lane), Some(cursor)) => driver::close(lane.bind(py), cursor.bind(py)),
            _ => Ok(()),
        }
    }
}
