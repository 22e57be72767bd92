//! `UnitOfWorkCore`: what a session owns natively, and the entry points of the attribute layer.
//!
//! Every state whose `owner` is this unit of work stands in `new`, in the identity map, or in `outside`; that is how all of
//! them are found when the session goes.
use std::collections::VecDeque;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::bridge as attribute;
use crate::flags;
use crate::held::Held;
use crate::identity::IdentityMap;
use crate::listeners::Heard;
use crate::live_sessions::Place;
use crate::raw;
use crate::state::StateRef;
use crate::transaction::Frame;
use crate::usage::User;

/// What a session owns natively. Lives in the `_core.UnitOfWork` object, so its address is stable.
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
    pub new: StateList<{ flags::IN_NEW }>,
    /// Persistent objects with changes, in order of their first change.
    pub dirty: StateList<{ flags::IN_DIRTY }>,
    /// Persistent objects marked for deletion, held, in order.
    pub deleted: StateSet<true>,
    /// Attached states that are neither pending nor in the map (deleted by a flush), borrowed.
    pub outside: StateSet<false>,
    /// Persistent objects by identity, borrowed.
    pub identity: IdentityMap,
    /// Running transactions, outermost first.
    pub frames: Vec<Frame>,
    /// Serial of the youngest frame.
    pub next_serial: u32,
    /// Listeners of session events about single states, see `SessionEvent`.
    pub events: Heard,
    /// Some object of this session may hold other objects, so that an expiry has to let go of them at once.
    pub may_hold_related: bool,
    /// Nothing may be written (`Session(read_only=True)`).
    pub is_read_only: bool,
    /// An expired object is refreshed together with its peers (`Session(on_expired="batch")`).
    pub refreshes_peers: bool,
    /// Who is inside.
    pub user: User,
    /// Where it stands among the living sessions.
    pub place: Place,
    /// How often all objects were expunged: results not fetched yet cannot bring new ones in after that.
    pub identity_epoch: u32,
    /// `close()` is final (`Session(close_resets_only=False)`).
    pub closes_for_good: bool,
}

impl UnitOfWorkCore {
    /// Nothing new, dirty or deleted: a flush has nothing to do.
    pub fn is_clean(&self) -> bool {
        self.new.is_empty() && self.dirty.is_empty() && self.deleted.is_empty()
    }
}

/// A borrowed pointer to the session object.
#[derive(Clone, Copy)]
pub struct SessionPtr(pub *mut ffi::PyObject);

impl Default for SessionPtr {
    fn default() -> Self {
        Self(std::ptr::null_mut())
    }
}

/// An insertion-ordered list of states that holds their objects. A state in it has the flag `LIST` and knows its position, so
/// that it is taken out at once.
#[derive(Default)]
pub struct StateList<const LIST: u16> {
    entries: Vec<Option<Held>>,
    len: usize,
}

impl<const LIST: u16> StateList<LIST> {
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
        self.entries.iter().flatten().map(Held::state)
    }
    /// The objects it holds, in order. The weak reference of an external state may be dead before them.
    pub fn holds(&self) -> impl Iterator<Item = &Held> {
        self.entries.iter().flatten()
    }
    /// Appends a state that is in no list. One whose object is gone stays outside: nobody could save it.
    pub fn push(&mut self, state: StateRef) {
        debug_assert!(!state.has_any(flags::IN_LIST));
        if let Some(held) = Held::new(state) {
            state.enter_list(LIST, position(self.entries.len()));
            self.entries.push(Some(held));
            self.len += 1;
        }
    }
    /// Takes a state out. The caller drops the reference when nothing is half done.
    #[must_use]
    pub fn remove(&mut self, state: StateRef) -> Option<Held> {
        if !state.has(LIST) {
            return None;
        }
        let place = self.entries.get_mut(state.list_pos() as usize)?;
        let held = place.take_if(|held| held.state() == state)?;
        state.leave_list();
        self.len -= 1;
        if self.len == 0 {
            self.entries.clear();
        } else if self.entries.len() > 64 && self.entries.len() > 2 * self.len {
            self.compact();
        }
        Some(held)
    }
    /// Takes out, in order, the states that have left the list by themselves (`StateRef::leave_list`).
    #[must_use]
    pub fn sweep(&mut self) -> Vec<Held> {
        let mut swept = Vec::with_capacity(self.len);
        for (at, entry) in self.entries.iter_mut().enumerate() {
            // One that was entered again meanwhile stands in another place.
            let has_left = |held: &mut Held| !held.state().has(LIST) || held.state().list_pos() != position(at);
            swept.extend(entry.take_if(has_left));
        }
        self.len -= swept.len();
        self.compact();
        // room for the next few stays
        self.entries.shrink_to(64);
        swept
    }
    /// Takes everything out, in order.
    #[must_use]
    pub fn take_all(&mut self) -> Vec<Held> {
        self.len = 0;
        let entries: Vec<_> = std::mem::take(&mut self.entries).into_iter().flatten().collect();
        entries.iter().map(Held::state).for_each(StateRef::leave_list);
        entries
    }
    fn compact(&mut self) {
        self.entries.retain(Option::is_some);
        for (at, held) in self.entries.iter().flatten().enumerate() {
            held.state().enter_list(LIST, position(at));
        }
    }
}

/// A place of a list, as states keep it.
fn position(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// States by identity, in order of insertion; with `HOLDS` their objects are kept alive.
#[derive(Default)]
pub struct StateSet<const HOLDS: bool> {
    /// By address, the number of each state's entry.
    numbers: HashMap<usize, usize>,
    /// Mostly the first ones leave first.
    entries: VecDeque<Option<(StateRef, Option<Held>)>>,
    /// The number of the first entry.
    first: usize,
}

impl<const HOLDS: bool> StateSet<HOLDS> {
    /// Number of states.
    pub fn len(&self) -> usize {
        self.numbers.len()
    }
    /// No states?
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }
    /// The states in order.
    pub fn iter(&self) -> impl Iterator<Item = StateRef> + '_ {
        self.entries.iter().flatten().map(|(state, _)| *state)
    }
    /// The states a condition holds for, with their objects.
    pub fn held(&self, is_wanted: impl Fn(StateRef) -> bool) -> Vec<Held> {
        self.iter().filter(|&state| is_wanted(state)).filter_map(Held::new).collect()
    }
    /// Enters a state; false if it is in or, with `HOLDS`, its object is gone.
    pub fn insert(&mut self, state: StateRef) -> bool {
        let Entry::Vacant(place) = self.numbers.entry(state.as_ptr() as usize) else { return false };
        let held = if HOLDS { Held::new(state) } else { None };
        if HOLDS && held.is_none() {
            return false;
        }
        place.insert(self.first + self.entries.len());
        self.entries.push_back(Some((state, held)));
        true
    }
    fn forget(&mut self, state: StateRef) -> Option<Held> {
        let number = self.numbers.remove(&(state.as_ptr() as usize))?;
        let held = self.entries[number - self.first].take().and_then(|(_, held)| held);
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.first += 1;
        }
        if self.entries.len() > 64 && self.entries.len() > 2 * self.numbers.len() {
            self.entries.retain(Option::is_some);
            for (place, (state, _)) in self.entries.iter().flatten().enumerate() {
                self.numbers.insert(state.as_ptr() as usize, self.first + place);
            }
        }
        held
    }
}

impl StateSet<false> {
    /// Takes a state out.
    pub fn remove(&mut self, state: StateRef) {
        if !self.is_empty() {
            let none_held = self.forget(state);
            debug_assert!(none_held.is_none());
        }
    }
}

impl StateSet<true> {
    /// Takes a state out and hands over the reference to its object.
    pub fn take(&mut self, state: StateRef) -> Option<Held> {
        self.forget(state)
    }
    /// The objects it holds.
    pub fn holds(&self) -> impl Iterator<Item = &Held> {
        self.entries.iter().flatten().filter_map(|(_, held)| held.as_ref())
    }
}

/// A handle on a living unit of work. Valid as long as the session object: whoever uses one keeps the session alive.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UowRef(*mut UnitOfWorkCore);

impl UowRef {
    /// Wraps a pointer.
    ///
    /// # Safety
    /// `core` belongs to a session that stays alive as long as the handle is used, and the GIL is held whenever it is.
    pub unsafe fn from_ptr(core: *mut UnitOfWorkCore) -> Self {
        Self(core)
    }
    /// The core's address, as states keep it in `owner`.
    #[inline]
    pub fn as_ptr(self) -> *mut UnitOfWorkCore {
        self.0
    }
    /// The core. Not to be kept across anything that may run Python code.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub fn core(self) -> &'static mut UnitOfWorkCore {
        // SAFETY: promised at construction; the GIL serialises access and callers keep no reference.
        unsafe { &mut *self.0 }
    }
    /// The session object.
    pub fn session(self, py: Python<'_>) -> Option<Bound<'_, PyAny>> {
        // SAFETY: the pointer is cleared before the session is freed.
        unsafe { raw::living(py, self.core().session.0) }
    }
}

/// Entry points of the attribute layer. `uow` is a live owner; none keeps a borrow while Python code runs.
impl UnitOfWorkCore {
    /// The session object.
    ///
    /// # Safety
    /// `uow` is alive and the GIL is held.
    pub unsafe fn session(py: Python<'_>, uow: *mut Self) -> Option<Bound<'_, PyAny>> {
        // SAFETY: promised by the caller.
        unsafe { UowRef::from_ptr(uow) }.session(py)
    }

    /// An attribute of a persistent object changed for the first time since its last commit: enter it in `dirty`.
    ///
    /// # Safety
    /// As `session`.
    pub unsafe fn register_dirty(uow: *mut Self, state: StateRef) {
        if state.has(flags::IN_MAP) {
            // SAFETY: promised by the caller.
            unsafe { UowRef::from_ptr(uow) }.enter_dirty(state);
        }
    }

    /// A change needs a transaction: `session._autobegin_t()` when there is none.
    ///
    /// # Safety
    /// As `session`.
    pub unsafe fn ensure_begun(py: Python<'_>, uow: *mut Self) -> PyResult<()> {
        // SAFETY: promised by the caller.
        unsafe { UowRef::from_ptr(uow) }.ensure_begun(py)
    }

    /// Save-update cascade: `state` was appended to (or set on) an object of this session along a cascading relationship.
    ///
    /// # Safety
    /// As `session`; `state`'s object is kept alive by the caller.
    pub unsafe fn cascade_into(py: Python<'_>, uow: *mut Self, state: StateRef) -> PyResult<()> {
        // SAFETY: promised by the caller.
        let uow = unsafe { UowRef::from_ptr(uow) };
        if uow.contains(state) { Ok(()) } else { uow.save_or_update(py, state) }
    }

    /// A pending object lost its last delete-orphan parent: out of the session.
    ///
    /// # Safety
    /// As `cascade_into`.
    pub unsafe fn expunge_orphan(py: Python<'_>, uow: *mut Self, state: StateRef) -> PyResult<()> {
        // SAFETY: promised by the caller.
        unsafe { UowRef::from_ptr(uow) }.expunge_with_cascade(py, state)
    }

    /// The carrier of `state` is being deallocated: take its borrowed pointer out of the map.
    ///
    /// # Safety
    /// `uow` is alive; `state` is valid for the duration of the call; no Python code may run.
    pub unsafe fn forget(uow: *mut Self, state: StateRef) {
        // SAFETY: promised by the caller.
        let uow = unsafe { UowRef::from_ptr(uow) };
        uow.map_discard(state);
        uow.core().outside.remove(state);
    }

    /// An external carrier can go before its object does: out of the lists that hold the object. The caller drops what they
    /// held when nothing is half done.
    ///
    /// # Safety
    /// As `forget`.
    pub unsafe fn leave_all_lists(uow: *mut Self, state: StateRef) -> [Option<Held>; 2] {
        // SAFETY: promised by the caller.
        let uow = unsafe { UowRef::from_ptr(uow) };
        [uow.leave_lists(state), uow.leave_deleted(state)]
    }
}

impl UowRef {
    /// The session goes: its objects are detached. Values that were to be expired are dropped, which may run Python code.
    pub fn tear_down(self, py: Python<'_>) {
        self.leave_living();
        let core = self.core();
        core.session = SessionPtr::default();
        let mut states: Vec<Held> = core.identity.states().into_iter().filter_map(Held::new).collect();
        states.extend(core.new.holds().cloned());
        states.extend(core.outside.held(|_| true));
        let states: Vec<(Held, bool)> = states
            .into_iter()
            .map(|held| {
                let is_outdated = held.state().has_key() && held.state().is_outdated();
                (held, is_outdated)
            })
            .collect();
        // States whose object is on its way out have nothing to lose but their owner.
        for state in core.identity.states().into_iter().chain(core.outside.iter()) {
            state.set_owner(std::ptr::null_mut());
            state.clear_flags(flags::IN_MAP);
        }
        let mut dropped = Vec::new();
        for (held, is_outdated) in &states {
            let state = held.state();
            dropped.extend(self.leave_lists(state));
            dropped.extend(self.leave_deleted(state));
            state.set_owner(std::ptr::null_mut());
            flags::note_detached(state, flags::DETACHED_COLLECTED);
            if *is_outdated && let Err(error) = attribute::expire_state(py, state) {
                // Nobody is left to hear of it but the interpreter's hook.
                error.write_unraisable(py, None);
            }
        }
        let core = self.core();
        core.identity.clear();
        // Its states have no owner any more that could be told when they go.
        core.outside = StateSet::default();
        core.frames.clear();
        core.events.expect(0);
        drop(dropped);
    }
}
