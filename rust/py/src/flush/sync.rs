//! Keys move between objects: what dependency processors do between the steps of a flush.
use std::rc::Rc;

use pyo3::exceptions::PyAssertionError;
use pyo3::ffi;
use pyo3::prelude::*;
use rustalchemy_core::flush::Cause;
use rustalchemy_core::ids::{DependencyId, StateId};

use crate::attach::state_str;
use crate::bridge as attribute;
use crate::errors;
use crate::flags::{self, passive};
use crate::history::History;
use crate::imports;
use crate::manager::ManagerCore;
use crate::mapper::{Direction, RelationshipDescriptor, TableDescriptor, bits};
use crate::related;
use crate::slots;
use crate::state::StateRef;

use super::register::{keys_changed, relationship_str};
use super::trace::loaded_value;
use super::{Flush, value_of};

impl Flush {
    /// `process_saves` or `process_deletes` of one dependency processor.
    pub(super) fn process(
        &mut self,
        py: Python<'_>,
        id: DependencyId,
        states: &[StateId],
        is_delete: bool,
    ) -> PyResult<()> {
        let entry = &self.dependencies[id.index()];
        let (descriptor, place) = (Rc::clone(&entry.descriptor), entry.place);
        let relationship = &descriptor.relationships[place];
        self.at_work = id;
        for &state in states {
            if self.register.entry(state).list_only {
                continue;
            }
            match (relationship.direction, is_delete) {
                (Direction::OneToMany, false) => self.one_to_many_save(py, state, relationship)?,
                (Direction::OneToMany, true) => self.one_to_many_delete(py, id, state, relationship)?,
                (Direction::ManyToOne, false) => self.many_to_one_save(py, state, relationship)?,
                (Direction::ManyToOne, true) => self.many_to_one_delete(py, id, state, relationship)?,
                (Direction::ManyToMany, _) => {}
            }
        }
        Ok(())
    }

    fn one_to_many_save(
        &mut self,
        py: Python<'_>,
        parent: StateId,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<()> {
        let (id, parent) = (parent, self.state(parent));
        let keys_changed = keys_changed(py, parent, relationship)?;
        if !keys_changed && related::is_untouched(parent, relationship) {
            return Ok(());
        }
        // As it was registered: with what is queued on a collection that is not loaded.
        let flags = passive::NO_INITIALIZE | passive::INCLUDE_PENDING_MUTATIONS | self.preview_flags();
        let links = related::links(py, parent, relationship, flags)?;
        for child in &links.added {
            self.copy_to_child(py, parent, child, relationship, Cause::Added(self.at_work, id))?;
        }
        let nulls_keys = relationship.cascade & bits::DELETE_ORPHAN == 0 && relationship.passive_deletes != 2;
        if nulls_keys {
            for child in &links.deleted {
                let Some(child) = related::held(py, child)? else { continue };
                if !attribute::has_parent(parent, relationship, child.state()) {
                    let (child, cause) = (child.state(), Cause::Removed(self.at_work, id));
                    // As in SQLAlchemy, a child that is merely removed gets no second UPDATE.
                    if relationship.post_update || !self.is_deleted(child) {
                        self.clear_keys(py, child, relationship, cause)?;
                    }
                }
            }
        }
        if keys_changed {
            for child in &links.unchanged {
                self.copy_to_child(py, parent, child, relationship, Cause::KeyChanged(self.at_work, id))?;
                if relationship.passive_updates
                    && !self.is_preview()
                    && let Some(child) = related::held(py, child)?
                {
                    self.keys_cascaded(child.state(), relationship);
                }
            }
        }
        Ok(())
    }

    fn one_to_many_delete(
        &mut self,
        py: Python<'_>,
        id: DependencyId,
        parent: StateId,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<()> {
        if !relationship.post_update && relationship.passive_deletes == 2 {
            return Ok(());
        }
        let (parent_id, parent) = (parent, self.state(parent));
        let links = related::links(py, parent, relationship, self.delete_flags(relationship))?;
        let History { unchanged, deleted, .. } = links;
        for child in &deleted {
            let Some(child) = related::held(py, child)? else { continue };
            if !attribute::has_parent(parent, relationship, child.state()) {
                self.clear_child(py, child.state(), relationship, Cause::Removed(id, parent_id))?;
            }
        }
        if relationship.post_update || relationship.cascade & bits::DELETE == 0 {
            for child in &unchanged {
                let Some(child) = related::held(py, child)? else { continue };
                let address = child.state().as_ptr() as usize;
                if !self.dependencies[id.index()].children_added.contains(&address) {
                    self.clear_child(py, child.state(), relationship, Cause::ParentDeleted(id, parent_id))?;
                }
            }
        }
        Ok(())
    }

    fn copy_to_child(
        &mut self,
        py: Python<'_>,
        parent: StateRef,
        child: &Bound<'_, PyAny>,
        relationship: &RelationshipDescriptor,
        cause: Cause,
    ) -> PyResult<()> {
        self.verify_canload(py, child, relationship)?;
        let Some(child) = related::held(py, child)? else { return Ok(()) };
        let child = child.state();
        if relationship.post_update {
            self.copy_keys(py, parent, child, relationship, cause)?;
            self.register_post_update(child, relationship);
            return Ok(());
        }
        if self.is_deleted(child) {
            return Ok(());
        }
        self.copy_keys(py, parent, child, relationship, cause)
    }

    fn clear_child(
        &mut self,
        py: Python<'_>,
        child: StateRef,
        relationship: &RelationshipDescriptor,
        cause: Cause,
    ) -> PyResult<()> {
        if !relationship.post_update && self.is_deleted(child) {
            return Ok(());
        }
        self.clear_keys(py, child, relationship, cause)?;
        if relationship.post_update {
            self.register_post_update(child, relationship);
        }
        Ok(())
    }

    /// Copies keys, or notes that it would.
    pub(super) fn copy_keys(
        &mut self,
        py: Python<'_>,
        source: StateRef,
        dest: StateRef,
        relationship: &RelationshipDescriptor,
        cause: Cause,
    ) -> PyResult<()> {
        if self.is_traced(py, Some(source), dest, relationship, cause) {
            return Ok(());
        }
        populate(py, source, dest, relationship)
    }

    /// Sets foreign keys to NULL, or notes that it would.
    fn clear_keys(
        &mut self,
        py: Python<'_>,
        dest: StateRef,
        relationship: &RelationshipDescriptor,
        cause: Cause,
    ) -> PyResult<()> {
        if !self.is_preview() {
            return clear(py, dest, relationship);
        }
        for number in 0..relationship.sync.len() {
            refuse_null_key(py, dest, relationship, number, |attr| Ok(loaded_value(py, dest, attr)))?;
        }
        self.is_traced(py, None, dest, relationship, cause);
        Ok(())
    }

    fn many_to_one_save(
        &mut self,
        py: Python<'_>,
        holder: StateId,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<()> {
        let holder = self.state(holder);
        if related::is_untouched(holder, relationship) && !relationship.post_update {
            return Ok(());
        }
        let links = related::links(py, holder, relationship, passive::NO_INITIALIZE | self.preview_flags())?;
        if links.is_empty() {
            return Ok(());
        }
        if !relationship.post_update && self.is_deleted(holder) {
            return Ok(());
        }
        if links.added.is_empty() {
            if !links.deleted.is_empty() {
                self.clear_keys(py, holder, relationship, Cause::Refers(self.at_work))?;
            }
        } else {
            for target in &links.added {
                self.copy_from_target(py, holder, target, relationship)?;
            }
        }
        if relationship.post_update {
            self.register_post_update(holder, relationship);
        }
        Ok(())
    }

    fn copy_from_target(
        &mut self,
        py: Python<'_>,
        holder: StateRef,
        target: &Bound<'_, PyAny>,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<()> {
        let cause = Cause::Refers(self.at_work);
        let Some(held) = related::held(py, target)? else { return self.clear_keys(py, holder, relationship, cause) };
        if !self.uow.contains(held.state()) {
            return self.warn_outside(py, &held, relationship, "add", "won't");
        }
        self.verify_canload(py, target, relationship)?;
        self.copy_keys(py, held.state(), holder, relationship, cause)
    }

    fn many_to_one_delete(
        &mut self,
        py: Python<'_>,
        id: DependencyId,
        holder: StateId,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<()> {
        if !relationship.post_update
            || relationship.cascade & bits::DELETE_ORPHAN != 0
            || relationship.passive_deletes == 2
        {
            return Ok(());
        }
        let is_known = self.dependencies[id.index()].looked_up.contains(&holder);
        let flags = if is_known { passive::NO_INITIALIZE } else { self.delete_flags(relationship) };
        let holder = self.state(holder);
        self.clear_keys(py, holder, relationship, Cause::Before(self.at_work))?;
        let links = related::links(py, holder, relationship, flags)?;
        if links.added.iter().chain(&links.unchanged).chain(&links.deleted).any(|target| !target.is_none()) {
            self.register_post_update(holder, relationship);
        }
        Ok(())
    }

    fn register_post_update(&mut self, state: StateRef, relationship: &RelationshipDescriptor) {
        let Some(id) = self.id(state) else { return };
        let base = self.schema.base(self.mapper_of(id));
        let work = self.post_updates.entry(base).or_default();
        work.states.insert(id);
        for &(_, attr) in &relationship.sync {
            if !work.attrs.contains(&attr) {
                work.attrs.push(attr);
            }
        }
    }

    /// The database changes these keys by itself: they are as in the database already.
    fn keys_cascaded(&self, child: StateRef, relationship: &RelationshipDescriptor) {
        if relationship.dest_pk {
            for &(_, attr) in &relationship.sync {
                child.forget_committed(attr);
            }
        }
    }

    /// A member must be of the relationship's target class.
    pub(super) fn verify_canload(
        &self,
        py: Python<'_>,
        member: &Bound<'_, PyAny>,
        relationship: &RelationshipDescriptor,
    ) -> PyResult<()> {
        if member.is_none() {
            if relationship.uselist {
                return Err(errors::of(
                    py,
                    &imports::FLUSH,
                    format!("Can't flush None value found in collection {}", relationship_str(py, relationship)),
                ));
            }
            return Ok(());
        }
        let target = ManagerCore::of(relationship.target.bind(py));
        let state = crate::state::state_of(member);
        // Without a discriminator the object would come back as one of the target class.
        if state.is_some_and(|state| std::ptr::eq(state.manager(), target)) {
            return Ok(());
        }
        let is_subclass = state.is_some_and(|state| state.manager().is_subclass_of(target));
        if is_subclass && (!relationship.enable_typechecks || loads_subclasses(py, target)?) {
            return Ok(());
        }
        let (given, expected) = (member.get_type().str()?, target.class(py)?.str()?);
        let mut message = format!(
            "Attempting to flush an item of type {given} as a member of collection \"{}\". Expected an object of type \
             {expected} or a polymorphic subclass of this type.",
            relationship_str(py, relationship),
        );
        if is_subclass {
            let mapper = target.mapper(py).map_or_else(String::new, |mapper| mapper.to_string());
            let _ = std::fmt::Write::write_fmt(
                &mut message,
                format_args!(
                    " If {given} is a subclass of {expected}, configure mapper \"{mapper}\" to load this subtype \
                 polymorphically, or set enable_typechecks=False to allow any subtype to be accepted for flush. "
                ),
            );
        }
        Err(errors::of(py, &imports::FLUSH, message))
    }
}

/// Do queries of the class find objects of its subclasses as what they are?
fn loads_subclasses(py: Python<'_>, manager: &ManagerCore) -> PyResult<bool> {
    match manager.mapper(py) {
        Some(mapper) => Ok(!mapper.getattr("polymorphic_on")?.is_none()),
        None => Ok(false),
    }
}

/// Copies keys from `source` to `dest` (`sync.populate`).
pub(super) fn populate(
    py: Python<'_>,
    source: StateRef,
    dest: StateRef,
    relationship: &RelationshipDescriptor,
) -> PyResult<()> {
    for &(from, to) in &relationship.sync {
        let value = value_of(py, source, from)?;
        set_column(py, dest, to, &value)?;
    }
    Ok(())
}

/// Sets foreign keys to NULL (`sync.clear`).
fn clear(py: Python<'_>, dest: StateRef, relationship: &RelationshipDescriptor) -> PyResult<()> {
    for (number, &(_, to)) in relationship.sync.iter().enumerate() {
        refuse_null_key(py, dest, relationship, number, |attr| value_of(py, dest, attr).map(Some))?;
        set_column(py, dest, to, &py.None().into_bound(py))?;
    }
    Ok(())
}

/// A foreign key that belongs to a primary key cannot become NULL.
fn refuse_null_key<'py>(
    py: Python<'py>,
    dest: StateRef,
    relationship: &RelationshipDescriptor,
    number: usize,
    value: impl Fn(u32) -> PyResult<Option<Bound<'py, PyAny>>>,
) -> PyResult<()> {
    let (_, attr) = relationship.sync[number];
    match primary_key_column(dest, attr) {
        Some((table, column)) if value(attr)?.is_some_and(|value| !value.is_none()) => {
            Err(PyAssertionError::new_err(format!(
                "Dependency rule on column '{}' tried to blank-out primary key column '{table}.{column}' on instance '{}'",
                source_column(py, relationship, number),
                state_str(py, dest),
            )))
        }
        _ => Ok(()),
    }
}

fn primary_key_column(state: StateRef, attr: u32) -> Option<(String, String)> {
    let descriptor = state.manager().descriptor()?;
    descriptor.tables.iter().find_map(|table: &TableDescriptor| {
        let column = table.columns.iter().find(|column| column.attr == attr && column.pk)?;
        Some((table.name.clone(), column.key.to_string()))
    })
}

/// `table.column` of a copied key, for messages.
fn source_column(py: Python<'_>, relationship: &RelationshipDescriptor, number: usize) -> String {
    relationship
        .prop
        .as_ref()
        .and_then(|prop| prop.bind(py).getattr("synchronize_pairs").ok())
        .and_then(|pairs| pairs.get_item(number).and_then(|pair| pair.get_item(0)).ok())
        .map_or_else(|| relationship.key.clone(), |column| column.to_string())
}

/// Sets a column attribute as a program would, but without a Python call where nobody listens.
fn set_column(py: Python<'_>, state: StateRef, index: u32, value: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(attr) = state.manager().attr(index) else { return Ok(()) };
    let slot = state.slot(index);
    let is_plain = attr.heard.is_silent()
        && !state.is_outdated()
        && (!slot.value().is_null() || !slot.is_expired() || !attr.active_history.get());
    if !is_plain {
        return attribute::set_column(py, state, index, value);
    }
    if slot.value() == value.as_ptr() {
        // mostly the other side of the relationship was here before
        if !state.has(flags::MODIFIED) {
            // a state whose row is deleted keeps its changes, and a rollback to a savepoint asks for them
            note_change(state);
        }
        return Ok(());
    }
    // SAFETY: the slot takes over the new reference; the old one is ours then.
    let old = unsafe {
        ffi::Py_INCREF(value.as_ptr());
        match state.replace_slot(index, value.as_ptr(), slots::MODIFIED) {
            Ok(old) => old,
            Err(value) => {
                ffi::Py_DECREF(value);
                return Err(pyo3::exceptions::PyMemoryError::new_err(()));
            }
        }
    };
    let is_first = !slot.is_modified() && !old.is_null();
    if is_first {
        state.keep_committed(index, old);
    }
    note_change(state);
    if !is_first {
        // SAFETY: the slot owned it. It goes last: that may run Python code.
        unsafe { ffi::Py_XDECREF(old) };
    }
    Ok(())
}

/// The state counts as modified, and as dirty where it is persistent.
fn note_change(state: StateRef) {
    state.add_flags(flags::MODIFIED);
    if !state.owner().is_null() && state.has(flags::IN_MAP) {
        // SAFETY: a unit of work clears `owner` of its states before it goes away.
        unsafe { crate::unit_of_work_core::UnitOfWorkCore::register_dirty(state.owner(), state) };
    }
}
