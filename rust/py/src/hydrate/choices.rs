//! Strategies that the loader options of a statement choose for attributes of objects that were there before.
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::hooks;
use crate::overrides;
use crate::row_plan::EntityPlan;
use crate::state::StateRef;

use super::RowProcessor;
use super::fill::is_missing;

impl<'py> RowProcessor<'py> {
    /// A statement that overwrites an object decides anew about all that it could bring.
    pub(super) fn choose_anew(&self, plan: &EntityPlan, state: StateRef) -> PyResult<()> {
        if plan.overrides.is_empty() && !overrides::has_any(state) {
            return Ok(());
        }
        let reset: Vec<_> = plan.reset().filter_map(|attribute| state.manager().attr(attribute)).collect();
        let ended = PyList::new(self.py, reset.iter().map(|attr| attr.key(self.py)))?;
        self.choose(plan, state, |_| true, &ended)
    }

    /// A statement that only adds to an object decides about what the object lacks.
    pub(super) fn choose_for_missing(&self, plan: &EntityPlan, state: StateRef) -> PyResult<()> {
        if plan.overrides.is_empty() {
            return Ok(());
        }
        self.choose(plan, state, |attribute| is_missing(state, attribute), &PyList::empty(self.py))
    }

    fn choose(
        &self,
        plan: &EntityPlan,
        state: StateRef,
        is_wanted: impl Fn(u32) -> bool,
        ended: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        let wanted = PyDict::new(self.py);
        for chosen in &plan.overrides {
            if is_wanted(chosen.attribute) {
                wanted.set_item(&chosen.key, &chosen.choice)?;
            }
        }
        if ended.is_empty() && is_chosen(state, &wanted)? {
            return Ok(());
        }
        hooks::hook(self.py, "choose_strategies")?.call1((state.view(self.py)?, wanted, ended))?;
        Ok(())
    }
}

/// Whether an object loads its attributes in these ways already.
fn is_chosen(state: StateRef, wanted: &Bound<'_, PyDict>) -> PyResult<bool> {
    let Some(known) = overrides::chosen(wanted.py(), state)? else { return Ok(wanted.is_empty()) };
    for (key, choice) in wanted {
        if !known.get_item(key)?.is_some_and(|known| known.is(&choice)) {
            return Ok(false);
        }
    }
    Ok(true)
}
