//! What a preview notes while it registers states and walks through the order: reasons and key copies. A flush that is
//! carried out has no trace and pays one test of a pointer where it would write one.
use hashbrown::HashMap;
use indexmap::IndexMap;
use pyo3::prelude::*;
use rustalchemy_core::flush::Cause;
use rustalchemy_core::ids::{DependencyId, StateId};
use smallvec::SmallVec;

use crate::mapper::RelationshipDescriptor;
use crate::state::StateRef;

use super::Flush;

/// The key that a relationship will bring to a foreign key attribute.
pub(super) struct KeyCopy {
    /// Why it comes.
    pub cause: Cause,
    /// The relationship it comes along.
    pub dependency: DependencyId,
    /// Where it comes from; nothing where it becomes NULL.
    pub source: Option<StateId>,
    /// The value, as far as it is known before anything is sent.
    pub value: Option<Py<PyAny>>,
}

/// Something a reader of the plan should know beside its steps; counted.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Note {
    /// The flush loads this attribute of deleted objects first.
    Unloaded(DependencyId),
    /// The flush looks up first what this attribute held before it was changed.
    Unresolved(DependencyId),
    /// The flush loads this attribute of objects with a new primary key first.
    UnloadedKeys(DependencyId),
    /// The flush loads this attribute of everything that may refer to a new primary key first.
    UnloadedHolders(DependencyId),
    /// A related object is not in the session.
    Outside { class: String, operation: &'static str, relationship: String },
    /// A new object has the identity of a living one.
    Conflict(StateId),
    /// A pending object that was let go by its parent leaves the session.
    PendingOrphan(String),
}

/// The notes of one preview.
#[derive(Default)]
pub(super) struct Trace {
    causes: Vec<SmallVec<[Cause; 2]>>,
    /// By state and attribute.
    pub copies: HashMap<(StateId, u32), KeyCopy>,
    /// Pending objects that a flush does not insert, by address.
    pub pending_orphans: Vec<usize>,
    notes: IndexMap<Note, usize>,
}

impl Trace {
    /// Notes one more reason why a state takes part.
    pub(super) fn because(&mut self, state: StateId, cause: Cause) {
        if self.causes.len() <= state.index() {
            self.causes.resize_with(state.index() + 1, SmallVec::new);
        }
        let causes = &mut self.causes[state.index()];
        if matches!(cause, Cause::Orphan(..))
            && let Some(known) = causes.iter_mut().find(|known| **known == Cause::LetGo)
        {
            *known = cause; // the same, said more precisely
        }
        if !causes.contains(&cause) {
            causes.push(cause);
        }
    }

    /// A reason that says more than the one a state was registered with.
    pub(super) fn rather_because(&mut self, state: StateId, plain: Cause, cause: Cause) {
        if let Some(known) =
            self.causes.get_mut(state.index()).and_then(|causes| causes.iter_mut().find(|known| **known == plain))
        {
            *known = cause;
        }
    }

    /// Why a state takes part, in the order in which it was found.
    pub(super) fn causes(&self, state: StateId) -> &[Cause] {
        self.causes.get(state.index()).map_or(&[], |causes| causes.as_slice())
    }

    /// Counts a note.
    pub(super) fn note(&mut self, note: Note) {
        *self.notes.entry(note).or_default() += 1;
    }

    /// The notes with their counts.
    pub(super) fn notes(&self) -> impl Iterator<Item = (&Note, usize)> {
        self.notes.iter().map(|(note, count)| (note, *count))
    }
}

impl Flush {
    /// Only a plan is wanted: nothing may be loaded or changed.
    #[inline]
    pub(super) fn is_preview(&self) -> bool {
        self.trace.is_some()
    }

    /// Notes keys that a relationship will copy from `source` (or set to NULL); true if this is a preview.
    pub(super) fn is_traced(
        &mut self,
        py: Python<'_>,
        source: Option<StateRef>,
        dest: StateRef,
        relationship: &RelationshipDescriptor,
        cause: Cause,
    ) -> bool {
        if self.trace.is_none() {
            return false;
        }
        let Some(dest) = self.id(dest) else { return true };
        let source_id = source.and_then(|source| self.id(source));
        for &(from, to) in &relationship.sync {
            let value = match source {
                None => Some(py.None()),
                Some(source) => self.foreseen(py, source, source_id, from),
            };
            let copy = KeyCopy { cause, dependency: self.at_work, source: source_id, value };
            if let Some(trace) = &mut self.trace {
                trace.copies.insert((dest, to), copy);
            }
        }
        true
    }

    /// The value an attribute will have when it is copied; nothing where the database decides.
    fn foreseen(&self, py: Python<'_>, state: StateRef, id: Option<StateId>, attr: u32) -> Option<Py<PyAny>> {
        let copied = self.trace.as_ref().zip(id).and_then(|(trace, id)| trace.copies.get(&(id, attr)));
        match copied {
            Some(copy) => copy.value.as_ref().map(|value| value.clone_ref(py)),
            None => loaded_value(py, state, attr).filter(|value| !value.is_none()).map(Bound::unbind),
        }
    }
}

/// A value that is in memory now.
pub(super) fn loaded_value(py: Python<'_>, state: StateRef, attr: u32) -> Option<Bound<'_, PyAny>> {
    if state.is_outdated() {
        return None;
    }
    // SAFETY: the slot owns its value or is empty.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, state.slot(attr).value()) }
}
