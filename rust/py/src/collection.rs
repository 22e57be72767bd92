//! Collection attributes: loading, replacing, appending and removing, with events in SQLAlchemy's order.
use std::rc::Rc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySet, PyTuple, PyType};

use crate::adapter::{self, AdapterCore, CollectionAdapter, EventSource, adapter_of};
use crate::attribute::{self, AttrCore, AttrEvent, Initiator, Op, fire, modified_event, related_state, store};
use crate::flags::passive;
use crate::list;
use crate::pending::{IdentityList, PendingMutations};
use crate::state::StateRef;
use crate::{errors, expiry, hooks, names, relationship, token, write_only};

/// A new collection tied to its attribute.
fn make<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
) -> PyResult<(Bound<'py, PyAny>, Rc<AdapterCore>)> {
    let adapter = AdapterCore::new(state, attr);
    let factory = attr.collection_factory.borrow().as_ref().map(|factory| factory.clone_ref(py));
    let collection = match factory {
        None => list::make(py, Rc::clone(&adapter))?,
        Some(factory) => {
            let made = factory.bind(py).call0()?;
            tie(&made, &adapter)?;
            made
        }
    };
    if attr.listens(AttrEvent::InitCollection) {
        let view = CollectionAdapter::make(&collection, &adapter)?.into_any();
        fire(py, AttrEvent::InitCollection, attr, state, [collection.clone(), view])?;
    }
    Ok((collection, adapter))
}

/// Ties a collection object to an adapter.
pub fn tie(collection: &Bound<'_, PyAny>, adapter: &Rc<AdapterCore>) -> PyResult<()> {
    if let Some(list) = list::of(collection) {
        list::set_adapter(list, Some(Rc::clone(adapter)));
        return Ok(());
    }
    let view = CollectionAdapter::make(collection, adapter)?;
    collection.setattr(names::sa_adapter(collection.py()), view)
}

/// The members of a collection.
pub fn items<'py>(collection: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    if let Some(list) = list::exact(collection) {
        return Ok(list.iter().collect());
    }
    if let Ok(tuple) = collection.cast_exact::<PyTuple>() {
        return Ok(tuple.iter().collect());
    }
    collection.call_method0("_sa_iterator")?.try_iter()?.collect()
}

/// The members now, for the committed state.
fn snapshot<'py>(collection: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
    if let Some(list) = list::exact(collection) {
        return Ok(list.to_tuple());
    }
    PyTuple::new(collection.py(), items(collection)?)
}

/// The empty collection of an attribute that was never set: kept aside until its first change.
pub fn empty_collection<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore) -> PyResult<Bound<'py, PyAny>> {
    let index = attr.index();
    if let Some(known) = known_empty(py, state, index) {
        return Ok(known);
    }
    let (collection, adapter) = make(py, state, attr)?;
    // Making it may have run code that asked for the same one.
    if let Some(known) = known_empty(py, state, index) {
        return Ok(known);
    }
    adapter.empty.set(true);
    state.track(collection.as_ptr());
    state.rare_mut().empty_collections.push((index, collection.clone().into_ptr()));
    Ok(collection)
}

fn known_empty(py: Python<'_>, state: StateRef, index: u32) -> Option<Bound<'_, PyAny>> {
    let (_, known) = state.rare()?.empty_collections.iter().find(|(at, _)| *at == index)?;
    // SAFETY: owned by the state.
    Some(unsafe { Bound::from_borrowed_ptr(py, *known) })
}

/// The first change of an empty collection: it becomes the attribute's value. What was queued while the object had a row (its
/// INSERT was rolled back since) waits for nothing any more.
pub fn store_empty(state: StateRef, adapter: &AdapterCore) {
    adapter.empty.set(false);
    let index = adapter.attr.index();
    if let Some(collection) = take_empty(state, index) {
        let keep = state.slot(index).flags();
        match state.replace_slot(index, collection, keep) {
            // SAFETY: what comes back was owned by the slot, or is the collection that found no room.
            Ok(old) | Err(old) => unsafe { ffi::Py_XDECREF(old) },
        }
    }
    drop_pending(state, index);
}

fn take_empty(state: StateRef, index: u32) -> Option<*mut ffi::PyObject> {
    let empties = &mut state.rare_opt_mut()?.empty_collections;
    let at = empties.iter().position(|(at, _)| *at == index)?;
    Some(empties.swap_remove(at).1)
}

/// Records that a collection changes: keeps its members of before once.
pub fn modified(py: Python<'_>, state: StateRef, attr: &'static AttrCore) -> PyResult<()> {
    if attr.write_only.get() {
        modified_event(py, state, attr, std::ptr::null_mut())?;
        return write_only::mark(py, state, attr);
    }
    let slot = state.slot(attr.index());
    if attr.send_modified_events.get() && !slot.is_modified() && !slot.value().is_null() {
        // SAFETY: owned by the slot, held during the copy.
        let collection = unsafe { Bound::from_borrowed_ptr(py, slot.value()) };
        let before = snapshot(&collection)?;
        return modified_event(py, state, attr, before.as_ptr());
    }
    modified_event(py, state, attr, std::ptr::null_mut())
}

/// The events of an append; returns what is to be stored.
pub fn fire_append<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    item: Bound<'py, PyAny>,
    initiator: Option<Initiator>,
    key: Option<Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let source = initiator.unwrap_or(Initiator { attr, op: Op::Append });
    relationship::check_single_parent(py, attr, &item, None, source)?;
    let mut item = item;
    if attr.listens(AttrEvent::Append) {
        let key = key.unwrap_or_else(|| names::NO_KEY.get(py));
        item = fire(py, AttrEvent::Append, attr, state, [item, token::of(py, source)?, key])?;
    }
    relationship::cascade_append(py, state, attr, &item, source)?;
    relationship::backref_append(py, state, attr, &item, source)?;
    modified(py, state, attr)?;
    if attr.track_parent.get() && !item.is_none() {
        relationship::set_has_parent(py, attr, related_state(&item)?, state, true)?;
    }
    Ok(item)
}

/// The events of a removal.
pub fn fire_remove<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    item: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
    key: Option<Bound<'py, PyAny>>,
) -> PyResult<()> {
    let source = initiator.unwrap_or(Initiator { attr, op: Op::Remove });
    if attr.track_parent.get() && !item.is_none() {
        relationship::set_has_parent(py, attr, related_state(item)?, state, false)?;
    }
    if attr.listens(AttrEvent::Remove) {
        let key = key.unwrap_or_else(|| names::NO_KEY.get(py));
        fire(py, AttrEvent::Remove, attr, state, [item.clone(), token::of(py, source)?, key])?;
    }
    relationship::cascade_remove(py, state, attr, item)?;
    relationship::backref_remove(py, state, attr, item, source)?;
    modified(py, state, attr)
}

/// Appends to a collection object, whatever its class.
pub fn append_to<'py>(collection: &Bound<'py, PyAny>, item: Bound<'py, PyAny>, source: &EventSource) -> PyResult<()> {
    if let Some(list) = list::exact(collection) {
        return list::append_item(list, item, source);
    }
    let appender = collection.getattr("_sa_appender")?;
    call_instrumented(&appender, item, source)
}

/// Removes from a collection object, whatever its class.
pub fn remove_from<'py>(
    collection: &Bound<'py, PyAny>,
    item: &Bound<'py, PyAny>,
    source: &EventSource,
) -> PyResult<()> {
    if let Some(list) = list::exact(collection) {
        return list::remove_item(list, item, source);
    }
    let remover = collection.getattr("_sa_remover")?;
    call_instrumented(&remover, item.clone(), source)
}

fn call_instrumented<'py>(method: &Bound<'py, PyAny>, item: Bound<'py, PyAny>, source: &EventSource) -> PyResult<()> {
    let py = method.py();
    let kwargs = PyDict::new(py);
    match source {
        EventSource::Silent => kwargs.set_item("_sa_initiator", false)?,
        EventSource::From(None) => kwargs.set_item("_sa_initiator", py.None())?,
        EventSource::From(Some(initiator)) => kwargs.set_item("_sa_initiator", token::of(py, *initiator)?)?,
    }
    method.call((item,), Some(&kwargs))?;
    Ok(())
}

/// `impl.append`: to the collection, or to the queue of one that is not loaded.
pub fn append<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
    passive: u32,
) -> PyResult<()> {
    if attr.write_only.get() {
        expiry::apply_pending(py, state)?;
        return write_only::append(py, state, attr, value, initiator);
    }
    let collection = attribute::get(py, state, attr, passive)?;
    if !names::PASSIVE_NO_RESULT.is(collection.as_ptr()) {
        return append_to(&collection, value.clone(), &EventSource::From(initiator));
    }
    let value = fire_append(py, state, attr, value.clone(), initiator, None)?;
    refuse_loaded(state, attr)?;
    queue(state, attr, value, true);
    Ok(())
}

/// `impl.remove`: from the collection, or queued for one that is not loaded.
pub fn remove<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
    initiator: Option<Initiator>,
    passive: u32,
) -> PyResult<()> {
    if attr.write_only.get() {
        expiry::apply_pending(py, state)?;
        return write_only::remove(py, state, attr, value, initiator);
    }
    let collection = attribute::get(py, state, attr, passive)?;
    if !names::PASSIVE_NO_RESULT.is(collection.as_ptr()) {
        return remove_from(&collection, value, &EventSource::From(initiator));
    }
    fire_remove(py, state, attr, value, initiator, None)?;
    refuse_loaded(state, attr)?;
    queue(state, attr, value.clone(), false);
    Ok(())
}

fn refuse_loaded(state: StateRef, attr: &AttrCore) -> PyResult<()> {
    if state.slot(attr.index()).value().is_null() {
        return Ok(());
    }
    Err(pyo3::exceptions::PyAssertionError::new_err("Collection was loaded during event handling."))
}

/// Queues an append or removal; one cancels the other.
pub fn queue(state: StateRef, attr: &AttrCore, item: Bound<'_, PyAny>, is_append: bool) {
    state.track(item.as_ptr());
    let index = attr.index();
    let mutations = state.pending_mutations(index);
    let (opposite, own) = if is_append {
        (&mut mutations.removed, &mut mutations.added)
    } else {
        (&mut mutations.added, &mut mutations.removed)
    };
    if opposite.take(item.as_ptr()) {
        // SAFETY: the queue owned it; `item` keeps the object alive, so nothing runs here.
        unsafe { ffi::Py_DECREF(item.as_ptr()) }
    } else if own.push(item.as_ptr()) {
        let _owned_by_queue = item.into_ptr();
    }
}

fn take_pending(state: StateRef, index: u32) -> Option<PendingMutations> {
    let pending = &mut state.rare_opt_mut()?.pending;
    let at = pending.iter().position(|(at, _)| *at == index)?;
    Some(pending.swap_remove(at).1)
}

/// Forgets what is queued on an attribute.
pub fn drop_pending(state: StateRef, index: u32) {
    if let Some(mutations) = take_pending(state, index) {
        mutations.release();
    }
}

/// Stores a loaded collection (no history), then applies what was queued while it was not loaded.
pub fn set_committed<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    if attr.write_only.get() {
        return Err(write_only::refuse_population());
    }
    let (collection, _adapter) = make(py, state, attr)?;
    if let (Some(list), Ok(members)) = (list::exact(&collection), value.cast_exact::<PyList>()) {
        list::raw_extend(list, members)?;
    } else if value.is_truthy()? {
        for item in value.try_iter()? {
            append_to(&collection, item?, &EventSource::Silent)?;
        }
    }
    state.set_committed(attr.index(), collection.clone().into_ptr())?;
    expiry::forget_callable(py, state, attr)?;
    state.clear_flags(crate::flags::EXPIRED);
    apply_queue(py, state, attr, &collection)?;
    Ok(collection)
}

/// An empty collection as committed value, to be filled from rows without events.
pub fn new_committed<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore) -> PyResult<Bound<'py, PyAny>> {
    let (collection, _adapter) = make(py, state, attr)?;
    state.set_committed(attr.index(), collection.clone().into_ptr())?;
    expiry::forget_callable(py, state, attr)?;
    Ok(collection)
}

/// Applies queued changes to a collection that was just loaded.
pub fn apply_queue<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    collection: &Bound<'py, PyAny>,
) -> PyResult<()> {
    let Some(pending) = take_pending(state, attr.index()) else { return Ok(()) };
    let own = |objects: IdentityList| -> Vec<Bound<'py, PyAny>> {
        // SAFETY: queued objects were owned by the queue.
        objects.into_iter().map(|object| unsafe { Bound::from_owned_ptr(py, object) }).collect()
    };
    let (added, removed) = (own(pending.added), own(pending.removed));
    modified(py, state, attr)?;
    for item in added {
        append_to(collection, item, &EventSource::Silent)?;
    }
    for item in removed {
        remove_from(collection, &item, &EventSource::Silent)?;
    }
    Ok(())
}

/// Values and, for a mapping, keys.
type Adapted<'py> = (Vec<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// The values of something assigned to a collection attribute, with dictionary keys where it is a mapping.
fn adapt<'py>(py: Python<'py>, attr: &AttrCore, value: &Bound<'py, PyAny>, check: bool) -> PyResult<Adapted<'py>> {
    let is_native = attr.collection_factory.borrow().is_none();
    if !check && !value.is_instance_of::<PyDict>() {
        return Ok((value.try_iter()?.collect::<PyResult<_>>()?, None));
    }
    if !is_native {
        // SAFETY: the GIL is held.
        let descriptor = unsafe { attr.object(py) };
        let (values, keys): (Bound<'py, PyAny>, Bound<'py, PyAny>) =
            hooks::hook(py, "check_collection_type")?.call1((descriptor, value, check))?.extract()?;
        return Ok((values.try_iter()?.collect::<PyResult<_>>()?, (!keys.is_none()).then_some(keys)));
    }
    if let Some(list) = list::exact(value) {
        return Ok((list.iter().collect(), None));
    }
    if check && !value.is_exact_instance_of::<PyList>() {
        let emulates = match value.getattr_opt("__emulates__")? {
            Some(class) if !class.is_none() => class,
            _ => value.get_type().into_any(),
        };
        let class = emulates.cast_into::<PyType>()?;
        let is_list = class.is_subclass_of::<PyList>()?
            || (!class.is_subclass_of::<PySet>()? && !class.is_subclass_of::<PyDict>()? && value.hasattr("append")?);
        if !is_list {
            let given = if value.is_none() { "None".to_owned() } else { value.get_type().name()?.to_string() };
            return Err(PyTypeError::new_err(format!("Incompatible collection type: {given} is not list-like")));
        }
    }
    Ok((value.try_iter()?.collect::<PyResult<_>>()?, None))
}

/// Replaces the whole collection.
pub fn set<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &'static AttrCore,
    value: &Bound<'py, PyAny>,
    passive: u32,
    check: bool,
) -> PyResult<()> {
    if names::DONT_SET.is(value.as_ptr()) {
        return Ok(());
    }
    expiry::apply_pending(py, state)?;
    if attr.write_only.get() {
        return write_only::replace(py, state, attr, value, passive);
    }
    let (collection, _adapter) = make(py, state, attr)?;
    let (mut values, keys) = adapt(py, attr, value, check)?;
    let source = Initiator { attr, op: Op::BulkReplace };
    if attr.listens(AttrEvent::BulkReplace) {
        let list = PyList::new(py, &values)?;
        let keys = keys.unwrap_or_else(|| py.None().into_bound(py));
        fire(py, AttrEvent::BulkReplace, attr, state, [list.clone().into_any(), token::of(py, source)?, keys])?;
        values = list.iter().collect();
    }
    let passive = passive::ONLY_PERSISTENT ^ (passive & passive::NO_RAISE);
    let mut old = attribute::get(py, state, attr, passive)?;
    if names::PASSIVE_NO_RESULT.is(old.as_ptr()) {
        old = empty_collection(py, state, attr)?;
    } else if old.is(value) {
        return Ok(()); // the in-place operators assign the collection to itself
    }
    let before = snapshot(&old)?;
    modified_event(py, state, attr, before.as_ptr())?;
    let old_adapter = adapter_of(&old)?;
    store(state, attr, collection.clone())?;
    drop_pending(state, attr.index());
    bulk_replace(py, values, &before, old_adapter.as_deref(), &collection, source)?;
    adapter::detach(&old)?;
    if let Some(empty) = take_empty(state, attr.index()) {
        // SAFETY: the state owned it; `old` keeps it alive.
        unsafe { ffi::Py_DECREF(empty) }
    }
    if attr.listens(AttrEvent::DisposeCollection) {
        let view = match &old_adapter {
            Some(core) => CollectionAdapter::make(&old, core)?.into_any(),
            None => py.None().into_bound(py),
        };
        fire(py, AttrEvent::DisposeCollection, attr, state, [old, view])?;
    }
    Ok(())
}

/// Fills a new collection: events for members that were not in the old one, and for those of the old one that go.
fn bulk_replace<'py>(
    py: Python<'py>,
    values: Vec<Bound<'py, PyAny>>,
    before: &Bound<'py, PyTuple>,
    old_adapter: Option<&AdapterCore>,
    collection: &Bound<'py, PyAny>,
    source: Initiator,
) -> PyResult<()> {
    let existing: hashbrown::HashSet<usize> = before.iter().map(|item| item.as_ptr() as usize).collect();
    let mut kept: hashbrown::HashSet<usize> = hashbrown::HashSet::new();
    let mut announced: hashbrown::HashSet<usize> = hashbrown::HashSet::new();
    for item in &values {
        let id = item.as_ptr() as usize;
        if existing.contains(&id) {
            kept.insert(id);
        }
    }
    for item in values {
        let events = if kept.contains(&(item.as_ptr() as usize)) {
            EventSource::Silent
        } else {
            EventSource::From(Some(source))
        };
        append_to(collection, item, &events)?;
    }
    let Some(adapter) = old_adapter else { return Ok(()) };
    for item in before.iter().filter(|item| kept.contains(&(item.as_ptr() as usize))) {
        if announced.insert(item.as_ptr() as usize) {
            adapter.fire_append_wo_mutation(py, item, Some(source), None)?;
        }
    }
    for item in before.iter().filter(|item| !kept.contains(&(item.as_ptr() as usize))) {
        if announced.insert(item.as_ptr() as usize) {
            adapter.fire_remove(py, &item, Some(source), None)?;
        }
    }
    Ok(())
}

/// `del obj.collection`: empties it with events; nothing happens when it is not loaded.
pub fn delete(py: Python<'_>, state: StateRef, attr: &'static AttrCore) -> PyResult<()> {
    if attr.write_only.get() {
        return Err(pyo3::exceptions::PyNotImplementedError::new_err(()));
    }
    let value = state.slot(attr.index()).value();
    // SAFETY: owned by the slot; held during the events.
    let Some(collection) = (unsafe { Bound::from_borrowed_ptr_or_opt(py, value) }) else { return Ok(()) };
    modified(py, state, attr)?;
    for item in items(&collection)? {
        remove_from(&collection, &item, &EventSource::From(None))?;
    }
    attribute::take(state, attr);
    Ok(())
}

/// The owner's attribute was expired: later changes of the collection warn.
pub fn invalidate(collection: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Some(adapter) = adapter_of(collection)? {
        adapter.invalidated.set(true);
    }
    Ok(())
}

/// Is an item more than once in a loaded collection?
pub fn has_duplicate(py: Python<'_>, state: StateRef, attr: &AttrCore, item: &Bound<'_, PyAny>) -> PyResult<bool> {
    if attr.write_only.get() {
        return Ok(false);
    }
    let value = state.slot(attr.index()).value();
    // SAFETY: owned by the slot.
    let Some(collection) = (unsafe { Bound::from_borrowed_ptr_or_opt(py, value) }) else { return Ok(false) };
    if let Some(list) = list::exact(&collection) {
        return Ok(list::has_twice(list, item));
    }
    if collection.is_instance_of::<PySet>() || collection.is_instance_of::<PyDict>() {
        return Ok(false);
    }
    let mut count = 0;
    for member in collection.try_iter()? {
        if member?.is(item) {
            count += 1;
        }
    }
    Ok(count > 1)
}

/// `init_collection`: an empty collection as the attribute's value, whatever was there before. Returns its adapter.
pub fn init<'py>(py: Python<'py>, state: StateRef, attr: &'static AttrCore) -> PyResult<Bound<'py, CollectionAdapter>> {
    let value = state.slot(attr.index()).value();
    // SAFETY: owned by the slot.
    if let Some(old) = unsafe { Bound::from_borrowed_ptr_or_opt(py, value) } {
        attribute::take(state, attr);
        adapter::detach(&old)?;
        if let Some(empty) = take_empty(state, attr.index()) {
            // SAFETY: the state owned it.
            unsafe { ffi::Py_DECREF(empty) }
        }
    }
    let collection = empty_collection(py, state, attr)?;
    let adapter = adapter_of(&collection)?.ok_or_else(|| PyValueError::new_err("collection without adapter"))?;
    store_empty(state, &adapter);
    CollectionAdapter::make(&collection, &adapter)
}

/// The adapter object of a collection (`collection_adapter`).
#[pyfunction]
pub fn collection_adapter<'py>(collection: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    if list::of(collection).is_some() {
        return Ok(match adapter_of(collection)? {
            Some(core) => CollectionAdapter::make(collection, &core)?.into_any(),
            None => collection.py().None().into_bound(collection.py()),
        });
    }
    collection.getattr(names::sa_adapter(collection.py()))
}

/// A warning as SQLAlchemy words it; here so that `orm.collections` shares it.
#[pyfunction]
pub fn warn_invalidated(py: Python<'_>) -> PyResult<()> {
    errors::warn(py, "This collection has been invalidated.")
}
