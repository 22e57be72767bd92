//! The order of whole mappers: one node per action of a mapper or dependency processor.

use hashbrown::DefaultHashBuilder;
use indexmap::IndexMap;

use crate::graph::{Graph, by_level};
use crate::ids::{DependencyId, MapperId};
use crate::schema::Schema;

use super::dependency::{Action, EdgeSink, mapper_edges};
use super::plan::{FlushPlan, sort_key, states_of};
use super::register::Register;
use super::waits::{Reason, Waits};

/// Actions of whole mappers and what stands between them.
pub(super) struct MapperGraph {
    pub graph: Graph,
    pub actions: IndexMap<Action, (), DefaultHashBuilder>,
    /// Why each edge is there.
    pub reasons: Vec<Reason>,
}

impl MapperGraph {
    pub(super) fn build(schema: &Schema, register: &Register, active: &[DependencyId]) -> Self {
        let mut this = Self {
            graph: Graph::default(),
            actions: IndexMap::with_capacity_and_hasher(
                2 * register.mappers().len() + 4 * active.len(),
                DefaultHashBuilder::default(),
            ),
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

    pub(super) fn action(&self, node: u32) -> Action {
        self.actions
            .get_index(node as usize)
            .map_or(Action::DeleteAll(MapperId(0)), |(action, ())| *action)
    }

    /// The plan, if whole mappers can be put in order; else the nodes that lie on cycles, by a flag each.
    pub(super) fn plan(
        &mut self,
        schema: &Schema,
        register: &Register,
        waits: Option<&mut Waits>,
    ) -> Result<FlushPlan, Vec<bool>> {
        let mut plan = FlushPlan::with_capacity(register.len());
        let mut group_of = vec![None; self.graph.len()];
        let mut graph = std::mem::take(&mut self.graph);
        let ordered = by_level(&mut graph, |level, nodes| {
            nodes.sort_unstable_by_key(|&node| (sort_key(schema, self.action(node)), node));
            for &node in &*nodes {
                let number = plan.len();
                let action = self.action(node);
                let fill = |found: &mut _| states_of((schema, register), action, found);
                if plan.add(action, level, fill) {
                    group_of[node as usize] = u32::try_from(number).ok();
                }
            }
        });
        self.graph = graph;
        if let Err(blocked) = ordered {
            let mut cyclic = vec![false; self.graph.len()];
            for node in blocked.cycle {
                cyclic[node as usize] = true;
            }
            return Err(cyclic);
        }
        if let Some(waits) = waits {
            waits.fill(
                plan.len(),
                self.edges(),
                |node| group_of[node as usize],
                |node| self.action(node),
            );
        }
        Ok(plan)
    }

    /// The edges with their reasons.
    pub(super) fn edges(&self) -> impl Iterator<Item = ((u32, u32), Reason)> {
        let edges = self.graph.edges().into_iter();
        edges.zip(self.reasons.iter().copied())
    }
}

impl EdgeSink for MapperGraph {
    fn edge(&mut self, before: Action, after: Action, because: DependencyId) {
        self.connect(before, after, Reason::Dependency(because));
    }
}
