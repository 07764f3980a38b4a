//! The engine on disk: one fjall database, one of its keyspaces for each of ours.
//!
//! A commit is one fjall batch across keyspaces. fjall writes it to its journal, calls fdatasync,
//! and only then applies it to the memtables; so what a read sees is on disk, and a commit that
//! failed is not seen. After a crash an incomplete batch at the end of the journal is dropped.
//!
//! All operations of a batch share one sequence number. An operation on a key that a later one of
//! the same commit overwrites is left out: it would only be a moment's view that never was durable
//! by itself, and bytes in the journal.
//!
//! fjall holds back a commit while too much is unflushed. Should its background work have died it
//! would do so for ever; the watchdog of the group commit ends the node then.

use std::any::Any;
use std::collections::HashSet;
use std::error::Error;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use engram_actors::storage::{Engine, EngineError, LSN_KEY, collect_page, encode_lsn};
use engram_core::storage::{Keyspace, RangePage, RangeQuery, WriteBatch, WriteOp};
use engram_core::types::Lsn;
use fjall::{Database, OwnedWriteBatch, PersistMode, Readable};

use super::fjall_open::{FjallOptions, Trees, check_layout, open_database};
use crate::data_dir::DirLock;

/// A fjall database as an [`Engine`].
pub struct FjallEngine {
    trees: Trees,
    database: Database,
    path: PathBuf,
    /// Dropped last, so that nobody else opens the directory while this is still open.
    _lock: Option<DirLock>,
}

impl FjallEngine {
    /// Opens the database in a directory, and makes it if there is none.
    ///
    /// # Errors
    /// [`EngineError::Corrupt`] if what is there cannot be read, [`EngineError::Refused`] if it is
    /// open already or was made by another version of fjall, [`EngineError::Io`] if the disk fails.
    pub fn open(path: &Path, options: &FjallOptions) -> Result<FjallEngine, EngineError> {
        FjallEngine::open_under(None, path, options)
    }

    /// Like [`open`](Self::open); the lock is kept for as long as the engine lives.
    pub(crate) fn open_under(
        lock: Option<DirLock>,
        path: &Path,
        options: &FjallOptions,
    ) -> Result<FjallEngine, EngineError> {
        check_layout(path)?;
        // Of what it finds in its files, too, fjall asserts some.
        catch_unwind(AssertUnwindSafe(|| open_database(path, options)))
            .unwrap_or_else(|payload| Err(EngineError::Panicked(panic_text(payload.as_ref()))))
            .map(|(trees, database)| FjallEngine {
                trees,
                database,
                path: path.to_owned(),
                _lock: lock,
            })
    }

    /// Calls `visit` with every entry of a keyspace in ascending order, as of now, until it fails
    /// or an entry cannot be read. Returns how many entries were visited, and the failure.
    pub(crate) fn visit_all(
        &self,
        keyspace: Keyspace,
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> (u64, Result<(), EngineError>) {
        let mut visited = 0;
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            for entry in self.database.snapshot().iter(self.trees.of(keyspace)) {
                let (key, value) = entry.into_inner().map_err(engine_error)?;
                visit(&key, &value);
                visited += 1;
            }
            Ok(())
        }))
        .unwrap_or_else(|payload| Err(EngineError::Panicked(panic_text(payload.as_ref()))));
        (visited, outcome)
    }

    fn fill(&self, batch: &mut OwnedWriteBatch, batches: &[WriteBatch], ops: usize) {
        let mut written = HashSet::with_capacity(ops);
        // Backwards, so that the first one met for a key is the one that counts.
        for op in batches
            .iter()
            .rev()
            .flat_map(|batch| batch.ops.iter().rev())
        {
            let (WriteOp::Put { keyspace, key, .. } | WriteOp::Remove { keyspace, key }) = op;
            if ops > 1 && !written.insert((*keyspace, key.as_ref())) {
                continue;
            }
            let tree = self.trees.of(*keyspace);
            match op {
                WriteOp::Put { value, .. } => batch.insert(tree, key.as_ref(), value.as_ref()),
                WriteOp::Remove { .. } => batch.remove(tree, key.as_ref()),
            }
        }
    }
}

impl Engine for FjallEngine {
    fn commit(&self, batches: &[WriteBatch], lsn: Lsn) -> Result<(), EngineError> {
        let ops = batches.iter().map(|batch| batch.ops.len()).sum();
        let mut batch = OwnedWriteBatch::with_capacity(self.database.clone(), ops + 1)
            .durability(Some(PersistMode::SyncData));
        self.fill(&mut batch, batches, ops);
        batch.insert(&self.trees.meta, LSN_KEY, encode_lsn(lsn));
        batch.commit().map_err(engine_error)
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let value = self.trees.of(keyspace).get(key).map_err(engine_error)?;
        Ok(value.map(|value| Bytes::copy_from_slice(&value)))
    }

    fn range(&self, query: &RangeQuery) -> Result<RangePage, EngineError> {
        if query.from >= query.to {
            return Ok(RangePage::default());
        }
        let bounds = query.from.as_ref()..query.to.as_ref();
        let entries = self
            .database
            .snapshot()
            .range(self.trees.of(query.keyspace), bounds);
        collect_page(query, entries, |entry| {
            let (key, value) = entry.into_inner().map_err(engine_error)?;
            Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
        })
    }

    fn free_bytes(&self) -> Option<u64> {
        fs4::available_space(&self.path).ok()
    }
}

/// Sorts an error of fjall by what can be done about it.
pub(super) fn engine_error(error: fjall::Error) -> EngineError {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            match error.kind() {
                // A file that is shorter than what refers to it, or whose bytes make no sense.
                ErrorKind::UnexpectedEof | ErrorKind::InvalidData => corrupt(error),
                _ => EngineError::Io(error),
            }
        }
        error @ (fjall::Error::InvalidVersion(Some(_))
        | fjall::Error::Poisoned
        | fjall::Error::KeyspaceDeleted
        | fjall::Error::Locked) => EngineError::Refused(Box::new(error)),
        error => corrupt(error),
    }
}

pub(super) fn corrupt(error: impl Error + Send + Sync + 'static) -> EngineError {
    EngineError::Corrupt(Box::new(error))
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use engram_actors::storage::conformance::{self, Disk};
    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    struct FjallDisk(TempDir);

    impl Disk for FjallDisk {
        type Engine = FjallEngine;

        fn blank() -> FjallDisk {
            FjallDisk(tempfile::tempdir().expect("a temporary directory"))
        }

        fn open(&self) -> FjallEngine {
            FjallEngine::open(&self.0.path().join("store"), &FjallOptions::default())
                .expect("it opens")
        }
    }

    #[test]
    fn it_conforms() {
        conformance::run::<FjallDisk>();
    }

    proptest! {
        // Each case makes and opens real databases.
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn it_agrees_with_the_model(steps in conformance::steps()) {
            conformance::follow::<FjallDisk>(&steps);
        }
    }

    #[test]
    fn a_directory_is_open_once() {
        let disk = FjallDisk::blank();
        let path = disk.0.path().join("store");
        let engine = disk.open();
        let error = FjallEngine::open(&path, &FjallOptions::default()).err();
        assert!(matches!(error, Some(EngineError::Refused(_))), "{error:?}");
        assert!(engine.free_bytes().is_some_and(|free| free > 0));
    }

    #[test]
    fn a_flipped_byte_in_a_table_is_corruption_of_what_is_read() {
        let disk = FjallDisk::blank();
        let engine = disk.open();
        let mut batch = WriteBatch::default();
        for n in 0..100_u8 {
            batch.put(Keyspace::Records, vec![n], vec![n; 1000]);
        }
        engine.commit(&[batch], Lsn(1)).expect("it commits");
        engine
            .trees
            .records
            .rotate_memtable_and_wait()
            .expect("it flushes");
        let tables = engine.trees.records.path().join("tables");
        drop(engine);
        let table = fs::read_dir(tables)
            .expect("readable")
            .next()
            .expect("one table");
        let table = table.expect("readable").path();
        let mut bytes = fs::read(&table).expect("readable");
        bytes[2000] ^= 1;
        fs::write(&table, bytes).expect("writable");

        let engine = disk.open();
        let damaged = engine.get(Keyspace::Records, &[1]);
        assert!(
            matches!(damaged, Err(EngineError::Corrupt(_))),
            "{damaged:?}"
        );
        let intact = engine.get(Keyspace::Records, &[99]).expect("another block");
        assert_eq!(intact.as_deref(), Some(&[99; 1000][..]));
        let (visited, outcome) = engine.visit_all(Keyspace::Records, |_, _| {});
        assert!(visited < 100 && matches!(outcome, Err(EngineError::Corrupt(_))));
    }
}
