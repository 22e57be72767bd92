//! Telling listeners what a row did.
use pyo3::prelude::*;
use pyo3::types::{PySet, PyString};

use crate::attach::SessionEvent;
use crate::attribute::AttrCore;
use crate::flags;
use crate::mapper::InstanceEvent;
use crate::row_plan::{EntityPlan, index};
use crate::state::StateRef;
use crate::unit_of_work_core::UowRef;

use super::RowProcessor;
use super::fill::is_missing;
use super::row::Row;

impl<'py> RowProcessor<'py> {
    /// Tells whoever wants to know that an object was built or overwritten.
    pub(super) fn announce(
        &mut self,
        plan: &EntityPlan,
        row: &Row<'py>,
        state: StateRef,
        is_new: bool,
    ) -> PyResult<()> {
        let py = self.py;
        if let Some(on_new) = &plan.on_new {
            on_new.bind(py).call1((state.view(py)?, &row.0, is_new))?;
        }
        if is_new {
            // A subquery load may have overwritten the object in the meantime.
            let mark = state.load_serial();
            if has_event(state, InstanceEvent::Load) {
                self.fire(state, InstanceEvent::Load, None)?;
                self.memory.warn_if_lost(py, state, mark)?;
            }
            let mark = state.load_serial();
            if self.uow().events.listens(SessionEvent::LoadedAsPersistent as usize) {
                // SAFETY: as in `uow`.
                unsafe { UowRef::from_ptr(self.core) }.fire(py, SessionEvent::LoadedAsPersistent, state)?;
                self.memory.warn_if_lost(py, state, mark)?;
            }
        } else if has_event(state, InstanceEvent::Refresh) {
            let names = if let Some(asked) = &self.options.only_attributes {
                let filled: Vec<u32> = plan.columns().map(|(column, _)| index(column.attribute)).collect();
                // A wholly expired object asks for all that it lacks, whatever the row brings.
                let lacks = |attr: &AttrCore| attr.load_on_unexpire.get() && is_missing(state, attr.index());
                let mut attrs = state.manager().attrs();
                let is_whole = state.has(flags::EXPIRED) && !attrs.any(|a| a.accepts_scalar_loader.get() && lacks(a));
                let wants = |attribute| is_whole && state.manager().attr(attribute).is_some_and(lacks);
                let names = self.names(state, |attribute| filled.contains(&attribute) || wants(attribute))?;
                // Synonyms and composites have no slot.
                for name in asked.try_iter()? {
                    let name = name?;
                    if name.cast::<PyString>().is_ok_and(|name| state.manager().attr_by_key(name).is_none()) {
                        names.add(name)?;
                    }
                }
                names.into_any()
            } else {
                py.None().into_bound(py)
            };
            self.fire(state, InstanceEvent::Refresh, Some(names))?;
            self.memory.warn_if_lost(py, state, self.memory.serial())?;
        }
        Ok(())
    }

    /// Names of those attributes of an object that `wanted` says.
    fn names(&self, state: StateRef, wanted: impl Fn(u32) -> bool) -> PyResult<Bound<'py, PySet>> {
        let keys = state.manager().attrs().filter(|attr| wanted(attr.index())).map(|attr| attr.key(self.py));
        PySet::new(self.py, keys)
    }

    pub(super) fn fire(&self, state: StateRef, event: InstanceEvent, names: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        let others: Vec<_> = [Some(self.memory.context(self.py)), names].into_iter().flatten().collect();
        event.fire(self.py, state, &others)
    }
}

/// Whether anybody listens to an event of the objects of a class.
pub(super) fn has_event(state: StateRef, event: InstanceEvent) -> bool {
    state.manager().descriptor().is_some_and(|mapper| mapper.instance_events.listens(event as usize))
}
