//! One flush on the side of the objects: *register* → (pure) *plan* → *execute* → *finish*.
//!
//! [`Flush`] is owned by an [`RegisteredFlush`] and taken out of it while it works, so that nothing of it is borrowed from Python
//! while Python code runs. Every state of a flush is held until it is dropped.
//! A preview goes the same way up to *execute*, which it walks through without sending or changing anything; what it has seen
//! becomes a [`FlushPlan`].
mod batch;
mod circular;
mod execute;
mod explain;
mod finish;
mod key_switch;
mod known_writes;
mod lane;
mod plan;
mod post_update;
mod preview;
mod register;
mod registered;
mod row_set;
mod row_stream;
mod rows;
mod schema;
mod secondary;
mod sync;
mod trace;
mod update;

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};
use indexmap::IndexSet;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustalchemy_core::flush::{self as core, Presort, Register};
use rustalchemy_core::ids::{DependencyId, MapperId, StateId};
use rustalchemy_core::schema::Schema;

use crate::bridge as attribute;
use crate::flags::passive;
use crate::held::Held;
use crate::manager::ClassManager;
use crate::mapper::{MapperDescriptor, RelationshipDescriptor};
use crate::state::StateRef;
use crate::unit_of_work_core::UowRef;

use trace::Trace;

pub use batch::Batch;
pub use circular::CycleMember;
pub use explain::{Explanation, PlannedChange};
pub use known_writes::KnownWrites;
pub use lane::PreparedWrite;
pub use plan::{FlushPlan, PlanStep};
pub use registered::RegisteredFlush;
pub use row_stream::{RowIterator, RowStream};

/// A mapper that takes part, or that a relationship of one leads to.
struct MapperEntry {
    manager: Py<ClassManager>,
    descriptor: Rc<MapperDescriptor>,
    /// Objects of it take part: its dependency processors do too.
    takes_part: bool,
    /// What listeners of row-level events get before the object, once one was called: mapper and connection.
    event_arguments: Option<[Py<PyAny>; 2]>,
}

/// A dependency processor that takes part.
struct DependencyEntry {
    /// The mapper whose description holds the relationship.
    descriptor: Rc<MapperDescriptor>,
    /// Its place among that mapper's relationships.
    place: usize,
    /// The mapper the relationship leads to.
    target: MapperId,
    presort: Presort,
    /// It has looked for states of its own mapper, and of those that inherit the relationship.
    had_turn: bool,
    /// Deleted states whose many-to-one was looked up before their keys were cleared; it is not looked up again.
    looked_up: HashSet<StateId>,
    /// States added to their attribute in this flush, by address: their keys must survive the old parent's deletion.
    children_added: HashSet<usize>,
}

impl DependencyEntry {
    fn relationship(&self) -> &RelationshipDescriptor {
        &self.descriptor.relationships[self.place]
    }
}

/// Everything one flush knows.
pub struct Flush {
    uow: UowRef,
    /// Kept where only a plan is wanted: nothing may be loaded or changed then.
    trace: Option<Box<Trace>>,
    /// The whole session is flushed, not some named objects.
    is_complete: bool,
    states: Vec<Held>,
    /// Their numbers by address, of as many as there were when one was asked for: most flushes never ask.
    ids: RefCell<HashMap<usize, StateId>>,
    register: Register,
    schema: Schema,
    mappers: Vec<MapperEntry>,
    mapper_ids: HashMap<usize, MapperId>,
    dependencies: Vec<DependencyEntry>,
    dependency_ids: HashMap<usize, DependencyId>,
    plan: core::FlushPlan,
    /// The group at work has sent a statement.
    has_sent: bool,
    /// Raised when the plan is done: what comes after it are rows that wait for each other.
    blocked: Option<PyErr>,
    /// The dependency processor that is at work.
    at_work: DependencyId,
    /// Base mapper → states and foreign key attributes of its second UPDATE.
    post_updates: HashMap<MapperId, PostUpdates>,
    /// Many-to-many pairs that one side has dealt with, by the names of both sides.
    linked: HashMap<String, Vec<(usize, usize)>>,
}

/// A state that takes part: the flush holds its object until it ends.
#[derive(Clone, Copy)]
struct Member {
    id: StateId,
    state: StateRef,
}

/// States that need a second UPDATE, and the attributes it writes.
#[derive(Default)]
struct PostUpdates {
    states: IndexSet<StateId>,
    attrs: Vec<u32>,
}

impl Flush {
    fn new(uow: UowRef, is_preview: bool, is_complete: bool) -> Self {
        let capacity = uow.core().new.len() + uow.core().dirty.len() + uow.core().deleted.len();
        Self {
            uow,
            trace: is_preview.then(Box::default),
            at_work: DependencyId(0),
            blocked: None,
            is_complete,
            states: Vec::with_capacity(capacity),
            ids: RefCell::default(),
            register: Register::with_capacity(capacity),
            schema: Schema::default(),
            mappers: Vec::new(),
            mapper_ids: HashMap::new(),
            dependencies: Vec::new(),
            dependency_ids: HashMap::new(),
            plan: core::FlushPlan::default(),
            has_sent: false,
            post_updates: HashMap::new(),
            linked: HashMap::new(),
        }
    }

    /// Brings what is registered, and what comes along with it, in order; what every group waits for is known where this is
    /// a preview.
    fn make_plan(&mut self, py: Python<'_>) -> PyResult<core::Waits> {
        self.presort(py)?;
        while self.switch_keys(py, false)? {
            self.presort(py)?;
        }
        self.order(py)
    }

    fn member(&self, id: StateId) -> Member {
        Member { id, state: self.state(id) }
    }

    fn state(&self, id: StateId) -> StateRef {
        self.states[id.index()].state()
    }

    fn id(&self, state: StateRef) -> Option<StateId> {
        let mut ids = self.ids.borrow_mut();
        let unnumbered = self.states.len() - ids.len();
        ids.reserve(unnumbered);
        for number in ids.len()..self.states.len() {
            ids.insert(self.states[number].state().as_ptr() as usize, StateId::from_index(number));
        }
        ids.get(&(state.as_ptr() as usize)).copied()
    }

    /// What a preview adds to passive flags.
    fn preview_flags(&self) -> u32 {
        if self.is_preview() { crate::related::UNRESOLVED } else { 0 }
    }

    fn is_deleted(&self, state: StateRef) -> bool {
        self.id(state).is_some_and(|id| self.register.entry(id).is_delete)
    }

    fn descriptor(&self, mapper: MapperId) -> &Rc<MapperDescriptor> {
        &self.mappers[mapper.index()].descriptor
    }

    fn mapper_of(&self, id: StateId) -> MapperId {
        self.register.entry(id).mapper
    }
}

/// The identity that a state's primary key attributes say, `NO_VALUE` where they are unset; `None` for a class without mapper.
pub fn key_from_slots(py: Python<'_>, state: StateRef) -> PyResult<Option<Bound<'_, PyAny>>> {
    let Some(descriptor) = state.manager().descriptor() else { return Ok(None) };
    // SAFETY: a slot owns its value.
    let loaded = |attr: u32| unsafe { Bound::from_borrowed_ptr_or_opt(py, state.slot(attr).value()) };
    let part = |attr: u32| match loaded(attr) {
        Some(value) => Ok(value),
        None => attribute::get(py, state, attr, passive::RETURN_NO_VALUE),
    };
    Ok(Some(match descriptor.primary_key.as_slice() {
        &[attr] => part(attr)?,
        attrs => PyTuple::new(py, attrs.iter().map(|&attr| part(attr)).collect::<PyResult<Vec<_>>>()?)?.into_any(),
    }))
}

/// The identity that a state's primary key attributes say. Expired parts are loaded.
fn key_of<'py>(py: Python<'py>, state: StateRef, descriptor: &MapperDescriptor) -> PyResult<Bound<'py, PyAny>> {
    match descriptor.primary_key.as_slice() {
        &[attr] => value_of(py, state, attr),
        attrs => {
            let parts = attrs.iter().map(|&attr| value_of(py, state, attr)).collect::<PyResult<Vec<_>>>()?;
            Ok(PyTuple::new(py, parts)?.into_any())
        }
    }
}

/// A column value as it is now; loads an expired one; `None` if it is not set.
fn value_of<'py>(py: Python<'py>, state: StateRef, attr: u32) -> PyResult<Bound<'py, PyAny>> {
    let slot = state.slot(attr);
    if !state.is_outdated() {
        // SAFETY: the slot owns its value.
        if let Some(value) = unsafe { Bound::from_borrowed_ptr_or_opt(py, slot.value()) } {
            return Ok(value);
        }
        // what was expired and lost its identity in a rollback cannot be loaded, and says so
        if !state.has_key() && !slot.is_expired() {
            return Ok(py.None().into_bound(py));
        }
    }
    let value = attribute::get(py, state, attr, passive::RETURN_NO_VALUE)?;
    Ok(if attribute::is_symbol(&value) { py.None().into_bound(py) } else { value })
}

/// A column value as it was last seen in the database.
fn committed_value_of<'py>(py: Python<'py>, state: StateRef, attr: u32) -> PyResult<Bound<'py, PyAny>> {
    if !state.is_outdated()
        && let Some(old) = state.committed(attr)
        && !old.is_null()
        && !crate::names::NO_VALUE.is(old)
    {
        // SAFETY: the state owns its committed values.
        return Ok(unsafe { Bound::from_borrowed_ptr(py, old) });
    }
    value_of(py, state, attr)
}
