//! Membership: genesis, adoption of configurations, liveness, and the witness of lost disks.
//!
//! Genesis: nodes with empty disks meet. At exactly the expected number of distinct members, none
//! of which holds a configuration, each computes the same first version. All of the ensemble must
//! hold it durably before anybody serves; whoever meets a configuration joins it or is refused.
//!
//! Liveness only chooses whom to ask first; safety never depends on it. Source of the suspicion
//! level: Hayashibara et al. 2004, "The phi accrual failure detector".
//!
//! Witness: a disk that was rolled back must not vote under its old name. Every peer remembers the
//! highest log sequence number it saw of a member; more than the disk holds is a lost disk. What peers
//! saw is in their memory only, so a lost disk is marked as one: it is refused ever after.

mod genesis;
mod phi;

use std::collections::{BTreeMap, VecDeque};

pub use self::genesis::{Admission, Identity, Refusal, admit, first_config};
use self::phi::Arrivals;
use crate::limits::MEMBER_LIVES_MAX;
use crate::types::{ClusterConfig, Lsn, Member, MemberId, Millis};
use crate::wire::{GossipMessage, ShardSummary};

/// How often [`Event::Tick`] is expected, in milliseconds.
pub const TICK_MS: u64 = 500;

/// What happens to a node as a member.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A connection to another member is up, and both have accepted each other.
    Up {
        /// The other.
        peer: Identity,
        /// The highest log sequence number that this node saw of it on earlier connections.
        seen: Lsn,
    },
    /// The connection is gone.
    Down(MemberId),
    /// A member says what it knows.
    Gossip(GossipMessage),
    /// The configuration handed out by [`Effect::Adopt`] is durable.
    Adopted,
    /// A newer configuration was decided through this node.
    Decided(ClusterConfig),
    /// Time passes.
    Tick {
        /// This node's replicas.
        shards: Vec<ShardSummary>,
    },
}

/// What a node as a member wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Store this configuration durably, with whether the cluster is formed; report
    /// [`Event::Adopted`].
    Adopt {
        /// The configuration.
        config: ClusterConfig,
        /// Whether the whole ensemble is known to hold it, or a later one.
        formed: bool,
    },
    /// The cluster is formed: replicas may start, under this configuration.
    Serve(ClusterConfig),
    /// A peer is reachable.
    PeerUp(MemberId),
    /// A peer has witnessed that this disk lost nothing that it saw.
    Witnessed(MemberId),
    /// A peer is not reachable.
    PeerDown(MemberId),
    /// Say this to a member.
    Send(MemberId, GossipMessage),
    /// Peers' replicas have come so far.
    Progress(MemberId, Vec<ShardSummary>),
    /// The node must stop and say why.
    Fatal(String),
    /// This disk lost writes: the replicas must stop at once, and never start on it again.
    Condemned(String),
}

#[derive(Debug)]
struct Peer {
    identity: Identity,
    arrivals: Arrivals,
    heartbeat: u64,
    config_version: u64,
    cluster_id: u64,
    witnessed: bool,
}

/// The processes of a member that were met, each with how far the member's log had been seen when it
/// came: so much it must have found on its disk. One that comes back, after another that ran on a copy
/// of the disk, is told the same as before.
type Lives = VecDeque<(u64, Lsn)>;

/// One node as a member of its cluster.
#[derive(Debug)]
pub struct Membership {
    me: Identity,
    expected: Option<usize>,
    /// What the disk held at boot.
    boot_lsn: Lsn,
    config: Option<ClusterConfig>,
    formed: bool,
    adopting: bool,
    serving: bool,
    heartbeat: u64,
    peers: BTreeMap<MemberId, Peer>,
    lives: BTreeMap<MemberId, Lives>,
}

impl Membership {
    /// A node at boot, with what its disk holds.
    pub fn new(
        me: Identity,
        expected: Option<usize>,
        boot_lsn: Lsn,
        stored: Option<(ClusterConfig, bool)>,
    ) -> Membership {
        let (config, formed) = match stored {
            Some((config, formed)) => (Some(config), formed),
            None => (None, false),
        };
        Membership {
            me,
            expected,
            boot_lsn,
            config,
            formed,
            adopting: false,
            serving: false,
            heartbeat: 0,
            peers: BTreeMap::new(),
            lives: BTreeMap::new(),
        }
    }

    /// Takes one event; adds what it wants done to `out`, in order.
    pub fn step(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Up { peer, seen } => self.up(now, peer, seen, out),
            Event::Down(peer) => {
                if self.peers.remove(&peer).is_some() {
                    out.push(Effect::PeerDown(peer));
                }
            }
            Event::Gossip(message) => self.gossip(now, message, out),
            Event::Adopted => self.adopting = false,
            Event::Decided(config) => self.meet(config, out),
            Event::Tick { shards } => self.tick(now, shards, out),
        }
        self.form(out);
    }

    /// The configuration this node holds.
    pub fn config(&self) -> Option<&ClusterConfig> {
        self.config.as_ref()
    }

    /// Who this node is, as others should see it now.
    pub fn identity(&self) -> Identity {
        let mut me = self.me.clone();
        if let Some(config) = &self.config {
            me.cluster_id = config.cluster_id;
            me.config_version = config.version;
        }
        me
    }

    /// Why this node does not serve yet; none if it does.
    pub fn waiting_for(&self) -> Option<String> {
        if self.serving {
            return None;
        }
        Some(match (&self.config, self.expected) {
            (Some(config), _) => {
                let missing: Vec<String> = config
                    .system
                    .members
                    .iter()
                    .filter(|member| !self.holds(config, **member))
                    .filter_map(|member| config.member(*member))
                    .map(|member| format!("{} at {}", member.name, member.address))
                    .collect();
                format!(
                    "waiting for {} to accept the first configuration",
                    missing.join(", ")
                )
            }
            (None, Some(expected)) => format!(
                "waiting for {} more of {expected} nodes to form the cluster",
                expected.saturating_sub(self.peers.len() + 1)
            ),
            (None, None) => "waiting for a member of the cluster".into(),
        })
    }

    /// Whether a peer is heard, and how suspect its silence is.
    pub fn peer(&self, now: Millis, member: MemberId) -> (bool, f64) {
        self.peers
            .get(&member)
            .map_or((false, 0.0), |peer| (true, peer.arrivals.phi(now)))
    }

    fn up(&mut self, now: Millis, peer: Identity, seen: Lsn, out: &mut Vec<Effect>) {
        let lives = self.lives.entry(peer.member.id).or_default();
        if lives.iter().all(|(life, _)| *life != peer.life) {
            if lives.len() == MEMBER_LIVES_MAX {
                lives.pop_front();
            }
            // Whatever its disk says of its boots: what was seen of the member before, this process must
            // have found there.
            lives.push_back((peer.life, seen));
        }
        let id = peer.member.id;
        let (cluster_id, config_version) = (peer.cluster_id, peer.config_version);
        self.peers.insert(
            id,
            Peer {
                identity: peer,
                arrivals: Arrivals::new(now),
                heartbeat: 0,
                config_version,
                cluster_id,
                witnessed: false,
            },
        );
        out.push(Effect::PeerUp(id));
        let message = self.message(id, Vec::new());
        out.push(Effect::Send(id, message));
    }

    fn gossip(&mut self, now: Millis, message: GossipMessage, out: &mut Vec<Effect>) {
        let Some(peer) = self.peers.get_mut(&message.from) else {
            return;
        };
        if message.heartbeat <= peer.heartbeat {
            return;
        }
        peer.heartbeat = message.heartbeat;
        peer.arrivals.heard(now);
        peer.config_version = message.config_version;
        peer.cluster_id = message.cluster_id;
        if message.seen_of_you > self.boot_lsn {
            return out.push(Effect::Condemned(format!(
                "this disk has lost acknowledged writes: {} saw its log at {}, at boot it ended at \
                 {}; it must not vote again: bring the later disk back, or leave the node down",
                peer.identity.member.name, message.seen_of_you.0, self.boot_lsn.0
            )));
        }
        if !peer.witnessed {
            peer.witnessed = true;
            out.push(Effect::Witnessed(message.from));
        }
        if !message.shards.is_empty() {
            out.push(Effect::Progress(message.from, message.shards));
        }
        if let Some(config) = message.config {
            self.meet(config, out);
        }
    }

    /// Joins or adopts a configuration, if it is this cluster's and newer.
    fn meet(&mut self, config: ClusterConfig, out: &mut Vec<Effect>) {
        match &self.config {
            Some(own) if own.cluster_id != config.cluster_id => {}
            Some(own) if own.version >= config.version => {}
            _ if config.member(self.me.member.id).is_none() => {}
            _ => self.adopt(config, out),
        }
    }

    fn adopt(&mut self, config: ClusterConfig, out: &mut Vec<Effect>) {
        // A later version was decided by a register that serves only once the cluster is formed.
        self.formed |= config.version > 1;
        self.adopting = true;
        self.config = Some(config.clone());
        out.push(Effect::Adopt {
            config: config.clone(),
            formed: self.formed,
        });
        if self.serving {
            out.push(Effect::Serve(config));
        }
    }

    /// Computes the first configuration when all are there; serves when all hold it.
    fn form(&mut self, out: &mut Vec<Effect>) {
        if self.config.is_none() {
            self.genesis(out);
        }
        let Some(config) = &self.config else { return };
        if self.serving || self.adopting {
            return;
        }
        let all = config
            .system
            .members
            .iter()
            .all(|member| self.holds(config, *member));
        if self.formed || all {
            let config = config.clone();
            if !self.formed {
                self.formed = true;
                out.push(Effect::Adopt {
                    config: config.clone(),
                    formed: true,
                });
            }
            self.serving = true;
            out.push(Effect::Serve(config));
        }
    }

    fn genesis(&mut self, out: &mut Vec<Effect>) {
        let Some(expected) = self.expected else {
            return;
        };
        let fresh = self.peers.values().all(|peer| peer.cluster_id == 0);
        let found = self.peers.len() + 1;
        if found > expected {
            return out.push(Effect::Fatal(format!(
                "{found} nodes want to form cluster {:?}, but {expected} are expected: \
                 check --bootstrap-expect and the addresses to join",
                self.me.cluster
            )));
        }
        if found == expected && fresh {
            let mut members: Vec<Member> = self
                .peers
                .values()
                .map(|peer| peer.identity.member.clone())
                .collect();
            members.push(self.me.member.clone());
            let config = first_config(&self.me.cluster, self.me.shards, members);
            self.adopt(config, out);
        }
    }

    fn holds(&self, config: &ClusterConfig, member: MemberId) -> bool {
        member == self.me.member.id
            || self
                .peers
                .get(&member)
                .is_some_and(|peer| peer.cluster_id == config.cluster_id)
    }

    fn tick(&mut self, _now: Millis, shards: Vec<ShardSummary>, out: &mut Vec<Effect>) {
        self.heartbeat += 1;
        let peers: Vec<MemberId> = self.peers.keys().copied().collect();
        for peer in peers {
            let message = self.message(peer, shards.clone());
            out.push(Effect::Send(peer, message));
        }
    }

    /// How far a member's log had been seen when the process came that is connected now.
    fn seen_before(&self, member: MemberId) -> Lsn {
        let life = self.peers.get(&member).map(|peer| peer.identity.life);
        let mut lives = self.lives.get(&member).into_iter().flatten();
        lives
            .find(|(known, _)| Some(*known) == life)
            .map_or(Lsn(0), |(_, seen)| *seen)
    }

    fn message(&mut self, to: MemberId, shards: Vec<ShardSummary>) -> GossipMessage {
        self.heartbeat += 1;
        // What is not yet durable here must not be taken for held.
        let config = self.config.as_ref().filter(|_| !self.adopting);
        let theirs = self.peers.get(&to).map_or(0, |peer| peer.config_version);
        GossipMessage {
            from: self.me.member.id,
            generation: self.me.boot,
            heartbeat: self.heartbeat,
            config_version: config.map_or(0, |config| config.version),
            cluster_id: config.map_or(0, |config| config.cluster_id),
            config: config.filter(|config| config.version > theirs).cloned(),
            seen_of_you: self.seen_before(to),
            shards,
        }
    }
}

#[cfg(test)]
mod tests;
