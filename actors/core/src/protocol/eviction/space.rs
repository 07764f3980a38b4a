//! What an evictor knows of one namespace in its shard.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::sweep::Sweep;
use crate::limits::EVICTION_TRACKED_MAX;
use crate::types::{Ballot, Key, Millis};

/// Sweeps begin so far apart at least, in milliseconds; and the first so long after it is known
/// that this replica evicts, so that it has seen what is in use.
const SWEEP_PAUSE_MS: u64 = 1_000;
/// Others may write to the namespace, too: it is swept anew after a pause that doubles up to this,
/// in milliseconds, as long as sweeps find no more than was written through this replica.
const SWEEP_EVERY_MS: u64 = 60_000;

/// One namespace of one shard.
#[derive(Debug)]
pub(super) struct Space {
    /// How many entries it may hold here.
    pub(super) most: u64,
    /// When the keys that are remembered were used last, as numbers that grow.
    uses: LruCache<Key, u64>,
    /// How many there were after the last sweep; none before the first.
    counted: Option<u64>,
    /// Keys written since that were not known: there are so many more at most.
    added: u64,
    /// When the last page was asked for; before the first sweep, when it began to wait.
    swept_at: Millis,
    /// The next sweep begins so long after the last, though nothing is known to be too much.
    pause_ms: u64,
    sweep: Option<Sweep>,
}

impl Space {
    pub(super) fn new(most: u64, now: Millis) -> Space {
        let tracked = NonZeroUsize::new(EVICTION_TRACKED_MAX).unwrap_or(NonZeroUsize::MIN);
        Space {
            most,
            uses: LruCache::new(tracked),
            counted: None,
            added: 0,
            swept_at: now,
            pause_ms: SWEEP_PAUSE_MS,
            sweep: None,
        }
    }

    pub(super) fn used(&mut self, key: &Key, number: u64, is_write: bool) {
        let known = self.uses.put(key.clone(), number).is_some();
        self.added += u64::from(is_write && !known);
    }

    /// What others did is not known: a sweep begins after a pause.
    pub(super) fn begin_again(&mut self, now: Millis) {
        self.sweep = None;
        self.counted = None;
        self.swept_at = now;
        self.pause_ms = SWEEP_PAUSE_MS;
    }

    /// Begins a sweep, if the namespace may be over its share or was not looked at for long.
    pub(super) fn sweep_if_due(&mut self, now: Millis) {
        if self.sweep.is_some() {
            return;
        }
        let is_over = self.expected().is_none_or(|count| count > self.most);
        let pause_ms = if is_over {
            SWEEP_PAUSE_MS
        } else {
            self.pause_ms
        };
        if now.since(self.swept_at) >= pause_ms {
            self.sweep = Some(Sweep::new(self.expected()));
            self.added = 0;
        }
    }

    /// How many entries there are at most, if nobody else adds any.
    fn expected(&self) -> Option<u64> {
        Some(self.counted? + self.added)
    }

    /// Where the sweep reads next; none if it waits for something.
    pub(super) fn next_page(&mut self, now: Millis) -> Option<Option<Key>> {
        let after = self.sweep.as_mut()?.next_page()?;
        self.swept_at = now;
        Some(after)
    }

    /// A page of keys was read.
    pub(super) fn page(&mut self, entries: &[(Key, Ballot)], more: bool) {
        let Some(sweep) = &mut self.sweep else { return };
        for (key, version) in entries {
            let used = self.uses.peek(key).copied().unwrap_or(0);
            sweep.saw(key, *version, used);
        }
        let last = entries.last().map(|(key, _)| key.clone());
        if sweep.read(last, more) {
            sweep.choose(self.most);
            self.end_if_over();
        }
    }

    /// The next entry to delete; none if there is none, or it must be found first.
    pub(super) fn next_victim(&mut self) -> Option<(Key, Ballot)> {
        let sweep = self.sweep.as_mut()?;
        while let Some(victim) = sweep.next_victim() {
            let used = self.uses.peek(&victim.key).copied().unwrap_or(0);
            if used == victim.used {
                self.uses.pop(&victim.key);
                return Some((victim.key, victim.version));
            }
            sweep.spared();
        }
        self.end_if_over();
        None
    }

    /// A deletion has ended.
    pub(super) fn deleted(&mut self, deleted: bool) {
        if let Some(sweep) = &mut self.sweep {
            sweep.ended(deleted);
        }
        self.end_if_over();
    }

    fn end_if_over(&mut self) {
        if let Some(sweep) = self.sweep.take_if(|sweep| sweep.is_over()) {
            let doubled = self.pause_ms.saturating_mul(2).min(SWEEP_EVERY_MS);
            self.pause_ms = if sweep.is_surprised() {
                SWEEP_PAUSE_MS
            } else {
                doubled
            };
            self.counted = Some(sweep.left());
        }
    }
}
