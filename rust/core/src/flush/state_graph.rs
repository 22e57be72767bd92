//! The order where mappers form a cycle: their actions are split into one node per state, and states of one level are put
//! together again.

use indexmap::IndexMap;
use smallvec::SmallVec;

use crate::error::PlanError;
use crate::graph::{Graph, levels};
use crate::ids::{DependencyId, MapperId, StateId};
use crate::schema::Schema;

use super::dependency::{Action, EdgeSink, Relations, StatePair, state_edges};
use super::mapper_graph::MapperGraph;
use super::plan::{FlushPlan, Group, circular, sort_key, states_of};
use super::register::Register;
use super::waits::{Reason, Waits};

const NO_NODE: u32 = u32::MAX;

/// Actions of single states for mappers inside a cycle, of whole mappers for the rest.
pub(super) struct StateGraph<'a> {
    schema: &'a Schema,
    register: &'a Register,
    graph: Graph,
    actions: Vec<Action>,
    /// Why each edge is there; `None` where nobody will ask.
    reasons: Option<Vec<Reason>>,
    /// Node of each state's save or delete.
    state_nodes: Vec<u32>,
    /// Nodes of whole-mapper actions outside of the cycles.
    whole: IndexMap<Action, u32>,
}

impl<'a> StateGraph<'a> {
    pub(super) fn build<R: Relations>(
        (schema, register, active): (&'a Schema, &'a Register, &[DependencyId]),
        mappers: &MapperGraph,
        cyclic: &[bool],
        relations: &mut R,
        keeps_reasons: bool,
    ) -> Result<Self, PlanError<R::Error>> {
        let mut this = Self {
            schema,
            register,
            graph: Graph::default(),
            actions: Vec::new(),
            reasons: keeps_reasons.then(Vec::new),
            state_nodes: vec![NO_NODE; register.len()],
            whole: IndexMap::new(),
        };
        let in_cycle = |action: Action| {
            mappers
                .actions
                .get_index_of(&action)
                .is_some_and(|node| cyclic[node])
        };
        for (node, (&action, ())) in mappers.actions.iter().enumerate() {
            let replaced_by_states = match action {
                Action::ProcessAll(dependency, is_delete) => {
                    let dependency = schema.dependency(dependency);
                    let parent = schema.base(dependency.parent);
                    in_cycle(if is_delete {
                        Action::DeleteAll(parent)
                    } else {
                        Action::SaveUpdateAll(parent)
                    })
                }
                _ => false,
            };
            if !cyclic[node] && !replaced_by_states {
                this.whole_node(action);
            }
        }
        let split: Vec<(Action, Vec<StateId>)> = mappers
            .actions
            .keys()
            .filter(|&&action| {
                in_cycle(action)
                    && matches!(action, Action::SaveUpdateAll(_) | Action::DeleteAll(_))
            })
            .map(|&action| (action, states_of(schema, register, action)))
            .collect();
        for (action, states) in &split {
            for &state in states {
                this.state_node(state, matches!(action, Action::DeleteAll(_)));
            }
        }
        for (action, states) in &split {
            this.split_mapper(*action, states, active, &in_cycle, relations)?;
        }
        this.outer_edges(mappers, cyclic, &split);
        Ok(this)
    }

    fn add(&mut self, action: Action) -> u32 {
        self.actions.push(action);
        self.graph.add_node()
    }

    fn whole_node(&mut self, action: Action) -> u32 {
        if let Some(&node) = self.whole.get(&action) {
            return node;
        }
        let node = self.add(action);
        self.whole.insert(action, node);
        node
    }

    fn state_node(&mut self, state: StateId, is_delete: bool) -> u32 {
        if self.state_nodes[state.index()] == NO_NODE {
            let action = if is_delete {
                Action::Delete(state)
            } else {
                Action::SaveUpdate(state)
            };
            self.state_nodes[state.index()] = self.add(action);
        }
        self.state_nodes[state.index()]
    }

    fn connect(&mut self, before: u32, after: u32, reason: Reason) {
        self.graph.add_edge(before, after);
        if let Some(reasons) = &mut self.reasons {
            reasons.push(reason);
        }
    }

    /// Per-state work of every dependency processor of one mapper inside a cycle.
    fn split_mapper<R: Relations>(
        &mut self,
        action: Action,
        states: &[StateId],
        active: &[DependencyId],
        in_cycle: &impl Fn(Action) -> bool,
        relations: &mut R,
    ) -> Result<(), PlanError<R::Error>> {
        let (base, is_delete) = match action {
            Action::SaveUpdateAll(base) => (base, false),
            Action::DeleteAll(base) => (base, true),
            _ => return Ok(()),
        };
        let mut found = Vec::new();
        for &id in active {
            let dependency = self.schema.dependency(id);
            if self.schema.base(dependency.parent) != base {
                continue;
            }
            let target = self.schema.base(dependency.target);
            let target_in_cycle = in_cycle(Action::SaveUpdateAll(target));
            for &state in states {
                if !self.schema.handles(self.register.entry(state).mapper, id) {
                    continue;
                }
                found.clear();
                relations.related(id, state, is_delete, &mut found)?;
                if found.is_empty() {
                    continue;
                }
                let process = Action::Process(id, is_delete, state);
                let process_node = self.add(process);
                let mut pair = StatePair {
                    parent: if is_delete {
                        Action::Delete(state)
                    } else {
                        Action::SaveUpdate(state)
                    },
                    target: None,
                    process,
                    is_delete,
                };
                let targets: &mut dyn Iterator<Item = Option<(Action, bool)>> = if target_in_cycle {
                    &mut found.iter().map(|related| {
                        related.map(|related| {
                            let entry = self.register.entry(related);
                            let action = if entry.is_delete {
                                Action::Delete(related)
                            } else {
                                Action::SaveUpdate(related)
                            };
                            (action, entry.is_delete)
                        })
                    })
                } else {
                    &mut [
                        Some((Action::SaveUpdateAll(target), false)),
                        Some((Action::DeleteAll(target), true)),
                    ]
                    .into_iter()
                };
                let targets: SmallVec<[_; 8]> = targets.collect();
                let bases = (base, target_base(self.schema, id));
                let mut sink = StateSink {
                    graph: self,
                    process: (process, process_node),
                    first: None,
                };
                for target in targets {
                    pair.target = target;
                    state_edges(dependency, id, bases, pair, &mut sink);
                }
            }
        }
        Ok(())
    }

    /// Edges between whole mappers, with the ones inside cycles replaced by their states.
    fn outer_edges(
        &mut self,
        mappers: &MapperGraph,
        cyclic: &[bool],
        split: &[(Action, Vec<StateId>)],
    ) {
        let nodes_of = |this: &Self, action: Action| -> Vec<u32> {
            split
                .iter()
                .find(|(split, _)| *split == action)
                .map(|(_, states)| {
                    states
                        .iter()
                        .map(|state| this.state_nodes[state.index()])
                        .collect()
                })
                .unwrap_or_default()
        };
        for (&(before, after), &reason) in mappers.graph.edges().iter().zip(&mappers.reasons) {
            let (first, second) = (mappers.action(before), mappers.action(after));
            match (cyclic[before as usize], cyclic[after as usize]) {
                (false, false) => {
                    if let (Some(&first), Some(&second)) =
                        (self.whole.get(&first), self.whole.get(&second))
                    {
                        self.connect(first, second, reason);
                    }
                }
                (true, false) => {
                    if let Some(&second) = self.whole.get(&second) {
                        for node in nodes_of(self, first) {
                            self.connect(node, second, reason);
                        }
                    }
                }
                (false, true) => {
                    if let Some(&first) = self.whole.get(&first) {
                        for node in nodes_of(self, second) {
                            self.connect(first, node, reason);
                        }
                    }
                }
                (true, true) if reason == Reason::SavesFirst => {
                    let (saves, deletes) = (nodes_of(self, first), nodes_of(self, second));
                    if !saves.is_empty() && !deletes.is_empty() {
                        let barrier = self.graph.add_barrier();
                        self.actions.push(first);
                        for node in saves {
                            self.connect(node, barrier, reason);
                        }
                        for node in deletes {
                            self.connect(barrier, node, reason);
                        }
                    }
                }
                (true, true) => {}
            }
        }
    }

    pub(super) fn into_plan<E>(
        self,
        schema: &Schema,
        register: &Register,
        waits: Option<&mut Waits>,
    ) -> Result<FlushPlan, PlanError<E>> {
        let mut blocked = None;
        let level = levels(&self.graph).unwrap_or_else(|mut at| {
            let level = std::mem::take(&mut at.levels);
            blocked = Some(at);
            level
        });
        let is_reached = |node: u32| {
            blocked
                .as_ref()
                .is_none_or(|blocked| blocked.reached[node as usize])
        };
        let rank = self.ranks();
        let place_of = |node: u32| (level[node as usize], rank[node as usize]);
        let barriers = self.graph.barrier_flags();
        let mut order = by_level(&level, |node| !barriers[node as usize] && is_reached(node));
        for level in order.chunk_by_mut(|&node, &next| level[node as usize] == level[next as usize])
        {
            level.sort_by_key(|&node| rank[node as usize]);
        }
        let mut groups: Vec<Group> = Vec::new();
        let mut group_of = vec![None; if waits.is_some() { self.graph.len() } else { 0 }];
        for same_place in order.chunk_by(|&node, &next| place_of(node) == place_of(next)) {
            let action = self.whole_action(self.actions[same_place[0] as usize]);
            let mut states: SmallVec<[StateId; 4]> = SmallVec::with_capacity(same_place.len());
            for &node in same_place {
                match self.actions[node as usize] {
                    Action::SaveUpdate(state)
                    | Action::Delete(state)
                    | Action::Process(_, _, state) => states.push(state),
                    whole => states.extend(states_of(schema, register, whole)),
                }
            }
            if states.is_empty() && !matches!(action, Action::PostUpdateAll(..)) {
                continue;
            }
            states.sort_unstable();
            if waits.is_some() {
                for &node in same_place {
                    group_of[node as usize] = u32::try_from(groups.len()).ok();
                }
            }
            groups.push(Group {
                action,
                states,
                level: level[same_place[0] as usize],
            });
        }
        if let (Some(waits), Some(reasons)) = (waits, &self.reasons) {
            let edges = self.graph.edges().iter().copied();
            waits.fill(
                groups.len(),
                edges.zip(reasons.iter().copied()),
                |node| group_of[node as usize],
                |node| self.whole_action(self.actions[node as usize]),
            );
        }
        let plan = FlushPlan { groups };
        match blocked {
            None => Ok(plan),
            Some(blocked) => {
                let action = |node: u32| self.actions[node as usize];
                Err(circular(&self.graph, &blocked.cycle, action, plan))
            }
        }
    }

    /// Where each node's class of actions stands among those of one level.
    fn ranks(&self) -> Vec<u32> {
        const UNUSED: u32 = u32::MAX;
        let mappers = self.schema.mapper_count();
        let slot = |action: Action| match action {
            Action::SaveUpdateAll(mapper) => 4 * mapper.index(),
            Action::DeleteAll(mapper) => 4 * mapper.index() + 1,
            Action::PostUpdateAll(mapper, is_delete) => {
                4 * mapper.index() + 2 + usize::from(is_delete)
            }
            Action::ProcessAll(dependency, is_delete) => {
                4 * mappers + 2 * dependency.index() + usize::from(is_delete)
            }
            _ => 0, // nodes are asked for their class only
        };
        let mut rank_of = vec![UNUSED; 4 * mappers + 2 * self.schema.dependency_count()];
        let mut used: Vec<Action> = Vec::new();
        let mut slots = vec![0_u32; self.actions.len()];
        for (node, &action) in self.actions.iter().enumerate() {
            let whole = self.whole_action(action);
            let slot = slot(whole);
            if rank_of[slot] == UNUSED {
                rank_of[slot] = 0;
                used.push(whole);
            }
            slots[node] = u32::try_from(slot).unwrap_or(u32::MAX);
        }
        used.sort_by_key(|&action| sort_key(self.schema, action));
        for (rank, &action) in (0..).zip(&used) {
            rank_of[slot(action)] = rank;
        }
        for slot in &mut slots {
            *slot = rank_of[*slot as usize];
        }
        slots
    }

    /// The whole-mapper action that single states of one level are put together into.
    fn whole_action(&self, action: Action) -> Action {
        match action {
            Action::SaveUpdate(state) => {
                Action::SaveUpdateAll(self.schema.base(self.register.entry(state).mapper))
            }
            Action::Delete(state) => {
                Action::DeleteAll(self.schema.base(self.register.entry(state).mapper))
            }
            Action::Process(dependency, is_delete, _) => Action::ProcessAll(dependency, is_delete),
            whole => whole,
        }
    }
}

/// The nodes that are wanted by level, in linear time; those of one level keep their order.
fn by_level(level: &[u32], is_wanted: impl Fn(u32) -> bool) -> Vec<u32> {
    let levels = level.iter().max().map_or(0, |max| *max as usize + 1);
    let wanted = || (0..).zip(level).filter(|&(node, _)| is_wanted(node));
    let mut starts = vec![0_u32; levels + 1];
    for (_, &level) in wanted() {
        starts[level as usize + 1] += 1;
    }
    for level in 0..levels {
        starts[level + 1] += starts[level];
    }
    let mut sorted = vec![0_u32; starts[levels] as usize];
    for (node, &level) in wanted() {
        let start = &mut starts[level as usize];
        sorted[*start as usize] = node;
        *start += 1;
    }
    sorted
}

fn target_base(schema: &Schema, id: DependencyId) -> MapperId {
    schema.base(schema.dependency(id).target)
}

/// Turns the actions around one state into edges of the state graph.
struct StateSink<'s, 'a> {
    graph: &'s mut StateGraph<'a>,
    process: (Action, u32),
    /// The first edge: mostly the one that comes again with every target.
    first: Option<(u32, u32)>,
}

impl StateSink<'_, '_> {
    fn node(&mut self, action: Action) -> u32 {
        match action {
            action if action == self.process.0 => self.process.1,
            Action::SaveUpdate(state) => self.graph.state_node(state, false),
            Action::Delete(state) => self.graph.state_node(state, true),
            whole => self.graph.whole_node(whole),
        }
    }
}

impl EdgeSink for StateSink<'_, '_> {
    fn edge(&mut self, before: Action, after: Action, because: DependencyId) {
        let edge = (self.node(before), self.node(after));
        match self.first {
            Some(first) if first == edge => return,
            Some(_) => {}
            None => self.first = Some(edge),
        }
        self.graph.connect(edge.0, edge.1, Reason::Level(because));
    }
}
