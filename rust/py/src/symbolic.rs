//! Queries that are not built yet: `session.query(User).filter_by(name="x")` up to the rows (`orm._query_lane`).
//!
//! What such queries have in common is their shape: the columns that are compared, the types of the values, the order of the
//! rows. From one shape the next criterion leads to another one, so that no key has to be made. Python builds, prepares and
//! runs the first query of a shape; what it leaves behind runs the others here.

use std::sync::Mutex;

use hashbrown::HashSet;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple, PyType};
use smallvec::SmallVec;

use crate::imports::ImportedType;
use crate::manager::ManagerCore;
use crate::prepared::PreparedRow;
use crate::short_select;

static QUERY: ImportedType = ImportedType::new("rustalchemy.orm.query", "Query");

/// What is fetched: all rows, the first one, their number.
const ALL: usize = 0;
const FIRST: usize = 1;
/// What is fetched, with or without LIMIT, with or without OFFSET.
const VARIANTS: usize = 3 * 4;

/// Where a criterion leads: a name as the lane has it, and the class of the value.
struct Next {
    name: Py<PyAny>,
    class: Py<PyType>,
    shape: Py<QueryShape>,
}

/// What is known of a shape.
#[derive(Default)]
struct Known {
    nexts: Vec<Next>,
    ready: [Option<Py<PreparedRow>>; VARIANTS],
}

/// What queries of one shape have in common.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct QueryShape {
    /// Columns that are compared with the values, or column and operator.
    #[pyo3(get)]
    names: Py<PyTuple>,
    #[pyo3(get)]
    order: Py<PyTuple>,
    /// What Python knows of it: by variant, and by what more it is ordered.
    #[pyo3(get)]
    known: Py<PyDict>,
    natively: Mutex<Known>,
}

#[pymethods]
impl QueryShape {
    #[new]
    #[pyo3(signature = (names, order))]
    fn new(py: Python<'_>, names: Py<PyTuple>, order: Py<PyTuple>) -> Self {
        Self { names, order, known: PyDict::new(py).unbind(), natively: Mutex::default() }
    }

    /// The shape with one more criterion, if there is one.
    fn next<'py>(&self, name: &Bound<'py, PyAny>, class_: &Bound<'py, PyType>) -> Option<Bound<'py, Self>> {
        let natively = self.natively.lock().ok()?;
        let next = natively.nexts.iter().find(|next| next.name.is(name) && next.class.is(class_));
        next.map(|next| next.shape.bind(name.py()).clone())
    }

    /// Enters the shape with one more criterion. Names are compared by identity.
    fn add_next(&self, name: Py<PyAny>, class_: Py<PyType>, shape: Py<Self>) {
        if let Ok(mut natively) = self.natively.lock() {
            natively.nexts.push(Next { name, class: class_, shape });
        }
    }

    /// Enters what runs queries of a variant from now on; nothing if they have to be prepared again.
    fn set_ready(&self, variant: usize, row: Option<Py<PreparedRow>>) {
        let old =
            self.natively.lock().ok().and_then(|mut natively| {
                natively.ready.get_mut(variant).and_then(|ready| std::mem::replace(ready, row))
            });
        drop(old); // after unlocking
    }

    /// Forgets what comes after it.
    fn forget(&self, py: Python<'_>) {
        let nexts = self.natively.lock().ok().map(|mut natively| std::mem::take(&mut natively.nexts));
        drop(nexts); // after unlocking
        self.known.bind(py).clear();
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.names)?;
        visit.call(&self.order)?;
        visit.call(&self.known)?;
        if let Ok(natively) = self.natively.try_lock() {
            for Next { name, class, shape } in &natively.nexts {
                visit.call(name)?;
                visit.call(class)?;
                visit.call(shape)?;
            }
            for ready in &natively.ready {
                visit.call(ready)?;
            }
        }
        Ok(())
    }

    fn __clear__(&self) {
        let natively = self.natively.lock().ok().map(|mut natively| std::mem::take(&mut *natively));
        drop(natively);
    }
}

impl QueryShape {
    fn ready<'py>(&self, py: Python<'py>, variant: usize) -> Option<Bound<'py, PreparedRow>> {
        let natively = self.natively.lock().ok()?;
        natively.ready.get(variant)?.as_ref().map(|ready| ready.bind(py).clone())
    }
}

/// A query that is not built yet.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct Symbolic {
    /// Python's view of the class.
    #[pyo3(get)]
    lane: Py<PyAny>,
    #[pyo3(get)]
    shape: Py<QueryShape>,
    values: SmallVec<[Py<PyAny>; 2]>,
    #[pyo3(get)]
    limit: Option<Py<PyAny>>,
    #[pyo3(get)]
    offset: Option<Py<PyAny>>,
}

#[pymethods]
impl Symbolic {
    /// A query without criteria.
    #[new]
    fn new(lane: Py<PyAny>, shape: Py<QueryShape>) -> Self {
        Self { lane, shape, values: SmallVec::new(), limit: None, offset: None }
    }

    #[getter]
    fn is_limited(&self) -> bool {
        self.limit.is_some() || self.offset.is_some()
    }

    /// Column, or column and operator, to value.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let values = PyDict::new(py);
        for (name, value) in self.shape.get().names.bind(py).iter().zip(&self.values) {
            values.set_item(name, value)?;
        }
        Ok(values)
    }

    /// A number for the kind of statement that fetches this.
    fn variant(&self, fetched: usize) -> usize {
        4 * fetched + 2 * usize::from(self.limit.is_some()) + usize::from(self.offset.is_some())
    }

    /// The values of the statement that fetches this, LIMIT and OFFSET among them.
    fn given<'py>(&self, py: Python<'py>, fetched: usize) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.parameters(py, fetched))
    }

    /// A copy of the query with more comparisons; None if it has to be built.
    fn with_values<'py>(
        &self,
        query: &Bound<'py, PyAny>,
        values: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.is_limited() {
            return Ok(None);
        }
        let py = query.py();
        let mut shape = self.shape.bind(py).clone();
        let mut all: SmallVec<[Py<PyAny>; 2]> = self.values.iter().map(|value| value.clone_ref(py)).collect();
        for (name, value) in values {
            let class = value.get_type();
            shape = match shape.get().next(&name, &class) {
                Some(next) => next,
                None => match self.lane.bind(py).call_method1(intern!(py, "next_shape"), (shape, name, class))? {
                    next if next.is_none() => return Ok(None),
                    next => next.cast_into::<QueryShape>()?,
                },
            };
            all.push(value.unbind());
        }
        let lane = self.lane.clone_ref(py);
        copied(query, Self { lane, shape: shape.unbind(), values: all, limit: None, offset: None }).map(Some)
    }

    /// A copy of the query of another shape with the same criteria.
    fn with_shape<'py>(&self, query: &Bound<'py, PyAny>, shape: Py<QueryShape>) -> PyResult<Bound<'py, PyAny>> {
        copied(query, Self { shape, ..self.cloned(query.py()) })
    }

    /// A copy of the query with LIMIT and OFFSET in place of its own.
    #[pyo3(signature = (query, limit, offset))]
    fn with_limits<'py>(
        &self,
        query: &Bound<'py, PyAny>,
        limit: Option<Py<PyAny>>,
        offset: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        copied(query, Self { limit, offset, ..self.cloned(query.py()) })
    }

    /// The objects found, each once, or a row with their number; None if Python has to run the statement.
    fn rows<'py>(&self, session: &Bound<'py, PyAny>, fetched: usize) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = session.py();
        let Some(ready) = self.shape.get().ready(py, self.variant(fetched)) else { return Ok(None) };
        match short_select::query_rows(session, ready.get(), &self.parameters(py, fetched))? {
            Some(rows) if fetched == ALL => unique(rows).map(Some),
            rows => Ok(rows),
        }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.lane)?;
        visit.call(&self.shape)?;
        for value in &self.values {
            visit.call(value)?;
        }
        visit.call(&self.limit)?;
        visit.call(&self.offset)
    }
}

impl Symbolic {
    fn cloned(&self, py: Python<'_>) -> Self {
        Self {
            lane: self.lane.clone_ref(py),
            shape: self.shape.clone_ref(py),
            values: self.values.iter().map(|value| value.clone_ref(py)).collect(),
            limit: self.limit.as_ref().map(|limit| limit.clone_ref(py)),
            offset: self.offset.as_ref().map(|offset| offset.clone_ref(py)),
        }
    }

    fn parameters<'py>(&self, py: Python<'py>, fetched: usize) -> SmallVec<[Bound<'py, PyAny>; 4]> {
        let limit = self.limit.as_ref().filter(|_| fetched != FIRST);
        self.values.iter().chain(limit).chain(&self.offset).map(|value| value.bind(py).clone()).collect()
    }
}

/// The objects without repetitions.
fn unique(rows: Bound<'_, PyList>) -> PyResult<Bound<'_, PyList>> {
    if rows.len() < 2 {
        return Ok(rows);
    }
    let mut seen = HashSet::with_capacity(rows.len());
    let found: Vec<_> = rows.iter().filter(|object| seen.insert(object.as_ptr())).collect();
    if found.len() == rows.len() { Ok(rows) } else { PyList::new(rows.py(), found) }
}

/// A copy of a query, of which something else is known.
fn copied<'py>(query: &Bound<'py, PyAny>, symbolic: Symbolic) -> PyResult<Bound<'py, PyAny>> {
    let py = query.py();
    // SAFETY: a living object; the result is a new reference, or null with an error set.
    let state = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyObject_GenericGetDict(query.as_ptr(), std::ptr::null_mut()))?
    };
    let state = state.cast_into::<PyDict>()?.copy()?;
    state.set_item(intern!(py, "_symbolic"), Bound::new(py, symbolic)?)?;
    with_state(&query.get_type(), &state)
}

/// An object of a Python class with these attributes, made without its `__init__`.
fn with_state<'py>(class: &Bound<'py, PyType>, state: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    // SAFETY: a living type, whose `tp_new` returns a new reference, or null with an error set; a dictionary for its object.
    unsafe {
        let Some(new) = (*class.as_type_ptr()).tp_new else {
            return Err(PyTypeError::new_err("cannot create queries of this class"));
        };
        let object = new(class.as_type_ptr(), PyTuple::empty(py).as_ptr(), std::ptr::null_mut());
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        if ffi::PyObject_GenericSetDict(object.as_ptr(), state.as_ptr(), std::ptr::null_mut()) < 0 {
            return Err(PyErr::fetch(py));
        }
        Ok(object)
    }
}

/// What `session.query()` returns for a class that was queried before; None if the Query has to look at its arguments.
#[pyfunction]
pub fn symbolic_query<'py>(
    session: &Bound<'py, PyAny>,
    entities: &Bound<'py, PyTuple>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = session.py();
    if entities.len() != 1 {
        return Ok(None);
    }
    let entity = entities.get_borrowed_item(0)?;
    let Ok(class) = entity.cast::<PyType>() else { return Ok(None) };
    // SAFETY: a living type; the manager found is kept alive by it.
    let manager = unsafe { ManagerCore::lookup(py, class.as_type_ptr()).as_ref() };
    // an unmapped class inherits the manager of a mapped one
    let own = manager.filter(|manager| manager.class_ptr() == class.as_type_ptr());
    let Some(start) = own.and_then(|manager| manager.query_start(py)) else { return Ok(None) };
    let state = PyDict::new(py);
    state.set_item(intern!(py, "session"), session)?;
    state.set_item(intern!(py, "_symbolic"), start)?;
    with_state(QUERY.get(py)?, &state).map(Some)
}
