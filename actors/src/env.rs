//! The seams: everything an actor needs from the world, as traits. Production and simulation
//! differ here and nowhere else.

use std::sync::Arc;

use bytes::Bytes;
use engram_core::storage::{Keyspace, RangePage, RangeQuery, WriteBatch};
use engram_core::types::{Lsn, MemberId, Millis, SessionId};
use engram_core::wire::Frame;

/// Why a store could not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// An earlier commit failed: nothing is written any more, the process must end.
    #[error("storage is poisoned by an earlier failure: {0}")]
    Poisoned(Arc<str>),
    /// The engine reported an error.
    #[error("storage failed: {0}")]
    Engine(Arc<str>),
    /// Too little space is left; the node is read-only.
    #[error("only {free_bytes} bytes are left on the data disk, {needed_bytes} are kept free")]
    DiskFull {
        /// Bytes left.
        free_bytes: u64,
        /// Bytes that are kept free.
        needed_bytes: u64,
    },
    /// Too much waits already. Nothing was done: it may be tried again shortly.
    #[error("storage is overloaded: {queued} requests with {queued_bytes} bytes wait already")]
    Overloaded {
        /// Requests of this kind that wait.
        queued: usize,
        /// Bytes of the appends that wait; 0 for reads.
        queued_bytes: usize,
    },
    /// What is on disk under this key or in this range is not what was written there. Other keys
    /// are not affected.
    #[error("data on disk is corrupt: {0}")]
    Corrupt(Arc<str>),
    /// A key of the batch is empty, too long or reserved. Nothing was done.
    #[error("a batch holds a key that may not be written, of {key_bytes} bytes")]
    InvalidKey {
        /// Length of that key.
        key_bytes: usize,
    },
    /// The store was closed.
    #[error("storage is closed")]
    Closed,
}

/// Called once an append is durable, or has failed. Must not block.
pub type AppendDone = Box<dyn FnOnce(Result<Lsn, StoreError>) + Send>;
/// Called with what a read found. Must not block.
pub type ReadDone = Box<dyn FnOnce(Result<ReadOutcome, StoreError>) + Send>;

/// A question to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadQuery {
    /// One key.
    Get {
        /// Where.
        keyspace: Keyspace,
        /// Which.
        key: Bytes,
    },
    /// A range of keys.
    Range(RangeQuery),
}

/// Answer to a [`ReadQuery`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReadOutcome {
    /// To `Get`: the value, if any.
    Value(Option<Bytes>),
    /// To `Range`.
    Page(RangePage),
}

/// A durable store with group commit. Every method returns at once, and calls each completion
/// exactly once.
///
/// Completions are called from a thread of the store's own, those of appends in the order in which
/// they were queued, those of reads in any order. Only a request that is refused before it is
/// queued (`Overloaded`, `InvalidKey`, `Poisoned`, `Closed`) may be answered before the method
/// returns, by the caller's thread and ahead of earlier ones.
pub trait Store: Send + Sync + 'static {
    /// Queues one atomic batch. `done` is called when it is durable; appends become durable in
    /// the order in which they were queued. A batch without operations writes nothing: it is a
    /// barrier, answered when everything queued before it is durable.
    ///
    /// After `Poisoned` and `Closed` it is not known whether the batch is on disk; after every
    /// other error it is not.
    fn append(&self, batch: WriteBatch, done: AppendDone);

    /// Queues a read of committed state: it sees every append whose `done` was called before.
    fn read(&self, query: ReadQuery, done: ReadDone);

    /// The highest durable lsn.
    fn durable_lsn(&self) -> Lsn;

    /// Whether an append would be taken now: not poisoned, not full, not overloaded.
    fn admits_writes(&self) -> bool;

    /// Free space on the disk, in bytes, if known.
    fn free_bytes(&self) -> Option<u64>;
}

/// Wall-clock time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Millis;
}

/// Randomness.
pub trait Entropy: Send + Sync + 'static {
    /// A random number.
    fn next_u64(&self) -> u64;
}

/// Sends frames to other processes. Never blocks, never fails: what cannot be sent is dropped and
/// counted, and whoever waits for an answer has a deadline.
pub trait Transport: Send + Sync + 'static {
    /// To another member.
    fn send(&self, to: MemberId, frame: &Frame);

    /// The same to several members. Frames are encoded once.
    fn broadcast(&self, to: &[MemberId], frame: &Frame);

    /// To a client of this node.
    fn respond(&self, to: SessionId, frame: &Frame);
}

/// Work that takes long.
pub type Job = Box<dyn FnOnce() + Send>;

/// Too many jobs wait already. The job was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too many background jobs wait")]
pub struct BackgroundFull;

/// Does work that takes long, such as merging segments of vectors, where no actor waits for it.
pub trait Background: Send + Sync + 'static {
    /// Queues a job and returns at once. Jobs may be lost when the node ends, and only then.
    ///
    /// # Errors
    /// [`BackgroundFull`] if too many wait; it may be tried again later.
    fn run(&self, job: Job) -> Result<(), BackgroundFull>;
}

/// The world as one node's actors see it.
#[derive(Clone)]
pub struct Env {
    /// The disk.
    pub store: Arc<dyn Store>,
    /// The network.
    pub transport: Arc<dyn Transport>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// The source of randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Threads for work that takes long.
    pub background: Arc<dyn Background>,
}
