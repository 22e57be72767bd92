//! Finding the object of a row, or building it.
use pyo3::exceptions::PyAssertionError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustalchemy_core::identity::KeyHash;
use smallvec::SmallVec;

use crate::flags;
use crate::identity::{self, FoundState, KeyRef, base_of_manager};
use crate::instance;
use crate::manager::ManagerCore;
use crate::row_plan::{EntityPlan, PolymorphicSwitch};
use crate::state::{self, StateRef};

use super::row::{Row, Values, processed_columns};
use super::{Found, Last, RowProcessor};

/// What a discriminator says about a row.
pub(super) enum Branch<'py> {
    /// The plan that has the switch.
    Same,
    /// There is no object.
    Absent,
    /// The plan of a subclass.
    Other(Bound<'py, EntityPlan>),
}

impl<'py> RowProcessor<'py> {
    pub(super) fn find_or_build(
        &mut self,
        plan: &EntityPlan,
        row: &Row<'py>,
        is_root: bool,
    ) -> PyResult<Option<Found<'py>>> {
        if is_root
            && let Some(state) = self.refresh_state.as_deref().copied()
            && let Some(object) = state.object(self.py)
        {
            return Ok(Some(Found { object, state, is_new: false }));
        }
        // One key column without processor is looked up straight from the row.
        if let [column] = plan.key()
            && column.processor.is_none()
        {
            let key = row.get(column.position);
            if !plan.repeats {
                return self.find_or_build_keyed(plan, row, &[key]);
            }
            if let Some(found) = self.same_as_last(plan, &key) {
                return Ok(Some(found));
            }
            let found = self.find_or_build_keyed(plan, row, &[key])?;
            self.remember(plan, found.as_ref());
            return Ok(found);
        }
        let values = plan
            .key()
            .iter()
            .map(|column| row.processed(column.position, column.processor.as_ref()))
            .collect::<PyResult<Values<'py>>>()?;
        self.find_or_build_keyed(plan, row, &values)
    }

    /// The object of the last row, if this row's key is its identity.
    fn same_as_last(&self, plan: &EntityPlan, key: &Bound<'py, PyAny>) -> Option<Found<'py>> {
        let last = self.last.iter().find(|last| std::ptr::eq(last.plan, plan))?;
        let state = last.state;
        if !state.has(flags::IN_MAP) || state.owner() != self.core {
            return None;
        }
        // SAFETY: the state lives with its object, which is held, and owns its key.
        let known = unsafe { Bound::from_borrowed_ptr_or_opt(self.py, state.key()) }?;
        identity::is_surely_equal(&known, key).then(|| Found { object: last.object.clone(), state, is_new: false })
    }

    fn remember(&mut self, plan: &EntityPlan, found: Option<&Found<'py>>) {
        self.last.retain(|last| !std::ptr::eq(last.plan, plan));
        if let Some(Found { object, state, .. }) = found {
            self.last.push(Last { plan, object: object.clone(), state: *state });
        }
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

    pub(super) fn branch<'p>(
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
