//! Statements that earlier flushes have prepared, kept with the mapper's description: a flush of a few rows then needs no Python.
//!
//! A description that changes (a listener comes, an attribute is added) is replaced as a whole, and forgets its statements so.
use std::cell::RefCell;

use hashbrown::HashMap;
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustalchemy_core::flush::StatementKind;

use crate::driver;
use crate::lane;
use crate::mapper::MapperDescriptor;
use crate::unit_of_work_core::UowRef;

use super::lane::PreparedWrite;
use super::row_set::{RowSet, attr_of};
use super::rows::RowShape;

/// What tells the statements of one mapper apart.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WriteShape {
    pub(super) kind: StatementKind,
    pub(super) table_no: usize,
    pub(super) columns: RowShape,
    /// The version is made here, and not the attribute's value.
    pub(super) has_version: bool,
}

/// A prepared statement and the dialect it was compiled for.
struct Known {
    dialect: Py<PyAny>,
    prepared: Py<PreparedWrite>,
}

/// The prepared statements of one mapper, the last dialect's.
#[derive(Default)]
pub struct KnownWrites(RefCell<HashMap<WriteShape, Known>>);

impl KnownWrites {
    /// Shows the collector what is kept.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(known) = self.0.try_borrow() else { return Ok(()) };
        known.values().try_for_each(|known| {
            visit.call(&known.dialect)?;
            visit.call(&known.prepared)
        })
    }

    /// Takes what the executor answered: the prepared statement and the lane that has sent it, or None.
    pub(super) fn learn<'py>(
        &self,
        shape: WriteShape,
        answer: &Bound<'py, PyAny>,
    ) -> PyResult<Option<(Bound<'py, PreparedWrite>, Bound<'py, PyAny>)>> {
        let Ok(answer) = answer.cast::<PyTuple>() else { return Ok(None) };
        let (prepared, lane) = answer.extract::<(Bound<'py, PreparedWrite>, Bound<'py, PyAny>)>()?;
        let dialect = lane.getattr(intern!(answer.py(), "dialect"))?.unbind();
        let known = Known { dialect, prepared: prepared.clone().unbind() };
        let replaced = self.0.borrow_mut().insert(shape, known);
        drop(replaced);
        Ok(Some((prepared, lane)))
    }

    /// The statement of a shape, with the session's lane, if that takes it.
    pub(super) fn recall<'py>(
        &self,
        py: Python<'py>,
        uow: UowRef,
        shape: &WriteShape,
    ) -> PyResult<Option<(Bound<'py, PreparedWrite>, Bound<'py, PyAny>)>> {
        let found = self.0.borrow().get(shape).map(|known| (known.dialect.clone_ref(py), known.prepared.clone_ref(py)));
        let (Some((dialect, prepared)), Some(session)) = (found, uow.session(py)) else { return Ok(None) };
        let Some(lane) = lane::of_session(&session)? else { return Ok(None) };
        let takes_it = lane.get().dialect(py).is(&dialect);
        Ok(takes_it.then(|| (prepared.into_bound(py), lane.into_any())))
    }
}

/// Inserts one row by a statement that is known, and stores the key it was given; false if the executor has to do it.
pub(super) fn insert_one(
    py: Python<'_>,
    uow: UowRef,
    descriptor: &MapperDescriptor,
    shape: &WriteShape,
    set: &RowSet,
) -> PyResult<bool> {
    let Some((prepared, lane)) = descriptor.known_writes.recall(py, uow, shape)? else { return Ok(false) };
    let prepared = prepared.get();
    let table = &descriptor.tables[shape.table_no];
    let parameters = set.parameters(py, 0, &prepared.resolve(py, set, table)?);
    let Some(parameters) = driver::unless_unprocessable(py, parameters)? else { return Ok(false) };
    let cursor = driver::open(&lane, prepared.sql(py), &parameters)?;
    let generated = cursor
        .call_method1(intern!(py, "execute"), (prepared.sql(py), &parameters))
        .and_then(|_| cursor.getattr(intern!(py, "lastrowid")));
    match generated {
        Ok(generated) => {
            driver::close(&lane, &cursor)?;
            if let Some(column) = prepared.key() {
                set.state(0).set_made(attr_of(table, column)?, generated.into_ptr())?;
            }
            set.settle_versions(py, descriptor)?;
            Ok(true)
        }
        Err(error) => {
            lane.call_method1(intern!(py, "fail"), (error.value(py), prepared.sql(py), &parameters, &cursor))?;
            Err(error)
        }
    }
}
