//! The order where mappers form a cycle: their actions are split into one node per state, and states of one level are put
//! together again.

use indexmap::IndexMap;

use crate::error::PlanError;
use crate::graph::{Graph, by_level};
use crate::ids::{DependencyId, MapperId, StateId};
use crate::schema::Schema;

use super::dependency::{Action, EdgeSink, Relations, StatePair, state_edges};
use super::mapper_graph::MapperGraph;
use super::plan::{FlushPlan, circular, sort_key, states_of};
use super::register::Register;
use super::waits::{Reason, Waits};

const NONE: u32 = u32::MAX;

/// Actions of single states for mappers inside a cycle, of whole mappers for the rest.
pub(super) struct StateGraph<'a> {
    schema: &'a Schema,
    register: &'a Register,
    graph: Graph,
    /// What each node does.
    work: Vec<Work>,
    kinds: Kinds,
    /// Why each edge is there; `None` where nobody will ask.
    reasons: Option<Vec<Reason>>,
    /// Node of each state's save or delete.
    state_nodes: Vec<u32>,
    /// Nodes of whole-mapper actions outside of the cycles.
    whole: IndexMap<Action, u32>,
}

/// An action, in as little memory as it takes: the number of the whole mapper's, and the state, if it is that of one state.
#[derive(Clone, Copy)]
struct Work {
    kind: u32,
    state: u32,
}

/// Numbers of the actions of whole mappers and dependency processors, and which of them come up.
struct Kinds {
    mappers: u32,
    /// By number: where it stands among those that nothing separates.
    ranks: Vec<u32>,
    /// In the order in which they came up.
    used: Vec<u32>,
}

impl Kinds {
    fn of(schema: &Schema) -> Self {
        let count = 4 * schema.mapper_count() + 2 * schema.dependency_count();
        Self {
            mappers: u32::try_from(schema.mapper_count()).unwrap_or(u32::MAX),
            ranks: vec![NONE; count],
            used: Vec::new(),
        }
    }

    /// The number of a whole action.
    fn number(&self, action: Action) -> u32 {
        match action {
            Action::SaveUpdateAll(mapper) => 4 * mapper.0,
            Action::DeleteAll(mapper) => 4 * mapper.0 + 1,
            Action::PostUpdateAll(mapper, is_delete) => 4 * mapper.0 + 2 + u32::from(is_delete),
            Action::ProcessAll(dependency, is_delete)
            | Action::Process(dependency, is_delete, _) => {
                4 * self.mappers + 2 * dependency.0 + u32::from(is_delete)
            }
            Action::SaveUpdate(_) | Action::Delete(_) => NONE, // their mapper's is known to those who add them
        }
    }

    /// The whole action of a number.
    fn action(&self, number: u32) -> Action {
        if let Some(number) = number.checked_sub(4 * self.mappers) {
            return Action::ProcessAll(DependencyId(number / 2), number % 2 == 1);
        }
        let mapper = MapperId(number / 4);
        match number % 4 {
            0 => Action::SaveUpdateAll(mapper),
            1 => Action::DeleteAll(mapper),
            kind => Action::PostUpdateAll(mapper, kind == 3),
        }
    }

    fn note(&mut self, number: u32) {
        let rank = &mut self.ranks[number as usize];
        if *rank == NONE {
            *rank = 0;
            self.used.push(number);
        }
    }

    /// Works the ranks out, once every action has come up.
    fn rank(&mut self, schema: &Schema) {
        let mut used = std::mem::take(&mut self.used);
        used.sort_by_key(|&number| sort_key(schema, self.action(number)));
        for (rank, &number) in (0..).zip(&used) {
            self.ranks[number as usize] = rank;
        }
        self.used = used;
    }
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
            work: Vec::new(),
            kinds: Kinds::of(schema),
            reasons: keeps_reasons.then(Vec::new),
            state_nodes: vec![NONE; register.len()],
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
            .map(|&action| {
                let mut states = Vec::new();
                states_of((schema, register), action, &mut states);
                (action, states)
            })
            .collect();
        // a node for every state, and mostly one for each of its relationships
        let states: usize = split.iter().map(|(_, states)| states.len()).sum();
        let ties = states * active.len().min(2);
        this.work.reserve(states + ties);
        this.graph.reserve(states + ties, 2 * ties);
        for (action, states) in &split {
            let kind = this.kinds.number(*action);
            for &state in states {
                this.state_node(kind, state);
            }
        }
        for (action, states) in &split {
            this.split_mapper(*action, states, active, &in_cycle, relations)?;
        }
        this.outer_edges(mappers, cyclic, &split);
        this.kinds.rank(schema);
        Ok(this)
    }

    fn add(&mut self, kind: u32, state: u32) -> u32 {
        self.kinds.note(kind);
        self.work.push(Work { kind, state });
        self.graph.add_node()
    }

    fn whole_node(&mut self, action: Action) -> u32 {
        if let Some(&node) = self.whole.get(&action) {
            return node;
        }
        let node = self.add(self.kinds.number(action), NONE);
        self.whole.insert(action, node);
        node
    }

    fn state_node(&mut self, kind: u32, state: StateId) -> u32 {
        if self.state_nodes[state.index()] == NONE {
            self.state_nodes[state.index()] = self.add(kind, state.0);
        }
        self.state_nodes[state.index()]
    }

    /// The node of a state's save or delete, if it takes part in no split mapper a new one.
    fn node_of(&mut self, action: Action, state: StateId) -> u32 {
        let node = self.state_nodes[state.index()];
        if node != NONE {
            return node;
        }
        let base = self.schema.base(self.register.entry(state).mapper);
        let whole = match action {
            Action::Delete(_) => Action::DeleteAll(base),
            _ => Action::SaveUpdateAll(base),
        };
        self.state_node(self.kinds.number(whole), state)
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
                let process_node = self.add(self.kinds.number(process), state.0);
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
                let register = self.register;
                let bases = (base, target);
                let mut sink = StateSink {
                    graph: self,
                    process: (process, process_node),
                    first: None,
                };
                let mut tie = |target| {
                    pair.target = target;
                    state_edges(dependency, id, bases, pair, &mut sink);
                };
                if target_in_cycle {
                    for related in &found {
                        tie(related.map(|related| {
                            if register.entry(related).is_delete {
                                (Action::Delete(related), true)
                            } else {
                                (Action::SaveUpdate(related), false)
                            }
                        }));
                    }
                } else {
                    tie(Some((Action::SaveUpdateAll(target), false)));
                    tie(Some((Action::DeleteAll(target), true)));
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
        for ((before, after), reason) in mappers.edges() {
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
                    let has_states = |action| {
                        let mut split = split.iter();
                        split.any(|(split, states)| *split == action && !states.is_empty())
                    };
                    if has_states(first) && has_states(second) {
                        let (saves, deletes) = (nodes_of(self, first), nodes_of(self, second));
                        let barrier = self.graph.add_barrier();
                        let kind = self.kinds.number(first);
                        self.work.push(Work { kind, state: NONE });
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
        mut self,
        schema: &Schema,
        register: &Register,
        waits: Option<&mut Waits>,
    ) -> Result<FlushPlan, PlanError<E>> {
        let mut plan = FlushPlan::with_capacity(self.work.len());
        let mut group_of = vec![None; if waits.is_some() { self.graph.len() } else { 0 }];
        let (work, kinds) = (&self.work, &self.kinds);
        let kind = |node: u32| work[node as usize].kind;
        let blocked = by_level(&mut self.graph, |level, nodes| {
            if nodes.len() > 1 {
                nodes.sort_by_key(|&node| kinds.ranks[kind(node) as usize]);
            }
            for same in nodes.chunk_by(|&node, &next| kind(node) == kind(next)) {
                let action = kinds.action(kind(same[0]));
                let number = plan.len();
                let is_work = plan.add(action, level, |found| {
                    let start = found.len();
                    for &node in same {
                        match work[node as usize].state {
                            NONE => states_of((schema, register), action, found),
                            state => found.push(StateId(state)),
                        }
                    }
                    found[start..].sort_unstable();
                });
                if is_work && !group_of.is_empty() {
                    for &node in same {
                        group_of[node as usize] = u32::try_from(number).ok();
                    }
                }
            }
        });
        if let (Some(waits), Some(reasons)) = (waits, &self.reasons) {
            let edges = self.graph.edges().into_iter();
            waits.fill(
                plan.len(),
                edges.zip(reasons.iter().copied()),
                |node| group_of[node as usize],
                |node| self.kinds.action(self.work[node as usize].kind),
            );
        }
        match blocked {
            Ok(()) => Ok(plan),
            Err(blocked) => {
                let action = |node: u32| self.action(node);
                Err(circular(&self.graph, &blocked.cycle, action, plan))
            }
        }
    }

    /// What a node does.
    fn action(&self, node: u32) -> Action {
        let Work { kind, state } = self.work[node as usize];
        match (self.kinds.action(kind), StateId(state)) {
            (whole, StateId(NONE)) => whole,
            (Action::SaveUpdateAll(_), state) => Action::SaveUpdate(state),
            (Action::DeleteAll(_), state) => Action::Delete(state),
            (Action::ProcessAll(dependency, is_delete), state) => {
                Action::Process(dependency, is_delete, state)
            }
            (whole, _) => whole,
        }
    }
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
            Action::SaveUpdate(state) | Action::Delete(state) => self.graph.node_of(action, state),
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
