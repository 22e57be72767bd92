//! Directed graphs over dense node numbers: the ground under the planner. Knows nothing of mappers or states.

mod cycles;
mod toposort;

pub use cycles::nodes_in_cycles;
pub use toposort::{Blocked, levels};

/// A directed graph; an edge `(a, b)` says that `a` comes before `b`.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: u32,
    edges: Vec<(u32, u32)>,
    barriers: Vec<u32>,
}

impl Graph {
    /// A graph of `nodes` nodes without edges.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes: u32::try_from(nodes).unwrap_or(u32::MAX),
            edges: Vec::new(),
            barriers: Vec::new(),
        }
    }

    /// Adds a node and returns its number.
    pub fn add_node(&mut self) -> u32 {
        let node = self.nodes;
        self.nodes = self.nodes.saturating_add(1);
        node
    }

    /// Adds a node that takes no level of its own: it stands for "all of these before all of those" without the
    /// product of edges.
    pub fn add_barrier(&mut self) -> u32 {
        let node = self.add_node();
        self.barriers.push(node);
        node
    }

    /// Adds an edge; both ends must be nodes of this graph.
    pub fn add_edge(&mut self, before: u32, after: u32) {
        debug_assert!(before < self.nodes && after < self.nodes);
        self.edges.push((before, after));
    }

    /// The number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes as usize
    }

    /// Whether there are no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes == 0
    }

    /// All edges, in the order in which they were added.
    #[must_use]
    pub fn edges(&self) -> &[(u32, u32)] {
        &self.edges
    }

    /// Successor lists in one allocation, each in the order in which its edges were added.
    #[must_use]
    fn successors(&self) -> Adjacency {
        // While the targets are filled in, a node's start stands one place further on, and moves to where the next one's is.
        let mut starts = vec![0_u32; self.len() + 2];
        for &(before, _) in &self.edges {
            starts[before as usize + 2] += 1;
        }
        for node in 0..self.len() {
            starts[node + 2] += starts[node + 1];
        }
        let mut targets = vec![0_u32; self.edges.len()];
        for &(before, after) in &self.edges {
            let slot = &mut starts[before as usize + 1];
            targets[*slot as usize] = after;
            *slot += 1;
        }
        Adjacency { starts, targets }
    }

    /// One flag per node: takes no level of its own.
    pub(crate) fn barrier_flags(&self) -> Vec<bool> {
        let mut flags = vec![false; self.len()];
        for &node in &self.barriers {
            flags[node as usize] = true;
        }
        flags
    }
}

/// Successor lists of a graph, packed.
struct Adjacency {
    starts: Vec<u32>,
    targets: Vec<u32>,
}

impl Adjacency {
    fn of(&self, node: u32) -> &[u32] {
        let node = node as usize;
        &self.targets[self.starts[node] as usize..self.starts[node + 1] as usize]
    }
}
