//! Changed rows of one table become runs of UPDATE, in the order of their keys.
use std::rc::Rc;

use pyo3::prelude::*;
use rustalchemy_core::flush::StatementKind;
use rustalchemy_core::ids::MapperId;

use crate::history;
use crate::mapper::{ColumnDescriptor, MapperDescriptor, TableDescriptor};
use crate::state::StateRef;

use super::Flush;
use super::batch::{Batch, BatchParts};
use super::execute::{
    Row, copy_one, is_false, is_refresh_heard, is_same_version, next_version, null_key, table_number,
};
use super::known_writes::WriteShape;
use super::lane::UpdateLane;
use super::row_set::RowSet;
use super::rows::{RowShape, SqlDetector, row_key, shape_update, version_column};

const UPDATE_NULL_KEY: &str = "Can't update table";

impl Flush {
    pub(super) fn update_table(
        &mut self,
        py: Python<'_>,
        executor: &Bound<'_, PyAny>,
        rows: &[Row],
        table: usize,
    ) -> PyResult<()> {
        let mut detector = SqlDetector::new();
        let mut lane = UpdateLane::default();
        let mut run: Option<Run> = None;
        for row in rows {
            let descriptor = Rc::clone(self.descriptor(row.mapper));
            let Some(table_no) = table_number(&descriptor, table) else { continue };
            let table_descriptor = &descriptor.tables[table_no];
            let state = row.state;
            let has_new_key = inherit_changes(py, table_descriptor, state)?;
            let mut shape = RowShape::for_table(table_descriptor);
            shape_update(py, state, table_descriptor, &mut detector, &mut shape)?;
            let (mut new_version, mut old_version) = (None, None);
            if let (Some(column), Some(old)) = (version_column(&descriptor, table_descriptor), &row.old_version) {
                old_version = Some((column, old.clone_ref(py)));
                if shape.is_empty() && !has_net_change(py, state, &descriptor)? {
                    continue;
                }
                if !shape.sends(column as usize) {
                    let generated = match &descriptor.version_generator {
                        Some(generator) if is_false(generator.bind(py)) => shape.is_empty().then(|| old.clone_ref(py)),
                        _ => Some(next_version(py, &descriptor, Some(old))?),
                    };
                    if let Some(generated) = generated {
                        shape.send(column as usize);
                        new_version = Some((column, generated));
                    }
                }
            } else if shape.is_empty() {
                continue;
            }
            for &column in &table_descriptor.pk {
                let column_descriptor = &table_descriptor.columns[column as usize];
                if row_key(py, state, column_descriptor)?.is_none() {
                    return Err(null_key(py, UPDATE_NULL_KEY, table_descriptor, column));
                }
                // No old value: the row has this key already (a row switch, or a key the database changed by itself).
                let is_new_only = state
                    .committed(column_descriptor.attr)
                    .is_some_and(|old| old.is_null() || crate::names::NO_VALUE.is(old));
                if is_new_only || has_new_key {
                    shape.withhold(column as usize);
                }
            }
            if shape.is_empty() {
                continue;
            }
            let mut shape = RunShape {
                mapper: row.mapper,
                table_no,
                columns: shape,
                has_version: new_version.is_some(),
                has_new_key,
            };
            if let Some(first) = run.as_ref().map(|run| &run.shape)
                && first.mapper != shape.mapper
                && first.columns == shape.columns
                && is_same_update(self.descriptor(first.mapper), first.table_no, &descriptor, table_no)
            {
                (shape.mapper, shape.table_no) = (first.mapper, first.table_no);
            }
            if run.as_ref().is_some_and(|run| !run.fits(&shape))
                && let Some(run) = run.take()
            {
                self.send_updates(py, executor, &mut lane, run)?;
            }
            run.get_or_insert_with(|| Run::new(shape)).push(state, new_version, old_version);
        }
        if let Some(run) = run {
            self.send_updates(py, executor, &mut lane, run)?;
        }
        lane.close(py)
    }

    pub(super) fn send_updates(
        &mut self,
        py: Python<'_>,
        executor: &Bound<'_, PyAny>,
        lane: &mut UpdateLane,
        run: Run,
    ) -> PyResult<()> {
        let descriptor = Rc::clone(self.descriptor(run.shape.mapper));
        let table = &descriptor.tables[run.shape.table_no];
        if let Some(matched) = lane.send(py, self.uow, &descriptor, &run)? {
            self.has_sent = true;
            run.set.settle_versions(py, &descriptor)?;
            if usize::try_from(matched) != Ok(run.set.len()) {
                executor.call_method1(pyo3::intern!(py, "stale_update"), (&table.table, run.set.len(), matched))?;
            }
            return Ok(());
        }
        let mut where_columns = table.pk.clone();
        where_columns.extend(version_column(&descriptor, table));
        let Run { shape, set } = run;
        let batch = Batch::new(BatchParts {
            manager: self.mappers[shape.mapper.index()].manager.clone_ref(py),
            table_no: shape.table_no,
            kind: StatementKind::Update,
            columns: shape.columns.columns(table),
            where_columns,
            has_sql: shape.columns.has_sql,
            needs_key: false,
            set,
            descriptor: Rc::clone(&descriptor),
        });
        let (batch, answer) = self.send(py, executor, batch)?;
        lane.learn(shape, batch.get().row_set(), &descriptor, &answer)
    }
}

/// What rows of an UPDATE have in common that travel together.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct RunShape {
    pub mapper: MapperId,
    pub table_no: usize,
    pub columns: RowShape,
    /// The version is made here, and not the attribute's value.
    pub has_version: bool,
    /// The database passed the rows' new keys on.
    pub has_new_key: bool,
}

impl RunShape {
    /// The shape as the mapper keeps it.
    pub(super) fn write(&self) -> WriteShape {
        WriteShape {
            kind: StatementKind::Update,
            table_no: self.table_no,
            columns: self.columns.clone(),
            has_version: self.has_version,
        }
    }
}

/// Rows of an UPDATE that travel together.
pub(super) struct Run {
    pub shape: RunShape,
    pub set: Rc<RowSet>,
}

impl Run {
    pub(super) fn new(shape: RunShape) -> Self {
        let set = RowSet { rows: Vec::with_capacity(16), has_new_keys: shape.has_new_key, ..RowSet::default() };
        Self { shape, set: Rc::new(set) }
    }

    /// Rows that are about to be deleted.
    pub(super) fn leaving(shape: RunShape) -> Self {
        let set = RowSet { has_new_keys: shape.has_new_key, is_leaving: true, ..RowSet::default() };
        Self { shape, set: Rc::new(set) }
    }

    /// One more row. Nobody shares the rows before the run is sent.
    pub(super) fn push(&mut self, state: StateRef, version: Option<(u32, Py<PyAny>)>, old: Option<(u32, Py<PyAny>)>) {
        if let Some(set) = Rc::get_mut(&mut self.set) {
            set.push(state, version, old);
        }
    }

    pub(super) fn fits(&self, shape: &RunShape) -> bool {
        self.shape == *shape && !shape.columns.has_sql
    }
}

/// Do rows of two classes of a hierarchy become the same UPDATE of a table they share, if they change the same columns?
fn is_same_update(first: &MapperDescriptor, first_no: usize, other: &MapperDescriptor, other_no: usize) -> bool {
    let (columns, others) = (&first.tables[first_no].columns, &other.tables[other_no].columns);
    let shared = columns.len().min(others.len());
    // A class may have columns of its own at the end, as long as nobody else writes into them.
    let is_silent = |column: &ColumnDescriptor| !column.onupdate && !column.server_onupdate && !column.version;
    columns.iter().zip(others).all(|(column, other)| column.attr == other.attr)
        && columns[shared..].iter().chain(&others[shared..]).all(is_silent)
        && first.tables[first_no].pk == other.tables[other_no].pk
        && is_same_version(first, other)
        && !is_refresh_heard(first)
        && !is_refresh_heard(other)
}

/// Does any column of any of the mapper's tables have a change?
fn has_net_change(py: Python<'_>, state: StateRef, descriptor: &MapperDescriptor) -> PyResult<bool> {
    for column in descriptor.tables.iter().flat_map(|table| &table.columns) {
        if history::is_net_change(py, state, column.attr)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What changed in an ancestor's row changes in this one, too; true if the database has passed a new key on by itself.
fn inherit_changes(py: Python<'_>, table: &TableDescriptor, state: StateRef) -> PyResult<bool> {
    let mut has_new_key = false;
    for equated in &table.equated {
        let is_changed = history::has_changed(py, state, equated.source)?;
        if is_changed {
            if equated.source != equated.own {
                copy_one(py, state, equated)?;
            }
            has_new_key |= equated.is_passed_on;
        }
    }
    Ok(has_new_key)
}
