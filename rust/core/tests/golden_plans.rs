//! Plans as text, compared with the files in `tests/plans`. `UPDATE_PLANS=1 cargo test` writes them anew.
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::Model;
use rustalchemy_core::schema::Direction::{ManyToMany, ManyToOne, OneToMany};

fn check(name: &str, model: &Model) {
    let path = format!("{}/tests/plans/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = model.text();
    if std::env::var_os("UPDATE_PLANS").is_some() {
        std::fs::write(&path, &text).unwrap();
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
fn post_update_breaks_a_cycle() {
    let mut model = Model::default();
    let (person, ball) = (model.mapper("Person"), model.mapper("Ball"));
    model.relationship(person, "balls", ball, OneToMany, false);
    model.relationship(person, "favorite", ball, ManyToOne, true);
    model.insert(person);
    model.insert(ball);
    check("post_update", &model);
}

#[test]
fn two_mappers_of_each_other_are_split() {
    let mut model = Model::default();
    let (left, right) = (model.mapper("Left"), model.mapper("Right"));
    let rights = model.relationship(left, "rights", right, OneToMany, false);
    let lefts = model.relationship(right, "lefts", left, OneToMany, false);
    let outer = model.mapper("Outer");
    model.relationship(outer, "lefts", left, OneToMany, false);
    model.insert(outer);
    let first = model.insert(left);
    let second = model.insert(right);
    let third = model.insert(left);
    model.link(rights, first, second);
    model.link(lefts, second, third);
    check("mutual", &model);
}

#[test]
fn secondary_rows_follow_both_sides() {
    let mut model = Model::default();
    let (post, tag) = (model.mapper("Post"), model.mapper("Tag"));
    model.relationship(post, "tags", tag, ManyToMany, false);
    model.insert(post);
    model.insert(tag);
    model.delete(tag);
    check("many_to_many", &model);
}
