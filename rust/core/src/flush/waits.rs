//! What every group of a plan waits for: the graph behind the order, kept only where people ask for it.

use hashbrown::HashMap;
use indexmap::IndexSet;

use crate::ids::DependencyId;

use super::dependency::Action;

/// Why one group has to come before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// A relationship between whole mappers: keys are copied, or rows that refer to others go first.
    Dependency(DependencyId),
    /// The same between rows of mappers that depend on each other: the next level.
    Level(DependencyId),
    /// Rows of a mapper are deleted after its rows are saved.
    SavesFirst,
}

/// Groups, actions without work, and the edges between them. Numbers below the plan's count of groups are its groups.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// How many groups the plan has.
    pub groups: u32,
    /// Actions that stand in the graph but have nothing to do; numbered on from the groups.
    pub idle: Vec<Action>,
    edges: IndexSet<(u32, u32, Reason)>,
}

impl Waits {
    /// Takes the edges of a graph over; `group_of` says in which group a node's work went.
    pub(super) fn fill(
        &mut self,
        groups: usize,
        edges: impl Iterator<Item = ((u32, u32), Reason)>,
        group_of: impl Fn(u32) -> Option<u32>,
        action_of: impl Fn(u32) -> Action,
    ) {
        self.groups = u32::try_from(groups).unwrap_or(u32::MAX);
        let mut idle: HashMap<u32, u32> = HashMap::new();
        let mut number = |this: &mut Self, node: u32| {
            group_of(node).unwrap_or_else(|| {
                *idle.entry(node).or_insert_with(|| {
                    this.idle.push(action_of(node));
                    this.groups + u32::try_from(this.idle.len() - 1).unwrap_or(u32::MAX)
                })
            })
        };
        for ((before, after), reason) in edges {
            let (before, after) = (number(self, before), number(self, after));
            if before != after {
                self.edges.insert((before, after, reason));
            }
        }
    }

    /// (before, after, why), in the order in which they were found.
    pub fn edges(&self) -> impl Iterator<Item = (u32, u32, Reason)> + '_ {
        self.edges.iter().copied()
    }

    /// How many numbers there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.groups as usize + self.idle.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
