//! What a node keeps on disk: the storage engine, and the check of a stopped node's data.
//!
//! [`FjallEngine`] stores the keyspaces of [`engram_core::storage::Keyspace`] in one fjall
//! database. [`check`] reads all of a directory and says what it found.

mod check;
mod fjall_engine;
mod fjall_open;
mod torn_tail;

pub use check::{CheckReport, KeyspaceReport, check};
pub use fjall_engine::FjallEngine;
pub use fjall_open::FjallOptions;
