//! The plan for people: one line per kind of statement and table, with the reason why it stands after the one before.

use crate::ids::{StateId, TableId};
use crate::schema::Schema;

use super::dependency::Action;
use super::plan::{FlushPlan, Reason};
use super::shape::StatementKind;

/// One line of a printed plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanStep {
    /// What is done to the rows.
    pub kind: StatementKind,
    /// The table's name.
    pub table: String,
    /// The class whose rows they are.
    pub mapper: String,
    /// How many rows, as far as can be known before keys are copied.
    pub rows: usize,
    /// Why here.
    pub reason: String,
}

/// The statements a plan amounts to. `saves` tells what a saved state's row in a table will need, if anything.
pub fn steps(
    plan: &FlushPlan,
    schema: &Schema,
    saves: impl Fn(StateId, TableId) -> Option<StatementKind>,
) -> Vec<PlanStep> {
    let mut found: Vec<PlanStep> = Vec::new();
    for group in &plan.groups {
        let (base, is_delete) = match group.action {
            Action::SaveUpdateAll(base) => (base, false),
            Action::DeleteAll(base) => (base, true),
            _ => continue,
        };
        let mapper = schema.mapper(base);
        let mut add = |kind: StatementKind, table: &str, rows: usize, is_first: bool| {
            if rows == 0 {
                return;
            }
            let reason = match (found.last(), is_first) {
                (None, _) => "first".to_owned(),
                (Some(last), false) if last.table == table => {
                    "UPDATEs of a table go before its INSERTs".to_owned()
                }
                (Some(_), false) => format!("{table} depends on the table before it"),
                (Some(_), true) => because(schema, group.reason, kind),
            };
            found.push(PlanStep {
                kind,
                table: table.to_owned(),
                mapper: mapper.name.clone(),
                rows,
                reason,
            });
        };
        let mut is_first = true;
        if is_delete {
            for table in mapper.tables.iter().rev() {
                add(StatementKind::Delete, table, group.states.len(), is_first);
                is_first = false;
            }
        } else {
            for (number, table) in mapper.tables.iter().enumerate() {
                let kinds = group
                    .states
                    .iter()
                    .map(|&state| saves(state, TableId::from_index(number)));
                let (mut updates, mut inserts) = (0, 0);
                for kind in kinds.flatten() {
                    match kind {
                        StatementKind::Update => updates += 1,
                        _ => inserts += 1,
                    }
                }
                add(StatementKind::Update, table, updates, is_first);
                add(
                    StatementKind::Insert,
                    table,
                    inserts,
                    is_first && updates == 0,
                );
                is_first = is_first && updates + inserts == 0;
            }
        }
    }
    found
}

fn because(schema: &Schema, reason: Reason, kind: StatementKind) -> String {
    match reason {
        Reason::ByName => "depends on nothing before it: by class name".to_owned(),
        Reason::SavesFirst => "rows are deleted after rows are saved".to_owned(),
        Reason::Level(dependency) => match kind {
            StatementKind::Delete => format!(
                "next level of {}: related rows go first",
                schema.dependency(dependency).name
            ),
            _ => format!(
                "next level of {}: needs the keys before it",
                schema.dependency(dependency).name
            ),
        },
        Reason::Dependency(dependency) => match kind {
            StatementKind::Delete => format!(
                "{}: rows that refer to it go first",
                schema.dependency(dependency).name
            ),
            _ => format!(
                "{}: needs the keys before it",
                schema.dependency(dependency).name
            ),
        },
    }
}
