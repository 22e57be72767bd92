//! Third stage: the order of work as a value. Whole mappers are sorted first; only mappers that form a cycle are split
//! into rows, and rows of one level are put together again.

use smallvec::SmallVec;

use crate::error::PlanError;
use crate::graph::{Graph, levels};
use crate::ids::{DependencyId, StateId};
use crate::schema::Schema;

use super::dependency::{Action, Relations};
use super::mapper_graph::MapperGraph;
use super::register::Register;
use super::state_graph::StateGraph;
use super::waits::Waits;

/// Work that is done in one go: states of one mapper hierarchy, or one dependency processor's states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What is done; always one of the `…All` actions.
    pub action: Action,
    /// To which states, in the order of registration. Deep trees have as many groups as rows: few states need no memory
    /// of their own.
    pub states: SmallVec<[StateId; 4]>,
    /// How many actions in a row have to come before; groups of one level go by name.
    pub level: u32,
}

/// Everything one flush will do, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushPlan {
    /// The groups, first to last.
    pub groups: Vec<Group>,
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
    let mappers = MapperGraph::build(schema, register, active);
    match levels(&mappers.graph) {
        Ok(level) => Ok(mappers.into_plan(schema, register, &level, waits)),
        Err(blocked) => {
            let mut cyclic = vec![false; mappers.graph.len()];
            for node in blocked.cycle {
                cyclic[node as usize] = true;
            }
            let parts = (schema, register, active);
            StateGraph::build(parts, &mappers, &cyclic, relations, waits.is_some())?
                .into_plan(schema, register, waits)
        }
    }
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

/// The states a whole-mapper action works on.
pub(super) fn states_of(schema: &Schema, register: &Register, action: Action) -> Vec<StateId> {
    match action {
        Action::SaveUpdateAll(base) => register.work_of(schema, base, false),
        Action::DeleteAll(base) => register.work_of(schema, base, true),
        Action::ProcessAll(dependency, is_delete) => {
            register.select(is_delete, |mapper| schema.handles(mapper, dependency))
        }
        _ => Vec::new(),
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
        .iter()
        .copied()
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
