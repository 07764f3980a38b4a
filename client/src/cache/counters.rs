//! What a semantic cache counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What the lookups of this process came to, for one cache.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheCounters {
    /// Lookups answered for the very same prompt.
    pub exact_hits: u64,
    /// Lookups answered for a prompt that means the same.
    pub similar_hits: u64,
    /// Lookups without an answer.
    pub misses: u64,
    /// Answers that were near enough, but that the guard held back.
    pub refused: u64,
    /// Answers that [`get_or_insert_with`](super::SemanticCache::get_or_insert_with) computed.
    pub computed: u64,
    /// Callers of it that waited for another caller's answer to the same prompt.
    pub joined: u64,
    /// Lookups and stores of it that failed, which it goes on without.
    pub failures: u64,
}

/// The counters as they are counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) exact_hits: AtomicU64,
    pub(super) similar_hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) computed: AtomicU64,
    pub(super) joined: AtomicU64,
    pub(super) failures: AtomicU64,
}

impl Counters {
    pub(super) fn read(&self) -> CacheCounters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CacheCounters {
            exact_hits: of(&self.exact_hits),
            similar_hits: of(&self.similar_hits),
            misses: of(&self.misses),
            refused: of(&self.refused),
            computed: of(&self.computed),
            joined: of(&self.joined),
            failures: of(&self.failures),
        }
    }
}

/// One more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
