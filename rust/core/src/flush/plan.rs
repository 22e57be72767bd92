//! Third stage: the order of work as a value. Whole mappers are sorted first; only mappers that form a cycle are split
//! into rows, and rows of one level are put together again.

use indexmap::IndexMap;

use crate::error::PlanError;
use crate::graph::{Graph, levels, nodes_in_cycles};
use crate::ids::{DependencyId, MapperId, StateId};
use crate::schema::Schema;

use super::dependency::{Action, EdgeSink, Relations, StatePair, mapper_edges, state_edges};
use super::register::Register;

/// Why a group stands where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing has to come before it: it stands by its name.
    ByName,
    /// It gives keys to, or takes keys from, rows of an earlier group.
    Dependency(DependencyId),
    /// The same, between rows of mappers that depend on each other: this is the next level.
    Level(DependencyId),
    /// Rows of a mapper are deleted after its rows are saved.
    SavesFirst,
}

/// Work that is done in one go: states of one mapper hierarchy, or one dependency processor's states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What is done; always one of the `…All` actions.
    pub action: Action,
    /// To which states, in the order of registration.
    pub states: Vec<StateId>,
    /// Why here.
    pub reason: Reason,
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
    let mappers = MapperGraph::build(schema, register, active);
    let cyclic = nodes_in_cycles(&mappers.graph);
    if cyclic.contains(&true) {
        StateGraph::build(schema, register, active, &mappers, &cyclic, relations)?
            .into_plan(schema, register)
    } else {
        mappers.into_plan(schema, register)
    }
}

/// Where an action stands among those that nothing separates: `SQLAlchemy` sorts by the action's name, then the mapper's.
fn sort_key(schema: &Schema, action: Action) -> (u8, &str, bool) {
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
fn states_of(schema: &Schema, register: &Register, action: Action) -> Vec<StateId> {
    match action {
        Action::SaveUpdateAll(base) => register.work_of(schema, base, false),
        Action::DeleteAll(base) => register.work_of(schema, base, true),
        Action::ProcessAll(dependency, is_delete) => {
            register.select(is_delete, |mapper| schema.handles(mapper, dependency))
        }
        _ => Vec::new(),
    }
}

/// Actions of whole mappers and what stands between them.
struct MapperGraph {
    graph: Graph,
    actions: IndexMap<Action, ()>,
    reasons: Vec<Reason>,
}

impl MapperGraph {
    fn build(schema: &Schema, register: &Register, active: &[DependencyId]) -> Self {
        let mut this = Self {
            graph: Graph::default(),
            actions: IndexMap::new(),
            reasons: Vec::new(),
        };
        for &mapper in register.mappers() {
            let base = schema.base(mapper);
            this.connect(
                Action::SaveUpdateAll(base),
                Action::DeleteAll(base),
                Reason::SavesFirst,
            );
        }
        for &dependency in active {
            mapper_edges(schema, dependency, &mut this);
            for base in [
                schema.base(schema.dependency(dependency).parent),
                schema.base(schema.dependency(dependency).target),
            ] {
                this.connect(
                    Action::SaveUpdateAll(base),
                    Action::DeleteAll(base),
                    Reason::SavesFirst,
                );
            }
            for is_delete in [false, true] {
                this.node(Action::ProcessAll(dependency, is_delete));
            }
        }
        this
    }

    fn node(&mut self, action: Action) -> u32 {
        let (index, is_new) = {
            let before = self.actions.len();
            let (index, _) = self.actions.insert_full(action, ());
            (index, index == before)
        };
        if is_new {
            self.graph.add_node();
        }
        u32::try_from(index).unwrap_or(u32::MAX)
    }

    fn connect(&mut self, before: Action, after: Action, reason: Reason) {
        let (before, after) = (self.node(before), self.node(after));
        self.graph.add_edge(before, after);
        self.reasons.push(reason);
    }

    fn action(&self, node: u32) -> Action {
        self.actions
            .get_index(node as usize)
            .map_or(Action::DeleteAll(MapperId(0)), |(action, ())| *action)
    }

    fn into_plan<E>(self, schema: &Schema, register: &Register) -> Result<FlushPlan, PlanError<E>> {
        let level = levels(&self.graph).map_err(|nodes| {
            PlanError::Circular(nodes.into_iter().map(|node| self.action(node)).collect())
        })?;
        let mut order: Vec<u32> = (0..).take(self.graph.len()).collect();
        order.sort_by_key(|&node| (level[node as usize], sort_key(schema, self.action(node))));
        let states: Vec<Vec<StateId>> = self
            .actions
            .keys()
            .map(|&action| states_of(schema, register, action))
            .collect();
        let has_work: Vec<bool> = states.iter().map(|states| !states.is_empty()).collect();
        let reasons: Vec<Reason> = (0..)
            .take(self.graph.len())
            .map(|node| self.reason(node, &level, &has_work))
            .collect();
        let mut states = states.into_iter().map(Some).collect::<Vec<_>>();
        let groups = order
            .into_iter()
            .filter(|&node| {
                has_work[node as usize] || matches!(self.action(node), Action::PostUpdateAll(..))
            })
            .map(|node| Group {
                action: self.action(node),
                states: states[node as usize].take().unwrap_or_default(),
                reason: reasons[node as usize],
            })
            .collect();
        Ok(FlushPlan { groups })
    }

    /// The last thing with work in it that has to come before `node`; dependency processors are looked through.
    fn reason(&self, node: u32, level: &[u32], has_work: &[bool]) -> Reason {
        let mut best: Option<(u32, Reason)> = None;
        for (&(before, after), &reason) in self.graph.edges().iter().zip(&self.reasons) {
            if after != node {
                continue;
            }
            let is_ground = match self.action(before) {
                Action::ProcessAll(..) => self.graph.edges().iter().any(|&(first, second)| {
                    second == before && first != node && has_work[first as usize]
                }),
                _ => has_work[before as usize],
            };
            if is_ground && best.is_none_or(|(last, _)| last < level[before as usize]) {
                best = Some((level[before as usize], reason));
            }
        }
        best.map_or(Reason::ByName, |(_, reason)| reason)
    }
}

impl EdgeSink for MapperGraph {
    fn edge(&mut self, before: Action, after: Action, because: DependencyId) {
        self.connect(before, after, Reason::Dependency(because));
    }
}

const NO_NODE: u32 = u32::MAX;

/// Actions of single states for mappers inside a cycle, of whole mappers for the rest.
struct StateGraph<'a> {
    schema: &'a Schema,
    register: &'a Register,
    graph: Graph,
    actions: Vec<Action>,
    reasons: Vec<Reason>,
    /// Node of each state's save or delete.
    state_nodes: Vec<u32>,
    /// Nodes of whole-mapper actions outside of the cycles.
    whole: IndexMap<Action, u32>,
}

impl<'a> StateGraph<'a> {
    fn build<R: Relations>(
        schema: &'a Schema,
        register: &'a Register,
        active: &[DependencyId],
        mappers: &MapperGraph,
        cyclic: &[bool],
        relations: &mut R,
    ) -> Result<Self, PlanError<R::Error>> {
        let mut this = Self {
            schema,
            register,
            graph: Graph::default(),
            actions: Vec::new(),
            reasons: Vec::new(),
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
        self.reasons.push(Reason::ByName);
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
        let known = &mut self.reasons[after as usize];
        if *known == Reason::ByName || matches!(reason, Reason::Level(_)) {
            *known = reason;
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
                let targets: smallvec::SmallVec<[_; 8]> = targets.collect();
                for target in targets {
                    pair.target = target;
                    let bases = (base, target_base(self.schema, id));
                    let mut sink = StateSink {
                        graph: self,
                        process: (process, process_node),
                    };
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
                        self.reasons.push(Reason::SavesFirst);
                        for node in saves {
                            self.graph.add_edge(node, barrier);
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

    fn into_plan<E>(self, schema: &Schema, register: &Register) -> Result<FlushPlan, PlanError<E>> {
        let level = levels(&self.graph).map_err(|nodes| {
            PlanError::Circular(
                nodes
                    .into_iter()
                    .map(|node| self.actions[node as usize])
                    .collect(),
            )
        })?;
        let mut classes: IndexMap<Action, u32> = IndexMap::new();
        let class_of: Vec<u32> = self
            .actions
            .iter()
            .map(|&action| {
                let next = u32::try_from(classes.len()).unwrap_or(u32::MAX);
                *classes.entry(self.whole_action(action)).or_insert(next)
            })
            .collect();
        let mut by_name: Vec<(Action, u32)> = classes.into_iter().collect();
        by_name.sort_by_key(|&(action, _)| self.class_key(action));
        let mut rank = vec![0_u32; by_name.len()];
        for (place, &(_, class)) in (0..).zip(&by_name) {
            rank[class as usize] = place;
        }
        let place_of = |node: u32| (level[node as usize], rank[class_of[node as usize] as usize]);
        let barriers = self.graph.barrier_flags();
        let mut order: Vec<u32> = (0..)
            .take(self.graph.len())
            .filter(|&node| !barriers[node as usize])
            .collect();
        order.sort_by_key(|&node| place_of(node));
        let mut groups: Vec<Group> = Vec::new();
        let mut last_place = None;
        for node in order {
            let action = self.actions[node as usize];
            let (whole, states) = match action {
                Action::SaveUpdate(state)
                | Action::Delete(state)
                | Action::Process(_, _, state) => (self.whole_action(action), vec![state]),
                whole => (whole, states_of(schema, register, whole)),
            };
            let place = Some(place_of(node));
            match groups.last_mut() {
                Some(group) if place == last_place => group.states.extend(states),
                _ => groups.push(Group {
                    action: whole,
                    states,
                    reason: self.reasons[node as usize],
                }),
            }
            last_place = place;
        }
        groups.retain(|group| {
            !group.states.is_empty() || matches!(group.action, Action::PostUpdateAll(..))
        });
        for group in &mut groups {
            group.states.sort_unstable();
        }
        Ok(FlushPlan { groups })
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

    /// The order of classes inside one level.
    fn class_key(&self, action: Action) -> (u8, &str, bool) {
        sort_key(self.schema, action)
    }
}

fn target_base(schema: &Schema, id: DependencyId) -> MapperId {
    schema.base(schema.dependency(id).target)
}

/// Turns the actions around one state into edges of the state graph.
struct StateSink<'s, 'a> {
    graph: &'s mut StateGraph<'a>,
    process: (Action, u32),
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
        let (before, after) = (self.node(before), self.node(after));
        self.graph.connect(before, after, Reason::Level(because));
    }
}
