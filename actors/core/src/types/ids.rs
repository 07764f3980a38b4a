//! Identifiers: small newtypes, so that a shard is never mistaken for a member.

use std::fmt;

use bincode::{Decode, Encode};

/// A slice of the key space, replicated as a unit. Keys hash to shards (see [`crate::placement`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard that holds the cluster configuration; its replicas are the system ensemble.
    pub const SYSTEM: ShardId = ShardId(u16::MAX);

    /// Whether this is the system shard, which holds no user keys.
    pub fn is_system(self) -> bool {
        self == Self::SYSTEM
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_system() {
            f.write_str("system")
        } else {
            self.0.fmt(f)
        }
    }
}

/// A namespace, as stored in keys. Names map to ids in the cluster configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Encode, Decode)]
pub struct NamespaceId(pub u32);

impl NamespaceId {
    /// The namespace of the cluster's own records.
    pub const SYSTEM: NamespaceId = NamespaceId(0);
}

/// One disk of one node, drawn at random when a data directory is made. A new disk is a new
/// member, even under the old node name: a voter that forgot what it promised must not vote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct MemberId(pub u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// One life of a shard's actors: raised durably at every boot, and at every respawn within a boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Incarnation {
    /// How often this disk was booted; fsynced before anything else happens.
    pub boot: u32,
    /// How often this shard's actors were respawned since.
    pub respawn: u32,
}

/// Version of one shard's membership.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Epoch(pub u64);

/// Log sequence number of a node's group commits; grows by one with each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Lsn(pub u64);

/// Position in one replica's change log of one shard; grows by one with each changed record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Lseq(pub u64);

/// Names one append, load or range read of one shard actor. Never reused within an incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct IoId(pub u64);

/// Pairs a reply with its request. Never reused by its sender within an incarnation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct RequestId(pub u64);

/// Names one live connection, as drawn at random by the side that receives on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct SessionId(pub u64);

/// Names one intended write across all retries, so that it is applied at most once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct WriteId {
    /// Drawn at random by each client.
    pub client: u64,
    /// Counts that client's writes.
    pub sequence: u64,
}
