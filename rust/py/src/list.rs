//! `InstrumentedList`: the list of a relationship, whose mutators fire events. A raw type, because PyO3 cannot derive from
//! `list`.
use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr;
use std::rc::Rc;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySlice};

use crate::adapter::{AdapterCore, CollectionAdapter, EventSource, event_source};
use crate::instance::{getset, member};
use crate::raw::{self, FastArgs, guarded, type_slot};

/// The struct of an instrumented list.
#[repr(C)]
struct ListObject {
    base: ffi::PyListObject,
    /// `None` for a list that belongs to nobody. All-zero memory is `None`.
    adapter: Option<Rc<AdapterCore>>,
    dict: *mut ffi::PyObject,
    weakrefs: *mut ffi::PyObject,
}

static LIST_TYPE: AtomicPtr<ffi::PyTypeObject> = AtomicPtr::new(ptr::null_mut());
const EVENTS: EventSource = EventSource::From(None);

fn list_type() -> *mut ffi::PyTypeObject {
    LIST_TYPE.load(Ordering::Relaxed)
}

/// The list, when this is an `InstrumentedList` and not a subclass (which may have methods of its own).
pub fn exact<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyList>> {
    // SAFETY: an InstrumentedList is a list.
    unsafe { (ffi::Py_TYPE(object.as_ptr()) == list_type()).then(|| object.cast_unchecked()) }
}

/// The list, when this is an `InstrumentedList` or derived from it.
pub fn of<'a, 'py>(object: &'a Bound<'py, PyAny>) -> Option<&'a Bound<'py, PyList>> {
    // SAFETY: an InstrumentedList is a list.
    unsafe { (ffi::PyObject_TypeCheck(object.as_ptr(), list_type()) != 0).then(|| object.cast_unchecked()) }
}

/// The items of a list object, borrowed.
///
/// # Safety
/// As `members_of`, for a list.
unsafe fn slice_of<'a>(list: *mut ffi::PyObject) -> &'a [*mut ffi::PyObject] {
    // SAFETY: a list's items are that many valid pointers.
    unsafe {
        let list = list.cast::<ffi::PyListObject>();
        let length = usize::try_from((*list).ob_base.ob_size).unwrap_or(0);
        if length == 0 { &[] } else { std::slice::from_raw_parts((*list).ob_item, length) }
    }
}

/// The members, borrowed: callers run nothing that could change the list while they look at them.
fn members<'a>(list: &'a Bound<'_, PyList>) -> &'a [*mut ffi::PyObject] {
    // SAFETY: a list, alive; the rest is the callers' promise.
    unsafe { slice_of(list.as_ptr()) }
}

/// The members of an instrumented list, borrowed; `None` for anything else.
///
/// # Safety
/// `object` is alive, and nothing runs that could change it while the members are looked at.
pub unsafe fn members_of<'a>(object: *mut ffi::PyObject) -> Option<&'a [*mut ffi::PyObject]> {
    // SAFETY: promised by the caller; an InstrumentedList is a list.
    unsafe { (ffi::Py_TYPE(object) == list_type()).then(|| slice_of(object)) }
}

/// Does a list have this very object more than once? Counts along the pointers, which takes several at a time: a wide
/// collection asks for each object that is removed.
pub fn has_twice(list: &Bound<'_, PyList>, item: &Bound<'_, PyAny>) -> bool {
    members(list).iter().filter(|&&member| member == item.as_ptr()).count() > 1
}

/// Do objects of this class compare by identity, so that asking two of them runs nothing?
fn is_compared_by_identity(class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: two living types.
    unsafe { (*class).tp_richcompare.map(|f| f as usize) == ffi::PyBaseObject_Type.tp_richcompare.map(|f| f as usize) }
}

/// Where the first equal item is. Members that could only be equal by being the item are passed over without a call.
fn find(list: &Bound<'_, PyList>, item: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    let is_plain = is_compared_by_identity(item.get_type_ptr());
    let mut at = 0;
    while at < list.len() {
        if is_plain {
            let stop = |&member: &*mut ffi::PyObject| {
                // SAFETY: a list's members are alive.
                member == item.as_ptr() || !is_compared_by_identity(unsafe { ffi::Py_TYPE(member) })
            };
            match members(list)[at..].iter().position(stop) {
                Some(passed) => at += passed,
                None => return Ok(None),
            }
        }
        let member = list.get_item(at)?;
        if member.is(item) || member.eq(item)? {
            return Ok(Some(at));
        }
        at += 1;
    }
    Ok(None)
}

/// A new, empty list of this adapter.
pub fn make(py: Python<'_>, adapter: Rc<AdapterCore>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: generic allocation zeroes the struct: an empty list without adapter, dict and weak references.
    unsafe {
        let object = ffi::PyType_GenericAlloc(list_type(), 0);
        let list = Bound::from_owned_ptr_or_err(py, object)?;
        (*object.cast::<ListObject>()).adapter = Some(adapter);
        Ok(list)
    }
}

/// The adapter of an instrumented list.
pub fn adapter_of(list: &Bound<'_, PyList>) -> Option<Rc<AdapterCore>> {
    // SAFETY: callers got `list` from `exact` or `of`.
    unsafe { (*list.as_ptr().cast::<ListObject>()).adapter.clone() }
}

/// Ties or unties an instrumented list.
pub fn set_adapter(list: &Bound<'_, PyList>, adapter: Option<Rc<AdapterCore>>) {
    // SAFETY: as `adapter_of`; dropping a handle runs no Python code.
    unsafe { (*list.as_ptr().cast::<ListObject>()).adapter = adapter }
}

/// Appends without events and without asking the class.
pub fn raw_append(list: &Bound<'_, PyAny>, item: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: `list` is a list (or derived) and `item` an object.
    let result = unsafe { ffi::PyList_Append(list.as_ptr(), item.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(PyErr::fetch(list.py())) }
}

/// As `raw_append`, for all members of another list at once.
pub fn raw_extend(list: &Bound<'_, PyList>, items: &Bound<'_, PyList>) -> PyResult<()> {
    let end = isize::try_from(list.len())?;
    // SAFETY: two lists; the C function asks no method of the class.
    let result = unsafe { ffi::PyList_SetSlice(list.as_ptr(), end, end, items.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(PyErr::fetch(list.py())) }
}

fn entering<'py>(
    list: &Bound<'py, PyList>,
    item: Bound<'py, PyAny>,
    source: &EventSource,
    key: Option<isize>,
) -> PyResult<Bound<'py, PyAny>> {
    let EventSource::From(initiator) = source else { return Ok(item) };
    let Some(adapter) = adapter_of(list) else { return Ok(item) };
    let py = list.py();
    let key = key.map(|key| key.into_pyobject(py)).transpose()?.map(Bound::into_any);
    adapter.fire_append(py, item, *initiator, key)
}

fn leaving<'py>(
    list: &Bound<'py, PyList>,
    item: &Bound<'py, PyAny>,
    source: &EventSource,
    key: Option<isize>,
) -> PyResult<()> {
    let EventSource::From(initiator) = source else { return Ok(()) };
    let Some(adapter) = adapter_of(list) else { return Ok(()) };
    let py = list.py();
    let key = key.map(|key| key.into_pyobject(py)).transpose()?.map(Bound::into_any);
    adapter.fire_remove(py, item, *initiator, key)
}

/// Appends, with the events `source` asks for.
pub fn append_item<'py>(list: &Bound<'py, PyList>, item: Bound<'py, PyAny>, source: &EventSource) -> PyResult<()> {
    let item = entering(list, item, source, None)?;
    raw_append(list.as_any(), &item)
}

/// Removes the first equal item, with the events `source` asks for (they come before the search, as in SQLAlchemy).
pub fn remove_item<'py>(list: &Bound<'py, PyList>, item: &Bound<'py, PyAny>, source: &EventSource) -> PyResult<()> {
    leaving(list, item, source, None)?;
    match find(list, item)? {
        Some(at) => delete_range(list, at, at + 1),
        None => Err(PyValueError::new_err("list.remove(x): x not in list")),
    }
}

fn delete_range(list: &Bound<'_, PyList>, from: usize, to: usize) -> PyResult<()> {
    // SAFETY: a list; the C function asks no method of the class, so no events come back.
    let result =
        unsafe { ffi::PyList_SetSlice(list.as_ptr(), isize::try_from(from)?, isize::try_from(to)?, ptr::null_mut()) };
    if result == 0 { Ok(()) } else { Err(PyErr::fetch(list.py())) }
}

fn insert_item<'py>(list: &Bound<'py, PyList>, at: isize, item: Bound<'py, PyAny>) -> PyResult<()> {
    let item = entering(list, item, &EVENTS, Some(at))?;
    // SAFETY: a list and an object.
    let result = unsafe { ffi::PyList_Insert(list.as_ptr(), at, item.as_ptr()) };
    if result == 0 { Ok(()) } else { Err(PyErr::fetch(list.py())) }
}

fn append_all<'py>(list: &Bound<'py, PyList>, items: &Bound<'py, PyAny>) -> PyResult<()> {
    let items: Vec<_> = items.try_iter()?.collect::<PyResult<_>>()?;
    let plain = exact(list.as_any()).is_some();
    for item in items {
        if plain {
            append_item(list, item, &EVENTS)?;
        } else {
            list.call_method1("append", (item,))?;
        }
    }
    Ok(())
}

fn position(list: &Bound<'_, PyList>, index: isize, message: &'static str) -> PyResult<usize> {
    let len = list.len();
    let at = if index < 0 { len.checked_sub(index.unsigned_abs()) } else { Some(index.unsigned_abs()) };
    at.filter(|at| *at < len).ok_or_else(|| PyIndexError::new_err(message))
}

fn set_item<'py>(list: &Bound<'py, PyList>, index: isize, value: Bound<'py, PyAny>) -> PyResult<()> {
    let at = position(list, index, "list assignment index out of range")?;
    let old = list.get_item(at)?;
    if !old.is_none() {
        leaving(list, &old, &EVENTS, Some(index))?;
    }
    let value = entering(list, value, &EVENTS, Some(index))?;
    // SAFETY: a list; PyList_SetItem checks the index and takes over the reference.
    let result = unsafe { ffi::PyList_SetItem(list.as_ptr(), isize::try_from(at)?, value.into_ptr()) };
    if result == 0 { Ok(()) } else { Err(PyErr::fetch(list.py())) }
}

fn delete_item(list: &Bound<'_, PyList>, index: isize) -> PyResult<()> {
    let at = position(list, index, "list assignment index out of range")?;
    let item = list.get_item(at)?;
    leaving(list, &item, &EVENTS, Some(index))?;
    delete_range(list, at, at + 1)
}

fn set_slice<'py>(list: &Bound<'py, PyList>, slice: &Bound<'py, PySlice>, value: &Bound<'py, PyAny>) -> PyResult<()> {
    if value.is(list) {
        return Ok(());
    }
    let range = slice.indices(isize::try_from(list.len())?)?;
    let items: Vec<_> = value.try_iter()?.collect::<PyResult<_>>()?;
    if range.step == 1 {
        for _ in range.start..range.stop.max(range.start) {
            if list.len() > range.start.unsigned_abs() {
                delete_item(list, range.start)?;
            }
        }
        for (offset, item) in items.into_iter().enumerate() {
            insert_item(list, range.start + isize::try_from(offset)?, item)?;
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
    for (step, item) in items.into_iter().enumerate() {
        set_item(list, range.start + range.step * isize::try_from(step)?, item)?;
    }
    Ok(())
}

fn delete_slice(list: &Bound<'_, PyList>, slice: &Bound<'_, PySlice>) -> PyResult<()> {
    let range = slice.indices(isize::try_from(list.len())?)?;
    let mut positions: Vec<usize> =
        (0..isize::try_from(range.slicelength)?).map(|step| (range.start + range.step * step).unsigned_abs()).collect();
    let mut items = Vec::with_capacity(positions.len());
    for at in &positions {
        items.push(list.get_item(*at)?);
    }
    for item in items {
        leaving(list, &item, &EVENTS, None)?;
    }
    positions.sort_unstable();
    for at in positions.into_iter().rev() {
        if at < list.len() {
            delete_range(list, at, at + 1)?;
        }
    }
    Ok(())
}

// ---- methods ----------------------------------------------------------------------------------------------------------

fn itself<'a, 'py>(slf: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyList>> {
    of(slf).ok_or_else(|| PyTypeError::new_err("an InstrumentedList is needed"))
}

/// The item and the `_sa_initiator` of an instrumented method.
fn item_and_source<'py>(args: &FastArgs<'_, 'py>) -> PyResult<(Bound<'py, PyAny>, EventSource)> {
    let initiator = match args.named("_sa_initiator")? {
        Some(initiator) => Some(initiator),
        None => args.get(1),
    };
    Ok((args.need(0)?, event_source(initiator.as_ref())))
}

fn append(slf: &Bound<'_, PyAny>, args: &FastArgs<'_, '_>) -> PyResult<Py<PyAny>> {
    let (item, source) = item_and_source(args)?;
    append_item(itself(slf)?, item, &source)?;
    Ok(slf.py().None())
}

fn remove(slf: &Bound<'_, PyAny>, args: &FastArgs<'_, '_>) -> PyResult<Py<PyAny>> {
    let (item, source) = item_and_source(args)?;
    remove_item(itself(slf)?, &item, &source)?;
    Ok(slf.py().None())
}

fn iterate(slf: &Bound<'_, PyAny>, _args: &FastArgs<'_, '_>) -> PyResult<Py<PyAny>> {
    Ok(slf.try_iter()?.into_any().unbind())
}

fn insert(slf: &Bound<'_, PyAny>, args: &FastArgs<'_, '_>) -> PyResult<Py<PyAny>> {
    let (index, value): (isize, Bound<'_, PyAny>) = (args.need(0)?.extract()?, args.need(1)?);
    insert_item(itself(slf)?, index, value)?;
    Ok(slf.py().None())
}

fn extend(slf: &Bound<'_, PyAny>, args: &FastArgs<'_, '_>) -> PyResult<Py<PyAny>> {
    append_all(itself(slf)?, &args.need(0)?)?;
    Ok(slf.py().None())
}

fn pop(slf: &Bound<'_, PyAny>, args: &FastArgs<'_, '_>) -> PyResult<Py<PyAny>> {
    let list = itself(slf)?;
    let index: isize = args.get(0).map_or(Ok(-1), |index| index.extract())?;
    if let Some(adapter) = adapter_of(list) {
        adapter.fire_pre_remove(slf.py())?;
    }
    let message = if list.is_empty() { "pop from empty list" } else { "pop index out of range" };
    let at = position(list, index, message)?;
    let item = list.get_item(at)?;
    delete_range(list, at, at + 1)?;
    leaving(list, &item, &EVENTS, Some(index))?;
    Ok(item.unbind())
}

fn clear(slf: &Bound<'_, PyAny>, _args: &FastArgs<'_, '_>) -> PyResult<Py<PyAny>> {
    let list = itself(slf)?;
    let items: Vec<_> = list.iter().collect();
    for item in items {
        leaving(list, &item, &EVENTS, None)?;
    }
    delete_range(list, 0, list.len())?;
    Ok(slf.py().None())
}

fn reduce_ex(slf: &Bound<'_, PyAny>, _args: &FastArgs<'_, '_>) -> PyResult<Py<PyAny>> {
    let list = itself(slf)?;
    let items = PyList::new(slf.py(), list.iter())?;
    Ok((slf.get_type(), (items,)).into_pyobject(slf.py())?.into_any().unbind())
}

unsafe extern "C" fn get_adapter(object: *mut ffi::PyObject, _closure: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an InstrumentedList.
    unsafe {
        guarded(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            match adapter_of(itself(&object)?) {
                Some(core) => Ok(CollectionAdapter::make(&object, &core)?.into_any().into_ptr()),
                None => Ok(py.None().into_ptr()),
            }
        })
    }
}

unsafe extern "C" fn put_adapter(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> c_int {
    // SAFETY: called by the interpreter with an InstrumentedList; null means deletion.
    unsafe {
        guarded(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            let adapter = Bound::from_borrowed_ptr_or_opt(py, value);
            let core = adapter.and_then(|adapter| adapter.cast_into::<CollectionAdapter>().ok());
            set_adapter(itself(&object)?, core.map(|adapter| Rc::clone(adapter.get().core())));
            Ok(0)
        })
    }
}

unsafe extern "C" fn assign_subscript(
    object: *mut ffi::PyObject,
    index: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: called by the interpreter with an InstrumentedList; a null value means deletion.
    unsafe {
        guarded(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            let list = itself(&object)?;
            let index = Bound::from_borrowed_ptr(py, index);
            let value = Bound::from_borrowed_ptr_or_opt(py, value);
            match (index.cast::<PySlice>(), value) {
                (Ok(slice), Some(value)) => set_slice(list, slice, &value)?,
                (Ok(slice), None) => delete_slice(list, slice)?,
                (Err(_), Some(value)) => set_item(list, index.extract()?, value)?,
                (Err(_), None) => delete_item(list, index.extract()?)?,
            }
            Ok(0)
        })
    }
}

unsafe extern "C" fn inplace_concat(object: *mut ffi::PyObject, other: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with an InstrumentedList.
    unsafe {
        guarded(|py| {
            let object = Bound::from_borrowed_ptr(py, object);
            append_all(itself(&object)?, &Bound::from_borrowed_ptr(py, other))?;
            Ok(object.into_ptr())
        })
    }
}

unsafe extern "C" fn traverse(object: *mut ffi::PyObject, visit: ffi::visitproc, arg: *mut c_void) -> c_int {
    // SAFETY: called by the collector; `list`'s own function does the members.
    unsafe {
        let result = visit(ffi::Py_TYPE(object).cast(), arg);
        if result != 0 {
            return result;
        }
        let dict = (*object.cast::<ListObject>()).dict;
        if !dict.is_null() {
            let result = visit(dict, arg);
            if result != 0 {
                return result;
            }
        }
        ffi::PyList_Type.tp_traverse.map_or(0, |traverse| traverse(object, visit, arg))
    }
}

unsafe extern "C" fn clear_references(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector.
    unsafe {
        let dict = ptr::replace(&raw mut (*object.cast::<ListObject>()).dict, ptr::null_mut());
        ffi::Py_XDECREF(dict);
        ffi::PyList_Type.tp_clear.map_or(0, |clear| clear(object))
    }
}

/// How many lists may be deallocated one inside of the other: more would take the stack.
const DEEPEST: u32 = 50;

thread_local! {
    /// How many lists this thread is deallocating now, one inside of the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    /// Lists found too deep inside: the outermost deallocation sees to them.
    static WAITING: RefCell<Vec<*mut ffi::PyObject>> = const { RefCell::new(Vec::new()) };
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone. A list that waits is whole, unknown to the collector, and nobody's any more.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let depth = DEPTH.get();
        let has_waited = depth >= DEEPEST
            && ffi::Py_TYPE(object) == list_type() // a derived class is deallocated by CPython, which has a limit of its own
            && WAITING.try_with(|waiting| waiting.borrow_mut().push(object)).is_ok();
        if has_waited {
            return;
        }
        DEPTH.set(depth + 1);
        free(object);
        while depth == 0
            && let Some(next) = WAITING.try_with(|waiting| waiting.borrow_mut().pop()).ok().flatten()
        {
            free(next);
        }
        DEPTH.set(depth);
    }
}

/// Lets go of everything, members and memory included.
///
/// # Safety
/// The last reference to the list is gone, and the collector does not know it.
unsafe fn free(object: *mut ffi::PyObject) {
    // SAFETY: promised by the caller; `list`'s own function frees members and memory, then the type loses its instance.
    unsafe {
        let list = object.cast::<ListObject>();
        if !(*list).weakrefs.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        (*list).adapter = None;
        let dict = ptr::replace(&raw mut (*list).dict, ptr::null_mut());
        ffi::Py_XDECREF(dict);
        let class = ffi::Py_TYPE(object);
        if let Some(dealloc) = ffi::PyList_Type.tp_dealloc {
            dealloc(object);
        }
        ffi::Py_DECREF(class.cast());
    }
}

/// Makes the type; called once while the module initialises.
pub fn make_type(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    if list_type().is_null() {
        // The tables live as long as the type, which lives as long as the process.
        let members = Vec::leak(vec![
            member(c"__weaklistoffset__", offset_of!(ListObject, weakrefs)),
            member(c"__dictoffset__", offset_of!(ListObject, dict)),
            // SAFETY: an all-zero definition ends the table.
            unsafe { std::mem::zeroed() },
        ]);
        let getsets = Vec::leak(vec![
            getset(c"_sa_adapter", get_adapter, Some(put_adapter)),
            getset(c"__dict__", ffi::PyObject_GenericGetDict, Some(ffi::PyObject_GenericSetDict)),
            // SAFETY: as above.
            unsafe { std::mem::zeroed() },
        ]);
        let methods = Vec::leak(vec![
            crate::fast_method!(c"append", append),
            crate::fast_method!(c"_sa_appender", append),
            crate::fast_method!(c"remove", remove),
            crate::fast_method!(c"_sa_remover", remove),
            crate::fast_method!(c"_sa_iterator", iterate),
            crate::fast_method!(c"insert", insert),
            crate::fast_method!(c"extend", extend),
            crate::fast_method!(c"pop", pop),
            crate::fast_method!(c"clear", clear),
            crate::fast_method!(c"__reduce_ex__", reduce_ex),
            ffi::PyMethodDef::zeroed(),
        ]);
        let slots = vec![
            type_slot(ffi::Py_tp_base, (&raw mut ffi::PyList_Type).cast()),
            type_slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
            type_slot(ffi::Py_tp_traverse, traverse as *mut c_void),
            type_slot(ffi::Py_tp_clear, clear_references as *mut c_void),
            type_slot(ffi::Py_mp_ass_subscript, assign_subscript as *mut c_void),
            type_slot(ffi::Py_sq_inplace_concat, inplace_concat as *mut c_void),
            type_slot(ffi::Py_tp_members, members.as_mut_ptr().cast()),
            type_slot(ffi::Py_tp_getset, getsets.as_mut_ptr().cast()),
            type_slot(ffi::Py_tp_methods, methods.as_mut_ptr().cast()),
        ];
        let flags = ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC;
        // SAFETY: the functions above work on `ListObject`s, which begin as lists do.
        let made = unsafe {
            raw::make_type(py, c"rustalchemy.orm.collections.InstrumentedList", size_of::<ListObject>(), flags, slots)?
        };
        LIST_TYPE.store(made, Ordering::Relaxed);
        // SAFETY: the type was just made.
        let class: Bound<'_, PyAny> = unsafe { Bound::from_borrowed_ptr(py, made.cast()) };
        class.setattr("_sa_instrumented", class.as_ptr() as usize)?;
    }
    // SAFETY: the type is kept for ever.
    Ok(unsafe { Bound::from_borrowed_ptr(py, list_type().cast()) })
}
