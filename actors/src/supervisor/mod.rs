//! Supervision: who restarts whom.

mod lost_disk;
mod node;
mod shard;

pub use node::{NodeArguments, NodeMessage, NodeOptions, NodeSupervisor, OnStopped, Stopped};
pub use shard::{ShardSupervisor, ShardSupervisorArguments, ShardSupervisorMessage};
