//! What a seed's cluster is like: topology, network, disks, workload.

use engram_core::protocol::random::Random;
use serde::{Deserialize, Serialize};

/// How a seed's cluster behaves. Probabilities are per mille, times as named.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Nodes, 1 to 9.
    pub nodes: usize,
    /// Key shards of the cluster.
    pub shards: u16,
    /// Index partitions of each node.
    pub partitions: usize,
    /// Faults happen for so long at most; it ends early when the clients are done.
    pub storm_ms: u64,
    /// Closed-loop clients.
    pub clients: u32,
    /// Operations of all clients together.
    pub operations: u64,
    /// Keys they share.
    pub keys: u64,
    /// Watchers of them.
    #[serde(default)]
    pub watchers: usize,
    /// Longest pause of a client between two operations.
    pub think_ms: u64,
    /// How long a client waits for one attempt.
    pub attempt_ms: u64,
    /// Chance that a client goes to another node than last time.
    pub wander: u64,
    /// Chance that a client's request is delivered twice, the second copy late.
    pub request_copies: u64,
    /// Latest arrival of such a copy.
    pub late_copy_ms: u64,
    /// Chance that a put has a time to live.
    pub expiring: u64,
    /// Longest time to live.
    pub ttl_ms: u64,
    /// Chance that a frame is lost.
    pub lose: u64,
    /// Chance that a frame of the register protocol is delivered twice.
    pub copy: u64,
    /// Usual longest delay of a frame.
    pub delay_us: u64,
    /// Chance that a frame is much later.
    pub tail: u64,
    /// How much later at most.
    pub tail_us: u64,
    /// Longest sync of a disk.
    pub sync_us: u64,
    /// Chance that a sync is slow.
    pub slow_sync: u64,
    /// How slow at most.
    pub slow_sync_us: u64,
    /// Longest read of a disk.
    pub read_us: u64,
    /// Whether reads may see batches that are not durable yet.
    pub dirty_reads: bool,
    /// Clocks are within this of true time, either way.
    pub skew_ms: u64,
    /// Bytes of records that an acceptor keeps in memory.
    pub cache_bytes: usize,
    /// How long tombstones are kept at least.
    pub purge_after_ms: u64,
    /// Chance that a node loses power right after one of its promises left.
    pub crash_after_promise: u64,
    /// Chance that what was learned is not told to a peer.
    pub omit_learn: u64,
    /// Chance that a round reaches the smallest quorum only.
    pub smallest_quorum: u64,
    /// Chance of what may happen at a point of the actors, each time one comes there.
    pub buggify: u64,
    /// At which points: one bit for each of `engram_actors::buggify::Point`.
    pub buggify_points: u64,
    /// Faults of nodes, disks and links that this seed may draw, in total.
    pub faults: u64,
}

pub(super) fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    let at = usize::try_from(random.below(choices.len() as u64)).unwrap_or(0);
    *choices
        .get(at)
        .or(choices.first())
        .expect("there are choices")
}

impl Profile {
    /// The profile of a seed (swarm testing, Groce et al. 2012).
    pub fn draw(seed: u64) -> Profile {
        let random = &mut Random::new(seed ^ 0x00c1_a57e_45ee_d001);
        let keys = pick(random, &[1, 3, 6, 12]);
        // Drawn apart: a seed's world is otherwise what it was before there were watchers.
        let watchers = pick(&mut Random::new(seed ^ 0x0a7c_4e25), &[0, 1, 1, 2]);
        Profile {
            nodes: pick(random, &[3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 1, 4, 5, 7, 9]),
            shards: pick(random, &[1, 2, 4]),
            partitions: pick(random, &[1, 2]),
            storm_ms: 60_000,
            clients: pick(random, &[2, 3, 5]),
            operations: pick(random, &[80, 140, 220]) + 10 * keys,
            keys,
            watchers,
            think_ms: pick(random, &[1, 40, 250]),
            attempt_ms: pick(random, &[80, 300, 1_000]),
            wander: pick(random, &[20, 300, 1_000]),
            request_copies: pick(random, &[0, 20, 150]),
            late_copy_ms: pick(random, &[50, 1_000, 8_000]),
            expiring: pick(random, &[0, 100, 500]),
            ttl_ms: pick(random, &[100, 3_000]),
            lose: pick(random, &[0, 0, 5, 50, 120]),
            copy: pick(random, &[0, 20, 100]),
            delay_us: pick(random, &[500, 3_000, 20_000]),
            tail: pick(random, &[0, 20, 100]),
            tail_us: pick(random, &[50_000, 300_000, 1_500_000]),
            sync_us: pick(random, &[200, 3_000, 20_000]),
            slow_sync: pick(random, &[0, 10, 100]),
            slow_sync_us: pick(random, &[50_000, 400_000]),
            read_us: pick(random, &[50, 2_000, 20_000]),
            dirty_reads: random.chance(500),
            skew_ms: pick(random, &[0, 50, 2_000]),
            cache_bytes: pick(random, &[1, 600, 1 << 20]),
            purge_after_ms: pick(random, &[100, 1_000, 5_000, 30_000]),
            crash_after_promise: pick(random, &[0, 0, 2, 10]),
            omit_learn: pick(random, &[0, 0, 200, 900]),
            smallest_quorum: pick(random, &[0, 0, 300, 900]),
            buggify: pick(random, &[0, 0, 2, 20]),
            buggify_points: random.next_u64() & random.next_u64() & 0xff,
            faults: pick(random, &[0, 4, 10, 20]),
        }
    }

    /// A calm world of three nodes: what scenarios begin with.
    pub fn calm() -> Profile {
        Profile {
            nodes: 3,
            shards: 4,
            partitions: 2,
            storm_ms: 30_000,
            clients: 4,
            operations: 600,
            keys: 12,
            watchers: 0,
            think_ms: 60,
            attempt_ms: 500,
            wander: 50,
            request_copies: 0,
            late_copy_ms: 50,
            expiring: 100,
            ttl_ms: 5_000,
            lose: 0,
            copy: 0,
            delay_us: 1_000,
            tail: 0,
            tail_us: 50_000,
            sync_us: 2_000,
            slow_sync: 0,
            slow_sync_us: 50_000,
            read_us: 500,
            dirty_reads: false,
            skew_ms: 20,
            cache_bytes: 1 << 20,
            purge_after_ms: 5_000,
            crash_after_promise: 0,
            omit_learn: 0,
            smallest_quorum: 0,
            buggify: 0,
            buggify_points: 0,
            faults: 0,
        }
    }

    /// How many replicas choose.
    pub fn majority(&self) -> usize {
        self.nodes.min(engram_core::limits::REPLICAS) / 2 + 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_always_draws_the_same_and_seeds_differ() {
        assert_eq!(Profile::draw(7), Profile::draw(7));
        let different = (0..100).filter(|seed| Profile::draw(*seed) != Profile::draw(7));
        assert!(different.count() >= 99);
    }
}
