//! Tests of opening a data directory: everything it must notice.

use std::sync::atomic::{AtomicU64, Ordering};

use engram_actors::storage::EngineError;
use engram_core::storage::WriteBatch;
use tempfile::TempDir;

use super::identity::IdentityError;
use super::*;
use crate::store::check;

/// Counts up; 0 first, which is no member.
#[derive(Default)]
struct Counter(AtomicU64);

impl Entropy for Counter {
    fn next_u64(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

fn expected() -> Expected {
    Expected {
        cluster: "demo".to_owned(),
        node: "a".to_owned(),
        shards: 64,
    }
}

fn blank() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn open(path: &Path) -> Result<DataDir, DataDirError> {
    DataDir::open(
        path,
        &expected(),
        &FjallOptions::default(),
        &Counter::default(),
    )
}

fn open_error(path: &Path) -> DataDirError {
    open(path).err().expect("it does not open")
}

fn check_all(path: &Path) -> Result<crate::store::CheckReport, DataDirError> {
    check(path, &FjallOptions::default(), |_, _, _| Ok(()))
}

#[test]
fn a_new_directory_is_made_and_each_boot_is_counted() {
    let parent = blank();
    let path = parent.path().join("made/with/parents");
    let first = open(&path).expect("it is made");
    assert_eq!(first.boot(), 1);
    assert_eq!(first.path(), path);
    let identity = first.identity().clone();
    assert_eq!(
        (identity.cluster.as_str(), identity.node.as_str()),
        ("demo", "a")
    );
    assert_eq!((identity.shards, identity.member), (64, MemberId(1)));
    assert_eq!(first.engine().last_lsn().expect("readable"), Lsn(1));
    drop(first);
    let second = open(&path).expect("it opens");
    assert_eq!((second.boot(), second.identity()), (2, &identity));
    assert_eq!(second.engine().last_lsn().expect("readable"), Lsn(2));
}

#[test]
fn it_is_locked_until_the_engine_is_gone() {
    let dir = blank();
    let opened = open(dir.path()).expect("it opens");
    let error = open_error(dir.path());
    assert!(matches!(error, DataDirError::Locked { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&dir.path().display().to_string())
    );
    assert!(matches!(
        check_all(dir.path()),
        Err(DataDirError::Locked { .. })
    ));
    let engine = Arc::clone(opened.engine());
    drop(opened);
    assert!(matches!(
        open_error(dir.path()),
        DataDirError::Locked { .. }
    ));
    drop(engine);
    open(dir.path()).expect("it opens again");
}

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let dir = blank();
    drop(open(dir.path()).expect("it opens"));
    let before = fs::read(dir.path().join(IDENTITY_NAME)).expect("readable");
    let open_as = |change: fn(&mut Expected)| {
        let mut other = expected();
        change(&mut other);
        DataDir::open(
            dir.path(),
            &other,
            &FjallOptions::default(),
            &Counter::default(),
        )
        .err()
        .expect("it does not open")
    };
    let error = open_as(|other| other.cluster = "prod".to_owned());
    assert!(
        matches!(error, DataDirError::OtherCluster { .. }),
        "{error}"
    );
    let error = open_as(|other| other.node = "b".to_owned());
    assert!(matches!(error, DataDirError::OtherNode { .. }), "{error}");
    let error = open_as(|other| other.shards = 8);
    assert!(
        matches!(
            error,
            DataDirError::OtherShards {
                expected: 8,
                found: 64,
                ..
            }
        ),
        "{error}"
    );
    let error = open_as(|other| other.node = String::new());
    assert!(matches!(error, DataDirError::InvalidName { .. }), "{error}");
    let error = open_as(|other| other.cluster = "x".repeat(NAME_BYTES_MAX + 1));
    assert!(matches!(error, DataDirError::InvalidName { .. }), "{error}");
    let error = open_as(|other| other.shards = 0);
    assert!(
        matches!(error, DataDirError::InvalidShards { .. }),
        "{error}"
    );
    assert_eq!(
        fs::read(dir.path().join(IDENTITY_NAME)).expect("readable"),
        before
    );
}

#[test]
fn what_is_no_directory_is_refused() {
    let dir = blank();
    let file = dir.path().join("file");
    fs::write(&file, b"").expect("writable");
    for path in [file.clone(), file.join("below")] {
        let error = open_error(&path);
        assert!(
            matches!(error, DataDirError::NotADirectory { .. }),
            "{error:?}"
        );
    }
    let error = check_all(&file).expect_err("no directory");
    assert!(
        matches!(error, DataDirError::NotADirectory { .. }),
        "{error:?}"
    );
    let error = check_all(&dir.path().join("none")).expect_err("not there");
    assert!(matches!(error, DataDirError::Io { .. }), "{error:?}");
    let error = check_all(dir.path()).expect_err("no data");
    assert!(
        matches!(error, DataDirError::NotADataDirectory { .. }),
        "{error:?}"
    );
}

#[test]
fn errors_of_the_operating_system_are_sorted() {
    let denied = io_error(Path::new("/data"), ErrorKind::PermissionDenied.into());
    assert!(matches!(denied, DataDirError::Permission { .. }));
    let other = io_error(Path::new("/data"), ErrorKind::StorageFull.into());
    assert!(matches!(other, DataDirError::Io { .. }));
}

#[test]
fn a_damaged_or_newer_identity_is_refused() {
    let dir = blank();
    drop(open(dir.path()).expect("it opens"));
    let file = dir.path().join(IDENTITY_NAME);
    let good = fs::read(&file).expect("readable");
    fs::write(&file, &good[..good.len() - 1]).expect("writable");
    let error = open_error(dir.path());
    let DataDirError::Identity { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(source, IdentityError::Damaged(_)));

    let mut newer = good[..good.len() - 8].to_vec();
    newer[8] = 2;
    newer.extend(xxhash_rust::xxh3::xxh3_64(&newer).to_le_bytes());
    fs::write(&file, newer).expect("writable");
    let error = open_error(dir.path());
    let DataDirError::Identity { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(source, &IdentityError::NewerVersion { found: 2 });

    fs::write(&file, good).expect("writable");
    assert_eq!(open(dir.path()).expect("it opens").boot(), 2);
}

#[test]
fn a_lost_half_of_the_directory_is_noticed() {
    let dir = blank();
    drop(open(dir.path()).expect("it opens"));
    let (identity, store) = (dir.path().join(IDENTITY_NAME), dir.path().join(STORE_NAME));
    let aside = dir.path().join("aside");

    fs::rename(&identity, &aside).expect("movable");
    assert!(matches!(
        open_error(dir.path()),
        DataDirError::IdentityMissing { .. }
    ));
    fs::rename(&aside, &identity).expect("movable");

    fs::rename(&store, &aside).expect("movable");
    assert!(matches!(
        open_error(dir.path()),
        DataDirError::StoreMissing { .. }
    ));
    assert!(!store.exists(), "nothing new is made in its place");
    fs::create_dir(&store).expect("writable");
    assert!(matches!(
        open_error(dir.path()),
        DataDirError::StoreMissing { .. }
    ));
}

#[test]
fn an_older_or_foreign_database_is_noticed() {
    let dir = blank();
    drop(open(dir.path()).expect("it opens"));
    let (identity, store) = (dir.path().join(IDENTITY_NAME), dir.path().join(STORE_NAME));
    let older = dir.path().join("older");
    copy_tree(&store, &older);
    drop(open(dir.path()).expect("it opens"));
    fs::remove_dir_all(&store).expect("removable");
    fs::rename(&older, &store).expect("movable");
    let error = open_error(dir.path());
    assert!(
        matches!(
            error,
            DataDirError::RolledBack {
                expected_boot: 2,
                found_boot: 1,
                ..
            }
        ),
        "{error}"
    );
    let report = check_all(dir.path()).expect("it can be checked");
    assert_eq!(report.problems_total, 1);
    assert!(
        report.problems[0].contains("went back to boot 1"),
        "{:?}",
        report.problems
    );

    let other = blank();
    let entropy = Counter(AtomicU64::new(77));
    let opened = DataDir::open(
        other.path(),
        &expected(),
        &FjallOptions::default(),
        &entropy,
    );
    drop(opened.expect("it opens"));
    fs::copy(other.path().join(IDENTITY_NAME), &identity).expect("writable");
    let error = open_error(dir.path());
    assert!(
        matches!(
            error,
            DataDirError::StoreOfAnotherMember {
                expected: MemberId(77),
                found: MemberId(1),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_crash_at_each_step_of_a_boot_is_survived() {
    let expect_boot = |path: &Path, boot: u32| {
        let opened = open(path).expect("it opens");
        assert_eq!(
            (opened.boot(), opened.identity().member),
            (boot, MemberId(1))
        );
    };
    let making = new_identity(&expected(), &Counter::default());

    // After the first identity, before the database.
    let dir = blank();
    write_identity(dir.path(), &making).expect("writable");
    expect_boot(dir.path(), 1);

    // After an empty database.
    let dir = blank();
    write_identity(dir.path(), &making).expect("writable");
    let store = dir.path().join(STORE_NAME);
    drop(FjallEngine::open(&store, &FjallOptions::default()).expect("it opens"));
    expect_boot(dir.path(), 1);

    // A database of another member does not become ours by that.
    let dir = blank();
    write_identity(dir.path(), &making).expect("writable");
    let store = dir.path().join(STORE_NAME);
    let engine = FjallEngine::open(&store, &FjallOptions::default()).expect("it opens");
    let stamp = Stamp {
        member: MemberId(5),
        boot: 1,
    };
    engine
        .commit(&[stamp.to_batch()], Lsn(1))
        .expect("it commits");
    drop(engine);
    assert!(matches!(
        open_error(dir.path()),
        DataDirError::StoreOfAnotherMember { .. }
    ));

    // After the first stamp, before the identity that goes with it: boot 1 may have been seen.
    let dir = blank();
    write_identity(dir.path(), &making).expect("writable");
    let store = dir.path().join(STORE_NAME);
    let engine = FjallEngine::open(&store, &FjallOptions::default()).expect("it opens");
    let stamp = Stamp {
        member: MemberId(1),
        boot: 1,
    };
    engine
        .commit(&[stamp.to_batch()], Lsn(1))
        .expect("it commits");
    drop(engine);
    expect_boot(dir.path(), 2);

    // The same at a later boot, with a half-written identity beside the good one.
    let before = fs::read(dir.path().join(IDENTITY_NAME)).expect("readable");
    expect_boot(dir.path(), 3);
    fs::write(dir.path().join(IDENTITY_NAME), &before).expect("writable");
    fs::write(dir.path().join(IDENTITY_TEMPORARY), &before[..5]).expect("writable");
    expect_boot(dir.path(), 4);
}

#[test]
fn the_count_of_boots_ends_with_an_error() {
    let dir = blank();
    drop(open(dir.path()).expect("it opens"));
    let store = dir.path().join(STORE_NAME);
    let engine = FjallEngine::open(&store, &FjallOptions::default()).expect("it opens");
    let stamp = Stamp {
        member: MemberId(1),
        boot: u32::MAX,
    };
    engine
        .commit(&[stamp.to_batch()], Lsn(2))
        .expect("it commits");
    drop(engine);
    assert!(matches!(
        open_error(dir.path()),
        DataDirError::BootsExhausted { .. }
    ));
}

#[test]
fn a_damaged_stamp_is_an_error_of_the_store() {
    let dir = blank();
    drop(open(dir.path()).expect("it opens"));
    let store = dir.path().join(STORE_NAME);
    let engine = FjallEngine::open(&store, &FjallOptions::default()).expect("it opens");
    let mut batch = WriteBatch::default();
    batch.put(Keyspace::Meta, STAMP_KEY, "nonsense");
    engine.commit(&[batch], Lsn(2)).expect("it commits");
    drop(engine);
    let error = open_error(dir.path());
    let DataDirError::Store { source, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(matches!(source, EngineError::Corrupt(_)));
}

#[test]
fn a_check_counts_what_is_there_and_leaves_the_boots() {
    let dir = blank();
    let opened = open(dir.path()).expect("it opens");
    let mut batch = WriteBatch::default();
    for n in 0..30_u8 {
        batch.put(Keyspace::Records, vec![n], vec![n; 10]);
    }
    batch.put(Keyspace::Changes, "change", "1");
    opened
        .engine()
        .commit(&[batch], Lsn(2))
        .expect("it commits");
    let identity = opened.identity().clone();
    drop(opened);

    let report = check_all(dir.path()).expect("it can be checked");
    assert!(report.is_sound(), "{:?}", report.problems);
    assert_eq!(
        (&report.identity, report.last_lsn),
        (&identity, Some(Lsn(2)))
    );
    let counts = |keyspace| {
        let found = report
            .keyspaces
            .iter()
            .find(|found| found.keyspace == keyspace);
        let found = found.expect("each keyspace is reported");
        (found.entries, found.key_bytes, found.value_bytes)
    };
    assert_eq!(counts(Keyspace::Records), (30, 30, 300));
    assert_eq!(counts(Keyspace::Changes), (1, 6, 1));
    assert_eq!(counts(Keyspace::Vectors), (0, 0, 0));
    assert_eq!(counts(Keyspace::Meta).0, 2);

    let report = check(
        dir.path(),
        &FjallOptions::default(),
        |keyspace, key, value| {
            assert_eq!(key[0] == b'c', keyspace == Keyspace::Changes);
            if value.len() == 10 {
                Err("ten bytes".to_owned())
            } else {
                Ok(())
            }
        },
    )
    .expect("it can be checked");
    assert_eq!((report.problems_total, report.problems.len()), (30, 20));
    assert_eq!(report.problems[1], "records: key \\x01: ten bytes");
    assert_eq!(open(dir.path()).expect("it opens").boot(), 2);
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir(to).expect("writable");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("readable").is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("writable");
        }
    }
}
