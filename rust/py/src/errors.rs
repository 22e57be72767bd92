//! Errors of the core as SQLAlchemy's exception classes.
use pyo3::PyErr;
use pyo3::prelude::*;

use crate::hooks;
use crate::imports::{self, ImportedType};

/// An exception of an imported class with a message.
pub fn of(py: Python<'_>, class: &ImportedType, message: String) -> PyErr {
    match class.get(py) {
        Ok(class) => PyErr::from_type(class.clone(), (message,)),
        Err(error) => error,
    }
}

/// `sqlalchemy.exc.InvalidRequestError`.
pub fn invalid_request(py: Python<'_>, message: String) -> PyErr {
    of(py, &imports::INVALID_REQUEST, message)
}

/// The error for a write in a read-only session.
pub fn read_only(py: Python<'_>, what: &str) -> PyErr {
    invalid_request(
        py,
        format!(
            "This Session is read-only: {what} is refused. Use a Session without read_only=True for what is to be written."
        ),
    )
}

/// `UnmappedInstanceError` for an object, made by Python (its message depends on the mapper registry).
pub fn unmapped_instance(py: Python<'_>, object: &Bound<'_, PyAny>) -> PyErr {
    match hooks::hook(py, "unmapped_instance").and_then(|hook| hook.call1((object,))) {
        Ok(error) => PyErr::from_value(error),
        Err(_) => of(py, &imports::UNMAPPED_INSTANCE, format!("Class '{}' is not mapped", class_name(object))),
    }
}

/// `module.Class` of an object, for messages.
pub fn class_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().fully_qualified_name().map_or_else(|_| "?".to_owned(), |name| name.to_string())
}

/// `<Class at 0x…>`, as SQLAlchemy's `instance_str`.
pub fn instance_str(object: &Bound<'_, PyAny>) -> String {
    let name = object.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    format!("<{name} at {:#x}>", object.as_ptr() as usize)
}

/// Emits an `SAWarning`.
pub fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    if let Ok(hook) = hooks::hook(py, "warn") {
        hook.call1((message,))?;
        return Ok(());
    }
    let text = std::ffi::CString::new(message).unwrap_or_default();
    PyErr::warn(py, imports::SA_WARNING.get(py)?, &text, 2)
}
