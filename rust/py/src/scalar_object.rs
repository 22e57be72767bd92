//! Scalar-object attributes (many-to-one, one-to-one): setting and deleting, with events in SQLAlchemy's order.
use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::prelude::*;

use crate::attribute::{
    self, AttrCore, AttrEvent, Initiator, Op, fire, is_no_state, modified_event, related_state, store,
};
use crate::flags::passive;
use crate::relationship;
use crate::state::StateRef;
use crate::{errors, expiry, names, token};

/// The old value a change needs: loaded when the attribute keeps active history, else only what is at hand.
fn old_value<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore) -> PyResult<Bound<'py, PyAny>> {
    let passive = if attr.active_history.get() {
        passive::ONLY_PERSISTENT | passive::NO_AUTOFLUSH | passive::LOAD_AGAINST_COMMITTED
    } else {
        (passive::NO_FETCH ^ passive::INIT_OK) | passive::LOAD_AGAINST_COMMITTED | passive::NO_RAISE
    };
    attribute::get(py, state, attr, passive)
}

/// Sets the related object. `check_old`: only when it is the present value (`pop`: else nothing happens, not an error).
#[allow(clippy::too_many_arguments)] // the arguments of SQLAlchemy's `impl.set`
pub fn set<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
    _passive: u32,
    check_old: Option<&Bound<'py, PyAny>>,
    pop: bool,
) -> PyResult<()> {
    if names::DONT_SET.is(value.as_ptr()) {
        return Ok(());
    }
    expiry::apply_pending(py, state)?;
    let old = old_value(py, state, attr)?;
    if let Some(check) = check_old
        && !names::PASSIVE_NO_RESULT.is(old.as_ptr())
        && !check.is(&old)
    {
        if pop {
            return Ok(());
        }
        let owner = state.object(py).map_or_else(|| "<?>".to_owned(), |object| errors::instance_str(&object));
        return Err(PyValueError::new_err(format!(
            "Object {} not associated with {owner} on attribute '{}'",
            errors::instance_str(check),
            attr.key(py)
        )));
    }
    let value = fire_replace(py, state, attr, value, &old, initiator)?;
    store(state, attr, value)
}

fn fire_replace<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
    old: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
) -> PyResult<Bound<'py, PyAny>> {
    let tracks = attr.track_parent.get();
    if tracks && !old.is(value) && !old.is_none() && !is_no_state(old.as_ptr()) {
        relationship::set_has_parent(py, attr, related_state(old)?, state, false)?;
    }
    let source = initiator.unwrap_or(Initiator { attr, op: Op::Replace });
    let mut value = value.clone();
    relationship::check_single_parent(py, attr, &value, Some(old), source)?;
    if attr.listens(AttrEvent::Set) {
        let token = token::of(py, source)?;
        value = fire(py, AttrEvent::Set, attr, state, [value, old.clone(), token])?;
    }
    relationship::cascade_set(py, state, attr, &value, old, source)?;
    relationship::backref_set(py, state, attr, &value, old, source)?;
    modified_event(py, state, attr, old.as_ptr())?;
    if tracks && !value.is_none() {
        relationship::set_has_parent(py, attr, related_state(&value)?, state, true)?;
    }
    Ok(value)
}

/// `del obj.attr`.
pub fn delete(py: Python<'_>, state: StateRef, attr: &'static AttrCore) -> PyResult<()> {
    let old = old_value(py, state, attr)?;
    if attr.track_parent.get() && !old.is_none() && !is_no_state(old.as_ptr()) {
        relationship::set_has_parent(py, attr, related_state(&old)?, state, false)?;
    }
    let source = Initiator { attr, op: Op::Remove };
    if attr.listens(AttrEvent::Remove) {
        fire(py, AttrEvent::Remove, attr, state, [old.clone(), token::of(py, source)?])?;
    }
    if !is_no_state(old.as_ptr()) {
        relationship::cascade_remove(py, state, attr, &old)?;
        relationship::backref_remove(py, state, attr, &old, source)?;
    }
    modified_event(py, state, attr, old.as_ptr())?;
    let existed = attribute::take(state, attr);
    if !existed && !names::PASSIVE_NO_RESULT.is(old.as_ptr()) && !state.has_key() {
        return Err(PyAttributeError::new_err(format!("{} object does not have a value", attr.describe(py))));
    }
    Ok(())
}
