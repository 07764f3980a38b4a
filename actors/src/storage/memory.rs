//! An engine in memory, for tests and for nodes inside another process, with faults on demand.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use engram_core::storage::{Keyspace, RangePage, RangeQuery, WriteBatch, WriteOp};
use engram_core::types::Lsn;

use super::engine::{Engine, EngineError, LSN_KEY, collect_page, encode_lsn};

type Entries = BTreeMap<(Keyspace, Bytes), Bytes>;

/// An engine that forgets everything when its last clone goes. All clones share one content, so a
/// clone stands for the same disk opened again.
///
/// Its faults are for tests; none of them occurs by itself.
#[derive(Clone, Default)]
pub struct MemoryEngine {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    entries: RwLock<Entries>,
    faults: Mutex<Faults>,
    changed: Condvar,
}

#[derive(Default)]
struct Faults {
    fail_next: Option<String>,
    panic_next: Option<String>,
    free_bytes: Option<u64>,
    is_holding: bool,
    held: usize,
    /// Operations of each commit.
    commits: Vec<usize>,
    corrupt: BTreeSet<(Keyspace, Bytes)>,
}

/// Why a fault on demand happened.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Injected(String);

impl MemoryEngine {
    /// An empty engine.
    pub fn new() -> MemoryEngine {
        MemoryEngine::default()
    }

    /// Lets the next commit fail; it writes nothing.
    pub fn fail_next_commit(&self, reason: &str) {
        self.faults().fail_next = Some(reason.to_owned());
    }

    /// Lets the next commit panic; it writes nothing.
    pub fn panic_in_next_commit(&self, text: &str) {
        self.faults().panic_next = Some(text.to_owned());
    }

    /// Sets what [`Engine::free_bytes`] says; `None`, as at first, says that it is not known.
    pub fn set_free_bytes(&self, free_bytes: Option<u64>) {
        self.faults().free_bytes = free_bytes;
    }

    /// Lets reads of this key fail as corrupt, and those of ranges that return it.
    pub fn corrupt(&self, keyspace: Keyspace, key: impl Into<Bytes>) {
        self.faults().corrupt.insert((keyspace, key.into()));
    }

    /// Lets commits wait, from now on, until [`release_commits`](Self::release_commits).
    pub fn hold_commits(&self) {
        self.faults().is_holding = true;
    }

    /// Lets commits that wait go on.
    pub fn release_commits(&self) {
        self.faults().is_holding = false;
        self.inner.changed.notify_all();
    }

    /// Waits until a commit is being held.
    pub fn await_held_commit(&self) {
        let mut faults = self.faults();
        while faults.held == 0 {
            faults = self
                .inner
                .changed
                .wait(faults)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How many batches each commit had since the engine was made.
    pub fn commits(&self) -> Vec<usize> {
        self.faults().commits.clone()
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.inner
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn meet_faults(&self, batches: usize) -> Result<(), EngineError> {
        let mut faults = self.faults();
        while faults.is_holding {
            faults.held += 1;
            self.inner.changed.notify_all();
            faults = self
                .inner
                .changed
                .wait(faults)
                .unwrap_or_else(PoisonError::into_inner);
            faults.held -= 1;
        }
        if let Some(text) = faults.panic_next.take() {
            drop(faults);
            std::panic::resume_unwind(Box::new(text));
        }
        if let Some(reason) = faults.fail_next.take() {
            return Err(EngineError::Io(std::io::Error::other(Injected(reason))));
        }
        faults.commits.push(batches);
        Ok(())
    }

    fn meet_corruption(&self, keyspace: Keyspace, key: &Bytes) -> Result<(), EngineError> {
        let faults = self.faults();
        if !faults.corrupt.is_empty() && faults.corrupt.contains(&(keyspace, key.clone())) {
            return Err(EngineError::Corrupt(Box::new(Injected(format!(
                "key {key:?}"
            )))));
        }
        Ok(())
    }
}

impl Engine for MemoryEngine {
    fn commit(&self, batches: &[WriteBatch], lsn: Lsn) -> Result<(), EngineError> {
        self.meet_faults(batches.len())?;
        let mut entries = self
            .inner
            .entries
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for op in batches.iter().flat_map(|batch| &batch.ops) {
            match op {
                WriteOp::Put {
                    keyspace,
                    key,
                    value,
                } => {
                    entries.insert((*keyspace, key.clone()), value.clone());
                }
                WriteOp::Remove { keyspace, key } => {
                    entries.remove(&(*keyspace, key.clone()));
                }
            }
        }
        let lsn = Bytes::copy_from_slice(&encode_lsn(lsn));
        entries.insert((Keyspace::Meta, Bytes::from_static(LSN_KEY)), lsn);
        Ok(())
    }

    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        let place = (keyspace, Bytes::copy_from_slice(key));
        self.meet_corruption(keyspace, &place.1)?;
        let entries = self
            .inner
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        Ok(entries.get(&place).cloned())
    }

    fn range(&self, query: &RangeQuery) -> Result<RangePage, EngineError> {
        if query.from >= query.to {
            return Ok(RangePage::default());
        }
        let from = Bound::Included((query.keyspace, query.from.clone()));
        let to = Bound::Excluded((query.keyspace, query.to.clone()));
        let entries = self
            .inner
            .entries
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        collect_page(
            query,
            entries.range((from, to)),
            |((keyspace, key), value)| {
                self.meet_corruption(*keyspace, key)?;
                Ok((key.clone(), value.clone()))
            },
        )
    }

    fn free_bytes(&self) -> Option<u64> {
        self.faults().free_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::conformance::{self, Disk};

    #[derive(Default)]
    struct MemoryDisk(MemoryEngine);

    impl Disk for MemoryDisk {
        type Engine = MemoryEngine;

        fn blank() -> MemoryDisk {
            MemoryDisk::default()
        }

        fn open(&self) -> MemoryEngine {
            self.0.clone()
        }
    }

    #[test]
    fn it_conforms() {
        conformance::run::<MemoryDisk>();
    }

    proptest::proptest! {
        #[test]
        fn it_agrees_with_the_model(steps in conformance::steps()) {
            conformance::follow::<MemoryDisk>(&steps);
        }
    }

    #[test]
    fn faults_on_demand_hit_what_they_name() {
        let engine = MemoryEngine::new();
        let mut batch = WriteBatch::default();
        batch.put(Keyspace::Records, "a", "1");
        let batches = [batch];
        engine.fail_next_commit("on demand");
        let error = engine.commit(&batches, Lsn(1)).expect_err("told to fail");
        assert!(error.chain().ends_with("on demand"));
        assert_eq!(engine.get(Keyspace::Records, b"a").expect("readable"), None);
        engine.commit(&batches, Lsn(1)).expect("only once");
        engine.corrupt(Keyspace::Records, "a");
        let error = engine
            .get(Keyspace::Records, b"a")
            .expect_err("told to be corrupt");
        assert!(matches!(error, EngineError::Corrupt(_)));
        assert_eq!(engine.last_lsn().expect("intact"), Lsn(1));
        assert_eq!(engine.commits(), [1]);
    }
}
