//! Transaction frames: what a rollback has to undo, and what a commit hands on.
//!
//! States carry the serial of the frame in which they became persistent or were flushed; serials grow, so everything a
//! frame and the savepoints merged into it did has a serial not smaller than the frame's own.
use std::rc::Rc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use pyo3::prelude::*;

use crate::bridge as attribute;
use crate::expiry;
use crate::flags;
use crate::held::Held;
use crate::state::{StateRef, Tombstone};
use crate::unit_of_work_core::UowRef;

/// One transaction or savepoint.
pub struct Frame {
    /// Grows with every frame of a session, never zero.
    pub serial: u32,
    /// A savepoint.
    pub is_nested: bool,
    /// How many states became persistent in it.
    pub new_count: usize,
    /// States that became persistent in it and were expunged since.
    pub expunged: Vec<Rc<Tombstone>>,
    /// The identity states had before their primary key was first changed in it.
    pub key_switches: HashMap<usize, (Rc<Tombstone>, Py<PyAny>)>,
    /// States flushed in it that had been flushed before it in the same transaction, with the serial of that flush.
    pub flushed_before: Vec<(Rc<Tombstone>, u32)>,
}

/// What a frame does not need to remember any more. Keys are among it: letting go of one may run Python code.
type Left = (Vec<(Rc<Tombstone>, Py<PyAny>)>, Vec<Rc<Tombstone>>);

impl Frame {
    /// A savepoint inside of this one was released: what it remembers is remembered here.
    fn take_over(&mut self, inner: Self) -> Left {
        self.new_count += inner.new_count;
        self.expunged.extend(inner.expunged);
        let (mut switches, mut handles) = Left::default();
        for (state, switch) in inner.key_switches {
            match self.key_switches.entry(state) {
                Entry::Occupied(_) => switches.push(switch),
                Entry::Vacant(place) => {
                    place.insert(switch);
                }
            }
        }
        for (tombstone, serial) in inner.flushed_before {
            if serial < self.serial {
                self.flushed_before.push((tombstone, serial));
            } else {
                if let Some(held) = alive(&tombstone) {
                    held.state().add_flags(flags::CHANGED_BEFORE_DELETE);
                }
                handles.push(tombstone);
            }
        }
        (switches, handles)
    }
}

impl UowRef {
    /// The serial that states changed now are marked with; zero outside of a transaction.
    #[inline]
    pub fn serial(self) -> u32 {
        self.core().frames.last().map_or(0, |frame| frame.serial)
    }

    /// Begins a transaction or savepoint.
    pub fn begin(self, is_nested: bool) {
        let core = self.core();
        core.next_serial += 1;
        let serial = core.next_serial;
        core.frames.push(Frame {
            serial,
            is_nested,
            new_count: 0,
            expunged: Vec::new(),
            key_switches: HashMap::new(),
            flushed_before: Vec::new(),
        });
        core.in_transaction = true;
    }

    /// Remembers the identity a state had at the beginning of the frame.
    pub fn key_switched(self, state: StateRef, old_key: Py<PyAny>) {
        if let Some(frame) = self.core().frames.last_mut() {
            frame.key_switches.entry(state.as_ptr() as usize).or_insert_with(|| (state.tombstone(), old_key));
        }
    }

    /// Notes that a state was flushed, updated or deleted, in the innermost frame.
    #[inline]
    pub fn mark_flushed(self, state: StateRef) {
        let Some(frame) = self.core().frames.last_mut() else { return };
        let before = state.dirty_tx();
        if before != 0 && before < frame.serial && frame.is_nested {
            frame.flushed_before.push((state.tombstone(), before));
        }
        state.set_dirty_tx(frame.serial);
    }

    /// Notes that a state was deleted in the innermost frame, and whether its values had been changed in it before.
    pub fn mark_row_deleted(self, state: StateRef) {
        state.clear_flags(flags::CHANGED_BEFORE_DELETE);
        if state.dirty_tx() >= self.serial().max(1) {
            state.add_flags(flags::CHANGED_BEFORE_DELETE);
        }
        self.mark_flushed(state);
    }

    fn pop(self) -> Option<Frame> {
        let core = self.core();
        let frame = core.frames.pop();
        core.in_transaction = !core.frames.is_empty();
        frame
    }

    /// Ends a frame well: what is left open inside of it counts as released.
    pub fn commit(self, py: Python<'_>, serial: u32, expires: bool) -> PyResult<()> {
        while self.serial() > serial {
            self.commit_innermost(py, false)?;
        }
        if self.serial() < serial { Ok(()) } else { self.commit_innermost(py, expires) }
    }

    /// Ends a frame badly, and with it what is left open inside of it.
    pub fn rollback(self, py: Python<'_>, serial: u32) -> PyResult<()> {
        let mut result = Ok(());
        while self.serial() >= serial.max(1) {
            result = result.and(self.rollback_innermost(py));
        }
        result
    }

    /// Ends the innermost frame well: a savepoint is merged into what surrounds it.
    fn commit_innermost(self, py: Python<'_>, expires: bool) -> PyResult<()> {
        let Some(frame) = self.pop() else { return Ok(()) };
        if frame.is_nested {
            if let Some(outer) = self.core().frames.last_mut() {
                let left = outer.take_over(frame);
                drop(left);
            }
            return Ok(());
        }
        let serial = frame.serial;
        drop(frame);
        if expires {
            self.expire_all(py)?;
            let deleted = self.core().outside.held(|state| state.has(flags::DELETED) && state.dirty_tx() >= serial);
            self.expunge_as(py, deleted, false, flags::DETACHED_DELETED)?;
        }
        Ok(())
    }

    /// Ends the innermost frame without a decision: objects keep the states they have, and no later rollback knows of it.
    pub fn forget_frame(self) {
        let Some(frame) = self.pop() else { return };
        let core = self.core();
        for held in core.identity.held(|_| true).into_iter().chain(core.outside.held(|_| true)) {
            if held.state().new_tx() >= frame.serial {
                held.state().set_new_tx(0);
            }
        }
        self.unmark_flushed(&frame);
    }

    /// States flushed in a frame that is gone are as they were before it, for the frames around it.
    fn unmark_flushed(self, frame: &Frame) {
        let core = self.core();
        let flushed = |state: StateRef| state.dirty_tx() >= frame.serial;
        for held in core.identity.held(flushed).into_iter().chain(core.outside.held(flushed)) {
            held.state().set_dirty_tx(0);
        }
        for (tombstone, serial) in &frame.flushed_before {
            if let Some(held) = alive(tombstone).filter(|held| held.state().owner() == self.as_ptr()) {
                held.state().set_dirty_tx(*serial);
            }
        }
    }

    /// Ends the innermost frame badly: everything it did to objects is undone.
    fn rollback_innermost(self, py: Python<'_>) -> PyResult<()> {
        let Some(frame) = self.pop() else { return Ok(()) };
        let is_new = |state: StateRef| state.new_tx() >= frame.serial;

        let mut transient: Vec<Held> = self.core().new.iter().filter_map(Held::new).collect();
        if frame.new_count > 0 {
            transient.extend(self.core().identity.held(is_new));
            transient.extend(self.core().outside.held(is_new));
        }
        transient.extend(frame.expunged.iter().filter_map(|tombstone| alive(tombstone)));
        let mut result = self.expunge(py, transient, true);

        // All leave the map before the first comes back: one may get the key that another one has now.
        let mut returning = Vec::new();
        for (tombstone, old_key) in frame.key_switches.values() {
            let Some(held) = alive(tombstone) else { continue };
            let state = held.state();
            let is_here = state.has(flags::IN_MAP) && state.owner() == self.as_ptr();
            self.map_discard(state);
            if state.has_key() {
                state.set_key(old_key.clone_ref(py).into_ptr());
                if is_here {
                    returning.push(held);
                }
            }
        }
        for held in returning {
            match self.map_replace(py, held.state()) {
                Ok(replaced) => drop(replaced),
                Err(error) => result = result.and(Err(error)),
            }
        }

        let marked = self.core().deleted.held(|_| true);
        let revived = self.core().outside.held(|state| state.has(flags::DELETED) && state.dirty_tx() >= frame.serial);
        for held in revived.into_iter().chain(marked) {
            let state = held.state();
            let was_deleted = state.has(flags::DELETED);
            result = result.and(self.update_reverted(py, state));
            if frame.is_nested && was_deleted && !state.has(flags::CHANGED_BEFORE_DELETE) {
                // Only its row was gone: the values still hold.
                state.set_dirty_tx(0);
            }
        }

        if frame.is_nested {
            let touched = self
                .core()
                .identity
                .held(|state| state.has_any(flags::MODIFIED | flags::IN_DIRTY) || state.dirty_tx() >= frame.serial);
            for held in touched {
                drop(self.leave_dirty(held.state()));
                result = result.and(attribute::expire_state(py, held.state()));
            }
            self.unmark_flushed(&frame);
        } else {
            result = result.and(self.expire_all(py));
        }
        result
    }

    /// `update(reverts_deletion)` without beginning a new transaction for it.
    fn update_reverted(self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        let core = self.core();
        let was = std::mem::replace(&mut core.in_transaction, true);
        let result = self.update(py, state, true);
        self.core().in_transaction = was;
        result
    }

    /// Expires every persistent object: by generation, so that only objects with changes, and those that may hold others,
    /// are touched one by one.
    pub fn expire_all(self, py: Python<'_>) -> PyResult<()> {
        let mut result = Ok(());
        let core = self.core();
        let changed = core.dirty.take_all();
        core.generation = core.generation.wrapping_add(1);
        core.outside.iter().for_each(StateRef::mark_current);
        // One that another object of the same identity has pushed out of the map keeps its changes.
        for held in changed.iter().filter(|held| held.state().has(flags::IN_MAP)) {
            result = result.and(attribute::expire_state(py, held.state()));
        }
        drop(changed);
        if self.core().may_hold_related {
            let holders = self
                .core()
                .identity
                .held(|state| state.is_outdated() && (state.has(flags::GC_TRACKED) || !state.has(flags::INLINE)));
            for held in holders {
                result = result.and(attribute::expire_state(py, held.state()));
            }
        }
        if expiry::anyone_hears() {
            for held in self.core().identity.held(|state| state.is_outdated() && expiry::is_heard(state)) {
                result = result.and(attribute::expire_state(py, held.state()));
            }
        }
        result
    }

    /// Takes everything out of the session and forgets all frames.
    pub fn close(self, py: Python<'_>) -> PyResult<()> {
        let result = self.expunge_all(py);
        // Last: what hears of it may commit.
        let core = self.core();
        let frames = std::mem::take(&mut core.frames);
        core.in_transaction = false;
        drop(frames);
        result
    }

    /// Takes everything out of the session but what is neither pending nor in the map: deleted objects stay.
    pub fn expunge_all(self, py: Python<'_>) -> PyResult<()> {
        let core = self.core();
        core.identity_epoch = core.identity_epoch.wrapping_add(1);
        let mut all = core.identity.held(|_| true);
        all.extend(core.new.iter().filter_map(Held::new));
        self.expunge_as(py, all, false, flags::DETACHED_CLOSED)
    }
}

fn alive(tombstone: &Tombstone) -> Option<Held> {
    let state = tombstone.state.get();
    if state.is_null() {
        return None;
    }
    // SAFETY: a state clears its tombstone before it is freed.
    Held::new(unsafe { StateRef::from_ptr(state) })
}
