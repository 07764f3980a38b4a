//! What an evictor knows of one namespace in its shard.

use std::num::NonZeroUsize;

use lru::LruCache;

use super::sweep::Sweep;
use crate::limits::EVICTION_TRACKED_MAX;
use crate::types::{Ballot, Key, Millis};

/// A namespace is swept anew after so long, in milliseconds: others may write to it, too.
const SWEEP_EVERY_MS: u64 = 60_000;
/// Sweeps of a namespace that is over its share begin so far apart at least, in milliseconds.
const SWEEP_PAUSE_MS: u64 = 1_000;

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
    swept_at: Millis,
    sweep: Option<Sweep>,
}

impl Space {
    pub(super) fn new(most: u64) -> Space {
        let tracked = NonZeroUsize::new(EVICTION_TRACKED_MAX).unwrap_or(NonZeroUsize::MIN);
        Space {
            most,
            uses: LruCache::new(tracked),
            counted: None,
            added: 0,
            swept_at: Millis(0),
            sweep: None,
        }
    }

    pub(super) fn used(&mut self, key: &Key, number: u64, is_write: bool) {
        let known = self.uses.put(key.clone(), number).is_some();
        self.added += u64::from(is_write && !known);
    }

    /// What others did is not known: the next tick begins a sweep.
    pub(super) fn begin_again(&mut self) {
        self.sweep = None;
        self.counted = None;
    }

    /// Begins a sweep, if the namespace may be over its share or was not looked at for long.
    pub(super) fn sweep_if_due(&mut self, now: Millis) {
        if self.sweep.is_some() {
            return;
        }
        let since_ms = now.since(self.swept_at);
        let due = match self.counted {
            None => true,
            Some(counted) if counted + self.added > self.most => since_ms >= SWEEP_PAUSE_MS,
            Some(_) => since_ms >= SWEEP_EVERY_MS,
        };
        if due {
            self.added = 0;
            self.sweep = Some(Sweep::default());
        }
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
            self.counted = Some(sweep.left());
        }
    }
}
