//! Criteria of UPDATE and DELETE, decided for the objects of a session: which of them does the WHERE clause match?

use pyo3::basic::CompareOp;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use crate::attribute;
use crate::errors;
use crate::flags::{self, passive};
use crate::manager::ManagerCore;
use crate::names;
use crate::state::{StateRef, state_of};
use crate::unit_of_work_core::UowRef;

/// How a column's value is put beside another one.
#[derive(Clone, Copy)]
enum Operator {
    Compare(CompareOp),
    In,
    NotIn,
}

/// `attribute <operator> value`, with SQL's three-valued logic.
struct Comparison<'py> {
    attr: u32,
    operator: Operator,
    value: Bound<'py, PyAny>,
}

/// What is known of an object and a comparison, or several.
enum Answer {
    Yes,
    /// No, or NULL.
    No,
    /// The value is not loaded.
    Unknown,
}

impl Operator {
    /// The operators in the order of CPython's comparisons, then IN and NOT IN.
    fn from_number(number: u8) -> PyResult<Self> {
        Ok(match number {
            0 => Self::Compare(CompareOp::Lt),
            1 => Self::Compare(CompareOp::Le),
            2 => Self::Compare(CompareOp::Eq),
            3 => Self::Compare(CompareOp::Ne),
            4 => Self::Compare(CompareOp::Gt),
            5 => Self::Compare(CompareOp::Ge),
            6 => Self::In,
            7 => Self::NotIn,
            _ => return Err(PyValueError::new_err("no such operator")),
        })
    }
}

impl<'py> Comparison<'py> {
    fn answer(&self, state: StateRef, is_alone: bool) -> PyResult<Answer> {
        let py = self.value.py();
        let Some(attr) = state.manager().attr(self.attr) else {
            return Ok(Answer::Unknown);
        };
        let found = attribute::get(py, state, attr, passive::NO_FETCH)?;
        if names::PASSIVE_NO_RESULT.is(found.as_ptr()) {
            return Ok(Answer::Unknown);
        }
        if found.is_none() || self.value.is_none() {
            return Ok(Answer::No);
        }
        let matches = match self.operator {
            Operator::In => self.value.contains(&found)?,
            Operator::NotIn => !self.value.contains(&found)?,
            Operator::Compare(operator) => {
                let result = found.rich_compare(&self.value, operator)?;
                // as evaluated in Python: AND takes anything that is true, a criterion alone has to be True
                if is_alone { result.is(pyo3::types::PyBool::new(py, true)) } else { result.is_truthy()? }
            }
        };
        Ok(if matches { Answer::Yes } else { Answer::No })
    }
}

fn answer(comparisons: &[Comparison<'_>], state: StateRef) -> PyResult<Answer> {
    for comparison in comparisons {
        let answer = comparison.answer(state, comparisons.len() == 1)?;
        if !matches!(answer, Answer::Yes) {
            return Ok(answer);
        }
    }
    Ok(Answer::Yes)
}

/// Persistent objects of `holder`'s class that are not wholly expired.
pub fn unexpired<'py>(py: Python<'py>, uow: UowRef, holder: &ManagerCore) -> Vec<Bound<'py, PyAny>> {
    let is_wanted =
        |state: StateRef| !state.has(flags::EXPIRED) && !state.is_outdated() && state.manager().is_subclass_of(holder);
    uow.core().identity.held(is_wanted).iter().filter_map(|held| held.state().object(py)).collect()
}

/// Those of them that all comparisons are true of, and those of which that cannot be told. A comparison is an attribute's
/// number and an operator's; each has one value.
pub fn matching<'py>(
    uow: UowRef,
    holder: &ManagerCore,
    comparisons: &[(u32, u8)],
    values: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyTuple>> {
    let py = values.py();
    if comparisons.len() != values.len() {
        return Err(PyValueError::new_err("there must be one value for each comparison"));
    }
    let comparisons = comparisons
        .iter()
        .zip(values.iter())
        .map(|(&(attr, number), value)| Ok(Comparison { attr, operator: Operator::from_number(number)?, value }))
        .collect::<PyResult<Vec<_>>>()?;
    let matched = PyList::empty(py);
    let unknown = PyList::empty(py);
    for object in unexpired(py, uow, holder) {
        let state = state_of(&object).ok_or_else(|| errors::unmapped_instance(py, &object))?;
        match answer(&comparisons, state)? {
            Answer::Yes => matched.append(object)?,
            Answer::No => {}
            Answer::Unknown => unknown.append(object)?,
        }
    }
    PyTuple::new(py, [matched, unknown])
}
