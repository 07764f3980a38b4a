//! What a node says of itself: for people, monitors and tests.

use bincode::{Decode, Encode};

use crate::types::{MemberId, NamespaceId};

/// What one node says of itself and its peers.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its disk.
    pub member: MemberId,
    /// How often the disk was booted.
    pub boot: u32,
    /// The release it runs.
    pub release: String,
    /// Milliseconds since it started.
    pub uptime_ms: u64,
    /// Whether it serves: it has a configuration and its disk may vote.
    pub serving: bool,
    /// Why not, if it does not.
    pub reason: String,
    /// Its configuration version; 0 if none.
    pub config_version: u64,
    /// Highest durable log sequence number.
    pub durable_lsn: u64,
    /// Other members, and whether it hears them.
    pub peers: Vec<PeerStatus>,
    /// Its replicas.
    pub shards: Vec<ShardStatus>,
    /// Its index partitions.
    pub partitions: Vec<PartitionStatus>,
    /// The embedders of its settings.
    pub embedders: Vec<EmbedderStatus>,
    /// Namespaces whose embedder this node cannot provide: they are not searched by meaning here.
    pub missing_embedders: Vec<MissingEmbedder>,
    /// Free space on the data disk, in bytes, if known.
    pub disk_free_bytes: Option<u64>,
    /// Counters by name, for humans and monitors.
    pub counters: Vec<(String, u64)>,
}

/// How one member looks from another.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct PeerStatus {
    /// The peer's disk.
    pub member: MemberId,
    /// The peer's name.
    pub name: String,
    /// Where it is reached.
    pub address: String,
    /// Whether it is heard.
    pub alive: bool,
    /// Suspicion level (phi, Hayashibara et al. 2004).
    pub phi: f64,
}

/// One replica of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ShardStatus {
    /// Shard number; 65535 is the system shard.
    pub shard: u16,
    /// `recovering`, `serving` ...
    pub state: String,
    /// How often its actors were respawned since the boot.
    pub restarts: u32,
    /// Length of its change log so far.
    pub changes: u64,
    /// Changes not yet known to be chosen.
    pub unlearned: u64,
    /// Entries of peers' logs not yet followed.
    pub behind: u64,
}

/// One index partition.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct PartitionStatus {
    /// Its number.
    pub partition: u16,
    /// Entries with words.
    pub texts: u64,
    /// Vectors: one for each chunk of a text.
    pub vectors: u64,
    /// Bytes of memory of the vectors and of the graphs over them, about.
    pub vector_bytes: u64,
    /// Segments of vectors.
    pub segments: u64,
    /// Those of them that are searched by a graph.
    pub graphs: u64,
    /// Texts waiting for their vector.
    pub embedding: u64,
    /// Entries that are not found by meaning, because their text could not be embedded.
    pub embed_failures: u64,
    /// Vectors made here since the start.
    pub embedded: u64,
    /// Vectors that other replicas sent since the start.
    pub received: u64,
    /// Vectors made here or sent by others per second, over the last seconds.
    pub vectors_per_second: f64,
    /// Changes not yet indexed.
    pub lag: u64,
    /// For how long there have been such, in milliseconds.
    pub lag_ms: u64,
    /// What it holds of each namespace.
    pub namespaces: Vec<NamespaceStatus>,
}

/// What one index partition holds of one namespace.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct NamespaceStatus {
    /// Which.
    pub namespace: NamespaceId,
    /// Vectors: one for each chunk of a text.
    pub vectors: u64,
    /// Segments of vectors.
    pub segments: u64,
    /// Memory of the vectors, about, in bytes.
    pub memory_bytes: u64,
    /// Texts waiting for their vector.
    pub embedding: u64,
    /// Entries that are not found by meaning, because their text could not be embedded.
    pub embed_failures: u64,
}

/// One embedder of a node.
#[derive(Clone, PartialEq, Debug, Default, Encode, Decode)]
pub struct EmbedderStatus {
    /// Its name in the node's settings.
    pub name: String,
    /// Its model; empty if that is not known, because the embedder cannot be provided.
    pub model: String,
    /// Dimensions of its vectors; 0 if not known.
    pub dimensions: u32,
    /// Why the node cannot provide it; empty if it can.
    pub problem: String,
    /// Threads that run the model.
    pub threads: u32,
    /// Queries waiting.
    pub queries_waiting: u64,
    /// Texts waiting.
    pub texts_waiting: u64,
    /// Vectors computed since the start.
    pub computed: u64,
    /// Requests answered from the cache, or together with an equal one.
    pub reused: u64,
    /// Requests refused because a queue was full.
    pub overloaded: u64,
    /// Requests that the model failed or refused.
    pub failed: u64,
    /// Vectors computed per second, over the last seconds.
    pub computed_per_second: f64,
    /// Requests failed per second, over the last seconds.
    pub failed_per_second: f64,
    /// What failed last; empty if nothing did.
    pub last_failure: String,
}

/// A namespace whose embedder a node cannot provide.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct MissingEmbedder {
    /// The namespace.
    pub namespace: String,
    /// Its embedder.
    pub embedder: String,
    /// Why not.
    pub reason: String,
}
