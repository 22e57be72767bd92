//! Rows of one statement on their way to the database, and where their parameters come from.
use std::ops::Range;

use pyo3::exceptions::PyIndexError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::held::Held;
use crate::mapper::{MapperDescriptor, TableDescriptor};
use crate::names;
use crate::processors::Processor;
use crate::state::StateRef;

/// Objects whose rows one statement writes, with the versions that are not on the objects themselves.
#[derive(Default)]
pub(super) struct RowSet {
    pub rows: Vec<Held>,
    /// The version column and the new version of every row.
    pub versions: Option<(u32, Vec<Py<PyAny>>)>,
    /// The version column and the version every row has in the database, where it is not the state's own.
    pub old_versions: Option<(u32, Vec<Py<PyAny>>)>,
    /// The rows have their new keys already: the database passed them on.
    pub has_new_keys: bool,
    /// The rows are deleted next: what the database makes of them is nobody's business.
    pub is_leaving: bool,
}

/// Where the value of one parameter comes from.
pub(super) enum Source {
    /// The attribute as it is now.
    Current(u32),
    /// The attribute as the database knows it.
    Committed(u32),
    /// The new version.
    Version,
    /// The version in the database.
    OldVersion,
}

/// One parameter of a statement.
pub(super) struct Parameter {
    pub source: Source,
    pub processor: Option<Py<Processor>>,
}

/// The attribute that a column is mapped to.
pub(super) fn attr_of(table: &TableDescriptor, column: u32) -> PyResult<u32> {
    table
        .columns
        .get(column as usize)
        .map(|column| column.attr)
        .ok_or_else(|| PyIndexError::new_err(format!("the table has no column number {column}")))
}

/// A tuple of parameters, given new references to them. One that holds no containers is kept from the collector, which would
/// only find that out later.
#[inline]
pub(super) fn parameter_tuple(
    py: Python<'_>,
    length: usize,
    values: impl Iterator<Item = PyResult<*mut ffi::PyObject>>,
) -> PyResult<Bound<'_, PyTuple>> {
    let mut holds_containers = false;
    // SAFETY: the tuple is filled completely before anybody else can see it; every item is a new reference.
    unsafe {
        let tuple = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(length.cast_signed()))?;
        for (place, value) in values.take(length).enumerate() {
            let value = value?;
            holds_containers |= ffi::PyObject_IS_GC(value) != 0;
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), place.cast_signed(), value);
        }
        if !holds_containers {
            ffi::PyObject_GC_UnTrack(tuple.as_ptr().cast());
        }
        Ok(tuple.cast_into_unchecked())
    }
}

impl RowSet {
    /// Objects without versions.
    pub(super) fn of(states: impl Iterator<Item = StateRef>) -> Self {
        Self { rows: states.filter_map(Held::new).collect(), ..Self::default() }
    }

    pub(super) fn state(&self, row: usize) -> StateRef {
        self.rows[row].state()
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// One more row: its object, its new version, and the version it has.
    pub(super) fn push(&mut self, state: StateRef, version: Option<(u32, Py<PyAny>)>, old: Option<(u32, Py<PyAny>)>) {
        let Some(held) = Held::new(state) else { return };
        self.rows.push(held);
        for (versions, one) in [(&mut self.versions, version), (&mut self.old_versions, old)] {
            if let Some((column, version)) = one {
                versions.get_or_insert_with(|| (column, Vec::new())).1.push(version);
            }
        }
    }

    /// Resolves an entry: n ≥ 0 is column n as it is now, ~n as the database knows it.
    pub(super) fn source(&self, table: &TableDescriptor, entry: i64) -> PyResult<Source> {
        let column = |number: i64| {
            u32::try_from(number).map_err(|_| PyIndexError::new_err("column numbers are small and not negative"))
        };
        let is_of =
            |versions: &Option<(u32, _)>, number| versions.as_ref().is_some_and(|(column, _)| *column == number);
        if entry < 0 {
            let number = column(!entry)?;
            if is_of(&self.old_versions, number) {
                return Ok(Source::OldVersion);
            }
            let attr = attr_of(table, number)?;
            return Ok(if self.has_new_keys { Source::Current(attr) } else { Source::Committed(attr) });
        }
        let number = column(entry)?;
        if is_of(&self.versions, number) {
            return Ok(Source::Version);
        }
        Ok(Source::Current(attr_of(table, number)?))
    }

    /// A new reference to one parameter value.
    #[inline]
    pub(super) fn value(&self, row: usize, state: StateRef, source: &Source) -> *mut ffi::PyObject {
        let version = |versions: &Option<(u32, Vec<Py<PyAny>>)>| {
            versions.as_ref().map_or(std::ptr::null_mut(), |(_, versions)| versions[row].as_ptr())
        };
        // SAFETY: slots, committed values and versions are owned and alive; None is immortal or counted as any other object.
        unsafe {
            let value = match *source {
                Source::Current(attr) => state.slot(attr).value(),
                Source::Committed(attr) => match state.committed(attr) {
                    Some(old) if !old.is_null() && !names::NO_VALUE.is(old) => old,
                    _ => state.slot(attr).value(),
                },
                Source::Version => version(&self.versions),
                Source::OldVersion => version(&self.old_versions),
            };
            let value = if value.is_null() { ffi::Py_None() } else { value };
            ffi::Py_INCREF(value);
            value
        }
    }

    /// Where the parameters of a statement's text come from; `order` holds entries, in the order of the text.
    pub(super) fn resolve(
        &self,
        py: Python<'_>,
        table: &TableDescriptor,
        order: &[i64],
        processors: &[Option<Py<Processor>>],
    ) -> PyResult<Vec<Parameter>> {
        order
            .iter()
            .zip(processors)
            .map(|(&entry, processor)| {
                let processor = processor.as_ref().map(|processor| processor.clone_ref(py));
                Ok(Parameter { source: self.source(table, entry)?, processor })
            })
            .collect()
    }

    /// The parameters of one row.
    #[inline]
    pub(super) fn parameters<'py>(
        &self,
        py: Python<'py>,
        row: usize,
        wanted: &[Parameter],
    ) -> PyResult<Bound<'py, PyTuple>> {
        parameter_tuple(py, wanted.len(), wanted.iter().map(|parameter| self.processed(py, row, parameter)))
    }

    /// A new reference to one parameter value as it is sent.
    #[inline]
    fn processed(&self, py: Python<'_>, row: usize, parameter: &Parameter) -> PyResult<*mut ffi::PyObject> {
        let value = self.value(row, self.rows[row].state(), &parameter.source);
        let Some(processor) = &parameter.processor else { return Ok(value) };
        // SAFETY: a new reference.
        let raw = unsafe { Bound::from_owned_ptr(py, value) };
        Ok(processor.get().apply(&raw)?.into_ptr())
    }

    /// The parameters of all rows, one after the other.
    pub(super) fn flat_parameters<'py>(&self, py: Python<'py>, wanted: &[Parameter]) -> PyResult<Bound<'py, PyList>> {
        let rows = 0..self.len();
        let values = rows.flat_map(|row| wanted.iter().map(move |parameter| self.processed(py, row, parameter)));
        let values = values.map(|value| {
            // SAFETY: a new reference.
            value.map(|value| unsafe { Bound::from_owned_ptr(py, value) })
        });
        PyList::new(py, values.collect::<PyResult<Vec<_>>>()?)
    }

    /// The parameters of all rows.
    pub(super) fn all_parameters<'py>(&self, py: Python<'py>, wanted: &[Parameter]) -> PyResult<Bound<'py, PyList>> {
        // SAFETY: the list is filled completely before anybody else can see it; every item is a new reference.
        unsafe {
            let list = Bound::from_owned_ptr_or_err(py, ffi::PyList_New(self.len().cast_signed()))?;
            for row in 0..self.len() {
                let tuple = self.parameters(py, row, wanted)?;
                ffi::PyList_SET_ITEM(list.as_ptr(), row.cast_signed(), tuple.into_ptr());
            }
            Ok(list.cast_into_unchecked())
        }
    }

    /// After the statement: the objects carry the versions that were sent.
    pub(super) fn settle_versions(&self, py: Python<'_>, descriptor: &MapperDescriptor) -> PyResult<()> {
        let (Some((_, versions)), Some(attr)) = (&self.versions, descriptor.version_id) else { return Ok(()) };
        for (held, version) in self.rows.iter().zip(versions) {
            // No change any more, even where the program had set it: a second UPDATE of the flush goes on from here.
            held.state().set_committed(attr, version.clone_ref(py).into_ptr())?;
        }
        Ok(())
    }

    /// Some rows alone.
    pub(super) fn slice(&self, py: Python<'_>, places: Range<usize>) -> PyResult<Self> {
        let rows = self.rows.get(places.clone()).ok_or_else(|| PyIndexError::new_err("no such row"))?;
        let version = |(column, versions): &(u32, Vec<Py<PyAny>>)| {
            (*column, versions[places.clone()].iter().map(|version| version.clone_ref(py)).collect())
        };
        Ok(Self {
            rows: rows.to_vec(),
            versions: self.versions.as_ref().map(version),
            old_versions: self.old_versions.as_ref().map(version),
            has_new_keys: self.has_new_keys,
            is_leaving: self.is_leaving,
        })
    }

    /// Shows the collector objects and versions.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        for held in &self.rows {
            held.traverse(visit)?;
        }
        for (_, versions) in self.versions.iter().chain(&self.old_versions) {
            for version in versions {
                visit.call(version)?;
            }
        }
        Ok(())
    }
}
