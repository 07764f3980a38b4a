//! Measures kernels, scans and graphs on vectors that are distributed like embeddings:
//! `cargo run --release -p engram-segments --example segment_bench -- 20000 [PARTITIONS]`.
//!
//! Prints, for widths of the graph search, recall@10 against the exact scan and the time a query
//! takes on one core. With several partitions the vectors are spread over so many sets, all of which
//! every query asks, as on a node.

#[path = "../tests/clustered/mod.rs"]
mod clustered;

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use clustered::Clustered;
use engram_core::index::Embedding;
use engram_core::index::vectors::{
    BestKeys, EntryNumber, FlatSegment, RowNumber, ScanQuery, SegmentBuilder, SegmentLimits,
    VectorSet,
};
use engram_core::types::Millis;
use engram_kernels::{dot, dot_codes};
use engram_segments::HoraBuilder;

const DIM: usize = 384;
const QUERIES: usize = 500;
const TOP: usize = 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        arguments
            .next()
            .and_then(|a| a.parse().ok())
            .unwrap_or(default)
    };
    let (count, partitions) = (number(20_000), number(1).max(1));
    let mut source = Clustered::new(42, DIM, (count / 1_000).max(20));
    let vectors: Vec<Embedding> = (0..count).map(|_| source.draw()).collect();
    let queries: Vec<Embedding> = (0..QUERIES).map(|_| source.draw()).collect();
    println!("{count} x {DIM}, {QUERIES} queries, {partitions} partitions");
    kernels(&vectors);
    let exact = scan(&vectors, &queries);
    graph(&vectors, &queries, &exact);
    set(&vectors, &queries, &exact, partitions);
}

/// Microseconds that each of so many calls takes.
fn each(times: usize, mut call: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    (0..times).for_each(&mut call);
    start.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(times).unwrap_or(u32::MAX))
}

fn kernels(vectors: &[Embedding]) {
    let rows = rows(vectors.iter().take(64));
    let of_slot = |call: usize| call % 64;
    let floats = each(1_000_000, |call| {
        black_box(dot(
            rows.vector(0).unwrap_or_default(),
            rows.vector(of_slot(call)).unwrap_or_default(),
        ));
    });
    let codes = each(1_000_000, |call| {
        black_box(dot_codes(
            rows.code(0).unwrap_or_default(),
            rows.code(of_slot(call)).unwrap_or_default(),
        ));
    });
    println!(
        "inner product: {:.1} ns of floats, {:.1} ns of codes",
        floats * 1e3,
        codes * 1e3
    );
}

fn rows<'a>(vectors: impl Iterator<Item = &'a Embedding>) -> Arc<FlatSegment> {
    let mut rows = FlatSegment::new(DIM);
    for (number, vector) in (0_u32..).zip(vectors) {
        rows.push(RowNumber(number.into()), EntryNumber(number), vector)
            .expect("fits");
    }
    Arc::new(rows)
}

/// The exact answers.
fn scan(vectors: &[Embedding], queries: &[Embedding]) -> Vec<BTreeSet<u32>> {
    let rows = rows(vectors.iter());
    let mut exact = Vec::new();
    let time = each(queries.len(), |query| {
        let mut best = BestKeys::new(TOP, None);
        let scan = ScanQuery::new(&queries[query]);
        rows.scan(&scan, &mut best, &mut |_, entry| Some(entry.0));
        exact.push(best.into_sorted().into_iter().map(|(_, key)| key).collect());
    });
    println!(
        "exact scan: {time:.0} us, {} bytes a vector",
        rows.memory_bytes() / rows.len()
    );
    exact
}

fn graph(vectors: &[Embedding], queries: &[Embedding], exact: &[BTreeSet<u32>]) {
    let rows = rows(vectors.iter());
    let start = Instant::now();
    let graph = HoraBuilder.build(&rows).expect("builds");
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "graph: {seconds:.1} s to build, {} bytes a vector",
        graph.0.memory_bytes() / rows.len()
    );
    for width in [24, 32, 48, 64, 96, 128] {
        let mut hits = 0;
        let time = each(queries.len(), |query| {
            let nearest = graph.0.nearest(&queries[query], width).expect("fits");
            let scan = ScanQuery::new(&queries[query]);
            let mut best = BestKeys::new(TOP, None);
            for slot in nearest.slots {
                let (Some(vector), Ok(key)) = (rows.vector(slot), u32::try_from(slot)) else {
                    continue;
                };
                best.offer(scan.score(vector), key);
            }
            let found = best.into_sorted();
            hits += found
                .iter()
                .filter(|(_, key)| exact[query].contains(key))
                .count();
        });
        println!(
            "graph, width {width:3}: {time:.0} us, recall@10 {:.4}",
            recall(hits)
        );
    }
}

/// Sets as partitions have them, with the default limits, after they have settled.
fn set(vectors: &[Embedding], queries: &[Embedding], exact: &[BTreeSet<u32>], partitions: usize) {
    let limits = SegmentLimits::default();
    let mut sets: Vec<VectorSet> = (0..partitions)
        .map(|_| VectorSet::new(DIM, limits))
        .collect();
    let start = Instant::now();
    let settled = Millis(limits.settle_ms);
    for (number, vector) in (0_u32..).zip(vectors) {
        let set = &mut sets[usize::try_from(number).unwrap_or(0) % partitions];
        set.insert(Millis(0), EntryNumber(number), std::slice::from_ref(vector))
            .expect("fits");
        set.tend(Millis(0), &mut |_, _| true);
    }
    for set in &mut sets {
        set.tend(settled, &mut |_, _| true);
        while let Some(order) = set.next_order(settled, &mut |_, _| true) {
            set.merged(settled, order.carry_out(&HoraBuilder));
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let mut hits = 0;
    let time = each(queries.len(), |query| {
        let mut best = BestKeys::new(TOP, None);
        for set in &sets {
            let found = set.search(&queries[query], TOP, None, &mut |_, entry| Some(entry.0));
            for (score, key) in found.expect("a valid query") {
                best.offer(score, key);
            }
        }
        let found = best.into_sorted();
        hits += found
            .iter()
            .filter(|(_, key)| exact[query].contains(key))
            .count();
    });
    let bytes: usize = sets.iter().map(|set| set.stats().memory_bytes).sum();
    println!(
        "sets: {seconds:.1} s to fill, {} bytes a vector, {time:.0} us a query, recall@10 {:.4}",
        bytes / vectors.len(),
        recall(hits)
    );
}

fn recall(hits: usize) -> f64 {
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    count(hits) / count(TOP * QUERIES)
}
