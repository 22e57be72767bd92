//! What Python sees of `InstanceState`: SQLAlchemy's inspection API.
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyString, PyTuple, PyType};

use crate::attribute::{AttrCore, AttrKind};
use crate::flags;
use crate::instance_state::{InstanceState, Living, dict_of, expect_state};
use crate::manager::{ClassManager, ManagerCore};
use crate::slots;
use crate::state::{StateRef, state_of};
use crate::unit_of_work_core::{UnitOfWorkCore, UowRef};
use crate::{expiry, history, identity_key, names, relationship};

fn key_set<'py>(py: Python<'py>, state: StateRef, wanted: impl Fn(&AttrCore) -> bool) -> PyResult<Bound<'py, PySet>> {
    let keys = PySet::empty(py)?;
    for attr in state.manager().attrs() {
        if wanted(attr) {
            keys.add(attr.key(py))?;
        }
    }
    Ok(keys)
}

impl InstanceState {
    /// The state with what it has now: a pending expiry is applied.
    fn living<'py>(slf: &Bound<'py, Self>) -> PyResult<Living<'py>> {
        let state = expect_state(slf.as_any())?;
        expiry::apply_pending(slf.py(), *state)?;
        Ok(state)
    }
}

#[pymethods]
impl InstanceState {
    #[new]
    #[pyo3(signature = (*_args, **_kw))]
    fn new(_args: &Bound<'_, PyTuple>, _kw: Option<&Bound<'_, PyDict>>) -> Self {
        Self::empty()
    }
    #[classattr]
    #[pyo3(name = "is_instance")]
    const IS_INSTANCE: bool = true;

    /// The mapped object, or None once it is gone.
    pub fn obj<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: a living object or null.
        unsafe { Bound::from_borrowed_ptr_or_opt(py, self.target_ptr()) }
    }
    /// The mapped object, or None once it is gone.
    #[getter]
    fn object<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.obj(py)
    }
    /// The mapped object's class.
    #[getter]
    fn class_<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyType>> {
        self.class(py)
    }
    /// The class manager.
    #[getter]
    fn manager<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        match Living::of(slf) {
            Some(state) => Ok(state.manager().object(slf.py()).into_any()),
            None => slf.get().class(slf.py()).into_pyobject(slf.py())?.getattr(names::sa_class_manager(slf.py())),
        }
    }
    /// The mapper.
    #[getter]
    fn mapper<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::manager(slf)?.getattr("mapper")
    }
    /// The object's `__dict__`; an empty dict once it is gone.
    #[getter]
    fn dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        match Living::of(slf) {
            Some(state) => dict_of(slf.py(), *state),
            None => Ok(PyDict::new(slf.py()).into_any()),
        }
    }

    // ---- identity ------------------------------------------------------------------------------------------------

    /// The identity key, or None.
    #[getter]
    fn key<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        Living::of(slf).filter(|state| state.has_key()).map(|state| identity_key::of(slf.py(), *state)).transpose()
    }
    #[setter]
    fn set_key(slf: &Bound<'_, Self>, key: Option<Bound<'_, PyTuple>>) -> PyResult<()> {
        identity_key::set(*Self::living(slf)?, key)
    }
    #[deleter]
    fn delete_key(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::set_key(slf, None)
    }
    /// The identity key, or None.
    #[getter(identity_key)]
    fn py_identity_key<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        Self::key(slf)
    }
    /// The primary key as a tuple, or None.
    #[getter(identity)]
    fn py_identity<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyTuple>>> {
        Living::of(slf).map_or(Ok(None), |state| identity_key::primary_key(slf.py(), *state))
    }
    /// The identity token, or None.
    #[getter]
    fn identity_token<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(expect_state(slf.as_any())?.rare_object(slf.py(), |rare| rare.identity_token))
    }
    #[setter]
    fn set_identity_token<'py>(slf: &Bound<'py, Self>, token: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        expect_state(slf.as_any())?.put_rare(token, |rare| &mut rare.identity_token);
        Ok(())
    }
    /// Has an identity key?
    #[getter]
    fn has_identity(&self) -> bool {
        self.state().is_some_and(StateRef::has_key)
    }

    // ---- lifecycle -----------------------------------------------------------------------------------------------

    /// Neither identity nor session.
    #[getter]
    fn transient(&self) -> bool {
        self.state().is_none_or(StateRef::is_transient)
    }
    /// In a session, without identity.
    #[getter]
    fn pending(&self) -> bool {
        self.state().is_some_and(StateRef::is_pending)
    }
    /// In a session's identity map.
    #[getter]
    fn persistent(&self) -> bool {
        self.state().is_some_and(StateRef::is_persistent)
    }
    /// Deleted by a flush of the running transaction.
    #[getter]
    fn deleted(&self) -> bool {
        self.state().is_some_and(StateRef::is_deleted)
    }
    /// Has an identity, is in no session.
    #[getter]
    fn detached(&self) -> bool {
        self.state().is_some_and(StateRef::is_detached)
    }
    /// Was deleted by a flush, and that was not rolled back.
    #[getter]
    fn was_deleted(&self) -> bool {
        self.state().is_some_and(|state| state.has(flags::DELETED))
    }
    #[getter]
    fn _deleted(&self) -> bool {
        self.was_deleted()
    }
    /// How the object came out of its last session: a number of `flags::DETACHED_…`, zero if that is not known.
    #[getter]
    fn _detached_how(&self) -> u16 {
        self.state().map_or(0, |state| (state.flags() & flags::DETACHED_MASK) >> flags::DETACHED_MASK.trailing_zeros())
    }
    #[getter]
    fn _attached(&self) -> bool {
        self.state().is_some_and(StateRef::is_attached)
    }
    /// The session, or None.
    #[getter]
    fn session<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let state = self.state().filter(|state| state.is_attached())?;
        // SAFETY: an owner outlives its states' pointers to it.
        unsafe { UnitOfWorkCore::session(py, state.owner()) }
    }
    /// The session's number, or None.
    #[getter]
    fn session_id<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.session(py).map(|session| session.getattr("hash_key")).transpose()
    }
    #[getter]
    fn _orphaned_outside_of_session(&self) -> bool {
        self.state().is_some_and(|state| state.has(flags::ORPHANED_OUTSIDE))
    }
    #[setter(_orphaned_outside_of_session)]
    fn set_orphaned_outside_of_session(&self, value: bool) {
        self.set_flag(flags::ORPHANED_OUTSIDE, value);
    }
    #[getter]
    fn _load_pending(&self) -> bool {
        self.state().is_some_and(|state| state.has(flags::LOAD_PENDING))
    }
    #[setter(_load_pending)]
    fn set_load_pending(&self, value: bool) {
        self.set_flag(flags::LOAD_PENDING, value);
    }

    // ---- values --------------------------------------------------------------------------------------------------

    /// Has possible changes?
    #[getter]
    fn modified(slf: &Bound<'_, Self>) -> PyResult<bool> {
        if slf.get().state().is_none() {
            return Ok(false);
        }
        Ok(Self::living(slf)?.has(flags::MODIFIED))
    }
    #[setter]
    fn set_modified(&self, value: bool) {
        self.set_flag(flags::MODIFIED, value);
    }
    /// Was the whole object expired, and not loaded since?
    #[getter]
    fn expired(slf: &Bound<'_, Self>) -> PyResult<bool> {
        if slf.get().state().is_none() {
            return Ok(false);
        }
        Ok(Self::living(slf)?.has(flags::EXPIRED))
    }
    #[setter]
    fn set_expired(&self, value: bool) {
        self.set_flag(flags::EXPIRED, value);
    }
    /// Names of column attributes to be loaded by the next access to an expired one.
    #[getter]
    fn _expired_columns<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PySet>> {
        let state = Self::living(slf)?;
        key_set(slf.py(), *state, |attr| state.slot(attr.index()).is_expired())
    }
    /// Names of attributes without a value.
    #[getter]
    fn unloaded<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PySet>> {
        let state = Self::living(slf)?;
        key_set(slf.py(), *state, |attr| {
            let slot = state.slot(attr.index());
            slot.value().is_null() && !slot.is_modified()
        })
    }
    /// Names of column attributes without a value.
    #[getter]
    fn _unloaded_non_object<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PySet>> {
        let state = Self::living(slf)?;
        key_set(slf.py(), *state, |attr| {
            let slot = state.slot(attr.index());
            slot.value().is_null() && !slot.is_modified() && attr.accepts_scalar_loader.get()
        })
    }
    /// Names of attributes without changes.
    #[getter]
    fn unmodified<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PySet>> {
        let state = Self::living(slf)?;
        key_set(slf.py(), *state, |attr| !state.slot(attr.index()).is_modified())
    }
    /// Those of `keys` that are attributes without changes.
    fn unmodified_intersection<'py>(slf: &Bound<'py, Self>, keys: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PySet>> {
        let state = Self::living(slf)?;
        let result = PySet::empty(slf.py())?;
        for key in keys.try_iter()? {
            let key = key?.cast_into::<PyString>()?;
            if state.manager().attr_by_key(&key).is_some_and(|attr| !state.slot(attr.index()).is_modified()) {
                result.add(key)?;
            }
        }
        Ok(result)
    }
    /// `(added, unchanged, deleted)` of an attribute; Python makes a `History` of it.
    fn _history<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyString>,
        passive: u32,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let state = Self::living(slf)?;
        history::tuple_of(slf.py(), *state, state.manager().expect_attr(key)?, passive)
    }
    /// Does the object have a parent along a relationship of another class?
    #[pyo3(signature = (manager, key, optimistic=false))]
    fn _has_parent(
        slf: &Bound<'_, Self>,
        manager: &Bound<'_, ClassManager>,
        key: &Bound<'_, PyString>,
        optimistic: bool,
    ) -> PyResult<bool> {
        let state = Self::living(slf)?;
        let attr = ManagerCore::of(manager).expect_attr(key)?;
        Ok(relationship::has_parent(*state, attr.token.get(), optimistic))
    }
    /// Records that the object has, or lost, a parent along a relationship.
    fn _set_has_parent(
        slf: &Bound<'_, Self>,
        manager: &Bound<'_, ClassManager>,
        key: &Bound<'_, PyString>,
        parent: &Bound<'_, PyAny>,
        value: bool,
    ) -> PyResult<()> {
        let state = Self::living(slf)?;
        let attr = ManagerCore::of(manager).expect_attr(key)?;
        relationship::set_has_parent(slf.py(), attr, *state, *expect_state(parent)?, value)
    }
    /// Per-state loaders by attribute name.
    #[getter]
    fn callables<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let state = expect_state(slf.as_any())?;
        if let Some(callables) = state.rare_object(slf.py(), |rare| rare.callables) {
            return Ok(callables);
        }
        let callables = PyDict::new(slf.py()).into_any();
        state.put_rare(Some(callables.clone()), |rare| &mut rare.callables);
        Ok(callables)
    }
    #[setter]
    fn set_callables<'py>(slf: &Bound<'py, Self>, value: Bound<'py, PyDict>) -> PyResult<()> {
        expect_state(slf.as_any())?.put_rare(Some(value.into_any()), |rare| &mut rare.callables);
        Ok(())
    }
    /// Loader options of the statement that loaded the object.
    #[getter]
    fn load_options<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Ok(expect_state(slf.as_any())?
            .extra_object(slf.py(), |extra| extra.load_options)
            .unwrap_or_else(|| PyTuple::empty(slf.py()).into_any()))
    }
    #[setter]
    fn set_load_options<'py>(slf: &Bound<'py, Self>, value: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        expect_state(slf.as_any())?.put_extra(value, |extra| &mut extra.load_options);
        Ok(())
    }
    /// Path under which the object was loaded.
    #[getter]
    fn load_path<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        match expect_state(slf.as_any())?.extra_object(slf.py(), |extra| extra.load_path) {
            Some(path) => Ok(path),
            None => slf.py().import("rustalchemy.orm.path_registry")?.getattr("PathRegistry")?.getattr("root"),
        }
    }
    #[setter]
    fn set_load_path<'py>(slf: &Bound<'py, Self>, value: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        expect_state(slf.as_any())?.put_extra(value, |extra| &mut extra.load_path);
        Ok(())
    }
    /// The user's own dictionary.
    #[getter]
    fn info<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let state = expect_state(slf.as_any())?;
        if let Some(info) = state.rare_object(slf.py(), |rare| rare.info) {
            return Ok(info);
        }
        let info = PyDict::new(slf.py()).into_any();
        state.put_rare(Some(info.clone()), |rare| &mut rare.info);
        Ok(info)
    }

    // ---- operations SQLAlchemy's own modules use -------------------------------------------------------------------

    /// Forgets all values. The session takes the state out of `dirty`.
    #[pyo3(signature = (_dict=None, _modified=None))]
    fn _expire<'py>(
        slf: &Bound<'py, Self>,
        _dict: Option<Bound<'py, PyAny>>,
        _modified: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let state = Self::living(slf)?;
        expiry::expire(slf.py(), *state)
    }
    /// The object, while its session holds it because of unsaved changes.
    #[getter]
    fn _strong_obj<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let held = flags::IN_LIST | flags::IN_DELETED;
        self.state().filter(|state| state.has_any(held)).and_then(|state| state.object(py))
    }
    /// Acts as if the object were gone: for tests of what happens then.
    fn _force_dereference(slf: &Bound<'_, Self>) -> PyResult<()> {
        let state = Self::living(slf)?;
        let handle = state.tombstone();
        handle.state.set(std::ptr::null_mut());
        // SAFETY: the key is owned by the state, or null; the handle gets its own reference.
        unsafe { ffi::Py_XINCREF(state.key()) };
        handle.last_key.set(state.key());
        state.extra_mut().tombstone = None;
        Ok(())
    }
    /// Empty collections that were handed out for unset attributes.
    #[getter]
    fn _empty_collections<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let state = Self::living(slf)?;
        let result = PyDict::new(py);
        for (index, collection) in state.rare().map_or(&[][..], |rare| &rare.empty_collections) {
            if let Some(attr) = state.manager().attr(*index) {
                // SAFETY: owned by the state.
                result.set_item(attr.key(py), unsafe { Bound::from_borrowed_ptr(py, *collection) })?;
            }
        }
        Ok(result)
    }
    /// A per-state loader takes the place of a value.
    fn _set_callable<'py>(
        slf: &Bound<'py, Self>,
        key: &Bound<'py, PyString>,
        loader: &Bound<'py, PyAny>,
    ) -> PyResult<()> {
        let state = Self::living(slf)?;
        let attr = state.manager().expect_attr(key)?;
        if attr.kind == AttrKind::Collection {
            Self::_reset(slf, slf.as_any(), key)?;
        }
        Self::callables(slf)?.set_item(key, loader)
    }
    /// Forgets some values.
    #[pyo3(signature = (_dict, attribute_names, no_loader=false))]
    fn _expire_attributes<'py>(
        slf: &Bound<'py, Self>,
        _dict: &Bound<'py, PyAny>,
        attribute_names: &Bound<'py, PyAny>,
        no_loader: bool,
    ) -> PyResult<()> {
        let state = Self::living(slf)?;
        for key in attribute_names.try_iter()? {
            let key = key?.cast_into::<PyString>()?;
            expiry::expire_named(slf.py(), *state, &key, no_loader)?;
        }
        expiry::fire(slf.py(), *state, Some(attribute_names))
    }
    /// Marks attributes as expired without touching their values.
    fn _expire_unloaded<'py>(slf: &Bound<'py, Self>, keys: &Bound<'py, PyAny>) -> PyResult<()> {
        let state = Self::living(slf)?;
        for key in keys.try_iter()? {
            let key = key?.cast_into::<PyString>()?;
            let index = state.manager().expect_attr(&key)?.index();
            state.set_slot_flags(index, state.slot(index).flags() | slots::EXPIRED);
        }
        Ok(())
    }
    /// Loads expired attributes.
    fn _load_expired<'py>(
        slf: &Bound<'py, Self>,
        _state: &Bound<'py, PyAny>,
        passive: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let state = Self::living(slf)?;
        if passive & flags::passive::SQL_OK == 0 {
            return Ok(names::PASSIVE_NO_RESULT.get(slf.py()));
        }
        expiry::load_expired(slf.py(), *state, passive)
    }
    /// Takes values and loaders of an attribute away.
    fn _reset<'py>(slf: &Bound<'py, Self>, _dict: &Bound<'py, PyAny>, key: &Bound<'py, PyString>) -> PyResult<()> {
        let state = Self::living(slf)?;
        let attr = state.manager().expect_attr(key)?;
        let slot = state.slot(attr.index());
        // SAFETY: owned by the slot.
        if let Some(old) = unsafe { Bound::from_borrowed_ptr_or_opt(slf.py(), slot.value()) } {
            crate::attribute::take(*state, attr);
            if attr.kind == AttrKind::Collection {
                crate::collection::invalidate(&old)?;
            }
        }
        state.set_slot_flags(attr.index(), state.slot(attr.index()).flags() & !slots::EXPIRED);
        expiry::forget_callable(slf.py(), *state, attr)
    }
    /// Some attributes are committed as they are.
    fn _commit<'py>(slf: &Bound<'py, Self>, _dict: &Bound<'py, PyAny>, keys: &Bound<'py, PyAny>) -> PyResult<()> {
        let state = Self::living(slf)?;
        for key in keys.try_iter()? {
            let key = key?.cast_into::<PyString>()?;
            let attr = state.manager().expect_attr(&key)?;
            state.commit(attr.index());
            if !state.slot(attr.index()).value().is_null() {
                expiry::forget_callable(slf.py(), *state, attr)?;
            }
        }
        state.clear_flags(flags::EXPIRED);
        Ok(())
    }
    /// All attributes are committed as they are; with an identity map, the state is not dirty there any more.
    #[pyo3(signature = (_dict=None, identity_map=None))]
    fn _commit_all<'py>(
        slf: &Bound<'py, Self>,
        _dict: Option<Bound<'py, PyAny>>,
        identity_map: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        let state = Self::living(slf)?;
        if state.is_attached() && identity_map.is_some_and(|map| !map.is_none()) {
            // SAFETY: a unit of work clears `owner` of its states before it goes away.
            let held = unsafe { UowRef::from_ptr(state.owner()) }.leave_dirty(*state);
            state.commit_all();
            drop(held);
        } else {
            state.commit_all();
        }
        Ok(())
    }
    /// Number of the load that built or overwrote the object last.
    #[getter]
    fn runid(slf: &Bound<'_, Self>) -> PyResult<u32> {
        Ok(Self::living(slf)?.load_serial())
    }
    #[setter]
    fn set_runid(slf: &Bound<'_, Self>, runid: u32) -> PyResult<()> {
        Self::living(slf)?.set_load_serial(runid);
        Ok(())
    }
    /// Follow the value of an attribute through expiry.
    fn _track_last_known_value(slf: &Bound<'_, Self>, key: &Bound<'_, PyString>) -> PyResult<()> {
        let state = Self::living(slf)?;
        let index = state.manager().expect_attr(key)?.index();
        let rare = state.rare_mut();
        if !rare.last_known.iter().any(|(at, _)| *at == index) {
            rare.last_known.push((index, names::NO_VALUE.get(slf.py()).into_ptr()));
        }
        Ok(())
    }
    /// Last values of attributes followed through expiry.
    #[getter]
    fn _last_known_values<'py>(slf: &Bound<'py, Self>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let py = slf.py();
        let state = Self::living(slf)?;
        let Some(rare) = state.rare().filter(|rare| !rare.last_known.is_empty()) else { return Ok(None) };
        let result = PyDict::new(py);
        for (index, value) in &rare.last_known {
            if let Some(attr) = state.manager().attr(*index) {
                // SAFETY: owned by the state.
                result.set_item(attr.key(py), unsafe { Bound::from_borrowed_ptr(py, *value) })?;
            }
        }
        Ok(Some(result))
    }
    /// Attribute names with changes queued on collections that are not loaded.
    #[getter]
    fn _pending_mutations<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
        let py = slf.py();
        let state = Self::living(slf)?;
        let own = |objects: &[*mut ffi::PyObject]| -> Vec<Bound<'py, PyAny>> {
            // SAFETY: queued objects are owned by the state.
            objects.iter().map(|object| unsafe { Bound::from_borrowed_ptr(py, *object) }).collect()
        };
        // Copied before lists are made of it: that may run a collection, and code that changes the queues.
        let queued: Vec<_> = state.rare().map_or_else(Vec::new, |rare| {
            rare.pending.iter().map(|(index, pending)| (*index, own(&pending.added), own(&pending.removed))).collect()
        });
        let result = PyDict::new(py);
        for (index, added, removed) in queued {
            if let Some(attr) = state.manager().attr(index) {
                result.set_item(attr.key(py), (added, removed))?;
            }
        }
        Ok(result)
    }
    /// Takes over the bookkeeping of another object's state (`merge` with `load=False`, unpickling).
    fn _same_object(slf: &Bound<'_, Self>, object: &Bound<'_, PyAny>) -> PyResult<bool> {
        let state = state_of(object).ok_or_else(|| PyValueError::new_err("not a mapped object"))?;
        Ok(slf.get().state() == Some(state))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.traverse(&visit)
    }
    fn __clear__(&self) {
        self.clear();
    }
}

impl InstanceState {
    fn set_flag(&self, flag: u16, value: bool) {
        if let Some(state) = self.state() {
            if value { state.add_flags(flag) } else { state.clear_flags(flag) }
        }
    }
}
