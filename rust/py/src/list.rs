//! `InstrumentedList`: the list of a relationship, whose mutators fire events.
use std::cell::RefCell;
use std::rc::Rc;

use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PySlice, PyTuple};

use crate::adapter::{AdapterCore, CollectionAdapter, EventSource, event_source, raw_append};

/// A list that keeps its owner's attribute informed.
#[pyclass(extends = PyList, subclass, frozen, weakref, dict, module = "rustalchemy.orm.collections")]
pub struct InstrumentedList {
    adapter: RefCell<Option<Rc<AdapterCore>>>,
}

// SAFETY: the module declares `gil_used`; every access happens with the GIL held.
unsafe impl Send for InstrumentedList {}
// SAFETY: as above.
unsafe impl Sync for InstrumentedList {}

impl InstrumentedList {
    /// A list of this adapter.
    pub fn with_adapter(adapter: Rc<AdapterCore>) -> Self {
        Self { adapter: RefCell::new(Some(adapter)) }
    }
    /// The adapter; `None` for a list that belongs to nobody.
    pub fn adapter(&self) -> Option<Rc<AdapterCore>> {
        self.adapter.borrow().clone()
    }
    /// Ties or unties the list.
    pub fn set_adapter(&self, adapter: Option<Rc<AdapterCore>>) {
        let old = self.adapter.replace(adapter);
        drop(old);
    }
    fn entering<'py>(
        list: &Bound<'py, Self>,
        item: Bound<'py, PyAny>,
        source: &EventSource,
        key: Option<isize>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let EventSource::From(initiator) = source else { return Ok(item) };
        let Some(adapter) = list.get().adapter() else { return Ok(item) };
        let py = list.py();
        let key = key.map(|key| key.into_pyobject(py)).transpose()?.map(Bound::into_any);
        adapter.fire_append(py, item, *initiator, key)
    }
    fn leaving<'py>(list: &Bound<'py, Self>, item: &Bound<'py, PyAny>, source: &EventSource, key: Option<isize>) -> PyResult<()> {
        let EventSource::From(initiator) = source else { return Ok(()) };
        let Some(adapter) = list.get().adapter() else { return Ok(()) };
        let py = list.py();
        let key = key.map(|key| key.into_pyobject(py)).transpose()?.map(Bound::into_any);
        adapter.fire_remove(py, item, *initiator, key)
    }
    /// Appends, with the events `source` asks for.
    pub fn append_item<'py>(list: &Bound<'py, Self>, item: Bound<'py, PyAny>, source: &EventSource) -> PyResult<()> {
        let item = Self::entering(list, item, source, None)?;
        raw_append(list.as_any(), &item)
    }
    /// Removes the first equal item, with the events `source` asks for (they come before the search, as in SQLAlchemy).
    pub fn remove_item<'py>(list: &Bound<'py, Self>, item: &Bound<'py, PyAny>, source: &EventSource) -> PyResult<()> {
        Self::leaving(list, item, source, None)?;
        let mut at = 0;
        while at < list.as_super().len() {
            let member = list.as_super().get_item(at)?;
            if member.is(item) || member.eq(item)? {
                return list.as_super().del_item(at);
            }
            at += 1;
        }
        Err(PyValueError::new_err("list.remove(x): x not in list"))
    }
    fn insert_item<'py>(list: &Bound<'py, Self>, at: isize, item: Bound<'py, PyAny>, source: &EventSource) -> PyResult<()> {
        let item = Self::entering(list, item, source, Some(at))?;
        // SAFETY: a list and an object.
        let result = unsafe { ffi::PyList_Insert(list.as_ptr(), at, item.as_ptr()) };
        if result == 0 { Ok(()) } else { Err(PyErr::fetch(list.py())) }
    }
    fn is_plain(list: &Bound<'_, Self>) -> bool {
        list.is_exact_instance_of::<Self>()
    }
    fn append_all<'py>(list: &Bound<'py, Self>, items: &Bound<'py, PyAny>) -> PyResult<()> {
        let items: Vec<_> = items.try_iter()?.collect::<PyResult<_>>()?;
        let plain = Self::is_plain(list);
        for item in items {
            if plain {
                Self::append_item(list, item, &EventSource::From(None))?;
            } else {
                list.call_method1("append", (item,))?;
            }
        }
        Ok(())
    }
}

const EVENTS: EventSource = EventSource::From(None);

#[pymethods]
impl InstrumentedList {
    #[new]
    #[pyo3(signature = (*_args, **_kw))]
    fn new(_args: &Bound<'_, PyTuple>, _kw: Option<&Bound<'_, PyDict>>) -> Self {
        Self { adapter: RefCell::new(None) }
    }
    #[classattr]
    const _SA_INSTRUMENTED: bool = true;

    /// The adapter object; None for a list that belongs to nobody.
    #[getter]
    fn get__sa_adapter<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, CollectionAdapter>>> {
        slf.get().adapter().map(|core| CollectionAdapter::make(slf.as_any(), &core)).transpose()
    }
    #[setter]
    fn set__sa_adapter(slf: &Bound<'_, Self>, adapter: Option<Bound<'_, CollectionAdapter>>) {
        slf.get().set_adapter(adapter.map(|adapter| Rc::clone(adapter.get().core())));
    }
    #[pyo3(signature = (item, _sa_initiator=None))]
    fn append<'py>(slf: &Bound<'py, Self>, item: Bound<'py, PyAny>, _sa_initiator: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        Self::append_item(slf, item, &event_source(_sa_initiator.as_ref()))
    }
    #[pyo3(signature = (item, _sa_initiator=None))]
    fn _sa_appender<'py>(slf: &Bound<'py, Self>, item: Bound<'py, PyAny>, _sa_initiator: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        Self::append_item(slf, item, &event_source(_sa_initiator.as_ref()))
    }
    #[pyo3(signature = (value, _sa_initiator=None))]
    fn remove<'py>(slf: &Bound<'py, Self>, value: Bound<'py, PyAny>, _sa_initiator: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        Self::remove_item(slf, &value, &event_source(_sa_initiator.as_ref()))
    }
    #[pyo3(signature = (value, _sa_initiator=None))]
    fn _sa_remover<'py>(slf: &Bound<'py, Self>, value: Bound<'py, PyAny>, _sa_initiator: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        Self::remove_item(slf, &value, &event_source(_sa_initiator.as_ref()))
    }
    fn _sa_iterator<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(slf.as_any().try_iter()?.into_any())
    }
    fn insert<'py>(slf: &Bound<'py, Self>, index: isize, value: Bound<'py, PyAny>) -> PyResult<()> {
        Self::insert_item(slf, index, value, &EVENTS)
    }
    fn extend<'py>(slf: &Bound<'py, Self>, iterable: &Bound<'py, PyAny>) -> PyResult<()> {
        Self::append_all(slf, iterable)
    }
    fn __iadd__<'py>(slf: &Bound<'py, Self>, iterable: &Bound<'py, PyAny>) -> PyResult<()> {
        Self::append_all(slf, iterable)
    }
    #[pyo3(signature = (index=-1))]
    fn pop<'py>(slf: &Bound<'py, Self>, index: isize) -> PyResult<Bound<'py, PyAny>> {
        if let Some(adapter) = slf.get().adapter() {
            adapter.fire_pre_remove(slf.py())?;
        }
        let at = Self::position(slf, index, "pop index out of range")?;
        let item = slf.as_super().get_item(at)?;
        slf.as_super().del_item(at)?;
        Self::leaving(slf, &item, &EVENTS, Some(index))?;
        Ok(item)
    }
    fn clear(slf: &Bound<'_, Self>) -> PyResult<()> {
        for item in slf.as_super().iter() {
            Self::leaving(slf, &item, &EVENTS, None)?;
        }
        let len = slf.as_super().len();
        slf.as_super().del_slice(0, len)
    }
    fn __setitem__<'py>(slf: &Bound<'py, Self>, index: &Bound<'py, PyAny>, value: Bound<'py, PyAny>) -> PyResult<()> {
        if let Ok(slice) = index.cast::<PySlice>() {
            return Self::set_slice(slf, slice, &value);
        }
        let index: isize = index.extract()?;
        let at = Self::position(slf, index, "list index out of range")?;
        let old = slf.as_super().get_item(at)?;
        if !old.is_none() {
            Self::leaving(slf, &old, &EVENTS, Some(index))?;
        }
        let value = Self::entering(slf, value, &EVENTS, Some(index))?;
        slf.as_super().set_item(at, value)
    }
    fn __delitem__<'py>(slf: &Bound<'py, Self>, index: &Bound<'py, PyAny>) -> PyResult<()> {
        if let Ok(slice) = index.cast::<PySlice>() {
            for item in slf.as_super().as_sequence().as_any().get_item(slice)?.try_iter()? {
                Self::leaving(slf, &item?, &EVENTS, None)?;
            }
            return Self::delete_slice(slf, slice);
        }
        let index: isize = index.extract()?;
        let at = Self::position(slf, index, "list assignment index out of range")?;
        let item = slf.as_super().get_item(at)?;
        Self::leaving(slf, &item, &EVENTS, Some(index))?;
        slf.as_super().del_item(at)
    }
    fn __reduce_ex__<'py>(slf: &Bound<'py, Self>, _protocol: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let items = slf.as_super().get_slice(0, slf.as_super().len());
        Ok((slf.get_type(), (items,), py.None()).into_pyobject(py)?.into_any())
    }
    fn copy<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyList> {
        slf.as_super().get_slice(0, slf.as_super().len())
    }
}

impl InstrumentedList {
    fn position(list: &Bound<'_, Self>, index: isize, message: &'static str) -> PyResult<usize> {
        let len = list.as_super().len();
        let at = if index < 0 { len.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) };
        at.filter(|at| *at < len).ok_or_else(|| {
            let message = if len == 0 && message.starts_with("pop") { "pop from empty list" } else { message };
            pyo3::exceptions::PyIndexError::new_err(message)
        })
    }
    fn set_slice<'py>(list: &Bound<'py, Self>, slice: &Bound<'py, PySlice>, value: &Bound<'py, PyAny>) -> PyResult<()> {
        if value.is(list) {
            return Ok(());
        }
        let range = slice.indices(isize::try_from(list.as_super().len())?)?;
        let items: Vec<_> = value.try_iter()?.collect::<PyResult<_>>()?;
        if range.step == 1 {
            for _ in range.start..range.stop.max(range.start) {
                let at = range.start.unsigned_abs();
                if list.as_super().len() > at {
                    let item = list.as_super().get_item(at)?;
                    Self::leaving(list, &item, &EVENTS, Some(range.start))?;
                    list.as_super().del_item(at)?;
                }
            }
            for (offset, item) in items.into_iter().enumerate() {
                Self::insert_item(list, range.start + isize::try_from(offset)?, item, &EVENTS)?;
            }
            return Ok(());
        }
        if items.len() != range.slicelength {
            return Err(PyValueError::new_err(format!(
                "attempt to assign sequence of size {} to extended slice of size {}",
                items.len(),
                range.slicelength
            )));
        }
        let py = list.py();
        for (step, item) in items.into_iter().enumerate() {
            let at = range.start + range.step * isize::try_from(step)?;
            Self::__setitem__(list, &at.into_pyobject(py)?.into_any(), item)?;
        }
        Ok(())
    }
    fn delete_slice<'py>(list: &Bound<'py, Self>, slice: &Bound<'py, PySlice>) -> PyResult<()> {
        let range = slice.indices(isize::try_from(list.as_super().len())?)?;
        let mut positions: Vec<isize> =
            (0..isize::try_from(range.slicelength)?).map(|step| range.start + range.step * step).collect();
        positions.sort_unstable();
        for at in positions.into_iter().rev() {
            list.as_super().del_item(at.unsigned_abs())?;
        }
        Ok(())
    }
}
