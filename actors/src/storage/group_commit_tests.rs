//! Tests of the store over an engine in memory, whose commits can be held, failed and crashed.

use bytes::Bytes;
use engram_core::storage::RangeQuery;

use super::*;
use crate::env::ReadOutcome;
use crate::storage::MemoryEngine;

type Answers<T> = Receiver<(usize, Result<T, StoreError>)>;

/// A store whose answers and failures can be awaited.
struct Bench {
    engine: MemoryEngine,
    store: Arc<GroupCommitStore<MemoryEngine>>,
    failures: Receiver<StoreError>,
    answers: Answers<Lsn>,
    answer: Sender<(usize, Result<Lsn, StoreError>)>,
}

impl Bench {
    fn new(config: GroupCommitConfig) -> Bench {
        Bench::over(MemoryEngine::new(), config)
    }

    fn over(engine: MemoryEngine, config: GroupCommitConfig) -> Bench {
        let (failure, failures) = crossbeam_channel::unbounded();
        let (answer, answers) = crossbeam_channel::unbounded();
        let store = GroupCommitStore::start(Arc::new(engine.clone()), config, move |error| {
            let _ = failure.send(error);
        })
        .expect("the store starts");
        Bench {
            engine,
            store: Arc::new(store),
            failures,
            answers,
            answer,
        }
    }

    /// Appends one put under the number as key.
    fn append(&self, number: usize) {
        self.append_batch(number, put(number));
    }

    fn append_batch(&self, number: usize, batch: WriteBatch) {
        let answer = self.answer.clone();
        self.store.append(
            batch,
            Box::new(move |result| {
                let _ = answer.send((number, result));
            }),
        );
    }

    /// Holds commits, with append 0 in the engine already.
    fn hold(&self) {
        self.engine.hold_commits();
        self.append(0);
        self.engine.await_held_commit();
    }

    fn expect_durable(&self, number: usize, lsn: u64) {
        let (found, result) = self.answers.recv().expect("every append is answered");
        assert_eq!((found, result.expect("it is durable")), (number, Lsn(lsn)));
    }

    fn expect_error(&self, number: usize) -> StoreError {
        let (found, result) = self.answers.recv().expect("every append is answered");
        assert_eq!(found, number);
        result.expect_err("it is refused")
    }

    fn read(&self, key: &'static [u8]) -> Result<ReadOutcome, StoreError> {
        let (answer, answers) = crossbeam_channel::bounded(1);
        let query = ReadQuery::Get {
            keyspace: Keyspace::Records,
            key: Bytes::from_static(key),
        };
        self.store.read(
            query,
            Box::new(move |result| answer.send(result).expect("awaited")),
        );
        answers.recv().expect("every read is answered")
    }
}

impl Drop for Bench {
    /// A store that is dropped waits for its commits.
    fn drop(&mut self) {
        self.engine.release_commits();
    }
}

fn put(number: usize) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.put(Keyspace::Records, number.to_string(), "value");
    batch
}

fn config() -> GroupCommitConfig {
    GroupCommitConfig::default()
}

#[test]
fn what_queues_during_a_commit_shares_the_next_one() {
    let bench = Bench::new(config());
    bench.hold();
    (1..=10).for_each(|number| bench.append(number));
    assert_eq!(bench.store.stats().appends_queued, 10);
    bench.engine.release_commits();
    bench.expect_durable(0, 1);
    (1..=10).for_each(|number| bench.expect_durable(number, 2));
    assert_eq!(bench.engine.commits(), [1, 10]);
    assert_eq!(bench.store.durable_lsn(), Lsn(2));
    let stats = bench.store.stats();
    assert_eq!(
        (stats.commits, stats.appends, stats.appends_per_commit_max),
        (2, 11, 10)
    );
    assert_eq!(stats.commit_micros.iter().sum::<u64>(), 2);
}

#[test]
fn a_group_is_bounded_in_appends_and_bytes() {
    // Each append has 6 bytes.
    for (appends_max, bytes_max) in [(3, 1000), (1000, 13)] {
        let bench = Bench::new(GroupCommitConfig {
            group_appends_max: appends_max,
            group_bytes_max: bytes_max,
            ..config()
        });
        bench.hold();
        (1..=7).for_each(|number| bench.append(number));
        bench.engine.release_commits();
        bench.expect_durable(0, 1);
        for number in 1..=7 {
            bench.expect_durable(number, 2 + (number as u64 - 1) / 3);
        }
        assert_eq!(bench.engine.commits(), [1, 3, 3, 1]);
    }
}

#[test]
fn lsns_go_on_after_a_restart() {
    let bench = Bench::new(config());
    bench.append(1);
    bench.expect_durable(1, 1);
    let engine = bench.engine.clone();
    drop(bench);
    let bench = Bench::over(engine, config());
    assert_eq!(bench.store.durable_lsn(), Lsn(1));
    bench.append(2);
    bench.expect_durable(2, 2);
}

#[test]
fn a_full_queue_refuses_at_once_and_recovers() {
    // Each append has 6 bytes; append 0 is in the engine, and counts as bytes until it is durable.
    for limit in [
        GroupCommitConfig {
            appends_max: 2,
            ..config()
        },
        GroupCommitConfig {
            append_bytes_max: 18,
            ..config()
        },
    ] {
        let bench = Bench::new(limit);
        bench.hold();
        bench.append(1);
        bench.append(2);
        bench.append(3);
        let error = bench.expect_error(3);
        assert!(
            matches!(
                error,
                StoreError::Overloaded {
                    queued: 2,
                    queued_bytes: 18
                }
            ),
            "{error}"
        );
        bench.engine.release_commits();
        bench.expect_durable(0, 1);
        bench.expect_durable(1, 2);
        bench.expect_durable(2, 2);
        bench.append(4);
        bench.expect_durable(4, 3);
        assert_eq!(bench.store.stats().refused_overloaded, 1);
        assert_eq!(
            bench.engine.get(Keyspace::Records, b"3").expect("readable"),
            None
        );
    }
}

#[test]
fn an_append_larger_than_the_bound_is_taken_when_nothing_waits() {
    let bench = Bench::new(GroupCommitConfig {
        append_bytes_max: 1,
        ..config()
    });
    bench.append(1);
    bench.expect_durable(1, 1);
}

#[test]
fn a_barrier_waits_for_what_is_before_it_and_writes_nothing() {
    let bench = Bench::new(config());
    bench.append_batch(9, WriteBatch::default());
    bench.expect_durable(9, 0);
    bench.hold();
    bench.append_batch(1, WriteBatch::default());
    assert!(bench.answers.is_empty());
    bench.engine.release_commits();
    bench.expect_durable(0, 1);
    bench.expect_durable(1, 1);
    assert_eq!(bench.engine.commits(), [1]);
}

#[test]
fn keys_that_may_not_be_written_are_refused() {
    let bench = Bench::new(config());
    for (keyspace, key) in [
        (Keyspace::Records, vec![]),
        (Keyspace::Records, vec![1; STORE_KEY_BYTES_MAX + 1]),
        (Keyspace::Meta, b"\0lsn".to_vec()),
    ] {
        let mut batch = put(1);
        let length = key.len();
        batch.remove(keyspace, key);
        bench.append_batch(1, batch);
        let error = bench.expect_error(1);
        assert!(matches!(error, StoreError::InvalidKey { key_bytes } if key_bytes == length));
    }
    assert!(bench.engine.commits().is_empty());
}

#[test]
fn a_failed_commit_poisons_the_store_for_ever() {
    type Fault = fn(&MemoryEngine);
    let faults: [(Fault, &str); 2] = [
        (|engine| engine.fail_next_commit("no fsync"), "no fsync"),
        (|engine| engine.panic_in_next_commit("a defect"), "a defect"),
    ];
    for (fault, reason) in faults {
        let bench = Bench::new(config());
        bench.append(1);
        bench.expect_durable(1, 1);
        fault(&bench.engine);
        bench.hold();
        bench.append(2);
        bench.append_batch(3, WriteBatch::default());
        bench.engine.release_commits();
        for number in [0, 2, 3] {
            let error = bench.expect_error(number);
            assert!(matches!(&error, StoreError::Poisoned(_)), "{error}");
            assert!(error.to_string().ends_with(reason), "{error}");
        }
        bench.append(4);
        assert!(matches!(bench.expect_error(4), StoreError::Poisoned(_)));
        assert!(matches!(bench.failures.recv(), Ok(StoreError::Poisoned(_))));
        assert!(bench.failures.try_recv().is_err(), "told twice");
        assert_eq!(bench.engine.commits(), [1]);
        assert_eq!(bench.store.durable_lsn(), Lsn(1));
        assert!(bench.store.stats().poisoned);
        let value = Some(Bytes::from_static(b"value"));
        assert_eq!(
            bench.read(b"1").expect("reads go on"),
            ReadOutcome::Value(value)
        );
    }
}

#[test]
fn a_completion_that_panics_poisons_the_store_and_loses_no_answer() {
    let bench = Bench::new(config());
    bench.hold();
    bench
        .store
        .append(put(1), Box::new(|_| panic!("in a completion")));
    bench.append(2);
    bench.engine.release_commits();
    bench.expect_durable(0, 1);
    // It shared the commit of the one that panicked.
    assert!(matches!(bench.expect_error(2), StoreError::Closed));
    assert!(
        bench
            .failures
            .recv()
            .expect("told")
            .to_string()
            .ends_with("in a completion")
    );
    bench.append(3);
    assert!(matches!(bench.expect_error(3), StoreError::Poisoned(_)));
}

#[test]
fn a_commit_that_never_returns_poisons_the_store() {
    let stall = Duration::from_millis(20);
    let bench = Bench::new(GroupCommitConfig {
        commit_stall_max: stall,
        ..config()
    });
    bench.hold();
    let error = bench.failures.recv().expect("told");
    assert!(error.to_string().contains("has not returned"), "{error}");
    bench.append(1);
    assert!(matches!(bench.expect_error(1), StoreError::Poisoned(_)));
    // It does not wait for the writer, which is still held.
    bench.store.close();
    bench.engine.release_commits();
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let engine = MemoryEngine::new();
    engine.set_free_bytes(Some(99));
    let bench = Bench::over(
        engine,
        GroupCommitConfig {
            free_bytes_kept: 100,
            free_check_interval: Duration::ZERO,
            ..config()
        },
    );
    bench.append(1);
    assert!(matches!(
        bench.expect_error(1),
        StoreError::DiskFull {
            free_bytes: 99,
            needed_bytes: 100
        }
    ));
    bench.append_batch(2, WriteBatch::default());
    bench.expect_durable(2, 0);
    assert!(bench.engine.commits().is_empty());
    assert_eq!(
        bench.read(b"1").expect("reads go on"),
        ReadOutcome::Value(None)
    );
    let stats = bench.store.stats();
    assert_eq!(
        (stats.refused_disk_full, stats.free_bytes, stats.poisoned),
        (1, Some(99), false)
    );

    bench.engine.set_free_bytes(Some(100));
    bench.append(3);
    bench.expect_durable(3, 1);
}

#[test]
fn reads_answer_points_and_ranges_and_report_corruption_per_key() {
    let bench = Bench::new(config());
    (1..=3).for_each(|number| bench.append(number));
    (1..=3).for_each(|_| drop(bench.answers.recv().expect("answered")));
    bench.engine.corrupt(Keyspace::Records, "2");
    let value = Bytes::from_static(b"value");
    assert_eq!(
        bench.read(b"1").expect("intact"),
        ReadOutcome::Value(Some(value.clone()))
    );
    assert_eq!(
        bench.read(b"none").expect("intact"),
        ReadOutcome::Value(None)
    );
    assert!(matches!(bench.read(b"2"), Err(StoreError::Corrupt(_))));

    let (answer, answers) = crossbeam_channel::bounded(1);
    let query = RangeQuery {
        keyspace: Keyspace::Records,
        from: Bytes::from_static(b"3"),
        to: Bytes::from_static(b"4"),
        limit_entries: 10,
        limit_bytes: 1000,
    };
    let done = move |result| answer.send(result).expect("awaited");
    bench.store.read(ReadQuery::Range(query), Box::new(done));
    let outcome = answers.recv().expect("answered").expect("intact");
    let ReadOutcome::Page(page) = outcome else {
        panic!("not a page: {outcome:?}")
    };
    assert_eq!(
        (page.entries, page.more),
        (vec![(Bytes::from_static(b"3"), value)], false)
    );
    let stats = bench.store.stats();
    assert_eq!(
        (stats.reads, stats.reads_failed, stats.poisoned),
        (4, 1, false)
    );
}

#[test]
fn a_full_queue_of_reads_refuses_at_once() {
    let bench = Bench::new(GroupCommitConfig {
        readers: 1,
        reads_max: 1,
        ..config()
    });
    let (entered, entering) = crossbeam_channel::bounded(1);
    let (release, released) = crossbeam_channel::bounded::<()>(0);
    let get = || ReadQuery::Get {
        keyspace: Keyspace::Records,
        key: Bytes::from_static(b"1"),
    };
    // The reader is kept busy in a completion.
    let done = move |_| {
        entered.send(()).expect("awaited");
        let _ = released.recv();
    };
    bench.store.read(get(), Box::new(done));
    entering.recv().expect("the reader takes it");
    let (answer, answers) = crossbeam_channel::unbounded();
    for number in 0..2 {
        let answer = answer.clone();
        let done = move |result| answer.send((number, result)).expect("awaited");
        bench.store.read(get(), Box::new(done));
    }
    let (number, result) = answers.recv().expect("answered");
    assert_eq!(number, 1);
    assert!(matches!(
        result,
        Err(StoreError::Overloaded {
            queued: 1,
            queued_bytes: 0
        })
    ));
    drop(release);
    let (number, result) = answers.recv().expect("answered");
    assert!(number == 0 && result.is_ok());
}

#[test]
fn closing_commits_what_is_queued_and_refuses_the_rest() {
    let bench = Bench::new(GroupCommitConfig {
        appends_max: 3,
        ..config()
    });
    bench.hold();
    (1..=3).for_each(|number| bench.append(number));
    thread::scope(|scope| {
        let closing = scope.spawn(|| bench.store.close());
        bench.engine.release_commits();
        closing.join().expect("it closes");
    });
    bench.expect_durable(0, 1);
    (1..=3).for_each(|number| bench.expect_durable(number, 2));
    bench.append(4);
    assert!(matches!(bench.expect_error(4), StoreError::Closed));
    assert!(matches!(bench.read(b"1"), Err(StoreError::Closed)));
    bench.store.close();
    assert!(bench.failures.try_recv().is_err());
}

#[test]
fn a_completion_may_close_the_store_and_drop_its_last_handle() {
    let bench = Bench::new(config());
    let (answer, answers) = crossbeam_channel::bounded(1);
    let store = Arc::clone(&bench.store);
    drop(bench);
    let handle = Arc::clone(&store);
    let (dropped, dropping) = crossbeam_channel::bounded::<()>(0);
    store.append(
        put(1),
        Box::new(move |result| {
            // Until the caller's handle is gone.
            let _ = dropping.recv();
            handle.close();
            drop(handle);
            answer.send(result).expect("awaited");
        }),
    );
    drop(store);
    drop(dropped);
    assert_eq!(answers.recv().expect("answered").expect("durable"), Lsn(1));
}
