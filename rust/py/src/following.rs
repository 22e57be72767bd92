//! Collections that are loaded by one more statement once the rows of a short SELECT were read (`selectinload()`).
//!
//! Python runs the first ones of a shape, and leaves this behind where the children's rows need nothing but a row plan.

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple};

use crate::hydrate::{self, Execution, HydrateOptions};
use crate::load_batch;
use crate::load_context::{LoadContext, LoadMemory};
use crate::row_plan::RowPlan;
use crate::unit_of_work_core::UowRef;

/// A SELECT of the children of some parents, whose keys are its only parameters.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct FollowingLoad {
    /// The text before and after the list of keys.
    text: (String, String),
    /// The text for one parent.
    for_one: Py<PyString>,
    /// Bind processing of a key.
    processor: Option<Py<PyAny>>,
    plan: Py<RowPlan>,
    /// Number of the list that the parents are gathered in.
    list: usize,
    /// Number of the collection's attribute.
    attr: u32,
    /// Parents of one statement.
    size: usize,
}

#[pymethods]
impl FollowingLoad {
    #[new]
    #[allow(clippy::too_many_arguments)] // what there is to know
    fn new(
        py: Python<'_>,
        before: String,
        after: String,
        processor: Option<Py<PyAny>>,
        plan: Py<RowPlan>,
        list: usize,
        attr: u32,
        size: usize,
    ) -> Self {
        let for_one = PyString::new(py, &format!("{before}?{after}")).unbind();
        Self { text: (before, after), for_one, processor, plan, list, attr, size: size.max(1) }
    }

    #[allow(clippy::needless_pass_by_value)] // the signature PyO3 wants
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.processor)?;
        visit.call(&self.plan)
    }
}

impl FollowingLoad {
    /// The statement for so many parents.
    fn statement<'py>(&self, py: Python<'py>, parents: usize) -> Bound<'py, PyString> {
        if parents == 1 {
            return self.for_one.bind(py).clone();
        }
        let (before, after) = &self.text;
        PyString::new(py, &format!("{before}{}{after}", vec!["?"; parents].join(", ")))
    }

    /// Loads the collections of these parents.
    fn run<'py>(
        &self,
        session: &Bound<'py, PyAny>,
        uow: UowRef,
        lane: &Bound<'py, PyAny>,
        parents: &Bound<'py, PyList>,
    ) -> PyResult<()> {
        let py = session.py();
        for start in (0..parents.len()).step_by(self.size) {
            let chunk = parents.get_slice(start, start + self.size);
            let mut keys = Vec::with_capacity(chunk.len());
            for parent in chunk.iter() {
                let key = parent.cast::<PyTuple>()?.get_item(1)?;
                keys.push(match &self.processor {
                    None => key,
                    Some(processor) => processor.bind(py).call1((key,))?,
                });
            }
            let sql = self.statement(py, chunk.len());
            let parameters = PyTuple::new(py, keys)?.into_any();
            let execution = Execution { lane, sql: &sql, parameters: &parameters };
            let children = {
                let _inside = uow.enter(py)?;
                let (options, memory) = (HydrateOptions::default(), LoadMemory::default());
                hydrate::load_grouped(session, uow.as_ptr(), self.plan.get(), &execution, options, memory)?
            };
            load_batch::store_groups(&chunk, self.attr, &children)?;
        }
        Ok(())
    }
}

/// Runs the loads that follow the rows which `context` remembers the parents of.
pub fn run<'py>(
    session: &Bound<'py, PyAny>,
    uow: UowRef,
    lane: &Bound<'py, PyAny>,
    loads: &[Py<FollowingLoad>],
    context: &LoadContext,
) -> PyResult<()> {
    let py = session.py();
    let mut known: Option<(usize, Bound<'py, PyList>)> = None;
    for load in loads {
        let load = load.get();
        let parents = match known.take() {
            Some((list, parents)) if list == load.list => parents,
            _ => context.take(py, load.list)?,
        };
        load.run(session, uow, lane, &parents)?;
        known = Some((load.list, parents));
    }
    Ok(())
}
