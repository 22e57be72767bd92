//! All sessions that are alive, for `close_all_sessions()` and for events listened to on a Session class.
//!
//! Sessions come and go with every request: entering the chain of the living and leaving it sets a few pointers.
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::raw;
use crate::unit_of_work_core::{UnitOfWorkCore, UowRef};

static NEWEST: AtomicPtr<UnitOfWorkCore> = AtomicPtr::new(ptr::null_mut());
static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Where a session stands in the chain.
#[derive(Default)]
pub struct Place {
    /// The session's number (`hash_key`); zero until it has entered.
    pub number: u64,
    is_in: bool,
    older: Option<NonNull<UnitOfWorkCore>>,
    newer: Option<NonNull<UnitOfWorkCore>>,
}

impl UowRef {
    /// Gives a new session its number and enters it; once.
    pub fn enter_living(self) {
        let place = &mut self.core().place;
        if place.number != 0 {
            return;
        }
        place.number = LAST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1;
        place.is_in = true;
        place.older = NonNull::new(NEWEST.swap(self.as_ptr(), Ordering::Relaxed));
        if let Some(mut older) = place.older {
            // SAFETY: who stands in the chain is alive: `leave_living` is called before a core goes.
            unsafe { older.as_mut() }.place.newer = NonNull::new(self.as_ptr());
        }
    }

    /// Takes a session that goes out of the chain.
    pub fn leave_living(self) {
        let place = &mut self.core().place;
        if !std::mem::take(&mut place.is_in) {
            return;
        }
        let (older, newer) = (place.older.take(), place.newer.take());
        // SAFETY: as in `enter_living`; neighbours are other cores than this one.
        unsafe {
            if let Some(mut older) = older {
                older.as_mut().place.newer = newer;
            }
            match newer {
                Some(mut newer) => newer.as_mut().place.older = older,
                None => NEWEST.store(older.map_or(ptr::null_mut(), NonNull::as_ptr), Ordering::Relaxed),
            }
        }
    }
}

/// The sessions that are alive, oldest first.
#[pyfunction]
pub fn live_sessions(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let mut found = Vec::new();
    let mut next = NonNull::new(NEWEST.load(Ordering::Relaxed));
    while let Some(core) = next {
        // SAFETY: as in `enter_living`; nothing in this loop runs Python code.
        unsafe {
            found.extend(raw::living(py, core.as_ref().session.0));
            next = core.as_ref().place.older;
        }
    }
    found.reverse();
    PyList::new(py, found)
}
