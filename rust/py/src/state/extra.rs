//! What only some states have, in boxes beside them: old values, parents, what Python asked for.
use std::rc::Rc;

use pyo3::ffi;
use pyo3::prelude::*;
use smallvec::SmallVec;

use crate::pending::PendingMutations;

use super::{StateRef, Tombstone};

/// What only some states have: changed ones, related ones. All object pointers are owned unless said otherwise. Small, with room
/// for one old value and one parent: a flush of many objects that changed walks over many of these.
#[derive(Default)]
pub struct StateExtra {
    /// Old values of modified attributes that had one.
    pub committed: SmallVec<[(u32, *mut ffi::PyObject); 1]>,
    /// Which parent holds this object, by relationship token.
    pub parents: SmallVec<[(usize, Parent); 1]>,
    /// What remains of this state for its children, once it is gone.
    pub tombstone: Option<Rc<Tombstone>>,
    /// The `InstanceState` of an inline object.
    pub view: *mut ffi::PyObject,
    /// `load_options`.
    pub load_options: *mut ffi::PyObject,
    /// `load_path`.
    pub load_path: *mut ffi::PyObject,
    /// What hardly any state has.
    pub rare: Option<Box<RareExtra>>,
}

/// The part of a state that hardly any state has.
#[derive(Default)]
pub struct RareExtra {
    /// Empty collections handed out for unset attributes, stored at their first change.
    pub empty_collections: Vec<(u32, *mut ffi::PyObject)>,
    /// Changes queued on collections that are not loaded.
    pub pending: Vec<(u32, PendingMutations)>,
    /// Last values of attributes tracked through expiry (`_track_last_known_value`).
    pub last_known: Vec<(u32, *mut ffi::PyObject)>,
    /// `callables`: dict of attribute name to per-state loader.
    pub callables: *mut ffi::PyObject,
    /// `info`.
    pub info: *mut ffi::PyObject,
    /// Identity token (third part of the identity key); null means `None`.
    pub identity_token: *mut ffi::PyObject,
}

impl StateExtra {
    /// Are the options more than a tuple: were strategies chosen for single attributes?
    pub fn has_overrides(&self) -> bool {
        let options = self.load_options;
        // SAFETY: null or a valid object, owned by the state.
        unsafe { !options.is_null() && ffi::PyTuple_Check(options) != 0 && ffi::PyTuple_CheckExact(options) == 0 }
    }
    /// One of its own for a state that shared this: there is nothing in it but options.
    fn with_same_options(&self) -> Self {
        // SAFETY: valid objects or null; the new owner gets references of its own.
        unsafe {
            ffi::Py_XINCREF(self.load_options);
            ffi::Py_XINCREF(self.load_path);
        }
        Self { load_options: self.load_options, load_path: self.load_path, ..Self::default() }
    }
    /// Did no statement's options stay with the object?
    pub fn has_no_load_options(&self) -> bool {
        let options = self.load_options;
        // SAFETY: null or a valid object, owned by the state.
        unsafe { options.is_null() || (ffi::PyTuple_CheckExact(options) != 0 && ffi::PyTuple_GET_SIZE(options) == 0) }
    }
    /// Did the options that stayed choose no loader for any attribute? Those that did are of a class of their own.
    pub fn has_no_chosen_loaders(&self) -> bool {
        let options = self.load_options;
        // SAFETY: null or a valid object, owned by the state.
        unsafe { options.is_null() || ffi::PyTuple_CheckExact(options) != 0 }
    }
}

/// `load_options` and `load_path` that many states have. They lead to no object: the collector is not told of them.
pub struct SharedOptions(Rc<StateExtra>);

impl SharedOptions {
    /// Options and path, owned from now on.
    pub fn new(options: Py<PyAny>, path: Py<PyAny>) -> Self {
        let (load_options, load_path) = (options.into_ptr(), path.into_ptr());
        Self(Rc::new(StateExtra { load_options, load_path, ..StateExtra::default() }))
    }
}

impl Drop for SharedOptions {
    fn drop(&mut self) {
        // Nothing left of the states: the options go with this handle.
        if let Some(extra) = Rc::get_mut(&mut self.0) {
            let owned = [&mut extra.load_options, &mut extra.load_path]
                .map(|field| std::mem::replace(field, std::ptr::null_mut()));
            // SAFETY: both were owned, and nobody finds them any more.
            owned.into_iter().for_each(|object| unsafe { ffi::Py_XDECREF(object) });
        }
    }
}

/// What is known about the parent of an object along one relationship.
pub enum Parent {
    /// Removed from its parent.
    Gone,
    /// Held by this parent.
    Held(Rc<Tombstone>),
}

impl StateRef {
    /// The extra part, if there is one. Not to be kept across Python calls.
    #[inline]
    pub fn extra(self) -> Option<&'static StateExtra> {
        // SAFETY: contract of `StateRef`; callers do not keep the reference.
        unsafe { (*self.0.as_ptr()).extra.as_deref() }
    }
    /// The extra part, for change of what is in it beside loader options: none if there is nothing else. Not to be kept across
    /// Python calls.
    #[inline]
    #[allow(clippy::mut_from_ref)]
    pub fn extra_opt_mut(self) -> Option<&'static mut StateExtra> {
        // SAFETY: as above; the GIL makes it exclusive.
        unsafe { (*self.0.as_ptr()).extra.as_mut().and_then(Rc::get_mut) }
    }
    /// The extra part, made when missing, and the state's own from now on. Not to be kept across Python calls.
    #[inline]
    pub fn extra_mut(self) -> &'static mut StateExtra {
        // SAFETY: as above.
        let extra = unsafe { (*self.0.as_ptr()).extra.get_or_insert_default() };
        if Rc::strong_count(extra) > 1 {
            *extra = Rc::new(extra.with_same_options());
        }
        // SAFETY: this state is the only owner now, and there are no weak handles.
        unsafe { &mut *Rc::as_ptr(extra).cast_mut() }
    }
    /// Keeps the options that other states of a load keep, too. The state has no extra part yet.
    #[inline]
    pub fn share_options(self, options: &SharedOptions) {
        // SAFETY: as above; there is nothing that this replaces.
        unsafe { (*self.0.as_ptr()).extra = Some(Rc::clone(&options.0)) }
    }
    /// The changes queued on one collection, made when there are none. Not to be kept across Python calls.
    pub fn pending_mutations(self, index: u32) -> &'static mut PendingMutations {
        let pending = &mut self.rare_mut().pending;
        let at = pending.iter().position(|(at, _)| *at == index).unwrap_or_else(|| {
            pending.push((index, PendingMutations::default()));
            pending.len() - 1
        });
        &mut pending[at].1
    }
    /// The rarely needed part, if there is one. Not to be kept across Python calls.
    #[inline]
    pub fn rare(self) -> Option<&'static RareExtra> {
        self.extra().and_then(|extra| extra.rare.as_deref())
    }
    /// The rarely needed part, if there is one, for change. Not to be kept across Python calls.
    #[inline]
    pub fn rare_opt_mut(self) -> Option<&'static mut RareExtra> {
        self.extra_opt_mut().and_then(|extra| extra.rare.as_deref_mut())
    }
    /// The rarely needed part, made when missing. Not to be kept across Python calls.
    pub fn rare_mut(self) -> &'static mut RareExtra {
        self.extra_mut().rare.get_or_insert_default()
    }

    // ---- single objects of these parts -----------------------------------------------------------------------------

    /// An object of the extra part.
    pub fn extra_object<'py>(
        self,
        py: Python<'py>,
        field: fn(&StateExtra) -> *mut ffi::PyObject,
    ) -> Option<Bound<'py, PyAny>> {
        // SAFETY: owned by the state, or null.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.extra().map_or(std::ptr::null_mut(), field)) }
    }
    /// An object of the rare part.
    pub fn rare_object<'py>(
        self,
        py: Python<'py>,
        field: fn(&RareExtra) -> *mut ffi::PyObject,
    ) -> Option<Bound<'py, PyAny>> {
        // SAFETY: owned by the state, or null.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.rare().map_or(std::ptr::null_mut(), field)) }
    }
    /// Puts an object, or `None` for nothing, into a field of the extra part.
    pub fn put_extra(self, value: Option<Bound<'_, PyAny>>, field: fn(&mut StateExtra) -> &mut *mut ffi::PyObject) {
        self.put(value, self.extra().is_some(), |state| field(state.extra_mut()));
    }
    /// As `put_extra`, for a field of the rare part.
    pub fn put_rare(self, value: Option<Bound<'_, PyAny>>, field: fn(&mut RareExtra) -> &mut *mut ffi::PyObject) {
        self.put(value, self.rare().is_some(), |state| field(state.rare_mut()));
    }
    /// What stood in the field goes last: that may run Python code.
    fn put(
        self,
        value: Option<Bound<'_, PyAny>>,
        has_field: bool,
        field: impl FnOnce(Self) -> &'static mut *mut ffi::PyObject,
    ) {
        let value = value.filter(|value| !value.is_none());
        if value.is_none() && !has_field {
            return;
        }
        if let Some(value) = &value {
            self.track(value.as_ptr());
        }
        let new = value.map_or(std::ptr::null_mut(), Bound::into_ptr);
        let old = std::mem::replace(field(self), new);
        // SAFETY: the field owned it.
        unsafe { ffi::Py_XDECREF(old) }
    }
}
