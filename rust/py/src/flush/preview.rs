//! A flush walked through for people: the same stages up to the order, then what each group would send, worked out without
//! sending, loading or changing anything.
use std::rc::Rc;

use indexmap::IndexSet;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustalchemy_core::flush::{Action, Cause, Group, Part, PlanRow, StatementKind, Work};
use rustalchemy_core::ids::{DependencyId, MapperId, StateId};
use rustalchemy_core::schema::Direction;

use crate::bridge as attribute;
use crate::flags::passive;
use crate::history;
use crate::identity::base_of_manager;
use crate::mapper::{MapperDescriptor, RelationshipDescriptor, TableDescriptor, bits};
use crate::names;
use crate::related;
use crate::state::{StateRef, state_of};

use super::Flush;
use super::execute::is_false;
use super::register::keys_changed;
use super::rows::{RowShape, SqlDetector, shape_update, sort_by_key, sort_states, version_column};
use super::trace::{KeyCopy, Note, Trace, loaded_value};

/// A saved state: is its row there already, or taken over from a deleted one?
#[derive(Clone, Copy)]
struct Saved {
    state: StateId,
    is_update: bool,
    replaces: Option<StateId>,
}

impl Flush {
    /// What every group of the plan would send.
    pub(super) fn foresee(&mut self, py: Python<'_>) -> PyResult<Vec<Vec<Work>>> {
        let plan = std::mem::take(&mut self.plan);
        let mut found = Vec::with_capacity(plan.len());
        for Group { action, states, .. } in plan.groups() {
            let work = match action {
                Action::SaveUpdateAll(_) => self.foresee_saves(py, states),
                Action::DeleteAll(_) => self.foresee_deletes(py, states),
                Action::ProcessAll(id, is_delete) if self.schema.dependency(id).direction == Direction::ManyToMany => {
                    self.foresee_links(py, id, states, is_delete)
                }
                Action::ProcessAll(id, is_delete) => self.process(py, id, states, is_delete).map(|()| Vec::new()),
                Action::PostUpdateAll(mapper, is_delete) => self.foresee_post_update(py, mapper, is_delete),
                _ => Ok(Vec::new()),
            };
            found.push(work?);
        }
        self.plan = plan;
        Ok(found)
    }

    // ---- reasons -------------------------------------------------------------------------------------------------------

    /// Finds the cascades that brought states in: those of objects that were in the session's lists before them.
    pub(super) fn trace_cascades(&mut self, py: Python<'_>) -> PyResult<()> {
        for number in 0..self.states.len() {
            let id = StateId::from_index(number);
            let (state, entry) = (self.state(id), self.register.entry(id));
            for dependency in self.schema.mapper(entry.mapper).dependencies.clone() {
                let processor = &self.dependencies[dependency.index()];
                let (descriptor, place) = (Rc::clone(&processor.descriptor), processor.place);
                let relationship = &descriptor.relationships[place];
                let spreads = if entry.is_delete { bits::DELETE } else { bits::SAVE_UPDATE };
                if relationship.cascade & spreads == 0 {
                    continue;
                }
                for member in related::all_pending(py, state, relationship, passive::NO_INITIALIZE)? {
                    let Some(member) = state_of(&member).and_then(|member| self.id(member)) else { continue };
                    let is_new = !self.state(member).has_key();
                    let comes_later = member > id || (state.has_key() && !entry.is_delete);
                    let Some(trace) = self.trace.as_mut().filter(|_| comes_later) else { continue };
                    if entry.is_delete && self.register.entry(member).is_delete {
                        trace.rather_because(member, Cause::Marked, Cause::Cascaded(dependency, id));
                    } else if !entry.is_delete && is_new {
                        trace.rather_because(member, Cause::New, Cause::Reached(dependency, id));
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes which attributes a flush would have to load here.
    pub(super) fn note_unloaded(
        &mut self,
        py: Python<'_>,
        states: &[StateId],
        relationship: &RelationshipDescriptor,
        is_delete: bool,
    ) -> PyResult<()> {
        let spreads = relationship.cascade & (bits::DELETE | bits::DELETE_ORPHAN) != 0;
        let is_foreign = relationship.direction != crate::mapper::Direction::ManyToOne;
        for &id in states {
            let state = self.state(id);
            let is_loaded = !state.is_outdated() && !state.slot(relationship.attr).value().is_null();
            let is_unresolved = state.committed(relationship.attr).is_some_and(|old| names::PASSIVE_NO_RESULT.is(old));
            let note = if is_unresolved && (is_foreign || spreads) {
                Note::Unresolved(self.at_work)
            } else if is_loaded || !state.has_key() {
                continue;
            } else if is_delete && relationship.passive_deletes == 0 && (is_foreign || spreads) {
                Note::Unloaded(self.at_work)
            } else if !is_delete
                && is_foreign
                && !relationship.passive_updates
                && keys_changed(py, state, relationship)?
            {
                Note::UnloadedKeys(self.at_work)
            } else {
                continue;
            };
            if let Some(trace) = &mut self.trace {
                trace.note(note);
            }
        }
        Ok(())
    }

    fn traced(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    fn first_cause(&self, id: StateId, otherwise: Cause) -> Cause {
        self.traced().and_then(|trace| trace.causes(id).first().copied()).unwrap_or(otherwise)
    }

    fn copy_to(&self, id: StateId, attr: u32) -> Option<&KeyCopy> {
        self.traced().and_then(|trace| trace.copies.get(&(id, attr)))
    }

    // ---- INSERT and UPDATE ---------------------------------------------------------------------------------------------

    fn foresee_saves(&mut self, py: Python<'_>, states: &[StateId]) -> PyResult<Vec<Work>> {
        let (mut inserts, mut updates) = (Vec::new(), Vec::new());
        let is_work = |state: &StateId| !self.register.entry(*state).list_only;
        let mut ordered = states.iter().filter(|&state| is_work(state)).map(|&state| self.member(state)).collect();
        sort_states(py, &mut ordered)?;
        for state in ordered.into_iter().map(|member| member.id) {
            let is_update = self.state(state).has_key();
            let replaces = if is_update { None } else { self.foresee_row_switch(py, state)? };
            if is_update || replaces.is_some() {
                updates.push(Saved { state, is_update, replaces });
            } else {
                inserts.push(Saved { state, is_update, replaces });
            }
        }
        let mut found = Vec::new();
        let saved: Vec<StateId> = updates.iter().chain(&inserts).map(|saved| saved.state).collect();
        for (table, name) in self.tables_in_order(py, &saved)? {
            found.push(self.foresee_updates(py, &updates, table, &name)?);
            let rows = inserts.iter().filter(|saved| self.table_of(saved.state, table).is_some());
            let rows = rows.map(|saved| row(saved.state, self.first_cause(saved.state, Cause::New))).collect();
            let part = Part::Row;
            found.push(Work { kind: StatementKind::Insert, part, table: name, columns: Vec::new(), rows });
        }
        Ok(found)
    }

    fn foresee_updates(&self, py: Python<'_>, updates: &[Saved], table: usize, name: &str) -> PyResult<Work> {
        let mut columns: IndexSet<String> = IndexSet::new();
        let mut rows = Vec::new();
        let mut detector = SqlDetector::new();
        for saved in updates {
            let Some((descriptor, table_no)) = self.table_of(saved.state, table) else { continue };
            let table = &descriptor.tables[table_no];
            let (shape, by_key) = self.foresee_shape(py, saved, &descriptor, table, &mut detector)?;
            if shape.is_empty() {
                continue;
            }
            columns.extend(shape.columns(table).into_iter().map(|column| column_name(py, table, column as usize)));
            let cause = match (saved.replaces, by_key) {
                (Some(replaced), _) => Cause::RowSwitch(replaced),
                (None, Some(cause)) => cause,
                (None, None) => Cause::Changed,
            };
            rows.push(row(saved.state, cause));
        }
        Ok(Work {
            kind: StatementKind::Update,
            part: Part::Row,
            table: name.to_owned(),
            columns: columns.into_iter().collect(),
            rows,
        })
    }

    /// The columns that an UPDATE of one row would set, and the cause if all of them are keys that relationships bring.
    fn foresee_shape(
        &self,
        py: Python<'_>,
        saved: &Saved,
        descriptor: &MapperDescriptor,
        table: &TableDescriptor,
        detector: &mut SqlDetector,
    ) -> PyResult<(RowShape, Option<Cause>)> {
        let state = self.state(saved.state);
        let mut shape = RowShape::for_table(table);
        if !state.is_outdated() {
            shape_update(py, state, table, detector, &mut shape)?;
        }
        let mut by_key = None;
        for (number, column) in table.columns.iter().enumerate() {
            let Some(copy) = self.copy_to(saved.state, column.attr) else { continue };
            if differs(py, state, column.attr, copy)? {
                shape.send(number);
                by_key = by_key.or(Some(copy.cause));
            } else {
                shape.withhold(number);
            }
        }
        let has_own = (0..)
            .zip(&table.columns)
            .any(|(number, column)| shape.sends(number) && self.copy_to(saved.state, column.attr).is_none());
        for &column in &table.pk {
            let old = state.committed(table.columns[column as usize].attr);
            if !saved.is_update || old.is_some_and(|old| old.is_null() || names::NO_VALUE.is(old)) {
                shape.withhold(column as usize);
            }
        }
        if let Some(version) = version_column(descriptor, table) {
            let is_foreign =
                descriptor.version_generator.as_ref().is_some_and(|generator| is_false(generator.bind(py)));
            let is_bumped = if shape.is_empty() { self.has_change(py, saved.state, descriptor)? } else { !is_foreign };
            if is_bumped {
                shape.send(version as usize);
            }
        }
        Ok((shape, by_key.filter(|_| !has_own)))
    }

    /// Does any column of any of the mapper's tables change?
    fn has_change(&self, py: Python<'_>, id: StateId, descriptor: &MapperDescriptor) -> PyResult<bool> {
        let state = self.state(id);
        for column in descriptor.tables.iter().flat_map(|table| &table.columns) {
            let is_changed = match self.copy_to(id, column.attr) {
                Some(copy) => differs(py, state, column.attr, copy)?,
                None => history::is_net_change(py, state, column.attr)?,
            };
            if is_changed {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The deleted state whose row a pending one takes over.
    fn foresee_row_switch(&mut self, py: Python<'_>, id: StateId) -> PyResult<Option<StateId>> {
        let state = self.state(id);
        let descriptor = Rc::clone(self.descriptor(self.mapper_of(id)));
        let part = |&attr: &u32| match self.copy_to(id, attr) {
            Some(copy) => copy.value.as_ref().map(|value| value.bind(py).clone()),
            None => loaded_value(py, state, attr),
        };
        let Some(parts) = descriptor.primary_key.iter().map(part).collect::<Option<Vec<_>>>() else {
            return Ok(None);
        };
        let key = match parts.as_slice() {
            [single] => single.clone(),
            _ => PyTuple::new(py, parts)?.into_any(),
        };
        let base = base_of_manager(py, state.manager());
        let found = self.uow.core().identity.lookup(py, base, key.as_ptr(), state.identity_token());
        let Some(existing) = found.ok().flatten().filter(|found| found.state != state) else { return Ok(None) };
        match self.id(existing.state) {
            Some(existing) if self.register.entry(existing).is_delete => {
                self.register.remove_actions(existing);
                Ok(Some(existing))
            }
            _ => {
                if let Some(trace) = &mut self.trace {
                    trace.note(Note::Conflict(id));
                }
                Ok(None)
            }
        }
    }

    // ---- DELETE --------------------------------------------------------------------------------------------------------

    fn foresee_deletes(&self, py: Python<'_>, states: &[StateId]) -> PyResult<Vec<Work>> {
        let is_work = |state: &StateId| {
            let entry = self.register.entry(*state);
            entry.is_delete && !entry.list_only
        };
        let states: Vec<StateId> = states.iter().copied().filter(is_work).collect();
        let states = self.by_key(py, &states)?;
        let mut found = Vec::new();
        for (table, name) in self.tables_in_order(py, &states)?.into_iter().rev() {
            let rows = states.iter().filter(|&&state| self.table_of(state, table).is_some());
            let rows = rows.map(|&state| row(state, self.first_cause(state, Cause::Marked))).collect();
            let (kind, part) = (StatementKind::Delete, Part::Row);
            found.push(Work { kind, part, table: name, columns: Vec::new(), rows });
        }
        Ok(found)
    }

    // ---- association rows and post updates -----------------------------------------------------------------------------

    fn foresee_links(
        &mut self,
        py: Python<'_>,
        id: DependencyId,
        states: &[StateId],
        is_delete: bool,
    ) -> PyResult<Vec<Work>> {
        self.at_work = id;
        let table = {
            let processor = &self.dependencies[id.index()];
            match &processor.relationship().prop {
                // A selectable may stand there, which has no name of its own.
                Some(prop) => match prop.bind(py).getattr("secondary")?.getattr_opt("fullname")? {
                    Some(name) => name.to_string(),
                    None => self.schema.dependency(id).name.to_string(),
                },
                None => self.schema.dependency(id).name.to_string(),
            }
        };
        let mut found = Vec::new();
        for (kind, pairs) in self.foreseen_links(py, id, states, is_delete)? {
            let cause = match kind {
                _ if is_delete => Cause::Unlinked(id),
                StatementKind::Update => Cause::Relinked(id),
                _ => Cause::Linked(id),
            };
            let mut rows = Vec::with_capacity(pairs.len());
            for pair in &pairs {
                if let Some(state) = self.id(pair.parent) {
                    rows.push(PlanRow { state, other: self.id(pair.child.state()), cause });
                }
            }
            let (part, table) = (Part::Secondary(id), table.clone());
            found.push(Work { kind, part, table, columns: Vec::new(), rows });
        }
        Ok(found)
    }

    fn foresee_post_update(&self, py: Python<'_>, mapper: MapperId, is_delete: bool) -> PyResult<Vec<Work>> {
        let Some(work) = self.post_updates.get(&mapper) else { return Ok(Vec::new()) };
        let states: Vec<StateId> =
            work.states.iter().copied().filter(|&id| self.register.entry(id).is_delete == is_delete).collect();
        let mut found = Vec::new();
        for (table, name) in self.tables_in_order(py, &states)? {
            let mut columns: IndexSet<String> = IndexSet::new();
            let mut rows = Vec::new();
            for &id in &states {
                let Some((descriptor, table_no)) = self.table_of(id, table) else { continue };
                let table = &descriptor.tables[table_no];
                let mut cause = None;
                for (number, column) in table.columns.iter().enumerate() {
                    if column.pk || !(column.onupdate || work.attrs.contains(&column.attr)) {
                        continue;
                    }
                    let copy = self.copy_to(id, column.attr);
                    let is_sent = match copy {
                        Some(copy) => differs(py, self.state(id), column.attr, copy)?,
                        None => is_changed(py, self.state(id), column.attr)?,
                    };
                    if is_sent {
                        columns.insert(column_name(py, table, number));
                        cause = cause.or(Some(match copy {
                            Some(copy) if is_delete => Cause::Before(copy.dependency),
                            Some(copy) => Cause::Later(copy.dependency),
                            None => Cause::Changed,
                        }));
                    }
                }
                rows.extend(cause.map(|cause| row(id, cause)));
            }
            found.push(Work {
                kind: StatementKind::Update,
                part: Part::PostUpdate,
                table: name,
                columns: columns.into_iter().collect(),
                rows,
            });
        }
        Ok(found)
    }

    // ---- order and tables --------------------------------------------------------------------------------------------------------

    /// Persistent states in the order in which their rows are written.
    fn by_key(&self, py: Python<'_>, states: &[StateId]) -> PyResult<Vec<StateId>> {
        let mut members: Vec<_> = states.iter().map(|&state| self.member(state)).collect();
        sort_by_key(py, &mut members)?;
        Ok(members.into_iter().map(|member| member.id).collect())
    }

    /// The tables of states in the order in which their rows are written: address and name.
    fn tables_in_order(&self, py: Python<'_>, states: &[StateId]) -> PyResult<Vec<(usize, String)>> {
        let tables = self.tables_of(py, states.iter().map(|&state| self.mapper_of(state)))?;
        let named = tables.into_iter().filter_map(|table| {
            let (descriptor, number) = states.iter().find_map(|&state| self.table_of(state, table))?;
            Some((table, descriptor.tables[number].name.clone()))
        });
        Ok(named.collect())
    }

    /// A state's description, and the number of a table there if its mapper writes to it.
    fn table_of(&self, state: StateId, address: usize) -> Option<(Rc<MapperDescriptor>, usize)> {
        let descriptor = self.descriptor(self.mapper_of(state));
        let number = descriptor.tables.iter().position(|table| table.table.as_ptr() as usize == address)?;
        Some((Rc::clone(descriptor), number))
    }
}

fn row(state: StateId, cause: Cause) -> PlanRow {
    PlanRow { state, other: None, cause }
}

fn column_name(py: Python<'_>, table: &TableDescriptor, column: usize) -> String {
    table.columns[column].key.bind(py).to_string()
}

/// Is the key that a relationship brings another one than the database has? One that is not known yet is.
fn differs(py: Python<'_>, state: StateRef, attr: u32, copy: &KeyCopy) -> PyResult<bool> {
    match (&copy.value, committed(py, state, attr), state.manager().attr(attr)) {
        (Some(value), Some(old), Some(attr)) => Ok(!history::is_equal(py, attr, value.bind(py), &old)?),
        _ => Ok(true),
    }
}

/// Does a column have another value than it had?
fn is_changed(py: Python<'_>, state: StateRef, attr: u32) -> PyResult<bool> {
    Ok(state.slot(attr).is_modified() && !attribute::history(py, state, attr, passive::NO_INITIALIZE)?.added.is_empty())
}

/// A column value as it was last seen in the database, if it is in memory.
pub(super) fn committed(py: Python<'_>, state: StateRef, attr: u32) -> Option<Bound<'_, PyAny>> {
    if state.is_outdated() || !state.has_key() {
        return None;
    }
    let value = match state.committed(attr) {
        Some(old) if old.is_null() || names::NO_VALUE.is(old) => return None,
        Some(old) => old,
        None if state.slot(attr).is_modified() => return None,
        None => state.slot(attr).value(),
    };
    // SAFETY: the state owns its values; null is answered with nothing.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, value) }.filter(|value| !attribute::is_symbol(value))
}
