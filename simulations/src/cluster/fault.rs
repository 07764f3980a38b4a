//! Faults: what may happen to a cluster, and when. The list is drawn before the run, so that it
//! can be printed, written to a file, and shortened.

use engram_core::protocol::random::Random;
use serde::{Deserialize, Serialize};

use super::profile::{Profile, pick};

/// An actor of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Victim {
    /// The acceptor of a shard.
    Shard,
    /// The proposer of a shard.
    Replicator,
    /// The coordinator.
    Coordinator,
    /// An index partition.
    Partition,
    /// The gossip agent: the node ends with it.
    Gossip,
}

/// Something that goes wrong.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// A node loses power and comes back later.
    Crash {
        /// Which.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
    },
    /// A node loses power in the middle of its next write: a part of the batch is on the medium.
    TornWrite {
        /// Which.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
    },
    /// All nodes lose power at once.
    PowerCut {
        /// For how long they are down.
        down_ms: u64,
    },
    /// An actor of a node panics.
    Panic {
        /// Which node.
        node: usize,
        /// Which actor.
        victim: Victim,
        /// Which shard or partition, modulo their number.
        number: u16,
    },
    /// A node stands still, then goes on as if nothing had been.
    Pause {
        /// Which.
        node: usize,
        /// For how long.
        for_ms: u64,
    },
    /// A node's clock is set.
    Clock {
        /// Which node's.
        node: usize,
        /// How far it is then ahead of the slowest clock allowed, modulo what is allowed.
        ahead_ms: u64,
    },
    /// Some nodes and the others do not reach each other.
    Partition {
        /// One side.
        side: Vec<usize>,
        /// For how long.
        for_ms: u64,
    },
    /// A link carries nothing one way.
    OneWay {
        /// The node that is not heard.
        from: usize,
        /// The node that does not hear it.
        to: usize,
        /// For how long.
        for_ms: u64,
    },
    /// Nodes are cut off one after the other, and come back in the same order (swizzle-clog, as
    /// the FoundationDB team calls it).
    Clog {
        /// Which, in this order.
        nodes: Vec<usize>,
        /// Time between two steps.
        every_ms: u64,
    },
    /// A disk's syncs are slow.
    SlowDisk {
        /// Which node's.
        node: usize,
        /// For how long.
        for_ms: u64,
        /// How long a sync takes.
        sync_ms: u64,
    },
    /// A disk takes no more writes.
    FullDisk {
        /// Which node's.
        node: usize,
        /// For how long.
        for_ms: u64,
    },
    /// The commits of some time were reported durable and were not: a crash shows it. The node
    /// must refuse to serve. Left out if no peer has seen anything of what is lost.
    LostSync {
        /// Which node's disk.
        node: usize,
        /// How far back what is lost begins.
        after_ms: u64,
        /// For how long it is down.
        down_ms: u64,
    },
    /// A stopped node's disk is set back to an image made while it was stopped before.
    RollBack {
        /// Which node's disk.
        node: usize,
        /// How long after the image.
        after_ms: u64,
        /// For how long it is down, both times.
        down_ms: u64,
    },
    /// A disk loses everything, and comes back under the old name.
    Wipe {
        /// Which node's disk.
        node: usize,
        /// For how long it is down.
        down_ms: u64,
    },
    /// One bit of one record on one disk changes while its node is down.
    BitRot {
        /// Which node's disk.
        node: usize,
        /// Which record, modulo their number.
        record: u64,
        /// For how long it is down.
        down_ms: u64,
    },
    /// A disk writes one record where another one is: neither can be read any more.
    Misdirected {
        /// Which node's disk.
        node: usize,
        /// Which record was written, modulo their number.
        record: u64,
        /// Which one is there, modulo their number.
        other: u64,
        /// For how long it is down.
        down_ms: u64,
    },
}

impl Fault {
    /// Its kind, as reports name it.
    pub fn kind(&self) -> &'static str {
        match self {
            Fault::Crash { .. } => "crash",
            Fault::TornWrite { .. } => "torn-write",
            Fault::PowerCut { .. } => "power-cut",
            Fault::Panic { .. } => "panic",
            Fault::Pause { .. } => "pause",
            Fault::Clock { .. } => "clock",
            Fault::Partition { .. } => "partition",
            Fault::OneWay { .. } => "one-way",
            Fault::Clog { .. } => "clog",
            Fault::SlowDisk { .. } => "slow-disk",
            Fault::FullDisk { .. } => "full-disk",
            Fault::LostSync { .. } => "lost-sync",
            Fault::RollBack { .. } => "roll-back",
            Fault::Wipe { .. } => "wipe",
            Fault::BitRot { .. } => "bit-rot",
            Fault::Misdirected { .. } => "misdirected",
        }
    }

    /// The nodes that it hits, of so many.
    pub fn nodes(&self, count: usize) -> Vec<usize> {
        match self {
            Fault::Crash { node, .. }
            | Fault::TornWrite { node, .. }
            | Fault::Panic { node, .. }
            | Fault::Pause { node, .. }
            | Fault::Clock { node, .. }
            | Fault::OneWay { from: node, .. }
            | Fault::SlowDisk { node, .. }
            | Fault::FullDisk { node, .. }
            | Fault::LostSync { node, .. }
            | Fault::RollBack { node, .. }
            | Fault::Wipe { node, .. }
            | Fault::BitRot { node, .. }
            | Fault::Misdirected { node, .. } => vec![*node],
            Fault::PowerCut { .. } => (0..count).collect(),
            Fault::Partition { side, .. } => side.clone(),
            Fault::Clog { nodes, .. } => nodes.clone(),
        }
    }

    /// A word or two for a picture.
    pub fn story(&self) -> String {
        match self {
            Fault::Panic { victim, .. } => format!("panic of {victim:?}").to_lowercase(),
            Fault::OneWay { to, .. } => format!("not heard by {to}"),
            other => other.kind().replace('-', " "),
        }
    }

    /// Whether a disk is never whole again.
    pub fn is_permanent(&self) -> bool {
        matches!(
            self,
            Fault::LostSync { .. }
                | Fault::RollBack { .. }
                | Fault::Wipe { .. }
                | Fault::BitRot { .. }
                | Fault::Misdirected { .. }
        )
    }
}

/// A fault and its time, in virtual milliseconds since the clients began.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Planned {
    /// When.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
}

/// How many kinds of faults are drawn from; some come twice.
const KINDS: u64 = 18;

/// Draws the faults of a seed. The atlas: at most one disk of a run is damaged for good, and only
/// where two others can replace it.
pub fn draw(seed: u64, profile: &Profile) -> Vec<Planned> {
    let random = &mut Random::new(seed ^ 0x0fa1_7500_0000_0001);
    // Each seed leaves some kinds out, so that the others come in concentrated form.
    let allowed = random.next_u64() | random.next_u64();
    let mut damaged = profile.nodes < 3;
    let window_ms = pick(random, &[6_000, 20_000, 40_000]);
    let mut faults = Vec::new();
    let mut tries = 0;
    while (faults.len() as u64) < profile.faults && tries < 200 {
        tries += 1;
        let kind = random.below(KINDS);
        if allowed & (1 << kind) == 0 {
            continue;
        }
        let fault = draw_fault(random, kind, profile);
        if fault.is_permanent() && std::mem::replace(&mut damaged, true) {
            continue;
        }
        let at_ms = 200 + random.below(window_ms);
        faults.push(Planned { at_ms, fault });
    }
    faults.sort_by_key(|planned| planned.at_ms);
    faults
}

fn draw_fault(random: &mut Random, kind: u64, profile: &Profile) -> Fault {
    let node = any(random, profile.nodes);
    let other = (node + 1 + any(random, (profile.nodes - 1).max(1))) % profile.nodes;
    let down_ms = pick(random, &[5, 40, 700, 4_000, 15_000]);
    let longest_ms = pick(random, &[400, 3_000, 9_000]);
    let for_ms = 100 + random.below(longest_ms);
    match kind {
        0 | 1 => Fault::Crash { node, down_ms },
        2 => Fault::PowerCut { down_ms },
        3 | 4 => Fault::Panic {
            node,
            victim: pick(
                random,
                &[
                    Victim::Shard,
                    Victim::Replicator,
                    Victim::Coordinator,
                    Victim::Partition,
                    Victim::Gossip,
                ],
            ),
            number: u16::try_from(random.below(8)).unwrap_or(0),
        },
        5 => Fault::Pause { node, for_ms },
        6 => Fault::Clock {
            node,
            ahead_ms: random.below(2 * profile.skew_ms + 1),
        },
        7 => Fault::Partition {
            side: (0..profile.nodes).filter(|_| random.chance(400)).collect(),
            for_ms,
        },
        8 => Fault::OneWay {
            from: node,
            to: other,
            for_ms,
        },
        9 => {
            let mut nodes: Vec<usize> = (0..profile.nodes).collect();
            for at in 0..nodes.len() {
                nodes.swap(at, any(random, profile.nodes));
            }
            nodes.truncate(1 + any(random, profile.nodes));
            let every_ms = 50 + random.below(2_500);
            Fault::Clog { nodes, every_ms }
        }
        10 => Fault::SlowDisk {
            node,
            for_ms,
            sync_ms: 20 + random.below(800),
        },
        11 => Fault::FullDisk { node, for_ms },
        12 => Fault::LostSync {
            node,
            after_ms: 1_500 + random.below(6_000),
            down_ms,
        },
        13 => Fault::RollBack {
            node,
            after_ms: 3_000 + random.below(6_000),
            down_ms,
        },
        14 => Fault::Wipe { node, down_ms },
        15 => Fault::TornWrite { node, down_ms },
        16 => Fault::Misdirected {
            node,
            record: random.below(64),
            other: random.below(64),
            down_ms,
        },
        _ => Fault::BitRot {
            node,
            record: random.below(64),
            down_ms,
        },
    }
}

fn any(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_kind_is_drawn_and_one_disk_at_most_is_damaged() {
        let mut kinds = BTreeSet::new();
        for seed in 0..400 {
            let faults = draw(seed, &Profile::draw(seed));
            let damaged = faults.iter().filter(|f| f.fault.is_permanent()).count();
            assert!(damaged <= 1, "seed {seed}: {faults:?}");
            kinds.extend(faults.iter().map(|planned| planned.fault.kind()));
        }
        assert_eq!(kinds.len(), 16, "{kinds:?}");
    }
}
