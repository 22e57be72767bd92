//! *Register* and *presort*: which states take part, worked out to a fixpoint with what relationships add.
use std::rc::Rc;

use hashbrown::HashSet;
use indexmap::IndexSet;
use pyo3::prelude::*;
use rustalchemy_core::error::PlanError;
use rustalchemy_core::flush::{Cause, Relations, Waits, plan, plan_with_waits};
use rustalchemy_core::ids::{DependencyId, MapperId, StateId};

use crate::bridge as attribute;
use crate::cascade::{self, Cascade};
use crate::errors;
use crate::flags::{self, passive};
use crate::held::Held;
use crate::history;
use crate::mapper::{self, RelationshipDescriptor, bits};
use crate::related;
use crate::state::{StateRef, state_of};

use super::Flush;
use super::trace::Note;

/// How a state is registered; SQLAlchemy's keyword arguments of `register_object`.
#[derive(Clone, Copy, Default)]
pub(super) struct Registration {
    pub is_delete: bool,
    pub list_only: bool,
    pub cancel_delete: bool,
    /// Named in the warning about an object that is not in the session.
    pub operation: Option<&'static str>,
    /// Why, for a preview.
    pub cause: Option<Cause>,
}

impl Registration {
    pub(super) const DELETE: Self =
        Self { is_delete: true, list_only: false, cancel_delete: false, operation: None, cause: Some(Cause::Marked) };

    pub(super) fn because(self, cause: Cause) -> Self {
        Self { cause: Some(cause), ..self }
    }
}

/// Has a pending object lost a parent while it was in the session? If it is an orphan, no flush takes it in.
fn was_let_go(state: StateRef) -> bool {
    !state.has_key() && state.has(flags::ORPHANED_OUTSIDE)
}

impl Flush {
    /// Takes in what the session has to flush: new and changed objects, then those marked for deletion.
    pub(super) fn register_session(&mut self, py: Python<'_>, objects: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let core = self.uow.core();
        let mut saved: Vec<Held> = Vec::with_capacity(core.new.len() + core.dirty.len());
        saved.extend(core.new.iter().chain(core.dirty.iter()).filter_map(Held::new));
        let mut deleted: Vec<Held> = Vec::with_capacity(core.deleted.len());
        deleted.extend(core.deleted.iter().filter_map(Held::new));
        let only = objects.map(|objects| chosen(py, objects)).transpose()?;
        let is_chosen = |state: StateRef| only.as_ref().is_none_or(|only| only.contains(&(state.as_ptr() as usize)));
        for held in saved {
            let state = held.state();
            if state.has(flags::IN_DELETED) || !is_chosen(state) {
                continue;
            }
            let is_orphan = attribute::is_orphan(py, state);
            if is_orphan && was_let_go(state) {
                match &mut self.trace {
                    Some(trace) => {
                        trace.pending_orphans.push(state.as_ptr() as usize);
                        trace.note(Note::PendingOrphan(held.object(py).get_type().name()?.to_string()));
                    }
                    None => self.uow.expunge(py, vec![held], false)?,
                }
                continue;
            }
            let (is_delete, cause) = match (state.has_key(), is_orphan) {
                (true, true) => (true, Cause::LetGo),
                (true, false) => (false, Cause::Changed),
                (false, _) => (false, Cause::New),
            };
            self.enter_first(py, held, Registration { is_delete, ..Registration::default() }.because(cause));
        }
        for held in deleted {
            if is_chosen(held.state()) {
                self.enter_first(py, held, Registration::DELETE);
            }
        }
        Ok(())
    }

    /// Enters a state that is known to be in the session.
    fn enter(&mut self, py: Python<'_>, held: Held, how: Registration) {
        match self.id(held.state()) {
            Some(id) => {
                self.register.enter_again(id, how.is_delete, how.list_only, how.cancel_delete);
                self.note_cause(id, how.cause);
            }
            None => self.enter_first(py, held, how),
        }
    }

    /// Enters a state that does not take part yet.
    fn enter_first(&mut self, py: Python<'_>, held: Held, how: Registration) {
        let state = held.state();
        // Mostly of the same class as the one before.
        let before = self.states.last().filter(|before| std::ptr::eq(before.state().manager(), state.manager()));
        let mapper = match before {
            Some(_) => Some(self.mapper_of(StateId::from_index(self.states.len() - 1))),
            None => self.mapper(py, state.manager()),
        };
        let Some(mapper) = mapper else { return };
        let id = self.register.enter(mapper, how.is_delete, how.list_only);
        debug_assert_eq!(id.index(), self.states.len());
        self.states.push(held);
        self.note_cause(id, how.cause);
    }

    fn note_cause(&mut self, id: StateId, cause: Option<Cause>) {
        if let (Some(trace), Some(cause)) = (&mut self.trace, cause) {
            trace.because(id, cause);
        }
    }

    /// `register_object`: false, with a warning, for an object that is not in the session.
    pub(super) fn register_object(
        &mut self,
        py: Python<'_>,
        held: Held,
        how: Registration,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<bool> {
        let state = held.state();
        if self.uow.contains(state) {
            self.enter(py, held, how);
            return Ok(true);
        }
        if let Some(operation) = how.operation
            && !state.is_deleted()
        {
            self.warn_outside(py, &held, relationship, operation, "will not")?;
        }
        Ok(false)
    }

    /// Says that a related object is not in the session: by a warning, or by a note of a preview.
    pub(super) fn warn_outside(
        &mut self,
        py: Python<'_>,
        held: &Held,
        relationship: &RelationshipDescriptor,
        operation: &'static str,
        verb: &str,
    ) -> PyResult<()> {
        let class = held.object(py).get_type().name()?.to_string();
        let relationship = relationship_str(py, relationship);
        if let Some(trace) = &mut self.trace {
            trace.note(Note::Outside { class, operation, relationship });
            return Ok(());
        }
        errors::warn(
            py,
            &format!(
                "Object of type <{class}> not in session, {operation} operation along '{relationship}' {verb} proceed"
            ),
        )
    }

    // ---- presort -------------------------------------------------------------------------------------------------------

    /// Lets every dependency processor look at its states until no new ones appear.
    pub(super) fn presort(&mut self, py: Python<'_>) -> PyResult<()> {
        let mut turns: IndexSet<DependencyId> = IndexSet::new();
        loop {
            // What they load meets the objects of the others: they take turns as their mappers' first states came.
            turns.extend(self.register.mappers().iter().flat_map(|&mapper| &self.schema.mapper(mapper).dependencies));
            let mut found_work = false;
            for turn in 0..turns.len() {
                let id = turns[turn];
                let number = id.index();
                self.dependencies[number].had_turn = true;
                let mut presort = std::mem::take(&mut self.dependencies[number].presort);
                let (deletes, saves) = presort.take(&self.register, |mapper| self.schema.handles(mapper, id));
                let is_active = presort.is_active;
                self.dependencies[number].presort = presort;
                if deletes.is_empty() && saves.is_empty() {
                    continue;
                }
                found_work = true;
                self.presort_one(py, id, &deletes, true)?;
                self.presort_one(py, id, &saves, false)?;
                if !is_active
                    && (self.has_changes(py, id, &deletes, true)? || self.has_changes(py, id, &saves, false)?)
                {
                    self.dependencies[number].presort.is_active = true;
                }
            }
            if !found_work {
                return Ok(());
            }
        }
    }

    fn presort_one(&mut self, py: Python<'_>, id: DependencyId, states: &[StateId], is_delete: bool) -> PyResult<()> {
        if states.is_empty() {
            return Ok(());
        }
        let entry = &self.dependencies[id.index()];
        let (descriptor, place) = (Rc::clone(&entry.descriptor), entry.place);
        let relationship = &descriptor.relationships[place];
        self.at_work = id;
        if self.is_preview() {
            self.note_unloaded(py, states, relationship, is_delete)?;
        }
        match (relationship.direction, is_delete) {
            (mapper::Direction::OneToMany, true) => {
                for &state in states {
                    self.presort_one_to_many_delete(py, state, relationship)?;
                }
            }
            (mapper::Direction::OneToMany, false) => {
                for &state in states {
                    self.presort_one_to_many_save(py, id, state, relationship)?;
                }
            }
            (mapper::Direction::ManyToOne, _) => {
                let orphans = relationship.cascade & bits::DELETE_ORPHAN != 0;
                let deletes = relationship.cascade & bits::DELETE != 0;
                if orphans || (is_delete && deletes) {
                    for &state in states {
                        self.presort_many_to_one(py, state, relationship, is_delete)?;
                    }
                }
            }
            (mapper::Direction::ManyToMany, _) => {
                for &state in states {
                    self.presort_many_to_many(py, state, relationship, is_delete)?;
                }
            }
        }
        Ok(())
    }

    /// Passive flags of reading an attribute of a deleted object.
    pub(super) fn delete_flags(&self, relationship: &RelationshipDescriptor) -> u32 {
        if self.is_preview() || relationship.passive_deletes != 0 {
            passive::NO_INITIALIZE | self.preview_flags()
        } else {
            passive::OFF
        }
    }

    fn presort_one_to_many_delete(
        &mut self,
        py: Python<'_>,
        parent: StateId,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<()> {
        let nulls_keys = relationship.cascade & bits::DELETE == 0 && relationship.passive_deletes != 2;
        let (id, parent) = (parent, self.state(parent));
        let links = related::links(py, parent, relationship, self.delete_flags(relationship))?;
        for child in &links.deleted {
            let Some(child) = related::held(py, child)? else { continue };
            if !attribute::has_parent(parent, relationship, child.state()) {
                let is_delete = relationship.cascade & bits::DELETE_ORPHAN != 0;
                let cause = if is_delete { Cause::Orphan(self.at_work, id) } else { Cause::Removed(self.at_work, id) };
                let how = Registration { is_delete, ..Registration::default() }.because(cause);
                self.register_object(py, child, how, relationship)?;
            }
        }
        if nulls_keys {
            for child in &links.unchanged {
                if let Some(child) = related::held(py, child)? {
                    let how = Registration { operation: Some("delete"), ..Registration::default() }
                        .because(Cause::ParentDeleted(self.at_work, id));
                    self.register_object(py, child, how, relationship)?;
                }
            }
        }
        Ok(())
    }

    fn presort_one_to_many_save(
        &mut self,
        py: Python<'_>,
        id: DependencyId,
        parent: StateId,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<()> {
        let (parent_id, parent) = (parent, self.state(parent));
        let keys_changed = keys_changed(py, parent, relationship)?;
        if !keys_changed && related::is_untouched(parent, relationship) {
            return Ok(());
        }
        let loads = keys_changed && !relationship.passive_updates && !self.is_preview();
        let flags = self.preview_flags() | if loads { passive::OFF } else { passive::NO_INITIALIZE };
        let links = related::links(py, parent, relationship, flags | passive::INCLUDE_PENDING_MUTATIONS)?;
        for child in &links.added {
            let Some(child) = related::held(py, child)? else { continue };
            self.dependencies[id.index()].children_added.insert(child.state().as_ptr() as usize);
            let how = Registration { cancel_delete: true, operation: Some("add"), ..Registration::default() }
                .because(Cause::Added(id, parent_id));
            self.register_object(py, child, how, relationship)?;
        }
        let deletes_orphans = relationship.cascade & bits::DELETE_ORPHAN != 0;
        for child in &links.deleted {
            let Some(child) = related::held(py, child)? else { continue };
            if !deletes_orphans {
                if relationship.passive_deletes != 2 {
                    let how = Registration { operation: Some("delete"), ..Registration::default() }
                        .because(Cause::Removed(id, parent_id));
                    self.register_object(py, child, how, relationship)?;
                }
            } else if !attribute::has_parent(parent, relationship, child.state()) {
                self.register_orphan(py, child, relationship, Cause::Orphan(id, parent_id))?;
            }
        }
        if keys_changed {
            for child in &links.unchanged {
                if let Some(child) = related::held(py, child)? {
                    let how = Registration {
                        list_only: relationship.passive_updates,
                        operation: Some("pk change"),
                        ..Registration::default()
                    }
                    .because(Cause::KeyChanged(id, parent_id));
                    self.register_object(py, child, how, relationship)?;
                }
            }
        }
        Ok(())
    }

    /// An orphan is deleted together with what its delete cascades reach.
    pub(super) fn register_orphan(
        &mut self,
        py: Python<'_>,
        child: Held,
        relationship: &RelationshipDescriptor,
        cause: Cause,
    ) -> PyResult<()> {
        let kind = if self.is_preview() { Cascade::DeleteLoaded } else { Cascade::Delete };
        let orphan = child.state();
        let cascaded = cascade::collect(py, orphan, kind, |_| false)?;
        let how = Registration { operation: Some("delete"), ..Registration::DELETE };
        self.register_object(py, child, how.because(cause), relationship)?;
        let below = self.id(orphan).map(|orphan| Cause::BelowOrphan(self.at_work, orphan));
        for member in cascaded {
            self.register_object(py, member, Registration { cause: below, ..Registration::DELETE }, relationship)?;
        }
        Ok(())
    }

    fn presort_many_to_one(
        &mut self,
        py: Python<'_>,
        holder: StateId,
        relationship: &RelationshipDescriptor,
        is_delete: bool,
    ) -> PyResult<()> {
        let (id, holder) = (holder, self.state(holder));
        let links = related::links(py, holder, relationship, self.delete_flags(relationship))?;
        let deletes_orphans = relationship.cascade & bits::DELETE_ORPHAN != 0;
        let deletes = relationship.cascade & bits::DELETE != 0;
        let mut doomed = Vec::new();
        if is_delete {
            doomed.extend(links.added.iter().chain(&links.unchanged));
            if deletes_orphans {
                doomed.extend(&links.deleted);
            }
        } else {
            doomed.extend(&links.deleted);
        }
        for target in doomed {
            let Some(target) = related::held(py, target)? else { continue };
            if is_delete || !attribute::has_parent(holder, relationship, target.state()) {
                let is_cascade = is_delete && deletes;
                let cause =
                    if is_cascade { Cause::Cascaded(self.at_work, id) } else { Cause::Orphan(self.at_work, id) };
                self.register_orphan(py, target, relationship, cause)?;
            }
        }
        Ok(())
    }

    /// `prop_has_changes`: whether a processor's actions take part in the order of this flush.
    fn has_changes(&mut self, py: Python<'_>, id: DependencyId, states: &[StateId], is_delete: bool) -> PyResult<bool> {
        let entry = &self.dependencies[id.index()];
        let (descriptor, place, target) = (Rc::clone(&entry.descriptor), entry.place, entry.target);
        let relationship = &descriptor.relationships[place];
        let flags = match relationship.direction {
            _ if !is_delete || relationship.passive_deletes != 0 || self.is_preview() => {
                passive::NO_INITIALIZE | passive::INCLUDE_PENDING_MUTATIONS
            }
            mapper::Direction::ManyToOne => passive::NO_FETCH_RELATED,
            _ => passive::OFF | passive::INCLUDE_PENDING_MUTATIONS,
        };
        let looks_up = is_delete && relationship.post_update && flags & passive::SQL_OK != 0;
        let flags = flags | self.preview_flags();
        for &state in states {
            if looks_up {
                self.dependencies[id.index()].looked_up.insert(state);
            }
            if related::has_history(py, self.state(state), relationship, flags)? {
                return Ok(true);
            }
        }
        Ok(!states.is_empty() && !relationship.self_referential && self.is_known(target))
    }

    /// Has the mapper objects in this flush? As in SQLAlchemy, one that has been asked for its objects counts, too.
    fn is_known(&self, mapper: MapperId) -> bool {
        let had_turn = |id: DependencyId| self.dependencies[id.index()].had_turn;
        let mut relationships = self.descriptor(mapper).relationships.iter();
        !self.register.members(mapper).is_empty()
            || relationships.any(|relationship| self.dependency_of(relationship).is_some_and(had_turn))
    }

    /// *Graph* and *plan*; for a preview with what every group waits for.
    pub(super) fn order(&mut self, py: Python<'_>) -> PyResult<Waits> {
        let active: Vec<DependencyId> = (0..self.dependencies.len())
            .filter(|&number| self.dependencies[number].presort.is_active)
            .map(DependencyId::from_index)
            .collect();
        let mut relations = FlushRelations { py, flush: self };
        let ordered = if self.is_preview() {
            plan_with_waits(&self.schema, &self.register, &active, &mut relations)
        } else {
            plan(&self.schema, &self.register, &active, &mut relations).map(|plan| (plan, Waits::default()))
        };
        match ordered {
            Ok((plan, waits)) => {
                self.plan = plan;
                Ok(waits)
            }
            Err(PlanError::Caller(error)) => Err(error),
            Err(PlanError::Circular { actions, edges, before }) => {
                let error = self.circular(py, &actions, &edges);
                if self.is_preview() || before.is_empty() {
                    return Err(error);
                }
                self.plan = before;
                self.blocked = Some(error);
                Ok(Waits::default())
            }
        }
    }
}

/// The objects a caller of `flush(objects)` named, by the addresses of their states.
fn chosen(py: Python<'_>, objects: &Bound<'_, PyAny>) -> PyResult<HashSet<usize>> {
    objects
        .try_iter()?
        .map(|object| {
            let object = object?;
            let state = state_of(&object).ok_or_else(|| errors::unmapped_instance(py, &object))?;
            Ok(state.as_ptr() as usize)
        })
        .collect()
}

/// `Class.key`, as SQLAlchemy prints a relationship.
pub(super) fn relationship_str(py: Python<'_>, relationship: &RelationshipDescriptor) -> String {
    relationship
        .prop
        .as_ref()
        .and_then(|prop| prop.bind(py).str().ok())
        .map_or_else(|| relationship.key.clone(), |text| text.to_string())
}

/// Did a value that a relationship copies change from one value to another?
pub(super) fn keys_changed(py: Python<'_>, source: StateRef, relationship: &RelationshipDescriptor) -> PyResult<bool> {
    history::has_any_changed(py, source, relationship.sync.iter().map(|&(attr, _)| attr))
}

/// Answers the planner's questions about single states.
struct FlushRelations<'a, 'py> {
    py: Python<'py>,
    flush: &'a Flush,
}

impl Relations for FlushRelations<'_, '_> {
    type Error = PyErr;

    fn related(
        &mut self,
        dependency: DependencyId,
        state: StateId,
        is_delete: bool,
        found: &mut Vec<Option<StateId>>,
    ) -> PyResult<()> {
        let relationship = self.flush.dependencies[dependency.index()].relationship();
        let flags = if is_delete { self.flush.delete_flags(relationship) } else { passive::NO_INITIALIZE };
        for member in related::all_pending(self.py, self.flush.state(state), relationship, flags)? {
            found.push(state_of(&member).and_then(|state| self.flush.id(state)));
        }
        Ok(())
    }
}
