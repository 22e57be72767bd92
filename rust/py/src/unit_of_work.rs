//! `_core.UnitOfWork`, the native base of `Session`: SQLAlchemy's names on top, the session's bookkeeping below.
use std::cell::UnsafeCell;

use pyo3::exceptions::PyTypeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyIterator, PyList, PyString, PyTuple, PyType};

use crate::bridge as attribute;
use crate::cascade::{self, Cascade};
use crate::criteria;
use crate::errors;
use crate::expiry;
use crate::flags;
use crate::flush::{FlushPlan, RegisteredFlush};
use crate::held::Held;
use crate::hydrate::{self, Execution, HydrateOptions};
use crate::identity::LookedUp;
use crate::identity_view::IdentityMapView;
use crate::instance_state::Living;
use crate::load_context::{LoadContext, LoadMemory};
use crate::manager::{ClassManager, ManagerCore};
use crate::merge;
use crate::peers;
use crate::prepared;
use crate::raw;
use crate::row_plan::RowPlan;
use crate::short_select::{self, FetchedRows};
use crate::state::{StateRef, state_of};
use crate::statement_shape::StatementShapes;
use crate::unit_of_work_core::{SessionPtr, UnitOfWorkCore, UowRef};

/// The unit of work of one session.
#[pyclass(subclass, frozen, weakref, module = "rustalchemy._core")]
pub struct UnitOfWork(UnsafeCell<UnitOfWorkCore>);

// SAFETY: the module declares `gil_used`; the core is only touched with the GIL held.
unsafe impl Send for UnitOfWork {}
// SAFETY: as above.
unsafe impl Sync for UnitOfWork {}

/// The state of a mapped object, or SQLAlchemy's error for anything else.
fn mapped_state(instance: &Bound<'_, PyAny>) -> PyResult<StateRef> {
    let py = instance.py();
    let state = state_of(instance).ok_or_else(|| errors::unmapped_instance(py, instance))?;
    if state.manager().descriptor().is_none() {
        // an unmapped subclass of a mapped class: its manager says so
        state.manager().object(py).getattr("mapper")?;
    }
    Ok(state)
}

/// A fresh `sqlalchemy.util.IdentitySet` of these objects.
fn identity_set<'py>(py: Python<'py>, objects: Vec<Held>) -> PyResult<Bound<'py, PyAny>> {
    static CLASS: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let class = CLASS.import(py, "sqlalchemy.util", "IdentitySet")?;
    if objects.is_empty() {
        return class.call0();
    }
    class.call1((PyList::new(py, objects.iter().map(|held| held.object(py)))?,))
}

impl UnitOfWork {
    /// The handle on a session's core.
    #[inline]
    pub fn handle(slf: &Bound<'_, Self>) -> UowRef {
        let core: *mut UnitOfWorkCore = slf.get().0.get();
        // SAFETY: the core is part of the object, which does not move; learning the session's address is idempotent.
        unsafe {
            if (*core).session.0.is_null() {
                (*core).session = SessionPtr(slf.as_ptr());
            }
            UowRef::from_ptr(core)
        }
    }

    /// A session begins its life: it gets its number and learns which events have listeners already.
    pub fn open(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        uow.enter_living();
        // SAFETY: a living type and a string; a borrowed result, of which we take a reference at once.
        let bits = unsafe {
            let bits = raw::_PyType_Lookup(slf.get_type_ptr(), pyo3::intern!(py, "_event_bits").as_ptr());
            Bound::from_borrowed_ptr_or_opt(py, bits)
        };
        match bits.map_or(Ok(0), |bits| bits.extract::<u32>())? {
            0 => {}
            bits => uow.core().events.expect(bits),
        }
        Ok(())
    }
}

#[pymethods]
impl UnitOfWork {
    #[new]
    #[pyo3(signature = (*_args, **_kw))]
    fn new(_args: &Bound<'_, PyTuple>, _kw: Option<&Bound<'_, PyDict>>) -> Self {
        Self(UnsafeCell::default())
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> Bound<'py, Self> {
        slf.clone()
    }
    #[pyo3(signature = (type_, value, traceback))]
    #[allow(unused_variables)] // SQLAlchemy's names
    fn __exit__(
        slf: &Bound<'_, Self>,
        type_: &Bound<'_, PyAny>,
        value: &Bound<'_, PyAny>,
        traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        slf.call_method0(pyo3::intern!(slf.py(), "close")).map(drop)
    }
    /// Expunges all objects and releases the connections; the session may be used again unless told otherwise.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        let has_transaction = !slf.getattr(pyo3::intern!(py, "_transaction"))?.is_none();
        if has_transaction || uow.core().closes_for_good {
            return slf.call_method1(pyo3::intern!(py, "_close_impl"), (false,)).map(drop);
        }
        Self::_uow_close(slf)
    }
    /// A number that no other session of this process has.
    #[getter]
    fn hash_key(slf: &Bound<'_, Self>) -> u64 {
        Self::handle(slf).core().place.number
    }

    // ---- objects in and out ----------------------------------------------------------------------------------------------

    /// Places an object into this session.
    #[pyo3(signature = (instance, *, _warn = true))]
    #[allow(clippy::used_underscore_binding)] // SQLAlchemy's name
    fn add(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>, _warn: bool) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        uow.check_use(py)?;
        if _warn {
            uow.warn_if_flushing(py, "Session.add()")?;
        }
        uow.save_or_update(py, mapped_state(instance)?)
    }
    /// Adds each of the objects.
    fn add_all(slf: &Bound<'_, Self>, instances: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        uow.check_use(py)?;
        uow.warn_if_flushing(py, "Session.add_all()")?;
        for instance in instances.try_iter()? {
            let instance = instance?;
            uow.save_or_update(py, mapped_state(&instance)?)?;
        }
        Ok(())
    }
    /// Marks an object for deletion.
    fn delete(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        uow.check_use(py)?;
        uow.warn_if_flushing(py, "Session.delete()")?;
        uow.delete(py, mapped_state(instance)?)
    }
    /// Deletes each of the objects.
    fn delete_all(slf: &Bound<'_, Self>, instances: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        uow.check_use(py)?;
        uow.warn_if_flushing(py, "Session.delete_all()")?;
        for instance in instances.try_iter()? {
            let instance = instance?;
            uow.delete(py, mapped_state(&instance)?)?;
        }
        Ok(())
    }
    /// Takes an object out of this session.
    fn expunge(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        uow.check_use(py)?;
        let state = mapped_state(instance)?;
        if state.owner() != uow.as_ptr() {
            return Err(errors::invalid_request(
                py,
                format!("Instance {} is not present in this Session", errors::instance_str(instance)),
            ));
        }
        uow.expunge_with_cascade(py, state)
    }
    /// Takes everything out of this session.
    fn expunge_all(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::handle(slf).check_use(slf.py())?;
        Self::handle(slf).expunge_all(slf.py())
    }
    fn __contains__(slf: &Bound<'_, Self>, instance: &Bound<'_, PyAny>) -> PyResult<bool> {
        let state = mapped_state(instance)?;
        Ok(Self::handle(slf).contains(state))
    }
    fn __iter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyIterator>> {
        let py = slf.py();
        let core = Self::handle(slf).core();
        let mut all: Vec<Held> = core.new.iter().filter_map(Held::new).collect();
        all.extend(core.identity.held(|_| true));
        PyList::new(py, all.iter().map(|held| held.object(py)))?.try_iter()
    }
    /// Pending objects, in order of `add`.
    #[getter(new)]
    fn pending<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        identity_set(slf.py(), Self::handle(slf).core().new.iter().filter_map(Held::new).collect())
    }
    /// Persistent objects with changes that are not marked for deletion.
    #[getter]
    fn dirty<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let dirty = Self::handle(slf).core().dirty.iter();
        identity_set(slf.py(), dirty.filter(|state| !state.has(flags::IN_DELETED)).filter_map(Held::new).collect())
    }
    /// Objects marked for deletion.
    #[getter]
    fn deleted<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        identity_set(slf.py(), Self::handle(slf).core().deleted.held(|_| true))
    }
    /// The identity map, as a live view.
    #[getter]
    fn identity_map(slf: &Bound<'_, Self>) -> IdentityMapView {
        IdentityMapView::of(slf)
    }

    /// The object with this primary key; hits and prepared loads are answered here, everything else by `_get_impl`.
    #[pyo3(signature = (entity, ident, **kw))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        entity: &Bound<'py, PyAny>,
        ident: &Bound<'py, PyAny>,
        kw: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if kw.is_none() {
            let uow = Self::handle(slf);
            uow.check_use(slf.py())?;
            match crate::identity::look_up(uow.core(), entity, ident)? {
                LookedUp::Loaded(object) => return Ok(object),
                LookedUp::Absent { mapper, key } => {
                    if let Some(answer) = prepared::get(slf.as_any(), uow, &mapper, &key)? {
                        return Ok(answer);
                    }
                }
                LookedUp::Unclear => {}
            }
        }
        slf.call_method("_get_impl", (entity, ident), kw)
    }
    /// Turns rows into objects; see `hydrate`.
    #[pyo3(signature = (plan, rows, *, populate_existing = false, refresh_state = None, loaded = None,
        only_attributes = None, passes_by_loaded = false))]
    #[allow(clippy::too_many_arguments)] // the contract's keywords
    fn _hydrate<'py>(
        slf: &Bound<'py, Self>,
        plan: &Bound<'py, RowPlan>,
        rows: &Bound<'py, PyList>,
        populate_existing: bool,
        refresh_state: Option<Bound<'py, PyAny>>,
        loaded: Option<&Bound<'py, LoadContext>>,
        only_attributes: Option<Bound<'py, PyAny>>,
        passes_by_loaded: bool,
    ) -> PyResult<Bound<'py, PyList>> {
        Self::handle(slf).check_use(slf.py())?;
        let options = HydrateOptions { populate_existing, refresh_state, only_attributes, passes_by_loaded };
        hydrate::hydrate(slf.as_any(), Self::handle(slf).as_ptr(), plan, rows, options, loaded)
    }

    /// Executes a SELECT on a lane and turns its rows into objects, see `hydrate::load`; with `is_grouped` as a dict.
    /// `restamp`: makes the loader options that objects keep of those in the plan.
    #[pyo3(signature = (lane, sql, parameters, plan, *, passes_by_loaded = false, is_grouped = false, restamp = None))]
    #[allow(clippy::too_many_arguments)] // the contract's keywords
    fn _load<'py>(
        slf: &Bound<'py, Self>,
        lane: &Bound<'py, PyAny>,
        sql: &Bound<'py, PyString>,
        parameters: &Bound<'py, PyAny>,
        plan: &Bound<'py, RowPlan>,
        passes_by_loaded: bool,
        is_grouped: bool,
        restamp: Option<Py<PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (uow, plan) = (Self::handle(slf), plan.get());
        let memory = LoadMemory::new(None, restamp);
        let _inside = uow.enter(slf.py())?;
        let options = HydrateOptions { passes_by_loaded, ..HydrateOptions::default() };
        let execution = Execution { lane, sql, parameters };
        if is_grouped {
            return hydrate::load_grouped(slf.as_any(), uow.as_ptr(), plan, &execution, options, memory)
                .map(Bound::into_any);
        }
        hydrate::load(slf.as_any(), uow.as_ptr(), plan, &execution, options, memory).map(Bound::into_any)
    }

    /// The rows of a SELECT whose shape was run before; None if it has to take the ordinary way.
    fn _uow_select<'py>(
        slf: &Bound<'py, Self>,
        shapes: &Bound<'py, StatementShapes>,
        statement: &Bound<'py, PyAny>,
    ) -> PyResult<Option<FetchedRows>> {
        short_select::run(slf, shapes, statement)
    }

    // ---- expiry ----------------------------------------------------------------------------------------------------------

    /// Expires all attributes of an object, or the named ones.
    #[pyo3(signature = (instance, attribute_names = None))]
    fn expire(
        slf: &Bound<'_, Self>,
        instance: &Bound<'_, PyAny>,
        attribute_names: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        Self::_expire_state(slf, instance, attribute_names)
    }
    /// The part of `expire` that `refresh` shares.
    #[pyo3(signature = (instance, attribute_names = None))]
    fn _expire_state(
        slf: &Bound<'_, Self>,
        instance: &Bound<'_, PyAny>,
        attribute_names: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        let state = mapped_state(instance)?;
        uow.check_use(py)?;
        uow.validate_persistent(py, state)?;
        if let Some(names) = attribute_names
            && names.is_truthy()?
        {
            for name in names.try_iter()? {
                let name = name?;
                expiry::expire_named(py, state, name.cast::<PyString>()?, false)?;
            }
            return expiry::fire(py, state, Some(names));
        }
        let cascaded = cascade::collect(py, state, Cascade::RefreshExpire, |_| false)?;
        uow.conditional_expire(py, state)?;
        for member in cascaded {
            uow.conditional_expire(py, member.state())?;
        }
        Ok(())
    }
    /// Expires all persistent objects.
    fn expire_all(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::handle(slf).check_use(slf.py())?;
        Self::handle(slf).expire_all(slf.py())
    }

    // ---- used by orm.session -----------------------------------------------------------------------------------------------

    /// The session is made: it counts as alive.
    fn _uow_open(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::open(slf)
    }
    /// `close()` is final.
    #[setter(_uow_closes_for_good)]
    fn set_closes_for_good(slf: &Bound<'_, Self>, value: bool) {
        Self::handle(slf).core().closes_for_good = value;
    }
    #[getter]
    fn _uow_closes_for_good(slf: &Bound<'_, Self>) -> bool {
        Self::handle(slf).core().closes_for_good
    }
    /// How often all objects were expunged.
    #[getter]
    fn _identity_epoch(slf: &Bound<'_, Self>) -> u32 {
        Self::handle(slf).core().identity_epoch
    }
    /// A transaction or savepoint begins.
    #[pyo3(signature = (nested = false))]
    fn _uow_begin(slf: &Bound<'_, Self>, nested: bool) -> PyResult<u32> {
        Self::handle(slf).check_use(slf.py())?;
        Self::handle(slf).begin(nested);
        Ok(Self::handle(slf).serial())
    }
    /// A transaction ends well, the innermost one where none is named.
    #[pyo3(signature = (expire = true, serial = None))]
    fn _uow_commit(slf: &Bound<'_, Self>, expire: bool, serial: Option<u32>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        uow.check_use(py)?;
        uow.commit(py, serial.unwrap_or_else(|| uow.serial()), expire)
    }
    /// A transaction, and all inside of it, is undone; the innermost one where none is named.
    #[pyo3(signature = (serial = None))]
    fn _uow_rollback(slf: &Bound<'_, Self>, serial: Option<u32>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        uow.check_use(py)?;
        uow.rollback(py, serial.unwrap_or_else(|| uow.serial()))
    }
    /// A transaction, and all inside of it, ends without commit or rollback.
    fn _uow_forget_frame(slf: &Bound<'_, Self>, serial: u32) {
        while Self::handle(slf).serial() >= serial {
            Self::handle(slf).forget_frame();
        }
    }
    /// Everything leaves the session; no transaction remains.
    fn _uow_close(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::handle(slf).check_use(slf.py())?;
        Self::handle(slf).close(slf.py())
    }
    /// A transaction frame exists.
    #[getter]
    fn _uow_in_transaction(slf: &Bound<'_, Self>) -> bool {
        Self::handle(slf).core().in_transaction
    }
    /// Persistent objects of `holder`'s class that are not wholly expired.
    fn _uow_unexpired<'py>(slf: &Bound<'py, Self>, holder: &Bound<'py, ClassManager>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(slf.py(), criteria::unexpired(slf.py(), Self::handle(slf), ManagerCore::of(holder)))
    }
    /// Those of them that all comparisons are true of, and those of which that cannot be told without the database.
    #[allow(clippy::needless_pass_by_value)] // extracted arguments are owned
    fn _uow_matching<'py>(
        slf: &Bound<'py, Self>,
        holder: &Bound<'py, ClassManager>,
        comparisons: Vec<(u32, u8)>,
        values: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        criteria::matching(Self::handle(slf), ManagerCore::of(holder), &comparisons, values)
    }
    /// Objects brought by the same result as this state's that lack an attribute of `holder` too.
    fn _uow_peers<'py>(
        slf: &Bound<'py, Self>,
        state: &Bound<'py, PyAny>,
        holder: &Bound<'py, ClassManager>,
        attr: u32,
    ) -> PyResult<Bound<'py, PyList>> {
        match Living::named_by(state) {
            Some(state) => peers::of(slf.py(), Self::handle(slf), *state, ManagerCore::of(holder), attr),
            None => Ok(PyList::empty(slf.py())),
        }
    }
    /// Persistent objects that are wholly expired like this state's and would be loaded by the same statement, itself among
    /// them.
    fn _uow_expired_peers<'py>(slf: &Bound<'py, Self>, state: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
        match Living::named_by(state) {
            Some(state) => peers::expired(slf.py(), Self::handle(slf), *state),
            None => Ok(PyList::empty(slf.py())),
        }
    }
    /// Calls a function that may let other threads run: whoever uses the session meanwhile is refused.
    #[pyo3(signature = (function, *args, **kw))]
    fn _uow_use<'py>(
        slf: &Bound<'py, Self>,
        function: &Bound<'py, PyAny>,
        args: &Bound<'py, PyTuple>,
        kw: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let _inside = Self::handle(slf).enter(slf.py())?;
        function.call(args, kw)
    }
    /// Raises if another thread or task is inside the session.
    fn _uow_check_use(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::handle(slf).check_use(slf.py())
    }
    /// The session has a connection on which greenlets may take turns.
    fn _uow_switches_tasks(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::handle(slf).tell_tasks_apart(slf.py())
    }
    /// Nothing may be written.
    #[getter]
    fn _uow_read_only(slf: &Bound<'_, Self>) -> bool {
        Self::handle(slf).core().is_read_only
    }
    #[setter(_uow_read_only)]
    fn set_read_only(slf: &Bound<'_, Self>, value: bool) {
        Self::handle(slf).core().is_read_only = value;
    }
    /// Expired objects are refreshed together.
    #[getter]
    fn _uow_refreshes_peers(slf: &Bound<'_, Self>) -> bool {
        Self::handle(slf).core().refreshes_peers
    }
    #[setter(_uow_refreshes_peers)]
    fn set_refreshes_peers(slf: &Bound<'_, Self>, value: bool) {
        Self::handle(slf).core().refreshes_peers = value;
    }
    /// Nothing new, dirty or deleted.
    fn _uow_is_clean(slf: &Bound<'_, Self>) -> PyResult<bool> {
        let uow = Self::handle(slf);
        uow.check_use(slf.py())?;
        Ok(uow.core().is_clean())
    }
    /// Merges an object into the one of the same identity that the session has; None where Python has to do it.
    fn _uow_merge_known<'py>(
        slf: &Bound<'py, Self>,
        instance: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        merge::into_known(Self::handle(slf), instance)
    }
    /// Which session events about single states have listeners.
    fn _uow_set_events(slf: &Bound<'_, Self>, bits: u32) {
        Self::handle(slf).core().events.expect(bits);
    }
    /// A flush executes: session methods warn.
    #[getter]
    fn _uow_warn_on_events(slf: &Bound<'_, Self>) -> bool {
        Self::handle(slf).core().warn_on_events
    }
    #[setter(_uow_warn_on_events)]
    fn set_warn_on_events(slf: &Bound<'_, Self>, value: bool) {
        Self::handle(slf).core().warn_on_events = value;
    }
    /// These states were changed by an UPDATE statement: a rollback expires them.
    fn _uow_register_altered(slf: &Bound<'_, Self>, states: &Bound<'_, PyAny>) -> PyResult<()> {
        let uow = Self::handle(slf);
        for state in states.try_iter()? {
            if let Some(state) = Living::named_by(&state?)
                && state.new_tx() < uow.serial().max(1)
            {
                uow.mark_flushed(*state);
            }
        }
        Ok(())
    }
    /// The rows of these states are gone: deleted, out of the map, until a rollback brings them back.
    fn _uow_register_deleted(slf: &Bound<'_, Self>, states: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, uow) = (slf.py(), Self::handle(slf));
        for state in states.try_iter()? {
            if let Some(state) = Living::named_by(&state?) {
                uow.newly_deleted(py, *state)?;
            }
        }
        Ok(())
    }
    /// Loads related objects of an object that is not persistent, as if it were.
    fn _uow_enable_relationship_loading(slf: &Bound<'_, Self>, state: &Bound<'_, PyAny>) -> PyResult<()> {
        match Living::named_by(state) {
            Some(state) => Self::handle(slf).attach_for_loading(slf.py(), *state),
            None => Err(errors::unmapped_instance(slf.py(), state)),
        }
    }
    /// Registers what a flush has to write; None where nothing is left once pending orphans are gone.
    #[pyo3(signature = (objects = None))]
    fn _uow_register<'py>(
        slf: &Bound<'py, Self>,
        objects: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, RegisteredFlush>>> {
        let _inside = Self::handle(slf).enter(slf.py())?;
        RegisteredFlush::make(slf.py(), Self::handle(slf), objects)
    }
    /// What a flush would do now, as a value. Nothing is sent, loaded or changed.
    fn _uow_preview<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, FlushPlan>> {
        FlushPlan::make(slf.py(), Self::handle(slf))
    }
    /// Puts the work of a flush in order, and sends the rows, batch by batch, through the executor.
    fn _uow_execute(
        slf: &Bound<'_, Self>,
        flush: &Bound<'_, RegisteredFlush>,
        executor: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let _inside = Self::handle(slf).enter(slf.py())?;
        RegisteredFlush::execute(flush, Self::handle(slf), executor)
    }
    /// Settles states, map and history after success. How many states were changed meanwhile and reset.
    fn _uow_finish(slf: &Bound<'_, Self>, flush: &Bound<'_, RegisteredFlush>) -> PyResult<usize> {
        let _inside = Self::handle(slf).enter(slf.py())?;
        RegisteredFlush::finish(flush, Self::handle(slf))
    }
    /// Forgets an unsuccessful flush.
    fn _uow_abort(_slf: &Bound<'_, Self>, flush: &Bound<'_, RegisteredFlush>) {
        RegisteredFlush::abort(flush);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: traversal runs with the GIL held and no Python code; nothing else borrows the core meanwhile.
        let core = unsafe { &*self.0.get() };
        for held in core.new.holds().chain(core.dirty.holds()).chain(core.deleted.holds()) {
            held.traverse(&visit)?;
        }
        core.events.traverse(&visit)
    }
    fn __clear__(slf: &Bound<'_, Self>) {
        Self::handle(slf).tear_down(slf.py());
    }
}

impl Drop for UnitOfWork {
    fn drop(&mut self) {
        let core: *mut UnitOfWorkCore = self.0.get_mut();
        // SAFETY: objects are deallocated with the GIL held; the core is alive until this returns.
        unsafe { UowRef::from_ptr(core).tear_down(Python::assume_attached()) };
    }
}

/// Takes an object out of its session and makes it transient; its values stay.
#[pyfunction]
pub fn make_transient(instance: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = instance.py();
    let state = mapped_state(instance)?;
    if state.is_attached() {
        // SAFETY: a unit of work clears `owner` of its states before it goes away.
        let uow = unsafe { UowRef::from_ptr(state.owner()) };
        uow.expunge(py, Held::new(state).into_iter().collect(), false)?;
    }
    attribute::forget_expiry(state);
    state.set_key(std::ptr::null_mut());
    state.clear_flags(flags::DELETED);
    Ok(())
}

/// Gives a transient object the identity that its primary key says; what is not set counts as expired.
#[pyfunction]
pub fn make_transient_to_detached(instance: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = instance.py();
    let state = mapped_state(instance)?;
    if state.has_key() || state.is_attached() {
        return Err(errors::invalid_request(py, "Given object must be transient".to_owned()));
    }
    let Some(key) = crate::flush::key_from_slots(py, state)? else {
        return Err(PyTypeError::new_err("the object's class is not mapped"));
    };
    state.set_key(key.into_ptr());
    state.clear_flags(flags::DELETED);
    flags::note_detached(state, flags::DETACHED_MADE);
    state.commit_all();
    attribute::expire_unloaded(py, state)
}
