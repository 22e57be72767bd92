//! What holds for every plan: nothing twice, nothing lost, keys before the rows that need them, the same every time.
#![allow(clippy::unwrap_used)]

mod common;

use common::Model;
use proptest::prelude::*;
use rustalchemy_core::flush::{Action, FlushPlan};
use rustalchemy_core::graph::{Graph, levels, nodes_in_cycles};
use rustalchemy_core::ids::StateId;
use rustalchemy_core::schema::Direction::{ManyToOne, OneToMany};

/// Group number in which every state is saved or deleted.
fn places(model: &Model, plan: &FlushPlan) -> Vec<usize> {
    let mut places = vec![usize::MAX; model.register.len()];
    for (place, group) in plan.groups.iter().enumerate() {
        if matches!(
            group.action,
            Action::SaveUpdateAll(_) | Action::DeleteAll(_)
        ) {
            for state in &group.states {
                assert_eq!(places[state.index()], usize::MAX, "{state:?} is done twice");
                places[state.index()] = place;
            }
        }
    }
    assert!(!places.contains(&usize::MAX), "a state is lost");
    places
}

proptest! {
    /// A forest whose node `n` hangs under an earlier node: parents are inserted in earlier groups, deleted in later ones.
    #[test]
    fn forests(parents in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 1..60),
               both_sides in any::<bool>(), is_delete in any::<bool>()) {
        let mut model = Model::default();
        let node = model.mapper("Node");
        let children = model.relationship(node, "children", node, OneToMany, false);
        let parent = both_sides.then(|| model.relationship(node, "parent", node, ManyToOne, false));
        let mut edges = Vec::new();
        for (number, (above, is_root)) in parents.iter().enumerate() {
            let state = if is_delete { model.delete(node) } else { model.insert(node) };
            if number > 0 && !is_root {
                let above = StateId::from_index(above.index(number));
                model.link(children, above, state);
                if let Some(parent) = parent { model.link(parent, state, above); }
                edges.push((above, state));
            }
        }
        let plan = model.plan().unwrap();
        prop_assert_eq!(&plan, &model.plan().unwrap());
        let places = places(&model, &plan);
        for (above, below) in edges {
            let (above, below) = (places[above.index()], places[below.index()]);
            let (first, second) = if is_delete { (below, above) } else { (above, below) };
            prop_assert!(first < second);
        }
        for group in &plan.groups {
            prop_assert!(group.states.is_sorted());
        }
    }

    /// Levels respect every edge, and exist exactly when no node lies on a cycle.
    #[test]
    fn graphs(nodes in 1_usize..30, edges in prop::collection::vec((any::<u32>(), any::<u32>()), 0..80)) {
        let mut graph = Graph::new(nodes);
        let count = u32::try_from(nodes).unwrap();
        for (before, after) in edges {
            graph.add_edge(before % count, after % count);
        }
        match levels(&graph) {
            Ok(levels) => {
                prop_assert!(!nodes_in_cycles(&graph).contains(&true));
                for &(before, after) in graph.edges() {
                    prop_assert!(levels[before as usize] < levels[after as usize]);
                }
            }
            Err(cycle) => prop_assert!(!cycle.is_empty()),
        }
    }
}

#[test]
fn a_large_tree_needs_one_group_a_level() {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let children = model.relationship(node, "children", node, OneToMany, false);
    let mut depth = vec![0_u32];
    model.insert(node);
    for number in 1..100_000_usize {
        let above = StateId::from_index((number - 1) / 5);
        let state = model.insert(node);
        depth.push(depth[above.index()] + 1);
        model.link(children, above, state);
    }
    let plan = model.plan().unwrap();
    let saves = plan
        .groups
        .iter()
        .filter(|group| matches!(group.action, Action::SaveUpdateAll(_)));
    assert_eq!(saves.count(), *depth.last().unwrap() as usize + 1);
}
