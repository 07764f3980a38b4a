//! What a seed's world is like: each seed draws its own faults, so that rare combinations occur.

use engram_core::protocol::random::Random;

/// How a seed's world behaves. Probabilities are per mille, times as named.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// Replicas of the shard.
    pub replicas: usize,
    /// Closed-loop clients.
    pub clients: u32,
    /// Keys they share.
    pub keys: u64,
    /// Operations of all clients together.
    pub operations: u64,
    /// Longest pause of a client between two operations.
    pub think_ms: u64,
    /// How long a client waits for one attempt.
    pub attempt_ms: u64,
    /// Chance that a client's request is delivered twice, the second copy late.
    pub request_copies: u64,
    /// Latest arrival of such a copy.
    pub late_copy_ms: u64,
    /// Chance that a client goes to another node than last time.
    pub wander: u64,
    /// Chance that a message is lost.
    pub lose: u64,
    /// Chance that a message is delivered twice.
    pub copy: u64,
    /// Usual longest delay of a message.
    pub delay_us: u64,
    /// Chance that a message is much later.
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
    /// Mean time between crashes of a node; 0 for none. The same for the others below.
    pub crash_every_ms: u64,
    /// Mean time between respawns of a node's actors.
    pub respawn_every_ms: u64,
    /// Mean time between partitions.
    pub partition_every_ms: u64,
    /// Mean time between pauses of a node.
    pub pause_every_ms: u64,
    /// Mean time between jumps of a node's clock.
    pub jump_every_ms: u64,
    /// Mean time between damages to a record on one of the disks.
    pub rot_every_ms: u64,
    /// Clocks are within this of true time, either way.
    pub skew_ms: u64,
    /// Bytes of records that an acceptor keeps in memory.
    pub cache_bytes: usize,
    /// How long tombstones are kept at least.
    pub purge_after_ms: u64,
    /// Chance that a put has a time to live.
    pub expiring: u64,
    /// Longest time to live.
    pub ttl_ms: u64,
    /// Whether an index keeps what it committed over a restart of its node.
    pub index_survives: bool,
    /// How long an index waits at most before it commits.
    pub index_commit_ms: u64,
}

fn pick<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    let bound = choices.len() as u64;
    let at = usize::try_from(random.below(bound)).unwrap_or(0);
    *choices
        .get(at)
        .or(choices.first())
        .expect("there are choices")
}

impl Profile {
    /// The profile of a seed.
    pub fn draw(seed: u64) -> Profile {
        let random = &mut Random::new(seed ^ 0x5eed_0f1a_77aa);
        let keys = pick(random, &[1, 2, 3, 5]);
        Profile {
            replicas: pick(random, &[3, 3, 3, 3, 3, 3, 3, 1]),
            clients: pick(random, &[2, 3, 4, 5]),
            keys,
            operations: pick(random, &[80, 120, 160]) + 20 * keys,
            think_ms: pick(random, &[1, 20, 150]),
            attempt_ms: pick(random, &[60, 250, 900]),
            request_copies: pick(random, &[0, 20, 150]),
            late_copy_ms: pick(random, &[50, 1_000, 8_000]),
            wander: pick(random, &[20, 300, 1000]),
            lose: pick(random, &[0, 5, 50, 150]),
            copy: pick(random, &[0, 20, 100]),
            delay_us: pick(random, &[500, 3_000, 20_000]),
            tail: pick(random, &[0, 20, 100, 300]),
            tail_us: pick(random, &[50_000, 300_000, 2_000_000]),
            sync_us: pick(random, &[200, 3_000, 20_000]),
            slow_sync: pick(random, &[0, 10, 100]),
            slow_sync_us: pick(random, &[50_000, 500_000]),
            read_us: pick(random, &[50, 2_000, 30_000]),
            dirty_reads: random.chance(500),
            crash_every_ms: pick(random, &[0, 8_000, 2_500, 1_200]),
            respawn_every_ms: pick(random, &[0, 8_000, 2_500, 800]),
            partition_every_ms: pick(random, &[0, 6_000, 1_500]),
            pause_every_ms: pick(random, &[0, 6_000, 2_000]),
            jump_every_ms: pick(random, &[0, 0, 2_000]),
            skew_ms: pick(random, &[0, 50, 2_000]),
            cache_bytes: pick(random, &[1, 600, 1 << 20]),
            purge_after_ms: pick(random, &[100, 1_000, 4_000, 30_000]),
            expiring: pick(random, &[0, 100, 500]),
            ttl_ms: pick(random, &[100, 2_000]),
            index_survives: random.chance(500),
            index_commit_ms: pick(random, &[1, 400, 4_000]),
            rot_every_ms: pick(random, &[0, 0, 3_000, 300]),
        }
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
