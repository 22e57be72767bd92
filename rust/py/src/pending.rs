//! Changes queued on collections that are not in memory.
use std::ops::Deref;

use hashbrown::HashSet;
use pyo3::ffi;

/// Appends and removals queued on one unloaded collection, by identity, in order.
#[derive(Default)]
pub struct PendingMutations {
    /// Added objects.
    pub added: IdentityList,
    /// Removed objects.
    pub removed: IdentityList,
}

impl PendingMutations {
    /// Lets go of all objects: that may run Python code.
    pub fn release(self) {
        for object in self.added.into_iter().chain(self.removed) {
            // SAFETY: queued objects are owned.
            unsafe { ffi::Py_DECREF(object) }
        }
    }
}

/// Objects by identity, each once, in the order in which they came. Owns a reference to each; whoever takes the list apart
/// takes the references over.
#[derive(Default)]
pub struct IdentityList {
    items: Vec<*mut ffi::PyObject>,
    /// The members, once there are too many to look at one by one.
    index: Option<HashSet<usize>>,
}

impl IdentityList {
    /// Up to this many members a walk is as fast as a look-up.
    const SHORT: usize = 16;

    fn has(&self, object: *mut ffi::PyObject) -> bool {
        match &self.index {
            Some(index) => index.contains(&(object as usize)),
            None => self.items.contains(&object),
        }
    }
    /// Takes an object in, with its reference; false (and the reference stays the caller's) if it is there already.
    pub fn push(&mut self, object: *mut ffi::PyObject) -> bool {
        if self.has(object) {
            return false;
        }
        self.items.push(object);
        if let Some(index) = &mut self.index {
            index.insert(object as usize);
        } else if self.items.len() > Self::SHORT {
            self.index = Some(self.items.iter().map(|&object| object as usize).collect());
        }
        true
    }
    /// Lets an object go; true if it was there, and then its reference is the caller's.
    pub fn take(&mut self, object: *mut ffi::PyObject) -> bool {
        if !self.has(object) {
            return false;
        }
        self.items.retain(|&known| known != object);
        if let Some(index) = &mut self.index {
            index.remove(&(object as usize));
        }
        true
    }
}

impl Deref for IdentityList {
    type Target = [*mut ffi::PyObject];
    fn deref(&self) -> &Self::Target {
        &self.items
    }
}

impl IntoIterator for IdentityList {
    type Item = *mut ffi::PyObject;
    type IntoIter = std::vec::IntoIter<*mut ffi::PyObject>;
    fn into_iter(self) -> Self::IntoIter {
        self.items.into_iter()
    }
}
