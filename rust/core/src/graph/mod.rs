//! Directed graphs over dense node numbers: the ground under the planner. Knows nothing of mappers or states.

mod cycles;
mod toposort;

pub use cycles::nodes_in_cycles;
pub use toposort::{Blocked, by_level};

/// No edge.
const NONE: u32 = u32::MAX;

/// A directed graph; an edge `(a, b)` says that `a` comes before `b`.
///
/// Edges are written once and not copied into lists of successors: in a flush of many rows every byte of the graph is
/// memory that is touched for the first time, and that costs more than walking it.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    barriers: Vec<u32>,
}

/// A node's place in the lists of edges.
#[derive(Clone, Copy, Debug)]
struct Node {
    /// The last edge that leaves it.
    last: u32,
    /// How many edges lead to it.
    incoming: u32,
}

/// An edge, in the ring of those that leave the same node.
#[derive(Clone, Copy, Debug)]
struct Edge {
    after: u32,
    /// The one that was added next; behind the last comes the first.
    next: u32,
}

impl Graph {
    /// A graph of `nodes` nodes without edges.
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        let mut graph = Self::default();
        graph.reserve(nodes, 0);
        for _ in 0..nodes {
            graph.add_node();
        }
        graph
    }

    /// Makes room for so many more nodes and edges: lists that grow in turns leave holes behind them.
    pub fn reserve(&mut self, nodes: usize, edges: usize) {
        self.nodes.reserve(nodes);
        self.edges.reserve(edges);
    }

    /// Adds a node and returns its number.
    pub fn add_node(&mut self) -> u32 {
        let node = number(self.nodes.len());
        self.nodes.push(Node {
            last: NONE,
            incoming: 0,
        });
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
        let edge = number(self.edges.len());
        self.nodes[after as usize].incoming += 1;
        let last = std::mem::replace(&mut self.nodes[before as usize].last, edge);
        let next = match self.edges.get_mut(last as usize) {
            Some(last) => std::mem::replace(&mut last.next, edge),
            None => edge,
        };
        self.edges.push(Edge { after, next });
    }

    /// The number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are no nodes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// All edges, in the order in which they were added.
    #[must_use]
    pub fn edges(&self) -> Vec<(u32, u32)> {
        let mut edges = vec![(0, 0); self.edges.len()];
        for node in 0..number(self.len()) {
            for (edge, after) in self.leaving(node) {
                edges[edge as usize] = (node, after);
            }
        }
        edges
    }

    /// The edges that leave a node and where they lead, in the order in which they were added.
    fn leaving(&self, node: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let last = self.nodes[node as usize].last;
        let first = self.edges.get(last as usize).map(|last| last.next);
        std::iter::successors(first, move |&edge| {
            (edge != last).then(|| self.edges[edge as usize].next)
        })
        .map(|edge| (edge, self.edges[edge as usize].after))
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

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
