//! The actors of one Engram node: thin shells around the state machines of `engram-core`.
//!
//! ```text
//! node supervisor
//! ├── gossip                      liveness, configurations, genesis
//! ├── coordinator                 scans, namespaces, status: what concerns several shards
//! └── shard supervisor/<shard>    restarts both children together, in a new life
//!     ├── shard                   acceptor: owns the records of one shard
//!     └── replicator              proposer: runs rounds for that shard
//! ```
//!
//! | actor | state machine in `engram_core::protocol` | mailbox |
//! |---|---|---|
//! | [`shard::Shard`] | `register::acceptor::Acceptor` | [`shard::ShardMessage`] |
//! | [`replicator::Replicator`] | `register::proposer::Proposer` | [`replicator::ReplicatorMessage`] |
//! | [`gossip::Gossip`] | `membership::Membership` | [`gossip::GossipActorMessage`] |
//! | [`coordinator::Coordinator`] | `scan::ScanMerge` | [`coordinator::CoordinatorMessage`] |
//! | [`supervisor::ShardSupervisor`] | `restart::Restarts` | [`supervisor::ShardSupervisorMessage`] |
//!
//! [`ingress`] routes what arrives from other processes; [`env`] is the one seam to the world.

pub mod coordinator;
pub mod directory;
pub mod embedder;
pub mod env;
pub mod gossip;
pub mod index_partition;
pub mod ingress;
pub mod replicator;
pub mod shard;
pub mod storage;
pub mod supervisor;
