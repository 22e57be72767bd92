//! `_core.FlushPlan` and `_core.PlanStep`: a flush as a value that can be printed, drawn and asked before anything is sent.
use std::sync::Arc;

use hashbrown::HashMap;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustalchemy_core::flush::{self as core, Part};
use rustalchemy_core::schema::Schema;

use crate::errors;
use crate::state::state_of;
use crate::unit_of_work_core::UowRef;

use super::Flush;
use super::explain::{Explanation, Facts};

/// One line of a plan: statements of one kind on one table.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct PlanStep {
    number: usize,
    all: Arc<Vec<core::PlanStep>>,
    waits_for: Vec<(usize, String)>,
}

impl PlanStep {
    fn step(&self) -> &core::PlanStep {
        &self.all[self.number - 1]
    }
}

#[pymethods]
impl PlanStep {
    /// Its place, counted from 1.
    #[getter]
    fn number(&self) -> usize {
        self.number
    }
    /// "insert", "update" or "delete".
    #[getter]
    fn kind(&self) -> &'static str {
        self.step().kind.name()
    }
    /// Whose rows: `row`, `secondary` or `post_update`.
    #[getter]
    fn part(&self) -> &'static str {
        match self.step().part {
            Part::Row => "row",
            Part::Secondary(_) => "secondary",
            Part::PostUpdate => "post_update",
        }
    }
    /// Name of the table.
    #[getter]
    fn table(&self) -> &str {
        &self.step().table
    }
    /// Name of the class, or of the relationship whose association rows they are.
    #[getter]
    fn mapper(&self) -> &str {
        &self.step().mapper
    }
    /// Names of the columns that an UPDATE sets.
    #[getter]
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.step().columns)
    }
    /// How many rows, as far as can be known before keys are copied.
    #[getter]
    fn rows(&self) -> usize {
        self.step().rows.len()
    }
    /// What the rows are written for.
    #[getter]
    fn what(&self) -> &str {
        &self.step().what
    }
    /// Why it stands after the one before.
    #[getter]
    fn reason(&self) -> &str {
        &self.step().reason
    }
    /// The steps that have to come before, as (number, why); nothing that follows from the others.
    #[getter]
    fn waits_for<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.waits_for)
    }
    fn __repr__(&self) -> String {
        format!(
            "<PlanStep {}: {} {} rows={} ({}; {})>",
            self.number,
            self.step().kind.verb(),
            self.step().table,
            self.step().rows.len(),
            self.step().what,
            self.step().reason
        )
    }
}

/// Everything a flush would do, in order, as it was seen when the plan was made.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct FlushPlan {
    schema: Schema,
    steps: Arc<Vec<core::PlanStep>>,
    notes: Vec<String>,
    facts: Vec<Facts>,
    /// Place in `facts` by the object's address; `facts` holds the objects.
    by_object: HashMap<usize, usize>,
    /// The session's address, to compare with.
    session: usize,
}

impl FlushPlan {
    /// Walks through a flush of everything the session has.
    pub fn make(py: Python<'_>, uow: UowRef) -> PyResult<Bound<'_, Self>> {
        let mut flush = Flush::new(uow, true, true);
        flush.register_session(py, None)?;
        let waits = flush.make_plan(py)?;
        flush.trace_cascades(py)?;
        let work = flush.foresee(py)?;
        let steps = core::steps(&flush.schema, &flush.plan, &waits, work);
        let notes = flush.notes(py);
        let facts = flush.facts(py, &steps)?;
        let by_object = facts.iter().map(|facts| facts.address()).zip(0..).collect();
        let session = uow.as_ptr() as usize;
        Bound::new(py, Self { schema: flush.schema, steps: Arc::new(steps), notes, facts, by_object, session })
    }
}

#[pymethods]
impl FlushPlan {
    /// The steps, in order.
    #[getter]
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let step = |(number, step): (usize, &core::PlanStep)| {
            let waits = step.waits.iter();
            let waits_for = waits.map(|wait| (wait.step + 1, wait.reason.label(&self.schema))).collect();
            Bound::new(py, PlanStep { number, all: Arc::clone(&self.steps), waits_for })
        };
        PyTuple::new(py, (1..).zip(self.steps.iter()).map(step).collect::<PyResult<Vec<_>>>()?)
    }
    /// What a reader should know beside the steps: what the flush loads first, what will not be written.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.notes)
    }
    /// The number of objects that take part.
    #[getter]
    fn objects(&self) -> usize {
        self.facts.len()
    }
    /// The steps as a mermaid flowchart; arrows carry the reason why one waits for another.
    fn to_mermaid(&self) -> String {
        core::mermaid(&self.schema, &self.steps)
    }
    /// Why, how and when an object is written, or why not.
    fn explain(&self, instance: &Bound<'_, PyAny>) -> PyResult<Explanation> {
        let py = instance.py();
        let state = state_of(instance).ok_or_else(|| errors::unmapped_instance(py, instance))?;
        match self.by_object.get(&(instance.as_ptr() as usize)) {
            Some(&place) => self.facts[place].explain(py, &self.schema, self.steps.as_slice(), &self.facts),
            None => Explanation::of_bystander(py, instance, state, state.owner() as usize == self.session),
        }
    }
    fn __len__(&self) -> usize {
        self.steps.len()
    }
    fn __bool__(&self) -> bool {
        !self.steps.is_empty()
    }
    fn __str__(&self) -> String {
        core::table(&self.steps, &self.notes)
    }
    fn __repr__(&self) -> String {
        format!("<FlushPlan of {} steps>", self.steps.len())
    }
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.facts.iter().try_for_each(|facts| facts.traverse(&visit))
    }
}
