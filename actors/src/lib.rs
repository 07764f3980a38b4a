//! The actors of one Engram node: thin shells around the state machines of `engram-core`.
//!
//! ```text
//! node supervisor
//! ├── gossip                      liveness, configurations, genesis
//! ├── coordinator                 scans, searches, namespaces, status: what concerns several shards
//! ├── watcher                     answers standing queries from this node's replicas
//! ├── embedder/<model>            owns a model's threads; bounded queues outlive it
//! ├── index partition/<i>         full-text and vector index of the shards that fall to it
//! └── shard supervisor/<shard>    restarts both children together, in a new life
//!     ├── shard                   acceptor: owns the records of one shard
//!     └── replicator              proposer: runs rounds for that shard
//! ```
//!
//! | actor | state machine in `engram_core` | mailbox |
//! |---|---|---|
//! | [`shard::Shard`] | `protocol::register::acceptor::Acceptor` | [`shard::ShardMessage`] |
//! | [`replicator::Replicator`] | `protocol::register::proposer::Proposer`, `protocol::eviction::Evictor` | [`replicator::ReplicatorMessage`] |
//! | [`gossip::Gossip`] | `protocol::membership::Membership` | [`gossip::GossipActorMessage`] |
//! | [`coordinator::Coordinator`] | `protocol::scan::ScanMerge`, `protocol::search::SearchMachine` | [`coordinator::CoordinatorMessage`] |
//! | [`watcher::Watcher`] | `protocol::watch::WatchServer` | [`watcher::WatcherMessage`] |
//! | [`index_partition::IndexPartitionActor`] | `index::partition::IndexPartition` | [`index_partition::IndexPartitionMessage`] |
//! | [`embedder::EmbedderActor`] | none: it only keeps threads alive | [`embedder::EmbedderMessage`] |
//! | [`supervisor::ShardSupervisor`] | `protocol::restart::Restarts` | [`supervisor::ShardSupervisorMessage`] |
//!
//! Links to other processes are actors of `engram-remote`; storage is a thread of its own behind
//! [`storage::GroupCommitStore`], whose failure ends the process, and segments of vectors are merged by
//! a [`background::BackgroundThread`]. [`ingress`] routes what arrives from other processes;
//! [`mod@env`] is the one seam to the world. Reads of what a shard has in memory go past its mailbox:
//! [`shard::SharedAcceptor`].

pub mod background;
pub mod buggify;
pub mod coordinator;
pub mod directory;
pub mod embedder;
pub mod env;
pub mod gossip;
pub mod index_partition;
pub mod ingress;
pub mod rate;
pub mod replicator;
pub mod shard;
pub mod storage;
pub mod supervisor;
pub mod watcher;
