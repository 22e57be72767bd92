//! Levels of a graph: every node stands one level after the last of those that come before it.

use super::{Graph, nodes_in_cycles, number};

/// Why not every node has a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The nodes that lie on cycles.
    pub cycle: Vec<u32>,
}

/// Visits the nodes of every level, counted from 0, in linear time; no level that a cycle comes before. Uses up the graph's
/// counts of edges.
///
/// A barrier is not visited: it hands the level it was given on to its successors instead of the next one. The visitor may
/// change the order of a level: in that order its successors come up in the next.
pub fn by_level(graph: &mut Graph, mut visit: impl FnMut(u32, &mut [u32])) -> Result<(), Blocked> {
    let barriers = (!graph.barriers.is_empty()).then(|| graph.barrier_flags());
    let mut walk = Walk {
        graph,
        barriers,
        open: Vec::new(),
        done: 0,
    };
    let (mut front, mut next) = (walk.start(), Vec::new());
    let mut level = 0;
    while !front.is_empty() {
        visit(level, &mut front);
        for &node in &front {
            walk.release(node, &mut next);
        }
        front.clear();
        std::mem::swap(&mut front, &mut next);
        level += 1;
    }
    if walk.done == graph.len() {
        return Ok(());
    }
    let flags = nodes_in_cycles(graph);
    let cycle = (0..number(graph.len())).filter(|&node| flags[node as usize]);
    Err(Blocked {
        cycle: cycle.collect(),
    })
}

/// A walk through a graph, from level to level.
struct Walk<'a> {
    graph: &'a mut Graph,
    barriers: Option<Vec<bool>>,
    /// Barriers that have been reached.
    open: Vec<u32>,
    /// How many nodes have a level.
    done: usize,
}

impl Walk<'_> {
    /// The nodes that nothing comes before.
    fn start(&mut self) -> Vec<u32> {
        let is_free = |&node: &u32| self.graph.nodes[node as usize].incoming == 0;
        let free: Vec<u32> = (0..number(self.graph.len())).filter(is_free).collect();
        if self.barriers.is_none() {
            self.done = free.len();
            return free;
        }
        let mut front = Vec::new();
        for node in free {
            self.reach(node, &mut front);
        }
        self.pass_barriers(&mut front);
        front
    }

    /// A node of this level is done: what waited for it alone is in the next.
    fn release(&mut self, node: u32, next: &mut Vec<u32>) {
        self.leave(node, next);
        self.pass_barriers(next);
    }

    fn leave(&mut self, node: u32, next: &mut Vec<u32>) {
        let last = self.graph.nodes[node as usize].last;
        let Some(mut edge) = self.graph.edges.get(last as usize).copied() else {
            return;
        };
        loop {
            let at = edge.next;
            edge = self.graph.edges[at as usize];
            let incoming = &mut self.graph.nodes[edge.after as usize].incoming;
            *incoming -= 1;
            if *incoming == 0 {
                self.reach(edge.after, next);
            }
            if at == last {
                return;
            }
        }
    }

    fn reach(&mut self, node: u32, level: &mut Vec<u32>) {
        self.done += 1;
        match &self.barriers {
            Some(barriers) if barriers[node as usize] => self.open.push(node),
            _ => level.push(node),
        }
    }

    fn pass_barriers(&mut self, level: &mut Vec<u32>) {
        while let Some(barrier) = self.open.pop() {
            self.leave(barrier, level);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Graph, by_level};

    fn levels(graph: &mut Graph) -> (Vec<Vec<u32>>, Option<Vec<u32>>) {
        let mut levels = Vec::new();
        let blocked = by_level(graph, |level, nodes| {
            assert_eq!(level as usize, levels.len());
            levels.push(nodes.to_vec());
        });
        (levels, blocked.err().map(|blocked| blocked.cycle))
    }

    #[test]
    fn a_diamond() {
        let mut graph = Graph::new(4);
        for (before, after) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
            graph.add_edge(before, after);
        }
        let expected = vec![vec![0], vec![1, 2], vec![3]];
        assert_eq!(levels(&mut graph), (expected, None));
    }

    #[test]
    fn a_barrier_takes_no_level() {
        let mut graph = Graph::new(4);
        let (first, second) = (graph.add_barrier(), graph.add_barrier());
        for (before, after) in [
            (0, first),
            (1, first),
            (first, second),
            (second, 2),
            (second, 3),
        ] {
            graph.add_edge(before, after);
        }
        assert_eq!(levels(&mut graph), (vec![vec![0, 1], vec![2, 3]], None));
    }

    #[test]
    fn cycles_are_named() {
        let mut graph = Graph::new(4);
        for (before, after) in [(0, 1), (1, 2), (2, 1), (2, 3)] {
            graph.add_edge(before, after);
        }
        assert_eq!(levels(&mut graph), (vec![vec![0]], Some(vec![1, 2])));
    }

    #[test]
    fn edges_keep_their_order() {
        let edges = [(2, 0), (0, 1), (2, 1), (0, 1)];
        let mut graph = Graph::new(3);
        for (before, after) in edges {
            graph.add_edge(before, after);
        }
        assert_eq!(graph.edges(), edges);
    }
}
