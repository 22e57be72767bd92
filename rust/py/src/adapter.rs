//! Collection adapters: the tie between a collection and the attribute of the object that owns it.
use std::cell::Cell;
use std::rc::Rc;

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyIterator, PyList, PyString, PyTuple, PyType, PyWeakrefMethods, PyWeakrefReference};

use crate::attribute::{self, AttrCore, AttrEvent, Initiator, Op, fire};
use crate::collection;
use crate::list;
use crate::raw;
use crate::relationship;
use crate::state::{StateRef, Tombstone};
use crate::{errors, names, token};

/// What a collection knows of its owner.
pub struct AdapterCore {
    /// The owner's state, weakly.
    pub owner: Rc<Tombstone>,
    /// The owner's attribute.
    pub attr: &'static AttrCore,
    /// The owner's attribute was expired: this collection is no longer its value.
    pub invalidated: Cell<bool>,
    /// Handed out for an unset attribute, not stored yet.
    pub empty: Cell<bool>,
    /// The living `CollectionAdapter`, borrowed; it clears this when it goes away.
    view: Cell<*mut ffi::PyObject>,
}

impl AdapterCore {
    /// Ties a new collection to an attribute of `state`.
    pub fn new(state: StateRef, attr: &'static AttrCore) -> Rc<Self> {
        Rc::new(Self {
            owner: state.tombstone(),
            attr,
            invalidated: Cell::new(false),
            empty: Cell::new(false),
            view: Cell::new(std::ptr::null_mut()),
        })
    }
    /// The owner with its object, held; an error when the owner is gone.
    pub fn owner<'py>(&self, py: Python<'py>) -> PyResult<(StateRef, Bound<'py, PyAny>)> {
        let core = self.owner.state.get();
        if !core.is_null() {
            // SAFETY: a tombstone's state is alive while the pointer is set.
            let state = unsafe { StateRef::from_ptr(core) };
            if let Some(object) = state.object(py) {
                return Ok((state, object));
            }
        }
        // SAFETY: the GIL is held.
        let class = unsafe { self.attr.object(py) }
            .and_then(|object| object.getattr("class_").ok())
            .and_then(|class| class.cast_into().ok());
        Err(attribute::dereferenced_class(py, class.as_ref(), self.attr))
    }
    fn before_event(&self, py: Python<'_>, state: StateRef) -> PyResult<()> {
        if self.invalidated.get() {
            errors::warn(py, "This collection has been invalidated.")?;
        }
        if self.empty.get() {
            collection::store_empty(state, self);
        }
        Ok(())
    }

    /// An item is about to enter the collection; returns what is to be stored.
    pub fn fire_append<'py>(
        &self,
        py: Python<'py>,
        item: Bound<'py, PyAny>,
        initiator: Option<Initiator>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (state, _object) = self.owner(py)?;
        self.before_event(py, state)?;
        collection::fire_append(py, state, self.attr, item, initiator, key)
    }
    /// An item stays in a collection that replaces another.
    pub fn fire_append_wo_mutation<'py>(
        &self,
        py: Python<'py>,
        item: Bound<'py, PyAny>,
        initiator: Option<Initiator>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (state, _object) = self.owner(py)?;
        self.before_event(py, state)?;
        let source = initiator.unwrap_or(Initiator { attr: self.attr, op: Op::Append });
        let mut item = item;
        if self.attr.listens(AttrEvent::AppendWoMutation) {
            let key = key.unwrap_or_else(|| names::NO_KEY.get(py));
            item = fire(py, AttrEvent::AppendWoMutation, self.attr, state, [item, token::of(py, source)?, key])?;
        }
        relationship::cascade_append(py, state, self.attr, &item, source)?;
        Ok(item)
    }
    /// An item leaves the collection.
    pub fn fire_remove<'py>(
        &self,
        py: Python<'py>,
        item: &Bound<'py, PyAny>,
        initiator: Option<Initiator>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let (state, _object) = self.owner(py)?;
        self.before_event(py, state)?;
        collection::fire_remove(py, state, self.attr, item, initiator, key)
    }
    /// Some item is about to leave the collection.
    pub fn fire_pre_remove(&self, py: Python<'_>) -> PyResult<()> {
        let (state, _object) = self.owner(py)?;
        if self.invalidated.get() {
            errors::warn(py, "This collection has been invalidated.")?;
        }
        collection::modified(py, state, self.attr)
    }
}

/// The bridge between the ORM and one collection object (`collection_adapter(collection)`).
#[pyclass(frozen, weakref, name = "CollectionAdapter", module = "rustalchemy._core")]
pub struct CollectionAdapter {
    core: Rc<AdapterCore>,
    data: Py<PyWeakrefReference>,
}

// SAFETY: the module declares `gil_used`; every access happens with the GIL held.
unsafe impl Send for CollectionAdapter {}
// SAFETY: as above.
unsafe impl Sync for CollectionAdapter {}

impl CollectionAdapter {
    /// The adapter object of a collection.
    pub fn make<'py>(collection: &Bound<'py, PyAny>, core: &Rc<AdapterCore>) -> PyResult<Bound<'py, Self>> {
        let py = collection.py();
        // SAFETY: the pointer is cleared before its object is freed.
        if let Some(known) = unsafe { raw::living(py, core.view.get()) } {
            return Ok(known.cast_into()?);
        }
        let data = PyWeakrefReference::new(collection)?.unbind();
        let view = Bound::new(py, Self { core: Rc::clone(core), data })?;
        core.view.set(view.as_ptr());
        Ok(view)
    }
    /// The native part.
    pub fn core(&self) -> &Rc<AdapterCore> {
        &self.core
    }
    fn collection<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.data
            .bind(py)
            .upgrade()
            .ok_or_else(|| errors::invalid_request(py, "the collection of this adapter is gone".to_owned()))
    }
    fn refuse_empty(&self, py: Python<'_>) -> PyResult<()> {
        if self.core.empty.get() {
            return Err(errors::invalid_request(
                py,
                "This is a special 'empty' collection which cannot accommodate internal mutation operations".to_owned(),
            ));
        }
        Ok(())
    }
}

impl Drop for CollectionAdapter {
    fn drop(&mut self) {
        self.core.view.set(std::ptr::null_mut()); // a newer one may have come meanwhile; it is only made once more
    }
}

/// The initiator argument of collection events: a token, `None`, or `False` for "no events".
pub enum EventSource {
    /// Fire no events.
    Silent,
    /// Fire, on behalf of this initiator.
    From(Option<Initiator>),
}

/// Reads an initiator argument.
pub fn event_source(initiator: Option<&Bound<'_, PyAny>>) -> EventSource {
    match initiator {
        Some(value) if value.cast::<PyBool>().is_ok_and(|value| !value.is_true()) => EventSource::Silent,
        other => EventSource::From(token::initiator(other)),
    }
}

#[pymethods]
impl CollectionAdapter {
    /// Copies and pickles carry no adapter: a collection is tied again by the object it comes back with.
    fn __reduce__<'py>(&self, py: Python<'py>) -> (Bound<'py, PyAny>, ()) {
        (py.None().into_bound(py).get_type().into_any(), ())
    }
    /// The attribute's `impl`.
    #[getter]
    fn attr<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the GIL is held.
        unsafe { self.core.attr.object(py) }.into_pyobject(py)?.getattr("impl")
    }
    /// The attribute's name.
    #[getter]
    fn _key<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.core.attr.key(py).clone()
    }
    /// The owner's `InstanceState`.
    #[getter]
    fn owner_state<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.core.owner(py)?.0.view(py)
    }
    /// The collection.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.data.bind(py).upgrade()
    }
    /// The owner's attribute was expired.
    #[getter]
    fn invalidated(&self) -> bool {
        self.core.invalidated.get()
    }
    #[setter]
    fn set_invalidated(&self, value: bool) {
        self.core.invalidated.set(value);
    }
    /// Handed out for an unset attribute.
    #[getter]
    fn empty(&self) -> bool {
        self.core.empty.get()
    }
    /// Does the owner still hold this collection?
    #[getter]
    fn _referenced_by_owner(&self, py: Python<'_>) -> PyResult<bool> {
        let (state, _object) = self.core.owner(py)?;
        let data = self.data(py);
        Ok(data.is_some_and(|data| data.as_ptr() == state.slot(self.core.attr.index()).value()))
    }
    fn _reset_empty(&self, py: Python<'_>) -> PyResult<()> {
        let (state, _object) = self.core.owner(py)?;
        collection::store_empty(state, &self.core);
        Ok(())
    }
    fn bulk_appender<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.collection(py)?.getattr("_sa_appender")
    }
    fn bulk_remover<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.collection(py)?.getattr("_sa_remover")
    }
    /// Adds an item, with events.
    #[pyo3(signature = (item, initiator=None))]
    fn append_with_event<'py>(&self, item: Bound<'py, PyAny>, initiator: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        collection::append_to(&self.collection(item.py())?, item, &event_source(initiator.as_ref()))
    }
    /// Adds an item, without events.
    fn append_without_event(&self, item: Bound<'_, PyAny>) -> PyResult<()> {
        self.refuse_empty(item.py())?;
        collection::append_to(&self.collection(item.py())?, item, &EventSource::Silent)
    }
    /// Adds items, without events.
    fn append_multiple_without_event(&self, items: &Bound<'_, PyAny>) -> PyResult<()> {
        self.refuse_empty(items.py())?;
        let collection = self.collection(items.py())?;
        for item in items.try_iter()? {
            collection::append_to(&collection, item?, &EventSource::Silent)?;
        }
        Ok(())
    }
    /// Removes an item, with events.
    #[pyo3(signature = (item, initiator=None))]
    fn remove_with_event<'py>(&self, item: Bound<'py, PyAny>, initiator: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        collection::remove_from(&self.collection(item.py())?, &item, &event_source(initiator.as_ref()))
    }
    /// Removes an item, without events.
    fn remove_without_event(&self, item: Bound<'_, PyAny>) -> PyResult<()> {
        self.refuse_empty(item.py())?;
        collection::remove_from(&self.collection(item.py())?, &item, &EventSource::Silent)
    }
    /// Empties the collection, with events.
    #[pyo3(signature = (initiator=None))]
    fn clear_with_event<'py>(&self, py: Python<'py>, initiator: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        self.refuse_empty(py)?;
        let collection = self.collection(py)?;
        for item in collection::items(&collection)? {
            collection::remove_from(&collection, &item, &event_source(initiator.as_ref()))?;
        }
        Ok(())
    }
    /// Empties the collection, without events.
    fn clear_without_event(&self, py: Python<'_>) -> PyResult<()> {
        self.refuse_empty(py)?;
        let collection = self.collection(py)?;
        for item in collection::items(&collection)? {
            collection::remove_from(&collection, &item, &EventSource::Silent)?;
        }
        Ok(())
    }
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, collection::items(&self.collection(py)?)?)?.try_iter()
    }
    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(collection::items(&self.collection(py)?)?.len())
    }
    /// Copies and pickles of a collection have no adapter until their own object takes them in.
    fn __reduce_ex__<'py>(&self, protocol: &Bound<'py, PyAny>) -> (Bound<'py, PyType>, Bound<'py, PyTuple>) {
        let py = protocol.py();
        (py.None().into_bound(py).get_type(), PyTuple::empty(py))
    }
    fn __bool__(&self) -> bool {
        true
    }
    /// An item is about to enter the collection; returns what to store.
    #[pyo3(signature = (item, initiator=None, key=None))]
    fn fire_append_event<'py>(
        &self,
        item: Bound<'py, PyAny>,
        initiator: Option<Bound<'py, PyAny>>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match event_source(initiator.as_ref()) {
            EventSource::Silent => Ok(item),
            EventSource::From(from) => self.core.fire_append(item.py(), item, from, key),
        }
    }
    /// An item is in the collection already.
    #[pyo3(signature = (item, initiator=None, key=None))]
    fn fire_append_wo_mutation_event<'py>(
        &self,
        item: Bound<'py, PyAny>,
        initiator: Option<Bound<'py, PyAny>>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match event_source(initiator.as_ref()) {
            EventSource::Silent => Ok(item),
            EventSource::From(from) => self.core.fire_append_wo_mutation(item.py(), item, from, key),
        }
    }
    /// An item leaves the collection.
    #[pyo3(signature = (item, initiator=None, key=None))]
    fn fire_remove_event<'py>(
        &self,
        item: Bound<'py, PyAny>,
        initiator: Option<Bound<'py, PyAny>>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        match event_source(initiator.as_ref()) {
            EventSource::Silent => Ok(()),
            EventSource::From(from) => self.core.fire_remove(item.py(), &item, from, key),
        }
    }
    /// Some item is about to leave the collection.
    #[pyo3(signature = (initiator=None, key=None))]
    fn fire_pre_remove_event<'py>(
        &self,
        py: Python<'py>,
        initiator: Option<Bound<'py, PyAny>>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let _ = (initiator, key);
        self.core.fire_pre_remove(py)
    }
    #[pyo3(signature = (items, initiator=None, key=None))]
    fn _fire_append_wo_mutation_event_bulk<'py>(
        &self,
        items: Bound<'py, PyAny>,
        initiator: Option<Bound<'py, PyAny>>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        if let EventSource::From(from) = event_source(initiator.as_ref()) {
            for item in items.try_iter()? {
                self.core.fire_append_wo_mutation(items.py(), item?, from, key.clone())?;
            }
        }
        Ok(())
    }
    #[pyo3(signature = (items, initiator=None, key=None))]
    fn _fire_remove_event_bulk<'py>(
        &self,
        items: Bound<'py, PyAny>,
        initiator: Option<Bound<'py, PyAny>>,
        key: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        if let EventSource::From(from) = event_source(initiator.as_ref()) {
            for item in items.try_iter()? {
                self.core.fire_remove(items.py(), &item?, from, key.clone())?;
            }
        }
        Ok(())
    }
}

/// The adapter core of a collection; `None` for one that belongs to nobody.
pub fn adapter_of(collection: &Bound<'_, PyAny>) -> PyResult<Option<Rc<AdapterCore>>> {
    if let Some(list) = list::of(collection) {
        return Ok(list::adapter_of(list));
    }
    let Some(adapter) = collection.getattr_opt(names::sa_adapter(collection.py()))? else { return Ok(None) };
    Ok(adapter.cast::<CollectionAdapter>().ok().map(|adapter| Rc::clone(adapter.get().core())))
}

/// Unties a collection from its owner.
pub fn detach(collection: &Bound<'_, PyAny>) -> PyResult<()> {
    if let Some(list) = list::of(collection) {
        list::set_adapter(list, None);
        return Ok(());
    }
    collection.setattr(names::sa_adapter(collection.py()), collection.py().None())
}
