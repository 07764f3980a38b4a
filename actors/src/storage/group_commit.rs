//! The store of a node: queues in front of an engine, a writer thread, reader threads, a watchdog.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError};
use engram_core::limits::{
    STORE_APPEND_BYTES_MAX, STORE_APPENDS_MAX, STORE_COMMIT_STALL_MS, STORE_FREE_BYTES_KEPT,
    STORE_FREE_CHECK_MS, STORE_GROUP_APPENDS_MAX, STORE_GROUP_BYTES_MAX, STORE_KEY_BYTES_MAX,
    STORE_READERS_DEFAULT, STORE_READERS_MAX, STORE_READS_MAX,
};
use engram_core::storage::{Keyspace, WriteBatch, WriteOp};
use engram_core::types::Lsn;

use super::completion::Completion;
use super::engine::{Engine, RESERVED_PREFIX};
use super::failure::Failure;
use super::reader::{self, ReadJob};
use super::stats::{Counters, StoreStats};
use super::watchdog;
use super::writer::{Append, AppendJob, Writer};
use crate::env::{AppendDone, ReadDone, ReadQuery, Store, StoreError};

/// How often `close` looks whether a thread that it waits for is stuck for good.
const CLOSE_POLL: Duration = Duration::from_millis(100);

/// The bounds of a [`GroupCommitStore`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupCommitConfig {
    /// Reader threads, 1 to [`STORE_READERS_MAX`].
    pub readers: usize,
    /// Most appends that wait.
    pub appends_max: usize,
    /// Most bytes of appends that wait, unless a single one is larger.
    pub append_bytes_max: usize,
    /// Most appends in one commit.
    pub group_appends_max: usize,
    /// A commit takes no further append once it has this many bytes.
    pub group_bytes_max: usize,
    /// Most reads that wait.
    pub reads_max: usize,
    /// Bytes of the data disk that are kept free: with less, appends get `DiskFull`.
    pub free_bytes_kept: u64,
    /// How long a look at the free space holds.
    pub free_check_interval: Duration,
    /// A commit that takes longer counts as failed.
    pub commit_stall_max: Duration,
}

impl Default for GroupCommitConfig {
    fn default() -> GroupCommitConfig {
        GroupCommitConfig {
            readers: STORE_READERS_DEFAULT,
            appends_max: STORE_APPENDS_MAX,
            append_bytes_max: STORE_APPEND_BYTES_MAX,
            group_appends_max: STORE_GROUP_APPENDS_MAX,
            group_bytes_max: STORE_GROUP_BYTES_MAX,
            reads_max: STORE_READS_MAX,
            free_bytes_kept: STORE_FREE_BYTES_KEPT,
            free_check_interval: Duration::from_millis(STORE_FREE_CHECK_MS),
            commit_stall_max: Duration::from_millis(STORE_COMMIT_STALL_MS),
        }
    }
}

/// What the threads of a store share.
pub(super) struct Shared<E> {
    pub(super) engine: Arc<E>,
    pub(super) config: GroupCommitConfig,
    pub(super) counters: Counters,
    pub(super) failure: Failure,
    pub(super) durable: AtomicU64,
    pub(super) queued_bytes: AtomicUsize,
    /// When the commit under way began, in microseconds since `started`, plus one; 0 if there is none.
    pub(super) commit_began: AtomicU64,
    /// Set by the watchdog: the writer may never come back.
    pub(super) is_stalled: AtomicBool,
    pub(super) started: Instant,
    is_closed: AtomicBool,
}

impl<E> Shared<E> {
    /// Whether the store takes no more requests. Ordered with the queues: a thread that took the
    /// last job of a queue that was full at `close` sees the flag.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }
}

struct Threads {
    /// With the thread's receiver of "it has ended": nothing is ever sent on it.
    joins: Vec<(JoinHandle<()>, Receiver<()>)>,
    watchdog: JoinHandle<()>,
    watchdog_stop: Sender<()>,
}

/// A [`Store`] that commits whatever has queued up while the previous commit was on its way to
/// disk. An append on an idle store is committed at once.
pub struct GroupCommitStore<E: Engine> {
    shared: Arc<Shared<E>>,
    appends: Sender<AppendJob>,
    reads: Sender<ReadJob>,
    threads: Mutex<Option<Threads>>,
}

impl<E: Engine> GroupCommitStore<E> {
    /// Starts the threads. `on_failure` is called at most once, from a thread of the store, when
    /// a commit has failed: the process must then end.
    ///
    /// # Errors
    /// [`StoreError::Engine`] if the engine does not know its last lsn, or a thread cannot start.
    pub fn start(
        engine: Arc<E>,
        config: GroupCommitConfig,
        on_failure: impl FnOnce(StoreError) + Send + 'static,
    ) -> Result<GroupCommitStore<E>, StoreError> {
        let durable = engine
            .last_lsn()
            .map_err(|error| engine_error(&error.chain()))?;
        let (appends, append_jobs) = crossbeam_channel::bounded(config.appends_max.max(1));
        let (reads, read_jobs) = crossbeam_channel::bounded(config.reads_max.max(1));
        let shared = Arc::new(Shared {
            counters: Counters::default(),
            failure: Failure::new(Box::new(on_failure)),
            durable: AtomicU64::new(durable.0),
            queued_bytes: AtomicUsize::new(0),
            commit_began: AtomicU64::new(0),
            is_stalled: AtomicBool::new(false),
            started: Instant::now(),
            is_closed: AtomicBool::new(false),
            engine,
            config,
        });
        shared.counters.free_bytes(shared.engine.free_bytes());

        let store = GroupCommitStore {
            shared,
            appends,
            reads,
            threads: Mutex::new(None),
        };
        match store.start_threads(append_jobs, &read_jobs) {
            Ok(threads) => {
                *store.threads() = Some(threads);
                Ok(store)
            }
            Err(error) => {
                store.wake_to_close();
                Err(error)
            }
        }
    }

    fn start_threads(
        &self,
        append_jobs: Receiver<AppendJob>,
        read_jobs: &Receiver<ReadJob>,
    ) -> Result<Threads, StoreError> {
        let mut joins = Vec::new();
        let writer = Writer::new(Arc::clone(&self.shared), append_jobs);
        joins.push(spawn("storage-writer", move || writer.run())?);
        for _ in 0..self.shared.config.readers.clamp(1, STORE_READERS_MAX) {
            let shared = Arc::clone(&self.shared);
            let (jobs, wake_next) = (read_jobs.clone(), self.reads.clone());
            joins.push(spawn("storage-reader", move || {
                reader::run(&shared, &jobs, &wake_next)
            })?);
        }
        let (watchdog_stop, stop) = crossbeam_channel::bounded(0);
        let shared = Arc::clone(&self.shared);
        let (watchdog, _) = spawn("storage-watchdog", move || watchdog::run(&shared, &stop))?;
        Ok(Threads {
            joins,
            watchdog,
            watchdog_stop,
        })
    }

    fn threads(&self) -> MutexGuard<'_, Option<Threads>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the threads to end. Only one that waits for a job needs waking: if a queue has no
    /// room for that, its threads see the flag when they have done what they are at.
    fn wake_to_close(&self) {
        self.shared.is_closed.store(true, Ordering::SeqCst);
        let _ = self.appends.try_send(AppendJob::Close);
        let _ = self.reads.try_send(ReadJob::Close);
    }

    /// The engine below.
    pub fn engine(&self) -> &Arc<E> {
        &self.shared.engine
    }

    /// What the store has done and what waits.
    pub fn stats(&self) -> StoreStats {
        StoreStats {
            appends_queued: self.appends.len(),
            append_bytes_queued: self.shared.queued_bytes.load(Ordering::Relaxed),
            reads_queued: self.reads.len(),
            poisoned: self.shared.failure.is_set(),
            ..self.shared.counters.snapshot()
        }
    }

    /// Takes no more requests, commits and answers what is queued, and ends the threads. Returns
    /// when that is done, or at once if it was called before. A completion may call it: it then
    /// does not wait for its own thread. A writer that is stuck in the engine for longer than
    /// [`GroupCommitConfig::commit_stall_max`] is left behind.
    pub fn close(&self) {
        self.wake_to_close();
        let threads = self.threads().take();
        let Some(Threads {
            joins,
            watchdog,
            watchdog_stop,
        }) = threads
        else {
            return;
        };
        let this_thread = thread::current().id();
        for (handle, ended) in joins {
            if self.wait_for_end(handle.thread().id(), this_thread, &ended) {
                // A panic of the thread was reported as a failure of the store already.
                let _ = handle.join();
            }
        }
        drop(watchdog_stop);
        if watchdog.thread().id() != this_thread {
            let _ = watchdog.join();
        }
    }

    fn wait_for_end(&self, thread: ThreadId, this_thread: ThreadId, ended: &Receiver<()>) -> bool {
        if thread == this_thread {
            return false;
        }
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(CLOSE_POLL) {
            if self.shared.is_stalled.load(Ordering::Acquire) {
                return false;
            }
        }
        true
    }

    fn refuse_overloaded(&self, append: Append) {
        let config = &self.shared.config;
        self.shared.counters.refused_overloaded();
        append.completion.finish(Err(StoreError::Overloaded {
            queued: self.appends.len().min(config.appends_max),
            queued_bytes: self.shared.queued_bytes.load(Ordering::Relaxed),
        }));
    }
}

impl<E: Engine> Store for GroupCommitStore<E> {
    fn append(&self, batch: WriteBatch, done: AppendDone) {
        let shared = &self.shared;
        if let Some(error) = shared.failure.error() {
            return done(Err(error));
        }
        if shared.is_closed() {
            return done(Err(StoreError::Closed));
        }
        if let Some(key_bytes) = forbidden_key(&batch) {
            return done(Err(StoreError::InvalidKey { key_bytes }));
        }
        let bytes = batch.byte_len();
        let append = Append {
            batch,
            bytes,
            completion: Completion::new(done),
        };
        let queued_bytes = shared.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        if queued_bytes > 0 && queued_bytes.saturating_add(bytes) > shared.config.append_bytes_max {
            shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return self.refuse_overloaded(append);
        }
        match self.appends.try_send(AppendJob::Append(append)) {
            Ok(()) => {}
            Err(TrySendError::Full(job)) => {
                shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
                if let AppendJob::Append(append) = job {
                    self.refuse_overloaded(append);
                }
            }
            // The writer has ended; dropping the job answers `Closed`.
            Err(TrySendError::Disconnected(_)) => {
                shared.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }

    fn read(&self, query: ReadQuery, done: ReadDone) {
        if self.shared.is_closed() {
            return done(Err(StoreError::Closed));
        }
        let job = ReadJob::Read {
            query,
            completion: Completion::new(done),
        };
        if let Err(TrySendError::Full(ReadJob::Read { completion, .. })) = self.reads.try_send(job)
        {
            let queued = self.shared.config.reads_max;
            completion.finish(Err(StoreError::Overloaded {
                queued,
                queued_bytes: 0,
            }));
        }
    }

    fn durable_lsn(&self) -> Lsn {
        Lsn(self.shared.durable.load(Ordering::Acquire))
    }

    fn admits_writes(&self) -> bool {
        let shared = &self.shared;
        let config = &shared.config;
        // Half of each bound is left for what is on its way here already.
        let queued_bytes = shared.queued_bytes.load(Ordering::Relaxed);
        let has_room = self.appends.len() < config.appends_max / 2
            && queued_bytes < config.append_bytes_max / 2;
        let free_bytes = shared.counters.last_free_bytes();
        let has_space = free_bytes.is_none_or(|free_bytes| free_bytes >= config.free_bytes_kept);
        has_room && has_space && !shared.failure.is_set() && !shared.is_closed()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.shared.counters.last_free_bytes()
    }
}

impl<E: Engine> Drop for GroupCommitStore<E> {
    fn drop(&mut self) {
        self.close();
    }
}

/// The length of a key in the batch that must not be written, if there is one.
fn forbidden_key(batch: &WriteBatch) -> Option<usize> {
    batch.ops.iter().find_map(|op| {
        let (WriteOp::Put { keyspace, key, .. } | WriteOp::Remove { keyspace, key }) = op;
        let is_reserved = *keyspace == Keyspace::Meta && key.first() == Some(&RESERVED_PREFIX);
        let is_allowed = !key.is_empty() && key.len() <= STORE_KEY_BYTES_MAX && !is_reserved;
        (!is_allowed).then_some(key.len())
    })
}

fn spawn(
    name: &str,
    body: impl FnOnce() + Send + 'static,
) -> Result<(JoinHandle<()>, Receiver<()>), StoreError> {
    let (ending, ended) = crossbeam_channel::bounded::<()>(0);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        let _ending = ending;
        body();
    });
    match thread {
        Ok(handle) => Ok((handle, ended)),
        Err(error) => Err(engine_error(&format!(
            "no thread could be started: {error}"
        ))),
    }
}

fn engine_error(text: &str) -> StoreError {
    StoreError::Engine(Arc::from(text))
}

#[cfg(test)]
#[path = "group_commit_tests.rs"]
mod tests;
