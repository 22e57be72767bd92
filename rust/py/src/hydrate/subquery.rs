//! Relationships that a second statement brings, which embeds the first as a subquery.
//!
//! It is sent with the first row that asks for it, so that rows to come find what it has loaded.
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::loaded_values;
use crate::row_plan::SubqueryPlan;
use crate::state::StateRef;

use super::fill::is_missing;
use super::row::{Row, Values};
use super::{RowProcessor, warn_of_several};

impl<'py> RowProcessor<'py> {
    /// Gives the object of a row its related ones: the first time, or where they are missing.
    pub(super) fn subquery(
        &mut self,
        plan: &SubqueryPlan,
        state: StateRef,
        row: &Row<'py>,
        is_first: bool,
        was_met: bool,
    ) -> PyResult<()> {
        if is_first || is_missing(state, plan.attr) {
            let key = plan.key.iter().map(|column| row.processed(column.position, column.processor.as_ref()));
            let key = PyTuple::new(self.py, key.collect::<PyResult<Values<'py>>>()?)?;
            let members = self.result_of(plan)?.get_item(key)?;
            return self.give_related(plan, state, members);
        }
        if !was_met && !self.options.passes_by_loaded {
            // What the object has stays; objects further on may still lack what the statement would load.
            self.result_of(plan)?;
        }
        Ok(())
    }

    /// What the second statement has found. Sends it, if no row has asked for it before.
    fn result_of(&mut self, plan: &SubqueryPlan) -> PyResult<Bound<'py, PyDict>> {
        if let Some(found) = self.memory.subquery(self.py, plan.number) {
            return Ok(found);
        }
        let found = plan.load.bind(self.py).call1((self.memory.context(self.py),))?.cast_into::<PyDict>()?;
        self.memory.enter_subquery(plan.number, &found);
        Ok(found)
    }

    fn give_related(&self, plan: &SubqueryPlan, state: StateRef, members: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        let py = self.py;
        if plan.uselist {
            let members = members.unwrap_or_else(|| PyList::empty(py).into_any());
            return loaded_values::store_collection(py, state, plan.attr, &members);
        }
        let Some(members) = members else {
            return state.set_committed(plan.attr, py.None().into_ptr());
        };
        if members.len()? > 1 {
            warn_of_several(plan.relationship.bind(py))?;
        }
        state.set_committed(plan.attr, members.get_item(0)?.into_ptr())
    }
}
