//! Durable storage of a node: one append stream with group commit over a blocking engine.
//!
//! [`GroupCommitStore`] is the [`Store`](crate::env::Store) of a real node. Its writer thread
//! drains a bounded queue, makes one atomic durable commit of all it found, and then answers each
//! append in order; a few reader threads answer reads meanwhile. What commits is an [`Engine`]:
//! [`MemoryEngine`] here, for tests and for nodes inside another process, and the engine on disk
//! in the node.
//!
//! | what happens | what the caller sees |
//! |---|---|
//! | the queue is full, in entries or bytes | `Overloaded`, at once; nothing was written |
//! | less disk space than the watermark | `DiskFull` until there is more again; nothing was written |
//! | a commit fails, panics or stalls | `Poisoned`, for ever; `on_failure` is called once |
//! | data on disk fails its checksum | `Corrupt`, for that read only |
//! | the store is closed | what is queued is committed, then `Closed` |
//!
//! A commit is never retried: after a failed fsync nobody knows what is on disk (Rebello et al.,
//! "Can Applications Recover from fsync Failures?", 2020), so the process ends and reads the disk
//! anew.

#![expect(
    clippy::disallowed_methods,
    reason = "the store behind the seam: real threads and clocks, which simulation replaces"
)]

mod completion;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod engine;
mod failure;
mod group_commit;
mod memory;
mod reader;
mod space;
mod stats;
mod watchdog;
mod writer;

pub use engine::{
    Engine, EngineError, LSN_KEY, RESERVED_PREFIX, collect_page, decode_lsn, encode_lsn,
};
pub use group_commit::{GroupCommitConfig, GroupCommitStore};
pub use memory::MemoryEngine;
pub use stats::{COMMIT_MICROS_BUCKETS, StoreStats};
