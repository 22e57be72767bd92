//! Runs of UPDATE rows that go to the lane's cursor without Python in between.
//!
//! Rows keep the order of their keys, as triggers, unique constraints and the text of an error can tell; where neighbours change
//! different columns, a run is a row or two. The first run of a shape goes through the executor. If it answers with a prepared
//! statement, further runs of that shape are one call of the driver each, all on one cursor.
use hashbrown::HashMap;
use pyo3::PyTraverseError;
use pyo3::exceptions::PyTypeError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::mapper::MapperDescriptor;
use crate::processors::Processor;

use super::execute::{Run, RunShape};
use super::row_set::{Parameter, RowSet};

/// A compiled UPDATE whose rows need nothing but parameters: nothing comes back, and Python makes no values.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct PreparedUpdate {
    sql: Py<PyString>,
    order: Vec<i64>,
    processors: Vec<Option<Py<Processor>>>,
}

#[pymethods]
impl PreparedUpdate {
    /// `order` and `processors` are those of `Batch.rows`.
    #[new]
    fn new(sql: Py<PyString>, order: Vec<i64>, processors: Vec<Option<Py<Processor>>>) -> PyResult<Self> {
        if processors.len() != order.len() {
            return Err(PyTypeError::new_err("one processor, or None, for every entry of the order"));
        }
        Ok(Self { sql, order, processors })
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.processors.iter().try_for_each(|processor| visit.call(processor))
    }
}

/// A shape that needs the executor no more.
struct Known {
    sql: Py<PyString>,
    parameters: Vec<Parameter>,
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
        let py = answer.py();
        let Ok(answer) = answer.cast::<PyTuple>() else { return Ok(()) };
        let (prepared, lane) = answer.extract::<(Bound<'_, PreparedUpdate>, Bound<'_, PyAny>)>()?;
        if !self.lane.get_or_insert_with(|| lane.clone().unbind()).is(&lane) {
            return Ok(());
        }
        let PreparedUpdate { sql, order, processors } = prepared.get();
        let parameters = set.resolve(py, &descriptor.tables[shape.table_no], order, processors)?;
        self.known.insert(shape, Known { sql: sql.clone_ref(py), parameters });
        Ok(())
    }

    /// Sends a run, and returns how many rows were matched; `None` if the executor has to do it.
    pub(super) fn send(&mut self, py: Python<'_>, run: &Run) -> PyResult<Option<i64>> {
        let (Some(lane), Some(known)) = (&self.lane, self.known.get(&run.shape)) else { return Ok(None) };
        let is_many = run.set.len() != 1;
        // A value that cannot be processed: Core says so in its own words.
        let Ok(parameters) = (if is_many {
            run.set.all_parameters(py, &known.parameters).map(Bound::into_any)
        } else {
            run.set.parameters(py, 0, &known.parameters).map(Bound::into_any)
        }) else {
            return Ok(None);
        };
        let method = if is_many { intern!(py, "executemany") } else { intern!(py, "execute") };
        let cursor = match &self.cursor {
            Some(cursor) => cursor.bind(py),
            None => {
                let connection = lane.bind(py).getattr(intern!(py, "_dbapi_connection"))?;
                self.cursor.insert(connection.call_method0(intern!(py, "cursor"))?.unbind()).bind(py)
            }
        };
        let matched = cursor
            .call_method1(method, (&known.sql, &parameters))
            .and_then(|_| cursor.getattr(intern!(py, "rowcount"))?.extract());
        match matched {
            Ok(matched) => Ok(Some(matched)),
            Err(error) => {
                let failed = (error.value(py), &known.sql, &parameters, cursor, is_many);
                lane.bind(py).call_method1(intern!(py, "fail"), failed)?;
                Err(error)
            }
        }
    }

    /// Gives the cursor back.
    pub(super) fn close(self, py: Python<'_>) -> PyResult<()> {
        match self.cursor {
            Some(cursor) => cursor.bind(py).call_method0(intern!(py, "close")).map(drop),
            None => Ok(()),
        }
    }
}
