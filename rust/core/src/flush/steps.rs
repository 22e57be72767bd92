//! The plan for people: one line per kind of statement and table, with what it is for and why it stands where it stands.

use hashbrown::{HashMap, HashSet};
use indexmap::IndexMap;

use crate::ids::{DependencyId, StateId};
use crate::schema::{Direction, Schema};

use super::cause::Cause;
use super::dependency::Action;
use super::plan::{FlushPlan, Group};
use super::shape::StatementKind;
use super::waits::{Reason, Waits};

/// Whose rows a step writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The objects' own rows.
    Row,
    /// Rows of an association table.
    Secondary(DependencyId),
    /// The objects' own rows once more, for keys that had to wait or go early.
    PostUpdate,
}

/// One row of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlanRow {
    /// The state whose row it is, or whose relationship an association row belongs to.
    pub state: StateId,
    /// The other state of an association row, if it takes part.
    pub other: Option<StateId>,
    /// Why it is written.
    pub cause: Cause,
}

/// What one group will send to one table by statements of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// What is done to the rows.
    pub kind: StatementKind,
    /// Whose rows they are.
    pub part: Part,
    /// The table's name.
    pub table: String,
    /// The columns that an UPDATE sets.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<PlanRow>,
}

/// Why one step waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// A relationship between classes.
    Dependency(DependencyId),
    /// A relationship inside a cycle of classes, and the level the waiting rows have there.
    Level(DependencyId, u32),
    /// Rows of a class are deleted after its rows are saved.
    SavesFirst,
    /// One table: association rows go before they come, and UPDATEs go before INSERTs.
    SameTable,
    /// One object's rows in several tables.
    SameObjects,
}

impl WaitReason {
    /// In a few words, as on the arrows of a drawing.
    #[must_use]
    pub fn label(self, schema: &Schema) -> String {
        match self {
            Self::Dependency(dependency) => schema.dependency(dependency).name.to_string(),
            Self::Level(dependency, level) => {
                format!("{}, level {level}", schema.dependency(dependency).name)
            }
            Self::SavesFirst => "saves before deletes".to_owned(),
            Self::SameTable => "same table".to_owned(),
            Self::SameObjects => "same objects".to_owned(),
        }
    }
}

/// An earlier step that has to come before a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait {
    /// Place of the earlier step, counted from 0.
    pub step: usize,
    /// Why.
    pub reason: WaitReason,
}

/// One line of a printed plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanStep {
    /// What is done to the rows.
    pub kind: StatementKind,
    /// Whose rows they are.
    pub part: Part,
    /// The table's name.
    pub table: String,
    /// The class whose rows they are, or the relationship whose association rows they are.
    pub mapper: String,
    /// The columns that an UPDATE sets.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<PlanRow>,
    /// What the rows are written for.
    pub what: String,
    /// What has to come before, earliest first; nothing that follows from the others.
    pub waits: Vec<Wait>,
    /// Why it stands after the step before it.
    pub reason: String,
}

/// The statements a plan amounts to. `work` is what each group will send, in the order of its statements.
#[must_use]
pub fn steps(
    schema: &Schema,
    plan: &FlushPlan,
    waits: &Waits,
    work: Vec<Vec<Work>>,
) -> Vec<PlanStep> {
    let mut found: Vec<PlanStep> = Vec::new();
    let mut first_of = vec![None; plan.len()];
    let mut last_of = vec![None; plan.len()];
    let mut group_of = Vec::new();
    for (number, (group, parts)) in plan.groups().zip(work).enumerate() {
        for part in parts.into_iter().filter(|part| !part.rows.is_empty()) {
            let here = found.len();
            let mut step_waits = Vec::new();
            if first_of[number].is_none() {
                first_of[number] = Some(here);
            } else {
                let is_same_table = found.last().is_some_and(|last| last.table == part.table);
                step_waits.push(Wait {
                    step: here - 1,
                    reason: if is_same_table {
                        WaitReason::SameTable
                    } else {
                        WaitReason::SameObjects
                    },
                });
            }
            last_of[number] = Some(here);
            group_of.push(number);
            found.push(PlanStep {
                kind: part.kind,
                part: part.part,
                mapper: whose(schema, group, part.part),
                table: part.table,
                columns: part.columns,
                what: purpose(schema, &part.rows),
                rows: part.rows,
                waits: step_waits,
                reason: String::new(),
            });
        }
    }
    let levels = cycle_levels(plan);
    let sources = Sources::new(schema, waits, &last_of);
    for (number, first) in first_of.iter().enumerate() {
        let Some(first) = *first else { continue };
        for (step, reason) in sources.of(number) {
            let reason = match reason {
                Reason::Dependency(dependency) => WaitReason::Dependency(dependency),
                Reason::Level(dependency) => WaitReason::Level(dependency, levels[number]),
                Reason::SavesFirst => WaitReason::SavesFirst,
            };
            found[first].waits.push(Wait { step, reason });
        }
        found[first].waits.sort_by_key(|wait| wait.step);
    }
    reduce(&mut found);
    for number in 0..found.len() {
        let idle = sources.idle_reason(group_of[number]);
        found[number].reason = placed(schema, plan, &found, &group_of, number, idle);
    }
    found
}

/// The class or relationship a step is named after.
fn whose(schema: &Schema, group: Group<'_>, part: Part) -> String {
    match (part, group.action) {
        (Part::Secondary(dependency), _) => schema.dependency(dependency).name.to_string(),
        (
            _,
            Action::SaveUpdateAll(mapper)
            | Action::DeleteAll(mapper)
            | Action::PostUpdateAll(mapper, _),
        ) => schema.mapper(mapper).name.to_string(),
        _ => String::new(),
    }
}

/// What rows are written for: each reason with its count, in the order in which they appear.
fn purpose(schema: &Schema, rows: &[PlanRow]) -> String {
    let mut counts: IndexMap<Cause, usize> = IndexMap::new();
    for row in rows {
        *counts.entry(row.cause.of_any_state()).or_default() += 1;
    }
    let is_alone = counts.len() == 1;
    let texts: Vec<String> = counts
        .into_iter()
        .map(|(cause, count)| match (is_alone, cause.text(schema)) {
            (true, text) => text,
            (false, text) => format!("{count} {text}"),
        })
        .collect();
    texts.join("; ")
}

/// Counts, for groups of one action that comes up several times, the how-manieth each is.
fn cycle_levels(plan: &FlushPlan) -> Vec<u32> {
    let mut seen: HashMap<Action, u32> = HashMap::new();
    plan.groups()
        .map(|group| {
            let level = seen.entry(group.action).or_default();
            *level += 1;
            *level
        })
        .collect()
}

/// Which steps each group waits for, seen through everything that sends nothing.
struct Sources<'a> {
    schema: &'a Schema,
    incoming: Vec<Vec<(u32, Reason)>>,
    last_step: &'a [Option<usize>],
    /// For what sends nothing: the steps behind it, each with its reason.
    behind: Vec<IndexMap<usize, Reason>>,
}

impl<'a> Sources<'a> {
    fn new(schema: &'a Schema, waits: &Waits, last_step: &'a [Option<usize>]) -> Self {
        let mut incoming = vec![Vec::new(); waits.len().max(last_step.len())];
        for (before, after, reason) in waits.edges() {
            incoming[after as usize].push((before, reason));
        }
        let behind = vec![IndexMap::new(); incoming.len()];
        let mut this = Self {
            schema,
            incoming,
            last_step,
            behind,
        };
        this.look_behind();
        this
    }

    fn step(&self, vertex: u32) -> Option<usize> {
        self.last_step.get(vertex as usize).copied().flatten()
    }

    /// Fills `behind`, what comes before first; the graph has no cycles.
    fn look_behind(&mut self) {
        let mut is_done = vec![false; self.incoming.len()];
        for root in (0..).take(self.incoming.len()) {
            let mut stack: Vec<(u32, bool)> = vec![(root, false)];
            while let Some((vertex, is_ready)) = stack.pop() {
                if is_done[vertex as usize] || self.step(vertex).is_some() {
                    continue;
                }
                if is_ready {
                    self.behind[vertex as usize] = self.found(vertex as usize);
                    is_done[vertex as usize] = true;
                } else {
                    stack.push((vertex, true));
                    let before = self.incoming[vertex as usize].iter();
                    stack.extend(before.map(|&(before, _)| (before, false)));
                }
            }
        }
    }

    /// The steps a group waits for, each once, with the reason that says most.
    fn of(&self, group: usize) -> impl Iterator<Item = (usize, Reason)> {
        self.found(group).into_iter()
    }

    fn found(&self, vertex: usize) -> IndexMap<usize, Reason> {
        let mut found: IndexMap<usize, Reason> = IndexMap::new();
        let mut enter = |step: usize, reason: Reason| {
            let known = found.entry(step).or_insert(reason);
            if self.worth(reason) < self.worth(*known) {
                *known = reason;
            }
        };
        for &(before, reason) in &self.incoming[vertex] {
            if let Some(step) = self.step(before) {
                enter(step, reason);
                continue;
            }
            for (&step, &further) in &self.behind[before as usize] {
                // What saves nothing is no reason to delete later; what stands behind it is.
                let is_idle = reason == Reason::SavesFirst;
                enter(step, if is_idle { further } else { reason });
            }
        }
        found
    }

    /// Of two reasons the smaller one is told: relationships, from the side that has the key, and by name.
    fn worth(&self, reason: Reason) -> (bool, bool, &str) {
        match reason {
            Reason::Dependency(dependency) | Reason::Level(dependency) => {
                let dependency = self.schema.dependency(dependency);
                let is_many_to_one = dependency.direction == Direction::ManyToOne;
                (false, is_many_to_one, &dependency.name)
            }
            Reason::SavesFirst => (true, false, ""),
        }
    }

    /// The relationship that would have put a step before a group, had that sent anything.
    fn idle_reason(&self, group: usize) -> Option<DependencyId> {
        self.incoming[group]
            .iter()
            .find_map(|&(_, reason)| match reason {
                Reason::Dependency(dependency) | Reason::Level(dependency) => Some(dependency),
                Reason::SavesFirst => None,
            })
    }
}

/// Takes out what follows from other waits: a step that waits for b need not say that it waits for what b waits for.
fn reduce(steps: &mut [PlanStep]) {
    /// Beyond this many steps only what follows directly is taken out: the full answer grows with their square.
    const MANY: usize = 4_096;
    let words = steps.len().div_ceil(64);
    let is_full = steps.len() <= MANY;
    let mut before: Vec<u64> = vec![0; if is_full { words * steps.len() } else { 0 }];
    if is_full {
        for (number, step) in steps.iter().enumerate() {
            for wait in &step.waits {
                let (done, mine) = before.split_at_mut(number * words);
                let theirs = &done[wait.step * words..][..words];
                mine.iter_mut()
                    .zip(theirs)
                    .for_each(|(mine, theirs)| *mine |= theirs);
                mine[wait.step / 64] |= 1 << (wait.step % 64);
            }
        }
    }
    // Backwards, so that the waits of earlier steps are still complete.
    for number in (0..steps.len()).rev() {
        let waits = std::mem::take(&mut steps[number].waits);
        let direct: HashSet<usize> = if is_full {
            HashSet::new()
        } else {
            let earlier = waits.iter().flat_map(|wait| &steps[wait.step].waits);
            earlier.map(|wait| wait.step).collect()
        };
        let follows = |step: usize| {
            let is_before =
                |last: usize| before[last * words + step / 64] & (1 << (step % 64)) != 0;
            direct.contains(&step) || (is_full && waits.iter().any(|wait| is_before(wait.step)))
        };
        steps[number].waits = waits
            .iter()
            .copied()
            .filter(|wait| !follows(wait.step))
            .collect();
    }
}

/// Why a step stands after the one before it.
fn placed(
    schema: &Schema,
    plan: &FlushPlan,
    steps: &[PlanStep],
    group_of: &[usize],
    number: usize,
    idle: Option<DependencyId>,
) -> String {
    if number == 0 {
        return "first".to_owned();
    }
    let level = |step: usize| plan.group(group_of[step]).level;
    let is_level_with_last = level(number) == level(number - 1);
    let Some(wait) = steps[number].waits.last() else {
        return match idle {
            Some(dependency) if !is_level_with_last => {
                let name = &schema.dependency(dependency).name;
                format!("{name}: what goes before it sends nothing")
            }
            _ => "depends on nothing before it: by class name".to_owned(),
        };
    };
    let text = waited(schema, &steps[number], &steps[wait.step], *wait);
    match (wait.step + 1 == number, is_level_with_last) {
        (true, _) => text,
        (false, true) => format!("{text}; after step {number} by class name"),
        (false, false) => format!("{text}; step {number} had less to wait for"),
    }
}

fn waited(schema: &Schema, step: &PlanStep, before: &PlanStep, wait: Wait) -> String {
    let number = wait.step + 1;
    let by = |dependency: DependencyId| &*schema.dependency(dependency).name;
    let what = match (before.kind, step.kind) {
        _ if matches!(step.part, Part::Secondary(_)) => {
            format!("rows of both sides are written first (step {number})")
        }
        (StatementKind::Delete, StatementKind::Delete) => {
            format!("rows that refer to it go first (step {number})")
        }
        (_, StatementKind::Delete) => {
            format!("rows that refer to it are written first (step {number})")
        }
        (StatementKind::Delete, _) => format!("old rows go first (step {number})"),
        _ => format!("needs the keys of step {number}"),
    };
    match wait.reason {
        WaitReason::Dependency(dependency) => format!("{}: {what}", by(dependency)),
        WaitReason::Level(dependency, level) => {
            format!("{}, level {level}: {what}", by(dependency))
        }
        WaitReason::SavesFirst => format!("rows are deleted after rows are saved (step {number})"),
        WaitReason::SameTable => match (before.kind, step.kind) {
            (StatementKind::Delete, _) => "old rows of a table go before new ones".to_owned(),
            _ => "UPDATEs of a table go before its INSERTs".to_owned(),
        },
        WaitReason::SameObjects => match step.kind {
            StatementKind::Delete => format!(
                "the same objects: {} refers to {}",
                before.table, step.table
            ),
            _ => format!(
                "the same objects: {} refers to {}",
                step.table, before.table
            ),
        },
    }
}
