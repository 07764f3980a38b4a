//! Who may connect to whom, and the first configuration.

use bincode::{Decode, Encode};
use xxhash_rust::xxh3::xxh3_64;

use crate::limits::REPLICAS;
use crate::placement;
use crate::storage::format::CODEC;
use crate::types::{ClusterConfig, Epoch, Member, ShardConfig};

/// Who a node says it is when it connects.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Identity {
    /// The cluster's name.
    pub cluster: String,
    /// Disk, name, address, zone.
    pub member: Member,
    /// How often the disk was booted.
    pub boot: u32,
    /// Drawn at random when the process starts. The boot count is on the disk: one that was set
    /// back to an image counts from there, and gives a number to two processes.
    pub life: u64,
    /// How many shards it was set up for.
    pub shards: u16,
    /// The cluster it belongs to; 0 before genesis.
    pub cluster_id: u64,
    /// Its configuration version; 0 before genesis.
    pub config_version: u64,
}

/// Why a node is not let in.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    /// It belongs to a cluster of another name.
    #[error("it belongs to cluster {theirs:?}, this is {ours:?}")]
    OtherCluster {
        /// Its cluster.
        theirs: String,
        /// This cluster.
        ours: String,
    },
    /// It was set up with another number of shards, which is fixed.
    #[error("it has {theirs} shards, this cluster has {ours}")]
    OtherShards {
        /// Its number.
        theirs: u16,
        /// This cluster's.
        ours: u16,
    },
    /// Both belong to clusters of one name that were formed independently.
    #[error("it belongs to another cluster of the same name, formed independently")]
    OtherGenesis,
    /// The cluster was formed without it.
    #[error("the cluster was formed without it, and takes no new members yet")]
    NotMember,
    /// Its name is a member's, its disk is not.
    #[error(
        "node {0:?} has a new disk; a disk that forgot its votes must not vote: \
         bring the old disk back, or leave the node down: the cluster goes on without it"
    )]
    NewDisk(String),
    /// Its disk is this node's own: a data directory was copied.
    #[error("it has the same disk as {0:?}: a data directory must not be copied")]
    CopiedDisk(String),
    /// Its name is this node's own.
    #[error("two nodes are called {0:?}")]
    SameName(String),
}

/// What to do with a node that connects.
pub type Admission = Result<(), Refusal>;

/// Decides whether a node may connect as a member.
///
/// # Errors
/// [`Refusal`] says why not.
pub fn admit(ours: &Identity, config: Option<&ClusterConfig>, theirs: &Identity) -> Admission {
    if theirs.cluster != ours.cluster {
        let (theirs, ours) = (theirs.cluster.clone(), ours.cluster.clone());
        return Err(Refusal::OtherCluster { theirs, ours });
    }
    if theirs.shards != ours.shards {
        return Err(Refusal::OtherShards {
            theirs: theirs.shards,
            ours: ours.shards,
        });
    }
    if theirs.member.id == ours.member.id {
        return Err(Refusal::CopiedDisk(ours.member.name.clone()));
    }
    if theirs.member.name == ours.member.name {
        return Err(Refusal::SameName(ours.member.name.clone()));
    }
    let Some(config) = config else { return Ok(()) };
    if theirs.cluster_id != 0 && theirs.cluster_id != config.cluster_id {
        return Err(Refusal::OtherGenesis);
    }
    if config.member(theirs.member.id).is_some() {
        return Ok(());
    }
    if config
        .members
        .iter()
        .any(|member| member.name == theirs.member.name)
    {
        return Err(Refusal::NewDisk(theirs.member.name.clone()));
    }
    Err(Refusal::NotMember)
}

/// The first configuration of a cluster: the same on every node that knows the same members.
pub fn first_config(cluster: &str, shards: u16, mut members: Vec<Member>) -> ClusterConfig {
    members.sort();
    let ensemble = members
        .iter()
        .take(REPLICAS.min(members.len()))
        .map(|m| m.id)
        .collect();
    let layout = placement::plan(&members, shards);
    let mut config = ClusterConfig {
        version: 1,
        cluster: cluster.into(),
        cluster_id: 0,
        members,
        shards: layout
            .into_iter()
            .map(|members| ShardConfig {
                epoch: Epoch(1),
                members,
            })
            .collect(),
        system: ShardConfig {
            epoch: Epoch(1),
            members: ensemble,
        },
        namespaces: Vec::new(),
    };
    let bytes = bincode::encode_to_vec(&config, CODEC).expect("writing to memory succeeds");
    config.cluster_id = xxh3_64(&bytes).max(1);
    config
}
