//! What one result remembers from chunk to chunk while its rows become objects.

use std::sync::{Mutex, PoisonError};

use hashbrown::hash_map::Entry;
use hashbrown::{HashMap, HashSet};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::state::StateRef;

/// The memory of a load. States are named by their address; `held` keeps their objects, so that no address is used twice.
#[derive(Default)]
pub struct LoadMemory {
    /// What load and refresh listeners get as second argument.
    context: Option<Py<PyAny>>,
    /// Objects by list number, for loads that follow the rows.
    lists: Vec<Vec<Collected>>,
    collected: HashSet<(usize, usize)>,
    /// States this result has overwritten or refreshed.
    seen: HashSet<usize>,
    /// Eagerly loaded attributes by state and attribute.
    eager: HashMap<(usize, u32), EagerSlot>,
    held: Vec<Py<PyAny>>,
}

/// One object gathered for a later load.
struct Collected {
    object: Py<PyAny>,
    identity: Py<PyAny>,
    overwrite: bool,
}

/// An eagerly loaded attribute of one object, as this result sees it.
pub enum EagerSlot {
    /// The attribute was loaded before: the rows do not change it.
    Kept,
    /// A collection that is being filled.
    Collection {
        /// The collection.
        collection: Py<PyAny>,
        /// Addresses of its members.
        members: HashSet<usize>,
    },
    /// A scalar. Empty until the first row has filled it.
    Scalar {
        /// The value.
        value: Option<Py<PyAny>>,
    },
}

/// What to do with the next object of an eagerly loaded attribute.
pub enum EagerStep<'py> {
    /// Nothing.
    Skip,
    /// Append it to this collection.
    Append(Bound<'py, PyAny>),
    /// Make it the value.
    Set,
    /// A second object for a scalar: warn.
    Surplus,
}

/// The name of a state in the memory.
fn address(state: StateRef) -> usize {
    state.as_ptr() as usize
}

impl LoadMemory {
    /// What listeners get as second argument.
    pub fn context<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.context.as_ref().map_or_else(|| py.None().into_bound(py), |context| context.bind(py).clone())
    }

    /// Notes that this result overwrites or refreshes a state. Whether that is the first time.
    pub fn is_first_sight(&mut self, object: &Bound<'_, PyAny>, state: StateRef) -> bool {
        let is_first = self.seen.insert(address(state));
        if is_first {
            self.held.push(object.clone().unbind());
        }
        is_first
    }

    /// Gathers an object into a list, once.
    pub fn collect(&mut self, list: usize, object: &Bound<'_, PyAny>, state: StateRef, overwrite: bool) {
        if !self.collected.insert((list, address(state))) {
            return;
        }
        if self.lists.len() <= list {
            self.lists.resize_with(list + 1, Vec::new);
        }
        // SAFETY: the key belongs to a living state; a new reference is taken.
        let identity = unsafe { Bound::from_borrowed_ptr_or_opt(object.py(), state.key()) };
        self.lists[list].push(Collected {
            object: object.clone().unbind(),
            identity: identity.map_or_else(|| object.py().None(), Bound::unbind),
            overwrite,
        });
    }

    /// Whether this result knows an eagerly loaded attribute already.
    pub fn knows_eager(&self, state: StateRef, attr: u32) -> bool {
        self.eager.contains_key(&(address(state), attr))
    }

    /// Enters an eagerly loaded attribute.
    pub fn enter_eager(&mut self, object: &Bound<'_, PyAny>, state: StateRef, attr: u32, slot: EagerSlot) {
        if let Entry::Vacant(entry) = self.eager.entry((address(state), attr)) {
            entry.insert(slot);
            self.held.push(object.clone().unbind());
        }
    }

    /// Decides what happens with the next row's object of an eagerly loaded attribute.
    pub fn next_eager<'py>(
        &mut self,
        py: Python<'py>,
        state: StateRef,
        attr: u32,
        member: Option<&Bound<'py, PyAny>>,
    ) -> EagerStep<'py> {
        match (self.eager.get_mut(&(address(state), attr)), member) {
            (Some(EagerSlot::Collection { collection, members }), Some(member)) => {
                if members.insert(member.as_ptr() as usize) {
                    EagerStep::Append(collection.bind(py).clone())
                } else {
                    EagerStep::Skip
                }
            }
            (Some(EagerSlot::Scalar { value: value @ None }), member) => {
                *value = Some(member.map_or_else(|| py.None(), |member| member.clone().unbind()));
                EagerStep::Set
            }
            (Some(EagerSlot::Scalar { value: Some(value) }), member) => {
                let member = member.map_or_else(|| py.None(), |member| member.clone().unbind());
                if value.is(&member) { EagerStep::Skip } else { EagerStep::Surplus }
            }
            _ => EagerStep::Skip,
        }
    }
}

/// The memory of a load as Python holds it, for results that come in several chunks or are followed by other loads.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct LoadContext {
    memory: Mutex<LoadMemory>,
}

impl LoadContext {
    /// Takes the memory out for a chunk of rows; nothing stays locked while they are processed.
    pub fn borrow_memory(&self) -> LoadMemory {
        std::mem::take(&mut *self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts the memory back.
    pub fn return_memory(&self, memory: LoadMemory) {
        let old = std::mem::replace(&mut *self.memory.lock().unwrap_or_else(PoisonError::into_inner), memory);
        drop(old); // after unlocking: dropping may run Python code
    }
}

#[pymethods]
impl LoadContext {
    #[new]
    #[pyo3(signature = (context=None))]
    fn new(context: Option<Py<PyAny>>) -> Self {
        Self { memory: Mutex::new(LoadMemory { context, ..LoadMemory::default() }) }
    }

    /// The objects gathered in a list so far as `(object, identity, overwrite)`, in order of first sight; empties the list.
    fn take<'py>(&self, py: Python<'py>, list: usize) -> PyResult<Bound<'py, PyList>> {
        let collected = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.lists.get_mut(list).map(std::mem::take).unwrap_or_default()
        };
        PyList::new(py, collected.into_iter().map(|entry| (entry.object, entry.identity, entry.overwrite)))
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // A memory that is in use is not part of this object.
        let Ok(memory) = self.memory.try_lock() else { return Ok(()) };
        visit.call(&memory.context)?;
        for entry in memory.lists.iter().flatten() {
            visit.call(&entry.object)?;
            visit.call(&entry.identity)?;
        }
        for slot in memory.eager.values() {
            match slot {
                EagerSlot::Collection { collection, .. } => visit.call(collection)?,
                EagerSlot::Scalar { value } => visit.call(value)?,
                EagerSlot::Kept => {}
            }
        }
        memory.held.iter().try_for_each(|object| visit.call(object))
    }

    fn __clear__(&self) {
        drop(self.borrow_memory());
    }
}
