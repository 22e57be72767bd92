//! UUIDs stored as 32 hexadecimal digits.

use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use pyo3::{PyTraverseError, ffi, intern};

/// Makes and reads `uuid.UUID` objects without their Python constructor.
pub struct UuidFactory {
    class: Py<PyType>,
    is_safe: Py<PyAny>,
}

/// The number written as 32 hexadecimal digits, or as 36 characters with dashes in the usual places.
fn parse(text: &[u8]) -> Option<u128> {
    let has_dashes = match text.len() {
        32 => false,
        36 => true,
        _ => return None,
    };
    let mut number = 0_u128;
    for (at, &byte) in text.iter().enumerate() {
        if has_dashes && matches!(at, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        number = (number << 4) | u128::from(char::from(byte).to_digit(16)?);
    }
    Some(number)
}

/// The number in an exact `str`.
fn number_of(value: &Bound<'_, PyAny>) -> Option<u128> {
    parse(value.cast_exact::<PyString>().ok()?.to_str().ok()?.as_bytes())
}

/// The usual writing with dashes, from either writing.
pub fn canonical_text<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let hex = format!("{:032x}", number_of(value)?);
    let text = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
    Some(PyString::new(value.py(), &text).into_any())
}

/// A text without its dashes.
pub fn without_dashes<'py>(value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    let text = value.cast_exact::<PyString>().ok()?;
    Some(PyString::new(value.py(), &text.to_str().ok()?.replace('-', "")).into_any())
}

impl UuidFactory {
    /// Looks the classes up.
    pub fn new(py: Python<'_>) -> PyResult<Self> {
        let module = py.import("uuid")?;
        Ok(Self {
            class: module.getattr("UUID")?.cast_into::<PyType>()?.unbind(),
            is_safe: module.getattr("SafeUUID")?.getattr("unknown")?.unbind(),
        })
    }

    /// A `UUID` from its text.
    pub fn read<'py>(&self, value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        let py = value.py();
        let number = number_of(value)?.into_pyobject(py).ok()?;
        let class = self.class.as_ptr().cast::<ffi::PyTypeObject>();
        // SAFETY: `class` is the live type `uuid.UUID`; `PyType_GenericNew` gives a new reference or null with an error
        // set, and runs no Python code. Both attributes are slots of that class; setting them through the generic
        // function passes by `UUID.__setattr__`, as the class's own constructor does.
        unsafe {
            let made = ffi::PyType_GenericNew(class, std::ptr::null_mut(), std::ptr::null_mut());
            let made = Bound::from_owned_ptr_or_opt(py, made)?;
            let name = intern!(py, "int").as_ptr();
            let is_int_set = ffi::PyObject_GenericSetAttr(made.as_ptr(), name, number.as_ptr());
            let name = intern!(py, "is_safe").as_ptr();
            let is_safe_set = ffi::PyObject_GenericSetAttr(made.as_ptr(), name, self.is_safe.as_ptr());
            if is_int_set == 0 && is_safe_set == 0 {
                Some(made)
            } else {
                ffi::PyErr_Clear();
                None
            }
        }
    }

    /// The 32 digits of an exact `UUID`.
    pub fn hex<'py>(&self, value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        let py = value.py();
        if !value.get_type().is(self.class.bind(py)) {
            return None;
        }
        let number: u128 = value.getattr(intern!(py, "int")).ok()?.extract().ok()?;
        Some(PyString::new(py, &format!("{number:032x}")).into_any())
    }

    /// Shows its references to the collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.class)?;
        visit.call(&self.is_safe)
    }
}
