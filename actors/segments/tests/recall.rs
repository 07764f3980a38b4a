//! Whether searches through graphs find what comparing all vectors finds, while vectors come, change
//! and go, and segments are merged.
//!
//! With so many vectors as nodes have, and with their sizes of segments:
//! `ENGRAM_RECALL_VECTORS=100000 cargo test --release -p engram-segments --test recall -- --nocapture`.

mod clustered;

use std::collections::BTreeMap;
use std::ops::Range;

use clustered::Clustered;
use engram_core::index::Embedding;
use engram_core::index::vectors::{
    EntryNumber, RowNumber, ScanQuery, SegmentLimits, SegmentOrder, VectorSet,
};
use engram_core::types::Millis;
use engram_segments::HoraBuilder;

const DIM: usize = 384;
/// The usual sizes, in proportion to fewer vectors.
const LIMITS: SegmentLimits = SegmentLimits {
    seal_rows: 512,
    flat_rows: 2_048,
    settled_rows: 512,
    graph_rows_max: 20_000,
    settle_ms: 1_000,
};
const TOP: usize = 10;
/// Vectors, unless the environment says otherwise.
const COUNT: u32 = 6_000;
/// Where the copies begin.
const COPIES: u32 = 10_000_000;

/// Vectors by number, in a set and as they are.
struct Store {
    set: VectorSet,
    entries: BTreeMap<u32, (Range<RowNumber>, Embedding)>,
    /// A merge that will be done some writes later.
    order: Option<SegmentOrder>,
    writes: u64,
}

impl Store {
    fn new(limits: SegmentLimits) -> Store {
        Store {
            set: VectorSet::new(DIM, limits),
            entries: BTreeMap::new(),
            order: None,
            writes: 0,
        }
    }

    fn put(&mut self, entry: u32, vector: Embedding) {
        self.remove(entry);
        let rows = self
            .set
            .insert(Millis(0), EntryNumber(entry), std::slice::from_ref(&vector))
            .expect("fits");
        self.entries.insert(entry, (rows, vector));
        self.writes += 1;
        if self.writes.is_multiple_of(700) {
            self.merge();
        }
        self.tend(Millis(0));
    }

    fn remove(&mut self, entry: u32) {
        if let Some((rows, _)) = self.entries.remove(&entry) {
            self.set.remove(Millis(0), &rows);
        }
    }

    fn tend(&mut self, now: Millis) {
        let entries = &self.entries;
        let mut is_alive = |row, entry: EntryNumber| {
            let known = entries.get(&entry.0);
            known.is_some_and(|(rows, _)| rows.contains(&row))
        };
        self.set.tend(now, &mut is_alive);
        if self.order.is_none() {
            self.order = self.set.next_order(now, &mut is_alive);
        }
    }

    fn merge(&mut self) {
        if let Some(order) = self.order.take() {
            self.set.merged(Millis(0), order.carry_out(&HoraBuilder));
        }
    }

    fn settle(&mut self) {
        self.tend(Millis(1_000_000));
        while self.order.is_some() {
            self.merge();
            self.tend(Millis(1_000_000));
        }
    }

    fn search(&self, query: &Embedding, k: usize, wanted: fn(u32) -> bool) -> Vec<(f32, u32)> {
        let found = self.set.search(query, k, None, &mut |row, entry| {
            let (rows, _) = self.entries.get(&entry.0)?;
            (rows.contains(&row) && wanted(entry.0)).then_some(entry.0)
        });
        found.expect("a valid query")
    }

    fn exact(&self, query: &Embedding, k: usize, wanted: fn(u32) -> bool) -> Vec<(f32, u32)> {
        let query = ScanQuery::new(query);
        let entries = self.entries.iter().filter(|(entry, _)| wanted(**entry));
        let mut all: Vec<(f32, u32)> = entries
            .map(|(entry, (_, vector))| (query.score(vector.as_slice()), *entry))
            .collect();
        all.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        all.truncate(k);
        all
    }

    /// Of the best ten of all queries, how many are found, in thousandths.
    fn recall(&self, queries: &[Embedding], wanted: fn(u32) -> bool) -> usize {
        self.recall_at(TOP, queries, wanted)
    }

    /// The same of the best `k`.
    fn recall_at(&self, k: usize, queries: &[Embedding], wanted: fn(u32) -> bool) -> usize {
        let mut hits = 0;
        for query in queries {
            let found = self.search(query, k, wanted);
            let exact = self.exact(query, k, wanted);
            assert_eq!(found.len(), exact.len(), "never fewer than there are");
            hits += exact.iter().filter(|best| found.contains(best)).count();
        }
        1_000 * hits / (k * queries.len())
    }
}

#[test]
fn what_comparing_all_finds_is_found_while_half_of_it_is_replaced() {
    let many = std::env::var("ENGRAM_RECALL_VECTORS").ok();
    let many: Option<u32> = many.map(|text| text.parse().expect("a number"));
    let (count, limits) = match many {
        Some(count) => (count, SegmentLimits::default()),
        None => (COUNT, LIMITS),
    };
    let clusters = usize::try_from(count / 1_000).expect("not so many").max(20);
    let mut source = Clustered::new(11, DIM, clusters);
    let queries: Vec<Embedding> = (0..60).map(|_| source.draw()).collect();
    let mut store = Store::new(limits);
    // Copies of one vector come first: they must not fill the graph's lists of neighbours.
    let copy = source.draw();
    for entry in COPIES..COPIES + 500 {
        store.put(entry, copy.clone());
    }
    for entry in 0..count {
        store.put(entry, source.draw());
    }
    store.settle();
    let everything = |_| true;
    let before = store.recall(&queries, everything);
    println!("{count} vectors, {:?}: {before} of 1000", store.set.stats());
    assert!(
        before >= 980,
        "{before} of 1000 before anything is replaced"
    );
    for round in 0..4_u32 {
        for entry in (0..count).filter(|entry| entry % 8 == round) {
            store.put(entry, source.draw());
        }
        for entry in (0..count).filter(|entry| entry % 32 == 4 + round) {
            store.remove(entry);
        }
        let during = store.recall(&queries, everything);
        println!("round {round}, {:?}: {during} of 1000", store.set.stats());
        assert!(during >= 980, "{during} of 1000 in round {round}");
    }
    store.settle();
    let after = store.recall(&queries, everything);
    assert!(
        after >= 980,
        "{after} of 1000 after half of it was replaced"
    );
    let stats = store.set.stats();
    println!("after, {stats:?}: {after} of 1000");
    assert!(stats.graphs > 0, "{stats:?}");
    let hundred = store.recall_at(100, &queries, everything);
    println!("the best hundred: {hundred} of 1000");
    assert!(hundred >= 980, "{hundred} of 1000 of the best hundred");
    let few = |entry| entry % 100 == 7;
    let filtered = store.recall(&queries, few);
    assert!(filtered >= 980, "{filtered} of 1000 among one in a hundred");
    let copies = store.search(&copy, TOP, everything);
    let names: Vec<u32> = copies.iter().map(|(_, entry)| *entry).collect();
    assert_eq!(names, (COPIES..COPIES + 10).collect::<Vec<u32>>());
}
