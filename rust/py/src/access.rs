//! The functions of `orm.attributes`: access to attributes by name, on objects or on their states.
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::adapter::{CollectionAdapter, EventSource, event_source};
use crate::attribute::{self, AttrCore, AttrEvent, AttrKind, Initiator, Op, fire};
use crate::flags::passive;
use crate::instance_state::{InstanceState, Living, expect_state};
use crate::slots;
use crate::{collection, descriptor, errors, expiry, history, names, relationship, scalar_object, token};

/// The state of an object, or of its `InstanceState`.
fn any_state<'py>(target: &Bound<'py, PyAny>) -> PyResult<Living<'py>> {
    if target.is_instance_of::<InstanceState>() {
        return expect_state(target);
    }
    Living::of_object(target).ok_or_else(|| errors::unmapped_instance(target.py(), target))
}

fn find<'py>(target: &Bound<'py, PyAny>, key: &Bound<'py, PyString>) -> PyResult<(Living<'py>, &'static AttrCore)> {
    let state = any_state(target)?;
    let attr = state.manager().expect_attr(key)?;
    Ok((state, attr))
}

/// The `InstanceState` of an object; `AttributeError` when it has none.
#[pyfunction]
pub fn instance_state<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    attribute::related_state(obj)?.view(obj.py())
}

/// The live `__dict__` of an object.
#[pyfunction]
pub fn instance_dict<'py>(obj: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    crate::instance_dict::of_object(obj)
}

/// Reads an attribute; symbols come back as the passive flags say.
#[pyfunction]
#[pyo3(signature = (obj, key, passive=passive::OFF))]
pub fn get_attribute<'py>(
    obj: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
    passive: u32,
) -> PyResult<Bound<'py, PyAny>> {
    let (state, attr) = find(obj, key)?;
    attribute::get(obj.py(), *state, attr, passive)
}

/// Sets an attribute, with events. `check_old` and `pop` as in `impl.set` of related objects; `adapt`: the value of a
/// collection must be of a like kind.
#[pyfunction]
#[allow(clippy::too_many_arguments, clippy::fn_params_excessive_bools)] // SQLAlchemy's own arguments
#[pyo3(signature = (obj, key, value, initiator=None, passive=passive::OFF, check_old=None, pop=false, adapt=true))]
pub fn set_attribute<'py>(
    obj: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
    value: &Bound<'py, PyAny>,
    initiator: Option<Bound<'py, PyAny>>,
    passive: u32,
    check_old: Option<Bound<'py, PyAny>>,
    pop: bool,
    adapt: bool,
) -> PyResult<()> {
    let (state, attr) = find(obj, key)?;
    let py = obj.py();
    let initiator = token::initiator(initiator.as_ref());
    match attr.kind {
        AttrKind::Scalar => attribute::set(py, *state, attr, value, initiator),
        AttrKind::Object => scalar_object::set(py, *state, attr, value, initiator, passive, check_old.as_ref(), pop),
        AttrKind::Collection => collection::set(py, *state, attr, value, passive, adapt),
    }
}

/// Appends to a collection or sets a related object, on behalf of `initiator`.
#[pyfunction]
#[pyo3(signature = (obj, key, value, initiator=None, passive=passive::OFF))]
pub fn append_attribute<'py>(
    obj: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
    value: &Bound<'py, PyAny>,
    initiator: Option<Bound<'py, PyAny>>,
    passive: u32,
) -> PyResult<()> {
    let (state, attr) = find(obj, key)?;
    relationship::append(obj.py(), *state, attr, value, token::initiator(initiator.as_ref()), passive)
}

/// Removes from a collection or unsets a related object; one that is not there is an error.
#[pyfunction]
#[pyo3(signature = (obj, key, value, initiator=None, passive=passive::OFF))]
pub fn remove_attribute<'py>(
    obj: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
    value: &Bound<'py, PyAny>,
    initiator: Option<Bound<'py, PyAny>>,
    passive: u32,
) -> PyResult<()> {
    let (state, attr) = find(obj, key)?;
    relationship::remove(obj.py(), *state, attr, value, token::initiator(initiator.as_ref()), passive)
}

/// As `remove_attribute`, tolerant of an object that is not there.
#[pyfunction]
#[pyo3(signature = (obj, key, value, initiator=None, passive=passive::OFF))]
pub fn pop_attribute<'py>(
    obj: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
    value: &Bound<'py, PyAny>,
    initiator: Option<Bound<'py, PyAny>>,
    passive: u32,
) -> PyResult<()> {
    let (state, attr) = find(obj, key)?;
    relationship::pop(obj.py(), *state, attr, value, token::initiator(initiator.as_ref()), passive)
}

/// Deletes an attribute, with events.
#[pyfunction]
pub fn del_attribute(obj: &Bound<'_, PyAny>, key: &Bound<'_, PyString>) -> PyResult<()> {
    let (state, attr) = find(obj, key)?;
    attribute::delete(obj.py(), *state, attr)
}

/// Stores a value as if it had been loaded; returns what is stored (a collection is made anew).
#[pyfunction]
pub fn set_committed_value<'py>(
    obj: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let (state, attr) = find(obj, key)?;
    expiry::apply_pending(obj.py(), *state)?;
    attribute::set_committed_value(obj.py(), *state, attr, value)
}

/// `(added, unchanged, deleted)` of an attribute.
#[pyfunction]
#[pyo3(signature = (obj, key, passive=passive::OFF))]
pub fn get_history<'py>(
    obj: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
    passive: u32,
) -> PyResult<Bound<'py, PyTuple>> {
    let (state, attr) = find(obj, key)?;
    history::tuple_of(obj.py(), *state, attr, passive)
}

/// Marks an attribute as changed, whatever its value.
#[pyfunction]
pub fn flag_modified(obj: &Bound<'_, PyAny>, key: &Bound<'_, PyString>) -> PyResult<()> {
    let py = obj.py();
    let (state, attr) = find(obj, key)?;
    expiry::apply_pending(py, *state)?;
    if attribute::is_read_only(*state) {
        // the value was changed in place before anybody asked: it is forgotten, and loaded as it is in the database
        expiry::expire_attribute(py, *state, attr, false)?;
        return Err(attribute::refused(py, attr));
    }
    if attr.listens(AttrEvent::Modified) {
        fire(py, AttrEvent::Modified, attr, *state, [token::of(py, Initiator { attr, op: Op::Modified })?])?;
    }
    if !attr.send_modified_events.get() {
        return Ok(());
    }
    let slot = state.slot(attr.index());
    if slot.value().is_null() {
        return Err(errors::invalid_request(
            py,
            format!("Can't flag attribute '{}' modified; it's not present in the object state", attr.key(py)),
        ));
    }
    state.forget_committed(attr.index());
    state.set_slot_flags(attr.index(), slot.flags() & !slots::MODIFIED);
    if attr.kind == AttrKind::Collection {
        return collection::modified(py, *state, attr);
    }
    attribute::modified_event(py, *state, attr, std::ptr::null_mut())
}

/// Enters an object in its session's dirty list without a change.
#[pyfunction]
pub fn flag_dirty(obj: &Bound<'_, PyAny>) -> PyResult<()> {
    let state = any_state(obj)?;
    expiry::apply_pending(obj.py(), *state)?;
    if attribute::is_read_only(*state) {
        return Err(errors::read_only(obj.py(), "flag_dirty()"));
    }
    attribute::mark_modified(obj.py(), *state)
}

/// An empty collection as the attribute's value; returns its adapter.
#[pyfunction]
pub fn init_collection<'py>(
    obj: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, CollectionAdapter>> {
    let (state, attr) = find(obj, key)?;
    collection::init(obj.py(), *state, attr)
}

fn source(initiator: Option<&Bound<'_, PyAny>>) -> Option<Option<Initiator>> {
    match event_source(initiator) {
        EventSource::Silent => None,
        EventSource::From(from) => Some(from),
    }
}

/// Events of an append to a collection whose methods are Python's; returns what to store.
#[pyfunction]
#[pyo3(signature = (state, attr, item, initiator=None, key=None))]
pub fn collection_append_event<'py>(
    state: &Bound<'py, PyAny>,
    attr: &Bound<'py, PyAny>,
    item: Bound<'py, PyAny>,
    initiator: Option<Bound<'py, PyAny>>,
    key: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let Some(from) = source(initiator.as_ref()) else { return Ok(item) };
    let (owner, attr) = (any_state(state)?, descriptor::core_of(attr)?);
    collection::fire_append(item.py(), *owner, attr, item, from, key)
}

/// Events of an item that is in the collection already.
#[pyfunction]
#[pyo3(signature = (state, attr, item, initiator=None, key=None))]
pub fn collection_append_wo_mutation_event<'py>(
    state: &Bound<'py, PyAny>,
    attr: &Bound<'py, PyAny>,
    item: Bound<'py, PyAny>,
    initiator: Option<Bound<'py, PyAny>>,
    key: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let _ = key;
    let Some(from) = source(initiator.as_ref()) else { return Ok(item) };
    let (owner, attr) = (any_state(state)?, descriptor::core_of(attr)?);
    relationship::cascade_append(item.py(), *owner, attr, &item, from.unwrap_or(Initiator { attr, op: Op::Append }))?;
    Ok(item)
}

/// Events of a removal from such a collection.
#[pyfunction]
#[pyo3(signature = (state, attr, item, initiator=None, key=None))]
pub fn collection_remove_event<'py>(
    state: &Bound<'py, PyAny>,
    attr: &Bound<'py, PyAny>,
    item: &Bound<'py, PyAny>,
    initiator: Option<Bound<'py, PyAny>>,
    key: Option<Bound<'py, PyAny>>,
) -> PyResult<()> {
    let Some(from) = source(initiator.as_ref()) else { return Ok(()) };
    let (owner, attr) = (any_state(state)?, descriptor::core_of(attr)?);
    collection::fire_remove(item.py(), *owner, attr, item, from, key)
}

/// Some item is about to leave such a collection.
#[pyfunction]
#[pyo3(signature = (state, attr, initiator=None, key=None))]
pub fn collection_pre_remove_event<'py>(
    state: &Bound<'py, PyAny>,
    attr: &Bound<'py, PyAny>,
    initiator: Option<Bound<'py, PyAny>>,
    key: Option<Bound<'py, PyAny>>,
) -> PyResult<()> {
    let _ = (initiator, key, &names::NO_KEY);
    let (owner, attr) = (any_state(state)?, descriptor::core_of(attr)?);
    collection::modified(state.py(), *owner, attr)
}
