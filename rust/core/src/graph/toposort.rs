//! Levels of a graph: every node stands one level after the last of those that come before it.

use super::{Graph, nodes_in_cycles};

/// Why not every node has a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// The nodes that lie on cycles.
    pub cycle: Vec<u32>,
    /// Which nodes can be reached without passing a cycle.
    pub reached: Vec<bool>,
    /// The levels of those.
    pub levels: Vec<u32>,
}

/// The level of every node, counted from 0, if there are no cycles. Linear in nodes and edges.
///
/// A barrier hands the level it was given on to its successors instead of the next one.
pub fn levels(graph: &Graph) -> Result<Vec<u32>, Blocked> {
    let successors = graph.successors();
    let barriers = graph.barrier_flags();
    let mut waiting_for = vec![0_u32; graph.len()];
    for &(_, after) in graph.edges() {
        waiting_for[after as usize] += 1;
    }
    let mut level = vec![0_u32; graph.len()];
    let mut ready: Vec<u32> = (0..graph.nodes)
        .filter(|&node| waiting_for[node as usize] == 0)
        .collect();
    let mut done = 0;
    while let Some(&node) = ready.get(done) {
        done += 1;
        let next = level[node as usize] + u32::from(!barriers[node as usize]);
        for &after in successors.of(node) {
            let slot = &mut level[after as usize];
            *slot = (*slot).max(next);
            waiting_for[after as usize] -= 1;
            if waiting_for[after as usize] == 0 {
                ready.push(after);
            }
        }
    }
    if done == graph.len() {
        Ok(level)
    } else {
        let flags = nodes_in_cycles(graph);
        Err(Blocked {
            cycle: (0..graph.nodes)
                .filter(|&node| flags[node as usize])
                .collect(),
            reached: waiting_for.iter().map(|&waiting| waiting == 0).collect(),
            levels: level,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Graph, levels};

    #[test]
    fn a_diamond() {
        let mut graph = Graph::new(4);
        for (before, after) in [(0, 1), (0, 2), (1, 3), (2, 3)] {
            graph.add_edge(before, after);
        }
        assert_eq!(levels(&graph), Ok(vec![0, 1, 1, 2]));
    }

    #[test]
    fn a_barrier_takes_no_level() {
        let mut graph = Graph::new(4);
        let barrier = graph.add_barrier();
        for node in [0, 1] {
            graph.add_edge(node, barrier);
        }
        for node in [2, 3] {
            graph.add_edge(barrier, node);
        }
        assert_eq!(levels(&graph), Ok(vec![0, 0, 1, 1, 1]));
    }

    #[test]
    fn cycles_are_named() {
        let mut graph = Graph::new(3);
        for (before, after) in [(0, 1), (1, 2), (2, 1)] {
            graph.add_edge(before, after);
        }
        let blocked = levels(&graph).map_err(|blocked| (blocked.cycle, blocked.reached));
        assert_eq!(blocked, Err((vec![1, 2], vec![true, false, false])));
    }
}
