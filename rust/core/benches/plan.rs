//! How long planning takes: a self-referential tree, and parents with children.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use common::Model;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustalchemy_core::ids::StateId;
use rustalchemy_core::schema::Direction::OneToMany;

fn tree(nodes: usize) -> Model {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let children = model.relationship(node, "children", node, OneToMany, false);
    model.insert(node);
    for number in 1..nodes {
        let state = model.insert(node);
        model.link(children, StateId::from_index((number - 1) / 5), state);
    }
    model
}

fn families(parents: usize) -> Model {
    let mut model = Model::default();
    let (user, address) = (model.mapper("User"), model.mapper("Address"));
    let addresses = model.relationship(user, "addresses", address, OneToMany, false);
    for _ in 0..parents {
        let parent = model.insert(user);
        for _ in 0..5 {
            let child = model.insert(address);
            model.link(addresses, parent, child);
        }
    }
    model
}

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    for nodes in [1_000_usize, 10_000, 100_000] {
        group.throughput(Throughput::Elements(nodes as u64));
        let model = tree(nodes);
        group.bench_with_input(BenchmarkId::new("tree", nodes), &model, |bencher, model| {
            bencher.iter(|| model.plan().unwrap());
        });
        let model = families(nodes / 6);
        group.bench_with_input(
            BenchmarkId::new("families", nodes),
            &model,
            |bencher, model| {
                bencher.iter(|| model.plan().unwrap());
            },
        );
    }
    group.finish();
}

criterion_group!(benches, plans);
criterion_main!(benches);
