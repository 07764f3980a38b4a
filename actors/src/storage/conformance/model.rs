//! An engine against a plain map: whatever is done, both must hold the same.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use engram_core::storage::{Keyspace, RangeQuery, WriteBatch};
use engram_core::types::Lsn;
use proptest::collection::vec;
use proptest::prelude::*;

use super::Disk;
use crate::storage::Engine;

/// A put of a value, or a removal if there is none.
pub type Op = (Keyspace, Vec<u8>, Option<Vec<u8>>);

/// What an engine should hold.
type Model = BTreeMap<(Keyspace, Vec<u8>), Vec<u8>>;

/// One thing to do to an engine. Keyspaces and keys are few, so that steps meet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Commits batches.
    Commit(Vec<Vec<Op>>),
    /// Compares a point read.
    Get(Keyspace, Vec<u8>),
    /// Compares a page: (keyspace, from, to, most entries).
    Range(Keyspace, Vec<u8>, Vec<u8>, usize),
    /// Closes the engine and opens it again.
    Reopen,
}

/// Draws steps.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec(step(), 1..40)
}

fn step() -> impl Strategy<Value = Step> {
    let op = (
        keyspace(),
        key(),
        proptest::option::weighted(0.7, vec(any::<u8>(), 0..40)),
    );
    prop_oneof![
        8 => vec(vec(op, 0..6), 0..4).prop_map(Step::Commit),
        4 => (keyspace(), key()).prop_map(|(keyspace, key)| Step::Get(keyspace, key)),
        4 => (keyspace(), key(), key(), 0..6_usize)
            .prop_map(|(keyspace, from, to, entries)| Step::Range(keyspace, from, to, entries)),
        1 => Just(Step::Reopen),
    ]
}

fn keyspace() -> impl Strategy<Value = Keyspace> {
    proptest::sample::select(vec![Keyspace::Meta, Keyspace::Records, Keyspace::Changes])
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    // Bytes at both ends of the alphabet; the first byte is never the reserved one.
    let rest = proptest::sample::select(vec![0_u8, 1, 127, 255]);
    (1..4_u8, vec(rest, 0..3)).prop_map(|(first, mut rest)| {
        rest.insert(0, first);
        rest
    })
}

/// Takes the steps, and after them compares everything.
///
/// # Panics
/// If the engine holds anything else than a map would.
pub fn follow<D: Disk>(steps: &[Step]) {
    let disk = D::blank();
    let mut engine = disk.open();
    let mut model = Model::new();
    let mut lsn = Lsn(0);
    for step in steps {
        match step {
            Step::Commit(batches) => {
                let mut writes = Vec::new();
                for batch in batches {
                    writes.push(apply(&mut model, batch));
                }
                lsn = Lsn(lsn.0 + 1);
                engine.commit(&writes, lsn).expect("the engine can commit");
            }
            Step::Get(keyspace, key) => {
                let found = engine.get(*keyspace, key).expect("the engine can read");
                let expected = model.get(&(*keyspace, key.clone()));
                assert_eq!(found.as_deref(), expected.map(Vec::as_slice), "{step:?}");
            }
            Step::Range(keyspace, from, to, entries) => {
                compare_range(&engine, &model, *keyspace, from, to, *entries);
            }
            Step::Reopen => {
                drop(engine);
                engine = disk.open();
            }
        }
        assert_eq!(engine.last_lsn().expect("the engine can read"), lsn);
    }
    drop(engine);
    let engine = disk.open();
    for keyspace in Keyspace::ALL {
        compare_range(&engine, &model, keyspace, &[1], &[4], usize::MAX);
    }
}

fn apply(model: &mut Model, ops: &[Op]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (keyspace, key, value) in ops {
        match value {
            Some(value) => {
                model.insert((*keyspace, key.clone()), value.clone());
                batch.put(*keyspace, key.clone(), value.clone());
            }
            None => {
                model.remove(&(*keyspace, key.clone()));
                batch.remove(*keyspace, key.clone());
            }
        }
    }
    batch
}

fn compare_range(
    engine: &impl Engine,
    model: &Model,
    keyspace: Keyspace,
    from: &[u8],
    to: &[u8],
    limit_entries: usize,
) {
    let page = engine
        .range(&RangeQuery {
            keyspace,
            from: Bytes::copy_from_slice(from),
            to: Bytes::copy_from_slice(to),
            limit_entries,
            limit_bytes: usize::MAX,
        })
        .expect("the engine can read");
    let mut expected: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    if from < to {
        let bounds = (
            Bound::Included((keyspace, from.to_vec())),
            Bound::Excluded((keyspace, to.to_vec())),
        );
        expected.extend(
            model
                .range(bounds)
                .map(|((_, key), value)| (key.clone(), value.clone())),
        );
    }
    assert_eq!(
        page.more,
        expected.len() > limit_entries,
        "{keyspace:?} {from:?}..{to:?}"
    );
    expected.truncate(limit_entries);
    let found: Vec<(Vec<u8>, Vec<u8>)> = page
        .entries
        .iter()
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect();
    assert_eq!(found, expected, "{keyspace:?} {from:?}..{to:?}");
}
