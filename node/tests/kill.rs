//! A node process that is killed loses nothing that it acknowledged, and keeps no half of a batch.
//!
//! The test starts itself as a child process, which appends to a real data directory and prints
//! what became durable, kills it at a random moment, and reads what is on disk.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use engram_actors::env::{Entropy, Store};
use engram_actors::storage::{Engine, GroupCommitConfig, GroupCommitStore};
use engram_core::storage::{Keyspace, WriteBatch};
use engram_core::types::Lsn;
use engram_node::data_dir::{DataDir, Expected};
use engram_node::store::{FjallOptions, check};

const THIS_TEST: &str = "a_killed_process_loses_nothing_that_it_acknowledged";
const CHILD_DIRECTORY: &str = "ENGRAM_KILL_TEST_DIRECTORY";
const ROUNDS: u32 = 4;
/// Appends that the child keeps in flight.
const IN_FLIGHT: usize = 64;
/// A child that is not killed ends by itself.
const CHILD_APPENDS_MAX: u64 = 1_000_000;
const CHILD_DEADLINE: Duration = Duration::from_secs(60);

struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn next_u64(&self) -> u64 {
        getrandom::u64().expect("the system has entropy")
    }
}

fn open(path: &Path) -> DataDir {
    let expected = Expected {
        cluster: "kill".to_owned(),
        node: "a".to_owned(),
        shards: 1,
    };
    DataDir::open(path, &expected, &FjallOptions::default(), &SystemEntropy).expect("it opens")
}

fn key(number: u64) -> Bytes {
    Bytes::copy_from_slice(&number.to_be_bytes())
}

/// A value that is long enough for a commit to span many blocks, and tells its number.
fn value(number: u64) -> Vec<u8> {
    number
        .to_be_bytes()
        .repeat(16 + usize::try_from(number % 64).expect("small"))
}

/// Appends numbers, from where the directory ends, until it is killed.
fn run_child(path: &Path) {
    let dir = open(path);
    let first = count(&dir);
    let store = GroupCommitStore::start(
        Arc::clone(dir.engine()),
        GroupCommitConfig::default(),
        |error| panic!("storage failed: {error}"),
    )
    .expect("the store starts");
    let in_flight = Arc::new(AtomicUsize::new(0));
    for number in first..first + CHILD_APPENDS_MAX {
        while in_flight.load(Ordering::Acquire) >= IN_FLIGHT {
            thread::yield_now();
        }
        in_flight.fetch_add(1, Ordering::AcqRel);
        let mut batch = WriteBatch::default();
        batch.put(Keyspace::Records, key(number), value(number));
        batch.put(Keyspace::Changes, key(number), "");
        let in_flight = Arc::clone(&in_flight);
        store.append(
            batch,
            Box::new(move |result| {
                let lsn = result.expect("it is durable");
                let mut out = std::io::stdout().lock();
                writeln!(out, "durable {number} {}", lsn.0).expect("the parent reads");
                out.flush().expect("the parent reads");
                in_flight.fetch_sub(1, Ordering::AcqRel);
            }),
        );
    }
}

fn count(dir: &DataDir) -> u64 {
    (0..)
        .find(|number| {
            dir.engine()
                .get(Keyspace::Records, &key(*number))
                .expect("readable")
                .is_none()
        })
        .expect("numbers do not end")
}

/// Kills the child when dropped, so that no failure leaves one behind.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets a child work, kills it, and returns the last number and lsn that it said were durable.
fn run_and_kill(path: &Path, lines_before_kill: u64) -> (u64, Lsn) {
    let mut child = Killed(
        Command::new(std::env::current_exe().expect("this test has a path"))
            .args(["--exact", THIS_TEST, "--nocapture"])
            .env(CHILD_DIRECTORY, path)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts"),
    );
    let stdout = child.0.stdout.take().expect("it is piped");
    let (sender, lines) = crossbeam_channel::unbounded();
    let reader = thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            // The last line may be cut off in the middle.
            let Ok(line) = line else { return };
            let _ = sender.send(line);
        }
    });
    let mut durable = Vec::new();
    let mut take = |line: String| {
        // The harness prints before the first one.
        let Some((_, numbers)) = line.split_once("durable ") else {
            return;
        };
        if let Some((number, lsn)) = numbers.split_once(' ') {
            durable.push((
                number.parse().expect("a number"),
                Lsn(lsn.parse().expect("an lsn")),
            ));
        }
    };
    for _ in 0..lines_before_kill {
        take(lines.recv_timeout(CHILD_DEADLINE).expect("the child works"));
    }
    child.0.kill().expect("it can be killed");
    reader.join().expect("the reader ends with the child");
    // What was printed up to the kill was acknowledged too; a line cut short only names less.
    let rest: Vec<String> = lines.try_iter().collect();
    let whole = rest.len().saturating_sub(1);
    rest.into_iter().take(whole).for_each(&mut take);
    *durable.last().expect("something was durable")
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    if let Some(path) = std::env::var_os(CHILD_DIRECTORY) {
        return run_child(Path::new(&path));
    }
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("data");
    let mut boot = 0;
    for round in 0..ROUNDS {
        let lines = 20 + SystemEntropy.next_u64() % 2000;
        let (last, lsn) = run_and_kill(&path, lines);
        let context = format!("round {round}, killed after {lines} lines, {last} was durable");

        let opened = open(&path);
        boot += 2;
        assert_eq!(opened.boot(), boot, "{context}");
        let engine = opened.engine();
        let on_disk = count(&opened);
        assert!(on_disk > last, "{context}: only {on_disk} are there");
        assert!(engine.last_lsn().expect("readable") > lsn, "{context}");
        for number in 0..on_disk {
            let found = engine
                .get(Keyspace::Records, &key(number))
                .expect("readable");
            assert_eq!(
                found.as_deref(),
                Some(value(number).as_slice()),
                "{context}"
            );
        }
        for number in on_disk..on_disk + IN_FLIGHT as u64 {
            let found = engine
                .get(Keyspace::Records, &key(number))
                .expect("readable");
            assert_eq!(
                found, None,
                "{context}: {number} is there, but not {on_disk}"
            );
        }
        drop(opened);
        let report = check(&path, &FjallOptions::default(), |_, _, _| Ok(())).expect("it opens");
        assert!(report.is_sound(), "{context}: {:?}", report.problems);
        let entries = |keyspace| {
            report
                .keyspaces
                .iter()
                .find(|found| found.keyspace == keyspace)
                .map(|f| f.entries)
        };
        assert_eq!(entries(Keyspace::Records), Some(on_disk), "{context}");
        assert_eq!(entries(Keyspace::Changes), Some(on_disk), "{context}");
    }
}
