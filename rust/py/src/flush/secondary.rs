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
use crate::history::{self, History};
use crate::manager::ManagerCore;
use crate::mapper::{RelationshipDescriptor, bits};
use crate::related;
use crate::state::{StateRef, state_of};

use super::row_set::parameter_tuple;
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
    /// The parameters of a row: its values as they are now, then, where it moves, as they were.
    fn row<'py>(&self, py: Python<'py>, pair: &Pair, is_moved: bool) -> PyResult<Bound<'py, PyTuple>> {
        let sides = (pair.parent, pair.child.state());
        let mut values: SmallVec<[_; 4]> = self.values(py, sides, value_of).collect::<PyResult<_>>()?;
        if is_moved {
            for value in self.values(py, sides, committed_value_of) {
                values.push(value?);
            }
        }
        parameter_tuple(py, values.len(), values.into_iter().map(|value| Ok(value.into_ptr())))
    }
    fn keys(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.key.as_str()).collect()
    }
}

/// Two objects that a row of an association table ties.
pub(super) struct Pair {
    /// The one whose attribute changed; the flush holds it.
    pub parent: StateRef,
    pub child: Held,
}

/// Rows of one association table that change, by what happens to them.
#[derive(Default)]
struct Changes {
    inserts: Vec<Pair>,
    updates: Vec<Pair>,
    deletes: Vec<Pair>,
}

impl Changes {
    /// In the order in which they are sent.
    fn by_kind(self) -> [(StatementKind, Vec<Pair>); 3] {
        [
            (StatementKind::Delete, self.deletes),
            (StatementKind::Update, self.updates),
            (StatementKind::Insert, self.inserts),
        ]
    }
}

/// The addresses of two states that are tied or were.
type Tie = (usize, usize);

/// What one side of a many-to-many has found, and what the other has dealt with before it.
struct Ties {
    found: Vec<Tie>,
    done: HashSet<Tie>,
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
        let changes = self.changed_links(py, id, &association, states, is_delete)?;
        let Some(prop) = relationship.prop.as_ref().map(|prop| prop.bind(py)) else { return Ok(()) };
        let keys = PyTuple::new(py, association.keys())?;
        for (kind, pairs) in changes.by_kind() {
            if pairs.is_empty() {
                continue;
            }
            let rows = PyList::empty(py);
            for pair in &pairs {
                rows.append(association.row(py, pair, kind == StatementKind::Update)?)?;
            }
            executor.call_method1(pyo3::intern!(py, "secondary"), (prop, kind.name(), &keys, rows))?;
        }
        Ok(())
    }

    /// What `process_many_to_many` would send.
    pub(super) fn foreseen_links(
        &mut self,
        py: Python<'_>,
        id: DependencyId,
        states: &[StateId],
        is_delete: bool,
    ) -> PyResult<[(StatementKind, Vec<Pair>); 3]> {
        let descriptor = Rc::clone(&self.dependencies[id.index()].descriptor);
        let association = Association::of(py, &descriptor.relationships[self.dependencies[id.index()].place])?;
        Ok(self.changed_links(py, id, &association, states, is_delete)?.by_kind())
    }

    /// The rows of an association table that change, each from one side only.
    fn changed_links(
        &mut self,
        py: Python<'_>,
        id: DependencyId,
        association: &Association,
        states: &[StateId],
        is_delete: bool,
    ) -> PyResult<Changes> {
        let entry = &self.dependencies[id.index()];
        let (descriptor, place) = (Rc::clone(&entry.descriptor), entry.place);
        let relationship = &descriptor.relationships[place];
        let name = reversed_name(py, relationship);
        let known = name.as_ref().and_then(|name| self.linked.remove(name)).unwrap_or_default();
        let mut ties = Ties { done: known.iter().copied().collect(), found: known };
        ties.found.reserve(ties.done.len().max(states.len()));
        let mut changes = Changes::default();
        let mut result = Ok(());
        for &state in states {
            if self.register.entry(state).list_only {
                continue;
            }
            result = self.collect_links(py, state, (relationship, association), is_delete, &mut changes, &mut ties);
            if result.is_err() {
                break;
            }
        }
        if let Some(name) = name {
            self.linked.insert(name, ties.found);
        }
        result.map(|()| changes)
    }

    fn collect_links(
        &mut self,
        py: Python<'_>,
        state: StateId,
        (relationship, association): (&RelationshipDescriptor, &Association),
        is_delete: bool,
        changes: &mut Changes,
        ties: &mut Ties,
    ) -> PyResult<()> {
        let parent = self.state(state);
        let moves = !is_delete && !relationship.passive_updates && association_moves(py, parent, association)?;
        let flags = match (is_delete, moves) {
            (true, _) => self.delete_flags(relationship),
            (false, true) if !self.is_preview() => passive::OFF,
            (false, _) => passive::NO_INITIALIZE | passive::INCLUDE_PENDING_MUTATIONS,
        };
        let History { added, unchanged, deleted } =
            related::links(py, parent, relationship, flags | self.preview_flags())?;
        let (added, gone, staying) = if is_delete {
            (Vec::new(), [unchanged, deleted], Vec::new())
        } else {
            (added, [deleted, Vec::new()], unchanged)
        };
        changes.inserts.reserve(added.len());
        changes.deletes.reserve(gone[0].len());
        for child in &added {
            if let Some(pair) = self.tie(py, parent, child, relationship, "add", ties)? {
                changes.inserts.push(pair);
            }
        }
        for child in gone.iter().flatten() {
            if let Some(pair) = self.tie(py, parent, child, relationship, "delete", ties)? {
                changes.deletes.push(pair);
            }
        }
        if moves {
            for child in &staying {
                changes.updates.extend(related::held(py, child)?.map(|child| Pair { parent, child }));
            }
        }
        Ok(())
    }

    /// A pair that came or went, unless the other side has dealt with it or the other object is not in the session.
    fn tie(
        &mut self,
        py: Python<'_>,
        parent: StateRef,
        child: &Bound<'_, PyAny>,
        relationship: &RelationshipDescriptor,
        operation: &'static str,
        ties: &mut Ties,
    ) -> PyResult<Option<Pair>> {
        if let Some(other) = state_of(child) {
            let address = |state: StateRef| state.as_ptr() as usize;
            ties.found.push((address(other), address(parent)));
            if ties.done.contains(&(address(parent), address(other))) {
                return Ok(None);
            }
        }
        self.verify_canload(py, child, relationship)?;
        let Some(child) = related::held(py, child)? else { return Ok(None) };
        let is_linkable = self.is_linkable(py, &child, relationship, operation)?;
        Ok(is_linkable.then_some(Pair { parent, child }))
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
