//! What crosses the wire between the node that coordinates a search and the index partitions.

use bincode::{Decode, Encode};

use super::{Embedding, Embeddings, ModelId, WordsMode};
use crate::types::{Ballot, Blob, Key, NamespaceId, RecordKey, ShardId};

/// How a partition is searched.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub enum QueryKind {
    /// By meaning.
    Semantic {
        /// The meaning of the query.
        vector: Embedding,
        /// The model that made the vector.
        model: ModelId,
        /// Least cosine similarity of a hit.
        threshold: Option<f32>,
    },
    /// By words.
    Text {
        /// Plain words.
        words: String,
        /// All or any of them.
        mode: WordsMode,
    },
}

/// A question to one index partition of one node. Idempotent; if it or its answer is lost, the
/// coordinator asks another replica.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct PartitionQuery {
    /// Where.
    pub namespace: NamespaceId,
    /// Only entries of these shards, all of that partition.
    pub shards: Vec<ShardId>,
    /// By meaning or by words.
    pub kind: QueryKind,
    /// Most hits.
    pub k: u32,
    /// Only keys that begin so.
    pub prefix: Option<Blob>,
    /// Only entries that have all of these tags.
    pub tags: Vec<String>,
    /// Answer for a shard only when its index holds every write that was acknowledged before this
    /// question came; for those of which that is not known within so many milliseconds, not at
    /// all. None: answer from what the index holds.
    pub fresh_ms: Option<u32>,
}

/// One hit of one partition: to be verified before anybody sees it.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct PartitionHit {
    /// The key, in the namespace of the query.
    pub key: Key,
    /// The version that was indexed.
    pub vtag: Ballot,
    /// Cosine similarity or BM25; higher is better.
    pub score: f32,
}

/// How far the index of a shard is behind the shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ShardLag {
    /// Which shard.
    pub shard: ShardId,
    /// Positions of the change log that are not searchable yet.
    pub changes: u64,
    /// For how long there have been such, in milliseconds.
    pub behind_ms: u64,
}

/// The answer to a [`PartitionQuery`].
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct PartitionHits {
    /// Best first, ties in key order. May contain expired and overwritten entries.
    pub hits: Vec<PartitionHit>,
    /// Which of the shards asked for these hits cover.
    pub shards_answered: Vec<ShardId>,
    /// Of each of these shards.
    pub lag: Vec<ShardLag>,
    /// Whether there may be further hits below the last one.
    pub more: bool,
}

/// Why a partition did not answer. The coordinator asks another replica.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum PartitionError {
    /// Too many queries wait.
    #[error("too many searches wait in this index partition")]
    Overloaded,
    /// It has not read its data yet, or is being restarted.
    #[error("the index partition is starting")]
    NotReady,
    /// The namespace is embedded by another model.
    #[error("the namespace is indexed by the model {indexed}, the query was embedded by {asked}")]
    Model {
        /// Of the namespace.
        indexed: ModelId,
        /// Of the query.
        asked: ModelId,
    },
    /// The namespace's model is not on that node, so its index may lack vectors.
    #[error("the node asked does not have the model {0}")]
    NoModel(ModelId),
    /// The query is out of bounds.
    #[error("the search is refused: {0}")]
    Invalid(String),
    /// The index failed.
    #[error("the index failed: {0}")]
    Failed(String),
}

/// Asks another replica for vectors that it may have. Idempotent; if it or the answer is lost, the
/// sender asks the next replica, and then computes them itself.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct VectorWant {
    /// Of the keys.
    pub shard: ShardId,
    /// By which model.
    pub model: ModelId,
    /// Whose vectors, of which versions; at most
    /// [`INDEX_WANTS_MAX`](crate::limits::INDEX_WANTS_MAX).
    pub keys: Vec<(RecordKey, Ballot)>,
}

/// The vectors that the replica which coordinated a write gives to the shard's other replicas.
/// Idempotent; if it is lost, the receiver computes them itself after a while.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct VectorShip {
    /// Of the key.
    pub shard: ShardId,
    /// Whose vectors.
    pub key: RecordKey,
    /// Of which version.
    pub vtag: Ballot,
    /// By which model.
    pub model: ModelId,
    /// The vectors, one a chunk of the text.
    pub vectors: Embeddings,
}
