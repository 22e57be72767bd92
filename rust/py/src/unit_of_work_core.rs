//! `UnitOfWorkCore`: the session's native half, as far as states and attributes know it.
use pyo3::ffi;
use pyo3::prelude::*;

use crate::flags;
use crate::names;
use crate::state::{NO_POSITION, StateRef};

/// What a session owns natively. Lives in a `Box` of the `_core.UnitOfWork` object, so its address is stable.
#[derive(Default)]
pub struct UnitOfWorkCore {
    /// States whose generation differs have all their values expired.
    pub generation: u32,
    /// A transaction frame exists (`_uow_in_transaction`).
    pub in_transaction: bool,
    /// The session warns about changes made while it flushes (`_warn_on_events`).
    pub warn_on_events: bool,
    /// The `_core.UnitOfWork` object (the Session), borrowed; null while it is torn down.
    pub session: SessionPtr,
    /// Objects to be inserted, in order of `add`.
    pub new: StateList,
    /// Persistent objects with changes, in order of their first change.
    pub dirty: StateList,
    /// Persistent objects by identity, borrowed.
    pub identity: crate::identity::IdentityMap,
    /// Which session events about single states have listeners.
    pub events: u32,
}

/// A borrowed pointer to the session object.
#[derive(Clone, Copy)]
pub struct SessionPtr(pub *mut ffi::PyObject);

impl Default for SessionPtr {
    fn default() -> Self {
        Self(std::ptr::null_mut())
    }
}

/// An insertion-ordered list of states that holds their objects; removal is constant through `list_pos`.
#[derive(Default)]
pub struct StateList {
    entries: Vec<Option<ListEntry>>,
    len: usize,
}

/// One entry: the state and its object, owned.
#[derive(Clone, Copy)]
pub struct ListEntry {
    /// The state.
    pub state: StateRef,
    /// The mapped object, owned by the list.
    pub object: *mut ffi::PyObject,
}

impl StateList {
    /// Number of states.
    pub fn len(&self) -> usize {
        self.len
    }
    /// No states?
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    /// The states in order.
    pub fn iter(&self) -> impl Iterator<Item = StateRef> + '_ {
        self.entries.iter().flatten().map(|entry| entry.state)
    }
    /// Appends a state that is in no list, taking a reference to its object.
    pub fn push(&mut self, state: StateRef) {
        debug_assert_eq!(state.list_pos(), NO_POSITION);
        let object = state.object_ptr();
        // SAFETY: the object lives; the list keeps its own reference.
        unsafe { ffi::Py_XINCREF(object) };
        state.set_list_pos(u32::try_from(self.entries.len()).unwrap_or(NO_POSITION));
        self.entries.push(Some(ListEntry { state, object }));
        self.len += 1;
    }
    /// Takes a state out. The caller drops the returned object (owned) when nothing is half done.
    #[must_use]
    pub fn remove(&mut self, state: StateRef) -> Option<ListEntry> {
        let place = self.entries.get_mut(state.list_pos() as usize)?;
        let entry = place.take_if(|entry| entry.state == state)?;
        state.set_list_pos(NO_POSITION);
        self.len -= 1;
        if self.len == 0 {
            self.entries.clear();
        } else if self.entries.len() > 64 && self.entries.len() > 2 * self.len {
            self.compact();
        }
        Some(entry)
    }
    /// Takes everything out, in order. The caller drops the objects.
    #[must_use]
    pub fn take_all(&mut self) -> Vec<ListEntry> {
        self.len = 0;
        let entries: Vec<_> = std::mem::take(&mut self.entries).into_iter().flatten().collect();
        for entry in &entries {
            entry.state.set_list_pos(NO_POSITION);
        }
        entries
    }
    /// Visits the owned objects for the collector.
    ///
    /// # Safety
    /// Called from a `tp_traverse` only.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut std::ffi::c_void) -> i32 {
        for entry in self.entries.iter().flatten() {
            // SAFETY: the collector's own function on an owned object.
            let result = unsafe { visit(entry.object, arg) };
            if result != 0 {
                return result;
            }
        }
        0
    }
    fn compact(&mut self) {
        self.entries.retain(Option::is_some);
        for (position, entry) in self.entries.iter().flatten().enumerate() {
            entry.state.set_list_pos(u32::try_from(position).unwrap_or(NO_POSITION));
        }
    }
}

/// Entry points of the attribute layer. `uow` is a live owner; none keeps a borrow while Python code runs.
impl UnitOfWorkCore {
    /// The session object.
    ///
    /// # Safety
    /// `uow` is alive and the GIL is held.
    pub unsafe fn session(py: Python<'_>, uow: *mut Self) -> Option<Bound<'_, PyAny>> {
        // SAFETY: promised by the caller; the pointer is cleared before the session goes.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, (*uow).session.0) }
    }

    /// An attribute of a persistent object changed for the first time since its last commit: enter it in `dirty`.
    ///
    /// # Safety
    /// As `session`.
    pub unsafe fn register_dirty(uow: *mut Self, state: StateRef) {
        if state.flags() & (flags::IN_NEW | flags::IN_DIRTY) != 0 {
            return;
        }
        state.add_flags(flags::IN_DIRTY);
        // SAFETY: promised by the caller.
        unsafe { (*uow).dirty.push(state) }
    }

    /// A change needs a transaction: `session._autobegin_t()` when there is none.
    ///
    /// # Safety
    /// As `session`.
    pub unsafe fn ensure_begun(py: Python<'_>, uow: *mut Self) -> PyResult<()> {
        // SAFETY: promised by the caller.
        unsafe {
            if (*uow).in_transaction {
                return Ok(());
            }
            if let Some(session) = Self::session(py, uow) {
                session.call_method0(names::autobegin_t(py))?;
            }
        }
        Ok(())
    }

    /// Save-update cascade: `state` was appended to (or set on) an object of this session along a cascading relationship.
    ///
    /// # Safety
    /// As `session`; `state`'s object is kept alive by the caller.
    pub unsafe fn cascade_into(_py: Python<'_>, _uow: *mut Self, _state: StateRef) -> PyResult<()> {
        Ok(()) // filled in by the unit of work: `_save_or_update_state` with its cascades
    }

    /// A pending object lost its last delete-orphan parent: out of the session.
    ///
    /// # Safety
    /// As `cascade_into`.
    pub unsafe fn expunge_orphan(_py: Python<'_>, _uow: *mut Self, _state: StateRef) -> PyResult<()> {
        Ok(()) // filled in by the unit of work
    }

    /// The carrier of `state` is being deallocated: take its borrowed pointer out of the identity table.
    ///
    /// # Safety
    /// `uow` is alive; `state` is valid for the duration of the call; no Python code may run.
    pub unsafe fn forget(_uow: *mut Self, _state: StateRef) {
        // filled in by the identity table
    }
}
