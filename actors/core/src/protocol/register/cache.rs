//! Records in memory: least recently used ones go first, those with an append in flight stay, so
//! that an older copy is never read back from disk. Absence is cached too.

use lru::LruCache;

use crate::planted::{Bug, Planted};
use crate::storage::format::Record;
use crate::types::{IoId, RecordKey};

/// What is known of a key without reading the disk.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Slot {
    /// No record.
    Absent,
    /// This record.
    Present(Record),
    /// The bytes on disk are damaged: this replica abstains on the key.
    Corrupt,
}

#[derive(Clone, Debug)]
struct Cached {
    slot: Slot,
    /// The last append that changed it.
    written: IoId,
    weight: usize,
}

/// A bounded map from keys to [`Slot`]s.
#[derive(Clone)]
pub struct RecordCache {
    slots: LruCache<RecordKey, Cached>,
    weight: usize,
    weight_max: usize,
    planted: Planted,
}

impl RecordCache {
    /// A cache of about `weight_max` bytes.
    pub fn new(weight_max: usize, planted: Planted) -> RecordCache {
        RecordCache {
            slots: LruCache::unbounded(),
            weight: 0,
            weight_max,
            planted,
        }
    }

    /// The slot, and the last append that changed it; makes it the most recently used.
    pub fn get(&mut self, key: &RecordKey) -> Option<(&Slot, IoId)> {
        self.slots
            .get(key)
            .map(|cached| (&cached.slot, cached.written))
    }

    /// Whether the key is known.
    pub fn contains(&self, key: &RecordKey) -> bool {
        self.slots.contains(key)
    }

    /// Sets a slot changed by append `written`, and evicts others that are durable as of `durable`.
    /// The slot itself stays, whatever its size: somebody is about to use it.
    pub fn insert(&mut self, key: RecordKey, slot: Slot, written: IoId, durable: IoId) {
        let weight = key.key.as_bytes().len()
            + 128
            + match &slot {
                Slot::Present(record) => record.register.weight(),
                Slot::Absent | Slot::Corrupt => 0,
            };
        self.weight += weight;
        if let Some(old) = self.slots.put(
            key.clone(),
            Cached {
                slot,
                written,
                weight,
            },
        ) {
            self.weight -= old.weight;
        }
        self.evict(&key, durable);
    }

    /// Evicts all that is durable as of `durable`.
    pub fn forget(&mut self, durable: IoId) {
        for _ in 0..self.slots.len() {
            let Some((key, cached)) = self.slots.pop_lru() else {
                return;
            };
            if cached.written > durable {
                self.slots.put(key, cached);
            } else {
                self.weight -= cached.weight;
            }
        }
    }

    /// Bytes held, approximately.
    pub fn weight(&self) -> usize {
        self.weight
    }

    fn evict(&mut self, keep: &RecordKey, durable: IoId) {
        // Slots that must stay and are met on the way become recently used, so that after a few of
        // them the one to be kept comes up; the bound keeps this step short.
        let mut attempts = 16;
        while self.weight > self.weight_max && attempts > 0 && self.slots.len() > 1 {
            attempts -= 1;
            let Some((key, cached)) = self.slots.pop_lru() else {
                return;
            };
            let in_flight = cached.written > durable && !self.planted.is(Bug::InFlightEvicted);
            if in_flight || key == *keep {
                self.slots.put(key, cached);
            } else {
                self.weight -= cached.weight;
            }
        }
    }
}

impl std::fmt::Debug for RecordCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.slots.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Key, NamespaceId};

    fn key(n: usize) -> RecordKey {
        RecordKey {
            namespace: NamespaceId(1),
            key: Key::new(format!("{n:04}")).expect("short"),
        }
    }

    #[test]
    fn it_stays_in_its_bound_and_keeps_what_is_in_flight() {
        let mut cache = RecordCache::new(10_000, Planted::default());
        cache.insert(key(9999), Slot::Absent, IoId(7), IoId(0));
        for n in 0..1000 {
            cache.insert(key(n), Slot::Absent, IoId(0), IoId(6));
            assert!(cache.weight() <= 10_000);
        }
        assert!(cache.contains(&key(9999)), "its append is in flight");
        assert!(!cache.contains(&key(0)));
        assert!(cache.contains(&key(999)));
        for n in 0..1000 {
            cache.insert(key(n), Slot::Absent, IoId(0), IoId(7));
        }
        assert!(!cache.contains(&key(9999)), "durable now, and long unused");
    }

    #[test]
    fn what_is_in_flight_is_not_forgotten() {
        let mut cache = RecordCache::new(10_000, Planted::default());
        for n in 1..=4 {
            cache.insert(key(n), Slot::Absent, IoId(n as u64), IoId(0));
        }
        cache.forget(IoId(2));
        assert!(!cache.contains(&key(2)) && cache.contains(&key(3)));
        cache.forget(IoId(4));
        assert_eq!(cache.weight(), 0);
    }

    #[test]
    fn what_was_just_loaded_stays_beside_appends_in_flight() {
        let mut cache = RecordCache::new(1, Planted::default());
        for n in 0..8 {
            cache.insert(key(n), Slot::Absent, IoId(7), IoId(0));
        }
        cache.insert(key(8), Slot::Absent, IoId(0), IoId(0));
        assert!(cache.contains(&key(8)), "or its jobs would load it again");
        cache.insert(key(9), Slot::Absent, IoId(0), IoId(0));
        assert!(cache.contains(&key(9)) && !cache.contains(&key(8)));
        assert!((0..8).all(|n| cache.contains(&key(n))), "in flight");
    }
}
