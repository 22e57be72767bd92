//! Changed primary keys and the objects that refer to them by a many-to-one without other side: nothing leads from the
//! target to its holders, so the identity map is searched, but only in flushes that change a key.
use hashbrown::HashSet;
use pyo3::prelude::*;
use rustalchemy_core::flush::Cause;

use crate::flags::passive;
use crate::held::Held;
use crate::history;
use crate::manager::{ClassManager, ManagerCore};
use crate::mapper::{Direction, RelationshipDescriptor};
use crate::related;
use crate::state::{StateRef, state_of};

use super::Flush;
use super::register::{Registration, keys_changed};
use super::trace::{Note, loaded_value};

/// Must holders be looked for? Not with another side that registers them, or leaves them to the database.
fn is_searched(py: Python<'_>, relationship: &RelationshipDescriptor) -> bool {
    relationship.direction == Direction::ManyToOne
        && !relationship.viewonly
        && (relationship.reverse.is_empty()
            || !relationship.passive_updates
                && relationship.reverse.iter().all(|(manager, attr)| is_passive(py, manager, *attr)))
}

/// Does the database pass new keys on along this relationship?
fn is_passive(py: Python<'_>, manager: &Py<ClassManager>, attr: u32) -> bool {
    let Some(descriptor) = ManagerCore::of(manager.bind(py)).descriptor() else { return true };
    descriptor.relationships.iter().all(|relationship| relationship.attr != attr || relationship.passive_updates)
}

/// The states whose primary key changes, by address, and their classes.
#[derive(Default)]
struct Switched {
    states: HashSet<usize>,
    managers: Vec<&'static ManagerCore>,
}

impl Switched {
    fn enter(&mut self, state: StateRef) {
        self.states.insert(state.as_ptr() as usize);
        if !self.managers.iter().any(|manager| std::ptr::eq(*manager, state.manager())) {
            self.managers.push(state.manager());
        }
    }
}

impl Flush {
    /// Brings new keys to holders: those that need an UPDATE (`passive_updates=False`) while the flush is prepared, those that the
    /// database updates by itself when it has. True if more states take part now.
    pub(super) fn switch_keys(&mut self, py: Python<'_>, is_passive: bool) -> PyResult<bool> {
        let before = self.states.len();
        let mut switched = Switched::default();
        let states = self.states.iter().map(Held::state);
        states
            .filter(|&state| has_new_key(py, state) && !self.is_deleted(state))
            .for_each(|state| switched.enter(state));
        if switched.states.is_empty() {
            return Ok(false);
        }
        for holder in self.uow.core().identity.held(|_| true) {
            let Some(descriptor) = holder.state().manager().descriptor() else { continue };
            for relationship in &descriptor.relationships {
                if relationship.passive_updates == is_passive && is_searched(py, relationship) {
                    self.switch_holder(py, &holder, relationship, &switched)?;
                }
            }
        }
        Ok(self.states.len() > before)
    }

    fn switch_holder(
        &mut self,
        py: Python<'_>,
        holder: &Held,
        relationship: &RelationshipDescriptor,
        switched: &Switched,
    ) -> PyResult<()> {
        let may_load = !relationship.passive_updates && !self.is_preview();
        let flags = if may_load { passive::OFF } else { passive::NO_INITIALIZE };
        if self.is_preview() && !self.is_loaded_holder(py, holder.state(), relationship, switched) {
            return Ok(());
        }
        for target in related::current(py, holder.state(), relationship, flags)? {
            let Some(target) = state_of(&target) else { continue };
            if switched.states.contains(&(target.as_ptr() as usize)) && keys_changed(py, target, relationship) {
                let how = Registration { list_only: relationship.passive_updates, ..Registration::default() };
                let dependency = self.dependency_of(relationship).unwrap_or(self.at_work);
                let cause = Cause::Refers(dependency);
                self.at_work = dependency;
                self.register_object(py, holder.clone(), how.because(cause), relationship)?;
                self.copy_keys(py, target, holder.state(), relationship, cause)?;
            }
        }
        Ok(())
    }
}

impl Flush {
    /// Is it known to what a holder refers? If not, that is noted: the flush looks it up.
    fn is_loaded_holder(
        &mut self,
        py: Python<'_>,
        holder: StateRef,
        relationship: &RelationshipDescriptor,
        switched: &Switched,
    ) -> bool {
        let target = ManagerCore::of(relationship.target.bind(py));
        if !switched.managers.iter().any(|manager| manager.is_subclass_of(target)) {
            return false;
        }
        // Its dependency processors get their numbers here: it may take no part otherwise.
        self.mapper(py, holder.manager());
        let is_loaded = loaded_value(py, holder, relationship.attr).is_some();
        let dependency = self.dependency_of(relationship);
        if let (Some(trace), Some(dependency), false) = (&mut self.trace, dependency, is_loaded) {
            trace.note(Note::UnloadedHolders(dependency));
        }
        is_loaded
    }
}

/// Is an attribute of the primary key changed? A value that is only set anew, as `merge()` does, is the same key.
pub(super) fn has_new_key(py: Python<'_>, state: StateRef) -> bool {
    state.has_key()
        && state
            .manager()
            .descriptor()
            .is_some_and(|descriptor| descriptor.primary_key.iter().any(|&attr| history::has_changed(py, state, attr)))
}
