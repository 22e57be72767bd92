//! Changed primary keys and the objects that refer to them by a many-to-one without other side: nothing leads from the
//! target to its holders, so the identity map is searched, but only in flushes that change a key.
use hashbrown::HashSet;
use pyo3::prelude::*;
use rustalchemy_core::flush::Cause;

use crate::flags::passive;
use crate::held::Held;
use crate::mapper::{Direction, RelationshipDescriptor};
use crate::related;
use crate::state::{StateRef, state_of};

use super::Flush;
use super::register::{Registration, keys_changed};

/// Must holders be looked for? With another side, that one registers them (unless the database does).
fn is_searched(relationship: &RelationshipDescriptor) -> bool {
    relationship.direction == Direction::ManyToOne
        && !relationship.viewonly
        && (relationship.reverse.is_empty() || !relationship.passive_updates)
}

impl Flush {
    /// Brings new keys to holders: those that need an UPDATE (`passive_updates=False`) while the flush is prepared, those that the
    /// database updates by itself when it has.
    pub(super) fn switch_keys(&mut self, py: Python<'_>, is_passive: bool) -> PyResult<()> {
        let switched: HashSet<usize> = self
            .states
            .iter()
            .map(Held::state)
            .filter(|&state| has_new_key(state))
            .map(|state| state.as_ptr() as usize)
            .collect();
        if switched.is_empty() {
            return Ok(());
        }
        for holder in self.uow.core().identity.held(|_| true) {
            let Some(descriptor) = holder.state().manager().descriptor() else { continue };
            for relationship in &descriptor.relationships {
                if is_searched(relationship) && relationship.passive_updates == is_passive {
                    self.switch_holder(py, &holder, relationship, &switched)?;
                }
            }
        }
        Ok(())
    }

    fn switch_holder(
        &mut self,
        py: Python<'_>,
        holder: &Held,
        relationship: &RelationshipDescriptor,
        switched: &HashSet<usize>,
    ) -> PyResult<()> {
        let may_load = !relationship.passive_updates && !self.is_preview();
        let flags = if may_load { passive::OFF } else { passive::NO_INITIALIZE };
        for target in related::current(py, holder.state(), relationship, flags)? {
            let Some(target) = state_of(&target) else { continue };
            if switched.contains(&(target.as_ptr() as usize)) && keys_changed(target, relationship) {
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

/// Is an attribute of the primary key changed?
fn has_new_key(state: StateRef) -> bool {
    state.has_key()
        && state.manager().descriptor().is_some_and(|descriptor| {
            descriptor
                .primary_key
                .iter()
                .any(|&attr| state.committed(attr).is_some_and(|old| !old.is_null() && old != state.slot(attr).value()))
        })
}
