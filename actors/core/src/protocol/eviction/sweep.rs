//! One pass over the keys of a namespace in a shard, and the deletions that follow.

use std::collections::{BTreeSet, VecDeque};

use crate::limits::EVICTION_CANDIDATES_MAX;
use crate::types::{Ballot, Key};

/// An entry that may be deleted. Ordered by what goes first: what was used least recently, and
/// then what was written first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Victim {
    /// When it was used last; 0 if never seen used.
    pub(super) used: u64,
    pub(super) version: Ballot,
    pub(super) key: Key,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Sweep {
    stage: Stage,
    expected: Option<u64>,
    counted: u64,
    deleted: u64,
    in_flight: u64,
    /// The first to go, of all seen so far.
    candidates: BTreeSet<Victim>,
    victims: VecDeque<Victim>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Stage {
    /// The next page begins after this key.
    Next(Option<Key>),
    /// A page is being read.
    Reading(Option<Key>),
    /// All pages were read.
    Deleting,
}

impl Sweep {
    /// A sweep that should find this many entries at most, if that is known.
    pub(super) fn new(expected: Option<u64>) -> Sweep {
        Sweep {
            stage: Stage::Next(None),
            expected,
            counted: 0,
            deleted: 0,
            in_flight: 0,
            candidates: BTreeSet::new(),
            victims: VecDeque::new(),
        }
    }

    /// Where to read next, if not reading already.
    pub(super) fn next_page(&mut self) -> Option<Option<Key>> {
        let Stage::Next(after) = &self.stage else {
            return None;
        };
        let after = after.clone();
        self.stage = Stage::Reading(after.clone());
        Some(after)
    }

    /// An entry was seen.
    pub(super) fn saw(&mut self, key: &Key, version: Ballot, used: u64) {
        self.counted += 1;
        let full = self.candidates.len() >= EVICTION_CANDIDATES_MAX;
        let later = |last: &Victim| (last.used, last.version) <= (used, version);
        if full && self.candidates.last().is_some_and(later) {
            return;
        }
        let key = key.clone();
        self.candidates.insert(Victim { used, version, key });
        if full {
            self.candidates.pop_last();
        }
    }

    /// A page is over; tells whether it was the last.
    pub(super) fn read(&mut self, last: Option<Key>, more: bool) -> bool {
        let Stage::Reading(after) = &self.stage else {
            return false;
        };
        self.stage = match last {
            _ if !more => Stage::Deleting,
            // A page that leads nowhere would be read for ever.
            None => Stage::Deleting,
            last if last <= *after => Stage::Deleting,
            last => Stage::Next(last),
        };
        self.stage == Stage::Deleting
    }

    /// Chooses whom to delete, so that a little less than `most` are left.
    pub(super) fn choose(&mut self, most: u64) {
        if self.counted > most {
            let goal = most - most / 8;
            let excess = usize::try_from(self.counted - goal).unwrap_or(usize::MAX);
            let candidates = std::mem::take(&mut self.candidates);
            self.victims = candidates.into_iter().take(excess).collect();
        }
    }

    pub(super) fn next_victim(&mut self) -> Option<Victim> {
        let victim = self.victims.pop_front()?;
        self.in_flight += 1;
        Some(victim)
    }

    /// The victim given out last was used meanwhile.
    pub(super) fn spared(&mut self) {
        self.in_flight -= 1;
    }

    /// A deletion has ended.
    pub(super) fn ended(&mut self, deleted: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.deleted += u64::from(deleted);
    }

    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Deleting && self.victims.is_empty() && self.in_flight == 0
    }

    /// Whether it found more than expected: others write to the namespace.
    pub(super) fn is_surprised(&self) -> bool {
        self.expected.is_none_or(|expected| self.counted > expected)
    }

    /// How many entries it left behind.
    pub(super) fn left(&self) -> u64 {
        self.counted.saturating_sub(self.deleted)
    }
}
