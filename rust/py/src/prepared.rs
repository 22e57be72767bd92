//! Loads of one row whose statement was compiled before: `get()`, many-to-one by primary key, refresh of an expired object.
//!
//! Python prepares a statement (`orm._prepared_loads`) and leaves it on the mapper once its rows need nothing but a row plan.
//! From then on a load is one native call, as long as nobody has to be asked: no listener, no flush that is due, the
//! transaction's lane open. In every other case these functions answer "not here", and Python does the load.

use pyo3::exceptions::PyIndexError;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};
use pyo3::{PyTraverseError, ffi, intern};
use smallvec::SmallVec;

use crate::attribute::AttrCore;
use crate::driver;
use crate::errors;
use crate::flags::{self, passive};
use crate::hydrate::{self, Execution, HydrateOptions};
use crate::identity::{FoundState, base_of_manager};
use crate::imports::{self, ImportedType};
use crate::instance_state::{InstanceState, Living};
use crate::lane::{self, DriverLane};
use crate::load_context::{LoadContext, LoadMemory};
use crate::manager::{ClassManager, ManagerCore};
use crate::names;
use crate::raw;
use crate::row_plan::RowPlan;
use crate::state::{StateExtra, StateRef};
use crate::unit_of_work_core::UowRef;

static SESSION: ImportedType = ImportedType::new("rustalchemy.orm.session", "Session");

/// Bit of a session's events: `do_orm_execute` has a listener.
const EXECUTE_EVENT: u32 = 1 << 13;

/// A parameter that comes from the primary key.
struct KeyParameter {
    /// Place among the parameters.
    place: usize,
    /// Number of the primary key column.
    part: usize,
    /// Bind processing.
    processor: Option<Py<PyAny>>,
}

/// A compiled SELECT of one object by primary key, for one dialect.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct PreparedRow {
    dialect: Py<PyAny>,
    sql: Py<PyString>,
    constants: Vec<Py<PyAny>>,
    keys: Vec<KeyParameter>,
    plan: Py<RowPlan>,
    attributes: Vec<u32>,
    only_attributes: bool,
}

#[pymethods]
impl PreparedRow {
    /// `constants`: all parameters, anything in the places of keys. `attributes`: what a refresh loads, in ascending order.
    #[new]
    #[pyo3(signature = (dialect, sql, constants, keys, plan, *, attributes=Vec::new(), only_attributes=false))]
    #[allow(clippy::type_complexity)] // what Python's layout of the parameters is made of
    fn new(
        dialect: Py<PyAny>,
        sql: Py<PyString>,
        constants: Vec<Py<PyAny>>,
        keys: Vec<(usize, usize, Option<Py<PyAny>>)>,
        plan: Py<RowPlan>,
        attributes: Vec<u32>,
        only_attributes: bool,
    ) -> Self {
        let keys = keys.into_iter().map(|(place, part, processor)| KeyParameter { place, part, processor }).collect();
        Self { dialect, sql, constants, keys, plan, attributes, only_attributes }
    }

    /// The dialect it was compiled for.
    #[getter]
    fn dialect<'py>(slf: &Bound<'py, Self>) -> Bound<'py, PyAny> {
        slf.get().dialect.bind(slf.py()).clone()
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.dialect)?;
        for constant in &self.constants {
            visit.call(constant)?;
        }
        for key in &self.keys {
            visit.call(&key.processor)?;
        }
        visit.call(&self.plan)
    }
}

impl PreparedRow {
    /// The plan of its rows.
    pub fn plan<'py>(&self, py: Python<'py>) -> &Bound<'py, RowPlan> {
        self.plan.bind(py)
    }

    /// What a mapper keeps under a name, if it is a prepared row.
    fn of<'py>(mapper: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, Self>>> {
        Ok(mapper.getattr(name)?.cast_into::<Self>().ok())
    }

    /// What lazy loads of a relationship to a mapper boil down to, once that is known.
    pub fn of_relation<'py>(
        mapper: &Bound<'py, PyAny>,
        relation: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, Self>>> {
        let known = mapper.getattr(intern!(mapper.py(), "_prepared_related"))?.cast_into::<PyDict>()?;
        Ok(known.get_item(relation)?.and_then(|prepared| prepared.cast_into::<Self>().ok()))
    }

    /// The parameters for a primary key, a value or a tuple where composite.
    fn parameters<'py>(&self, key: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyTuple>> {
        let is_composite = self.keys.iter().any(|parameter| parameter.part > 0);
        self.filled(key.py(), |part| if is_composite { key.get_item(part) } else { Ok(key.clone()) })
    }

    /// The parameters, with the value of each part of the key in its places.
    fn filled<'py>(
        &self,
        py: Python<'py>,
        value_of: impl Fn(usize) -> PyResult<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let mut values: SmallVec<[Bound<'py, PyAny>; 4]> =
            self.constants.iter().map(|constant| constant.bind(py).clone()).collect();
        for KeyParameter { place, part, processor } in &self.keys {
            let part = value_of(*part)?;
            let value = match processor {
                None => part,
                Some(processor) => processor.bind(py).call1((part,))?,
            };
            if let Some(slot) = values.get_mut(*place) {
                *slot = value;
            }
        }
        PyTuple::new(py, values)
    }

    /// The objects, on the session's lane, of the rows that these values find, as `loaded` remembers them; nothing if it is a
    /// lane of another dialect, or if a value cannot be processed: Python says so in Core's words.
    pub fn objects<'py>(
        &self,
        session: &Bound<'py, PyAny>,
        uow: UowRef,
        lane: &Bound<'py, DriverLane>,
        values: &[Bound<'py, PyAny>],
        loaded: Option<&Bound<'py, LoadContext>>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = session.py();
        if !lane.get().dialect(py).is(&self.dialect) {
            return Ok(None);
        }
        let missing = || PyIndexError::new_err("a statement with fewer parameters");
        let parameters = self.filled(py, |part| values.get(part).cloned().ok_or_else(missing));
        let Some(parameters) = driver::unless_unprocessable(py, parameters)? else { return Ok(None) };
        let _inside = uow.enter(py)?;
        let execution = Execution { lane, sql: self.sql.bind(py), parameters: parameters.as_any() };
        let options = HydrateOptions::default();
        if loaded.is_some() {
            let rows = lane::fetch(lane, self.sql.bind(py), &parameters)?;
            return hydrate::hydrate(session, uow.as_ptr(), self.plan.bind(py), &rows, options, loaded).map(Some);
        }
        hydrate::load(session, uow.as_ptr(), self.plan.get(), &execution, options, LoadMemory::default()).map(Some)
    }

    /// The driver's rows, if the session has a lane of this dialect.
    pub fn rows<'py>(
        &self,
        session: &Bound<'py, PyAny>,
        uow: UowRef,
        key: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyList>>> {
        let py = session.py();
        if !is_flushed(session, uow)? {
            return Ok(None);
        }
        let Some(lane) = lane::of_session(session)? else { return Ok(None) };
        if !lane.get().dialect(py).is(&self.dialect) {
            return Ok(None);
        }
        match self.parameters(key) {
            Ok(parameters) => {
                let _inside = uow.enter(py)?;
                lane::fetch(&lane, self.sql.bind(py), &parameters).map(Some)
            }
            Err(error) => {
                lane.call_method1(intern!(py, "fail"), (error.value(py), &self.sql, (key,), py.None()))?;
                Err(error)
            }
        }
    }
}

/// The many-to-one of one class that is a `get()` of another.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct KeyedRelation {
    target: Py<ClassManager>,
    columns: Vec<u32>,
    attr: u32,
}

#[pymethods]
impl KeyedRelation {
    /// `columns`: the parent's attributes that make up the target's primary key, in its order; `attr`: the relationship's own.
    #[new]
    fn new(target: Py<ClassManager>, columns: Vec<u32>, attr: u32) -> Self {
        Self { target, columns, attr }
    }

    /// The related object or None; `NotImplemented` where the attribute's loader has to be asked.
    fn load<'py>(slf: &Bound<'py, Self>, state: &Bound<'py, InstanceState>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let related = match Living::of(state) {
            Some(state) => Self::find(slf, *state)?,
            None => None,
        };
        Ok(related.unwrap_or_else(|| py.NotImplemented().into_bound(py)))
    }

    /// As `load`, where a SELECT is out of the question: the object if the session has it. Loader options of the state are the
    /// caller's business.
    fn known<'py>(
        slf: &Bound<'py, Self>,
        state: &Bound<'py, InstanceState>,
        passive: u32,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let related = match Living::of(state) {
            Some(state) => slf.get().find_known(py, *state, passive)?,
            None => None,
        };
        Ok(related.unwrap_or_else(|| py.NotImplemented().into_bound(py)))
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.target)
    }
}

/// What an attribute's loader would answer from the identity map; nothing where the loader has to be asked.
pub fn known<'py>(
    py: Python<'py>,
    state: StateRef,
    attr: &AttrCore,
    passive: u32,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if !state.extra().is_none_or(StateExtra::has_no_chosen_loaders) {
        return Ok(None);
    }
    let relation = attr.known.borrow().as_ref().map(|relation| relation.clone_ref(py));
    relation.map_or(Ok(None), |relation| relation.get().find_known(py, state, passive))
}

impl KeyedRelation {
    fn find<'py>(slf: &Bound<'py, Self>, state: StateRef) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (py, this) = (slf.py(), slf.get());
        if !may_load(state) || state.is_outdated() {
            return Ok(None);
        }
        let Some(key) = loaded_key(py, state, &this.columns)? else { return Ok(None) };
        let Some((uow, session)) = plain_session(py, state)? else { return Ok(None) };
        let target = ManagerCore::of(this.target.bind(py));
        if let Some(found) = look_up(uow, target, &key)? {
            return Ok(is_usable(&found, target).then_some(found.object));
        }
        let Some(mapper) = target.mapper(py) else { return Ok(None) };
        let Some(prepared) = PreparedRow::of_relation(&mapper, slf.as_any())? else { return Ok(None) };
        let options = HydrateOptions { passes_by_loaded: true, ..HydrateOptions::default() };
        select(&session, uow, prepared.get(), &key, options)
    }

    fn find_known<'py>(&self, py: Python<'py>, state: StateRef, passive: u32) -> PyResult<Option<Bound<'py, PyAny>>> {
        let is_plain_case = is_persistent(state) && !state.is_outdated() && state.slot(self.attr).value().is_null();
        let (true, &[column]) = (is_plain_case, self.columns.as_slice()) else { return Ok(None) };
        let slot = state.slot(column);
        let committed = if passive & passive::LOAD_AGAINST_COMMITTED == 0 { None } else { state.committed(column) };
        let key = committed.unwrap_or(slot.value());
        if key.is_null() || names::NO_VALUE.is(key) {
            return Ok(None);
        }
        // SAFETY: the state owns its values.
        let key = unsafe { Bound::from_borrowed_ptr(py, key) };
        if key.is_none() {
            return Ok(Some(key));
        }
        let Some((uow, _session)) = plain_session(py, state)? else { return Ok(None) };
        let target = ManagerCore::of(self.target.bind(py));
        match look_up(uow, target, &key)? {
            Some(found) => Ok(is_usable(&found, target).then_some(found.object)),
            None if passive & passive::SQL_OK == 0 || passive & passive::RELATED_OBJECT_OK == 0 => {
                Ok(Some(names::PASSIVE_NO_RESULT.get(py)))
            }
            None => Ok(None),
        }
    }
}

/// The session of an attached state, if nobody else has a say in what it loads (`is_plain`).
fn plain_session(py: Python<'_>, state: StateRef) -> PyResult<Option<(UowRef, Bound<'_, PyAny>)>> {
    // SAFETY: the owner of a state is a living unit of work; the session is held from the next line on.
    let uow = unsafe { UowRef::from_ptr(state.owner()) };
    let Some(session) = uow.session(py) else { return Ok(None) };
    Ok(is_plain(&session)?.then_some((uow, session)))
}

/// What the identity map has for the primary key of a class.
fn look_up<'py>(uow: UowRef, target: &ManagerCore, key: &Bound<'py, PyAny>) -> PyResult<Option<FoundState<'py>>> {
    let py = key.py();
    uow.core().identity.lookup(py, base_of_manager(py, target), key.as_ptr(), std::ptr::null_mut())
}

/// Is what the identity map has an object of the class, and its row known to be there?
fn is_usable(found: &FoundState<'_>, target: &ManagerCore) -> bool {
    // SAFETY: two living types.
    let is_of_class = unsafe { ffi::PyType_IsSubtype(found.object.get_type_ptr(), target.class_ptr()) != 0 };
    is_of_class && !found.state.is_outdated() && !found.state.has(flags::EXPIRED)
}

/// The values of some columns as a key, a tuple if they are several; nothing if one is NULL or not loaded.
pub fn loaded_key<'py>(py: Python<'py>, state: StateRef, columns: &[u32]) -> PyResult<Option<Bound<'py, PyAny>>> {
    let mut values: SmallVec<[Bound<'py, PyAny>; 2]> = SmallVec::new();
    for &column in columns {
        // SAFETY: a slot's value is a valid object or null.
        match unsafe { Bound::from_borrowed_ptr_or_opt(py, state.slot(column).value()) } {
            Some(value) if !value.is_none() => values.push(value),
            _ => return Ok(None),
        }
    }
    Ok(Some(match values.as_slice() {
        [value] => value.clone(),
        values => PyTuple::new(py, values)?.into_any(),
    }))
}

/// `get()` of an object that is not in the session; nothing if Python has to do it.
pub fn get<'py>(
    session: &Bound<'py, PyAny>,
    uow: UowRef,
    mapper: &Bound<'py, PyAny>,
    key: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    if !is_plain(session)? {
        return Ok(None);
    }
    let Some(prepared) = PreparedRow::of(mapper, intern!(session.py(), "_prepared_get"))? else { return Ok(None) };
    select(session, uow, prepared.get(), key, HydrateOptions::default())
}

fn select<'py>(
    session: &Bound<'py, PyAny>,
    uow: UowRef,
    prepared: &PreparedRow,
    key: &Bound<'py, PyAny>,
    options: HydrateOptions<'py>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = session.py();
    let Some(rows) = prepared.rows(session, uow, key)? else { return Ok(None) };
    let found = hydrate::hydrate(session, uow.as_ptr(), prepared.plan.bind(py), &rows, options, None)?;
    let mut objects = found.iter();
    let Some(first) = objects.next() else { return Ok(Some(py.None().into_bound(py))) };
    if objects.any(|object| !object.is(&first)) {
        // the primary key is declared, but the database does not know of it
        let message = "Multiple rows were found when exactly one was required".to_owned();
        return Err(errors::of(py, &imports::MULTIPLE_RESULTS, message));
    }
    Ok(Some(first))
}

/// Loads what is expired of a persistent object; false if Python has to do it. `ObjectDeletedError` if the row is gone.
pub fn refresh(py: Python<'_>, state: StateRef, passive: u32) -> PyResult<bool> {
    if passive & passive::SQL_OK == 0 || passive & passive::NO_AUTOFLUSH != 0 || !may_load(state) {
        return Ok(false);
    }
    // SAFETY: as in `plain_session`.
    let uow = unsafe { UowRef::from_ptr(state.owner()) };
    let (Some(session), Some(object)) = (uow.session(py), state.object(py)) else { return Ok(false) };
    let Some(mapper) = state.manager().mapper(py) else { return Ok(false) };
    let Some(prepared) = PreparedRow::of(&mapper, intern!(py, "_prepared_refresh"))? else { return Ok(false) };
    let this = prepared.get();
    if !this.is_wanted_by(state) || !is_plain(&session)? {
        return Ok(false);
    }
    // SAFETY: the key of a state that has one is a valid object.
    let key = unsafe { Bound::from_borrowed_ptr(py, state.key()) };
    let parts = key.cast_exact::<PyTuple>();
    if key.is_none() || parts.is_ok_and(|parts| parts.iter_borrowed().any(|part| part.is_none())) {
        return Ok(false);
    }
    let Some(rows) = this.rows(&session, uow, &key)? else { return Ok(false) };
    if rows.is_empty() {
        let class = imports::OBJECT_DELETED.get(py)?;
        return Err(PyErr::from_value(class.call1((state.view(py)?,))?));
    }
    let options = HydrateOptions {
        refresh_state: Some(object),
        only_attributes: this.only_attributes.then(|| PyTuple::empty(py).into_any()),
        ..HydrateOptions::default()
    };
    hydrate::hydrate(&session, uow.as_ptr(), this.plan.bind(py), &rows, options, None)?;
    Ok(true)
}

impl PreparedRow {
    /// Whether the expired attributes of a state are those that this statement loads.
    fn is_wanted_by(&self, state: StateRef) -> bool {
        let mut loaded = self.attributes.iter();
        for attr in state.manager().attrs() {
            let slot = state.slot(attr.index());
            let is_wanted = slot.is_expired() && !slot.is_modified() && attr.load_on_unexpire.get();
            if is_wanted && loaded.next() != Some(&attr.index()) {
                return false;
            }
        }
        loaded.next().is_none()
    }
}

/// A state with an identity, in a session, whose loads no option has a say in.
pub fn may_load(state: StateRef) -> bool {
    if !is_persistent(state) {
        return false;
    }
    state.extra().is_none_or(StateExtra::has_no_load_options)
}

/// A state with an identity, without token, in a session.
fn is_persistent(state: StateRef) -> bool {
    state.has_key() && !state.owner().is_null() && state.identity_token().is_null()
}

/// Whether a load need not flush before.
pub fn is_flushed(session: &Bound<'_, PyAny>, uow: UowRef) -> PyResult<bool> {
    Ok(uow.core().is_clean() || !session.getattr(intern!(session.py(), "autoflush"))?.is_truthy()?)
}

/// Whether a class has a method, a plain function, of its own instead of Session's.
fn overrides(session: &Bound<'_, PyAny>, name: &Bound<'_, PyString>) -> PyResult<bool> {
    let py = session.py();
    let original = SESSION.get(py)?;
    // SAFETY: living types; the results are only compared.
    Ok(unsafe {
        raw::_PyType_Lookup(session.get_type_ptr(), name.as_ptr())
            != raw::_PyType_Lookup(original.as_type_ptr(), name.as_ptr())
    })
}

/// Whether a user's `execute()` expects to see every statement of a Query.
pub fn overrides_execute(session: &Bound<'_, PyAny>) -> PyResult<bool> {
    overrides(session, intern!(session.py(), "execute"))
}

/// Whether nobody but us has a say in what the session's loads do: no listeners, no session-wide options, no overridden method.
pub fn is_plain(session: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = session.py();
    for name in [intern!(py, "flush"), intern!(py, "_identity_lookup")] {
        if overrides(session, name)? {
            return Ok(false);
        }
    }
    let events: u32 = session.getattr(intern!(py, "_event_bits"))?.extract()?;
    Ok(events & EXECUTE_EVENT == 0 && !session.getattr(intern!(py, "execution_options"))?.is_truthy()?)
}
