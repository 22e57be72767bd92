//! Third stage: the order of work as a value. Whole mappers are sorted first; only mappers that form a cycle are split
//! into rows, and rows of one level are put together again.

use smallvec::SmallVec;

use crate::error::PlanError;
use crate::graph::Graph;
use crate::ids::{DependencyId, MapperId, StateId};
use crate::schema::Schema;

use super::dependency::{Action, Relations};
use super::mapper_graph::MapperGraph;
use super::register::Register;
use super::state_graph::StateGraph;
use super::waits::Waits;

/// Work that is done in one go: states of one mapper hierarchy, or one dependency processor's states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group<'a> {
    /// What is done; always one of the `…All` actions.
    pub action: Action,
    /// To which states, in the order of registration.
    pub states: &'a [StateId],
    /// How many actions in a row have to come before; groups of one level go by name.
    pub level: u32,
}

/// Everything one flush will do, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushPlan {
    /// Deep trees have as many groups as rows: their states stand in one list, one group's behind the other's.
    spans: Vec<Span>,
    states: Vec<StateId>,
}

/// A group, whose states reach from where the one before ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    action: Action,
    level: u32,
    end: u32,
}

impl FlushPlan {
    /// The number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The group of this number.
    #[must_use]
    pub fn group(&self, number: usize) -> Group<'_> {
        let Span { action, level, end } = self.spans[number];
        let start = match number {
            0 => 0,
            _ => self.spans[number - 1].end,
        };
        Group {
            action,
            states: &self.states[start as usize..end as usize],
            level,
        }
    }

    /// The groups, first to last.
    #[must_use]
    pub fn groups(&self) -> impl ExactSizeIterator<Item = Group<'_>> {
        (0..self.len()).map(|number| self.group(number))
    }

    /// An empty plan with room for `states`, counted once for every group they are in.
    pub(super) fn with_capacity(states: usize) -> Self {
        Self {
            spans: Vec::new(),
            states: Vec::with_capacity(states),
        }
    }

    /// Adds a group, whose states are added by `fill`; false for one that would have nothing to do.
    pub(super) fn add(
        &mut self,
        action: Action,
        level: u32,
        fill: impl FnOnce(&mut Vec<StateId>),
    ) -> bool {
        let start = self.states.len();
        fill(&mut self.states);
        if self.states.len() == start && !matches!(action, Action::PostUpdateAll(..)) {
            return false;
        }
        let end = u32::try_from(self.states.len()).unwrap_or(u32::MAX);
        self.spans.push(Span { action, level, end });
        true
    }
}

/// Orders the registered states. `active` are the dependency processors that have something to do.
pub fn plan<R: Relations>(
    schema: &Schema,
    register: &Register,
    active: &[DependencyId],
    relations: &mut R,
) -> Result<FlushPlan, PlanError<R::Error>> {
    order(schema, register, active, relations, None)
}

/// As [`plan`], with what every group waits for, for people.
pub fn plan_with_waits<R: Relations>(
    schema: &Schema,
    register: &Register,
    active: &[DependencyId],
    relations: &mut R,
) -> Result<(FlushPlan, Waits), PlanError<R::Error>> {
    let mut waits = Waits::default();
    let plan = order(schema, register, active, relations, Some(&mut waits))?;
    Ok((plan, waits))
}

fn order<R: Relations>(
    schema: &Schema,
    register: &Register,
    active: &[DependencyId],
    relations: &mut R,
    waits: Option<&mut Waits>,
) -> Result<FlushPlan, PlanError<R::Error>> {
    if active.is_empty() && waits.is_none() {
        return Ok(unrelated(schema, register));
    }
    let mut mappers = MapperGraph::build(schema, register, active);
    let mut waits = waits;
    match mappers.plan(schema, register, waits.as_deref_mut()) {
        Ok(plan) => Ok(plan),
        Err(cyclic) => {
            let parts = (schema, register, active);
            StateGraph::build(parts, &mappers, &cyclic, relations, waits.is_some())?
                .into_plan(schema, register, waits)
        }
    }
}

/// The plan of states that no relationship ties: all saves come before all deletes, each by name.
fn unrelated(schema: &Schema, register: &Register) -> FlushPlan {
    let mut bases: SmallVec<[MapperId; 4]> = SmallVec::new();
    for &mapper in register.mappers() {
        let base = schema.base(mapper);
        if !bases.contains(&base) {
            bases.push(base);
        }
    }
    bases.sort_by_key(|&base| &schema.mapper(base).sort_key);
    let mut plan = FlushPlan::with_capacity(register.len());
    for (level, action) in [
        (0, Action::SaveUpdateAll as fn(_) -> _),
        (1, Action::DeleteAll),
    ] {
        for &base in &bases {
            let action = action(base);
            plan.add(action, level, |found| {
                states_of((schema, register), action, found);
            });
        }
    }
    plan
}

/// Where an action stands among those that nothing separates: `SQLAlchemy` sorts by the action's name, then the mapper's.
pub(super) fn sort_key(schema: &Schema, action: Action) -> (u8, &str, bool) {
    match action {
        Action::DeleteAll(mapper) => (0, &schema.mapper(mapper).sort_key, false),
        Action::Delete(_) => (1, "", false),
        Action::PostUpdateAll(mapper, is_delete) => (2, &schema.mapper(mapper).sort_key, is_delete),
        Action::ProcessAll(dependency, is_delete) => {
            (3, &schema.dependency(dependency).sort_key, is_delete)
        }
        Action::SaveUpdate(_) | Action::Process(..) => (4, "", false),
        Action::SaveUpdateAll(mapper) => (5, &schema.mapper(mapper).sort_key, false),
    }
}

/// Adds the states a whole-mapper action works on.
pub(super) fn states_of(
    (schema, register): (&Schema, &Register),
    action: Action,
    found: &mut Vec<StateId>,
) {
    match action {
        Action::SaveUpdateAll(base) => register.work_of(schema, base, false, found),
        Action::DeleteAll(base) => register.work_of(schema, base, true, found),
        Action::ProcessAll(dependency, is_delete) => {
            register.select(
                is_delete,
                |mapper| schema.handles(mapper, dependency),
                found,
            );
        }
        _ => {}
    }
}

/// The error for nodes that lie on cycles: the actions in the order of one walk around, all edges between them, and what
/// can be done before.
pub(super) fn circular<E>(
    graph: &Graph,
    nodes: &[u32],
    action: impl Fn(u32) -> Action,
    before: FlushPlan,
) -> PlanError<E> {
    let barriers = graph.barrier_flags();
    let mut left = vec![false; graph.len()];
    for &node in nodes {
        left[node as usize] = true;
    }
    let edges: Vec<(u32, u32)> = graph
        .edges()
        .into_iter()
        .filter(|&(before, after)| left[before as usize] && left[after as usize])
        .collect();
    let mut next = vec![Vec::new(); graph.len()];
    for &(before, after) in &edges {
        next[before as usize].push(after);
    }
    let mut walk = Vec::with_capacity(nodes.len());
    for &start in nodes {
        let mut at = Some(start).filter(|&node| left[node as usize]);
        while let Some(node) = at {
            left[node as usize] = false;
            walk.push(node);
            at = next[node as usize]
                .iter()
                .copied()
                .find(|&after| left[after as usize]);
        }
    }
    let is_action = |node: &u32| !barriers[*node as usize];
    PlanError::Circular {
        actions: walk.into_iter().filter(is_action).map(&action).collect(),
        edges: edges
            .into_iter()
            .filter(|(before, after)| is_action(before) && is_action(after))
            .map(|(before, after)| (action(before), action(after)))
            .collect(),
        before,
    }
}
