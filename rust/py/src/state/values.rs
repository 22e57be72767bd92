//! Attribute values of a state: slots, and the old values of changed ones.
use std::ptr;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::flags;
use crate::slots::{self, Slot};

use super::StateRef;

impl StateRef {
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
        let before = self.take_committed(index);
        let stored = self.store(index, value, 0);
        // SAFETY: the entry owned its value.
        unsafe { ffi::Py_XDECREF(before) };
        stored
    }
    /// Stores a value that the database made while a flush runs; what was changed stays changed until it succeeded.
    pub fn set_made(self, index: u32, value: *mut ffi::PyObject) -> PyResult<()> {
        self.store(index, value, self.slot(index).flags() & slots::MODIFIED)
    }
    /// Stores a value and flags, taking over the reference, and drops the old value: that may run Python code.
    #[inline]
    pub fn store(self, index: u32, value: *mut ffi::PyObject, slot_flags: usize) -> PyResult<()> {
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
        // SAFETY: the entry owned its value.
        unsafe { ffi::Py_XDECREF(self.take_committed(index)) }
    }
    /// Hands the old value of one attribute over to the caller; null if none is kept.
    pub fn take_committed(self, index: u32) -> *mut ffi::PyObject {
        let Some(extra) = self.extra_opt_mut() else { return std::ptr::null_mut() };
        match extra.committed.iter().position(|(at, _)| *at == index) {
            Some(at) => extra.committed.swap_remove(at).1,
            None => std::ptr::null_mut(),
        }
    }
    /// One attribute is committed as it is.
    pub fn commit(self, index: u32) {
        self.set_slot_flags(index, self.slot(index).committed().flags());
        self.forget_committed(index);
    }
    /// Everything as it is now is committed: clears modified bits, old values and queued collection changes.
    pub fn commit_all(self) {
        for index in 0..self.slot_len() {
            let slot = self.slot(index);
            if slot.flags() != 0 {
                // SAFETY: index is inside the array.
                unsafe { *(*self.0.as_ptr()).slots.add(index as usize) = slot.committed() }
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
            for (_, mutations) in pending {
                mutations.release();
            }
        }
    }
}
