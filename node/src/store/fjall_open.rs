//! Opening the database on disk: its configuration, and what may be wrong with a directory.
//!
//! What fjall would pass over in silence is an error here, if it is more than a commit that a
//! crash cut short: a tree whose directory is gone comes back empty, a database without trees too.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;

use engram_actors::storage::{EngineError, LSN_KEY};
use engram_core::limits::STORE_FREE_BYTES_KEPT;
use engram_core::storage::Keyspace;
use fjall::{Database, JournalRecoveryError, KeyspaceCreateOptions};

use super::fjall_engine::{corrupt, engine_error};
use super::torn_tail::TornTail;

const MIB: u64 = 1024 * 1024;
/// The least that fjall takes.
const JOURNAL_BYTES_MIN: u64 = 64 * MIB;
const THREADS_MAX: usize = 4;
/// The directory in which fjall keeps its trees.
const TREES: &str = "keyspaces";

/// What of the engine may be configured.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FjallOptions {
    /// Memory for blocks read from disk, in bytes.
    pub cache_bytes: u64,
    /// Bytes of journal on disk after which memtables are flushed to shorten it, at least 64 MiB.
    /// Opening a directory reads all of it, at about 100 MiB a second.
    pub journal_bytes_max: u64,
    /// Threads that flush and compact, at least 1.
    pub background_threads: usize,
}

impl Default for FjallOptions {
    fn default() -> FjallOptions {
        // With more than one thread fjall's first one spins while only compactions are queued, so
        // a small machine is better off with a single one.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        FjallOptions {
            cache_bytes: 64 * MIB,
            journal_bytes_max: 128 * MIB,
            background_threads: (cores / 2).clamp(1, THREADS_MAX),
        }
    }
}

/// Something is where the database has none of its own.
#[derive(Debug, thiserror::Error)]
#[error("{} does not belong there", .0.display())]
struct LayoutError(PathBuf);

/// A keyspace that was there once is gone.
#[derive(Debug, thiserror::Error)]
#[error("the keyspace {0} is lost")]
struct LostTree(&'static str);

/// Memory for what is not flushed yet, in bytes. A keyspace is flushed beyond it. Fixed when a
/// directory is made.
const fn memtable_bytes(keyspace: Keyspace) -> u64 {
    match keyspace {
        Keyspace::Records => 24 * MIB,
        Keyspace::Vectors => 16 * MIB,
        Keyspace::Changes => 12 * MIB,
        Keyspace::Meta | Keyspace::Expiry => 4 * MIB,
        Keyspace::Empties => 2 * MIB,
    }
}

/// A flush needs disk space even when no write is admitted any more.
const _: () = {
    let mut sum = 0;
    let mut index = 0;
    while index < Keyspace::ALL.len() {
        sum += memtable_bytes(Keyspace::ALL[index]);
        index += 1;
    }
    assert!(sum <= STORE_FREE_BYTES_KEPT);
};

/// The trees of a database, one for each of our keyspaces.
pub(super) struct Trees {
    pub(super) meta: fjall::Keyspace,
    pub(super) records: fjall::Keyspace,
    changes: fjall::Keyspace,
    expiry: fjall::Keyspace,
    empties: fjall::Keyspace,
    vectors: fjall::Keyspace,
}

impl Trees {
    pub(super) fn of(&self, keyspace: Keyspace) -> &fjall::Keyspace {
        match keyspace {
            Keyspace::Meta => &self.meta,
            Keyspace::Records => &self.records,
            Keyspace::Changes => &self.changes,
            Keyspace::Expiry => &self.expiry,
            Keyspace::Empties => &self.empties,
            Keyspace::Vectors => &self.vectors,
        }
    }
}

/// Opens the database in a directory, or makes it, with a tree for each of our keyspaces.
pub(super) fn open_database(
    path: &Path,
    options: &FjallOptions,
) -> Result<(Trees, Database), EngineError> {
    let database = open_fjall(path, options)?;
    let tree = |keyspace: Keyspace| {
        let options =
            || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes(keyspace));
        database
            .keyspace(keyspace.name(), options)
            .map_err(engine_error)
    };
    let meta = tree(Keyspace::Meta)?;
    if meta.get(LSN_KEY).map_err(engine_error)?.is_some() {
        // fjall would make an empty tree in place of one whose directory is gone.
        for keyspace in Keyspace::ALL {
            if !database.keyspace_exists(keyspace.name()) {
                return Err(corrupt(LostTree(keyspace.name())));
            }
        }
    }
    let trees = Trees {
        records: tree(Keyspace::Records)?,
        changes: tree(Keyspace::Changes)?,
        expiry: tree(Keyspace::Expiry)?,
        empties: tree(Keyspace::Empties)?,
        vectors: tree(Keyspace::Vectors)?,
        meta,
    };
    // Their directories may be new.
    File::open(path.join(TREES))?.sync_all()?;
    Ok((trees, database))
}

/// Opens the database, without a last commit that a power cut tore.
fn open_fjall(path: &Path, options: &FjallOptions) -> Result<Database, EngineError> {
    let open = || {
        Database::builder(path)
            .cache_size(options.cache_bytes)
            .max_journaling_size(options.journal_bytes_max.max(JOURNAL_BYTES_MIN))
            .worker_threads(options.background_threads.max(1))
            .open()
    };
    let error = match open() {
        Ok(database) => return Ok(database),
        Err(error) => error,
    };
    if !matches!(
        error,
        fjall::Error::JournalRecovery(JournalRecoveryError::ChecksumMismatch)
    ) {
        return Err(engine_error(error));
    }
    let Some(tail) = TornTail::cut(path)? else {
        return Err(engine_error(error));
    };
    match open() {
        Ok(database) => {
            tracing::warn!(path = %path.display(), "dropped a torn commit at the end of the journal");
            Ok(database)
        }
        Err(error) => {
            tail.restore()?;
            Err(engine_error(error))
        }
    }
}

/// Refuses what fjall would meet with an assertion while it holds locks, which ends the process:
/// trees that have no number, journals that are no files.
pub(super) fn check_layout(path: &Path) -> Result<(), EngineError> {
    let trees = path.join(TREES);
    if trees.is_dir() {
        for entry in fs::read_dir(&trees)? {
            let entry = entry?;
            let number = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<u64>().ok());
            if number.is_none() && entry.file_type()?.is_dir() {
                return Err(corrupt(LayoutError(entry.path())));
            }
        }
    }
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let is_journal = entry
                .path()
                .extension()
                .is_some_and(|extension| extension == "jnl");
            if is_journal && !entry.file_type()?.is_file() {
                return Err(corrupt(LayoutError(entry.path())));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use engram_actors::storage::Engine;
    use engram_core::storage::WriteBatch;
    use engram_core::types::Lsn;
    use tempfile::TempDir;

    use super::*;
    use crate::store::FjallEngine;

    struct Disk(TempDir);

    impl Disk {
        fn blank() -> Disk {
            Disk(tempfile::tempdir().expect("a temporary directory"))
        }

        fn store(&self) -> PathBuf {
            self.0.path().join("store")
        }

        fn try_open(&self) -> Result<FjallEngine, EngineError> {
            FjallEngine::open(&self.store(), &FjallOptions::default())
        }

        fn open(&self) -> FjallEngine {
            self.try_open().expect("it opens")
        }
    }

    #[test]
    fn a_broken_directory_is_an_error_and_no_panic() {
        let breakages: [fn(&Path); 4] = [
            |store| fs::write(store.join("version"), b"nonsense").expect("writable"),
            |store| fs::create_dir(store.join(TREES).join("strange")).expect("writable"),
            |store| fs::create_dir(store.join("7.jnl")).expect("writable"),
            |store| fs::remove_dir_all(store.join(TREES).join("3")).expect("writable"),
        ];
        for breakage in breakages {
            let disk = Disk::blank();
            disk.open().commit(&[], Lsn(1)).expect("it commits");
            breakage(&disk.store());
            let error = disk.try_open().err();
            assert!(matches!(error, Some(EngineError::Corrupt(_))), "{error:?}");
        }
    }

    /// Two commits, each with a value that is longer than a page; the journal they left, and where
    /// each of them ends in it.
    fn two_commits(disk: &Disk) -> (PathBuf, Vec<u8>, [usize; 2]) {
        let journal = disk.store().join("0.jnl");
        let engine = disk.open();
        let ends = [1_u64, 2].map(|n| {
            let mut batch = WriteBatch::default();
            batch.put(Keyspace::Records, n.to_string(), vec![b'x'; 10_000]);
            batch.put(Keyspace::Changes, n.to_string(), "");
            engine.commit(&[batch], Lsn(n)).expect("it commits");
            // It is allocated ahead, with zeros.
            let bytes = fs::read(&journal).expect("readable");
            bytes
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1)
        });
        drop(engine);
        let bytes = fs::read(&journal).expect("readable");
        (journal, bytes, ends)
    }

    fn expect_only_the_first_commit(engine: &FjallEngine, context: &str) {
        assert_eq!(engine.last_lsn().expect("readable"), Lsn(1), "{context}");
        assert!(
            engine
                .get(Keyspace::Records, b"1")
                .expect("readable")
                .is_some(),
            "{context}"
        );
        for keyspace in [Keyspace::Records, Keyspace::Changes] {
            assert_eq!(
                engine.get(keyspace, b"2").expect("readable"),
                None,
                "{context}"
            );
        }
    }

    #[test]
    fn a_cut_tail_of_the_journal_is_dropped_as_a_whole() {
        let disk = Disk::blank();
        let (journal, whole, [first, second]) = two_commits(&disk);
        for end in [first, first + 1, (first + second) / 2, second - 1] {
            fs::write(&journal, &whole[..end]).expect("writable");
            expect_only_the_first_commit(&disk.open(), &format!("cut at {end}"));
        }
    }

    #[test]
    fn a_torn_tail_of_the_journal_is_dropped_and_a_hole_before_it_refused() {
        let disk = Disk::blank();
        let (journal, whole, [first, second]) = two_commits(&disk);
        let with_hole_at = |offset: usize| {
            let mut bytes = whole.clone();
            bytes[offset..offset + 4096].fill(0);
            bytes
        };
        let torn = with_hole_at((first + second) / 2 - 2048);
        fs::write(&journal, torn).expect("writable");
        let engine = disk.open();
        expect_only_the_first_commit(&engine, "torn");
        engine.commit(&[], Lsn(2)).expect("it goes on");
        drop(engine);
        assert_eq!(disk.open().last_lsn().expect("readable"), Lsn(2));

        let holed = with_hole_at(first / 2 - 2048);
        fs::write(&journal, &holed).expect("writable");
        let error = disk.try_open().err();
        assert!(matches!(error, Some(EngineError::Corrupt(_))), "{error:?}");
        assert_eq!(
            fs::read(&journal).expect("readable"),
            holed,
            "it is left as it was"
        );
    }
}
