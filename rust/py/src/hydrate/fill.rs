//! Filling the object of a row.
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;

use crate::attribute::AttrCore;
use crate::flags;
use crate::loaded_values;
use crate::mapper::InstanceEvent;
use crate::row_plan::{EntityPlan, index};
use crate::slots;
use crate::state::{SharedOptions, StateRef};

use super::RowProcessor;
use super::announce::has_event;
use super::row::{Row, Values, processed_columns};

impl<'py> RowProcessor<'py> {
    pub(super) fn fill_new(
        &mut self,
        plan: &EntityPlan,
        row: &Row<'py>,
        state: StateRef,
        values: Option<Values<'py>>,
    ) -> PyResult<()> {
        match values {
            Some(values) => {
                for ((column, _), value) in plan.columns().zip(values) {
                    state.store(index(column.attribute), value.into_ptr(), 0)?;
                }
            }
            None => {
                for (column, _) in plan.columns() {
                    state.store(index(column.attribute), row.get(column.position).into_ptr(), 0)?;
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
    pub(super) fn overwrite(&mut self, plan: &EntityPlan, row: &Row<'py>, state: StateRef) -> PyResult<()> {
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
            let was_expired = state.slot(attribute).is_expired();
            state.set_committed(attribute, std::ptr::null_mut())?;
            // A column that the statement leaves out is still asked for with the rest of an expired row.
            if was_expired && state.manager().attr(attribute).is_some_and(|attr| attr.accepts_scalar_loader.get()) {
                state.set_slot_flags(attribute, slots::EXPIRED);
            }
        }
        self.store_options(plan, state, !self.options.populate_existing && self.refresh_state.is_none());
        self.choose_anew(plan, state)
    }

    /// Takes the row for what the object lacks.
    pub(super) fn fill_missing(
        &mut self,
        plan: &EntityPlan,
        row: &Row<'py>,
        object: &Bound<'py, PyAny>,
        state: StateRef,
    ) -> PyResult<()> {
        let missing: Option<(Vec<u32>, Bound<'py, PyAny>)> = if has_event(state, InstanceEvent::Refresh) {
            let attributes = state.manager().attrs().map(AttrCore::index);
            let missing = attributes.filter(|&attribute| is_missing(state, attribute)).collect();
            Some((missing, state.view(self.py)?.getattr(intern!(self.py, "unloaded"))?))
        } else {
            None
        };
        self.fill_missing_columns(plan, row, state)?;
        for attribute in plan.expired() {
            if is_missing(state, attribute) {
                state.set_slot_flags(attribute, slots::EXPIRED);
            }
        }
        self.choose_for_missing(plan, state)?;
        state.clear_flags(flags::EXPIRED);
        if let Some((missing, names)) = missing
            && self.memory.enter_partial(object, state)
        {
            self.fire(state, InstanceEvent::Refresh, Some(names))?;
            for attribute in missing {
                state.commit(attribute);
            }
        }
        Ok(())
    }

    /// Takes those values of the row that the object lacks.
    pub(super) fn fill_missing_columns(&self, plan: &EntityPlan, row: &Row<'py>, state: StateRef) -> PyResult<()> {
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
        Ok(())
    }

    /// Remembers the options an object was loaded with. Empty options never replace those of an earlier load.
    fn store_options(&mut self, plan: &EntityPlan, state: StateRef, even_empty: bool) {
        let Some((options, path)) = &plan.load_options else { return };
        let py = self.py;
        let may_share = plan.options_are_plain && even_empty && state.extra().is_none();
        if may_share && let Some((_, shared)) = self.shared.iter().find(|(of, _)| std::ptr::eq(*of, plan)) {
            return state.share_options(shared);
        }
        let options = self.memory.stamp(options);
        if may_share {
            let shared = SharedOptions::new(options.clone_ref(py), path.clone_ref(py));
            state.share_options(&shared);
            self.shared.push((plan, shared));
            return;
        }
        if !even_empty && !options.bind(py).is_truthy().unwrap_or(false) {
            return;
        }
        let (options, path) = (options.clone_ref(py).into_ptr(), path.clone_ref(py).into_ptr());
        if !plan.options_are_plain {
            state.track(options);
        }
        let extra = state.extra_mut();
        let old = [std::mem::replace(&mut extra.load_options, options), std::mem::replace(&mut extra.load_path, path)];
        for object in old {
            // SAFETY: the state owned what it gave up; nothing is half done.
            unsafe { ffi::Py_XDECREF(object) };
        }
    }

    /// An object that stands in several places of a statement is remembered with the path that is nearest to the root.
    pub(super) fn prefer_shallow_path(&self, plan: &EntityPlan, state: StateRef) -> PyResult<()> {
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
    pub(super) fn commit(&self, state: StateRef) {
        state.commit_all();
        // SAFETY: the core is alive, see `uow`; no other reference into the list exists here.
        let left = unsafe { (*self.core).dirty.remove(state) };
        drop(left);
    }
}

/// Whether an attribute has neither a value nor a change.
#[inline]
pub(super) fn is_missing(state: StateRef, attribute: u32) -> bool {
    let slot = state.slot(attribute);
    slot.value().is_null() && !slot.is_modified()
}

/// Whether an object lacks anything that its row brings, that is to be asked for with the rest, or that loads otherwise.
#[inline]
pub(super) fn lacks_anything(plan: &EntityPlan, state: StateRef) -> bool {
    plan.columns().any(|(column, _)| is_missing(state, index(column.attribute)))
        || plan.expired().any(|attribute| is_missing(state, attribute) && !state.slot(attribute).is_expired())
        || plan.overrides.iter().any(|chosen| is_missing(state, chosen.attribute))
}

/// Whether an object lacks any of its attributes: then listeners hear of each row of it.
pub(super) fn is_partial(state: StateRef) -> bool {
    state.manager().attrs().any(|attr| is_missing(state, attr.index()))
}
