//! Cost of the identity table: one lookup and one insertion, by table size.
#![allow(missing_docs)]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustalchemy_core::identity::{IdentityTable, KeyHash, Verdict};
use std::hint::black_box;

fn filled(size: KeyHash) -> IdentityTable<KeyHash> {
    let mut table = IdentityTable::new();
    for key in 0..size {
        table.insert_absent(key, key, key);
    }
    table
}

fn bench_table(c: &mut Criterion) {
    let mut group = c.benchmark_group("identity");
    for size in [1_000_u32, 100_000] {
        group.throughput(Throughput::Elements(size.into()));
        let table = filled(size);
        group.bench_with_input(BenchmarkId::new("lookup", size), &size, |b, &size| {
            b.iter(|| {
                for key in 0..size {
                    black_box(table.probe(black_box(key), |handle| {
                        if handle == key {
                            Verdict::Equal
                        } else {
                            Verdict::Different
                        }
                    }));
                }
            });
        });
        group.bench_with_input(BenchmarkId::new("insert", size), &size, |b, &size| {
            b.iter(|| black_box(filled(size)));
        });
    }
    group.finish();
}

criterion_group!(benches, bench_table);
criterion_main!(benches);
