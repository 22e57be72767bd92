//! What the raw types (`Instance`, `AttributeDescriptor`) share: calls from C into fallible Rust, and CPython functions
//! that `pyo3::ffi` does not declare.
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use pyo3::exceptions::{PySystemError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyTupleMethods};

unsafe extern "C" {
    /// MRO lookup through the type's method cache; borrowed result, null without an exception when missing.
    pub fn _PyType_Lookup(class: *mut ffi::PyTypeObject, name: *mut ffi::PyObject) -> *mut ffi::PyObject;
}

/// The object a borrowed pointer names, or nothing once its deallocation has begun. While an object is torn down, with a count
/// of zero, Python code may run and come by such a pointer: a new reference would be given back to an object that is going,
/// and it would go twice.
///
/// # Safety
/// `object` is null or not freed yet, and the GIL is held.
#[inline]
pub unsafe fn living(py: Python<'_>, object: *mut ffi::PyObject) -> Option<Bound<'_, PyAny>> {
    // SAFETY: promised by the caller.
    unsafe { if is_living(object) { Some(Bound::from_borrowed_ptr(py, object)) } else { None } }
}

/// Whether a borrowed pointer names an object that can be handed out, see `living`.
///
/// # Safety
/// As `living`.
#[inline]
pub unsafe fn is_living(object: *mut ffi::PyObject) -> bool {
    // SAFETY: promised by the caller.
    !object.is_null() && unsafe { ffi::Py_REFCNT(object) } > 0
}

/// Takes a tuple whose values cannot be part of a cycle from the collector, as the collector itself would when it comes by.
/// Whether it is not the collector's business (any more).
pub fn untrack_plain_tuple(values: &Bound<'_, PyAny>) -> bool {
    let Ok(tuple) = values.cast_exact::<PyTuple>() else { return false };
    // SAFETY: valid objects; a tuple has a collector header.
    unsafe {
        if ffi::PyObject_GC_IsTracked(values.as_ptr()) == 0 {
            return true;
        }
        let is_plain = tuple.iter_borrowed().all(|value| ffi::PyObject_IS_GC(value.as_ptr()) == 0);
        if is_plain {
            ffi::PyObject_GC_UnTrack(values.as_ptr().cast());
        }
        is_plain
    }
}

/// What a C function returns when Rust failed.
pub trait Failure {
    /// The value that says "an exception is set".
    fn failure() -> Self;
}
impl Failure for *mut ffi::PyObject {
    fn failure() -> Self {
        ptr::null_mut()
    }
}
impl Failure for c_int {
    fn failure() -> Self {
        -1
    }
}

/// Runs fallible Rust on behalf of the interpreter: errors become the current exception, a panic becomes `SystemError`.
///
/// # Safety
/// Called by the interpreter, with the GIL held.
#[inline]
pub unsafe fn guarded<R: Failure>(body: impl FnOnce(Python<'_>) -> PyResult<R>) -> R {
    // SAFETY: promised by the caller.
    let py = unsafe { Python::assume_attached() };
    let error = match catch_unwind(AssertUnwindSafe(|| body(py))) {
        Ok(Ok(result)) => return result,
        Ok(Err(error)) => error,
        Err(_) => PySystemError::new_err("the native core panicked: please report this"),
    };
    error.restore(py);
    R::failure()
}

/// The most arguments `call` takes.
const MOST_ARGUMENTS: usize = 6;

/// Calls a Python object without making a tuple of its arguments; the last ones go by the names in `names`.
pub fn call<'a, 'py: 'a>(
    function: &Bound<'py, PyAny>,
    arguments: impl Iterator<Item = &'a Bound<'py, PyAny>>,
    names: Option<&Bound<'py, PyTuple>>,
) -> PyResult<Bound<'py, PyAny>> {
    // The first place is for the callee, see PY_VECTORCALL_ARGUMENTS_OFFSET.
    let mut places = [ptr::null_mut(); MOST_ARGUMENTS + 1];
    let mut count = 0;
    for (place, argument) in places[1..].iter_mut().zip(arguments) {
        *place = argument.as_ptr();
        count += 1;
    }
    let by_name = names.map_or(0, |names| names.len());
    let names = names.map_or(ptr::null_mut(), Bound::as_ptr);
    // SAFETY: `count` borrowed arguments, which the caller keeps alive, stand behind the place for the callee; the names
    // are those of the last ones.
    unsafe {
        let flagged = (count - by_name) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let answer = ffi::PyObject_Vectorcall(function.as_ptr(), places[1..].as_ptr(), flagged, names);
        Bound::from_owned_ptr_or_err(function.py(), answer)
    }
}

/// The length of a sequence, without asking whether it is one of `collections.abc`.
pub fn sequence_len(sequence: &Bound<'_, PyAny>) -> PyResult<isize> {
    // SAFETY: a living object; anything else than a sequence is an error.
    let len = unsafe { ffi::PySequence_Size(sequence.as_ptr()) };
    if len < 0 { Err(PyErr::fetch(sequence.py())) } else { Ok(len) }
}

/// An item of a sequence.
pub fn sequence_item<'py>(sequence: &Bound<'py, PyAny>, index: isize) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a living object; a new reference, or null with an exception.
    unsafe { Bound::from_owned_ptr_or_err(sequence.py(), ffi::PySequence_GetItem(sequence.as_ptr(), index)) }
}

/// A method of a raw type.
pub type RawMethod =
    for<'py> fn(&Bound<'py, PyAny>, &Bound<'py, PyTuple>, Option<&Bound<'py, PyDict>>) -> PyResult<Py<PyAny>>;

/// Calls a `RawMethod` with the arguments of a `METH_VARARGS | METH_KEYWORDS` function.
///
/// # Safety
/// As `guarded`; the pointers are the interpreter's.
pub unsafe fn call_method(
    slf: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
    method: RawMethod,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes living objects of the documented types.
    unsafe {
        guarded(|py| {
            let slf = Bound::from_borrowed_ptr(py, slf);
            let args = Bound::from_borrowed_ptr(py, args).cast_into_unchecked::<PyTuple>();
            let kwargs =
                Bound::from_borrowed_ptr_or_opt(py, kwargs).map(|kwargs| kwargs.cast_into_unchecked::<PyDict>());
            Ok(method(&slf, &args, kwargs.as_ref())?.into_ptr())
        })
    }
}

/// A `PyMethodDef` for a `RawMethod`.
#[macro_export]
macro_rules! raw_method {
    ($name:literal, $method:path) => {{
        unsafe extern "C" fn call(
            slf: *mut pyo3::ffi::PyObject,
            args: *mut pyo3::ffi::PyObject,
            kwargs: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            // SAFETY: called by the interpreter.
            unsafe { $crate::raw::call_method(slf, args, kwargs, $method) }
        }
        pyo3::ffi::PyMethodDef {
            ml_name: $name.as_ptr(),
            ml_meth: pyo3::ffi::PyMethodDefPointer { PyCFunctionWithKeywords: call },
            ml_flags: pyo3::ffi::METH_VARARGS | pyo3::ffi::METH_KEYWORDS,
            ml_doc: std::ptr::null(),
        }
    }};
}

/// The arguments of a `FastMethod`, where the caller put them: nothing is made for the call.
pub struct FastArgs<'a, 'py> {
    positional: &'a [*mut ffi::PyObject],
    named: &'a [*mut ffi::PyObject],
    names: Option<Bound<'py, PyTuple>>,
    py: Python<'py>,
}

impl<'py> FastArgs<'_, 'py> {
    /// The argument at this position.
    pub fn get(&self, position: usize) -> Option<Bound<'py, PyAny>> {
        // SAFETY: the caller keeps its arguments alive during the call.
        self.positional.get(position).map(|&value| unsafe { Bound::from_borrowed_ptr(self.py, value) })
    }
    /// The argument at this position, which has to be there.
    pub fn need(&self, position: usize) -> PyResult<Bound<'py, PyAny>> {
        self.get(position).ok_or_else(|| PyTypeError::new_err(format!("argument {} is missing", position + 1)))
    }
    /// The argument with this name.
    pub fn named(&self, name: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Some(names) = &self.names else { return Ok(None) };
        for (known, &value) in names.iter_borrowed().zip(self.named) {
            if known.cast::<PyString>()?.to_str()? == name {
                // SAFETY: as `get`.
                return Ok(Some(unsafe { Bound::from_borrowed_ptr(self.py, value) }));
            }
        }
        Ok(None)
    }
}

/// A method of a raw type that is called often.
pub type FastMethod = for<'a, 'py> fn(&Bound<'py, PyAny>, &FastArgs<'a, 'py>) -> PyResult<Py<PyAny>>;

/// Calls a `FastMethod` with the arguments of a `METH_FASTCALL | METH_KEYWORDS` function.
///
/// # Safety
/// As `guarded`; the pointers are the interpreter's: `count` positional arguments, then one for each name.
pub unsafe fn call_fast_method(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    keywords: *mut ffi::PyObject,
    method: FastMethod,
) -> *mut ffi::PyObject {
    // SAFETY: the interpreter passes living objects of the documented types.
    unsafe {
        guarded(|py| {
            let slf = Bound::from_borrowed_ptr(py, slf);
            let keywords =
                Bound::from_borrowed_ptr_or_opt(py, keywords).map(|keywords| keywords.cast_into_unchecked::<PyTuple>());
            let count = usize::try_from(count).unwrap_or(0);
            let all = count + keywords.as_ref().map_or(0, PyTupleMethods::len);
            let values = if all == 0 { &[] } else { std::slice::from_raw_parts(args, all) };
            let (positional, named) = values.split_at(count);
            Ok(method(&slf, &FastArgs { positional, named, names: keywords, py })?.into_ptr())
        })
    }
}

/// A `PyMethodDef` for a `FastMethod`.
#[macro_export]
macro_rules! fast_method {
    ($name:literal, $method:path) => {{
        unsafe extern "C" fn call(
            slf: *mut pyo3::ffi::PyObject,
            args: *const *mut pyo3::ffi::PyObject,
            count: pyo3::ffi::Py_ssize_t,
            names: *mut pyo3::ffi::PyObject,
        ) -> *mut pyo3::ffi::PyObject {
            // SAFETY: called by the interpreter.
            unsafe { $crate::raw::call_fast_method(slf, args, count, names, $method) }
        }
        pyo3::ffi::PyMethodDef {
            ml_name: $name.as_ptr(),
            ml_meth: pyo3::ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: call },
            ml_flags: pyo3::ffi::METH_FASTCALL | pyo3::ffi::METH_KEYWORDS,
            ml_doc: std::ptr::null(),
        }
    }};
}

/// A `PyType_Slot` holding any pointer.
pub fn type_slot(slot: c_int, pointer: *mut std::ffi::c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot, pfunc: pointer }
}

/// Makes a heap type. `methods`, `getset` and `members` must live for ever.
///
/// # Safety
/// The slots are function pointers and tables of the right types for a struct of `basic_size` bytes.
pub unsafe fn make_type(
    py: Python<'_>,
    name: &'static std::ffi::CStr,
    basic_size: usize,
    flags: std::ffi::c_ulong,
    mut slots: Vec<ffi::PyType_Slot>,
) -> PyResult<*mut ffi::PyTypeObject> {
    slots.push(type_slot(0, ptr::null_mut()));
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)]
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: basic_size as c_int,
        itemsize: 0,
        flags: flags as std::ffi::c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: promised by the caller.
    unsafe {
        let object = ffi::PyType_FromSpec(&raw mut spec);
        if object.is_null() { Err(PyErr::fetch(py)) } else { Ok(object.cast()) }
    }
}
