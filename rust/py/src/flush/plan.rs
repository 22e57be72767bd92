//! `_core.FlushPlan` and `_core.PlanStep`: a flush as a value that can be printed before anything is sent.
use std::cell::RefCell;

use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use rustalchemy_core::flush::{self as core, StatementKind};
use rustalchemy_core::ids::{StateId, TableId};

use crate::unit_of_work_core::UowRef;

use super::Flush;

/// One line of a plan: statements of one kind on one table.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct PlanStep {
    number: usize,
    step: core::PlanStep,
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
        self.step.kind.name()
    }
    /// Name of the table.
    #[getter]
    fn table(&self) -> &str {
        &self.step.table
    }
    /// Name of the class.
    #[getter]
    fn mapper(&self) -> &str {
        &self.step.mapper
    }
    /// How many rows, as far as can be known before keys are copied.
    #[getter]
    fn rows(&self) -> usize {
        self.step.rows
    }
    /// Why it stands after the one before.
    #[getter]
    fn reason(&self) -> &str {
        &self.step.reason
    }
    fn __repr__(&self) -> String {
        format!(
            "<PlanStep {}: {} {} rows={} ({})>",
            self.number,
            self.step.kind.verb(),
            self.step.table,
            self.step.rows,
            self.step.reason
        )
    }
}

/// Everything one flush will do, in order.
#[pyclass(frozen, module = "rustalchemy._core")]
pub struct FlushPlan {
    flush: RefCell<Option<Box<Flush>>>,
    steps: RefCell<Option<Vec<core::PlanStep>>>,
}

// SAFETY: the module declares `gil_used`; cells are only touched with the GIL held and never across Python calls.
unsafe impl Send for FlushPlan {}
// SAFETY: as above.
unsafe impl Sync for FlushPlan {}

impl FlushPlan {
    /// *Register*, *graph*, *plan*.
    pub fn make<'py>(
        py: Python<'py>,
        uow: UowRef,
        objects: Option<&Bound<'py, PyAny>>,
        is_preview: bool,
    ) -> PyResult<Bound<'py, Self>> {
        let mut flush = Flush::new(uow, is_preview, objects.is_none());
        flush.register_session(py, objects)?;
        flush.presort(py)?;
        flush.switch_keys(py, false)?;
        flush.order(py)?;
        Bound::new(py, Self { flush: RefCell::new(Some(Box::new(flush))), steps: RefCell::new(None) })
    }

    fn take(slf: &Bound<'_, Self>, uow: UowRef) -> PyResult<Box<Flush>> {
        let flush = slf.get().flush.borrow_mut().take();
        let flush =
            flush.ok_or_else(|| PyRuntimeError::new_err("this plan was carried out, or is being carried out"))?;
        if flush.uow != uow {
            return Err(PyRuntimeError::new_err("this plan belongs to another session"));
        }
        Ok(flush)
    }

    /// *Execute*: sends every batch through the executor.
    pub fn execute(slf: &Bound<'_, Self>, uow: UowRef, executor: &Bound<'_, PyAny>) -> PyResult<()> {
        slf.get().remember_steps();
        let mut flush = Self::take(slf, uow)?;
        let result = flush.execute(slf.py(), executor);
        slf.get().flush.replace(Some(flush));
        result
    }

    /// *Finish*: settles states, map and history.
    pub fn finish(slf: &Bound<'_, Self>, uow: UowRef) -> PyResult<usize> {
        slf.get().remember_steps();
        let mut flush = Self::take(slf, uow)?;
        flush.finish(slf.py())
    }

    /// Lets go of the objects.
    pub fn abort(slf: &Bound<'_, Self>) {
        let flush = slf.get().flush.borrow_mut().take();
        drop(flush);
    }

    /// The printable steps; kept, since a plan that was carried out no longer knows its objects.
    fn remember_steps(&self) -> Vec<core::PlanStep> {
        if let Some(steps) = &*self.steps.borrow() {
            return steps.clone();
        }
        let steps = self.flush.borrow().as_ref().map(|flush| flush.steps()).unwrap_or_default();
        self.steps.replace(Some(steps.clone()));
        steps
    }
}

impl Flush {
    fn steps(&self) -> Vec<core::PlanStep> {
        core::steps(&self.plan, &self.schema, |state, table| self.save_kind(state, table))
    }

    /// What a saved state's row in one table will need, as far as can be seen now.
    fn save_kind(&self, id: StateId, table: TableId) -> Option<StatementKind> {
        let state = self.state(id);
        let table = self.descriptor(self.mapper_of(id)).tables.get(table.index())?;
        if !state.has_key() {
            return Some(StatementKind::Insert);
        }
        let is_changed = |attr: u32| state.slot(attr).is_modified();
        let has_change = table.columns.iter().any(|column| is_changed(column.attr)) || self.is_synchronized(id);
        has_change.then_some(StatementKind::Update)
    }

    /// Will a many-to-one copy another key into this state?
    fn is_synchronized(&self, id: StateId) -> bool {
        let state = self.state(id);
        self.descriptor(self.mapper_of(id)).relationships.iter().any(|relationship| {
            relationship.direction == crate::mapper::Direction::ManyToOne && state.slot(relationship.attr).is_modified()
        })
    }
}

#[pymethods]
impl FlushPlan {
    /// The steps, in order.
    #[getter]
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let steps: Vec<_> = (1..)
            .zip(self.remember_steps())
            .map(|(number, step)| Bound::new(py, PlanStep { number, step }))
            .collect::<PyResult<_>>()?;
        PyTuple::new(py, steps)
    }
    /// The number of objects that take part.
    #[getter]
    fn objects(&self) -> usize {
        self.flush.borrow().as_ref().map_or(0, |flush| flush.states.len())
    }
    fn __len__(&self) -> usize {
        self.remember_steps().len()
    }
    fn __bool__(&self) -> bool {
        self.__len__() > 0
    }
    fn __str__(&self) -> String {
        table(&self.remember_steps())
    }
    fn __repr__(&self) -> String {
        format!("<FlushPlan of {} steps>", self.__len__())
    }
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Ok(flush) = self.flush.try_borrow()
            && let Some(flush) = &*flush
        {
            for mapper in &flush.mappers {
                visit.call(&mapper.manager)?;
            }
        }
        Ok(())
    }
}

/// The steps as an aligned table.
fn table(steps: &[core::PlanStep]) -> String {
    if steps.is_empty() {
        return "nothing to flush".to_owned();
    }
    let heads = ["step", "kind", "table", "class", "rows", "why here"];
    let mut lines: Vec<[String; 6]> = vec![heads.map(str::to_owned)];
    for (number, step) in (1..).zip(steps) {
        lines.push([
            format!("{number}"),
            step.kind.verb().to_owned(),
            step.table.clone(),
            step.mapper.clone(),
            step.rows.to_string(),
            step.reason.clone(),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (column, cell) in line.iter().enumerate() {
            let padding = widths[column] - cell.chars().count();
            let is_number = column == 0 || column == 4;
            if column > 0 {
                text.push_str("  ");
            }
            if is_number {
                text.extend(std::iter::repeat_n(' ', padding));
            }
            text.push_str(cell);
            if !is_number && column < 5 {
                text.extend(std::iter::repeat_n(' ', padding));
            }
        }
        text.push('\n');
    }
    text.pop();
    text
}
