//! Which nodes lie on a cycle: Tarjan's strongly connected components, without recursion.

use super::{Graph, number};

const UNSEEN: u32 = u32::MAX;

/// One flag per node: the node lies on a cycle (an edge to itself counts). Linear in nodes and edges.
#[must_use]
pub fn nodes_in_cycles(graph: &Graph) -> Vec<bool> {
    let len = graph.len();
    let mut search = Search {
        index: vec![UNSEEN; len],
        low: vec![0; len],
        on_stack: vec![false; len],
        stack: Vec::new(),
        next: 0,
    };
    let mut cyclic = vec![false; len];
    for node in 0..number(len) {
        if graph.leaving(node).any(|(_, after)| after == node) {
            cyclic[node as usize] = true;
        }
    }
    let mut calls = Vec::new();
    for root in 0..number(len) {
        if search.index[root as usize] != UNSEEN {
            continue;
        }
        search.enter(root);
        calls.push((root, graph.leaving(root)));
        while let Some((node, leaving)) = calls.last_mut() {
            let node = *node;
            if let Some((_, next)) = leaving.next() {
                if search.index[next as usize] == UNSEEN {
                    search.enter(next);
                    calls.push((next, graph.leaving(next)));
                } else if search.on_stack[next as usize] {
                    search.lower(node, search.index[next as usize]);
                }
            } else {
                calls.pop();
                if let Some((caller, _)) = calls.last() {
                    search.lower(*caller, search.low[node as usize]);
                }
                search.close(node, &mut cyclic);
            }
        }
    }
    cyclic
}

/// The running state of one depth-first search.
struct Search {
    index: Vec<u32>,
    low: Vec<u32>,
    on_stack: Vec<bool>,
    stack: Vec<u32>,
    next: u32,
}

impl Search {
    fn enter(&mut self, node: u32) {
        self.index[node as usize] = self.next;
        self.low[node as usize] = self.next;
        self.next += 1;
        self.stack.push(node);
        self.on_stack[node as usize] = true;
    }

    fn lower(&mut self, node: u32, value: u32) {
        let low = &mut self.low[node as usize];
        *low = (*low).min(value);
    }

    /// Pops the component whose root is `node`, if it is one, and marks it when it has more than one member.
    fn close(&mut self, node: u32, cyclic: &mut [bool]) {
        if self.low[node as usize] != self.index[node as usize] {
            return;
        }
        let start = self
            .stack
            .iter()
            .rposition(|&member| member == node)
            .unwrap_or(0);
        let component = self.stack.split_off(start);
        let is_cycle = component.len() > 1;
        for member in component {
            self.on_stack[member as usize] = false;
            if is_cycle {
                cyclic[member as usize] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Graph, nodes_in_cycles};

    fn cyclic(nodes: usize, edges: &[(u32, u32)]) -> Vec<u32> {
        let mut graph = Graph::new(nodes);
        for &(before, after) in edges {
            graph.add_edge(before, after);
        }
        let flags = nodes_in_cycles(&graph);
        (0..)
            .zip(flags)
            .filter(|(_, flag)| *flag)
            .map(|(node, _)| node)
            .collect()
    }

    #[test]
    fn a_chain_has_none() {
        assert!(cyclic(4, &[(0, 1), (1, 2), (2, 3), (0, 3)]).is_empty());
    }

    #[test]
    fn an_edge_to_itself_is_one() {
        assert_eq!(cyclic(2, &[(0, 1), (1, 1)]), [1]);
    }

    #[test]
    fn only_members_are_marked() {
        assert_eq!(
            cyclic(6, &[(0, 1), (1, 2), (2, 1), (2, 3), (3, 4), (4, 3), (4, 5)]),
            [1, 2, 3, 4]
        );
    }
}
