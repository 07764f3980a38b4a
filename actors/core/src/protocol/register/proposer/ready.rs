//! Reserved ballots: registers that this proposer may write again with one round trip.

use std::sync::Arc;

use lru::LruCache;

use crate::limits::PROPOSER_CACHE_BYTES;
use crate::planted::{Bug, Planted};
use crate::types::{Ballot, RecordKey, Register};

/// A register that may be written again with one round trip.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    /// The ballot reserved at a majority.
    pub(super) next: Ballot,
    /// The ballot at which a majority accepted the register.
    pub(super) accepted: Ballot,
    pub(super) register: Arc<Register>,
}

/// All of them, bounded by their weight: the least recently used go first.
#[derive(Clone)]
pub(super) struct Reserved {
    entries: LruCache<RecordKey, Ready>,
    weight: usize,
    planted: Planted,
}

impl Reserved {
    pub(super) fn new(planted: Planted) -> Reserved {
        Reserved {
            entries: LruCache::unbounded(),
            weight: 0,
            planted,
        }
    }

    /// Keeps a register for the next write.
    pub(super) fn keep(&mut self, key: RecordKey, ready: Ready) {
        self.weight += ready.register.weight();
        if let Some(old) = self.entries.put(key, ready) {
            self.weight -= old.register.weight();
        }
        while self.weight > PROPOSER_CACHE_BYTES
            && let Some((_, old)) = self.entries.pop_lru()
        {
            self.weight -= old.register.weight();
        }
    }

    /// Takes a reservation: its ballot is used for one proposal only.
    pub(super) fn take(&mut self, key: &RecordKey) -> Option<Ready> {
        if self.planted.is(Bug::NextUsedTwice) {
            return self.entries.get(key).cloned();
        }
        let ready = self.entries.pop(key)?;
        self.weight -= ready.register.weight();
        Some(ready)
    }

    /// Bytes held, approximately.
    #[cfg(test)]
    pub(super) fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.weight = 0;
    }
}

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.entries.iter()).finish()
    }
}
