//! Many-to-many: rows of association tables, from whichever side they changed, each once.
use std::rc::Rc;

use hashbrown::HashSet;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use rustalchemy_core::flush::{Cause, StatementKind};
use rustalchemy_core::ids::{DependencyId, StateId};
use smallvec::SmallVec;

use crate::bridge as attribute;
use crate::flags::passive;
use crate::held::Held;
use crate::history;
use crate::manager::ManagerCore;
use crate::mapper::{RelationshipDescriptor, bits};
use crate::related;
use crate::state::StateRef;

use super::{Flush, committed_value_of, value_of};

/// Which columns of an association table take which attribute's value, in the table's order.
struct Association {
    columns: Vec<AssociationColumn>,
}

struct AssociationColumn {
    /// The value comes from the other object, not from the one that has the collection.
    is_of_child: bool,
    attr: u32,
    key: String,
}

impl Association {
    fn of(py: Python<'_>, relationship: &RelationshipDescriptor) -> PyResult<Self> {
        let columns = match &relationship.secondary {
            Some(secondary) => secondary.bind(py).get_item("columns")?,
            None => None,
        };
        let columns = columns.map_or(Ok(Vec::new()), |columns| columns.extract::<Vec<(bool, u32, String)>>())?;
        let column = |(is_of_child, attr, key)| AssociationColumn { is_of_child, attr, key };
        Ok(Self { columns: columns.into_iter().map(column).collect() })
    }
    fn values<'py>(
        &self,
        py: Python<'py>,
        (parent, child): (StateRef, StateRef),
        value: fn(Python<'py>, StateRef, u32) -> PyResult<Bound<'py, PyAny>>,
    ) -> impl Iterator<Item = PyResult<Bound<'py, PyAny>>> {
        self.columns.iter().map(move |column| value(py, if column.is_of_child { child } else { parent }, column.attr))
    }
    fn row<'py>(&self, py: Python<'py>, sides: (StateRef, StateRef)) -> PyResult<Bound<'py, PyTuple>> {
        let values: SmallVec<[_; 4]> = self.values(py, sides, value_of).collect::<PyResult<_>>()?;
        PyTuple::new(py, values)
    }
    /// The values of a row as they are now, then as they were.
    fn moved_row<'py>(&self, py: Python<'py>, sides: (StateRef, StateRef)) -> PyResult<Bound<'py, PyTuple>> {
        let values = self.values(py, sides, value_of).chain(self.values(py, sides, committed_value_of));
        PyTuple::new(py, values.collect::<PyResult<Vec<_>>>()?)
    }
    fn keys(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.key.as_str()).collect()
    }
}

/// Rows of one association table that change, by what happens to them.
struct Rows<'py> {
    inserts: Bound<'py, PyList>,
    updates: Bound<'py, PyList>,
    deletes: Bound<'py, PyList>,
}

impl<'py> Rows<'py> {
    /// In the order in which they are sent.
    fn by_kind(self) -> [(StatementKind, Bound<'py, PyList>); 3] {
        [
            (StatementKind::Delete, self.deletes),
            (StatementKind::Update, self.updates),
            (StatementKind::Insert, self.inserts),
        ]
    }
}

impl Flush {
    /// Deletes load what they must let go of; saves delete orphans.
    pub(super) fn presort_many_to_many(
        &mut self,
        py: Python<'_>,
        state: StateId,
        relationship: &RelationshipDescriptor,
        is_delete: bool,
    ) -> PyResult<()> {
        let (id, state) = (state, self.state(state));
        if is_delete {
            if relationship.passive_deletes == 0 {
                related::links(py, state, relationship, self.delete_flags(relationship))?;
            }
            return Ok(());
        }
        if !relationship.passive_updates && !self.is_preview() {
            let association = Association::of(py, relationship)?;
            if association_moves(py, state, &association)? {
                // Loaded here, so that the relationship is seen to have something to do.
                related::links(py, state, relationship, passive::OFF)?;
            }
        }
        // An old value that was not loaded when a scalar was set is loaded here, before its row is touched.
        let is_set = !relationship.uselist && !related::is_untouched(state, relationship);
        if relationship.cascade & bits::DELETE_ORPHAN == 0 && !is_set {
            return Ok(());
        }
        let links = related::links(py, state, relationship, passive::NO_INITIALIZE | self.preview_flags())?;
        if relationship.cascade & bits::DELETE_ORPHAN == 0 {
            return Ok(());
        }
        for child in &links.deleted {
            let Some(child) = related::held(py, child)? else { continue };
            if !attribute::has_parent(state, relationship, child.state()) {
                self.register_orphan(py, child, relationship, Cause::Orphan(self.at_work, id))?;
            }
        }
        Ok(())
    }

    /// `process_saves` or `process_deletes` of a many-to-many.
    pub(super) fn process_many_to_many(
        &mut self,
        py: Python<'_>,
        executor: &Bound<'_, PyAny>,
        id: DependencyId,
        states: &[StateId],
        is_delete: bool,
    ) -> PyResult<()> {
        let descriptor = Rc::clone(&self.dependencies[id.index()].descriptor);
        let relationship = &descriptor.relationships[self.dependencies[id.index()].place];
        let association = Association::of(py, relationship)?;
        let rows = self.link_rows(py, id, &association, states, is_delete)?;
        let Some(prop) = relationship.prop.as_ref().map(|prop| prop.bind(py)) else { return Ok(()) };
        let keys = PyTuple::new(py, association.keys())?;
        for (kind, rows) in rows.by_kind() {
            if !rows.is_empty() {
                executor.call_method1("secondary", (prop, kind.name(), &keys, rows))?;
            }
        }
        Ok(())
    }

    /// What `process_many_to_many` would send: the two objects of each row.
    pub(super) fn foreseen_links<'py>(
        &mut self,
        py: Python<'py>,
        id: DependencyId,
        states: &[StateId],
        is_delete: bool,
    ) -> PyResult<[(StatementKind, Bound<'py, PyList>); 3]> {
        let descriptor = Rc::clone(&self.dependencies[id.index()].descriptor);
        let association = Association::of(py, &descriptor.relationships[self.dependencies[id.index()].place])?;
        Ok(self.link_rows(py, id, &association, states, is_delete)?.by_kind())
    }

    /// The rows of an association table that change, each from one side only.
    fn link_rows<'py>(
        &mut self,
        py: Python<'py>,
        id: DependencyId,
        association: &Association,
        states: &[StateId],
        is_delete: bool,
    ) -> PyResult<Rows<'py>> {
        let entry = &self.dependencies[id.index()];
        let (descriptor, place) = (Rc::clone(&entry.descriptor), entry.place);
        let relationship = &descriptor.relationships[place];
        let rows = Rows { inserts: PyList::empty(py), updates: PyList::empty(py), deletes: PyList::empty(py) };
        let name = reversed_name(py, relationship);
        let mut done = name.as_ref().map(|name| self.linked.remove(name).unwrap_or_default());
        let mut seen = HashSet::new();
        let mut result = Ok(());
        for &state in states {
            if self.register.entry(state).list_only {
                continue;
            }
            result =
                self.collect_links(py, state, relationship, association, is_delete, &rows, done.as_ref(), &mut seen);
            if result.is_err() {
                break;
            }
        }
        if let (Some(name), Some(mut done)) = (name, done.take()) {
            done.extend(seen);
            self.linked.insert(name, done);
        }
        result.map(|()| rows)
    }

    #[allow(clippy::too_many_arguments)] // the parts of one loop body
    fn collect_links(
        &mut self,
        py: Python<'_>,
        state: StateId,
        relationship: &RelationshipDescriptor,
        association: &Association,
        is_delete: bool,
        rows: &Rows<'_>,
        done: Option<&HashSet<(usize, usize)>>,
        seen: &mut HashSet<(usize, usize)>,
    ) -> PyResult<()> {
        let parent = self.state(state);
        let moves = !is_delete && !relationship.passive_updates && association_moves(py, parent, association)?;
        let flags = match (is_delete, moves) {
            (true, _) => self.delete_flags(relationship),
            (false, true) if !self.is_preview() => passive::OFF,
            (false, _) => passive::NO_INITIALIZE | passive::INCLUDE_PENDING_MUTATIONS,
        };
        let links = related::links(py, parent, relationship, flags | self.preview_flags())?;
        let address = |state: StateRef| state.as_ptr() as usize;
        let nothing = Vec::new();
        let (added, removed) = if is_delete {
            (&nothing, [&links.unchanged, &links.deleted])
        } else {
            (&links.added, [&links.deleted, &nothing])
        };
        for (children, operation, target) in
            [(vec![added], "add", &rows.inserts), (removed.to_vec(), "delete", &rows.deletes)]
        {
            for child in children.into_iter().flatten() {
                self.verify_canload(py, child, relationship)?;
                let Some(child) = related::held(py, child)? else { continue };
                seen.insert((address(child.state()), address(parent)));
                let is_done = done.is_some_and(|done| done.contains(&(address(parent), address(child.state()))));
                if is_done || !self.is_linkable(py, &child, relationship, operation)? {
                    continue;
                }
                if self.is_preview() {
                    target.append((parent.object(py), child.object(py)))?;
                    continue;
                }
                target.append(association.row(py, (parent, child.state()))?)?;
            }
        }
        if moves {
            for child in &links.unchanged {
                let Some(child) = related::held(py, child)? else { continue };
                if self.is_preview() {
                    rows.updates.append((parent.object(py), child.object(py)))?;
                    continue;
                }
                rows.updates.append(association.moved_row(py, (parent, child.state()))?)?;
            }
        }
        Ok(())
    }

    /// Is the other object in the session? A warning if not.
    fn is_linkable(
        &mut self,
        py: Python<'_>,
        child: &Held,
        relationship: &RelationshipDescriptor,
        operation: &'static str,
    ) -> PyResult<bool> {
        let is_inside = self.uow.contains(child.state());
        if !is_inside && !child.state().is_deleted() {
            self.warn_outside(py, child, relationship, operation, "won't")?;
        }
        Ok(is_inside)
    }
}

/// Did a key that the association table holds change?
fn association_moves(py: Python<'_>, parent: StateRef, association: &Association) -> PyResult<bool> {
    let keys = association.columns.iter().filter(|column| !column.is_of_child).map(|column| column.attr);
    Ok(parent.has_key() && history::has_any_changed(py, parent, keys)?)
}

/// What both sides of a relationship have in common; nothing for one without other side.
fn reversed_name(py: Python<'_>, relationship: &RelationshipDescriptor) -> Option<String> {
    if relationship.reverse.is_empty() {
        return None;
    }
    let mut keys = vec![relationship.key.clone()];
    for (manager, attr) in &relationship.reverse {
        let manager = ManagerCore::of(manager.bind(py));
        keys.push(manager.attr(*attr).map_or_else(String::new, |attr| attr.key(py).to_string()));
    }
    keys.sort();
    Some(keys.join(" "))
}
