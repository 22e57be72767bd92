//! Plans as text, one for each rule of the flush order, compared with the files in `tests/plans`.
//! `UPDATE_PLANS=1 cargo test` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use std::fmt::Write as _;

use common::Model;
use rustalchemy_core::flush::{ColumnSet, Presort, Shape, runs};
use rustalchemy_core::ids::{ColumnIx, DependencyId, StateId};
use rustalchemy_core::schema::Direction::{ManyToMany, ManyToOne, OneToMany};

fn check(name: &str, model: &Model) {
    check_text(name, &model.text());
}

fn check_text(name: &str, text: &str) {
    let path = format!("{}/tests/plans/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_PLANS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{path}");
}

#[test]
fn classes_without_relationship_go_by_name() {
    let mut model = Model::default();
    let (zebra, ant) = (model.mapper("Zebra"), model.mapper("Ant"));
    model.insert(zebra);
    model.insert(ant);
    model.delete(zebra);
    model.update(ant);
    check("by_name", &model);
}

#[test]
fn parents_come_before_children() {
    let mut model = Model::default();
    let (user, address) = (model.mapper("User"), model.mapper("Address"));
    let addresses = model.relationship(user, "addresses", address, OneToMany, false);
    let parent = model.insert(user);
    let child = model.insert(address);
    model.link(addresses, parent, child);
    model.delete(user);
    model.delete(address);
    model.update(address);
    check("one_to_many", &model);
}

#[test]
fn both_sides_of_a_relationship_agree() {
    let mut model = Model::default();
    let (plane, flight) = (model.mapper("Plane"), model.mapper("Flight"));
    model.relationship(plane, "flights", flight, OneToMany, false);
    model.relationship(flight, "plane", plane, ManyToOne, false);
    for _ in 0..3 {
        model.insert(flight);
    }
    model.insert(plane);
    model.delete(flight);
    model.delete(plane);
    check("both_sides", &model);
}

#[test]
fn a_tree_goes_by_level() {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let children = model.relationship(node, "children", node, OneToMany, false);
    let parent = model.relationship(node, "parent", node, ManyToOne, false);
    let states: Vec<_> = (0..7).map(|_| model.insert(node)).collect();
    for (number, &state) in states.iter().enumerate().skip(1) {
        let above = states[(number - 1) / 2];
        model.link(children, above, state);
        model.link(parent, state, above);
    }
    check("tree", &model);
}

#[test]
fn a_deleted_tree_goes_bottom_up_after_saves() {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let children = model.relationship(node, "children", node, OneToMany, false);
    let root = model.delete(node);
    let child = model.delete(node);
    let grandchild = model.delete(node);
    model.insert(node);
    model.link(children, root, child);
    model.link(children, child, grandchild);
    check("deleted_tree", &model);
}

#[test]
fn rows_of_each_other_are_refused() {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let next = model.relationship(node, "next", node, ManyToOne, false);
    let (first, second) = (model.insert(node), model.insert(node));
    model.link(next, first, second);
    model.link(next, second, first);
    check("circular", &model);
}

#[test]
fn a_row_of_itself_is_refused() {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let next = model.relationship(node, "next", node, ManyToOne, false);
    let only = model.insert(node);
    model.link(next, only, only);
    check("circular_alone", &model);
}

#[test]
fn a_cycle_is_walked_around_and_names_nothing_else() {
    let mut model = Model::default();
    let (hub, rim) = (model.mapper("Hub"), model.mapper("Rim"));
    let first_rim = model.relationship(hub, "first_rim", rim, ManyToOne, false);
    let hubs = model.relationship(rim, "hub", hub, ManyToOne, false);
    let (one, two) = (model.insert(hub), model.insert(rim));
    let (free_hub, free_rim) = (model.insert(hub), model.insert(rim));
    model.link(first_rim, one, two);
    model.link(hubs, two, one);
    model.link(hubs, free_rim, free_hub);
    check("circular_between_classes", &model);
}

#[test]
fn post_update_breaks_a_cycle() {
    let mut model = Model::default();
    let (person, ball) = (model.mapper("Person"), model.mapper("Ball"));
    let balls = model.relationship(person, "balls", ball, OneToMany, false);
    let favorite = model.relationship(person, "favorite", ball, ManyToOne, true);
    let (owner, toy) = (model.insert(person), model.insert(ball));
    model.link(balls, owner, toy);
    model.link(favorite, owner, toy);
    check("post_update", &model);
}

#[test]
fn post_updates_go_before_deletes() {
    let mut model = Model::default();
    let (person, ball) = (model.mapper("Person"), model.mapper("Ball"));
    let balls = model.relationship(person, "balls", ball, OneToMany, false);
    let favorite = model.relationship(person, "favorite", ball, ManyToOne, true);
    let (owner, toy) = (model.delete(person), model.delete(ball));
    model.link(balls, owner, toy);
    model.link(favorite, owner, toy);
    check("post_update_of_deleted", &model);
}

#[test]
fn post_update_of_a_one_to_many() {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let children = model.relationship(node, "children", node, OneToMany, true);
    let (above, below) = (model.insert(node), model.insert(node));
    model.link(children, above, below);
    model.link(children, below, above);
    check("post_update_one_to_many", &model);
}

#[test]
fn two_mappers_of_each_other_are_split() {
    let mut model = Model::default();
    let (left, right) = (model.mapper("Left"), model.mapper("Right"));
    let rights = model.relationship(left, "rights", right, OneToMany, false);
    let lefts = model.relationship(right, "lefts", left, OneToMany, false);
    let outer = model.mapper("Outer");
    model.relationship(outer, "lefts", left, OneToMany, false);
    let inner = model.mapper("Inner");
    model.relationship(right, "inners", inner, OneToMany, false);
    model.insert(outer);
    let first = model.insert(left);
    let second = model.insert(right);
    let third = model.insert(left);
    model.link(rights, first, second);
    model.link(lefts, second, third);
    model.insert(inner);
    model.insert(inner);
    check("mutual", &model);
}

#[test]
fn association_rows_come_after_both_sides() {
    let mut model = Model::default();
    let (post, tag) = (model.mapper("Post"), model.mapper("Tag"));
    let tags = model.relationship(post, "tags", tag, ManyToMany, false);
    let written = model.insert(post);
    let label = model.insert(tag);
    model.link(tags, written, label);
    model.delete(tag);
    check("many_to_many", &model);
}

#[test]
fn association_rows_go_before_both_sides() {
    let mut model = Model::default();
    let (post, tag) = (model.mapper("Post"), model.mapper("Tag"));
    let tags = model.relationship(post, "tags", tag, ManyToMany, false);
    let (old, label) = (model.delete(post), model.delete(tag));
    model.link(tags, old, label);
    model.update(post);
    check("many_to_many_deleted", &model);
}

#[test]
fn targets_come_before_their_holders() {
    let mut model = Model::default();
    let (flight, plane) = (model.mapper("Flight"), model.mapper("Plane"));
    let planes = model.relationship(flight, "plane", plane, ManyToOne, false);
    let (holder, target) = (model.insert(flight), model.insert(plane));
    model.link(planes, holder, target);
    model.delete(plane);
    model.delete(flight);
    check("many_to_one", &model);
}

#[test]
fn what_is_deleted_leaves_the_saves() {
    let mut model = Model::default();
    let user = model.mapper("User");
    let (changed, doomed, saved, listed) = (
        model.update(user),
        model.update(user),
        model.delete(user),
        model.register.enter(user, false, true),
    );
    // marked for deletion after it was changed
    model.register.enter_again(doomed, true, false, false);
    // a later registration as saved does not take a delete back
    model.register.enter_again(doomed, false, false, false);
    // unless a new parent took the child
    model.register.enter_again(saved, false, false, true);
    // only listed: finished with the others, nothing sent
    model.register.enter_again(listed, false, true, false);
    model.register.enter_again(changed, false, false, false);
    check("collect", &model);
}

#[test]
fn presort_goes_on_until_nothing_new_appears() {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let children = model.relationship(node, "children", node, OneToMany, false);
    let root = model.delete(node);
    let mut presort = Presort::default();
    let mut rounds = Vec::new();
    loop {
        let (deletes, saves) = presort.take(&model.register, |_| true);
        if deletes.is_empty() && saves.is_empty() {
            break;
        }
        // every doomed node, down to the third level, dooms two children
        for &doomed in &deletes {
            for _ in 0..if model.register.len() < 7 { 2 } else { 0 } {
                let child = model.delete(node);
                model.link(children, doomed, child);
            }
        }
        rounds.push(deletes);
    }
    assert_eq!(rounds.len(), 3);
    assert_eq!(rounds[0], [root]);
    check("presort", &model);
}

#[test]
fn rows_of_one_table_are_updated_then_inserted() {
    let mut model = Model::default();
    let user = model.mapper("User");
    model.insert(user);
    model.update(user);
    model.insert(user);
    model.delete(user);
    model.update(user);
    check("one_table", &model);
}

#[test]
fn tables_of_a_hierarchy_go_in_order_and_are_left_in_reverse() {
    let mut model = Model::default();
    let person = model.mapper("Person");
    let engineer = model.subclass("Engineer", person, Some("engineer"));
    let chief = model.subclass("Chief", engineer, Some("chief"));
    let clerk = model.subclass("Clerk", person, None);
    model.insert(chief);
    model.insert(clerk);
    model.insert(engineer);
    model.update(engineer);
    model.delete(chief);
    model.delete(clerk);
    check("hierarchy", &model);
}

#[test]
fn rows_keep_the_order_of_registration_in_every_level() {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let children = model.relationship(node, "children", node, OneToMany, false);
    let (last_leaf, root, leaf) = (model.insert(node), model.insert(node), model.insert(node));
    model.link(children, root, leaf);
    model.link(children, root, last_leaf);
    model.insert(node);
    check("row_order", &model);
}

#[test]
fn a_new_row_takes_over_a_deleted_one() {
    let mut model = Model::default();
    let (user, address) = (model.mapper("User"), model.mapper("Address"));
    let addresses = model.relationship(user, "addresses", address, OneToMany, false);
    let (new, old) = model.switch_row(user);
    // what executes the plan takes the old state's own statements out
    model.register.remove_actions(old);
    let child = model.insert(address);
    model.link(addresses, new, child);
    check("row_switch", &model);
}

#[test]
fn saves_of_a_class_go_before_its_deletes_whatever_its_name() {
    let mut model = Model::default();
    let (ant, zebra) = (model.mapper("Ant"), model.mapper("Zebra"));
    model.delete(ant);
    model.delete(zebra);
    model.insert(zebra);
    model.insert(ant);
    check("saves_first", &model);
}

#[test]
fn neighbours_of_one_shape_travel_together() {
    let shape = |columns: &[u32], has_sql: bool, has_key: bool| {
        let mut set = ColumnSet::default();
        for &column in columns {
            set.insert(ColumnIx(column));
        }
        let has_defaults = true;
        Shape {
            columns: set,
            has_sql,
            has_key,
            has_defaults,
        }
    };
    let rows = [
        shape(&[0, 1], false, true),
        shape(&[0, 1], false, true),
        shape(&[1], false, false),
        shape(&[1], false, false),
        shape(&[1], true, false),
        shape(&[1], true, false),
        shape(&[0, 1], false, true),
    ];
    let mut text = String::new();
    for run in runs(&rows) {
        let columns: Vec<_> = rows[run.start].columns.iter().map(|ix| ix.0).collect();
        let _ = writeln!(text, "rows {run:?}: columns {columns:?}");
    }
    check_text("batches", &text);
}

#[test]
fn names_are_escaped_in_a_drawing() {
    let mut model = Model::default();
    let odd = model.mapper("Odd\"<Name>#1");
    model.insert(odd);
    check("odd_name", &model);
}

#[test]
fn an_empty_plan_says_so() {
    check("empty", &Model::default());
}

#[test]
fn a_relationship_that_sends_nothing_is_seen_through() {
    let mut model = Model::default();
    let (user, address) = (model.mapper("User"), model.mapper("Address"));
    let ding = model.mapper("Ding");
    let other = model.mapper("Other");
    let addresses: DependencyId = model.relationship(user, "addresses", address, OneToMany, false);
    model.relationship(address, "dings", ding, OneToMany, false);
    model.relationship(other, "dings", ding, OneToMany, false);
    let parent: StateId = model.insert(user);
    let child = model.register.enter(address, false, true);
    model.link(addresses, parent, child);
    model.insert(ding);
    model.insert(other);
    check("seen_through", &model);
}
