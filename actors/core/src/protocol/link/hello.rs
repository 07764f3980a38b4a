//! What two processes say of themselves before they exchange frames.

use bincode::{Decode, Encode};

use super::limits::{
    ADDRESS_BYTES_MAX, HELLO_PAYLOAD_BYTES_MAX, PROCESS_BYTES_MAX, REFUSAL_BYTES_MAX,
};
use crate::limits::NAME_BYTES_MAX;
use crate::types::{Lsn, MemberId, SessionId};

/// A process that holds data.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct MemberIdentity {
    /// Its disk.
    pub member: MemberId,
    /// Its name, chosen by the operator.
    pub node: String,
    /// How often its disk was booted, this time included.
    pub boot: u32,
    /// Where others reach it, `host:port`.
    pub address: String,
    /// Shards that it is configured for.
    pub shards: u16,
    /// The cluster that it belongs to, once there is one.
    pub cluster_id: Option<u64>,
}

/// What a process is to the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Role {
    /// Holds data, dials and is dialled.
    Member(MemberIdentity),
    /// Asks; is never dialled.
    Client {
        /// For people who read the status.
        name: String,
    },
}

/// What a process says of itself to every peer.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct HelloIdentity {
    /// Name of the cluster that it means to speak with.
    pub cluster: String,
    /// Member or client.
    pub role: Role,
    /// For the layer above; opaque here, at most [`HELLO_PAYLOAD_BYTES_MAX`] bytes.
    pub payload: Vec<u8>,
}

impl HelloIdentity {
    /// The member part, unless this is a client.
    pub fn member(&self) -> Option<&MemberIdentity> {
        match &self.role {
            Role::Member(member) => Some(member),
            Role::Client { .. } => None,
        }
    }

    /// Checks every length.
    ///
    /// # Errors
    /// [`HelloError`] naming the field.
    pub fn check_bounds(&self) -> Result<(), HelloError> {
        check_length("cluster name", &self.cluster, 1, NAME_BYTES_MAX)?;
        match &self.role {
            Role::Member(member) => {
                check_length("node name", &member.node, 1, NAME_BYTES_MAX)?;
                check_length("advertised address", &member.address, 1, ADDRESS_BYTES_MAX)?;
            }
            Role::Client { name } => check_length("client name", name, 0, NAME_BYTES_MAX)?,
        }
        if self.payload.len() > HELLO_PAYLOAD_BYTES_MAX {
            return Err(HelloError {
                field: "payload",
                bytes: self.payload.len(),
            });
        }
        Ok(())
    }
}

/// A field of a greeting has a length that is not allowed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the {field} of a greeting must not have {bytes} bytes")]
pub struct HelloError {
    /// Which field.
    pub field: &'static str,
    /// Its length.
    pub bytes: usize,
}

fn check_length(field: &'static str, text: &str, min: usize, max: usize) -> Result<(), HelloError> {
    if (min..=max).contains(&text.len()) {
        Ok(())
    } else {
        Err(HelloError {
            field,
            bytes: text.len(),
        })
    }
}

/// The first packet of a process on a link.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Hello {
    /// Who speaks.
    pub identity: HelloIdentity,
    /// Name of the speaking process, unique among all lives of all nodes.
    pub process: String,
    /// What the receiver must stamp on everything that it sends to the speaker on this link.
    pub session: SessionId,
}

impl Hello {
    /// Checks every length.
    ///
    /// # Errors
    /// [`HelloError`] naming the field.
    pub fn check_bounds(&self) -> Result<(), HelloError> {
        check_length("process name", &self.process, 1, PROCESS_BYTES_MAX)?;
        self.identity.check_bounds()
    }
}

/// The answer to a [`Hello`] that was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Accept {
    /// The session id in the sender's own hello: proves that hello to be the sender's.
    pub session: SessionId,
    /// The highest log sequence number that the sender ever saw of the receiver. A member that
    /// finds less on its disk has lost data.
    pub seen_lsn: Lsn,
}

/// A peer whose link is up, as it described itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerHello {
    /// What it said of itself.
    pub identity: HelloIdentity,
    /// Name of its process.
    pub process: String,
    /// The highest log sequence number that it ever saw of this process' member.
    pub seen_lsn: Lsn,
}

/// Why a process does not want a link.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// Another cluster by name.
    #[error("this is cluster `{ours}`, not `{yours}`")]
    Cluster {
        /// Name at the refusing side.
        ours: String,
        /// Name in the greeting.
        yours: String,
    },
    /// Another cluster of the same name: it was created separately.
    #[error("a cluster of the same name, but created separately ({ours:016x}, not {yours:016x})")]
    ClusterId {
        /// Id at the refusing side.
        ours: u64,
        /// Id in the greeting.
        yours: u64,
    },
    /// Another number of shards.
    #[error("this cluster has {ours} shards, the node is configured for {yours}")]
    ShardCount {
        /// Shards at the refusing side.
        ours: u16,
        /// Shards in the greeting.
        yours: u16,
    },
    /// A known node name with a disk that nobody knows.
    #[error("node `{node}` is known with disk {known}, not {found}: bring the old disk back")]
    UnknownDisk {
        /// The node's name.
        node: String,
        /// The disk that the cluster knows.
        known: MemberId,
        /// The disk in the greeting.
        found: MemberId,
    },
    /// One disk speaks from two processes.
    #[error("disk {member} is already connected from {address}: was the data directory copied?")]
    CopiedData {
        /// The disk.
        member: MemberId,
        /// Where the first process with this disk is reached.
        address: String,
    },
    /// The process has as many links as it may.
    #[error("too many connections")]
    Busy,
    /// A reason of the layer above.
    #[error("{reason}")]
    Policy {
        /// For people; at most [`REFUSAL_BYTES_MAX`] bytes.
        reason: String,
    },
}

impl Refusal {
    /// A reason of the layer above, shortened to [`REFUSAL_BYTES_MAX`] bytes.
    pub fn policy(reason: impl Into<String>) -> Refusal {
        let mut reason = reason.into();
        let end = (0..=REFUSAL_BYTES_MAX.min(reason.len()))
            .rev()
            .find(|end| reason.is_char_boundary(*end))
            .unwrap_or(0);
        reason.truncate(end);
        Refusal::Policy { reason }
    }
}

/// The checks that need nothing but the two identities: same cluster by name and, where both
/// belong to one already, by id.
///
/// # Errors
/// The [`Refusal`] to send to the peer.
pub fn compare_identities(ours: &HelloIdentity, yours: &HelloIdentity) -> Result<(), Refusal> {
    if ours.cluster != yours.cluster {
        return Err(Refusal::Cluster {
            ours: ours.cluster.clone(),
            yours: yours.cluster.clone(),
        });
    }
    let id = |identity: &HelloIdentity| identity.member().and_then(|member| member.cluster_id);
    match (id(ours), id(yours)) {
        (Some(ours), Some(yours)) if ours != yours => Err(Refusal::ClusterId { ours, yours }),
        _ => Ok(()),
    }
}

/// What a second process with a connected member's id is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reappearance {
    /// The same node after a restart that we did not notice: the old link is dead.
    Restarted,
    /// A second process with a copy of the disk.
    Copied,
}

/// Judges a greeting of a member that is connected already. Only a higher boot count from the
/// same node at the same address passes for a restart: two live processes cannot share an
/// address, while a copy that was booted once more can well have the higher count.
pub fn judge_reappearance(connected: &MemberIdentity, greeting: &MemberIdentity) -> Reappearance {
    let same_place = connected.node == greeting.node && connected.address == greeting.address;
    if same_place && greeting.boot > connected.boot {
        Reappearance::Restarted
    } else {
        Reappearance::Copied
    }
}

/// Whether `this` process is the one to dial where both could: exactly one of two says yes.
pub fn dials_first(this: &str, peer: &str) -> bool {
    this > peer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(node: &str, boot: u32, address: &str) -> MemberIdentity {
        MemberIdentity {
            member: MemberId(7),
            node: node.into(),
            boot,
            address: address.into(),
            shards: 64,
            cluster_id: None,
        }
    }

    fn identity(cluster: &str, cluster_id: Option<u64>) -> HelloIdentity {
        HelloIdentity {
            cluster: cluster.into(),
            role: Role::Member(MemberIdentity {
                cluster_id,
                ..member("a", 1, "h:1")
            }),
            payload: Vec::new(),
        }
    }

    #[test]
    fn clusters_are_told_apart_by_name_then_by_id() {
        let cases = [
            (("x", None), ("x", None), true),
            (("x", None), ("y", None), false),
            (("x", Some(1)), ("x", None), true),
            (("x", Some(1)), ("x", Some(1)), true),
            (("x", Some(1)), ("x", Some(2)), false),
        ];
        for ((our_name, our_id), (name, id), welcome) in cases {
            let verdict = compare_identities(&identity(our_name, our_id), &identity(name, id));
            assert_eq!(verdict.is_ok(), welcome, "{verdict:?}");
        }
    }

    #[test]
    fn only_a_higher_boot_at_the_same_place_is_a_restart() {
        let connected = member("a", 3, "h:1");
        let cases = [
            (member("a", 4, "h:1"), Reappearance::Restarted),
            (member("a", 3, "h:1"), Reappearance::Copied),
            (member("a", 2, "h:1"), Reappearance::Copied),
            (member("a", 4, "h:2"), Reappearance::Copied),
            (member("b", 4, "h:1"), Reappearance::Copied),
        ];
        for (greeting, expected) in cases {
            assert_eq!(
                judge_reappearance(&connected, &greeting),
                expected,
                "{greeting:?}"
            );
        }
    }

    #[test]
    fn exactly_one_of_two_dials_first() {
        assert!(dials_first("b.1", "a.9") && !dials_first("a.9", "b.1"));
    }

    #[test]
    fn lengths_are_checked() {
        let good = identity("x", None);
        assert_eq!(good.check_bounds(), Ok(()));
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(
            identity(&long, None).check_bounds(),
            Err(HelloError {
                field: "cluster name",
                bytes: long.len()
            })
        );
        assert!(identity("", None).check_bounds().is_err());
        let payload = vec![0; HELLO_PAYLOAD_BYTES_MAX + 1];
        assert!(HelloIdentity { payload, ..good }.check_bounds().is_err());
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let Refusal::Policy { reason } = Refusal::policy("ü".repeat(REFUSAL_BYTES_MAX)) else {
            panic!("policy makes a policy refusal");
        };
        assert_eq!(reason.len(), REFUSAL_BYTES_MAX);
        assert!(reason.chars().all(|character| character == 'ü'));
    }
}
