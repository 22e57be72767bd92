//! Changed keys and the objects that refer to them by a many-to-one without other side: nothing leads from the target to its
//! holders, so the identity map is searched, but only in flushes that change a key.
use std::rc::Rc;

use hashbrown::{HashMap, HashSet};
use pyo3::prelude::*;
use rustalchemy_core::flush::Cause;
use rustalchemy_core::ids::StateId;

use crate::flags::passive;
use crate::held::Held;
use crate::history;
use crate::manager::{ClassManager, ManagerCore};
use crate::mapper::{Direction, RelationshipDescriptor};
use crate::related;
use crate::state::{StateRef, state_of};

use super::Flush;
use super::register::{Registration, keys_changed};
use super::schema::identity;
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

/// The states that many-to-ones refer to by a value that changes, in the flush.
#[derive(Default)]
struct Switched {
    states: Vec<StateRef>,
    /// Relationship → the states it refers to by a changed value, by address; worked out when it is first asked for.
    targets: HashMap<usize, Rc<HashSet<usize>>>,
}

impl Switched {
    fn targets(&mut self, py: Python<'_>, relationship: &RelationshipDescriptor) -> PyResult<Rc<HashSet<usize>>> {
        if let Some(known) = self.targets.get(&identity(relationship)) {
            return Ok(Rc::clone(known));
        }
        let class = ManagerCore::of(relationship.target.bind(py));
        let mut found = HashSet::new();
        for state in self.states.iter().filter(|state| state.manager().is_subclass_of(class)) {
            if keys_changed(py, *state, relationship)? {
                found.insert(state.as_ptr() as usize);
            }
        }
        let found = Rc::new(found);
        self.targets.insert(identity(relationship), Rc::clone(&found));
        Ok(found)
    }
}

impl Flush {
    /// Brings new keys to holders: those that need an UPDATE (`passive_updates=False`) while the flush is prepared, those that the
    /// database updates by itself when it has. True if more states take part now.
    pub(super) fn switch_keys(&mut self, py: Python<'_>, is_passive: bool) -> PyResult<bool> {
        let before = self.states.len();
        let mut switched = Switched::default();
        for (number, held) in self.states.iter().enumerate() {
            let entry = self.register.entry(StateId::from_index(number));
            if !entry.is_delete && !entry.list_only && has_new_key(py, held.state())? {
                switched.states.push(held.state());
            }
        }
        if switched.states.is_empty() {
            return Ok(false);
        }
        for holder in self.uow.core().identity.held(|_| true) {
            let Some(descriptor) = holder.state().manager().descriptor() else { continue };
            for relationship in &descriptor.relationships {
                if relationship.passive_updates == is_passive && is_searched(py, relationship) {
                    self.switch_holder(py, &holder, relationship, &mut switched)?;
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
        switched: &mut Switched,
    ) -> PyResult<()> {
        let targets = switched.targets(py, relationship)?;
        if targets.is_empty() {
            return Ok(());
        }
        let may_load = !relationship.passive_updates && !self.is_preview();
        let flags = if may_load { passive::OFF } else { passive::NO_INITIALIZE };
        if self.is_preview() && !self.is_loaded_holder(py, holder.state(), relationship) {
            return Ok(());
        }
        for target in related::current(py, holder.state(), relationship, flags)? {
            let Some(target) = state_of(&target) else { continue };
            if targets.contains(&(target.as_ptr() as usize)) {
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
    fn is_loaded_holder(&mut self, py: Python<'_>, holder: StateRef, relationship: &RelationshipDescriptor) -> bool {
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

/// Is a value changed that many-to-ones of other objects copy? One that is only set anew, as `merge()` does, is the same.
fn has_new_key(py: Python<'_>, state: StateRef) -> PyResult<bool> {
    let mut manager = state.has_key().then(|| state.manager().object(py));
    while let Some(class) = manager {
        let core = ManagerCore::of(&class);
        if history::has_any_changed(py, state, core.referred().iter().copied())? {
            return Ok(true);
        }
        manager = core.descriptor().and_then(|descriptor| Some(descriptor.parent.as_ref()?.bind(py).clone()));
    }
    Ok(false)
}
