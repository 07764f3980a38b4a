//! Which index partition of a node holds a shard.

use std::num::NonZeroU16;

use crate::types::ShardId;

/// The partition of a shard on a node with so many partitions.
pub fn partition_of(shard: ShardId, partitions: NonZeroU16) -> u16 {
    shard.0 % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_go_round() {
        let four = NonZeroU16::new(4).expect("not zero");
        let partitions: Vec<u16> = (0..6)
            .map(|shard| partition_of(ShardId(shard), four))
            .collect();
        assert_eq!(partitions, [0, 1, 2, 3, 0, 1]);
    }
}
