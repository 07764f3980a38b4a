//! The actors of one Engram node: thin shells around the state machines of `engram-core`.

pub mod embedder;
pub mod env;
pub mod index_partition;
