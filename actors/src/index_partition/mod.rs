//! Index partitions: full-text and vector index of a part of a node's shards.
//!
//! | name | what |
//! |---|---|
//! | [`IndexPartitionHandle`] | how shards, peers and searches reach a partition; outlives its actor |
//! | [`IndexPartitionActor`] | the shell of `engram_core::index::partition::IndexPartition` |
//! | [`TextIndex`] | the seam to a full-text index; [`MemoryTextIndex`] for simulations |
//! | [`ShardFeed`], [`PartitionPeers`] | the seams to this node's shards and the other replicas |
//! | [`DirectoryFeed`], [`DirectoryLookup`] | these seams as a node's directory provides them |
//!
//! Shard `s` is in partition `s mod P`; see [`engram_core::index::partition_of`].

mod actor;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod directory_seams;
mod handle;
mod memory_text;
mod memory_text_index;
mod message;
mod node_index;
mod seams;
mod text_index;

pub use actor::{IndexPartitionActor, IndexPartitionArguments, IndexPartitionState};
pub use directory_seams::{DirectoryFeed, DirectoryLookup};
pub use handle::{FailuresDone, IndexPartitionHandle, PendingQuery, Permit, QueryDone, StatsDone};
pub use memory_text_index::MemoryTextIndex;
pub use message::IndexPartitionMessage;
pub use node_index::{NodeIndex, NodeIndexArguments, NodeQueryDone, SegmentOptions};
pub use seams::{
    Embedders, FeedPageDone, FreshPositionDone, PartitionPeers, ShardFeed, SharedLookup,
};
pub use text_index::{TextIndex, TextIndexError, TextIndexStatus, TextSearchDone, TextStatusDone};
