//! A statement's rows become objects while its cursor goes on.
//!
//! Block by block: the driver's tuples and values are still in the processor's cache when they are looked at, and a tuple's
//! memory serves the next block. The cursor is read on only where nothing that the rows call for can run Python code, which
//! might use the connection in between; else all rows are fetched first.
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::attach::SessionEvent;
use crate::attribute::AttrEvent;
use crate::lane;
use crate::manager::ManagerCore;
use crate::mapper::InstanceEvent;
use crate::raw;
use crate::row_plan::{EagerPlan, EagerStep, EntityPlan, RowItem, RowPlan};
use crate::unit_of_work_core::UnitOfWorkCore;

use super::groups::Groups;
use super::row::Row;
use super::{HydrateOptions, RowProcessor, is_tuple_of};
use crate::load_context::LoadMemory;

/// What a statement is executed with.
pub struct Execution<'a, 'py> {
    /// The lane of a connection.
    pub lane: &'a Bound<'py, PyAny>,
    /// Its text.
    pub sql: &'a Bound<'py, PyString>,
    /// Positional parameters.
    pub parameters: &'a Bound<'py, PyAny>,
}

/// Executes a statement and processes its rows: a list of objects, or of tuples where the plan has several items.
///
/// `core` is the native half of `session`, which the caller keeps alive.
pub fn load<'py>(
    session: &Bound<'py, PyAny>,
    core: *mut UnitOfWorkCore,
    plan: &RowPlan,
    execution: &Execution<'_, 'py>,
    options: HydrateOptions<'py>,
    memory: LoadMemory,
) -> PyResult<Bound<'py, PyList>> {
    let mut processor = RowProcessor::new(session.py(), core, options, memory);
    let mut results = Vec::new();
    lane::each_block(execution, may_stream(&processor, plan), |block| {
        results.reserve(block.len());
        for row in block.drain(..) {
            if plan.is_identity && is_tuple_of(&row, plan.items.len()) {
                raw::untrack_plain_tuple(&row);
                results.push(row);
            } else {
                results.push(processor.result(plan, &Row::of(row)?)?);
            }
        }
        Ok(())
    })?;
    PyList::new(session.py(), results)
}

/// As `load`, with rows grouped: a dict of the first things of each row (one, or a tuple of several) to a list of its last.
pub fn load_grouped<'py>(
    session: &Bound<'py, PyAny>,
    core: *mut UnitOfWorkCore,
    plan: &RowPlan,
    execution: &Execution<'_, 'py>,
    options: HydrateOptions<'py>,
    memory: LoadMemory,
) -> PyResult<Bound<'py, PyDict>> {
    let mut processor = RowProcessor::new(session.py(), core, options, memory);
    let mut groups = Groups::new(session.py());
    lane::each_block(execution, may_stream(&processor, plan), |block| {
        for row in block.drain(..) {
            let row = Row::of(row)?;
            if let Some((last, first)) = plan.items.split_last() {
                let key = processor.key(first, &row)?;
                groups.add(key, processor.item(last, &row)?)?;
            }
        }
        Ok(())
    })?;
    Ok(groups.into_dict())
}

/// Whether the rows of a plan become objects without Python code.
pub fn is_unobserved(py: Python<'_>, uow: &UnitOfWorkCore, plan: &RowPlan) -> bool {
    plan.is_native
        && !uow.events.listens(SessionEvent::LoadedAsPersistent as usize)
        && plan.items.iter().all(|item| match item {
            RowItem::Entity(entity) => is_silent(py, entity.get()),
            RowItem::Scalar(_) => true,
        })
}

fn may_stream(processor: &RowProcessor<'_>, plan: &RowPlan) -> bool {
    is_unobserved(processor.py, processor.uow(), plan)
}

/// Whether nobody listens to what a plan makes, and no collection is of a user's class.
fn is_silent(py: Python<'_>, plan: &EntityPlan) -> bool {
    let manager = plan.manager_core(py);
    manager.is_inline()
        && manager.descriptor().is_some_and(|mapper| {
            !mapper.instance_events.listens(InstanceEvent::Load as usize)
                && !mapper.instance_events.listens(InstanceEvent::Refresh as usize)
        })
        && plan
            .eager
            .iter()
            .filter_map(EagerStep::joined)
            .all(|eager| is_own(manager, eager) && is_silent(py, eager.entity.get()))
}

/// Whether an eagerly loaded attribute is filled by the core alone.
fn is_own(manager: &ManagerCore, eager: &EagerPlan) -> bool {
    manager.attr(eager.attr).is_some_and(|attr| {
        !eager.uselist || (attr.collection_factory.borrow().is_none() && !attr.listens(AttrEvent::InitCollection))
    })
}
