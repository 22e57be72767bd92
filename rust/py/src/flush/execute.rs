//! *Execute*: the plan's groups, one after the other, become batches that the executor sends. Nothing of the unit of work is
//! borrowed while the executor runs; an error (or an interrupt) leaves the rest undone, for the rollback to clear up.
use std::rc::Rc;

use pyo3::prelude::*;
use rustalchemy_core::flush::{Action, Group, StatementKind};
use rustalchemy_core::ids::{MapperId, StateId};
use rustalchemy_core::schema::Direction;

use crate::attach::state_str;
use crate::bridge as attribute;
use crate::errors;
use crate::flags;
use crate::held::Held;
use crate::identity::base_of_manager;
use crate::identity_key;
use crate::imports;
use crate::listeners::Firing;
use crate::mapper::{ColumnDescriptor, Equated, InstanceEvent, MapperDescriptor, RowEvent};
use crate::state::StateRef;

use super::batch::{Batch, BatchParts};
use super::known_writes::{WriteShape, insert_one};
use super::row_set::RowSet;
use super::rows::{
    RowShape, SqlDetector, inconsistent, row_key, shape_insert, sort_by_key, sort_states, version_column,
};
use super::{Flush, Member, committed_value_of, key_of, value_of};

/// A row to be saved, with what is needed beside its object.
pub(super) struct Row {
    pub state: StateRef,
    pub mapper: MapperId,
    /// The version the row has in the database; `None` for an INSERT or a class without versions.
    pub old_version: Option<Py<PyAny>>,
}

/// What a row of a DELETE is found by.
const DELETE_NULL_KEY: &str = "Can't delete from table";

impl Flush {
    /// Carries the plan out.
    pub(super) fn execute(&mut self, py: Python<'_>, executor: &Bound<'_, PyAny>) -> PyResult<()> {
        let result = self.execute_groups(py, executor);
        // An exception's traceback may hold the plan: not the connection, too.
        let arguments: Vec<_> = self.mappers.iter_mut().map(|entry| entry.event_arguments.take()).collect();
        drop(arguments);
        result
    }

    fn execute_groups(&mut self, py: Python<'_>, executor: &Bound<'_, PyAny>) -> PyResult<()> {
        let plan = std::mem::take(&mut self.plan);
        for Group { action, states, .. } in plan.groups() {
            self.has_sent = false;
            if !self.uow.core().events.is_silent() {
                self.connect(py, executor, action)?; // who hears of its beginning may still change what is written
            }
            match action {
                Action::SaveUpdateAll(_) => self.save(py, executor, states),
                Action::DeleteAll(_) => self.delete(py, executor, states),
                Action::ProcessAll(dependency, is_delete)
                    if self.schema.dependency(dependency).direction == Direction::ManyToMany =>
                {
                    self.process_many_to_many(py, executor, dependency, states, is_delete)
                }
                Action::ProcessAll(dependency, is_delete) => self.process(py, dependency, states, is_delete),
                Action::PostUpdateAll(mapper, is_delete) => self.post_update(py, executor, mapper, is_delete),
                _ => Err(inconsistent("a plan holds actions of whole mappers only")),
            }?;
            if !self.has_sent {
                self.connect(py, executor, action)?; // a flush that finds no net change has begun its transaction all the same
            }
        }
        self.blocked.take().map_or(Ok(()), Err)
    }

    /// Begins where the rows of an action's mapper would go.
    fn connect(&self, py: Python<'_>, executor: &Bound<'_, PyAny>, action: Action) -> PyResult<()> {
        if let Action::SaveUpdateAll(mapper) | Action::DeleteAll(mapper) = action {
            let manager = self.mappers[mapper.index()].manager.bind(py);
            executor.call_method1(pyo3::intern!(py, "connect"), (manager,))?;
        }
        Ok(())
    }

    // ---- INSERT and UPDATE ---------------------------------------------------------------------------------------------

    fn save(&mut self, py: Python<'_>, executor: &Bound<'_, PyAny>, states: &[StateId]) -> PyResult<()> {
        let is_work = |id: &&StateId| !self.register.entry(**id).list_only;
        let mut members = Vec::with_capacity(states.len());
        members.extend(states.iter().filter(is_work).map(|&id| self.member(id)));
        sort_states(py, &mut members)?;
        let Some(first) = members.first() else { return Ok(()) };
        let rows_at_once = if self.descriptor(self.mapper_of(first.id)).batch { members.len() } else { 1 };
        for members in members.chunks(rows_at_once) {
            self.save_rows(py, executor, members)?;
        }
        Ok(())
    }

    fn save_rows(&mut self, py: Python<'_>, executor: &Bound<'_, PyAny>, members: &[Member]) -> PyResult<()> {
        let has_persistent = !self.uow.core().identity.is_empty();
        let pending = members.partition_point(|member| !member.state.has_key());
        let (mut inserts, mut updates) = (Vec::with_capacity(pending), Vec::with_capacity(members.len() - pending));
        for &Member { id, state } in members {
            let mapper = self.mapper_of(id);
            let has_identity = state.has_key();
            self.fire(
                py,
                executor,
                mapper,
                state,
                if has_identity { RowEvent::BeforeUpdate } else { RowEvent::BeforeInsert },
            )?;
            check_discriminator(py, self.descriptor(mapper), state)?;
            let switched = if has_identity { None } else { self.find_row_switch(py, state, mapper, has_persistent)? };
            if has_identity || switched.is_some() {
                let source = switched.as_ref().map_or(state, Held::state);
                let version = self.descriptor(mapper).version_id;
                let old_version =
                    version.map(|attr| committed_value_of(py, source, attr).map(Bound::unbind)).transpose()?;
                updates.push(Row { state, mapper, old_version });
            } else {
                inserts.push(Row { state, mapper, old_version: None });
            }
        }
        for table in self.tables_of(py, updates.iter().chain(&inserts).map(|row| row.mapper))? {
            self.update_table(py, executor, &updates, table)?;
            self.insert_table(py, executor, &inserts, table)?;
        }
        for (rows, event) in [(&inserts, RowEvent::AfterInsert), (&updates, RowEvent::AfterUpdate)] {
            for row in rows {
                self.expire_readonly(py, row)?;
                self.fire(py, executor, row.mapper, row.state, event)?;
                self.check_version(py, row)?;
            }
        }
        Ok(())
    }

    /// Attributes that are read from SQL expressions may have other values now.
    fn expire_readonly(&self, py: Python<'_>, row: &Row) -> PyResult<()> {
        let state = row.state;
        for readonly in self.descriptor(row.mapper).readonly(py, state.manager()) {
            let slot = state.slot(readonly.attr);
            let is_loaded = !slot.value().is_null();
            let is_stale = if readonly.expires_on_flush {
                !readonly.is_deferred || is_loaded
            } else {
                !readonly.is_deferred && !is_loaded
            };
            if is_stale && !slot.is_modified() {
                attribute::expire_attribute(py, state, readonly.attr)?;
            }
        }
        Ok(())
    }

    /// A version that somebody else makes is not NULL after the statement; one that did not come back is loaded later.
    fn check_version(&self, py: Python<'_>, row: &Row) -> PyResult<()> {
        let descriptor = self.descriptor(row.mapper);
        let is_foreign = descriptor.version_generator.as_ref().is_some_and(|generator| is_false(generator.bind(py)));
        match descriptor.version_id {
            Some(attr) if is_foreign && row.state.slot(attr).value() == py.None().as_ptr() => {
                Err(errors::of(py, &imports::FLUSH, "Instance does not contain a non-NULL version value".to_owned()))
            }
            _ => Ok(()),
        }
    }

    /// A pending object whose row belongs to an object that is being deleted takes that row over (an UPDATE); one whose row
    /// belongs to a living object is warned about.
    fn find_row_switch(
        &mut self,
        py: Python<'_>,
        state: StateRef,
        mapper: MapperId,
        has_persistent: bool,
    ) -> PyResult<Option<Held>> {
        let primary_key = &self.descriptor(mapper).primary_key;
        if let Some(&missing) = primary_key.iter().find(|&&attr| state.slot(attr).value().is_null()) {
            // It may be expired: only an object that was flushed before and then rolled back is like that.
            return value_of(py, state, missing).map(|_| None);
        }
        if !has_persistent {
            return Ok(None);
        }
        let descriptor = Rc::clone(self.descriptor(mapper));
        let key = key_of(py, state, &descriptor)?;
        let base = base_of_manager(py, state.manager());
        let found = self.uow.core().identity.lookup(py, base, key.as_ptr(), state.identity_token());
        // An unhashable key (a SQL expression, say) is nobody's.
        let Some(existing) = found.ok().flatten().and_then(|found| Held::new(found.state)) else { return Ok(None) };
        if existing.state() == state || self.was_already_deleted(py, existing.state())? {
            return Ok(None);
        }
        match self.id(existing.state()) {
            Some(id) if self.register.entry(id).is_delete => {
                self.register.remove_actions(id);
                Ok(Some(existing))
            }
            _ => {
                errors::warn(
                    py,
                    &format!(
                        "New instance {} with identity key {} conflicts with persistent instance {}",
                        state_str(py, state),
                        identity_key::of(py, existing.state())?.repr()?,
                        state_str(py, existing.state()),
                    ),
                )?;
                Ok(None)
            }
        }
    }

    /// An expired object whose row turns out to be gone.
    fn was_already_deleted(&mut self, py: Python<'_>, state: StateRef) -> PyResult<bool> {
        if !state.has(flags::EXPIRED) && !state.is_outdated() {
            return Ok(false);
        }
        match attribute::load_expired(py, state) {
            Ok(()) => Ok(false),
            Err(error) if error.is_instance(py, imports::OBJECT_DELETED.get(py)?) => {
                self.uow.newly_deleted(py, state)?;
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn fire(
        &mut self,
        py: Python<'_>,
        executor: &Bound<'_, PyAny>,
        mapper: MapperId,
        state: StateRef,
        event: RowEvent,
    ) -> PyResult<()> {
        let number = event as usize;
        let entry = &self.mappers[mapper.index()];
        if !entry.descriptor.row_events.listens(number) {
            return Ok(());
        }
        let arguments = match &entry.event_arguments {
            Some(arguments) => arguments.each_ref().map(|argument| argument.clone_ref(py)),
            None => {
                let (made, holds): ([Py<PyAny>; 2], bool) =
                    executor.call_method1("event_arguments", (entry.manager.bind(py), state.object(py)))?.extract()?;
                if holds {
                    self.mappers[mapper.index()].event_arguments = Some(made.each_ref().map(|made| made.clone_ref(py)));
                }
                made
            }
        };
        let others = arguments.map(|argument| argument.into_bound(py));
        let listeners = self.mappers[mapper.index()].descriptor.row_events.present(py, number)?;
        Firing { state, position: 2, others: &others, keyword: None }.announce(py, listeners)
    }

    fn insert_table(
        &mut self,
        py: Python<'_>,
        executor: &Bound<'_, PyAny>,
        rows: &[Row],
        table: usize,
    ) -> PyResult<()> {
        for row in rows {
            copy_equated(py, self.descriptor(row.mapper), table, row.state)?;
        }
        let rows: Vec<&Row> =
            rows.iter().filter(|row| table_number(self.descriptor(row.mapper), table).is_some()).collect();
        let mut detector = SqlDetector::new();
        let mut at = 0;
        while let Some(first) = rows.get(at) {
            let descriptor = Rc::clone(self.descriptor(first.mapper));
            let Some(table_no) = table_number(&descriptor, table) else { break };
            let table_descriptor = &descriptor.tables[table_no];
            let has_generator = descriptor.version_generator.as_ref().is_none_or(|fn_| !is_false(fn_.bind(py)));
            let version = version_column(&descriptor, table_descriptor).filter(|_| has_generator);
            let mut run = RowShape::for_table(table_descriptor);
            let mut next = run.clone();
            shape_insert(py, first.state, table_descriptor, version, &mut detector, &mut run)?;
            let mut end = at + 1;
            let mut last = first.mapper;
            // A row with SQL expressions travels alone.
            while !run.has_sql
                && let Some(row) = rows.get(end)
            {
                if row.mapper != last {
                    if !is_same_insert(&descriptor, table_no, self.descriptor(row.mapper), table) {
                        break;
                    }
                    last = row.mapper;
                }
                shape_insert(py, row.state, table_descriptor, version, &mut detector, &mut next)?;
                if next != run {
                    break;
                }
                end += 1;
            }
            let mut set = RowSet::of(rows[at..end].iter().map(|row| row.state));
            if let Some(column) = version {
                let made = (0..set.len()).map(|_| next_version(py, &descriptor, None)).collect::<PyResult<_>>()?;
                set.versions = Some((column, made));
            }
            let is_one = set.len() == 1;
            let has_version = version.is_some();
            let (has_sql, needs_key, columns) = (run.has_sql, !run.has_key, run.columns(table_descriptor));
            let shape = WriteShape { kind: StatementKind::Insert, table_no, columns: run, has_version };
            at = end;
            self.has_sent = true;
            if is_one && insert_one(py, self.uow, &descriptor, &shape, &set)? {
                continue;
            }
            let batch = Batch::new(BatchParts {
                manager: self.mappers[first.mapper.index()].manager.clone_ref(py),
                table_no,
                kind: StatementKind::Insert,
                columns,
                where_columns: Vec::new(),
                has_sql,
                needs_key,
                set: Rc::new(set),
                descriptor: Rc::clone(&descriptor),
            });
            let (_, answer) = self.send(py, executor, batch)?;
            descriptor.known_writes.learn(shape, &answer)?;
        }
        Ok(())
    }

    /// Hands one batch to the executor; returns what that answers.
    pub(super) fn send<'py>(
        &mut self,
        py: Python<'py>,
        executor: &Bound<'py, PyAny>,
        batch: Batch,
    ) -> PyResult<(Bound<'py, Batch>, Bound<'py, PyAny>)> {
        let method = match batch.statement_kind() {
            StatementKind::Insert => pyo3::intern!(py, "insert"),
            StatementKind::Update => pyo3::intern!(py, "update"),
            StatementKind::Delete => pyo3::intern!(py, "delete"),
        };
        self.has_sent = true;
        let batch = Bound::new(py, batch)?;
        let answer = executor.call_method1(method, (&batch,))?;
        Ok((batch, answer))
    }

    // ---- DELETE --------------------------------------------------------------------------------------------------------

    fn delete(&mut self, py: Python<'_>, executor: &Bound<'_, PyAny>, states: &[StateId]) -> PyResult<()> {
        let is_work = |id: StateId| {
            let entry = self.register.entry(id);
            entry.is_delete && !entry.list_only
        };
        let mut members: Vec<_> = states.iter().filter(|&&id| is_work(id)).map(|&id| self.member(id)).collect();
        sort_by_key(py, &mut members)?;
        let row = |Member { id, state }| Row { state, mapper: self.mapper_of(id), old_version: None };
        let rows: Vec<Row> = members.into_iter().map(row).collect();
        for row in &rows {
            self.fire(py, executor, row.mapper, row.state, RowEvent::BeforeDelete)?;
        }
        for table in self.tables_of(py, rows.iter().map(|row| row.mapper))?.into_iter().rev() {
            let rows: Vec<&Row> =
                rows.iter().filter(|row| table_number(self.descriptor(row.mapper), table).is_some()).collect();
            let is_same = |row: &&Row, next: &&Row| {
                row.mapper == next.mapper
                    || is_same_delete(self.descriptor(row.mapper), self.descriptor(next.mapper), table)
            };
            let runs: Vec<&[&Row]> = rows.chunk_by(is_same).collect();
            for run in runs {
                self.delete_run(py, executor, run, table)?;
            }
        }
        for row in &rows {
            self.fire(py, executor, row.mapper, row.state, RowEvent::AfterDelete)?;
        }
        Ok(())
    }

    fn delete_run(&mut self, py: Python<'_>, executor: &Bound<'_, PyAny>, rows: &[&Row], table: usize) -> PyResult<()> {
        let Some(first) = rows.first() else { return Ok(()) };
        let descriptor = Rc::clone(self.descriptor(first.mapper));
        let Some(table_no) = table_number(&descriptor, table) else { return Ok(()) };
        let table_descriptor = &descriptor.tables[table_no];
        let version = version_column(&descriptor, table_descriptor);
        for row in rows {
            for &column in &table_descriptor.pk {
                let key_column = &table_descriptor.columns[column as usize];
                if is_no_row_yet(row.state, key_column.attr) || row_key(py, row.state, key_column)?.is_none() {
                    return Err(null_key(py, DELETE_NULL_KEY, table_descriptor, column));
                }
            }
            if let Some(column) = version {
                row_key(py, row.state, &table_descriptor.columns[column as usize])?; // loaded, if it has expired
            }
        }
        let mut where_columns = table_descriptor.pk.clone();
        where_columns.extend(version);
        let batch = Batch::new(BatchParts {
            manager: self.mappers[first.mapper.index()].manager.clone_ref(py),
            table_no,
            kind: StatementKind::Delete,
            columns: Vec::new(),
            where_columns,
            has_sql: false,
            needs_key: false,
            set: Rc::new(RowSet::of(rows.iter().map(|row| row.state))),
            descriptor,
        });
        self.send(py, executor, batch).map(drop)
    }
}

/// Do rows of two classes of a hierarchy become the same INSERT into a table they share?
fn is_same_insert(descriptor: &MapperDescriptor, table_no: usize, other: &MapperDescriptor, table: usize) -> bool {
    let Some(other_no) = table_number(other, table) else { return false };
    let (columns, others) = (&descriptor.tables[table_no].columns, &other.tables[other_no].columns);
    let same_column = |(column, other): (&ColumnDescriptor, &ColumnDescriptor)| {
        column.attr == other.attr
            && column.eval_none == other.eval_none
            && column.default == other.default
            && column.server_default == other.server_default
            && !column.attribute_default
            && !other.attribute_default
    };
    columns.len() == others.len()
        && columns.iter().zip(others).all(same_column)
        && is_same_version(descriptor, other)
        && !is_refresh_heard(descriptor)
        && !is_refresh_heard(other)
}

/// Do rows of two classes of a hierarchy become the same DELETE from a table they share?
fn is_same_delete(descriptor: &MapperDescriptor, other: &MapperDescriptor, table: usize) -> bool {
    let key = |descriptor: &MapperDescriptor| -> Option<Vec<u32>> {
        let table = &descriptor.tables[table_number(descriptor, table)?];
        table.pk.iter().map(|&column| table.columns.get(column as usize).map(|column| column.attr)).collect()
    };
    is_same_version(descriptor, other) && key(descriptor) == key(other)
}

/// Do listeners want to know what a flush got back? They belong to a class.
pub(super) fn is_refresh_heard(descriptor: &MapperDescriptor) -> bool {
    descriptor.instance_events.listens(InstanceEvent::RefreshFlush as usize)
}

/// Do two classes of a hierarchy have the same version, made in the same way?
pub(super) fn is_same_version(descriptor: &MapperDescriptor, other: &MapperDescriptor) -> bool {
    let generator = |descriptor: &MapperDescriptor| descriptor.version_generator.as_ref().map(Py::as_ptr);
    descriptor.version_id == other.version_id && generator(descriptor) == generator(other)
}

/// Warns about a discriminator that says another class than the object's.
fn check_discriminator(py: Python<'_>, descriptor: &MapperDescriptor, state: StateRef) -> PyResult<()> {
    let (Some(attr), Some(identity)) = (descriptor.polymorphic_attr, &descriptor.polymorphic_identity) else {
        return Ok(());
    };
    let value = state.slot(attr).value();
    if value.is_null() || value == identity.as_ptr() || state.is_outdated() {
        return Ok(());
    }
    // SAFETY: the slot owns its value; it is held from here on.
    let value = unsafe { Bound::from_borrowed_ptr(py, value) };
    if value.is_exact_instance_of::<pyo3::types::PyString>() && value.eq(identity.bind(py))? {
        return Ok(());
    }
    let Some(mapper) = state.manager().mapper(py) else { return Ok(()) };
    let check = mapper.getattr(pyo3::intern!(py, "_validate_polymorphic_identity"))?;
    if !check.is_none() {
        let view = state.view(py)?;
        check.call1((&mapper, &view, view.getattr(pyo3::intern!(py, "dict"))?))?;
    }
    Ok(())
}

pub(super) fn table_number(descriptor: &MapperDescriptor, address: usize) -> Option<usize> {
    descriptor.tables.iter().position(|table| table.table.as_ptr() as usize == address)
}

pub(super) fn is_false(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<pyo3::types::PyBool>() && !object.is_truthy().unwrap_or(true)
}

/// The version that follows another one; the first without one.
pub(super) fn next_version(
    py: Python<'_>,
    descriptor: &MapperDescriptor,
    old: Option<&Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    if let Some(generator) = &descriptor.version_generator {
        return generator.call1(py, (old,));
    }
    let old = old.map(|old| old.bind(py)).filter(|old| !old.is_none());
    match old {
        Some(old) => Ok(old.add(1)?.unbind()),
        None => Ok(1_i64.into_pyobject(py)?.into_any().unbind()),
    }
}

/// Whether a key is only what a new object was told: a row that has it is another object's, and stays.
fn is_no_row_yet(state: StateRef, key: u32) -> bool {
    !state.has_key() && state.committed(key).is_some_and(|old| old.is_null() || crate::names::NO_VALUE.is(old))
}

pub(super) fn null_key(py: Python<'_>, what: &str, table: &crate::mapper::TableDescriptor, column: u32) -> PyErr {
    let key = table.columns[column as usize].key.bind(py).to_string();
    errors::of(
        py,
        &imports::FLUSH,
        format!("{what} {} using NULL for primary key value on column {}.{key}", table.name, table.name),
    )
}

/// The row of an ancestor's table is written: what joined inheritance makes equal in this one is known now.
fn copy_equated(py: Python<'_>, descriptor: &MapperDescriptor, table: usize, state: StateRef) -> PyResult<()> {
    let Some(number) = table_number(descriptor, table) else { return Ok(()) };
    for equated in &descriptor.tables[number].equated {
        if equated.source == equated.own {
            // set to what it is, which can be told where the flush fails
            state.add_flags(flags::MODIFIED);
        } else {
            copy_one(py, state, equated)?;
        }
    }
    Ok(())
}

pub(super) fn copy_one(py: Python<'_>, state: StateRef, equated: &Equated) -> PyResult<()> {
    let value = attribute::get(py, state, equated.source, flags::passive::NO_INITIALIZE)?;
    if !attribute::is_symbol(&value) && !value.is_none() {
        attribute::set_column(py, state, equated.own, &value)?;
    }
    Ok(())
}
