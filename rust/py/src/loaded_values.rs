//! What hydration asks of attributes: expiry, and collections filled from rows without events.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::flags;
use crate::state::StateRef;

/// Expires the values of a state that missed an `expire_all`.
pub fn apply_pending_expiry(_py: Python<'_>, _state: StateRef) {}

/// An empty collection as the committed value of an attribute.
pub fn new_collection(py: Python<'_>, state: StateRef, attr: u32) -> PyResult<Bound<'_, PyAny>> {
    let collection = PyList::empty(py).into_any();
    state.set_committed(attr, collection.clone().into_ptr())?;
    Ok(collection)
}

/// Appends an object to a collection that is being loaded.
pub fn append(collection: &Bound<'_, PyAny>, member: &Bound<'_, PyAny>) -> PyResult<()> {
    collection.cast::<PyList>()?.append(member)
}

/// Makes the attribute's kind of collection of these objects and stores it as committed value.
pub fn store_collection(py: Python<'_>, state: StateRef, attr: u32, members: &Bound<'_, PyAny>) -> PyResult<()> {
    let collection = new_collection(py, state, attr)?;
    for member in members.try_iter()? {
        append(&collection, &member?)?;
    }
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
