//! The second UPDATE of rows with post-update relationships: foreign keys that had to wait for, or must go before, another row.
use std::rc::Rc;

use pyo3::prelude::*;
use rustalchemy_core::ids::{MapperId, StateId};

use crate::bridge as attribute;
use crate::flags::passive;

use super::execute::{is_false, next_version, table_number};
use super::lane::UpdateLane;
use super::rows::{RowShape, row_key, sort_states, version_column};
use super::update::{Run, RunShape};
use super::{Flush, Member, committed_value_of};

impl Flush {
    /// Writes the foreign keys of post-update relationships; `is_delete`: of rows that are about to be deleted.
    pub(super) fn post_update(
        &mut self,
        py: Python<'_>,
        executor: &Bound<'_, PyAny>,
        mapper: MapperId,
        is_delete: bool,
    ) -> PyResult<()> {
        let Some(work) = self.post_updates.get(&mapper) else { return Ok(()) };
        let attrs = work.attrs.clone();
        let is_wanted = |id: &&StateId| self.register.entry(**id).is_delete == is_delete;
        let mut members: Vec<Member> = work.states.iter().filter(is_wanted).map(|&id| self.member(id)).collect();
        sort_states(py, &mut members)?;
        let mut lane = UpdateLane::default();
        let mut run: Option<Run> = None;
        for table in self.tables_of(py, members.iter().map(|member| self.mapper_of(member.id)))? {
            for &Member { id, state } in &members {
                let mapper = self.mapper_of(id);
                let descriptor = Rc::clone(self.descriptor(mapper));
                let Some(table_no) = table_number(&descriptor, table) else { continue };
                let table = &descriptor.tables[table_no];
                let mut shape = RowShape::for_table(table);
                for (number, column) in table.columns.iter().enumerate() {
                    if !column.pk
                        && (column.onupdate || attrs.contains(&column.attr))
                        && state.slot(column.attr).is_modified()
                        && !attribute::history(py, state, column.attr, passive::NO_INITIALIZE)?.added.is_empty()
                    {
                        shape.send(number);
                    }
                }
                if shape.is_empty() {
                    continue;
                }
                for &column in &table.pk {
                    row_key(py, state, &table.columns[column as usize])?;
                }
                let (mut old_version, mut new_version) = (None, None);
                if let Some(column) = version_column(&descriptor, table) {
                    let old = committed_value_of(py, state, table.columns[column as usize].attr)?.unbind();
                    let is_generated =
                        descriptor.version_generator.as_ref().is_none_or(|generator| !is_false(generator.bind(py)));
                    if state.has_key() && is_generated && !shape.sends(column as usize) {
                        new_version = Some((column, next_version(py, &descriptor, Some(&old))?));
                        shape.send(column as usize);
                    }
                    old_version = Some((column, old));
                }
                let shape = RunShape {
                    mapper,
                    table_no,
                    columns: shape,
                    has_version: new_version.is_some(),
                    has_new_key: false,
                };
                if run.as_ref().is_some_and(|run| !run.fits(&shape))
                    && let Some(run) = run.take()
                {
                    self.send_updates(py, executor, &mut lane, run)?;
                }
                let run = run.get_or_insert_with(|| if is_delete { Run::leaving(shape) } else { Run::new(shape) });
                run.push(state, new_version, old_version);
            }
        }
        if let Some(run) = run {
            self.send_updates(py, executor, &mut lane, run)?;
        }
        lane.close(py)
    }
}
