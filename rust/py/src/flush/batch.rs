//! `_core.Batch`: rows of one statement shape on their way to the database, and what comes back for them.
use std::rc::Rc;

use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use rustalchemy_core::flush::StatementKind;

use crate::bridge as attribute;
use crate::expiry;
use crate::manager::ClassManager;
use crate::mapper::{MapperDescriptor, TableDescriptor};
use crate::processors::Processor;
use crate::state::StateRef;

use super::row_set::{Parameter, RowSet, Source, attr_of};
use super::row_stream::RowStream;

/// Rows of one statement shape, in row order.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct Batch {
    manager: Py<ClassManager>,
    descriptor: Rc<MapperDescriptor>,
    table_no: usize,
    kind: StatementKind,
    columns: Vec<u32>,
    where_columns: Vec<u32>,
    has_sql: bool,
    needs_key: bool,
    set: Rc<RowSet>,
}

// SAFETY: the module declares `gil_used`; the `Rc` is only cloned and dropped with the GIL held.
unsafe impl Send for Batch {}
// SAFETY: as above.
unsafe impl Sync for Batch {}

/// What a batch is made of.
pub(super) struct BatchParts {
    pub manager: Py<ClassManager>,
    pub descriptor: Rc<MapperDescriptor>,
    pub table_no: usize,
    pub kind: StatementKind,
    pub columns: Vec<u32>,
    pub where_columns: Vec<u32>,
    pub has_sql: bool,
    pub needs_key: bool,
    pub set: Rc<RowSet>,
}

impl Batch {
    pub(super) fn new(parts: BatchParts) -> Self {
        let BatchParts { manager, descriptor, table_no, kind, columns, where_columns, has_sql, needs_key, set } = parts;
        Self { manager, descriptor, table_no, kind, columns, where_columns, has_sql, needs_key, set }
    }

    fn table_descriptor(&self) -> &TableDescriptor {
        &self.descriptor.tables[self.table_no]
    }

    fn attr(&self, column: u32) -> PyResult<u32> {
        attr_of(self.table_descriptor(), column)
    }

    fn source(&self, entry: i64) -> PyResult<Source> {
        self.set.source(self.table_descriptor(), entry)
    }

    fn parameters(
        &self,
        py: Python<'_>,
        order: &[i64],
        processors: &[Option<Py<Processor>>],
    ) -> PyResult<Vec<Parameter>> {
        if processors.len() != order.len() {
            return Err(PyTypeError::new_err("one processor, or None, for every entry of the order"));
        }
        self.set.resolve(py, self.table_descriptor(), order, processors)
    }

    fn store_columns(
        &self,
        columns: &[u32],
        rows: &Bound<'_, PyAny>,
        store: impl Fn(StateRef, u32, *mut ffi::PyObject) -> PyResult<()>,
    ) -> PyResult<()> {
        if self.set.is_leaving {
            return Ok(());
        }
        let attrs = columns.iter().map(|&column| self.attr(column)).collect::<PyResult<Vec<_>>>()?;
        let mut states = self.set.rows.iter();
        for row in rows.try_iter()? {
            let row = row?;
            let Some(held) = states.next() else {
                return Err(PyIndexError::new_err("more rows came back than were sent"));
            };
            for (place, &attr) in attrs.iter().enumerate() {
                store(held.state(), attr, row.get_item(place)?.into_ptr())?;
            }
        }
        Ok(())
    }

    /// What the statement does.
    pub(super) fn statement_kind(&self) -> StatementKind {
        self.kind
    }

    pub(super) fn row_set(&self) -> &Rc<RowSet> {
        &self.set
    }
}

#[pymethods]
impl Batch {
    /// The manager of the rows' class.
    #[getter]
    fn mapper(&self, py: Python<'_>) -> Py<ClassManager> {
        self.manager.clone_ref(py)
    }
    /// Which of the mapper's tables.
    #[getter]
    fn table_no(&self) -> usize {
        self.table_no
    }
    /// The table.
    #[getter]
    fn table(&self, py: Python<'_>) -> Py<PyAny> {
        self.table_descriptor().table.clone_ref(py)
    }
    /// "insert", "update" or "delete".
    #[getter]
    fn kind(&self) -> &'static str {
        self.kind.name()
    }
    /// INSERT: columns that are sent; UPDATE: columns that are set.
    #[getter]
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.columns)
    }
    /// UPDATE and DELETE: columns that find the row.
    #[getter(r#where)]
    fn where_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.where_columns)
    }
    /// SQL expressions are among the values.
    #[getter]
    fn has_sql(&self) -> bool {
        self.has_sql
    }
    /// The generated primary key has to come back.
    #[getter]
    fn needs_key(&self) -> bool {
        self.needs_key
    }
    /// The rows are deleted next, values that come back are not kept.
    #[getter]
    fn is_leaving(&self) -> bool {
        self.set.is_leaving
    }
    fn __len__(&self) -> usize {
        self.set.len()
    }

    /// Parameters by position: entry n ≥ 0 is column n as it is now, ~n as the database knows it.
    #[pyo3(signature = (order, processors))]
    fn rows<'py>(
        &self,
        py: Python<'py>,
        order: Vec<i64>,
        processors: Vec<Option<Py<Processor>>>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.set.all_parameters(py, &self.parameters(py, &order, &processors)?)
    }

    /// As `rows`, all values in one list.
    #[pyo3(signature = (order, processors))]
    fn flat<'py>(
        &self,
        py: Python<'py>,
        order: Vec<i64>,
        processors: Vec<Option<Py<Processor>>>,
    ) -> PyResult<Bound<'py, PyList>> {
        self.set.flat_parameters(py, &self.parameters(py, &order, &processors)?)
    }

    /// Unprocessed parameters by position, made as they are taken.
    fn stream(&self, py: Python<'_>, order: Vec<i64>) -> PyResult<RowStream> {
        let processors: Vec<_> = order.iter().map(|_| None).collect();
        let parameters = self.set.resolve(py, self.table_descriptor(), &order, &processors)?;
        Ok(RowStream::new(Rc::clone(&self.set), parameters.into()))
    }

    /// Unprocessed parameters by name; the keys of `names` are entries as in `rows`.
    fn dicts<'py>(&self, py: Python<'py>, names: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyList>> {
        let sources = names
            .iter()
            .map(|(entry, name)| Ok((self.source(entry.extract()?)?, name)))
            .collect::<PyResult<Vec<_>>>()?;
        let list = PyList::empty(py);
        for (row, held) in self.set.rows.iter().enumerate() {
            let dict = PyDict::new(py);
            for (source, name) in &sources {
                // SAFETY: `value` returns a new reference.
                dict.set_item(name, unsafe { Bound::from_owned_ptr(py, self.set.value(row, held.state(), source)) })?;
            }
            list.append(dict)?;
        }
        Ok(list)
    }

    /// The states, in row order.
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let views: Vec<_> = self.set.rows.iter().map(|held| held.state().view(py)).collect::<PyResult<_>>()?;
        PyList::new(py, views)
    }

    /// Stores values that the database made, row by row: what was changed stays changed until the flush succeeds.
    fn set_columns(&self, columns: Vec<u32>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.store_columns(&columns, rows, StateRef::set_made)
    }

    /// Stores values that defaults made, row by row: they are committed at once, in place of what was set before.
    fn settle_columns(&self, columns: Vec<u32>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        self.store_columns(&columns, rows, StateRef::set_committed)
    }

    /// After the statement, and before it is known how many rows it has met: the objects carry the versions that were sent.
    fn settle_versions(&self, py: Python<'_>) -> PyResult<()> {
        self.set.settle_versions(py, &self.descriptor)
    }

    /// Values that the database made and nobody has read yet.
    fn expire_columns(&self, py: Python<'_>, columns: Vec<u32>) -> PyResult<()> {
        if self.set.is_leaving {
            return Ok(());
        }
        let attrs = columns.into_iter().map(|column| self.attr(column)).collect::<PyResult<Vec<u32>>>()?;
        for &attr in &attrs {
            for held in &self.set.rows {
                attribute::expire_attribute(py, held.state(), attr)?;
            }
        }
        if expiry::anyone_hears() && !attrs.is_empty() {
            for held in &self.set.rows {
                let keys = held.state().manager().attrs().filter(|attr| attrs.contains(&attr.index()));
                let names = PyList::new(py, keys.map(|attr| attr.key(py)).collect::<Vec<_>>())?;
                expiry::fire(py, held.state(), Some(names.as_any()))?;
            }
        }
        Ok(())
    }

    /// Some rows as a batch of their own: one, or those up to `end`.
    #[pyo3(signature = (position, end = None))]
    fn slice(&self, py: Python<'_>, position: usize, end: Option<usize>) -> PyResult<Self> {
        Ok(Self {
            manager: self.manager.clone_ref(py),
            descriptor: Rc::clone(&self.descriptor),
            table_no: self.table_no,
            kind: self.kind,
            columns: self.columns.clone(),
            where_columns: self.where_columns.clone(),
            has_sql: self.has_sql,
            needs_key: self.needs_key,
            set: Rc::new(self.set.slice(py, position..end.unwrap_or(position + 1))?),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.manager)?;
        self.set.traverse(&visit)
    }
    fn __repr__(&self) -> String {
        format!("<Batch {} {} rows={}>", self.kind.verb(), self.table_descriptor().name, self.set.len())
    }
}
