//! Things by key, for loads that look for the children of many parents.
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::identity;

/// A dict of lists. Equal keys mostly come one after the other.
pub struct Groups<'py> {
    lists: Bound<'py, PyDict>,
    last: Option<(Bound<'py, PyAny>, Bound<'py, PyList>)>,
}

impl<'py> Groups<'py> {
    /// No groups yet.
    pub fn new(py: Python<'py>) -> Self {
        Self { lists: PyDict::new(py), last: None }
    }

    /// Adds to the list of a key.
    pub fn add(&mut self, key: Bound<'py, PyAny>, value: Bound<'py, PyAny>) -> PyResult<()> {
        if let Some((last, list)) = &self.last
            && identity::is_surely_equal(last, &key)
        {
            return list.append(value);
        }
        let list = match self.lists.get_item(&key)? {
            Some(list) => list.cast_into::<PyList>()?,
            None => {
                let list = PyList::empty(key.py());
                self.lists.set_item(&key, &list)?;
                list
            }
        };
        list.append(value)?;
        self.last = Some((key, list));
        Ok(())
    }

    /// The groups, in the order of their first members.
    pub fn into_dict(self) -> Bound<'py, PyDict> {
        self.lists
    }
}
