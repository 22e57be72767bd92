//! `AttributeEventToken`: what listeners get as `initiator`.
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::attribute::{AttrCore, Initiator, Op};
use crate::errors;
use crate::manager::{ClassManager, ManagerCore};

/// The source of an attribute event: an attribute and an operation.
#[pyclass(frozen, name = "AttributeEventToken", module = "rustalchemy._core")]
pub struct EventToken {
    attr: &'static AttrCore,
    op: Op,
}

// SAFETY: attribute cores live for ever and are only used with the GIL held (`gil_used`).
unsafe impl Send for EventToken {}
// SAFETY: as above.
unsafe impl Sync for EventToken {}

impl Op {
    /// How many there are.
    pub const COUNT: usize = 5;
    fn name(self) -> &'static str {
        match self {
            Self::Remove => "REMOVE",
            Self::Append => "APPEND",
            Self::Replace => "REPLACE",
            Self::BulkReplace => "BULK_REPLACE",
            Self::Modified => "MODIFIED",
        }
    }
    /// The operation of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Remove, Self::Append, Self::Replace, Self::BulkReplace, Self::Modified]
            .into_iter()
            .find(|op| op.name().eq_ignore_ascii_case(name))
    }
}

/// The token of an initiator: the one the attribute's `impl` has, so that listeners can compare by identity.
pub fn of(py: Python<'_>, initiator: Initiator) -> PyResult<Bound<'_, PyAny>> {
    if let Some(token) = &initiator.attr.tokens.borrow()[initiator.op as usize] {
        return Ok(token.bind(py).clone());
    }
    let token = find(py, initiator)?;
    let old = initiator.attr.tokens.borrow_mut()[initiator.op as usize].replace(token.clone().unbind());
    drop(old);
    Ok(token)
}

fn find(py: Python<'_>, initiator: Initiator) -> PyResult<Bound<'_, PyAny>> {
    let name = match initiator.op {
        Op::Remove => "_remove_token",
        Op::Append => "_append_token",
        Op::Replace => "_replace_token",
        Op::BulkReplace => "_bulk_replace_token",
        Op::Modified => "_modified_token",
    };
    // SAFETY: the GIL is held.
    if let Some(descriptor) = unsafe { initiator.attr.object(py) }
        && let Some(source) = descriptor.getattr_opt("impl")?
        && let Some(token) = source.getattr_opt(name)?
    {
        return Ok(token);
    }
    Ok(Bound::new(py, EventToken { attr: initiator.attr, op: initiator.op })?.into_any())
}

/// The initiator a token stands for; `None` for Python's `None` and foreign objects.
pub fn initiator(token: Option<&Bound<'_, PyAny>>) -> Option<Initiator> {
    let token = token.filter(|token| !token.is_none())?;
    if let Ok(token) = token.cast::<EventToken>() {
        let token = token.get();
        return Some(Initiator { attr: token.attr, op: token.op });
    }
    // A token made by Python code names the attribute by its `impl`.
    let source = token.getattr("impl").ok()?;
    let class = source.getattr("class_").ok()?;
    let manager = class.getattr(crate::names::sa_class_manager(token.py())).ok()?.cast_into::<ClassManager>().ok()?;
    let key = source.getattr("key").ok()?.cast_into::<PyString>().ok()?;
    let attr = ManagerCore::of(&manager).attr_by_key(&key)?;
    let op = Op::from_name(token.getattr("op").ok()?.getattr("name").ok()?.extract::<String>().ok()?.as_str())?;
    Some(Initiator { attr, op })
}

#[pymethods]
impl EventToken {
    /// The attribute's `impl`.
    #[getter(r#impl)]
    fn impl_<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.descriptor(py)?.getattr("impl")
    }
    /// The attribute's descriptor.
    #[getter]
    fn descriptor<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the GIL is held.
        unsafe { self.attr.object(py) }
            .ok_or_else(|| errors::invalid_request(py, "the attribute of this event is gone".to_owned()))
    }
    /// `impl.parent_token`.
    #[getter]
    fn parent_token<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.impl_(py)?.getattr("parent_token")
    }
    /// `REMOVE`, `APPEND`, `REPLACE`, `BULK_REPLACE` or `MODIFIED`.
    #[getter]
    fn op(&self) -> &'static str {
        self.op.name()
    }
    /// The attribute's name.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.attr.key(py).clone()
    }
    /// Does the state have a parent along this attribute?
    fn hasparent(&self, state: &Bound<'_, PyAny>) -> PyResult<bool> {
        let state = crate::instance_state::expect_state(state)?;
        Ok(crate::relationship::has_parent(*state, self.attr.token.get(), false))
    }
    fn __eq__(&self, other: &Bound<'_, PyAny>) -> bool {
        other.cast::<Self>().is_ok_and(|other| std::ptr::eq(other.get().attr, self.attr) && other.get().op == self.op)
    }
    fn __hash__(&self) -> usize {
        (std::ptr::from_ref(self.attr) as usize >> 4) ^ self.op as usize
    }
}
