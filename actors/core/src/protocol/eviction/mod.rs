//! Eviction: keeps the namespaces that set `max_entries` near their bound, by deleting the entries
//! of one shard that were not used for longest.
//!
//! Runs beside each proposer; only that of the first live replica in routing order acts, since
//! nearly all reads and writes go through it. A deletion is an ordinary write with the condition
//! that the version is unchanged, so all replicas evict alike, and safety does not depend on there
//! being one evictor.
//!
//! | event | what follows |
//! |---|---|
//! | used | the key becomes the most recently used |
//! | tick, and a namespace may be over its share | a sweep after a pause: pages of its keys in this shard |
//! | last page of a sweep, more keys than the share | deletions, a bounded number at a time |
//!
//! It is approximate, on purpose:
//! - each shard has the same share, `max_entries / shards` rounded up, though keys may not spread
//!   evenly;
//! - recency is what this replica saw in this life. What it never saw used is older than all that
//!   it did, and among that, what was written first goes first. One that has just become first
//!   looks on for a second before it sweeps, so what is used more often than that stays;
//! - recency of [`EVICTION_TRACKED_MAX`](crate::limits::EVICTION_TRACKED_MAX) keys of a namespace
//!   and shard is remembered;
//! - a sweep goes down to seven eighths of the share, so that not every write needs one.
//!
//! Invariants: never more than [`EVICTIONS_IN_FLIGHT_MAX`] deletions in flight, and one page; an
//! entry is only deleted at the version that a sweep saw, and not if it was used since.

mod space;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::space::Space;
use crate::limits::{EVICTION_PAGES_PER_TICK, EVICTIONS_IN_FLIGHT_MAX, EVICTIONS_PER_TICK_MAX};
use crate::types::{Ballot, Key, Millis, NamespaceId, RecordKey};

/// Names a page or deletion that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct EvictionTicket(pub u64);

/// What happens to an evictor.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The namespaces with a bound, and how many entries of each this shard may hold.
    Limits(BTreeMap<NamespaceId, u64>),
    /// A key is read through this replica.
    Read(RecordKey),
    /// A key is written through this replica; it may be a new one.
    Write(RecordKey),
    /// Answers [`Effect::Scan`]: keys in order with their versions, and whether there are more.
    Page(EvictionTicket, Vec<(Key, Ballot)>, bool),
    /// Answers [`Effect::Delete`]: whether there was something to delete.
    Deleted(EvictionTicket, bool),
    /// Answers either: it could not be done, or the version had changed.
    Failed(EvictionTicket),
    /// Time passes. Comes about every [`TICK_MS`] milliseconds.
    Tick {
        /// Whether this is the shard's first live replica.
        is_first: bool,
    },
}

/// How often [`Event::Tick`] is expected, in milliseconds.
pub const TICK_MS: u64 = 500;

/// What an evictor wants done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Read a page of this shard's keys; report [`Event::Page`].
    Scan {
        /// Comes back with the answer.
        ticket: EvictionTicket,
        /// Of this namespace.
        namespace: NamespaceId,
        /// After this key.
        after: Option<Key>,
    },
    /// Delete this key if it still has this version; report [`Event::Deleted`].
    Delete {
        /// Comes back with the answer.
        ticket: EvictionTicket,
        /// Which.
        key: RecordKey,
        /// Its version.
        version: Ballot,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Page,
    Deletion,
}

/// Evicts from one shard. See the module.
#[derive(Debug, Default)]
pub struct Evictor {
    spaces: BTreeMap<NamespaceId, Space>,
    /// Pages and deletions in flight.
    asked: BTreeMap<EvictionTicket, (Asked, NamespaceId)>,
    deleting: usize,
    next_ticket: u64,
    /// Grows with every use of a key.
    uses: u64,
    /// What may still be done before the next tick.
    pages_left: u32,
    deletions_left: u32,
    is_first: bool,
    evicted: u64,
}

impl Evictor {
    /// Takes one event; adds what it wants done to `out`.
    pub fn step(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Limits(limits) => self.limit(now, &limits),
            Event::Read(key) => self.used(&key, false),
            Event::Write(key) => self.used(&key, true),
            Event::Page(ticket, keys, more) => {
                if let Some((Asked::Page, Some(space))) = self.answered(ticket) {
                    space.page(&keys, more);
                }
            }
            Event::Deleted(ticket, found) => {
                if let Some((Asked::Deletion, space)) = self.answered(ticket) {
                    space.into_iter().for_each(|space| space.deleted(found));
                    self.evicted += u64::from(found);
                }
            }
            Event::Failed(ticket) => match self.answered(ticket) {
                Some((Asked::Page, Some(space))) => space.begin_again(now),
                Some((Asked::Deletion, Some(space))) => space.deleted(false),
                _ => {}
            },
            Event::Tick { is_first } => self.tick(now, is_first),
        }
        self.go_on(now, out);
        debug_assert!(self.deleting <= EVICTIONS_IN_FLIGHT_MAX);
    }

    /// How many entries were deleted in this life.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Whether any namespace has a bound: else there is nothing to report to it.
    pub fn is_idle(&self) -> bool {
        self.spaces.is_empty()
    }

    fn limit(&mut self, now: Millis, limits: &BTreeMap<NamespaceId, u64>) {
        self.spaces.retain(|id, _| limits.contains_key(id));
        for (id, most) in limits {
            let space = self
                .spaces
                .entry(*id)
                .or_insert_with(|| Space::new(*most, now));
            space.most = *most;
        }
    }

    fn used(&mut self, key: &RecordKey, is_write: bool) {
        if let Some(space) = self.spaces.get_mut(&key.namespace) {
            self.uses += 1;
            space.used(&key.key, self.uses, is_write);
        }
    }

    /// What was asked for under this ticket, and the namespace if it still has a bound.
    fn answered(&mut self, ticket: EvictionTicket) -> Option<(Asked, Option<&mut Space>)> {
        let (asked, id) = self.asked.remove(&ticket)?;
        self.deleting -= usize::from(asked == Asked::Deletion);
        Some((asked, self.spaces.get_mut(&id)))
    }

    fn tick(&mut self, now: Millis, is_first: bool) {
        self.pages_left = EVICTION_PAGES_PER_TICK;
        self.deletions_left = EVICTIONS_PER_TICK_MAX;
        if is_first != self.is_first {
            self.is_first = is_first;
            for space in self.spaces.values_mut() {
                space.begin_again(now);
            }
        }
        if is_first {
            for space in self.spaces.values_mut() {
                space.sweep_if_due(now);
            }
        }
    }

    /// Asks for what the spaces want next, within the bounds.
    fn go_on(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if !self.is_first {
            return;
        }
        for (id, space) in &mut self.spaces {
            while self.deletions_left > 0
                && self.deleting < EVICTIONS_IN_FLIGHT_MAX
                && let Some((key, version)) = space.next_victim()
            {
                self.next_ticket += 1;
                let ticket = EvictionTicket(self.next_ticket);
                self.asked.insert(ticket, (Asked::Deletion, *id));
                self.deleting += 1;
                self.deletions_left -= 1;
                let namespace = *id;
                let key = RecordKey { namespace, key };
                out.push(Effect::Delete {
                    ticket,
                    key,
                    version,
                });
            }
            if self.pages_left > 0
                && let Some(after) = space.next_page(now)
            {
                self.next_ticket += 1;
                let ticket = EvictionTicket(self.next_ticket);
                self.asked.insert(ticket, (Asked::Page, *id));
                self.pages_left -= 1;
                out.push(Effect::Scan {
                    ticket,
                    namespace: *id,
                    after,
                });
            }
        }
    }
}
