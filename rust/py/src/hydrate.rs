//! Rows become objects: the row processor of one unit of work.
//!
//! One call takes a chunk of rows. For every entity of a row it finds the object in the identity map or makes a new one, fills
//! what the object lacks (or everything, where the load overwrites), and follows eagerly loaded relationships into the same
//! row. Values are processed before the object is made, so that a processor that raises leaves no half-filled object behind.

use pyo3::exceptions::{PyAssertionError, PyIndexError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PySet, PyTuple};
use rustalchemy_core::identity::KeyHash;
use smallvec::SmallVec;

use crate::attach::SessionEvent;
use crate::attribute::AttrCore;
use crate::errors;
use crate::flags;
use crate::identity::{FoundState, KeyRef, base_of_manager};
use crate::instance;
use crate::instance_state::InstanceState;
use crate::load_context::{LoadContext, LoadMemory};
use crate::loaded_values;
use crate::manager::ManagerCore;
use crate::mapper::InstanceEvent;
use crate::processors::Processor;
use crate::row_plan::{EagerPlan, EntityPlan, PolymorphicSwitch, RowItem, RowPlan, index};
use crate::slots;
use crate::state::{self, StateRef};
use crate::unit_of_work_core::{UnitOfWorkCore, UowRef};

/// How a load treats objects that are in the session already.
#[derive(Default)]
pub struct HydrateOptions<'py> {
    /// Everything is overwritten, unflushed changes too.
    pub populate_existing: bool,
    /// The rows belong to this object (or `InstanceState`), whatever their keys say.
    pub refresh_state: Option<Bound<'py, PyAny>>,
    /// A refresh of some attributes only: changes of the others stay.
    pub only_attributes: bool,
}

/// Processes one chunk of rows: a list of objects, or of tuples where the plan has several items.
///
/// `core` is the native half of `session`, which the caller keeps alive.
pub fn hydrate<'py>(
    session: &Bound<'py, PyAny>,
    core: *mut UnitOfWorkCore,
    plan: &Bound<'py, RowPlan>,
    rows: &Bound<'py, PyList>,
    options: HydrateOptions<'py>,
    loaded: Option<&Bound<'py, LoadContext>>,
) -> PyResult<Bound<'py, PyList>> {
    let memory = loaded.map(|context| context.get().borrow_memory()).unwrap_or_default();
    let mut processor = RowProcessor::new(session.py(), core, options, memory);
    let result = processor.chunk(plan.get(), rows);
    if let Some(context) = loaded {
        context.get().return_memory(processor.memory);
    }
    result
}

/// A row of the driver as a tuple.
struct Row<'py>(Bound<'py, PyTuple>);

impl<'py> Row<'py> {
    fn new(py: Python<'py>, rows: &Bound<'py, PyList>, at: usize) -> PyResult<Self> {
        let row = rows.get_item(at)?;
        if row.is_exact_instance_of::<PyTuple>() {
            // SAFETY: just checked.
            return Ok(Self(unsafe { row.cast_into_unchecked() }));
        }
        // SAFETY: `row` is a valid object; the result is a new reference to a tuple, or null with an error set.
        unsafe {
            Ok(Self(Bound::from_owned_ptr_or_err(py, ffi::PySequence_Tuple(row.as_ptr()))?.cast_into_unchecked()))
        }
    }

    fn check(&self, width: usize) -> PyResult<()> {
        if self.0.len() < width {
            return Err(PyIndexError::new_err(format!("the row has {} values, its plan needs {width}", self.0.len())));
        }
        Ok(())
    }

    /// A value, borrowed from the row. `position` is inside, see `check`.
    #[inline]
    fn raw(&self, position: usize) -> *mut ffi::PyObject {
        #[allow(clippy::cast_possible_wrap)] // a position inside of a tuple
        // SAFETY: callers have compared the plan's width with the row's.
        unsafe {
            ffi::PyTuple_GET_ITEM(self.0.as_ptr(), position as ffi::Py_ssize_t)
        }
    }

    /// A value, held.
    #[inline]
    fn get(&self, position: usize) -> Bound<'py, PyAny> {
        // SAFETY: as `raw`.
        unsafe { Bound::from_borrowed_ptr(self.0.py(), self.raw(position)) }
    }

    /// A value as the attribute will have it.
    #[inline]
    fn processed(&self, position: usize, processor: Option<&Py<Processor>>) -> PyResult<Bound<'py, PyAny>> {
        let value = self.get(position);
        match processor {
            None => Ok(value),
            Some(processor) => processor.get().apply(&value),
        }
    }
}

/// Processed values of key or columns.
type Values<'py> = SmallVec<[Bound<'py, PyAny>; 8]>;

/// An object a row stands for.
struct Found<'py> {
    object: Bound<'py, PyAny>,
    state: StateRef,
    is_new: bool,
}

/// The row processor at work on one chunk.
struct RowProcessor<'py> {
    py: Python<'py>,
    core: *mut UnitOfWorkCore,
    options: HydrateOptions<'py>,
    refresh_state: Option<StateRef>,
    memory: LoadMemory,
    /// The managers of the last entity and of its base mapper.
    base: Option<(*const ManagerCore, *const ManagerCore)>,
}

impl<'py> RowProcessor<'py> {
    fn new(py: Python<'py>, core: *mut UnitOfWorkCore, options: HydrateOptions<'py>, memory: LoadMemory) -> Self {
        let refresh_state = options.refresh_state.as_ref().and_then(state_named_by);
        Self { py, core, options, refresh_state, memory, base: None }
    }

    fn uow(&self) -> &UnitOfWorkCore {
        // SAFETY: the core lives in a box of the session, which the caller of `hydrate` keeps alive.
        unsafe { &*self.core }
    }

    fn chunk(&mut self, plan: &RowPlan, rows: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyList>> {
        let py = self.py;
        if plan.is_identity && rows.iter().all(|row| is_tuple_of(&row, plan.items.len())) {
            return Ok(rows.clone());
        }
        let mut results: Vec<Bound<'py, PyAny>> = Vec::with_capacity(rows.len());
        let mut at = 0;
        // The length is asked for anew: Python code that runs meanwhile may change the list.
        while at < rows.len() {
            let row = Row::new(py, rows, at)?;
            at += 1;
            if plan.single {
                if let Some(item) = plan.items.first() {
                    results.push(self.item(item, &row)?);
                }
            } else {
                let items = plan.items.iter().map(|item| self.item(item, &row));
                let items = items.collect::<PyResult<SmallVec<[_; 4]>>>()?;
                results.push(PyTuple::new(py, items)?.into_any());
            }
        }
        PyList::new(py, results)
    }

    fn item(&mut self, item: &RowItem, row: &Row<'py>) -> PyResult<Bound<'py, PyAny>> {
        match item {
            RowItem::Entity(plan) => {
                let entity = self.entity(plan.get(), row, true)?;
                Ok(entity.unwrap_or_else(|| self.py.None().into_bound(self.py)))
            }
            RowItem::Scalar(plan) => {
                let plan = plan.get();
                row.check(plan.position + 1)?;
                row.processed(plan.position, plan.processor.as_ref())
            }
        }
    }

    /// The object of one entity; none where the row has no key for it.
    fn entity(&mut self, plan: &EntityPlan, row: &Row<'py>, is_root: bool) -> PyResult<Option<Bound<'py, PyAny>>> {
        row.check(plan.width())?;
        if let Some(switch) = &plan.polymorphic
            && self.refresh_state.is_none()
        {
            match self.branch(plan, switch, row)? {
                Branch::Same => {}
                Branch::Absent => return Ok(None),
                Branch::Other(other) => {
                    row.check(other.get().width())?;
                    return self.plain_entity(other.get(), row, is_root);
                }
            }
        }
        self.plain_entity(plan, row, is_root)
    }

    fn plain_entity(
        &mut self,
        plan: &EntityPlan,
        row: &Row<'py>,
        is_root: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some((options, _)) = &plan.load_options {
            self.memory.prepare_stamp(self.py, options)?;
        }
        let Some(found) = self.find_or_build(plan, row, is_root)? else { return Ok(None) };
        let Found { object, state, is_new } = found;
        let overwrite = !is_new
            && (self.options.populate_existing
                || always_refresh(state)
                || (is_root && self.refresh_state == Some(state)));
        let mut is_first = is_new;
        if overwrite {
            is_first = self.memory.is_first_sight(state);
            if is_first {
                self.overwrite(plan, row, state)?;
            }
        } else if !is_new {
            if state.is_outdated() {
                loaded_values::apply_pending_expiry(self.py, state)?;
            }
            if lacks_anything(plan, state) || (has_event(state, InstanceEvent::Refresh) && is_partial(state)) {
                self.fill_missing(plan, row, state)?;
            }
        }
        if is_new {
            // Later rows of the same object are not to overwrite what this one brings.
            self.memory.is_first_sight(state);
        } else if !is_first && plan.load_options.is_some() && self.memory.has_seen(state) {
            self.prefer_shallow_path(plan, state)?;
        }
        for eager in &plan.eager {
            self.eager(eager.get(), &object, state, row, is_first)?;
            loaded_values::note_related(state);
        }
        if is_first {
            self.announce(plan, row, state, is_new)?;
            // What listeners have set counts as loaded, too.
            if overwrite && self.options.only_attributes {
                for (column, _) in plan.columns() {
                    state.commit(index(column.attribute));
                }
                state.clear_flags(flags::EXPIRED);
            } else if overwrite || state.has(flags::MODIFIED) {
                self.commit(state);
            }
        }
        if let Some(list) = plan.collect {
            self.memory.collect(list, &object, state, is_new || overwrite);
        }
        Ok(Some(object))
    }

    // ---- finding and building -------------------------------------------------------------------------------------

    fn find_or_build(&mut self, plan: &EntityPlan, row: &Row<'py>, is_root: bool) -> PyResult<Option<Found<'py>>> {
        if is_root
            && let Some(state) = self.refresh_state
            && let Some(object) = state.object(self.py)
        {
            return Ok(Some(Found { object, state, is_new: false }));
        }
        // One key column without processor is looked up straight from the row.
        if let [column] = plan.key()
            && column.processor.is_none()
        {
            return self.find_or_build_keyed(plan, row, &[row.get(column.position)]);
        }
        let values = plan
            .key()
            .iter()
            .map(|column| row.processed(column.position, column.processor.as_ref()))
            .collect::<PyResult<Values<'py>>>()?;
        self.find_or_build_keyed(plan, row, &values)
    }

    fn find_or_build_keyed(
        &mut self,
        plan: &EntityPlan,
        row: &Row<'py>,
        key: &[Bound<'py, PyAny>],
    ) -> PyResult<Option<Found<'py>>> {
        let py = self.py;
        let null_count = key.iter().filter(|part| part.is_none()).count();
        if plan.is_absent(null_count) {
            return Ok(None);
        }
        let manager = plan.manager_core(py);
        let base = self.base_of(manager);
        let parts: SmallVec<[*mut ffi::PyObject; 4]> = key.iter().map(Bound::as_ptr).collect();
        let key_ref = match parts.as_slice() {
            [single] => KeyRef::whole(*single, plan.token_ptr()),
            parts => KeyRef::composite(parts, plan.token_ptr()),
        };
        let hash = key_ref.hash(py)?;
        if let Some(found) = self.find(base, hash, key_ref)? {
            return Ok(Some(found));
        }
        // A new object. Everything that can run Python code comes first; the epoch tells whether any touched the table.
        let epoch = self.uow().identity.epoch(base);
        let values = if plan.has_processors { Some(processed_columns(plan, row, key)?) } else { None };
        let object = manager.new_instance(py)?;
        let state = state_of_new(manager, &object)?;
        let whole_key = match key {
            [single] => single.clone(),
            parts => PyTuple::new(py, parts)?.into_any(),
        };
        if self.uow().identity.epoch(base) != epoch
            && let Some(found) = self.find(base, hash, key_ref)?
        {
            return Ok(Some(found));
        }
        state.track(whole_key.as_ptr());
        state.set_key(whole_key.into_ptr());
        if let Some(token) = &plan.token(py) {
            state.rare_mut().identity_token = token.clone().into_ptr();
        }
        state.set_owner(self.core);
        state.mark_current();
        self.uow().identity.insert_absent(base, hash, state);
        self.fill_new(plan, row, state, values)?;
        Ok(Some(Found { object, state, is_new: true }))
    }

    #[inline]
    fn find(&self, base: *const ManagerCore, hash: KeyHash, key: KeyRef<'_>) -> PyResult<Option<Found<'py>>> {
        let found = self.uow().identity.find(self.py, base, hash, key)?;
        Ok(found.map(|FoundState { state, object }| Found { object, state, is_new: false }))
    }

    /// The manager that names the identity table; rows of one chunk mostly ask for the same one.
    fn base_of(&mut self, manager: &ManagerCore) -> *const ManagerCore {
        match self.base {
            Some((last, base)) if std::ptr::eq(last, manager) => base,
            _ => {
                let base = base_of_manager(self.py, manager);
                self.base = Some((manager, base));
                base
            }
        }
    }

    fn branch<'p>(
        &mut self,
        plan: &EntityPlan,
        switch: &'p PolymorphicSwitch,
        row: &Row<'py>,
    ) -> PyResult<Branch<'py>> {
        let py = self.py;
        let discriminator = row.processed(switch.position, switch.processor.as_ref())?;
        if !discriminator.is_none() {
            // `[]` and not `get`: the mapping may make its entries when they are first asked for.
            let branch = switch.branches.bind(py).as_any().get_item(&discriminator)?;
            if branch.is_none() {
                return Ok(Branch::Same);
            }
            // False: a class that the one asked for does not include.
            if let Ok(branch) = branch.cast_into::<EntityPlan>() {
                return Ok(Branch::Other(branch));
            }
        }
        let key = plan
            .key()
            .iter()
            .map(|column| row.processed(column.position, column.processor.as_ref()))
            .collect::<PyResult<Values<'py>>>()?;
        if plan.is_absent(key.iter().filter(|part| part.is_none()).count()) {
            return Ok(Branch::Absent);
        }
        if let Some(on_missing) = &switch.on_missing {
            on_missing.bind(py).call1((PyTuple::new(py, key)?, discriminator))?;
        }
        Ok(Branch::Same)
    }

    // ---- filling --------------------------------------------------------------------------------------------------

    fn fill_new(
        &self,
        plan: &EntityPlan,
        row: &Row<'py>,
        state: StateRef,
        values: Option<Values<'py>>,
    ) -> PyResult<()> {
        match values {
            Some(values) => {
                for ((column, _), value) in plan.columns().zip(values) {
                    store(state, index(column.attribute), value.into_ptr())?;
                }
            }
            None => {
                for (column, _) in plan.columns() {
                    store(state, index(column.attribute), row.get(column.position).into_ptr())?;
                }
            }
        }
        for attribute in plan.expired() {
            state.set_slot_flags(attribute, slots::EXPIRED);
        }
        self.store_options(plan, state, true);
        loaded_values::note_related(state);
        Ok(())
    }

    /// Takes the row for everything it brings, whatever the object had.
    fn overwrite(&self, plan: &EntityPlan, row: &Row<'py>, state: StateRef) -> PyResult<()> {
        if state.is_outdated() {
            loaded_values::apply_pending_expiry(self.py, state)?;
        }
        let values = processed_columns(plan, row, &[])?;
        for ((column, _), value) in plan.columns().zip(values) {
            state.set_committed(index(column.attribute), value.into_ptr())?;
        }
        for attribute in plan.expired() {
            state.set_committed(attribute, std::ptr::null_mut())?;
            state.set_slot_flags(attribute, slots::EXPIRED);
        }
        for attribute in plan.reset() {
            state.set_committed(attribute, std::ptr::null_mut())?;
        }
        self.store_options(plan, state, !self.options.populate_existing && self.refresh_state.is_none());
        Ok(())
    }

    /// Takes the row for what the object lacks.
    fn fill_missing(&mut self, plan: &EntityPlan, row: &Row<'py>, state: StateRef) -> PyResult<()> {
        let missing: Option<Vec<u32>> = has_event(state, InstanceEvent::Refresh).then(|| {
            let attributes = state.manager().attrs().map(AttrCore::index);
            attributes.filter(|&attribute| is_missing(state, attribute)).collect()
        });
        for (column, _) in plan.columns() {
            let attribute = index(column.attribute);
            if is_missing(state, attribute) {
                let value = row.processed(column.position, column.processor.as_ref())?;
                // Asked again: the processor may have been Python code that loaded the attribute.
                if is_missing(state, attribute) {
                    state.set_committed(attribute, value.into_ptr())?;
                }
            }
        }
        for attribute in plan.expired() {
            if is_missing(state, attribute) {
                state.set_slot_flags(attribute, slots::EXPIRED);
            }
        }
        state.clear_flags(flags::EXPIRED);
        if let Some(missing) = missing
            && self.memory.is_first_sight(state)
        {
            let names = self.names(state, |attribute| missing.contains(&attribute))?;
            self.fire(state, InstanceEvent::Refresh, Some(names.into_any()))?;
            for attribute in missing {
                state.commit(attribute);
            }
        }
        Ok(())
    }

    /// Remembers the options an object was loaded with. Empty options never replace those of an earlier load.
    fn store_options(&self, plan: &EntityPlan, state: StateRef, even_empty: bool) {
        let Some((options, path)) = &plan.load_options else { return };
        let py = self.py;
        let options = self.memory.stamp(options);
        if !even_empty && !options.bind(py).is_truthy().unwrap_or(false) {
            return;
        }
        let (options, path) = (options.clone_ref(py).into_ptr(), path.clone_ref(py).into_ptr());
        state.track(options);
        let extra = state.extra_mut();
        let old = [std::mem::replace(&mut extra.load_options, options), std::mem::replace(&mut extra.load_path, path)];
        for object in old {
            // SAFETY: the state owned what it gave up; nothing is half done.
            unsafe { ffi::Py_XDECREF(object) };
        }
    }

    /// An object that stands in several places of a statement is remembered with the path that is nearest to the root.
    fn prefer_shallow_path(&self, plan: &EntityPlan, state: StateRef) -> PyResult<()> {
        let py = self.py;
        let Some((options, path)) = &plan.load_options else { return Ok(()) };
        // SAFETY: the state owns its path; a reference is taken while Python code measures it.
        let old = unsafe {
            Bound::from_borrowed_ptr_or_opt(py, state.extra().map_or(std::ptr::null_mut(), |extra| extra.load_path))
        };
        let Some(old) = old.filter(|old| !old.is(path)) else { return Ok(()) };
        let may_replace = !self.options.populate_existing || options.bind(py).is_truthy()?;
        if may_replace && path.bind(py).len()? < old.len()? {
            let replaced = std::mem::replace(&mut state.extra_mut().load_path, path.clone_ref(py).into_ptr());
            // SAFETY: the state owned what it gave up; nothing is half done.
            unsafe { ffi::Py_XDECREF(replaced) };
        }
        Ok(())
    }

    /// Everything of the object is as it was loaded.
    fn commit(&self, state: StateRef) {
        state.commit_all();
        // SAFETY: the core is alive, see `uow`; no other reference into the list exists here.
        let left = unsafe { (*self.core).dirty.remove(state) };
        drop(left);
    }

    // ---- eagerly loaded relationships -----------------------------------------------------------------------------

    fn eager(
        &mut self,
        eager: &EagerPlan,
        object: &Bound<'py, PyAny>,
        state: StateRef,
        row: &Row<'py>,
        overwrite: bool,
    ) -> PyResult<()> {
        let py = self.py;
        let fills = overwrite || is_missing(state, eager.attr);
        if eager.uselist {
            if !self.memory.knows_collection(state, eager.attr) {
                let collection = if fills { Some(loaded_values::new_collection(py, state, eager.attr)?) } else { None };
                self.memory.enter_collection(object, state, eager.attr, collection);
            }
            if let Some(member) = self.entity(eager.entity.get(), row, false)?
                && let Some(collection) = self.memory.collection_lacking(state, eager.attr, &member)
            {
                loaded_values::append(&collection, &member)?;
            }
            return Ok(());
        }
        let value = self.entity(eager.entity.get(), row, false)?;
        let value = value.unwrap_or_else(|| py.None().into_bound(py));
        if fills {
            return state.set_committed(eager.attr, value.into_ptr());
        }
        if self.memory.has_seen(state) && state.slot(eager.attr).value() != value.as_ptr() {
            return warn_of_second_value(py, state, eager.attr);
        }
        Ok(())
    }

    // ---- announcing -----------------------------------------------------------------------------------------------

    /// Tells whoever wants to know that an object was built or overwritten.
    fn announce(&mut self, plan: &EntityPlan, row: &Row<'py>, state: StateRef, is_new: bool) -> PyResult<()> {
        let py = self.py;
        if let Some(on_new) = &plan.on_new {
            on_new.bind(py).call1((state.view(py)?, &row.0, is_new))?;
        }
        if is_new {
            if has_event(state, InstanceEvent::Load) {
                self.fire(state, InstanceEvent::Load, None)?;
                self.memory.warn_if_lost(py, state)?;
            }
            if self.uow().events.listens(SessionEvent::LoadedAsPersistent as usize) {
                // SAFETY: as in `uow`.
                unsafe { UowRef::from_ptr(self.core) }.fire(py, SessionEvent::LoadedAsPersistent, state)?;
                self.memory.warn_if_lost(py, state)?;
            }
        } else if has_event(state, InstanceEvent::Refresh) {
            let names = if self.options.only_attributes {
                let filled: Vec<u32> = plan.columns().map(|(column, _)| index(column.attribute)).collect();
                // A wholly expired object asks for all that it lacks, whatever the row brings.
                let lacks = |attr: &AttrCore| attr.load_on_unexpire.get() && is_missing(state, attr.index());
                let mut attrs = state.manager().attrs();
                let is_whole = state.has(flags::EXPIRED) && !attrs.any(|a| a.accepts_scalar_loader.get() && lacks(a));
                let wants = |attribute| is_whole && state.manager().attr(attribute).is_some_and(lacks);
                self.names(state, |attribute| filled.contains(&attribute) || wants(attribute))?.into_any()
            } else {
                py.None().into_bound(py)
            };
            self.fire(state, InstanceEvent::Refresh, Some(names))?;
            self.memory.warn_if_lost(py, state)?;
        }
        Ok(())
    }

    /// Names of those attributes of an object that `wanted` says.
    fn names(&self, state: StateRef, wanted: impl Fn(u32) -> bool) -> PyResult<Bound<'py, PySet>> {
        let keys = state.manager().attrs().filter(|attr| wanted(attr.index())).map(|attr| attr.key(self.py));
        PySet::new(self.py, keys)
    }

    fn fire(&self, state: StateRef, event: InstanceEvent, names: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        let others: Vec<_> = [Some(self.memory.context(self.py)), names].into_iter().flatten().collect();
        event.fire(self.py, state, &others)
    }
}

/// Whether a row is a plain tuple of this many values.
fn is_tuple_of(row: &Bound<'_, PyAny>, width: usize) -> bool {
    row.cast_exact::<PyTuple>().is_ok_and(|row| row.len() == width)
}

/// What a discriminator says about a row.
enum Branch<'py> {
    /// The plan that has the switch.
    Same,
    /// There is no object.
    Absent,
    /// The plan of a subclass.
    Other(Bound<'py, EntityPlan>),
}

/// A scalar that is loaded by joining got another value by a second row.
fn warn_of_second_value(py: Python<'_>, state: StateRef, attr: u32) -> PyResult<()> {
    let manager = state.manager();
    let class = manager.class(py)?.name()?;
    let name = manager.attr(attr).map_or_else(String::new, |attr| format!("{class}.{}", attr.key(py)));
    errors::warn(py, &format!("Multiple rows returned with uselist=False for eagerly-loaded attribute '{name}' "))
}

/// All columns of a row, processed. `key` has the processed key, or nothing.
fn processed_columns<'py>(plan: &EntityPlan, row: &Row<'py>, key: &[Bound<'py, PyAny>]) -> PyResult<Values<'py>> {
    plan.columns()
        .map(|(column, shared)| match shared.and_then(|at| key.get(at)) {
            Some(value) => Ok(value.clone()),
            None => row.processed(column.position, column.processor.as_ref()),
        })
        .collect()
}

/// The state of an object that `ManagerCore::new_instance` made.
#[inline]
fn state_of_new(manager: &ManagerCore, object: &Bound<'_, PyAny>) -> PyResult<StateRef> {
    if manager.is_inline() {
        // SAFETY: objects of an inline class are inline carriers.
        return Ok(unsafe { instance::inline_state(object.as_ptr()) });
    }
    state::state_of(object).ok_or_else(|| PyAssertionError::new_err("a new instance of a mapped class has no state"))
}

/// The state an object or its `InstanceState` stands for.
fn state_named_by(object: &Bound<'_, PyAny>) -> Option<StateRef> {
    match object.cast::<InstanceState>() {
        Ok(view) => view.get().state(),
        Err(_) => state::state_of(object),
    }
}

/// Gives a new object a value.
#[inline]
fn store(state: StateRef, attribute: u32, value: *mut ffi::PyObject) -> PyResult<()> {
    match state.replace_slot(attribute, value, 0) {
        Ok(old) => {
            // SAFETY: the slot owned what it gave up; an object this new has nothing, or its own default.
            unsafe { ffi::Py_XDECREF(old) };
            Ok(())
        }
        Err(value) => {
            // SAFETY: the reference came back.
            unsafe { ffi::Py_XDECREF(value) };
            Err(pyo3::exceptions::PyMemoryError::new_err(()))
        }
    }
}

/// Whether an attribute has neither a value nor a change.
#[inline]
fn is_missing(state: StateRef, attribute: u32) -> bool {
    let slot = state.slot(attribute);
    slot.value().is_null() && !slot.is_modified()
}

/// Whether an object lacks anything its row brings, or is to be asked for with the rest.
#[inline]
fn lacks_anything(plan: &EntityPlan, state: StateRef) -> bool {
    plan.columns().any(|(column, _)| is_missing(state, index(column.attribute)))
        || plan.expired().any(|attribute| is_missing(state, attribute) && !state.slot(attribute).is_expired())
}

/// Whether an object lacks any of its attributes: then listeners hear of each row of it.
fn is_partial(state: StateRef) -> bool {
    state.manager().attrs().any(|attr| is_missing(state, attr.index()))
}

fn always_refresh(state: StateRef) -> bool {
    state.manager().descriptor().is_some_and(|mapper| mapper.always_refresh)
}

fn has_event(state: StateRef, event: InstanceEvent) -> bool {
    state.manager().descriptor().is_some_and(|mapper| mapper.instance_events.listens(event as usize))
}
