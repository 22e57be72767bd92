//! `StateCore`, the bookkeeping of one mapped object, and `StateRef`, the handle the rest of the core uses.
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::rc::Rc;

use pyo3::ffi;
use pyo3::prelude::*;
use smallvec::SmallVec;

use crate::flags;
use crate::instance::{self, InstanceObject};
use crate::instance_state;
use crate::manager::ManagerCore;
use crate::names;
use crate::pending::PendingMutations;
use crate::slots::{self, Slot};
use crate::unit_of_work_core::UnitOfWorkCore;

/// The state of one mapped object. Lives inside its carrier. There is one for every object in memory, so every word counts.
#[repr(C)]
pub struct StateCore {
    /// Attribute values by attribute number.
    pub slots: *mut Slot,
    /// Owned through `ManagerCore::object`; null for an object whose class is not instrumented.
    pub manager: *const ManagerCore,
    /// The unit of work this object is in, or null. The unit of work clears it before it dies.
    pub owner: *mut UnitOfWorkCore,
    /// Identity, owned: primary key value, or tuple of values when composite; null without identity.
    pub key: *mut ffi::PyObject,
    /// What few objects have.
    pub extra: Option<Box<StateExtra>>,
    /// Bits of `flags.rs`.
    pub flags: u16,
    /// Number of allocated slots; attributes beyond it are not loaded.
    pub slot_len: u16,
    /// In `owner.new` or `owner.dirty` the position there: the values of such a state are valid. Otherwise the generation in
    /// which they were read: they are valid while it is the owner's.
    stamp: u32,
    /// Hash under which the identity table keeps this state; set whenever it is entered.
    pub key_hash: u32,
    /// Serial of the transaction in which the object became new.
    pub new_tx: u32,
    /// Serial of the transaction in which the object was deleted or flushed dirty.
    pub dirty_tx: u32,
    /// Serial of the load that last built or overwrote the object; 0 for none.
    pub load_serial: u32,
}

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<StateCore>() == 64, "one word more costs every object sixteen bytes");

/// What only some states have: changed ones, related ones. All object pointers are owned unless said otherwise. Small, with room
/// for one old value and one parent: a flush of many objects that changed walks over many of these.
#[derive(Default)]
pub struct StateExtra {
    /// Old values of modified attributes that had one.
    pub committed: SmallVec<[(u32, *mut ffi::PyObject); 1]>,
    /// Which parent holds this object, by relationship token.
    pub parents: SmallVec<[(usize, Parent); 1]>,
    /// What remains of this state for its children, once it is gone.
    pub tombstone: Option<Rc<Tombstone>>,
    /// The `InstanceState` of an inline object.
    pub view: *mut ffi::PyObject,
    /// `load_options`.
    pub load_options: *mut ffi::PyObject,
    /// `load_path`.
    pub load_path: *mut ffi::PyObject,
    /// What hardly any state has.
    pub rare: Option<Box<RareExtra>>,
}

/// The part of a state that hardly any state has.
#[derive(Default)]
pub struct RareExtra {
    /// Empty collections handed out for unset attributes, stored at their first change.
    pub empty_collections: Vec<(u32, *mut ffi::PyObject)>,
    /// Changes queued on collections that are not loaded.
    pub pending: Vec<(u32, PendingMutations)>,
    /// Last values of attributes tracked through expiry (`_track_last_known_value`).
    pub last_known: Vec<(u32, *mut ffi::PyObject)>,
    /// `callables`: dict of attribute name to per-state loader.
    pub callables: *mut ffi::PyObject,
    /// `info`.
    pub info: *mut ffi::PyObject,
    /// Identity token (third part of the identity key); null means `None`.
    pub identity_token: *mut ffi::PyObject,
}

impl StateExtra {
    /// Did no statement's options stay with the object?
    pub fn has_no_load_options(&self) -> bool {
        let options = self.load_options;
        // SAFETY: null or a valid object, owned by the state.
        unsafe { options.is_null() || (ffi::PyTuple_CheckExact(options) != 0 && ffi::PyTuple_GET_SIZE(options) == 0) }
    }
}

/// What is known about the parent of an object along one relationship.
pub enum Parent {
    /// Removed from its parent.
    Gone,
    /// Held by this parent.
    Held(Rc<Tombstone>),
}

/// A weak handle on a state that outlives it: tells whether it lives, and its last identity.
pub struct Tombstone {
    /// The state; null once the object is gone.
    pub state: Cell<*mut StateCore>,
    /// The identity it had when it went, owned; null without identity or while it lives.
    pub last_key: Cell<*mut ffi::PyObject>,
}

impl Tombstone {
    /// The identity of the state, borrowed, or null.
    pub fn key(&self) -> *mut ffi::PyObject {
        let state = self.state.get();
        if state.is_null() {
            self.last_key.get()
        } else {
            // SAFETY: a state clears `state` in its tombstone before it is freed.
            unsafe { (*state).key }
        }
    }
}

impl Drop for Tombstone {
    fn drop(&mut self) {
        // SAFETY: `last_key` is owned or null; states are only touched with the GIL held.
        unsafe { ffi::Py_XDECREF(self.last_key.get()) }
    }
}

/// A handle on a living state. Valid as long as its carrier: whoever keeps one across Python calls keeps the object alive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateRef(NonNull<StateCore>);

macro_rules! fields {
    ($($(#[$doc:meta])* $get:ident / $set:ident : $type:ty),* $(,)?) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $get(self) -> $type {
                // SAFETY: the carrier is alive (contract of `StateRef`); the GIL serialises access.
                unsafe { (*self.0.as_ptr()).$get }
            }
            $(#[$doc])*
            #[inline]
            pub fn $set(self, value: $type) {
                // SAFETY: as above.
                unsafe { (*self.0.as_ptr()).$get = value }
            }
        )*
    };
}

impl StateRef {
    /// Wraps a pointer.
    ///
    /// # Safety
    /// `core` belongs to a carrier that stays alive as long as the handle is used, and the GIL is held whenever it is.
    #[inline]
    pub unsafe fn from_ptr(core: *mut StateCore) -> Self {
        // SAFETY: carriers embed their core, so a pointer to it is never null.
        Self(unsafe { NonNull::new_unchecked(core) })
    }
    /// The core itself.
    #[inline]
    pub fn as_ptr(self) -> *mut StateCore {
        self.0.as_ptr()
    }

    fields! {
        /// Bits of `flags.rs`.
        flags / set_flags: u16,
        /// Owning unit of work or null.
        owner / set_owner: *mut UnitOfWorkCore,
        /// Hash of the identity in the identity table.
        key_hash / set_key_hash: u32,
        /// Transaction serial.
        new_tx / set_new_tx: u32,
        /// Transaction serial.
        dirty_tx / set_dirty_tx: u32,
        /// Load serial.
        load_serial / set_load_serial: u32,
    }

    /// Are all these flags set?
    #[inline]
    pub fn has(self, bits: u16) -> bool {
        self.flags() & bits == bits
    }
    /// Is any of these flags set?
    #[inline]
    pub fn has_any(self, bits: u16) -> bool {
        self.flags() & bits != 0
    }
    /// Sets flags.
    #[inline]
    pub fn add_flags(self, bits: u16) {
        self.set_flags(self.flags() | bits);
    }
    /// Clears flags.
    #[inline]
    pub fn clear_flags(self, bits: u16) {
        self.set_flags(self.flags() & !bits);
    }
    /// The class manager.
    #[inline]
    pub fn manager(self) -> &'static ManagerCore {
        // SAFETY: the state owns a reference to its manager; the result is not kept beyond the state's life.
        unsafe { &*(*self.0.as_ptr()).manager }
    }
    /// The carrier, borrowed.
    #[inline]
    pub fn carrier(self) -> *mut ffi::PyObject {
        // SAFETY: the core is embedded in its carrier, of the kind its flag says.
        unsafe {
            if self.has(flags::INLINE) {
                self.0.as_ptr().cast::<u8>().sub(std::mem::offset_of!(InstanceObject, core)).cast()
            } else {
                instance_state::carrier_of(self.0.as_ptr())
            }
        }
    }
    /// The mapped object, borrowed; null when an external object is gone.
    #[inline]
    pub fn object_ptr(self) -> *mut ffi::PyObject {
        if self.has(flags::INLINE) {
            self.carrier()
        } else {
            // SAFETY: the core is embedded in an external carrier.
            unsafe { instance_state::object_of(self.0.as_ptr()) }
        }
    }
    /// The mapped object, while it lives.
    pub fn object(self, py: Python<'_>) -> Option<Bound<'_, PyAny>> {
        // SAFETY: borrowed pointer of a living object or null.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.object_ptr()) }
    }
    /// The `InstanceState` Python sees: the carrier of external objects, a cached view of inline ones.
    pub fn view(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        instance_state::view_of(py, self)
    }

    /// Expires the values of a state whose session expired everything since. Cheap when there is nothing to do.
    #[inline]
    pub fn apply_pending_expiry(self, py: Python<'_>) -> PyResult<()> {
        crate::expiry::apply_pending(py, self)
    }

    // ---- identity -------------------------------------------------------------------------------------------------

    /// The identity, borrowed: a value, or a tuple when composite; null without identity.
    #[inline]
    pub fn key(self) -> *mut ffi::PyObject {
        // SAFETY: contract of `StateRef`.
        unsafe { (*self.0.as_ptr()).key }
    }
    /// Replaces the identity; takes over the reference (null: none). Dropping the old one may run Python code.
    pub fn set_key(self, key: *mut ffi::PyObject) {
        // SAFETY: contract of `StateRef`; the old key was owned.
        unsafe {
            let old = ptr::replace(&raw mut (*self.0.as_ptr()).key, key);
            ffi::Py_XDECREF(old);
        }
    }
    /// Has an identity (persistent, deleted or detached)?
    #[inline]
    pub fn has_key(self) -> bool {
        !self.key().is_null()
    }
    /// The identity token, borrowed; null means `None`.
    pub fn identity_token(self) -> *mut ffi::PyObject {
        self.rare().map_or(ptr::null_mut(), |rare| rare.identity_token)
    }

    // ---- values ---------------------------------------------------------------------------------------------------

    /// Allocated slots.
    #[inline]
    pub fn slot_len(self) -> u32 {
        // SAFETY: contract of `StateRef`.
        u32::from(unsafe { (*self.0.as_ptr()).slot_len })
    }
    /// One slot; an empty one beyond the array. Does not apply a pending expiry.
    #[inline]
    pub fn slot(self, index: u32) -> Slot {
        // SAFETY: index is checked against the array's length.
        unsafe {
            let core = self.0.as_ptr();
            if index < u32::from((*core).slot_len) { *(*core).slots.add(index as usize) } else { Slot::default() }
        }
    }
    /// Makes room for at least `len` slots; false when memory is short.
    pub fn reserve(self, len: u32) -> bool {
        let core = self.0.as_ptr();
        let Ok(new_len) = u16::try_from(len) else { return false };
        // SAFETY: the array belongs to this state.
        unsafe {
            let old_len = (*core).slot_len;
            if new_len > old_len {
                if !slots::grow(&mut (*core).slots, old_len, new_len) {
                    return false;
                }
                (*core).slot_len = new_len;
            }
        }
        true
    }
    /// Stores a value and flags, taking over the reference (null: not loaded), and returns the old value, owned.
    /// The caller drops it when nothing is half done: that may run Python code.
    ///
    /// # Errors
    /// Returns the value again when memory is short.
    #[inline]
    pub fn replace_slot(
        self,
        index: u32,
        value: *mut ffi::PyObject,
        slot_flags: usize,
    ) -> Result<*mut ffi::PyObject, *mut ffi::PyObject> {
        if index >= self.slot_len() && !self.reserve(u32::from(self.manager().slot_count()).max(index + 1)) {
            return Err(value);
        }
        // SAFETY: index is inside the array now; `value` is a valid object or null.
        unsafe {
            let place = (*self.0.as_ptr()).slots.add(index as usize);
            let old = (*place).value();
            *place = Slot::new(value, slot_flags);
            if !value.is_null() {
                self.track(value);
            }
            Ok(old)
        }
    }
    /// Stores a value as committed: no flags, no old value kept. Takes over the reference.
    pub fn set_committed(self, index: u32, value: *mut ffi::PyObject) -> PyResult<()> {
        self.store(index, value, 0)?;
        self.forget_committed(index);
        Ok(())
    }
    /// Stores a value that the database made while a flush runs; what was changed stays changed until it succeeded.
    pub fn set_made(self, index: u32, value: *mut ffi::PyObject) -> PyResult<()> {
        self.store(index, value, self.slot(index).flags() & slots::MODIFIED)
    }
    fn store(self, index: u32, value: *mut ffi::PyObject, slot_flags: usize) -> PyResult<()> {
        match self.replace_slot(index, value, slot_flags) {
            Ok(old) => {
                // SAFETY: `old` was owned by the slot.
                unsafe { ffi::Py_XDECREF(old) };
                Ok(())
            }
            Err(value) => {
                // SAFETY: the reference came back to us.
                unsafe { ffi::Py_XDECREF(value) };
                Err(pyo3::exceptions::PyMemoryError::new_err(()))
            }
        }
    }
    /// Changes only the flags of a slot.
    pub fn set_slot_flags(self, index: u32, slot_flags: usize) {
        let value = self.slot(index).value();
        if slot_flags == 0 && index >= self.slot_len() {
            return;
        }
        // The same pointer goes back in, so ownership does not change; a failed growth only loses a flag.
        let _ = self.replace_slot(index, value, slot_flags);
    }
    /// Tells the collector about the carrier as soon as it holds something that can be part of a cycle.
    #[inline]
    pub fn track(self, value: *mut ffi::PyObject) {
        // SAFETY: `value` is a valid object; inline carriers have a collector header.
        unsafe {
            if self.flags() & (flags::INLINE | flags::GC_TRACKED) == flags::INLINE
                && (*ffi::Py_TYPE(value)).tp_flags & ffi::Py_TPFLAGS_HAVE_GC != 0
            {
                self.add_flags(flags::GC_TRACKED);
                if ffi::PyObject_GC_IsTracked(self.carrier()) == 0 {
                    ffi::PyObject_GC_Track(self.carrier().cast());
                }
                if !self.owner().is_null() {
                    (*self.owner()).may_hold_related = true; // an expiry lets go of such values at once
                }
            }
        }
    }

    // ---- committed values -----------------------------------------------------------------------------------------

    /// The old value of a modified attribute, borrowed. `None`: not modified. `Some(null)`: modified, no old value.
    pub fn committed(self, index: u32) -> Option<*mut ffi::PyObject> {
        if !self.slot(index).is_modified() {
            return None;
        }
        Some(self.extra().map_or(ptr::null_mut(), |extra| {
            extra.committed.iter().find(|(at, _)| *at == index).map_or(ptr::null_mut(), |(_, value)| *value)
        }))
    }
    /// Keeps an old value (takes over the reference) unless one is kept already.
    pub fn keep_committed(self, index: u32, value: *mut ffi::PyObject) {
        self.track(value);
        self.extra_mut().committed.push((index, value));
    }
    /// Forgets the old value of one attribute.
    pub fn forget_committed(self, index: u32) {
        let Some(extra) = self.extra_opt_mut() else { return };
        if let Some(at) = extra.committed.iter().position(|(at, _)| *at == index) {
            let (_, value) = extra.committed.swap_remove(at);
            // SAFETY: the entry owned its value.
            unsafe { ffi::Py_DECREF(value) }
        }
    }
    /// Everything as it is now is committed: clears modified bits, old values and queued collection changes.
    pub fn commit_all(self) {
        for index in 0..self.slot_len() {
            let slot = self.slot(index);
            if slot.flags() != 0 {
                let keep = if slot.value().is_null() { slot.flags() & slots::EXPIRED } else { 0 };
                // SAFETY: index is inside the array.
                unsafe { *(*self.0.as_ptr()).slots.add(index as usize) = Slot::new(slot.value(), keep) }
            }
        }
        self.clear_flags(flags::MODIFIED | flags::EXPIRED);
        if let Some(extra) = self.extra_opt_mut() {
            let committed = std::mem::take(&mut extra.committed);
            let pending = extra.rare.as_mut().map(|rare| std::mem::take(&mut rare.pending)).unwrap_or_default();
            for (_, value) in committed {
                // SAFETY: the entry owned its value.
                unsafe { ffi::Py_DECREF(value) }
            }
            drop_pending(pending);
        }
    }

    // ---- extra ----------------------------------------------------------------------------------------------------

    /// The extra part, if there is one. Not to be kept across Python calls.
    #[inline]
    pub fn extra(self) -> Option<&'static StateExtra> {
        // SAFETY: contract of `StateRef`; callers do not keep the reference.
        unsafe { (*self.0.as_ptr()).extra.as_deref() }
    }
    /// The extra part, if there is one, for change. Not to be kept across Python calls.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub fn extra_opt_mut(self) -> Option<&'static mut StateExtra> {
        // SAFETY: as above; the GIL makes it exclusive.
        unsafe { (*self.0.as_ptr()).extra.as_deref_mut() }
    }
    /// The extra part, made when missing. Not to be kept across Python calls.
    #[inline]
    pub fn extra_mut(self) -> &'static mut StateExtra {
        // SAFETY: as above.
        unsafe { (*self.0.as_ptr()).extra.get_or_insert_default() }
    }
    /// The changes queued on one collection, made when there are none. Not to be kept across Python calls.
    pub fn pending_mutations(self, index: u32) -> &'static mut PendingMutations {
        let pending = &mut self.rare_mut().pending;
        let at = pending.iter().position(|(at, _)| *at == index).unwrap_or_else(|| {
            pending.push((index, PendingMutations::default()));
            pending.len() - 1
        });
        &mut pending[at].1
    }
    /// The rarely needed part, if there is one. Not to be kept across Python calls.
    #[inline]
    pub fn rare(self) -> Option<&'static RareExtra> {
        self.extra().and_then(|extra| extra.rare.as_deref())
    }
    /// The rarely needed part, if there is one, for change. Not to be kept across Python calls.
    #[inline]
    pub fn rare_opt_mut(self) -> Option<&'static mut RareExtra> {
        self.extra_opt_mut().and_then(|extra| extra.rare.as_deref_mut())
    }
    /// The rarely needed part, made when missing. Not to be kept across Python calls.
    pub fn rare_mut(self) -> &'static mut RareExtra {
        self.extra_mut().rare.get_or_insert_default()
    }
    /// The handle that outlives this state.
    pub fn tombstone(self) -> Rc<Tombstone> {
        let core = self.0.as_ptr();
        Rc::clone(
            self.extra_mut().tombstone.get_or_insert_with(|| {
                Rc::new(Tombstone { state: Cell::new(core), last_key: Cell::new(ptr::null_mut()) })
            }),
        )
    }

    // ---- lifecycle ------------------------------------------------------------------------------------------------

    /// In a session?
    #[inline]
    pub fn is_attached(self) -> bool {
        !self.owner().is_null()
    }
    /// Neither identity nor session.
    pub fn is_transient(self) -> bool {
        !self.has_key() && !self.is_attached()
    }
    /// In a session, without identity.
    pub fn is_pending(self) -> bool {
        !self.has_key() && self.is_attached()
    }
    /// In a session, with identity, not deleted.
    pub fn is_persistent(self) -> bool {
        self.has_key() && self.is_attached() && !self.has(flags::DELETED)
    }
    /// Deleted by a flush of the running transaction.
    pub fn is_deleted(self) -> bool {
        self.has_key() && self.is_attached() && self.has(flags::DELETED)
    }
    /// Has identity, is in no session.
    pub fn is_detached(self) -> bool {
        self.has_key() && !self.is_attached()
    }

    // ---- validity of values, and places in lists ----------------------------------------------------------------------

    /// Is the whole state waiting to be expired by an `expire_all` or commit?
    #[inline]
    pub fn is_outdated(self) -> bool {
        let owner = self.owner();
        // SAFETY: contract of `StateRef`; a unit of work clears `owner` of its states before it goes away.
        unsafe { !owner.is_null() && (*owner).generation != (*self.0.as_ptr()).stamp && !self.has_any(flags::IN_LIST) }
    }
    /// The values are valid from now on. In a list they are anyway.
    #[inline]
    pub fn mark_current(self) {
        let owner = self.owner();
        if !owner.is_null() && !self.has_any(flags::IN_LIST) {
            // SAFETY: as above.
            unsafe { (*self.0.as_ptr()).stamp = (*owner).generation }
        }
    }
    /// Position in `owner.new` or `owner.dirty`; means nothing for a state that is in neither.
    #[inline]
    pub fn list_pos(self) -> u32 {
        // SAFETY: contract of `StateRef`.
        unsafe { (*self.0.as_ptr()).stamp }
    }
    /// The state stands in a list now; `list` is its flag.
    #[inline]
    pub fn enter_list(self, list: u16, position: u32) {
        self.add_flags(list);
        // SAFETY: contract of `StateRef`.
        unsafe { (*self.0.as_ptr()).stamp = position }
    }
    /// The state counts as out of its list, with the values it has.
    #[inline]
    pub fn leave_list(self) {
        self.clear_flags(flags::IN_LIST);
        self.mark_current();
    }
}

fn drop_pending(pending: Vec<(u32, PendingMutations)>) {
    for (_, mutations) in pending {
        for object in mutations.added.into_iter().chain(mutations.removed) {
            // SAFETY: queued objects are owned.
            unsafe { ffi::Py_DECREF(object) }
        }
    }
}

impl StateCore {
    /// A core without values; `manager` may be null and is owned by the core afterwards.
    pub fn new(manager: *const ManagerCore, flags: u16) -> Self {
        if !manager.is_null() {
            // SAFETY: a live manager's object pointer is valid.
            unsafe { ffi::Py_INCREF((*manager).object_ptr()) }
        }
        Self {
            slots: ptr::null_mut(),
            manager,
            owner: ptr::null_mut(),
            key: ptr::null_mut(),
            extra: None,
            flags,
            slot_len: 0,
            stamp: 0,
            key_hash: 0,
            new_tx: 0,
            dirty_tx: 0,
            load_serial: 0,
        }
    }

    /// As `traverse`, for a class made by PyO3.
    ///
    /// # Safety
    /// Called from a carrier's `__traverse__` only.
    pub unsafe fn traverse_with(&self, visit: &pyo3::gc::PyVisit<'_>) -> Result<(), pyo3::PyTraverseError> {
        struct Borrowed<'a, 'v>(&'a pyo3::gc::PyVisit<'v>, Result<(), pyo3::PyTraverseError>);
        unsafe extern "C" fn forward(object: *mut ffi::PyObject, arg: *mut std::ffi::c_void) -> i32 {
            // SAFETY: `arg` is the `Borrowed` below; the handle is visited, never dropped.
            unsafe {
                let borrowed = &mut *arg.cast::<Borrowed<'_, '_>>();
                let handle = std::mem::ManuallyDrop::new(std::mem::transmute::<*mut ffi::PyObject, Py<PyAny>>(object));
                borrowed.1 = borrowed.0.call(&*handle);
                i32::from(borrowed.1.is_err())
            }
        }
        let mut borrowed = Borrowed(visit, Ok(()));
        // SAFETY: `forward` gets what it expects.
        unsafe { self.traverse(forward, (&raw mut borrowed).cast()) };
        borrowed.1
    }

    /// Visits every owned reference for the collector.
    ///
    /// # Safety
    /// Called from a carrier's `tp_traverse` only.
    pub unsafe fn traverse(&self, visit: ffi::visitproc, arg: *mut std::ffi::c_void) -> i32 {
        macro_rules! visit {
            ($object:expr) => {{
                let object = $object;
                if !object.is_null() {
                    // SAFETY: `visit` is the collector's own function; the object is owned by this state.
                    let result = unsafe { visit(object, arg) };
                    if result != 0 {
                        return result;
                    }
                }
            }};
        }
        for index in 0..self.slot_len as usize {
            // SAFETY: index is inside the array.
            visit!(unsafe { (*self.slots.add(index)).value() });
        }
        if !self.manager.is_null() {
            // SAFETY: the state owns its manager.
            visit!(unsafe { (*self.manager).object_ptr() });
        }
        visit!(self.key);
        if let Some(extra) = self.extra.as_deref() {
            for (_, value) in &extra.committed {
                visit!(*value);
            }
            visit!(extra.view);
            visit!(extra.load_options);
            visit!(extra.load_path);
            if let Some(rare) = extra.rare.as_deref() {
                for (_, value) in rare.empty_collections.iter().chain(&rare.last_known) {
                    visit!(*value);
                }
                for (_, pending) in &rare.pending {
                    for object in pending.added.iter().chain(pending.removed.iter()) {
                        visit!(*object);
                    }
                }
                visit!(rare.callables);
                visit!(rare.info);
                visit!(rare.identity_token);
            }
        }
        0
    }

    /// Drops everything Python-visible this state owns except its manager. Safe to call twice and during collection.
    pub fn clear(&mut self) {
        let slots = std::mem::replace(&mut self.slots, ptr::null_mut());
        let slot_len = std::mem::take(&mut self.slot_len);
        let key = std::mem::replace(&mut self.key, ptr::null_mut());
        let extra = self.extra.take();
        if let Some(tombstone) = extra.as_ref().and_then(|extra| extra.tombstone.as_ref()) {
            tombstone.state.set(ptr::null_mut());
            // SAFETY: `key` is valid or null; the tombstone gets its own reference.
            unsafe { ffi::Py_XINCREF(key) };
            tombstone.last_key.set(key);
        }
        // SAFETY: all of these were owned by the state and are unreachable from it now.
        unsafe {
            for index in 0..slot_len as usize {
                ffi::Py_XDECREF((*slots.add(index)).value());
            }
            slots::free(slots);
            ffi::Py_XDECREF(key);
            if let Some(extra) = extra {
                for (_, value) in extra.committed {
                    ffi::Py_XDECREF(value);
                }
                instance_state::forget_object(extra.view);
                for object in [extra.view, extra.load_options, extra.load_path] {
                    ffi::Py_XDECREF(object);
                }
                if let Some(rare) = extra.rare {
                    for (_, value) in rare.empty_collections.into_iter().chain(rare.last_known) {
                        ffi::Py_XDECREF(value);
                    }
                    drop_pending(rare.pending);
                    for object in [rare.callables, rare.info, rare.identity_token] {
                        ffi::Py_XDECREF(object);
                    }
                }
            }
        }
    }
}

/// The state of a mapped object, whichever carrier it has; `None` for anything else.
#[inline]
pub fn state_of(object: &Bound<'_, PyAny>) -> Option<StateRef> {
    // SAFETY: a living object; the caller's handle keeps it alive.
    unsafe { state_of_ptr(object.py(), object.as_ptr()) }
}

/// The state of an object that carries it inline and was instrumented: a look that runs nothing.
///
/// # Safety
/// As `state_of_ptr`.
#[inline]
pub unsafe fn inline_state_of(object: *mut ffi::PyObject) -> Option<StateRef> {
    // SAFETY: promised by the caller; the layout is checked by `is_instance`.
    unsafe {
        if !instance::is_instance(object) {
            return None;
        }
        let core = &raw mut (*object.cast::<InstanceObject>()).core;
        (!(*core).manager.is_null()).then(|| StateRef::from_ptr(core))
    }
}

/// As `state_of`, for a borrowed pointer.
///
/// # Safety
/// `object` is a living object and stays alive as long as the result is used.
#[inline]
pub unsafe fn state_of_ptr(py: Python<'_>, object: *mut ffi::PyObject) -> Option<StateRef> {
    // SAFETY: promised by the caller; the layout is checked by `is_instance` / `is_carrier`.
    unsafe {
        if instance::is_instance(object) {
            let core = &raw mut (*object.cast::<InstanceObject>()).core;
            if (*core).manager.is_null() && !instance::adopt_manager(py, object) {
                return None;
            }
            return Some(StateRef::from_ptr(core));
        }
        let carrier = ffi::PyObject_GenericGetAttr(object, names::sa_instance_state(py).as_ptr());
        if carrier.is_null() {
            ffi::PyErr_Clear();
        } else {
            // The object's own dict holds another reference, so the carrier outlives this one.
            ffi::Py_DECREF(carrier);
            if let Some(state) = instance_state::carrier_core(py, carrier, object) {
                return Some(state);
            }
        }
        adopt_external(py, object)
    }
}

/// Gives a carrier to an object of an instrumented class that has none yet: made without `__init__`, or a copy that
/// brought its original's along.
#[cold]
unsafe fn adopt_external(py: Python<'_>, object: *mut ffi::PyObject) -> Option<StateRef> {
    // SAFETY: promised by `state_of_ptr`'s caller.
    unsafe {
        let manager = ManagerCore::lookup(py, ffi::Py_TYPE(object));
        if manager.is_null() || (*manager).is_inline() {
            return None;
        }
        let object = Bound::from_borrowed_ptr(py, object);
        instance_state::attach_carrier(&object, &*manager).ok()
    }
}
