//! What hydration asks of attributes: expiry, and collections filled from rows without events.

use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;

use crate::adapter::EventSource;
use crate::attribute::{self, AttrCore};
use crate::collection;
use crate::expiry;
use crate::flags;
use crate::state::StateRef;

fn attr_of(state: StateRef, index: u32) -> PyResult<&'static AttrCore> {
    state.manager().attr(index).ok_or_else(|| PyKeyError::new_err(index))
}

/// Expires the values of a state that missed an `expire_all`.
pub fn apply_pending_expiry(py: Python<'_>, state: StateRef) -> PyResult<()> {
    expiry::apply_pending(py, state)
}

/// An empty collection as the committed value of an attribute.
pub fn new_collection<'py>(py: Python<'py>, state: StateRef, attr: u32) -> PyResult<Bound<'py, PyAny>> {
    collection::new_committed(py, state, attr_of(state, attr)?)
}

/// Appends an object to a collection that is being loaded.
pub fn append<'py>(collection: &Bound<'py, PyAny>, member: &Bound<'py, PyAny>) -> PyResult<()> {
    collection::append_to(collection, member.clone(), &EventSource::Silent)
}

/// Makes the attribute's kind of collection of these objects and stores it as committed value.
pub fn store_collection<'py>(py: Python<'py>, state: StateRef, attr: u32, members: &Bound<'py, PyAny>) -> PyResult<()> {
    attribute::set_committed_value(py, state, attr_of(state, attr)?, members)?;
    Ok(())
}

/// Tells the owner of a state that was just given values if these may lead to other objects: an expiry lets go of such values
/// at once, and of all others when they are next asked for.
#[inline]
pub fn note_related(state: StateRef) {
    if state.flags() & (flags::INLINE | flags::GC_TRACKED) != flags::INLINE && !state.owner().is_null() {
        // SAFETY: a unit of work clears `owner` of its states before it goes away.
        unsafe { (*state.owner()).may_hold_related = true };
    }
}
