//! Peers: objects whose loads can be one statement. Nothing is recorded for this: every load marks the states it builds with its
//! serial anyway, and an expiry marks those it forgets.
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyList, PyTuple};

use crate::flags;
use crate::held::Held;
use crate::manager::ManagerCore;
use crate::state::StateRef;
use crate::unit_of_work_core::UowRef;

/// Addresses of the loader options and of the path that a state was loaded by.
fn load_source(state: StateRef) -> (usize, usize) {
    state.extra().map_or((0, 0), |extra| (extra.load_options as usize, extra.load_path as usize))
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
        && load_source(other).0 == load_source(state).0
        && other.manager().is_subclass_of(holder)
}

/// Is `other` of the same class, wholly expired and untouched since, and loaded by the same options along the same path?
fn is_expired_peer(state: StateRef, other: StateRef) -> bool {
    let touched = flags::DELETED | flags::IN_DELETED | flags::MODIFIED;
    (other.is_outdated() || other.has(flags::EXPIRED))
        && other.flags() & touched == 0
        && other.identity_token().is_null()
        && load_source(other) == load_source(state)
        && std::ptr::eq(other.manager(), state.manager())
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
    if state.load_serial() == 0 {
        return described(py, &Held::new(state).into_iter().collect::<Vec<_>>());
    }
    described(py, &uow.core().identity.held(|other| other == state || is_peer(state, other, holder, attr)))
}

/// The same of the objects that are wholly expired like `state`.
pub fn expired<'py>(py: Python<'py>, uow: UowRef, state: StateRef) -> PyResult<Bound<'py, PyList>> {
    described(py, &uow.core().identity.held(|other| other == state || is_expired_peer(state, other)))
}

fn described<'py>(py: Python<'py>, found: &[Held]) -> PyResult<Bound<'py, PyList>> {
    let peers = PyList::empty(py);
    for held in found {
        let state = held.state();
        let Some(object) = state.object(py) else { continue };
        // SAFETY: the key of a persistent state is a valid object.
        let Some(key) = (unsafe { Bound::from_borrowed_ptr_or_opt(py, state.key()) }) else { continue };
        peers.append(PyTuple::new(py, [object, key, PyBool::new(py, false).to_owned().into_any()])?)?;
    }
    Ok(peers)
}
