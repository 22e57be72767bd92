//! *Finish*: what was written becomes what is: lifecycle states, identity map, history.
use std::rc::Rc;

use hashbrown::HashSet;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustalchemy_core::ids::StateId;

use crate::attach::{SessionEvent, state_str};
use crate::bridge as attribute;
use crate::errors;
use crate::flags;
use crate::held::Held;
use crate::identity_key;
use crate::imports;
use crate::mapper::MapperDescriptor;
use crate::state::StateRef;
use crate::unit_of_work_core::UowRef;

use super::{Flush, key_of};

impl Flush {
    /// Settles all states; how many others were changed during the flush and reset.
    pub(super) fn finish(&mut self, py: Python<'_>) -> PyResult<usize> {
        let uow = self.uow;
        self.switch_keys(py, true)?;
        for number in 0..self.states.len() {
            if self.register.entry(StateId::from_index(number)).is_delete {
                uow.newly_deleted(py, self.states[number].state())?;
            }
        }
        let mut saved: Vec<usize> = Vec::with_capacity(self.states.len());
        for number in 0..self.states.len() {
            let id = StateId::from_index(number);
            let state = self.states[number].state();
            if self.register.entry(id).is_delete {
                continue;
            }
            let descriptor = Rc::clone(self.descriptor(self.mapper_of(id)));
            if state.owner() == uow.as_ptr() {
                self.register_persistent(py, state, &descriptor)?;
                saved.push(number);
            } else if state.owner().is_null() {
                register_detached(py, state, &descriptor)?;
            }
        }
        let serial = uow.serial();
        let mut became_persistent = Vec::new();
        let has_listeners = uow.core().events.listens(SessionEvent::PendingToPersistent as usize);
        for number in saved {
            let state = self.states[number].state();
            state.commit_all();
            if state.has(flags::IN_NEW) {
                state.set_new_tx(serial);
                if has_listeners {
                    became_persistent.push(state);
                }
            } else {
                uow.mark_flushed(state);
            }
            // The lists are swept in one go below.
            state.leave_list();
        }
        let core = uow.core();
        let (new, dirty) = (core.new.sweep(), core.dirty.sweep());
        if let Some(frame) = core.frames.last_mut() {
            frame.new_count += new.len();
        }
        for state in became_persistent {
            uow.fire(py, SessionEvent::PendingToPersistent, state)?;
        }
        let reset = if self.is_complete { reset_accumulated(uow) } else { 0 };
        drop((new, dirty));
        Ok(reset)
    }

    /// Gives a saved state its identity and its place in the map.
    fn register_persistent(&self, py: Python<'_>, state: StateRef, descriptor: &MapperDescriptor) -> PyResult<()> {
        let uow = self.uow;
        let is_known = |attr| !state.slot(attr).is_modified() && !state.slot(attr).value().is_null();
        let key_is_old = state.has(flags::IN_MAP)
            && !state.is_outdated()
            && descriptor.primary_key.iter().all(|&attr| is_known(attr));
        if key_is_old {
            if descriptor.primary_key.iter().any(|&attr| state.slot(attr).is_expired()) {
                attribute::load_expired(py, state)?; // nothing of its row was written; its key is read all the same
            }
            return Ok(());
        }
        let key = written_key(py, state, descriptor)?;
        if state.has_key() {
            // SAFETY: the state owns its key.
            let old = unsafe { Bound::from_borrowed_ptr(py, state.key()) };
            if !old.eq(&key)? {
                uow.map_discard(state);
                uow.key_switched(state, old.unbind());
                state.set_key(key.clone().into_ptr());
            }
        } else {
            state.set_key(key.clone().into_ptr());
        }
        if let Some(replaced) = uow.map_replace(py, state)?
            && still_has_key(py, replaced.state(), descriptor, &key)?
        {
            errors::warn(
                py,
                &format!(
                    "Identity map already had an identity for {}, replacing it with newly flushed object.   Are there load \
                     operations occurring inside of an event handler within the flush?",
                    identity_key::of(py, state)?.repr()?
                ),
            )?;
        }
        state.clear_flags(flags::ORPHANED_OUTSIDE);
        Ok(())
    }
}

/// A listener took an object out of the session after its row was written: it is detached from that row.
fn register_detached(py: Python<'_>, state: StateRef, descriptor: &MapperDescriptor) -> PyResult<()> {
    if !state.has_key() {
        let key = written_key(py, state, descriptor)?;
        state.set_key(key.into_ptr());
    }
    state.commit_all();
    Ok(())
}

/// The identity of the row that was written for a state.
fn written_key<'py>(py: Python<'py>, state: StateRef, descriptor: &MapperDescriptor) -> PyResult<Bound<'py, PyAny>> {
    let key = key_of(py, state, descriptor)?;
    if is_null_key(&key, descriptor)? {
        return Err(errors::of(
            py,
            &imports::FLUSH,
            format!(
                "Instance {} has a NULL identity key.  If this is an auto-generated value, check that the database table \
                 allows generation of new primary key values, and that the mapped Column object is configured to expect \
                 these generated values.  Ensure also that this flush() is not occurring at an inappropriate time, such \
                 as within a load() event.",
                state_str(py, state)
            ),
        ));
    }
    Ok(key)
}

fn is_null_key(key: &Bound<'_, PyAny>, descriptor: &MapperDescriptor) -> PyResult<bool> {
    if descriptor.primary_key.len() == 1 {
        return Ok(key.is_none());
    }
    let parts = key.cast::<PyTuple>()?;
    let nulls = parts.iter().filter(|part| part.is_none()).count();
    Ok(nulls == parts.len() || (nulls > 0 && !descriptor.allow_partial_pks))
}

/// Does a state that was pushed out of the map still claim the same identity? Expired attributes do not.
fn still_has_key(
    py: Python<'_>,
    state: StateRef,
    descriptor: &MapperDescriptor,
    key: &Bound<'_, PyAny>,
) -> PyResult<bool> {
    if state.is_outdated() || descriptor.primary_key.iter().any(|&attr| state.slot(attr).value().is_null()) {
        return Ok(false);
    }
    key_of(py, state, descriptor)?.eq(key)
}

/// Objects that were clean before the flush and were changed by its event handlers: their changes count as flushed.
fn reset_accumulated(uow: UowRef) -> usize {
    if uow.core().dirty.is_empty() {
        return 0;
    }
    let left = uow.core().dirty.take_all();
    let mut seen = HashSet::new();
    for held in &left {
        held.state().commit_all();
        seen.insert(held.state().as_ptr() as usize);
    }
    seen.len()
}

impl UowRef {
    /// A row was deleted: its object is deleted, in this transaction, and out of the map (`_remove_newly_deleted`).
    pub(crate) fn newly_deleted(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        // A pending object that its parent let go has no row to be deleted: it stays pending.
        if !state.has_key() {
            return Ok(());
        }
        let Some(held) = Held::new(state) else { return Ok(()) };
        if state.owner().is_null() {
            // a listener took it out of the session after its row was deleted
            state.add_flags(flags::DELETED);
            return self.fire(py, SessionEvent::PersistentToDeleted, state);
        }
        if state.owner() != self.as_ptr() {
            return Ok(());
        }
        self.mark_row_deleted(state);
        self.map_discard(state);
        let left = (self.leave_deleted(state), self.leave_lists(state));
        state.add_flags(flags::DELETED);
        self.core().outside.insert(state);
        drop(left);
        self.fire(py, SessionEvent::PersistentToDeleted, held.state())
    }
}
