//! Rows become objects: the row processor of one unit of work.
//!
//! One call takes a chunk of rows. For every entity of a row it finds the object in the identity map or makes a new one, fills
//! what the object lacks (or everything, where the load overwrites), and follows eagerly loaded relationships into the same
//! row. Values are processed before the object is made, so that a processor that raises leaves no half-filled object behind.

mod announce;
mod build;
mod choices;
mod fill;
mod groups;
mod load;
mod row;
mod subquery;

use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use smallvec::SmallVec;

use crate::errors;
use crate::flags;
use crate::instance_state::Living;
use crate::load_context::{LoadContext, LoadMemory};
use crate::loaded_values;
use crate::manager::ManagerCore;
use crate::mapper::InstanceEvent;
use crate::row_plan::{EagerPlan, EagerStep, EntityPlan, RowItem, RowPlan, index};
use crate::state::{SharedOptions, StateRef};
use crate::unit_of_work_core::UnitOfWorkCore;

pub use groups::Groups;
pub use load::{Execution, is_unobserved, load, load_grouped};

use announce::has_event;
use build::Branch;
use fill::{is_missing, is_partial, lacks_anything};
use row::Row;

/// How a load treats objects that are in the session already.
#[derive(Default)]
pub struct HydrateOptions<'py> {
    /// Everything is overwritten, unflushed changes too.
    pub populate_existing: bool,
    /// The rows belong to this object (or `InstanceState`), whatever their keys say.
    pub refresh_state: Option<Bound<'py, PyAny>>,
    /// A refresh of some attributes only, with their names: changes of the others stay.
    pub only_attributes: Option<Bound<'py, PyAny>>,
    /// Joined relationships that objects had loaded before are left alone, and what they lead to (lazy loads).
    pub passes_by_loaded: bool,
}

/// Processes one chunk of rows: a list of objects, or of tuples where the plan has several items.
///
/// `core` is the native half of `session`, which the caller keeps alive.
pub fn hydrate<'py>(
    session: &Bound<'py, PyAny>,
    core: *mut UnitOfWorkCore,
    plan: &Bound<'py, RowPlan>,
    rows: &Bound<'py, PyList>,
    options: HydrateOptions<'py>,
    loaded: Option<&Bound<'py, LoadContext>>,
) -> PyResult<Bound<'py, PyList>> {
    let memory = loaded.map(|context| context.get().borrow_memory()).unwrap_or_default();
    let mut processor = RowProcessor::new(session.py(), core, options, memory);
    let result = processor.chunk(plan.get(), rows);
    if let Some(context) = loaded {
        context.get().return_memory(processor.memory);
    }
    result
}

/// An object a row stands for.
struct Found<'py> {
    object: Bound<'py, PyAny>,
    state: StateRef,
    is_new: bool,
}

/// The row processor at work on one chunk.
struct RowProcessor<'py> {
    py: Python<'py>,
    core: *mut UnitOfWorkCore,
    options: HydrateOptions<'py>,
    refresh_state: Option<Living<'py>>,
    memory: LoadMemory,
    /// The managers of the last entity and of its base mapper.
    base: Option<(*const ManagerCore, *const ManagerCore)>,
    /// What the last row had for the plans whose objects repeat.
    last: SmallVec<[Last<'py>; 2]>,
    /// What new objects of a plan have for their options.
    shared: SmallVec<[(*const EntityPlan, SharedOptions); 2]>,
}

/// An object that the next row may be about, too.
struct Last<'py> {
    plan: *const EntityPlan,
    object: Bound<'py, PyAny>,
    state: StateRef,
}

impl<'py> RowProcessor<'py> {
    fn new(py: Python<'py>, core: *mut UnitOfWorkCore, options: HydrateOptions<'py>, memory: LoadMemory) -> Self {
        let refresh_state = options.refresh_state.as_ref().and_then(Living::named_by);
        Self { py, core, options, refresh_state, memory, base: None, last: SmallVec::new(), shared: SmallVec::new() }
    }

    fn uow(&self) -> &UnitOfWorkCore {
        // SAFETY: the core is part of the session, which the caller of `hydrate` keeps alive.
        unsafe { &*self.core }
    }

    /// Whether the rows belong to this object.
    fn is_refreshed(&self, state: StateRef) -> bool {
        self.refresh_state.as_deref() == Some(&state)
    }

    fn chunk(&mut self, plan: &RowPlan, rows: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyList>> {
        let py = self.py;
        if plan.is_identity && rows.iter().all(|row| is_tuple_of(&row, plan.items.len())) {
            return Ok(rows.clone());
        }
        let mut results: Vec<Bound<'py, PyAny>> = Vec::with_capacity(rows.len());
        let mut at = 0;
        // The length is asked for anew: Python code that runs meanwhile may change the list.
        while at < rows.len() {
            let row = Row::new(rows, at)?;
            at += 1;
            results.push(self.result(plan, &row)?);
        }
        PyList::new(py, results)
    }

    /// What a row becomes.
    fn result(&mut self, plan: &RowPlan, row: &Row<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &*plan.items {
            [item] if plan.single => self.item(item, row),
            items => self.tuple(items, row),
        }
    }

    fn tuple(&mut self, items: &[RowItem], row: &Row<'py>) -> PyResult<Bound<'py, PyAny>> {
        let items = items.iter().map(|item| self.item(item, row));
        let items = items.collect::<PyResult<SmallVec<[_; 4]>>>()?;
        Ok(PyTuple::new(self.py, items)?.into_any())
    }

    /// What rows are grouped by: one thing, or a tuple of several.
    fn key(&mut self, items: &[RowItem], row: &Row<'py>) -> PyResult<Bound<'py, PyAny>> {
        match items {
            [item] => self.item(item, row),
            items => self.tuple(items, row),
        }
    }

    fn item(&mut self, item: &RowItem, row: &Row<'py>) -> PyResult<Bound<'py, PyAny>> {
        match item {
            RowItem::Entity(plan) => {
                let entity = self.entity(plan.get(), row, true)?;
                Ok(entity.map_or_else(|| self.py.None().into_bound(self.py), |entity| entity.object))
            }
            RowItem::Scalar(plan) => {
                let plan = plan.get();
                row.check(plan.position + 1)?;
                row.processed(plan.position, plan.processor.as_ref())
            }
        }
    }

    /// The object of one entity; none where the row has no key for it.
    fn entity(&mut self, plan: &EntityPlan, row: &Row<'py>, is_root: bool) -> PyResult<Option<Found<'py>>> {
        row.check(plan.width())?;
        if let Some(switch) = &plan.polymorphic
            && !(is_root && self.refresh_state.is_some())
        {
            match self.branch(plan, switch, row)? {
                Branch::Same => {}
                Branch::Absent => return Ok(None),
                Branch::Other(other) => {
                    row.check(other.get().width())?;
                    return self.plain_entity(other.get(), row, is_root);
                }
            }
        }
        self.plain_entity(plan, row, is_root)
    }

    fn plain_entity(&mut self, plan: &EntityPlan, row: &Row<'py>, is_root: bool) -> PyResult<Option<Found<'py>>> {
        if let Some((options, _)) = &plan.load_options {
            self.memory.prepare_stamp(self.py, options)?;
        }
        let Some(found) = self.find_or_build(plan, row, is_root)? else { return Ok(None) };
        let Found { object, state, is_new } = found;
        let was_met = !is_new && self.memory.has_seen(state);
        let overwrite = !is_new
            && (self.options.populate_existing || always_refresh(state) || (is_root && self.is_refreshed(state)));
        let mut is_first = is_new;
        if overwrite {
            is_first = self.memory.is_first_sight(state);
            if is_first {
                self.overwrite(plan, row, state)?;
            } else {
                // At another place of the statement it may bring more.
                self.fill_missing_columns(plan, row, state)?;
            }
        } else if !is_new {
            if state.is_outdated() {
                loaded_values::apply_pending_expiry(self.py, state)?;
            }
            if was_met {
                // How its attributes load was chosen at the place where this load met it first.
                self.fill_missing_columns(plan, row, state)?;
            } else {
                if lacks_anything(plan, state) || (has_event(state, InstanceEvent::Refresh) && is_partial(state)) {
                    self.fill_missing(plan, row, &object, state)?;
                }
                if let Some(on_new) = &plan.on_new {
                    on_new.bind(self.py).call1((state.view(self.py)?, &row.0, self.py.None()))?;
                }
            }
        }
        if is_new {
            // Later rows of the same object are not to overwrite what this one brings.
            self.memory.is_first_sight(state);
        } else if !is_first && plan.load_options.is_some() && self.memory.has_seen(state) {
            self.prefer_shallow_path(plan, state)?;
        }
        for step in &plan.eager {
            match step {
                EagerStep::Joined(eager) => {
                    let may_pass_by = self.options.passes_by_loaded && !is_first && !was_met;
                    if may_pass_by && self.passes_by(eager.get(), &object, state) {
                        continue;
                    }
                    self.eager(eager.get(), &object, state, row, is_first)?;
                }
                EagerStep::Subquery(subquery) => self.subquery(subquery.get(), state, row, is_first, was_met)?,
            }
            loaded_values::note_related(state);
        }
        if is_first {
            self.announce(plan, row, state, is_new)?;
            // What listeners have set counts as loaded, too.
            if overwrite && self.options.only_attributes.is_some() {
                for (column, _) in plan.columns() {
                    state.commit(index(column.attribute));
                }
                state.clear_flags(flags::EXPIRED);
            } else if overwrite || state.has(flags::MODIFIED) {
                self.commit(state);
            }
        }
        if let Some(list) = plan.collect
            && self.memory.lacks(list, state)
        {
            self.memory.collect(list, &object, state, is_new || overwrite);
        }
        Ok(Some(Found { object, state, is_new }))
    }

    /// Whether a joined relationship of an object that was there before is none of this load's business.
    fn passes_by(&mut self, eager: &EagerPlan, object: &Bound<'py, PyAny>, state: StateRef) -> bool {
        let is_missing = is_missing(state, eager.attr);
        if is_missing && !eager.uselist {
            // The other rows of this load lead on to its value, too.
            self.memory.enter_collection(object, state, eager.attr, None);
        }
        !is_missing && !self.memory.knows_collection(state, eager.attr)
    }

    fn eager(
        &mut self,
        eager: &EagerPlan,
        object: &Bound<'py, PyAny>,
        state: StateRef,
        row: &Row<'py>,
        overwrite: bool,
    ) -> PyResult<()> {
        let py = self.py;
        let fills = overwrite || is_missing(state, eager.attr);
        if eager.uselist {
            if !self.memory.knows_collection(state, eager.attr) {
                let collection = if fills { Some(loaded_values::new_collection(py, state, eager.attr)?) } else { None };
                self.memory.enter_collection(object, state, eager.attr, collection);
            }
            let entity = eager.entity.get();
            if let Some(member) = self.entity(entity, row, false)? {
                // What hangs on the member may be the same collection, and have it in already.
                let is_new = member.is_new && entity.eager.is_empty();
                if let Some(collection) = self.memory.collection_lacking(state, eager.attr, &member.object, is_new) {
                    loaded_values::append(&collection, &member.object)?;
                }
            }
            return Ok(());
        }
        let value = self.entity(eager.entity.get(), row, false)?;
        let value = value.map_or_else(|| py.None().into_bound(py), |value| value.object);
        if fills {
            return state.set_committed(eager.attr, value.into_ptr());
        }
        if self.memory.has_seen(state) && state.slot(eager.attr).value() != value.as_ptr() {
            return warn_of_several(eager.relationship.bind(py));
        }
        Ok(())
    }
}

/// Whether a row is a plain tuple of this many values.
fn is_tuple_of(row: &Bound<'_, PyAny>, width: usize) -> bool {
    row.cast_exact::<PyTuple>().is_ok_and(|row| row.len() == width)
}

/// A relationship to one object leads to several.
fn warn_of_several(relationship: &Bound<'_, PyAny>) -> PyResult<()> {
    let message = format!("Multiple rows returned with uselist=False for eagerly-loaded attribute '{relationship}' ");
    errors::warn(relationship.py(), &message)
}

fn always_refresh(state: StateRef) -> bool {
    state.manager().descriptor().is_some_and(|mapper| mapper.always_refresh)
}
