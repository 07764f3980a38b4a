//! Index partitions: full-text and vector index of a part of a node's shards.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod memory_text_index;
mod text_index;

pub use memory_text_index::MemoryTextIndex;
pub use text_index::{TextIndex, TextIndexError, TextIndexStatus, TextSearchDone, TextStatusDone};
