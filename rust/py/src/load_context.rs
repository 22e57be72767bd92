//! What one result remembers from chunk to chunk while its rows become objects.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use hashbrown::{HashMap, HashSet};
use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};
use smallvec::SmallVec;

use crate::attach::state_str;
use crate::errors;
use crate::state::StateRef;

/// The memory of a load.
///
/// Where states are named by their address, the memory holds their objects, so that no address is used twice.
pub struct LoadMemory {
    /// What states that this load has built or overwritten are marked with.
    serial: u32,
    /// What load and refresh listeners get as second argument.
    context: Option<Py<PyAny>>,
    /// Makes this execution's loader options of those in the plan, where they differ.
    restamp: Option<Py<PyAny>>,
    /// Options of the plan, and what was made of them.
    stamps: Vec<(Py<PyAny>, Py<PyAny>)>,
    /// Objects by list number, for loads that follow the rows.
    lists: Vec<Vec<Collected>>,
    /// What is in the lists, by list and state.
    collected: HashSet<(usize, usize)>,
    /// Eagerly loaded collections.
    eager: Vec<EagerCollection>,
    /// Where they are, by state and attribute.
    eager_places: HashMap<(usize, u32), usize>,
    /// What was last asked for there: rows of one object mostly come one after the other.
    last_eager: Cell<Option<((usize, u32), usize)>>,
    /// Objects that were there before and whose listeners have heard of this load.
    partials: HashMap<usize, Py<PyAny>>,
    /// What second statements have found, by their number.
    subqueries: HashMap<usize, Py<PyDict>>,
}

impl Default for LoadMemory {
    fn default() -> Self {
        Self::new(None, None)
    }
}

/// One object gathered for a later load.
struct Collected {
    object: Py<PyAny>,
    identity: Py<PyAny>,
    overwrite: bool,
}

/// An eagerly loaded collection of one object, as this result sees it.
struct EagerCollection {
    /// The object, which keeps its address.
    owner: Py<PyAny>,
    /// The collection that is being filled; none if it was loaded before, so that the rows do not change it.
    collection: Option<Py<PyAny>>,
    /// Its members.
    members: Members,
}

/// The members of a collection, by address.
enum Members {
    Few(SmallVec<[usize; 8]>),
    Many(HashSet<usize>),
}

impl Members {
    /// Adds a member. Whether it was not in before, which is known already of one that `is_new`.
    fn add(&mut self, member: usize, is_new: bool) -> bool {
        match self {
            Self::Many(members) => members.insert(member),
            Self::Few(members) if !is_new && members.contains(&member) => false,
            Self::Few(members) => {
                if members.len() == members.inline_size() {
                    *self = Self::Many(members.iter().copied().chain([member]).collect());
                } else {
                    members.push(member);
                }
                true
            }
        }
    }
}

/// The name of a state in the memory.
fn address(state: StateRef) -> usize {
    state.as_ptr() as usize
}

impl LoadMemory {
    /// The memory of a new load.
    pub fn new(context: Option<Py<PyAny>>, restamp: Option<Py<PyAny>>) -> Self {
        static NEXT_SERIAL: AtomicU32 = AtomicU32::new(1);
        // Zero marks states that no load has seen; it is left out when the numbers start again.
        let serial = NEXT_SERIAL.fetch_add(1, Ordering::Relaxed).max(1);
        Self {
            serial,
            context,
            restamp,
            stamps: Vec::new(),
            lists: Vec::new(),
            collected: HashSet::new(),
            eager: Vec::new(),
            eager_places: HashMap::new(),
            last_eager: Cell::new(None),
            partials: HashMap::new(),
            subqueries: HashMap::new(),
        }
    }

    /// What listeners get as second argument.
    pub fn context<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.context.as_ref().map_or_else(|| py.None().into_bound(py), |context| context.bind(py).clone())
    }

    /// Sees to it that `stamp` knows what this execution has in place of a plan's loader options. May run Python code.
    pub fn prepare_stamp(&mut self, py: Python<'_>, options: &Py<PyAny>) -> PyResult<()> {
        if let Some(restamp) = &self.restamp
            && !self.stamps.iter().any(|(planned, _)| planned.is(options))
        {
            let current = restamp.bind(py).call1((options,))?.unbind();
            self.stamps.push((options.clone_ref(py), current));
        }
        Ok(())
    }

    /// The loader options that this execution has in place of a plan's.
    pub fn stamp<'a>(&'a self, options: &'a Py<PyAny>) -> &'a Py<PyAny> {
        self.stamps.iter().find(|(planned, _)| planned.is(options)).map_or(options, |(_, current)| current)
    }

    /// Notes that this load builds or overwrites a state. Whether that is the first time.
    #[inline]
    pub fn is_first_sight(&self, state: StateRef) -> bool {
        let is_first = !self.has_seen(state);
        state.set_load_serial(self.serial);
        is_first
    }

    /// Whether this load has built or overwritten a state.
    #[inline]
    pub fn has_seen(&self, state: StateRef) -> bool {
        state.load_serial() == self.serial
    }

    /// What marks the states of this load.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Warns, as SQLAlchemy does, if a listener has just loaded the state, which was marked so, in another load; this one
    /// goes on with it all the same.
    pub fn warn_if_lost(&self, py: Python<'_>, state: StateRef, mark: u32) -> PyResult<()> {
        if state.load_serial() == mark {
            return Ok(());
        }
        state.set_load_serial(self.serial);
        errors::warn(
            py,
            &format!(
                "Loading context for {} has changed within a load/refresh handler, suggesting a row refresh operation took \
                 place. If this event handler is expected to be emitting row refresh operations within an existing load or \
                 refresh operation, set restore_load_context=True when establishing the listener to ensure the context \
                 remains unchanged when the event handler completes.",
                state_str(py, state)
            ),
        )
    }

    /// Whether an object is not yet in a list.
    pub fn lacks(&self, list: usize, state: StateRef) -> bool {
        !self.collected.contains(&(list, address(state)))
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

    /// Notes that listeners hear of an object that was there before. Whether that is the first time.
    pub fn enter_partial(&mut self, object: &Bound<'_, PyAny>, state: StateRef) -> bool {
        self.partials.insert(address(state), object.clone().unbind()).is_none()
    }

    /// What the second statement of a number has found; none if it was not sent.
    pub fn subquery<'py>(&self, py: Python<'py>, number: usize) -> Option<Bound<'py, PyDict>> {
        self.subqueries.get(&number).map(|found| found.bind(py).clone())
    }

    /// Keeps what a second statement has found.
    pub fn enter_subquery(&mut self, number: usize, found: &Bound<'_, PyDict>) {
        self.subqueries.insert(number, found.clone().unbind());
    }

    /// Where an eagerly loaded collection is, if this result knows it.
    fn eager_place(&self, state: StateRef, attr: u32) -> Option<usize> {
        let key = (address(state), attr);
        match self.last_eager.get() {
            Some((last, place)) if last == key => Some(place),
            _ => {
                let place = self.eager_places.get(&key).copied()?;
                self.last_eager.set(Some((key, place)));
                Some(place)
            }
        }
    }

    /// Whether this result knows an eagerly loaded collection already.
    pub fn knows_collection(&self, state: StateRef, attr: u32) -> bool {
        self.eager_place(state, attr).is_some()
    }

    /// Enters an eagerly loaded collection: the one to fill, or none to leave the attribute as it is.
    pub fn enter_collection(
        &mut self,
        owner: &Bound<'_, PyAny>,
        state: StateRef,
        attr: u32,
        collection: Option<Bound<'_, PyAny>>,
    ) {
        if self.knows_collection(state, attr) {
            return;
        }
        self.eager_places.insert((address(state), attr), self.eager.len());
        self.eager.push(EagerCollection {
            owner: owner.clone().unbind(),
            collection: collection.map(Bound::unbind),
            members: Members::Few(SmallVec::new()),
        });
    }

    /// The collection that lacks this member, which counts as a member from now on. One that `is_new`, made of the row at
    /// hand, is lacking for sure.
    pub fn collection_lacking<'py>(
        &mut self,
        state: StateRef,
        attr: u32,
        member: &Bound<'py, PyAny>,
        is_new: bool,
    ) -> Option<Bound<'py, PyAny>> {
        let place = self.eager_place(state, attr)?;
        let entry = self.eager.get_mut(place)?;
        let collection = entry.collection.as_ref()?;
        entry.members.add(member.as_ptr() as usize, is_new).then(|| collection.bind(member.py()).clone())
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
    #[pyo3(signature = (context=None, restamp=None))]
    /// A new load's.
    pub fn new(context: Option<Py<PyAny>>, restamp: Option<Py<PyAny>>) -> Self {
        Self { memory: Mutex::new(LoadMemory::new(context, restamp)) }
    }

    /// The objects gathered in a list so far as `(object, identity, overwrite)`, in order of first sight; empties the list.
    pub fn take<'py>(&self, py: Python<'py>, list: usize) -> PyResult<Bound<'py, PyList>> {
        let collected = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            memory.collected.retain(|&(other, _)| other != list);
            memory.lists.get_mut(list).map(std::mem::take).unwrap_or_default()
        };
        PyList::new(py, collected.into_iter().map(|entry| (entry.object, entry.identity, entry.overwrite)))
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // A memory that is in use is not part of this object.
        let Ok(memory) = self.memory.try_lock() else { return Ok(()) };
        visit.call(&memory.context)?;
        visit.call(&memory.restamp)?;
        for (planned, current) in &memory.stamps {
            visit.call(planned)?;
            visit.call(current)?;
        }
        for entry in memory.lists.iter().flatten() {
            visit.call(&entry.object)?;
            visit.call(&entry.identity)?;
        }
        for object in memory.partials.values() {
            visit.call(object)?;
        }
        for found in memory.subqueries.values() {
            visit.call(found)?;
        }
        memory.eager.iter().try_for_each(|entry| {
            visit.call(&entry.owner)?;
            visit.call(&entry.collection)
        })
    }

    fn __clear__(&self) {
        drop(self.borrow_memory());
    }
}
