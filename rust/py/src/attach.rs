//! How objects enter and leave a session: `_save_or_update_state`, `_delete_impl`, `_expunge_states` and their checks.
use pyo3::prelude::*;
use rustalchemy_core::lifecycle::Lifecycle;

use crate::bridge as attribute;
use crate::cascade::{self, Cascade};
use crate::errors;
use crate::flags;
use crate::held::Held;
use crate::identity_key;
use crate::listeners::Firing;
use crate::names;
use crate::state::StateRef;
use crate::unit_of_work_core::UowRef;

/// The events of a session about single objects, numbered as in `_session_events.py`.
#[derive(Clone, Copy)]
pub enum SessionEvent {
    /// An object is about to enter the session.
    BeforeAttach,
    /// It entered.
    AfterAttach,
    /// `add()` of a transient object.
    TransientToPending,
    /// A pending object left.
    PendingToTransient,
    /// An INSERT was rolled back.
    PersistentToTransient,
    /// An INSERT was flushed.
    PendingToPersistent,
    /// A DELETE was flushed.
    PersistentToDeleted,
    /// A DELETE was rolled back.
    DeletedToPersistent,
    /// A DELETE was committed.
    DeletedToDetached,
    /// A persistent object left.
    PersistentToDetached,
    /// A detached object was added.
    DetachedToPersistent,
    /// An object was built from a row.
    LoadedAsPersistent,
}

impl SessionEvent {
    /// The names of the events, in the order of their numbers.
    const NAMES: [&'static str; 12] = [
        "before_attach",
        "after_attach",
        "transient_to_pending",
        "pending_to_transient",
        "persistent_to_transient",
        "pending_to_persistent",
        "persistent_to_deleted",
        "deleted_to_persistent",
        "deleted_to_detached",
        "persistent_to_detached",
        "detached_to_persistent",
        "loaded_as_persistent",
    ];
}

/// `<User at 0x…>` for messages.
pub fn state_str(py: Python<'_>, state: StateRef) -> String {
    state.object(py).map_or_else(|| "<gone>".to_owned(), |object| errors::instance_str(&object))
}

/// Where the object stands.
pub fn lifecycle(state: StateRef) -> Lifecycle {
    Lifecycle::of(state.has_key(), state.is_attached(), state.has(flags::DELETED))
}

impl UowRef {
    /// Is the state pending or persistent here (`_contains_state`)?
    #[inline]
    pub fn contains(self, state: StateRef) -> bool {
        state.owner() == self.as_ptr() && state.has_any(flags::IN_NEW | flags::IN_MAP)
    }

    /// Tells the session's listeners about a state, if there are any.
    pub fn fire(self, py: Python<'_>, event: SessionEvent, state: StateRef) -> PyResult<()> {
        let number = event as usize;
        if !self.core().events.listens(number) {
            return Ok(());
        }
        let Some(session) = self.session(py) else { return Ok(()) };
        if self.core().events.collections(py, number).is_none() {
            let name = SessionEvent::NAMES[number];
            let found = session.call_method1(pyo3::intern!(py, "_state_listeners"), (name,))?;
            self.core().events.listen(number, found.cast_into()?);
        }
        let listeners = self.core().events.present(py, number)?;
        Firing { state, position: 1, others: &[session], keyword: None }.announce(py, listeners)
    }

    /// Begins a transaction when there is none.
    #[inline]
    pub fn ensure_begun(self, py: Python<'_>) -> PyResult<()> {
        self.check_use(py)?;
        if !self.core().in_transaction
            && let Some(session) = self.session(py)
        {
            session.call_method0(names::autobegin_t(py))?;
        }
        Ok(())
    }

    /// A read-only session refuses what would have to be written.
    #[inline]
    pub fn refuse_if_read_only(self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.core().is_read_only { Err(errors::read_only(py, what)) } else { Ok(()) }
    }
    /// SQLAlchemy's warning about session methods called while a flush executes.
    pub fn warn_if_flushing(self, py: Python<'_>, what: &str) -> PyResult<()> {
        if self.core().warn_on_events
            && let Some(session) = self.session(py)
        {
            session.call_method1("_flush_warning", (what,))?;
        }
        Ok(())
    }

    // ---- the identity map ----------------------------------------------------------------------------------------------

    /// Enters a state with identity; the error of a second object for one row otherwise (`identity_map.add`).
    pub fn map_add(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        if state.has(flags::IN_MAP) && state.owner() == self.as_ptr() {
            return Ok(());
        }
        if let Some(existing) = self.core().identity.insert(py, state)?
            && existing.state() != state
        {
            return Err(errors::invalid_request(
                py,
                format!(
                    "Can't attach instance {}; another instance with key {} is already present in this session. \
                     Use merge() to copy the state of one object to the other, or expunge() the one that is present.",
                    state_str(py, state),
                    identity_key::of(py, state)?.repr()?,
                ),
            ));
        }
        self.map_entered(state);
        Ok(())
    }

    /// Enters a state in place of whatever has its key; the state that had to go, if one had (`identity_map.replace`).
    pub fn map_replace(self, py: Python<'_>, state: StateRef) -> PyResult<Option<Held>> {
        let replaced = self.core().identity.replace(py, state)?.filter(|existing| existing.state() != state);
        if let Some(existing) = replaced.as_ref().map(Held::state)
            && existing.owner() == self.as_ptr()
        {
            self.core().outside.insert(existing);
        }
        self.map_entered(state);
        Ok(replaced)
    }

    fn map_entered(self, state: StateRef) {
        self.core().outside.remove(state);
        if state.has(flags::MODIFIED) {
            self.enter_dirty(state);
        }
    }

    /// Takes a state out of the map, if it is in (`identity_map.safe_discard`). No Python code runs.
    pub fn map_discard(self, state: StateRef) {
        if state.owner() == self.as_ptr() {
            self.core().identity.remove(state);
        }
    }

    /// Enters a persistent state in the dirty list, unless it is in a list already.
    pub fn enter_dirty(self, state: StateRef) {
        if !state.has_any(flags::IN_LIST) {
            self.core().dirty.push(state);
        }
    }

    /// Takes a state out of `new` or `dirty`; the caller drops the reference when nothing is half done.
    #[must_use]
    pub fn leave_lists(self, state: StateRef) -> Option<Held> {
        let core = self.core();
        core.new.remove(state).or_else(|| core.dirty.remove(state))
    }

    /// Takes a state out of the states marked for deletion; the caller drops the reference.
    #[must_use]
    pub fn leave_deleted(self, state: StateRef) -> Option<Held> {
        if !state.has(flags::IN_DELETED) {
            return None;
        }
        state.clear_flags(flags::IN_DELETED);
        self.core().deleted.take(state)
    }

    // ---- in ------------------------------------------------------------------------------------------------------------

    /// Adds a state and everything it spreads to along save-update cascades (`_save_or_update_state`).
    pub fn save_or_update(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        self.refuse_if_read_only(py, "Session.add()")?;
        state.clear_flags(flags::ORPHANED_OUTSIDE);
        self.save_or_update_one(py, state)?;
        for member in cascade::collect(py, state, Cascade::SaveUpdate, |state| self.contains(state))? {
            self.save_or_update_one(py, member.state())?;
        }
        Ok(())
    }

    fn save_or_update_one(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        if state.has_key() { self.update(py, state, false) } else { self.save(py, state) }
    }

    /// An object without identity becomes pending.
    fn save(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        let attaches = self.before_attach(py, state)?;
        if !state.has(flags::IN_NEW) {
            self.core().outside.remove(state);
            state.set_owner(self.as_ptr());
            state.clear_flags(flags::DELETED);
            self.core().new.push(state);
        }
        if attaches {
            self.after_attach(py, state)?;
        }
        Ok(())
    }

    /// An object with identity becomes persistent here (`_update_impl`).
    pub fn update(self, py: Python<'_>, state: StateRef, reverts_deletion: bool) -> PyResult<()> {
        if !state.has_key() {
            return Err(errors::invalid_request(py, format!("Instance '{}' is not persisted", state_str(py, state))));
        }
        if state.has(flags::DELETED) {
            if !reverts_deletion {
                return Err(errors::invalid_request(
                    py,
                    format!(
                        "Instance '{}' has been deleted.  Use the make_transient() function to send this object back \
                         to the transient state.",
                        state_str(py, state)
                    ),
                ));
            }
            if !state.is_attached() {
                return Ok(());
            }
            state.clear_flags(flags::DELETED);
        }
        if state.object_ptr().is_null() {
            return Ok(());
        }
        let attaches = self.before_attach(py, state)?;
        let unmarked = self.leave_deleted(state);
        if reverts_deletion {
            drop(self.map_replace(py, state)?);
        } else {
            self.map_attach(py, state)?;
        }
        drop(unmarked);
        if attaches {
            self.after_attach(py, state)?;
        } else if reverts_deletion {
            self.fire(py, SessionEvent::DeletedToPersistent, state)?;
        }
        Ok(())
    }

    /// Enters a state in the map; it belongs to this session from then on, or is as it was before.
    pub fn map_attach(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        let before = state.owner();
        state.set_owner(self.as_ptr());
        self.map_add(py, state).inspect_err(|_| state.set_owner(before))
    }

    /// Checks that a state may enter this session; false if it is here already.
    fn before_attach(self, py: Python<'_>, state: StateRef) -> PyResult<bool> {
        self.ensure_begun(py)?;
        let owner = state.owner();
        if owner == self.as_ptr() {
            return Ok(false);
        }
        if !owner.is_null() {
            // SAFETY: a unit of work clears `owner` of its states before it goes away.
            let other = unsafe { UowRef::from_ptr(owner) };
            let name = |uow: Self| -> PyResult<String> {
                match uow.session(py) {
                    Some(session) => {
                        Ok(session.getattr_opt("hash_key")?.map_or_else(|| "?".to_owned(), |key| key.to_string()))
                    }
                    None => Ok("?".to_owned()),
                }
            };
            return Err(errors::invalid_request(
                py,
                format!(
                    "Object '{}' is already attached to session '{}' (this is '{}'). expunge() it from the session it is in, or \
                     merge() it into this one, which copies its state to an object of this session.",
                    state_str(py, state),
                    name(other)?,
                    name(self)?
                ),
            ));
        }
        self.fire(py, SessionEvent::BeforeAttach, state)?;
        Ok(true)
    }

    fn after_attach(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        let core = self.core();
        state.mark_current();
        state.set_new_tx(0);
        state.set_dirty_tx(0);
        core.may_hold_related |= state.has(flags::GC_TRACKED) || !state.has(flags::INLINE);
        if core.events.is_silent() {
            return Ok(());
        }
        self.fire(py, SessionEvent::AfterAttach, state)?;
        if state.has_key() {
            self.fire(py, SessionEvent::DetachedToPersistent, state)
        } else {
            self.fire(py, SessionEvent::TransientToPending, state)
        }
    }

    /// Attaches an object only so that its relationships can be loaded.
    pub fn attach_for_loading(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        let attaches = self.before_attach(py, state)?;
        state.add_flags(flags::LOAD_PENDING);
        if attaches {
            state.set_owner(self.as_ptr());
            self.core().outside.insert(state);
            self.after_attach(py, state)?;
        }
        Ok(())
    }

    /// Marks a state for deletion, with everything its delete cascades reach (`_delete_impl`).
    pub fn delete(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        self.refuse_if_read_only(py, "Session.delete()")?;
        if !state.has_key() {
            return Err(errors::invalid_request(py, format!("Instance '{}' is not persisted", state_str(py, state))));
        }
        if !self.delete_begins(py, state)? {
            return Ok(());
        }
        // Worked out before the object is marked: an autoflush of these loads must not delete it.
        let cascaded = cascade::collect(py, state, Cascade::Delete, |_| false)?;
        self.mark_deleted(state);
        for member in cascaded {
            let state = member.state();
            if state.has_key() && self.delete_begins(py, state)? {
                self.mark_deleted(state);
            }
        }
        Ok(())
    }

    fn delete_begins(self, py: Python<'_>, state: StateRef) -> PyResult<bool> {
        let attaches = self.before_attach(py, state)?;
        if state.has(flags::IN_DELETED) {
            return Ok(false);
        }
        self.map_attach(py, state)?;
        if attaches {
            self.after_attach(py, state)?;
        }
        Ok(true)
    }

    fn mark_deleted(self, state: StateRef) {
        if state.has(flags::IN_MAP) && !state.has(flags::IN_DELETED) && self.core().deleted.insert(state) {
            state.add_flags(flags::IN_DELETED);
        }
    }

    // ---- out -----------------------------------------------------------------------------------------------------------

    /// Takes states out of this session (`_expunge_states`). With `to_transient` they lose their identity as well.
    pub fn expunge(self, py: Python<'_>, states: Vec<Held>, to_transient: bool) -> PyResult<()> {
        self.expunge_as(py, states, to_transient, flags::DETACHED_EXPUNGED)
    }

    /// As `expunge`, and says how the states were detached.
    pub fn expunge_as(self, py: Python<'_>, states: Vec<Held>, to_transient: bool, how: u16) -> PyResult<()> {
        let has_events = !self.core().events.is_silent();
        let mut first_error = None;
        let mut dropped = Vec::with_capacity(states.len());
        if has_events {
            // listeners of the first see none of them in the session any more
            for held in states.iter().filter(|held| held.state().owner() == self.as_ptr()) {
                self.take_out(held.state(), &mut dropped);
            }
        }
        for held in &states {
            let state = held.state();
            if state.owner() != self.as_ptr() && !(to_transient && state.owner().is_null()) {
                continue;
            }
            let before = lifecycle(state);
            if state.is_outdated()
                && state.has_key()
                && let Err(error) = attribute::apply_pending_expiry(py, state)
            {
                first_error.get_or_insert(error);
            }
            self.take_out(state, &mut dropped);
            self.remember_expunged(state, to_transient);
            state.set_owner(std::ptr::null_mut());
            flags::note_detached(state, how);
            if to_transient {
                state.set_key(std::ptr::null_mut());
            }
            if has_events {
                let event = match before {
                    Lifecycle::Pending => Some(SessionEvent::PendingToTransient),
                    Lifecycle::Persistent if to_transient => Some(SessionEvent::PersistentToTransient),
                    Lifecycle::Persistent => Some(SessionEvent::PersistentToDetached),
                    Lifecycle::Deleted => Some(SessionEvent::DeletedToDetached),
                    _ => None,
                };
                if let Some(event) = event
                    && let Err(error) = self.fire(py, event, state)
                {
                    first_error.get_or_insert(error);
                }
            }
        }
        drop(dropped);
        first_error.map_or(Ok(()), Err)
    }

    /// Takes a state out of all lists and the map. What held it is dropped by the caller when nothing is half done.
    fn take_out(self, state: StateRef, dropped: &mut Vec<Held>) {
        dropped.extend(self.leave_lists(state));
        dropped.extend(self.leave_deleted(state));
        self.map_discard(state);
        self.core().outside.remove(state);
    }

    /// Takes out a state and what its expunge cascades reach.
    pub fn expunge_with_cascade(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        let mut states: Vec<Held> = Held::new(state).into_iter().collect();
        states.extend(cascade::collect(py, state, Cascade::Expunge, |_| false)?);
        self.expunge(py, states, false)
    }

    /// A state that became persistent in a running transaction goes back to transient when that is rolled back, wherever it
    /// is by then.
    fn remember_expunged(self, state: StateRef, to_transient: bool) {
        if to_transient || state.new_tx() == 0 || !state.has_key() {
            return;
        }
        let core = self.core();
        if let Some(frame) = core.frames.iter_mut().rev().find(|frame| state.new_tx() >= frame.serial) {
            frame.expunged.push(state.tombstone());
        }
    }

    /// Expires a persistent state, or takes a pending one out (`_conditional_expire`).
    pub fn conditional_expire(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        if state.has_key() {
            let held = self.leave_dirty(state);
            let result = attribute::expire_state(py, state);
            drop(held);
            result
        } else if state.has(flags::IN_NEW) && state.owner() == self.as_ptr() {
            self.expunge(py, Held::new(state).into_iter().collect(), false)
        } else {
            Ok(())
        }
    }

    /// Takes a state out of `dirty` only.
    #[must_use]
    pub fn leave_dirty(self, state: StateRef) -> Option<Held> {
        if state.has(flags::IN_DIRTY) && state.owner() == self.as_ptr() { self.leave_lists(state) } else { None }
    }

    /// The state must be persistent here.
    pub fn validate_persistent(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        if state.owner() == self.as_ptr() && state.has(flags::IN_MAP) {
            return Ok(());
        }
        Err(errors::invalid_request(
            py,
            format!("Instance '{}' is not persistent within this Session", state_str(py, state)),
        ))
    }
}
