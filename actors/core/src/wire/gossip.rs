//! What members tell each other about themselves, twice a second.

use bincode::{Decode, Encode};

use crate::types::{ClusterConfig, Lseq, Lsn, MemberId, ShardId};

/// One shard as seen by one of its replicas.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ShardSummary {
    /// Which shard.
    pub shard: ShardId,
    /// The replica's next change log position.
    pub next_lseq: Lseq,
    /// The highest ballot number it has seen.
    pub highest_n: u64,
    /// The version vector: how far it has followed each peer's change log.
    pub seen: Vec<(MemberId, Lseq)>,
    /// How far its index is behind; none if it is not indexed.
    pub index: Option<IndexLag>,
}

/// What speaks for and against searching the index of a shard at one replica: for how long it has missed
/// changes, in milliseconds, and how much work a search is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct IndexLag {
    /// For searches by words. None: it cannot be searched yet.
    pub words_ms: Option<u32>,
    /// For searches by meaning. None: it cannot be searched yet.
    pub meaning_ms: Option<u32>,
    /// Vectors of the replica's partition that a search compares one by one: they are in no graph yet.
    pub compared: u32,
}

/// A heartbeat with what its sender knows.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct GossipMessage {
    /// The sender.
    pub from: MemberId,
    /// Its boot count.
    pub generation: u32,
    /// Counts its messages.
    pub heartbeat: u64,
    /// Its configuration version; 0 before genesis.
    pub config_version: u64,
    /// The cluster it belongs to; 0 before genesis.
    pub cluster_id: u64,
    /// The highest log sequence number that the sender saw of the receiver in earlier boots.
    pub seen_of_you: Lsn,
    /// The configuration itself, where the receiver's is older or unknown.
    pub config: Option<ClusterConfig>,
    /// Its replicas.
    pub shards: Vec<ShardSummary>,
}
