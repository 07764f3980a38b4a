//! Where keys live: key → shard by hash, shard → members by rendezvous hashing.
//!
//! Source: highest random weight hashing (Thaler and Ravishankar 1998), with a bound on the load
//! of each member (Mirrokni, Thorup and Zadimoghaddam 2018). A layout is computed once, at genesis
//! or for a ring change, and stored in the configuration; routing only reads it.

use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::limits::REPLICAS;
use crate::types::{Member, MemberId, Millis, RecordKey, ShardId};

/// The shard of a key in a cluster of `shards` shards.
pub fn shard_of(key: &RecordKey, shards: u16) -> ShardId {
    let mut hash = Xxh3::new();
    hash.update(&key.namespace.0.to_be_bytes());
    hash.update(key.key.as_bytes());
    let shard = hash.digest() % u64::from(shards.max(1));
    ShardId(u16::try_from(shard).expect("less than a u16"))
}

/// Chooses the replicas of every shard, in routing order.
///
/// Each shard gets min([`REPLICAS`], members) distinct members, in distinct zones as far as there
/// are enough. No member replicates more than its fair share of shards, rounded up, nor comes
/// first in routing order for more than its fair share.
pub fn plan(members: &[Member], shards: u16) -> Vec<Vec<MemberId>> {
    let replicas = REPLICAS.min(members.len());
    if replicas == 0 {
        return vec![Vec::new(); usize::from(shards)];
    }
    let shards_total = usize::from(shards);
    let share = (shards_total * replicas).div_ceil(members.len());
    let first_share = shards_total.div_ceil(members.len());
    let mut load = vec![0_usize; members.len()];
    let mut first_load = vec![0_usize; members.len()];
    (0..shards)
        .map(|shard| {
            let chosen = choose(members, ShardId(shard), replicas, share, &load);
            for &index in &chosen {
                load[index] += 1;
            }
            let ordered = put_least_first(chosen, first_share, &mut first_load);
            ordered.into_iter().map(|index| members[index].id).collect()
        })
        .collect()
}

fn choose(
    members: &[Member],
    shard: ShardId,
    replicas: usize,
    share: usize,
    load: &[usize],
) -> Vec<usize> {
    let mut ranked: Vec<usize> = (0..members.len()).collect();
    ranked.sort_by_key(|&index| std::cmp::Reverse(weight(shard, members[index].id)));
    let mut chosen: Vec<usize> = Vec::with_capacity(replicas);
    // Each pass gives up one wish: first both zone and load, then load, then zone, then neither.
    for (distinct_zone, bounded) in [(true, true), (true, false), (false, true), (false, false)] {
        if !bounded {
            // The least loaded first, so that the bound is missed by as little as can be.
            ranked.sort_by_key(|&index| load[index]);
        }
        for &index in &ranked {
            let zone_taken = members[index].zone.is_some()
                && chosen
                    .iter()
                    .any(|&other| members[other].zone == members[index].zone);
            let unwanted = distinct_zone && zone_taken || bounded && load[index] >= share;
            if chosen.len() < replicas && !unwanted && !chosen.contains(&index) {
                chosen.push(index);
            }
        }
    }
    chosen
}

fn put_least_first(mut chosen: Vec<usize>, share: usize, first_load: &mut [usize]) -> Vec<usize> {
    let position = chosen
        .iter()
        .position(|&index| first_load[index] < share)
        .or_else(|| (0..chosen.len()).min_by_key(|&at| first_load[chosen[at]]))
        .unwrap_or(0);
    chosen[..=position].rotate_right(1);
    first_load[chosen[0]] += 1;
    chosen
}

fn weight(shard: ShardId, member: MemberId) -> u64 {
    let mut bytes = [0_u8; 10];
    bytes[..2].copy_from_slice(&shard.0.to_be_bytes());
    bytes[2..].copy_from_slice(&member.0.to_be_bytes());
    xxh3_64(&bytes)
}

/// Members in the order in which they are to be asked: it changes with the time, so that the load is
/// spread, and what a node asks within a millisecond goes to the same ones in few packets.
pub fn in_turn(mut members: Vec<MemberId>, now: Millis) -> Vec<MemberId> {
    members.sort_unstable();
    let turn = now.0 % members.len().max(1) as u64;
    members.rotate_left(usize::try_from(turn).unwrap_or(0));
    members
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::types::{Key, NamespaceId};

    fn members(count: u64, zones: Option<u64>) -> Vec<Member> {
        (0..count)
            .map(|index| Member {
                id: MemberId(xxh3_64(&index.to_be_bytes())),
                name: format!("n{index}"),
                address: String::new(),
                zone: zones.map(|zones| format!("z{}", index % zones)),
            })
            .collect()
    }

    #[test]
    fn replicas_are_distinct_and_balanced() {
        for count in [1, 2, 3, 4, 5, 9] {
            let members = members(count, None);
            let plan = plan(&members, 64);
            let replicas = REPLICAS.min(members.len());
            let mut load: BTreeMap<MemberId, usize> = BTreeMap::new();
            let mut first: BTreeMap<MemberId, usize> = BTreeMap::new();
            for shard in &plan {
                let mut distinct = shard.clone();
                distinct.sort();
                distinct.dedup();
                assert_eq!(distinct.len(), replicas);
                for member in shard {
                    *load.entry(*member).or_default() += 1;
                }
                *first.entry(shard[0]).or_default() += 1;
            }
            let share = (64 * replicas).div_ceil(members.len());
            assert!(
                load.values().all(|&n| n <= share + 2),
                "{count} members: {load:?}"
            );
            let first_share = 64_usize.div_ceil(members.len());
            assert!(
                first.values().all(|&n| n <= first_share + 2),
                "{count}: {first:?}"
            );
        }
    }

    #[test]
    fn zones_are_spread() {
        let members = members(9, Some(3));
        for shard in plan(&members, 64) {
            let mut zones: Vec<_> = shard
                .iter()
                .map(|id| {
                    members
                        .iter()
                        .find(|m| m.id == *id)
                        .and_then(|m| m.zone.clone())
                })
                .collect();
            zones.sort();
            zones.dedup();
            assert_eq!(zones.len(), 3);
        }
    }

    #[test]
    fn keys_spread_over_all_shards_and_stay() {
        let key = |n: u32| RecordKey {
            namespace: NamespaceId(1),
            key: Key::new(format!("key:{n}")).expect("short"),
        };
        let mut counts = [0_usize; 64];
        for n in 0..64_000 {
            counts[usize::from(shard_of(&key(n), 64).0)] += 1;
        }
        assert!(
            counts.iter().all(|&n| (800..1200).contains(&n)),
            "{counts:?}"
        );
        // The mapping is part of the disk format: it must never change.
        assert_eq!(shard_of(&key(1), 64), ShardId(GOLDEN_SHARD_OF_KEY_1));
    }

    const GOLDEN_SHARD_OF_KEY_1: u16 = 46;
}
