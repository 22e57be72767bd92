//! How long planning alone takes, registration and reading of relationships left out, and that it grows with the rows.
//!
//! `families` and `deletes` have no cycle of classes; `tree`, `chain` and `mutual` have one, so that every row is a node.
//! Beside criterion's own report one table says how the time of a row changes from a thousand rows to a million.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::hint::black_box;
use std::time::Instant;

use common::{Links, Model};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustalchemy_core::ids::StateId;
use rustalchemy_core::schema::Direction::{ManyToOne, OneToMany};

const SIZES: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Rows of two classes, six to a family.
fn families(rows: usize) -> Model {
    let mut model = Model::default();
    let (user, address) = (model.mapper("User"), model.mapper("Address"));
    let addresses = model.relationship(user, "addresses", address, OneToMany, false);
    for _ in 0..rows / 6 {
        let parent = model.insert(user);
        for _ in 0..5 {
            let child = model.insert(address);
            model.link(addresses, parent, child);
        }
    }
    model
}

/// As `families`, every row deleted.
fn deletes(rows: usize) -> Model {
    let mut model = Model::default();
    let (user, address) = (model.mapper("User"), model.mapper("Address"));
    let addresses = model.relationship(user, "addresses", address, OneToMany, false);
    for _ in 0..rows / 6 {
        let parent = model.delete(user);
        for _ in 0..5 {
            let child = model.delete(address);
            model.link(addresses, parent, child);
        }
    }
    model
}

/// One class that refers to itself from both sides, every node with `width` children.
fn nodes(rows: usize, width: usize) -> Model {
    let mut model = Model::default();
    let node = model.mapper("Node");
    let children = model.relationship(node, "children", node, OneToMany, false);
    let parent = model.relationship(node, "parent", node, ManyToOne, false);
    model.insert(node);
    for number in 1..rows {
        let state = model.insert(node);
        let above = StateId::from_index((number - 1) / width);
        model.link(children, above, state);
        model.link(parent, state, above);
    }
    model
}

fn tree(rows: usize) -> Model {
    nodes(rows, 5)
}

/// The deepest tree: as many levels as rows.
fn chain(rows: usize) -> Model {
    nodes(rows, 1)
}

/// Two classes that refer to each other, in small knots.
fn mutual(rows: usize) -> Model {
    let mut model = Model::default();
    let (left, right) = (model.mapper("Left"), model.mapper("Right"));
    let rights = model.relationship(left, "rights", right, OneToMany, false);
    let lefts = model.relationship(right, "lefts", left, OneToMany, false);
    for _ in 0..rows / 3 {
        let first = model.insert(left);
        let second = model.insert(right);
        let third = model.insert(left);
        model.link(rights, first, second);
        model.link(lefts, second, third);
    }
    model
}

type Make = fn(usize) -> Model;
const SHAPES: [(&str, Make); 5] = [
    ("families", families),
    ("deletes", deletes),
    ("tree", tree),
    ("chain", chain),
    ("mutual", mutual),
];

fn plans(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("plan");
    group.sample_size(10);
    for (name, make) in SHAPES {
        for rows in SIZES {
            let model = make(rows);
            let mut links = Links::new(&model);
            group.throughput(Throughput::Elements(rows as u64));
            group.bench_function(BenchmarkId::new(name, rows), |bencher| {
                bencher.iter(|| model.plan_by(&mut links).unwrap());
            });
        }
    }
    group.finish();
}

/// Prints nanoseconds a row, and how often the time of a thousand rows a million rows take.
fn growth(_: &mut Criterion) {
    println!(
        "\n{:<10}{:>12}{:>12}{:>12}{:>12}{:>20}",
        "ns a row", "1e3", "1e4", "1e5", "1e6", "1e6 / 1e3 (1000)"
    );
    for (name, make) in SHAPES {
        let mut times = Vec::new();
        for rows in SIZES {
            let model = make(rows);
            let mut links = Links::new(&model);
            let rounds = (2_000_000 / rows).clamp(10, 1_000); // the machine has other things to do, too
            let once = || {
                let start = Instant::now();
                black_box(model.plan_by(&mut links).unwrap());
                start.elapsed().as_secs_f64()
            };
            let best = std::iter::repeat_with(once)
                .take(rounds)
                .fold(f64::MAX, f64::min);
            #[allow(clippy::cast_precision_loss)] // sizes are small
            times.push(best * 1e9 / model.register.len() as f64);
        }
        print!("{name:<10}");
        for time in &times {
            print!("{time:>12.1}");
        }
        println!("{:>20.0}", 1_000.0 * times[times.len() - 1] / times[0]);
    }
}

criterion_group!(benches, growth, plans);
criterion_main!(benches);
