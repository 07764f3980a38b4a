//! Whom a search may ask for a shard, and whom rather than others.

use crate::limits::SEGMENT_FLAT_ROWS;
use crate::types::MemberId;
use crate::wire::IndexLag;

use super::Side;

/// Lags are told apart by so many milliseconds: less is noise, between two heartbeats.
const TIER_MS: u32 = 250;
/// One that is further behind is asked only if there is nobody else.
const LATE_MS: u32 = 1_000;
/// Of searches by meaning, one that compares so many more vectors one by one, as after a restart, is
/// asked after those with less work, whatever they lag while they are not late.
const SLOW_ROWS: u32 = 2 * SEGMENT_FLAT_ROWS as u32;
/// Tiers of lags that are not late.
const LAGS: u32 = LATE_MS / TIER_MS + 1;
/// Tiers of work, at most.
const WORKS: u32 = 40;
const _: () = assert!(LAGS * WORKS < LATE as u32);
/// Of a replica that is late.
const LATE: u8 = 250;
/// Of a replica that says that it cannot be searched.
const NOT_READY: u8 = 251;

/// One replica of a shard that is reachable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// Which.
    pub member: MemberId,
    /// What it last said of its index of this shard. None: nothing yet.
    pub index: Option<IndexLag>,
    /// Orders members that are equally good, differently for each search.
    pub order: u64,
}

impl Route {
    /// Lower ones are asked first; equal ones in any order.
    pub(super) fn tier(&self, side: Side) -> u8 {
        let Some(index) = self.index else {
            // It has been reachable for less than a heartbeat.
            return LATE;
        };
        let (lag_ms, compared) = match side {
            Side::Meaning => (index.meaning_ms, index.compared),
            Side::Words => (index.words_ms, 0),
        };
        match lag_ms {
            None => NOT_READY,
            Some(lag_ms) if lag_ms > LATE_MS => LATE,
            Some(lag_ms) => {
                let work = (compared / SLOW_ROWS).min(WORKS - 1);
                u8::try_from(work * LAGS + lag_ms / TIER_MS).unwrap_or(LATE)
            }
        }
    }
}

/// Puts members in an order that depends on the search alone: `seed` is drawn for each.
pub fn order(seed: u64, member: MemberId) -> u64 {
    let mut bytes = [0; 16];
    let (first, second) = bytes.split_at_mut(8);
    first.copy_from_slice(&seed.to_le_bytes());
    second.copy_from_slice(&member.0.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(index: Option<IndexLag>) -> Route {
        Route {
            member: MemberId(1),
            index,
            order: 0,
        }
    }

    #[test]
    fn less_lag_is_better_and_much_lag_is_worst_but_for_none_at_all() {
        let words = |words_ms| {
            let index = IndexLag {
                words_ms,
                meaning_ms: Some(0),
                compared: u32::MAX,
            };
            route(Some(index)).tier(Side::Words)
        };
        assert_eq!(words(Some(0)), words(Some(200)), "noise");
        assert!(words(Some(0)) < words(Some(500)));
        assert!(words(Some(1_000)) < words(Some(1_001)));
        assert!(words(Some(u32::MAX)) < words(None));
        assert_eq!(words(Some(5_000)), route(None).tier(Side::Words));
        let behind = IndexLag {
            words_ms: None,
            meaning_ms: Some(0),
            compared: 0,
        };
        assert_eq!(route(Some(behind)).tier(Side::Meaning), 0);
    }

    #[test]
    fn who_has_no_graph_yet_is_asked_after_those_who_have() {
        let meaning = |meaning_ms, compared| {
            let index = IndexLag {
                words_ms: None,
                meaning_ms: Some(meaning_ms),
                compared,
            };
            route(Some(index)).tier(Side::Meaning)
        };
        assert_eq!(meaning(0, 20_000), meaning(0, 0), "as it is at rest");
        assert!(meaning(1_000, 20_000) < meaning(0, 120_000));
        assert!(meaning(0, 120_000) < meaning(250, 120_000));
        assert!(meaning(1_000, u32::MAX) < meaning(1_001, 0));
    }

    #[test]
    fn the_order_changes_with_the_search() {
        let first = |seed| (0..3).min_by_key(|member| order(seed, MemberId(*member)));
        let firsts: std::collections::BTreeSet<_> = (0..50).map(first).collect();
        assert_eq!(firsts.len(), 3);
        assert_eq!(first(7), first(7));
    }
}
