//! Peers: objects that the same result brought, and that lack the same attribute. Nothing is recorded for this: every load
//! marks the states it builds with its serial anyway.
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::flags;
use crate::held::Held;
use crate::manager::ManagerCore;
use crate::state::StateRef;
use crate::unit_of_work_core::UowRef;

fn load_options(state: StateRef) -> usize {
    state.extra().map_or(0, |extra| extra.load_options as usize)
}

/// Is `other` unchanged in its identity, loaded by the same options as `state`, and without a value of attribute `attr`?
fn is_peer(state: StateRef, other: StateRef, holder: &ManagerCore, attr: u32) -> bool {
    other.load_serial() == state.load_serial()
        && !other.is_outdated()
        && !other.has(flags::DELETED)
        && !other.has(flags::EXPIRED)
        && other.identity_token().is_null()
        && other.slot(attr).value().is_null()
        && !other.slot(attr).is_modified()
        && load_options(other) == load_options(state)
        && other.manager().is_subclass_of(holder)
}

/// `(object, identity, False)` of the state's peers, itself among them, as select-in loading takes them. `holder` is the class
/// that has the relationship.
pub fn of<'py>(
    py: Python<'py>,
    uow: UowRef,
    state: StateRef,
    holder: &ManagerCore,
    attr: u32,
) -> PyResult<Bound<'py, PyList>> {
    let found: Vec<Held> = if state.load_serial() == 0 {
        Held::new(state).into_iter().collect()
    } else {
        uow.core().identity.held(|other| other == state || is_peer(state, other, holder, attr))
    };
    let peers = PyList::empty(py);
    for held in &found {
        let state = held.state();
        let Some(object) = state.object(py) else { continue };
        // SAFETY: the key of a persistent state is a valid object.
        let Some(key) = (unsafe { Bound::from_borrowed_ptr_or_opt(py, state.key()) }) else { continue };
        peers.append(PyTuple::new(py, [object, key, pyo3::types::PyBool::new(py, false).to_owned().into_any()])?)?;
    }
    Ok(peers)
}
