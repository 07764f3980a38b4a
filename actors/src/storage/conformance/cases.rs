//! The cases of the suite. Each names the promise it checks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use engram_core::limits::{STORE_KEY_BYTES_MAX, VALUE_BYTES_MAX};
use engram_core::storage::{Keyspace, RangePage, RangeQuery, WriteBatch};
use engram_core::types::Lsn;

use super::Disk;
use crate::env::{ReadOutcome, ReadQuery, Store};
use crate::storage::{Engine, GroupCommitConfig, GroupCommitStore};

const READABLE: &str = "the engine can read";
const WRITABLE: &str = "the engine can commit";

fn put(entries: &[(Keyspace, &str, &str)]) -> WriteBatch {
    let mut batch = WriteBatch::default();
    for (keyspace, key, value) in entries {
        batch.put(
            *keyspace,
            key.as_bytes().to_vec(),
            value.as_bytes().to_vec(),
        );
    }
    batch
}

fn get(engine: &impl Engine, keyspace: Keyspace, key: &str) -> Option<Bytes> {
    engine.get(keyspace, key.as_bytes()).expect(READABLE)
}

fn range(engine: &impl Engine, from: &str, to: &str, entries: usize, bytes: usize) -> RangePage {
    let (from, to) = (
        Bytes::copy_from_slice(from.as_bytes()),
        Bytes::copy_from_slice(to.as_bytes()),
    );
    let keyspace = Keyspace::Records;
    let query = RangeQuery {
        keyspace,
        from,
        to,
        limit_entries: entries,
        limit_bytes: bytes,
    };
    engine.range(&query).expect(READABLE)
}

fn keys(page: &RangePage) -> Vec<String> {
    page.entries
        .iter()
        .map(|(key, _)| String::from_utf8_lossy(key).into_owned())
        .collect()
}

pub(super) fn a_blank_engine_is_empty<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    assert_eq!(engine.last_lsn().expect(READABLE), Lsn(0));
    for keyspace in Keyspace::ALL {
        assert_eq!(get(&engine, keyspace, "a"), None, "{keyspace:?}");
    }
    assert_eq!(range(&engine, "", "z", 10, 1000), RangePage::default());
}

pub(super) fn a_commit_is_seen_whole_and_survives<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    let batches = [
        put(&[(Keyspace::Records, "a", "1"), (Keyspace::Changes, "b", "2")]),
        put(&[(Keyspace::Meta, "c", "3"), (Keyspace::Vectors, "d", "4")]),
    ];
    engine.commit(&batches, Lsn(7)).expect(WRITABLE);
    let check = |engine: &D::Engine| {
        for (keyspace, key, value) in [
            (Keyspace::Records, "a", "1"),
            (Keyspace::Changes, "b", "2"),
            (Keyspace::Meta, "c", "3"),
            (Keyspace::Vectors, "d", "4"),
        ] {
            let found = get(engine, keyspace, key);
            assert_eq!(found.as_deref(), Some(value.as_bytes()), "{keyspace:?}");
        }
        assert_eq!(engine.last_lsn().expect(READABLE), Lsn(7));
    };
    check(&engine);
    drop(engine);
    check(&disk.open());
}

pub(super) fn later_operations_win<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    engine
        .commit(&[put(&[(Keyspace::Records, "gone", "0")])], Lsn(1))
        .expect(WRITABLE);
    let mut first = put(&[
        (Keyspace::Records, "put", "1"),
        (Keyspace::Records, "put", "2"),
        (Keyspace::Records, "put then gone", "1"),
        (Keyspace::Records, "gone", "1"),
    ]);
    first.remove(Keyspace::Records, "gone then put");
    let mut second = put(&[(Keyspace::Records, "gone then put", "3")]);
    second.remove(Keyspace::Records, "put then gone");
    second.remove(Keyspace::Records, "gone");
    second.remove(Keyspace::Records, "never there");
    engine.commit(&[first, second], Lsn(2)).expect(WRITABLE);
    let check = |engine: &D::Engine| {
        assert_eq!(
            get(engine, Keyspace::Records, "put").as_deref(),
            Some(&b"2"[..])
        );
        assert_eq!(
            get(engine, Keyspace::Records, "gone then put").as_deref(),
            Some(&b"3"[..])
        );
        assert_eq!(get(engine, Keyspace::Records, "put then gone"), None);
        assert_eq!(get(engine, Keyspace::Records, "gone"), None);
        assert_eq!(
            keys(&range(engine, "", "z", 10, 1000)),
            ["gone then put", "put"]
        );
    };
    check(&engine);
    drop(engine);
    check(&disk.open());
}

pub(super) fn an_empty_value_is_not_a_missing_one<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    engine
        .commit(&[put(&[(Keyspace::Expiry, "a", "")])], Lsn(1))
        .expect(WRITABLE);
    assert_eq!(get(&engine, Keyspace::Expiry, "a"), Some(Bytes::new()));
    assert_eq!(get(&engine, Keyspace::Expiry, "b"), None);
}

pub(super) fn keyspaces_are_apart<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    let mut batch = WriteBatch::default();
    for keyspace in Keyspace::ALL {
        batch.put(keyspace, "same", keyspace.name());
    }
    engine.commit(&[batch], Lsn(1)).expect(WRITABLE);
    let mut batch = WriteBatch::default();
    batch.remove(Keyspace::Expiry, "same");
    engine.commit(&[batch], Lsn(2)).expect(WRITABLE);
    for keyspace in Keyspace::ALL {
        let expected =
            (keyspace != Keyspace::Expiry).then(|| Bytes::from_static(keyspace.name().as_bytes()));
        assert_eq!(get(&engine, keyspace, "same"), expected, "{keyspace:?}");
    }
    assert_eq!(range(&engine, "", "z", 10, 1000).entries.len(), 1);
}

pub(super) fn a_commit_without_operations_keeps_its_lsn<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    engine.commit(&[], Lsn(1)).expect(WRITABLE);
    engine
        .commit(&[WriteBatch::default()], Lsn(2))
        .expect(WRITABLE);
    assert_eq!(engine.last_lsn().expect(READABLE), Lsn(2));
    drop(engine);
    assert_eq!(disk.open().last_lsn().expect(READABLE), Lsn(2));
}

pub(super) fn large_keys_and_values_survive<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    let key = Bytes::from(vec![0xff; STORE_KEY_BYTES_MAX]);
    let value: Bytes = (0..VALUE_BYTES_MAX).map(|n| n.to_le_bytes()[0]).collect();
    let mut batch = WriteBatch::default();
    batch.put(Keyspace::Records, key.clone(), value.clone());
    engine.commit(&[batch], Lsn(1)).expect(WRITABLE);
    assert_eq!(
        engine
            .get(Keyspace::Records, &key)
            .expect(READABLE)
            .as_ref(),
        Some(&value)
    );
    drop(engine);
    let found = disk.open().get(Keyspace::Records, &key).expect(READABLE);
    assert_eq!(found.as_ref(), Some(&value));
}

pub(super) fn ranges_are_half_open_ascending_and_bounded<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    let entries = [("c", "3"), ("a", "1"), ("b", "2"), ("ab", "x"), ("d", "4")];
    for (index, (key, value)) in (1..).zip(entries) {
        engine
            .commit(&[put(&[(Keyspace::Records, key, value)])], Lsn(index))
            .expect(WRITABLE);
    }
    // ((from, to), (most entries, most bytes)) -> (keys, more)
    let cases = [
        (("", "z"), (10, 1000), ("a ab b c d", false)),
        (("a", "d"), (10, 1000), ("a ab b c", false)),
        (("aa", "c"), (10, 1000), ("ab b", false)),
        (("a", "d"), (2, 1000), ("a ab", true)),
        (("a", "d"), (4, 1000), ("a ab b c", false)),
        (("a", "z"), (10, 5), ("a ab", true)),
        (("a", "z"), (10, 0), ("a", true)),
        (("a", "z"), (0, 1000), ("", true)),
        (("b", "b"), (10, 1000), ("", false)),
        (("c", "a"), (10, 1000), ("", false)),
    ];
    for ((from, to), (entries_max, bytes_max), (expected, more)) in cases {
        let page = range(&engine, from, to, entries_max, bytes_max);
        assert_eq!(
            keys(&page).join(" "),
            expected,
            "{from:?}..{to:?} {entries_max} {bytes_max}"
        );
        assert_eq!(
            page.more, more,
            "{from:?}..{to:?} {entries_max} {bytes_max}"
        );
    }
}

pub(super) fn pages_of_a_range_join_up<D: Disk>() {
    let disk = D::blank();
    let engine = disk.open();
    let mut batch = WriteBatch::default();
    for n in 0..100_u8 {
        batch.put(Keyspace::Records, vec![n, 0xff], vec![n]);
    }
    engine.commit(&[batch], Lsn(1)).expect(WRITABLE);
    let mut seen = Vec::new();
    let mut from = Bytes::new();
    loop {
        let page = engine
            .range(&RangeQuery {
                keyspace: Keyspace::Records,
                from,
                to: Bytes::from_static(&[200]),
                limit_entries: 7,
                limit_bytes: 1000,
            })
            .expect(READABLE);
        seen.extend(page.entries.iter().map(|(_, value)| value.to_vec()));
        let Some((last, _)) = page.entries.last().filter(|_| page.more) else {
            break;
        };
        // The least key after the last one.
        from = [last.as_ref(), &[0]].concat().into();
    }
    assert_eq!(seen, (0..100_u8).map(|n| vec![n]).collect::<Vec<_>>());
}

pub(super) fn readers_see_whole_commits<D: Disk>() {
    const COMMITS: u64 = 60;
    let disk = D::blank();
    let engine = disk.open();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 1..=COMMITS {
                let value = n.to_string();
                let entries = ["a", "m", "z"].map(|key| (Keyspace::Records, key, value.as_str()));
                engine.commit(&[put(&entries)], Lsn(n)).expect(WRITABLE);
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            let page = range(&engine, "a", "zz", 10, 1000);
            let values: Vec<&Bytes> = page.entries.iter().map(|(_, value)| value).collect();
            assert!(
                matches!(values.len(), 0 | 3),
                "{} entries of a commit of 3",
                values.len()
            );
            assert!(
                values.windows(2).all(|pair| pair[0] == pair[1]),
                "torn: {values:?}"
            );
        }
    });
    let last = get(&engine, Keyspace::Records, "m").expect("committed");
    assert_eq!(last, COMMITS.to_string());
}

pub(super) fn the_store_acknowledges_in_order_what_survives<D: Disk>() {
    const APPENDS: u64 = 200;
    let disk = D::blank();
    let (sender, acknowledged) = crossbeam_channel::unbounded();
    {
        let engine = Arc::new(disk.open());
        let store = GroupCommitStore::start(engine, GroupCommitConfig::default(), |error| {
            panic!("storage failed: {error}")
        })
        .expect("the store starts");
        for n in 0..APPENDS {
            let sender = sender.clone();
            let (key, value) = (format!("{n:04}"), n.to_string());
            store.append(
                put(&[
                    (Keyspace::Records, &key, &value),
                    (Keyspace::Changes, &key, ""),
                ]),
                Box::new(move |result| sender.send((n, result)).expect("the receiver lives")),
            );
        }
        let mut last = Lsn(0);
        for expected in 0..APPENDS {
            let (n, result) = acknowledged.recv().expect("each append is answered");
            let lsn = result.expect("each append is durable");
            assert_eq!(n, expected);
            assert!(lsn >= last);
            assert!(store.durable_lsn() >= lsn);
            last = lsn;
        }
        let (sender, found) = crossbeam_channel::bounded(1);
        let key = Bytes::from_static(b"0199");
        store.read(
            ReadQuery::Get {
                keyspace: Keyspace::Records,
                key,
            },
            Box::new(move |result| sender.send(result).expect("the receiver lives")),
        );
        let outcome = found
            .recv()
            .expect("each read is answered")
            .expect(READABLE);
        assert_eq!(
            outcome,
            ReadOutcome::Value(Some(Bytes::from_static(b"199")))
        );
        assert_eq!(store.stats().appends, APPENDS);
    }
    let engine = disk.open();
    assert_eq!(
        range(&engine, "", "z", 1000, 1_000_000).entries.len() as u64,
        APPENDS
    );
    assert!(engine.last_lsn().expect(READABLE) > Lsn(0));
}
