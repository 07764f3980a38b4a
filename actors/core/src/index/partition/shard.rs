//! How far the index is in the change log of one shard.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::ShardLag;
use super::{FeedTicket, LoadTicket, PARK_MS, PARK_MS_MAX};
use crate::types::{Lseq, Millis, RecordKey, ShardId};

/// What the partition knows about one shard. The caller decides; this keeps the books.
#[derive(Debug, Default)]
pub(super) struct ShardState {
    /// While stored vectors are being read.
    pub(super) loading: Option<LoadTicket>,
    /// When stored vectors that could not be read are read again.
    pub(super) load_again_at: Option<Millis>,
    /// Whether feeding has begun: both marks are known.
    pub(super) feeding: bool,
    /// The vector mark as stored.
    pub(super) stored_mark: Lseq,
    /// A stored vector was damaged: all entries must be looked at again.
    pub(super) damaged: bool,
    /// The log goes at least this far.
    pub(super) target: Lseq,
    /// Entries up to here were dealt with, save those in `open`.
    pub(super) fed: Lseq,
    /// The highest that `fed` has been. Between the two are entries that come again.
    reached: Lseq,
    /// The log may go on beyond `fed`, whatever `target` says.
    pub(super) more: bool,
    /// Whether the end of the log was reached in this life: before, nobody knows the lag.
    pub(super) reached_end: bool,
    pub(super) outstanding: Option<Outstanding>,
    /// Not to be asked before this.
    pub(super) paused_until: Option<Millis>,
    /// How often an entry was found to be of a namespace that is not known yet.
    pub(super) unknown_namespace: u32,
    /// Entries whose vector is missing or not durable yet.
    open: BTreeSet<Lseq>,
    /// Of these and of what was left for later, those without text: a stored vector is being removed.
    removals: BTreeMap<Lseq, RecordKey>,
    /// The same by key; of each key the last.
    removal_of: BTreeMap<RecordKey, Lseq>,
    /// What the shard was last told.
    pub(super) told: Lseq,
    /// The first entry that was given up in this life, though another may succeed.
    pinned: Option<Lseq>,
    /// Searchable by words up to here.
    pub(super) text_mark: Lseq,
    /// The first entry that was left in the log for later.
    parked: Option<Lseq>,
    /// When the log is read again from there.
    parked_until: Option<Millis>,
    /// How often that was done in vain.
    unparked: u32,
    /// When the log was heard to go so far, oldest first: what is not searchable yet.
    heard: VecDeque<(Lseq, Millis)>,
}

/// Positions of a log that were heard of within so many milliseconds count as one.
const HEARD_MS: u64 = 50;
/// So many are remembered; then later ones are taken for as old as the last of them.
const HEARD_MAX: usize = 256;

/// A page that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outstanding {
    pub(super) ticket: FeedTicket,
    pub(super) after: Lseq,
    pub(super) since: Millis,
}

impl ShardState {
    /// Whether there may be something to pull, and nothing forbids it.
    pub(super) fn wants_page(&self) -> bool {
        self.feeding
            && self.outstanding.is_none()
            && self.paused_until.is_none()
            && (self.more || self.target > self.fed)
    }

    /// Begins an entry that takes time.
    pub(super) fn begin(&mut self, lseq: Lseq) {
        self.open.insert(lseq);
    }

    /// Begins to remove the stored vector of an entry without text.
    pub(super) fn begin_removal(&mut self, lseq: Lseq, key: RecordKey) {
        self.begin(lseq);
        self.forget_removal(&key);
        self.removals.insert(lseq, key.clone());
        self.removal_of.insert(key, lseq);
    }

    /// A later entry of this key decides what becomes of its stored vector.
    pub(super) fn forget_removal(&mut self, key: &RecordKey) {
        if let Some(lseq) = self.removal_of.remove(key) {
            self.removals.remove(&lseq);
        }
    }

    /// Whether the stored vector of an entry without text is being removed.
    pub(super) fn is_removal(&self, lseq: Lseq) -> bool {
        self.removals.contains_key(&lseq)
    }

    /// Ends it: its vector is durable, or nobody needs it any more.
    pub(super) fn end(&mut self, lseq: Lseq) {
        self.open.remove(&lseq);
        if let Some(key) = self.removals.remove(&lseq) {
            self.removal_of.remove(&key);
        }
    }

    /// Gives an entry up for this life.
    pub(super) fn give_up(&mut self, lseq: Lseq) {
        self.open.remove(&lseq);
        self.pinned = Some(self.pinned.map_or(lseq, |pinned| pinned.min(lseq)));
    }

    /// Leaves an entry in the log for later.
    pub(super) fn park(&mut self, now: Millis, lseq: Lseq) {
        self.open.remove(&lseq);
        self.parked = Some(self.parked.map_or(lseq, |parked| parked.min(lseq)));
        let pause = PARK_MS.checked_shl(self.unparked).unwrap_or(PARK_MS_MAX);
        self.parked_until
            .get_or_insert(now.plus(pause.min(PARK_MS_MAX)));
    }

    /// What was left for later is due at once.
    pub(super) fn unpark_at(&mut self, now: Millis) {
        self.unparked = 0;
        self.parked_until = self.parked.map(|_| now);
    }

    /// When what was left for later is due.
    pub(super) fn parked_until(&self) -> Option<Millis> {
        // A page on its way would be taken for what comes next.
        self.parked_until.filter(|_| self.outstanding.is_none())
    }

    /// Goes back to what was left for later, if it is due. Returns whether it did.
    pub(super) fn unpark(&mut self, now: Millis) -> bool {
        if self.parked_until().is_none_or(|until| until > now) {
            return false;
        }
        self.parked_until = None;
        let Some(parked) = self.parked.take() else {
            return false;
        };
        // They come again, if they are still in the log.
        let waiting = self.removals.range(parked..);
        let waiting = waiting.filter(|(lseq, _)| !self.open.contains(lseq));
        for key in waiting.map(|(_, key)| key.clone()).collect::<Vec<_>>() {
            self.forget_removal(&key);
        }
        self.unparked = self.unparked.saturating_add(1).min(16);
        self.fed = self.fed.min(Lseq(parked.0.saturating_sub(1)));
        self.more = true;
        true
    }

    /// Entries up to here were dealt with.
    pub(super) fn set_fed(&mut self, fed: Lseq) {
        self.fed = fed;
        self.reached = self.reached.max(fed);
    }

    /// The highest position up to which entries were dealt with, whatever comes again.
    pub(super) fn reached(&self) -> Lseq {
        self.reached
    }

    /// All vectors up to here are durable.
    pub(super) fn vector_mark(&self) -> Lseq {
        let missing = self
            .open
            .first()
            .copied()
            .into_iter()
            .chain(self.pinned)
            .chain(self.parked)
            .min();
        missing.map_or(self.fed, |first| {
            Lseq(first.0.saturating_sub(1)).min(self.fed)
        })
    }

    /// Of every key whose last change is a deletion up to here, the index holds nothing, and never
    /// will again, whatever fails: neither text nor vector. Vectors that are still missing do not
    /// matter, so that a model that is absent holds up no purge.
    pub(super) fn deletions_known(&self) -> Lseq {
        let vectors = self.removals.keys().next().map_or(self.fed, |first| {
            Lseq(first.0.saturating_sub(1)).min(self.fed)
        });
        vectors.min(self.text_mark)
    }

    /// Searchable by meaning up to here. What was given up does not count as lag: it would never
    /// end.
    pub(super) fn searchable_vectors(&self) -> Lseq {
        self.open.first().map_or(self.reached, |first| {
            Lseq(first.0.saturating_sub(1)).min(self.reached)
        })
    }

    /// Notes when the log went how far.
    pub(super) fn note_lag(&mut self, now: Millis) {
        let target = self.target.max(self.reached);
        let searchable = self.text_mark.min(self.searchable_vectors());
        let last = self.heard.back().copied();
        if last.is_none_or(|(heard, _)| target > heard) && target > searchable {
            let is_full = self.heard.len() >= HEARD_MAX;
            match self.heard.back_mut() {
                Some((heard, at)) if is_full || now.since(*at) < HEARD_MS => *heard = target,
                _ => self.heard.push_back((target, now)),
            }
        }
        while self
            .heard
            .front()
            .is_some_and(|(heard, _)| *heard <= searchable)
        {
            self.heard.pop_front();
        }
    }

    /// How far searches by words are behind.
    pub(super) fn text_lag(&self, shard: ShardId, now: Millis) -> ShardLag {
        self.lag(shard, self.text_mark, now)
    }

    /// How far searches by meaning are behind.
    pub(super) fn vector_lag(&self, shard: ShardId, now: Millis) -> ShardLag {
        self.lag(shard, self.searchable_vectors(), now)
    }

    fn lag(&self, shard: ShardId, mark: Lseq, now: Millis) -> ShardLag {
        let target = self.target.max(self.reached);
        // The age of the oldest change that is missing.
        let missing = self.heard.iter().find(|(heard, _)| *heard > mark);
        ShardLag {
            shard,
            changes: target.0.saturating_sub(mark.0),
            behind_ms: missing.map_or(0, |(_, since)| now.since(*since)),
        }
    }
}
