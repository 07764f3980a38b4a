//! The mailbox of an index partition.

use engram_core::index::partition::Event;
use engram_core::index::{PartitionQuery, VectorShip, VectorWant};
use engram_core::types::{MemberId, NamespaceId, ShardId};
use ractor_cluster::RactorMessage;

use super::handle::{FailuresDone, PendingQuery, Permit, StatsDone};

/// What an index partition is told. Senders are its handle, or the callbacks of what it asked.
#[derive(RactorMessage)]
pub enum IndexPartitionMessage {
    /// From itself: begin a life. If it is lost, the partition stays silent; it is sent from
    /// within.
    Begin {
        /// Which; older ones are over.
        life: u64,
    },
    /// From the node: a shard has a replica here. Idempotent; the next life knows it as well.
    Hosted(ShardId),
    /// From shards: some change logs have grown. The handle knows which.
    Advanced,
    /// From another replica: a vector. If it is lost, it is computed here.
    Shipped(Box<VectorShip>, Permit),
    /// From another replica: it misses vectors. If it is lost, the sender asks elsewhere.
    Wanted(MemberId, VectorWant, Permit),
    /// From ingress: a search, answered through the callback. If it is lost, so says the callback.
    Query(Box<PartitionQuery>, PendingQuery),
    /// From diagnosis, answered through the callback.
    Stats(StatsDone),
    /// From diagnosis: what of a namespace could not be embedded, answered through the callback.
    Failures(NamespaceId, FailuresDone),
    /// From something that was asked: it has answered.
    Happened {
        /// Who asked; answers to former lives are dropped.
        life: u64,
        /// What happened.
        event: Box<Event>,
    },
    /// From something that was asked: it cannot go on. This life ends.
    Failed {
        /// Who asked.
        life: u64,
        /// Why, for the log.
        reason: String,
    },
}
