//! What holds for every plan: nothing twice, nothing lost, keys before the rows that need them, the same every time, and the
//! same whatever else is flushed.
#![allow(clippy::unwrap_used)]

mod common;

use common::Model;
use proptest::prelude::*;
use rustalchemy_core::error::PlanError;
use rustalchemy_core::flush::{Action, FlushPlan, mermaid, table};
use rustalchemy_core::graph::{Graph, by_level, nodes_in_cycles};
use rustalchemy_core::ids::{MapperId, StateId};
use rustalchemy_core::schema::Direction::{self, ManyToMany, ManyToOne, OneToMany};

/// Group number in which every state is saved or deleted.
fn places(model: &Model, plan: &FlushPlan) -> Vec<usize> {
    let mut places = vec![usize::MAX; model.register.len()];
    for (place, group) in plan.groups().enumerate() {
        if matches!(
            group.action,
            Action::SaveUpdateAll(_) | Action::DeleteAll(_)
        ) {
            for state in group.states {
                assert_eq!(places[state.index()], usize::MAX, "{state:?} is done twice");
                places[state.index()] = place;
            }
        }
    }
    assert!(!places.contains(&usize::MAX), "a state is lost");
    places
}

/// What a random flush is made of; numbers are taken modulo what there is.
#[derive(Clone, Debug)]
struct Recipe {
    mappers: usize,
    relationships: Vec<(usize, usize, Direction, bool)>,
    states: Vec<(usize, Kind)>,
    links: Vec<(usize, usize, usize)>,
    /// Rows of a class nobody is related to: before which state they are registered.
    unrelated: Vec<(usize, Kind)>,
    /// Where that class stands by name.
    unrelated_name: &'static str,
    /// Later states refer to earlier ones only, so that there is an order.
    is_ranked: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Insert,
    Update,
    Delete,
}

impl Recipe {
    fn strategy(is_ranked: bool) -> impl Strategy<Value = Self> {
        let kind = prop_oneof![Just(Kind::Insert), Just(Kind::Update), Just(Kind::Delete)];
        let direction = prop_oneof![Just(OneToMany), Just(ManyToOne), Just(ManyToMany)];
        let relationship = (0..5_usize, 0..5_usize, direction, any::<bool>());
        (
            1..5_usize,
            prop::collection::vec(relationship, 0..6),
            prop::collection::vec((0..5_usize, kind.clone()), 1..25),
            prop::collection::vec((0..6_usize, 0..25_usize, 0..25_usize), 0..40),
            prop::collection::vec((0..25_usize, kind), 0..6),
            prop_oneof![Just("A0"), Just("M5"), Just("Zz")],
        )
            .prop_map(
                move |(mappers, relationships, states, links, unrelated, unrelated_name)| Self {
                    mappers,
                    relationships,
                    states,
                    links,
                    unrelated,
                    unrelated_name,
                    is_ranked,
                },
            )
    }

    /// The model, and the states of related classes in it.
    fn model(&self, has_unrelated: bool) -> (Model, Vec<StateId>) {
        let mut model = Model::default();
        let mappers: Vec<MapperId> = (0..self.mappers)
            .map(|number| model.mapper(&format!("M{}", (number * 3) % 5)))
            .collect();
        let mut dependencies = Vec::new();
        for (number, &(parent, target, direction, post_update)) in
            self.relationships.iter().enumerate()
        {
            let (parent, target) = (
                mappers[parent % mappers.len()],
                mappers[target % mappers.len()],
            );
            let post_update = post_update && !self.is_ranked && direction != ManyToMany;
            let key = format!("r{number}");
            dependencies.push(model.relationship(parent, &key, target, direction, post_update));
        }
        let unrelated = has_unrelated.then(|| model.mapper(self.unrelated_name));
        let enter = |model: &mut Model, mapper: MapperId, kind: Kind| match kind {
            Kind::Insert => model.insert(mapper),
            Kind::Update => model.update(mapper),
            Kind::Delete => model.delete(mapper),
        };
        let mut states = Vec::new();
        for (number, &(mapper, kind)) in self.states.iter().enumerate() {
            for &(before, kind) in &self.unrelated {
                if let Some(unrelated) = unrelated.filter(|_| before == number) {
                    enter(&mut model, unrelated, kind);
                }
            }
            states.push(enter(&mut model, mappers[mapper % mappers.len()], kind));
        }
        for &(by, from, to) in &self.links {
            let (Some(&dependency), Some(&from), Some(&to)) =
                (dependencies.get(by), states.get(from), states.get(to))
            else {
                continue;
            };
            let schema = model.schema.dependency(dependency).clone();
            let is_in_order = match schema.direction {
                OneToMany => from < to,
                ManyToOne => to < from,
                ManyToMany => true,
            };
            let fits = model.register.entry(from).mapper == schema.parent
                && model.register.entry(to).mapper == schema.target;
            if fits && (is_in_order || !self.is_ranked) {
                model.link(dependency, from, to);
            }
        }
        (model, states)
    }
}

/// The pairs of states whose order a flush must keep, from the meaning of the relationships alone.
fn required(model: &Model) -> Vec<(StateId, StateId)> {
    let mut pairs = Vec::new();
    for (dependency, from, to) in model.links() {
        let schema = model.schema.dependency(dependency);
        let deletes = |state: StateId| model.register.entry(state).is_delete;
        if schema.post_update || from == to {
            continue;
        }
        match (schema.direction, deletes(from), deletes(to)) {
            (OneToMany, false, _) | (ManyToOne, true, true) => pairs.push((from, to)),
            (OneToMany, true, _) | (ManyToOne, false, false) => pairs.push((to, from)),
            _ => {}
        }
    }
    pairs
}

fn check(model: &Model, plan: &FlushPlan) -> Result<(), TestCaseError> {
    let places = places(model, plan);
    for (before, after) in required(model) {
        prop_assert!(
            places[before.index()] < places[after.index()],
            "{before:?} {after:?}"
        );
    }
    for first in 0..places.len() {
        for second in 0..places.len() {
            let (one, two) = (entry(model, first), entry(model, second));
            if one.0 == two.0 && !one.1 && two.1 {
                prop_assert!(places[first] < places[second], "saves before deletes");
            }
        }
    }
    Ok(())
}

/// Base mapper of a state, and whether it is deleted.
fn entry(model: &Model, number: usize) -> (MapperId, bool) {
    let entry = model.register.entry(StateId::from_index(number));
    (model.schema.base(entry.mapper), entry.is_delete)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Where every row refers to earlier ones only, there is a plan, it is complete and every row comes after what it needs.
    #[test]
    fn ranked_flushes_have_a_complete_order(recipe in Recipe::strategy(true)) {
        let (model, _) = recipe.model(true);
        let plan = model.plan();
        prop_assert!(plan.is_ok(), "{plan:?}");
        check(&model, &plan.unwrap())?;
    }

    /// Whatever refers to whatever: a complete plan in order, or a cycle whose members all wait for each other.
    #[test]
    fn any_flush_has_an_order_or_a_cycle(recipe in Recipe::strategy(false)) {
        let (model, _) = recipe.model(true);
        match model.plan() {
            Ok(plan) => check(&model, &plan)?,
            Err(PlanError::Circular { actions, edges, .. }) => {
                prop_assert!(!actions.is_empty());
                for action in &actions {
                    prop_assert!(edges.iter().any(|(before, _)| before == action));
                    prop_assert!(edges.iter().any(|(_, after)| after == action));
                }
            }
            Err(PlanError::Caller(())) => prop_assert!(false),
        }
    }

    /// The same flush gives the same plan, the same table and the same drawing; what a step waits for stands before it.
    #[test]
    fn plans_are_deterministic(recipe in Recipe::strategy(true)) {
        let (model, again) = (recipe.model(true).0, recipe.model(true).0);
        let (plan, waits) = model.plan_with_waits().unwrap();
        prop_assert_eq!(&plan, &again.plan().unwrap());
        let (steps, same) = (model.steps().unwrap(), again.steps().unwrap());
        prop_assert_eq!(table(&steps, &[]), table(&same, &[]));
        prop_assert_eq!(mermaid(&model.schema, &steps), mermaid(&again.schema, &same));
        for (number, step) in steps.iter().enumerate() {
            prop_assert!(step.waits.iter().all(|wait| wait.step < number));
        }
        for (before, after, _) in waits.edges() {
            prop_assert!(before < after || after >= waits.groups || before >= waits.groups);
        }
    }

    /// Rows that nothing is related to move nothing else.
    #[test]
    fn unrelated_rows_change_nothing(recipe in Recipe::strategy(true)) {
        let (alone, states) = recipe.model(false);
        let (crowded, same_states) = recipe.model(true);
        let number_of = |state: &StateId| same_states.iter().position(|same| same == state);
        let mut expected = Vec::new();
        for group in alone.plan().unwrap().groups() {
            let numbers: Vec<_> = group.states.iter().map(|state| states.iter().position(|same| same == state)).collect();
            expected.push((group.action, group.level, numbers));
        }
        let mut found = Vec::new();
        for group in crowded.plan().unwrap().groups() {
            let numbers: Vec<_> = group.states.iter().map(number_of).collect();
            if numbers.is_empty() || numbers.iter().any(Option::is_some) {
                prop_assert!(numbers.iter().all(Option::is_some), "a group mixes classes");
                found.push((group.action, group.level, numbers));
            }
        }
        prop_assert_eq!(expected, found);
    }
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
        for group in plan.groups() {
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
        let (edges, flags) = (graph.edges(), nodes_in_cycles(&graph));
        let mut levels = vec![None; nodes];
        let ordered = by_level(&mut graph, |level, nodes| {
            for &mut node in nodes {
                assert_eq!(levels[node as usize].replace(level), None);
            }
        });
        prop_assert_eq!(flags.contains(&true), ordered.is_err());
        prop_assert_eq!(levels.contains(&None), ordered.is_err());
        for (before, after) in edges {
            let (before, after) = (levels[before as usize], levels[after as usize]);
            prop_assert!(after.is_none() || before.is_some() && before < after);
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
        .groups()
        .filter(|group| matches!(group.action, Action::SaveUpdateAll(_)));
    assert_eq!(saves.count(), *depth.last().unwrap() as usize + 1);
}
