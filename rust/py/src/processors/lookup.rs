//! Enumerations: text to member and back, by the dictionaries of the type.

use pyo3::PyTraverseError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// What stands in the dictionary for this exact `str`.
pub fn by_text<'py>(table: &Bound<'py, PyDict>, value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    value.cast_exact::<PyString>().ok().and_then(|text| table.get_item(text).ok().flatten())
}

/// The members of an enumeration with their texts, compared by identity: hashing a member would run Python code.
pub struct MemberTable {
    members: Vec<(Py<PyAny>, Py<PyAny>)>,
}

impl MemberTable {
    /// Above so many members the dictionary is faster.
    const LIMIT: usize = 48;

    /// Takes the keys that are not texts out of a type's dictionary.
    pub fn from_dict(table: &Bound<'_, PyDict>) -> Self {
        let mut members: Vec<_> = table
            .iter()
            .filter(|(member, _)| !member.is_none() && !member.is_exact_instance_of::<PyString>())
            .map(|(member, text)| (member.unbind(), text.unbind()))
            .collect();
        if members.len() > Self::LIMIT {
            members.clear();
        }
        Self { members }
    }

    /// The text of this very object.
    pub fn text_of<'py>(&self, value: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
        self.members
            .iter()
            .find(|(member, _)| member.as_ptr() == value.as_ptr())
            .map(|(_, text)| text.bind(value.py()).clone())
    }

    /// Shows its references to the collector.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.members.iter().try_for_each(|(member, text)| {
            visit.call(member)?;
            visit.call(text)
        })
    }
}
