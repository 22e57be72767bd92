//! `StateCore`, the bookkeeping of one mapped object, and `StateRef`, the handle the rest of the core uses.
//!
//! What a handle can do stands in a file by subject: `values` (slots and committed values), `validity` (expiry and the lists of a
//! session), `extra` (what few states have), `tombstone` (what outlives a state). `owned` is what the collector and deallocation
//! see, `find` leads from an object to its state.
mod extra;
mod find;
mod owned;
mod tombstone;
mod validity;
mod values;

use std::ptr::{self, NonNull};
use std::rc::Rc;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::flags;
use crate::instance::InstanceObject;
use crate::instance_state;
use crate::manager::ManagerCore;
use crate::raw;
use crate::slots::Slot;
use crate::unit_of_work_core::UnitOfWorkCore;

pub use extra::{Parent, RareExtra, SharedOptions, StateExtra};
pub use find::{inline_state_of, state_of, state_of_ptr};
pub use tombstone::Tombstone;

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
    /// What few objects have. Objects of one load share it as long as they have nothing but its options.
    pub extra: Option<Rc<StateExtra>>,
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
    /// The mapped object, borrowed; null when it is gone or on its way.
    #[inline]
    pub fn object_ptr(self) -> *mut ffi::PyObject {
        if self.has(flags::INLINE) {
            let carrier = self.carrier();
            // SAFETY: the carrier of a state is not freed yet.
            if unsafe { raw::is_living(carrier) } { carrier } else { ptr::null_mut() }
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
}
