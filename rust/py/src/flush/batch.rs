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
use crate::held::Held;
use crate::manager::ClassManager;
use crate::mapper::{MapperDescriptor, TableDescriptor};
use crate::names;
use crate::processors::Processor;
use crate::state::StateRef;

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
    rows: Vec<Held>,
    /// The version column and the new version of every row.
    versions: Option<(u32, Vec<Py<PyAny>>)>,
    /// The version column and the version every row has in the database, where it is not the state's own.
    old_versions: Option<(u32, Vec<Py<PyAny>>)>,
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
    pub rows: Vec<Held>,
    pub versions: Option<(u32, Vec<Py<PyAny>>)>,
    pub old_versions: Option<(u32, Vec<Py<PyAny>>)>,
}

/// Where the value of one parameter comes from.
enum Source {
    /// The attribute as it is now.
    Current(u32),
    /// The attribute as the database knows it.
    Committed(u32),
    /// The new version.
    Version,
    /// The version in the database.
    OldVersion,
}

impl Batch {
    pub(super) fn new(parts: BatchParts) -> Self {
        let BatchParts {
            manager,
            descriptor,
            table_no,
            kind,
            columns,
            where_columns,
            has_sql,
            needs_key,
            rows,
            versions,
            old_versions,
        } = parts;
        Self {
            manager,
            descriptor,
            table_no,
            kind,
            columns,
            where_columns,
            has_sql,
            needs_key,
            rows,
            versions,
            old_versions,
        }
    }

    fn table_descriptor(&self) -> &TableDescriptor {
        &self.descriptor.tables[self.table_no]
    }

    fn attr(&self, column: u32) -> PyResult<u32> {
        self.table_descriptor()
            .columns
            .get(column as usize)
            .map(|column| column.attr)
            .ok_or_else(|| PyIndexError::new_err(format!("the table has no column number {column}")))
    }

    fn source(&self, entry: i64) -> PyResult<Source> {
        let column = |number: i64| {
            u32::try_from(number).map_err(|_| PyIndexError::new_err("column numbers are small and not negative"))
        };
        if entry < 0 {
            let number = column(!entry)?;
            if self.old_versions.as_ref().is_some_and(|(version, _)| *version == number) {
                return Ok(Source::OldVersion);
            }
            return Ok(Source::Committed(self.attr(number)?));
        }
        let number = column(entry)?;
        if self.versions.as_ref().is_some_and(|(version, _)| *version == number) {
            return Ok(Source::Version);
        }
        Ok(Source::Current(self.attr(number)?))
    }

    /// A new reference to one parameter value.
    #[inline]
    fn value(&self, row: usize, state: StateRef, source: &Source) -> *mut ffi::PyObject {
        // SAFETY: slots, committed values and versions are owned and alive; None is immortal or counted as any other object.
        unsafe {
            let value = match *source {
                Source::Current(attr) => state.slot(attr).value(),
                Source::Committed(attr) => match state.committed(attr) {
                    Some(old) if !old.is_null() && !names::NO_VALUE.is(old) => old,
                    _ => state.slot(attr).value(),
                },
                Source::Version => match &self.versions {
                    Some((_, versions)) => versions[row].as_ptr(),
                    None => std::ptr::null_mut(),
                },
                Source::OldVersion => match &self.old_versions {
                    Some((_, versions)) => versions[row].as_ptr(),
                    None => std::ptr::null_mut(),
                },
            };
            let value = if value.is_null() { ffi::Py_None() } else { value };
            ffi::Py_INCREF(value);
            value
        }
    }

    /// What the statement does.
    pub(super) fn statement_kind(&self) -> StatementKind {
        self.kind
    }

    /// After the statement: the objects carry the versions that were sent.
    pub(super) fn settle_versions(&self, py: Python<'_>) -> PyResult<()> {
        let (Some((_, versions)), Some(attr)) = (&self.versions, self.descriptor.version_id) else { return Ok(()) };
        for (held, version) in self.rows.iter().zip(versions) {
            held.state().set_committed(attr, version.clone_ref(py).into_ptr())?;
        }
        Ok(())
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
    fn __len__(&self) -> usize {
        self.rows.len()
    }

    /// Parameters by position: entry n ≥ 0 is column n as it is now, ~n as the database knows it.
    #[pyo3(signature = (order, processors))]
    fn rows<'py>(
        &self,
        py: Python<'py>,
        order: Vec<i64>,
        processors: Vec<Option<Bound<'py, Processor>>>,
    ) -> PyResult<Bound<'py, PyList>> {
        if processors.len() != order.len() {
            return Err(PyTypeError::new_err("one processor, or None, for every entry of the order"));
        }
        let sources = order.iter().map(|&entry| self.source(entry)).collect::<PyResult<Vec<_>>>()?;
        // SAFETY: list and tuples are filled completely before anybody else can see them; every item is a new reference.
        unsafe {
            let list = Bound::from_owned_ptr_or_err(py, ffi::PyList_New(self.rows.len().cast_signed()))?;
            for (row, held) in self.rows.iter().enumerate() {
                let tuple = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(sources.len().cast_signed()))?;
                for (place, (source, processor)) in sources.iter().zip(&processors).enumerate() {
                    let mut value = self.value(row, held.state(), source);
                    if let Some(processor) = processor {
                        let raw = Bound::from_owned_ptr(py, value);
                        value = processor.get().apply(&raw)?.into_ptr();
                    }
                    ffi::PyTuple_SET_ITEM(tuple.as_ptr(), place.cast_signed(), value);
                }
                ffi::PyList_SET_ITEM(list.as_ptr(), row.cast_signed(), tuple.into_ptr());
            }
            Ok(list.cast_into_unchecked())
        }
    }

    /// Unprocessed parameters by name; the keys of `names` are entries as in `rows`.
    fn dicts<'py>(&self, py: Python<'py>, names: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyList>> {
        let sources = names
            .iter()
            .map(|(entry, name)| Ok((self.source(entry.extract()?)?, name)))
            .collect::<PyResult<Vec<_>>>()?;
        let list = PyList::empty(py);
        for (row, held) in self.rows.iter().enumerate() {
            let dict = PyDict::new(py);
            for (source, name) in &sources {
                // SAFETY: `value` returns a new reference.
                dict.set_item(name, unsafe { Bound::from_owned_ptr(py, self.value(row, held.state(), source)) })?;
            }
            list.append(dict)?;
        }
        Ok(list)
    }

    /// The states, in row order.
    fn states<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let views: Vec<_> = self.rows.iter().map(|held| held.state().view(py)).collect::<PyResult<_>>()?;
        PyList::new(py, views)
    }

    /// Stores values that came back, row by row, as committed.
    fn set_columns(&self, columns: Vec<u32>, rows: &Bound<'_, PyAny>) -> PyResult<()> {
        let attrs = columns.iter().map(|&column| self.attr(column)).collect::<PyResult<Vec<_>>>()?;
        let mut states = self.rows.iter();
        for row in rows.try_iter()? {
            let row = row?;
            let Some(held) = states.next() else {
                return Err(PyIndexError::new_err("more rows came back than were sent"));
            };
            for (place, &attr) in attrs.iter().enumerate() {
                held.state().set_committed(attr, row.get_item(place)?.into_ptr())?;
            }
        }
        Ok(())
    }

    /// Values that the database made and nobody has read yet.
    fn expire_columns(&self, py: Python<'_>, columns: Vec<u32>) -> PyResult<()> {
        let attrs = columns.into_iter().map(|column| self.attr(column)).collect::<PyResult<Vec<u32>>>()?;
        for &attr in &attrs {
            for held in &self.rows {
                attribute::expire_attribute(py, held.state(), attr)?;
            }
        }
        if expiry::anyone_hears() && !attrs.is_empty() {
            for held in &self.rows {
                let keys = held.state().manager().attrs().filter(|attr| attrs.contains(&attr.index()));
                let names = PyList::new(py, keys.map(|attr| attr.key(py)).collect::<Vec<_>>())?;
                expiry::fire(py, held.state(), Some(names.as_any()))?;
            }
        }
        Ok(())
    }

    /// One row as a batch of its own.
    fn slice(&self, py: Python<'_>, position: usize) -> PyResult<Self> {
        let row = self.rows.get(position).ok_or_else(|| PyIndexError::new_err("no such row"))?;
        let version = |(column, versions): &(u32, Vec<Py<PyAny>>)| (*column, vec![versions[position].clone_ref(py)]);
        Ok(Self {
            manager: self.manager.clone_ref(py),
            descriptor: Rc::clone(&self.descriptor),
            table_no: self.table_no,
            kind: self.kind,
            columns: self.columns.clone(),
            where_columns: self.where_columns.clone(),
            has_sql: self.has_sql,
            needs_key: self.needs_key,
            rows: vec![row.clone()],
            versions: self.versions.as_ref().map(version),
            old_versions: self.old_versions.as_ref().map(version),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.manager)?;
        for (_, versions) in self.versions.iter().chain(&self.old_versions) {
            for version in versions {
                visit.call(version)?;
            }
        }
        Ok(())
    }
    fn __repr__(&self) -> String {
        format!("<Batch {} {} rows={}>", self.kind.verb(), self.table_descriptor().name, self.rows.len())
    }
}
