//! A set against a map and a full sort, with merges on their way.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::ExactBuilder;
use super::*;
use crate::index::rank;

const LIMITS: SegmentLimits = SegmentLimits {
    seal_rows: 8,
    flat_rows: 20,
    settled_rows: 10,
    graph_rows_max: 60,
    settle_ms: 100,
};

/// Entries and their vectors, as a space keeps them.
struct Model {
    set: VectorSet,
    entries: BTreeMap<u32, (Range<RowNumber>, Vec<Embedding>)>,
    order: Option<SegmentOrder>,
    now: Millis,
}

fn alive(
    entries: &BTreeMap<u32, (Range<RowNumber>, Vec<Embedding>)>,
) -> impl FnMut(RowNumber, EntryNumber) -> bool {
    |row, entry| {
        let known = entries.get(&entry.0);
        known.is_some_and(|(rows, _)| rows.contains(&row))
    }
}

impl Model {
    fn new() -> Model {
        Model {
            set: VectorSet::new(3, LIMITS),
            entries: BTreeMap::new(),
            order: None,
            now: Millis(1_000),
        }
    }

    fn write(&mut self, entry: u32, vectors: Vec<Embedding>) {
        self.delete(entry);
        let rows = self.set.insert(self.now, EntryNumber(entry), &vectors);
        self.entries.insert(entry, (rows.expect("fits"), vectors));
        self.tend();
    }

    fn delete(&mut self, entry: u32) {
        if let Some((rows, _)) = self.entries.remove(&entry) {
            self.set.remove(self.now, &rows);
        }
        self.tend();
    }

    fn tend(&mut self) {
        self.set.tend(self.now, &mut alive(&self.entries));
        if let Some(order) = self.set.next_order(self.now, &mut alive(&self.entries)) {
            assert_eq!(self.order, None, "one merge at a time");
            self.order = Some(order);
        }
    }

    fn merge(&mut self, fails: bool) {
        if let Some(order) = self.order.take() {
            let result = if fails {
                Err(BuildError::Panicked)
            } else {
                order.carry_out(&ExactBuilder)
            };
            self.set.merged(self.now, result);
            self.tend();
        }
    }

    fn settle(&mut self) {
        for _ in 0..10 {
            self.now = self.now.plus(SEGMENT_BUILD_RETRY_MS);
            self.tend();
            self.merge(false);
        }
    }

    fn search(&self, query: &Embedding, k: usize, threshold: Option<f32>) -> Vec<(f32, u32)> {
        let entries = &self.entries;
        let found = self.set.search(query, k, threshold, &mut |row, entry| {
            let (rows, _) = entries.get(&entry.0)?;
            (rows.contains(&row) && entry.0 % 3 > 0).then_some(entry.0)
        });
        found.expect("a valid query")
    }

    fn expected(&self, query: &Embedding, k: usize, threshold: Option<f32>) -> Vec<(f32, u32)> {
        let wanted = self.entries.iter().filter(|(entry, _)| *entry % 3 > 0);
        let mut all: Vec<(f32, u32)> = wanted
            .map(|(entry, (_, vectors))| {
                let scores = vectors.iter().filter_map(|vector| query.cosine(vector));
                (scores.fold(f32::NEG_INFINITY, f32::max), *entry)
            })
            .filter(|(score, _)| threshold.is_none_or(|least| *score >= least))
            .collect();
        all.sort_by(|left, right| rank((left.0, &left.1), (right.0, &right.1)));
        all.truncate(k);
        all
    }
}

fn embedding(values: [i8; 3]) -> Option<Embedding> {
    Embedding::new(values.map(f32::from).to_vec()).ok()
}

#[derive(Clone, Debug)]
enum Action {
    Write(u32, Vec<[i8; 3]>),
    Delete(u32),
    Merge(bool),
    Pass(u64),
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        12 => (0_u32..70, proptest::collection::vec(any::<[i8; 3]>(), 1..3))
            .prop_map(|(entry, vectors)| Action::Write(entry, vectors)),
        4 => (0_u32..70).prop_map(Action::Delete),
        3 => proptest::bool::weighted(0.2).prop_map(Action::Merge),
        1 => (0_u64..70_000).prop_map(Action::Pass),
    ]
}

proptest! {
    #[test]
    fn whatever_is_merged_it_agrees_with_a_map_and_a_full_sort(
        actions in proptest::collection::vec(action(), 0..250),
        query in any::<[i8; 3]>(),
        k in 0_usize..80,
        threshold in proptest::option::of(-1.0_f32..1.0),
    ) {
        let Some(query) = embedding(query) else { return Ok(()) };
        let mut model = Model::new();
        for (number, action) in actions.into_iter().enumerate() {
            match action {
                Action::Write(entry, vectors) => {
                    let vectors: Vec<_> = vectors.into_iter().filter_map(embedding).collect();
                    if !vectors.is_empty() {
                        model.write(entry, vectors);
                    }
                }
                Action::Delete(entry) => model.delete(entry),
                Action::Merge(fails) => model.merge(fails),
                Action::Pass(milliseconds) => {
                    model.now = model.now.plus(milliseconds);
                    model.tend();
                }
            }
            if number % 16 == 0 {
                prop_assert_eq!(
                    model.search(&query, k, threshold),
                    model.expected(&query, k, threshold)
                );
            }
        }
        model.settle();
        prop_assert_eq!(model.search(&query, k, threshold), model.expected(&query, k, threshold));
        for (rows, vectors) in model.entries.values() {
            let found: Vec<&[f32]> = model.set.vectors(rows).collect();
            let expected: Vec<&[f32]> = vectors.iter().map(Embedding::as_slice).collect();
            prop_assert_eq!(found, expected);
        }
        let stats = model.set.stats();
        let vectors: usize = model.entries.values().map(|(_, vectors)| vectors.len()).sum();
        prop_assert_eq!(stats.vectors, vectors);
        prop_assert!(stats.dead_vectors <= vectors + LIMITS.seal_rows, "{:?}", stats);
        if vectors > 2 * LIMITS.settled_rows {
            prop_assert!(stats.graphs > 0, "{:?}", stats);
        }
    }
}

#[test]
fn a_set_that_is_written_over_and_over_stays_small() {
    let mut model = Model::new();
    let vector = embedding([1, 2, 3]).expect("not zero");
    for _ in 0..2_000 {
        model.write(1, vec![vector.clone()]);
    }
    let stats = model.set.stats();
    assert_eq!((stats.vectors, stats.segments), (1, 1));
    assert!(stats.dead_vectors <= LIMITS.seal_rows, "{stats:?}");
}

#[test]
fn a_merge_that_failed_is_tried_again_after_a_pause() {
    let mut model = Model::new();
    let vector = embedding([1, 2, 3]).expect("not zero");
    for entry in 0..24 {
        model.write(entry, vec![vector.clone()]);
    }
    assert!(model.order.is_some());
    model.merge(true);
    assert_eq!(model.order, None);
    let next = model.set.next_tending(model.now).expect("a pause");
    assert_eq!(next, model.now.plus(SEGMENT_BUILD_RETRY_MS));
    model.now = next;
    model.tend();
    assert!(model.order.is_some());
    model.merge(false);
    assert_eq!(model.set.stats().graphs, 1);
}

#[test]
fn what_is_not_a_query_is_refused() {
    let set = VectorSet::new(3, LIMITS);
    let short = Embedding::new(vec![1.0]).expect("finite");
    let mut none = |_, _| None::<u32>;
    assert_eq!(
        set.search(&short, 1, None, &mut none),
        Err(SegmentError::Dimension {
            expected: 3,
            found: 1
        })
    );
    let query = embedding([1, 0, 0]).expect("not zero");
    assert_eq!(
        set.search(&query, 1, Some(f32::NAN), &mut none),
        Err(SegmentError::Threshold)
    );
}
