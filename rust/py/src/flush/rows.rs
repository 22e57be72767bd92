//! *Group*: which columns of a row are sent, and which rows therefore travel together.
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyType};
use smallvec::SmallVec;

use crate::flags::passive;
use crate::history;
use crate::mapper::{ColumnDescriptor, MapperDescriptor, TableDescriptor};
use crate::names;
use crate::state::StateRef;

use super::Member;

/// One bit per column of a table.
type Mask = SmallVec<[u64; 1]>;

/// What makes the statement of one row differ from another's.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct RowShape {
    mask: Mask,
    pub has_sql: bool,
    pub has_key: bool,
    pub has_defaults: bool,
}

impl RowShape {
    /// An empty shape for a table.
    pub(super) fn for_table(table: &TableDescriptor) -> Self {
        Self { mask: SmallVec::from_elem(0, table.columns.len().div_ceil(64).max(1)), ..Self::default() }
    }
    fn reset(&mut self) {
        self.mask.iter_mut().for_each(|word| *word = 0);
        self.has_sql = false;
        self.has_key = true;
        self.has_defaults = true;
    }
    #[inline]
    pub(super) fn send(&mut self, column: usize) {
        self.mask[column / 64] |= 1 << (column % 64);
    }
    pub(super) fn withhold(&mut self, column: usize) {
        self.mask[column / 64] &= !(1 << (column % 64));
    }
    /// Is the column sent?
    #[inline]
    pub(super) fn sends(&self, column: usize) -> bool {
        self.mask[column / 64] & (1 << (column % 64)) != 0
    }
    /// Is nothing sent?
    pub(super) fn is_empty(&self) -> bool {
        self.mask.iter().all(|&word| word == 0)
    }
    /// The columns that are sent.
    pub(super) fn columns(&self, table: &TableDescriptor) -> Vec<u32> {
        (0..).zip(&table.columns).filter(|(number, _)| self.sends(*number as usize)).map(|(number, _)| number).collect()
    }
}

/// Tells SQL expressions from values; remembers the last plain class, since a column's values are mostly of one class.
pub(super) struct SqlDetector {
    plain: SmallVec<[*mut ffi::PyTypeObject; 8]>,
}

impl SqlDetector {
    pub(super) fn new() -> Self {
        // SAFETY: the addresses of static types.
        let plain = unsafe {
            SmallVec::from_slice(&[
                &raw mut ffi::PyLong_Type,
                &raw mut ffi::PyUnicode_Type,
                &raw mut ffi::PyFloat_Type,
                ffi::Py_TYPE(ffi::Py_None()),
            ])
        };
        Self { plain }
    }

    /// Is the value a SQL expression (or does it offer one)?
    #[inline]
    pub(super) fn is_sql(&mut self, py: Python<'_>, value: *mut ffi::PyObject) -> PyResult<bool> {
        // SAFETY: `value` is a living object.
        let class = unsafe { ffi::Py_TYPE(value) };
        if self.plain.contains(&class) { Ok(false) } else { self.look(py, value, class) }
    }

    #[cold]
    fn look(&mut self, py: Python<'_>, value: *mut ffi::PyObject, class: *mut ffi::PyTypeObject) -> PyResult<bool> {
        static CLAUSE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let clause = CLAUSE.import(py, "sqlalchemy.sql", "ClauseElement")?;
        // SAFETY: a living object.
        let value = unsafe { Bound::from_borrowed_ptr(py, value) };
        if value.hasattr(pyo3::intern!(py, "__clause_element__"))? || value.is_instance(clause)? {
            return Ok(true);
        }
        // Only static classes are remembered: others may go, and their address come back for another class.
        // SAFETY: a living type.
        if unsafe { (*class).tp_flags } & ffi::Py_TPFLAGS_HEAPTYPE == 0 {
            self.plain.push(class);
        }
        Ok(false)
    }
}

#[inline]
fn is_none(value: *mut ffi::PyObject) -> bool {
    // SAFETY: None is a static object.
    value == unsafe { ffi::Py_None() }
}

/// Works out what the INSERT of one row sends.
pub(super) fn shape_insert(
    py: Python<'_>,
    state: StateRef,
    table: &TableDescriptor,
    version: Option<u32>,
    detector: &mut SqlDetector,
    shape: &mut RowShape,
) -> PyResult<()> {
    shape.reset();
    for (number, column) in table.columns.iter().enumerate() {
        let value = state.slot(column.attr).value();
        if value.is_null() || (is_none(value) && !column.eval_none) {
            if column.pk {
                shape.has_key = false;
            } else if !column.default && !column.eval_none {
                shape.send(number);
            } else if column.server_default {
                shape.has_defaults = false;
            }
            continue;
        }
        shape.send(number);
        if detector.is_sql(py, value)? {
            shape.has_sql = true;
            if column.pk {
                shape.has_key = false;
            }
        }
    }
    if let Some(version) = version {
        shape.send(version as usize);
    }
    Ok(())
}

/// Works out what the UPDATE of one row sets: columns whose value differs from the committed one.
pub(super) fn shape_update(
    py: Python<'_>,
    state: StateRef,
    table: &TableDescriptor,
    detector: &mut SqlDetector,
    shape: &mut RowShape,
) -> PyResult<()> {
    shape.reset();
    for (number, column) in table.columns.iter().enumerate() {
        let slot = state.slot(column.attr);
        if !slot.is_modified() {
            continue;
        }
        let value = slot.value();
        if !value.is_null() && detector.is_sql(py, value)? {
            shape.send(number);
            shape.has_sql = true;
            continue;
        }
        let old = state.committed(column.attr).unwrap_or(std::ptr::null_mut());
        if old.is_null() || names::NO_VALUE.is(old) || !is_as_before(py, state, column.attr, value, old)? {
            shape.send(number);
        }
    }
    Ok(())
}

/// Is the value what the database has? A missing one counts as None.
fn is_as_before(
    py: Python<'_>,
    state: StateRef,
    attr: u32,
    value: *mut ffi::PyObject,
    old: *mut ffi::PyObject,
) -> PyResult<bool> {
    let Some(attr) = state.manager().attr(attr) else { return Ok(false) };
    // SAFETY: the state owns both, or the value is missing; they are held while Python code may run.
    let (value, old) = unsafe { (Bound::from_borrowed_ptr_or_opt(py, value), Bound::from_borrowed_ptr(py, old)) };
    history::is_equal(py, attr, &value.unwrap_or_else(|| py.None().into_bound(py)), &old)
}

/// The number of the version column in a table, if it is there and written by us.
pub(super) fn version_column(descriptor: &MapperDescriptor, table: &TableDescriptor) -> Option<u32> {
    descriptor.version_id?;
    (0..).zip(&table.columns).find(|(_, column)| column.version).map(|(number, _)| number)
}

/// Pending states in the order they were added in, then persistent ones by identity.
pub(super) fn sort_states(py: Python<'_>, states: &mut Vec<Member>) -> PyResult<()> {
    if states.iter().all(|member| member.state.has_key()) {
        return sort_by_key(py, states);
    }
    let mut persistent: Vec<Member> = states.extract_if(.., |member| member.state.has_key()).collect();
    if !states.is_sorted_by_key(|member| member.state.list_pos()) {
        states.sort_by_key(|member| member.state.list_pos());
    }
    sort_by_key(py, &mut persistent)?;
    states.append(&mut persistent);
    Ok(())
}

/// Puts states in the order of their identities, as `UPDATE` and `DELETE` go.
pub(super) fn sort_by_key(py: Python<'_>, states: &mut [Member]) -> PyResult<()> {
    if states.len() < 2 {
        return Ok(());
    }
    let mut numbers: Vec<(i64, usize)> = Vec::with_capacity(states.len());
    for (place, member) in states.iter().enumerate() {
        // SAFETY: a persistent state's key is a living object; only exact integers are read.
        let number = unsafe {
            let key = member.state.key();
            if ffi::PyLong_CheckExact(key) == 0 {
                break;
            }
            let mut overflow = 0;
            let number = ffi::PyLong_AsLongLongAndOverflow(key, &raw mut overflow);
            if overflow != 0 {
                break;
            }
            number
        };
        numbers.push((number, place));
    }
    let order: Vec<usize> = if numbers.len() == states.len() {
        if numbers.is_sorted() {
            return Ok(());
        }
        numbers.sort_unstable();
        numbers.into_iter().map(|(_, place)| place).collect()
    } else {
        sorted_by_python(py, states)?
    };
    let sorted: Vec<_> = order.iter().map(|&place| states[place]).collect();
    states.copy_from_slice(&sorted);
    Ok(())
}

/// The order by the mapper's own sort key, as types may bring one (`Enum` sorts by definition).
fn sorted_by_python(py: Python<'_>, states: &[Member]) -> PyResult<Vec<usize>> {
    let sort_key = match states.first().and_then(|member| member.state.manager().mapper(py)) {
        Some(mapper) => mapper.getattr_opt("_persistent_sortkey_fn")?,
        None => None,
    };
    let mut keys = Vec::with_capacity(states.len());
    for (place, Member { state, .. }) in states.iter().enumerate() {
        let key = match &sort_key {
            Some(sort_key) => sort_key.call1((state.view(py)?,))?,
            // SAFETY: a persistent state's key is a living object.
            None => unsafe { Bound::from_borrowed_ptr(py, state.key()) },
        };
        keys.push((key, place));
    }
    let list = PyList::new(py, keys)?;
    list.sort().map_err(|error| {
        let invalid = crate::errors::invalid_request(
            py,
            format!(
                "Could not sort objects by primary key; primary key values must be sortable in Python (was: {})",
                error.value(py)
            ),
        );
        invalid.set_cause(py, Some(error));
        invalid
    })?;
    list.iter().map(|pair| pair.get_item(1)?.extract()).collect()
}

/// The old value of a primary key column, by which its row is found.
pub(super) fn row_key<'py>(py: Python<'py>, state: StateRef, column: &ColumnDescriptor) -> PyResult<Bound<'py, PyAny>> {
    if state.is_outdated() || state.slot(column.attr).is_expired() {
        let value = crate::bridge::get(py, state, column.attr, passive::OFF)?;
        if crate::bridge::is_symbol(&value) {
            return Ok(py.None().into_bound(py));
        }
    }
    super::committed_value_of(py, state, column.attr)
}

/// A mistake of ours, not of the user.
pub(super) fn inconsistent(message: &'static str) -> PyErr {
    PyRuntimeError::new_err(message)
}
