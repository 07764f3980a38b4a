//! The change log: every change of a record takes the next position; what is durable and known to
//! be chosen may be indexed.

use std::collections::{BTreeMap, VecDeque};

use super::super::cache::Slot;
use super::{Acceptor, Effect};
use crate::planted::{Bug, Planted};
use crate::storage::format::{ChangeEntry, Record, ShardMeta, seal};
use crate::storage::{Keyspace, WriteBatch, keys};
use crate::types::{Ballot, IoId, Lseq, Millis, RecordKey};

/// So many positions of the change log are reserved at a time.
const LSEQS_RESERVED: u64 = 256;
/// The bound on ballot numbers is raised by so many at a time.
const BALLOTS_RESERVED: u64 = 4096;

#[derive(Clone, Debug)]
struct Unlearned {
    lseq: Lseq,
    ballot: Ballot,
    since: Millis,
}

/// What is not yet durable or not yet known to be chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct ChangeLog {
    by_key: BTreeMap<RecordKey, Unlearned>,
    by_lseq: BTreeMap<Lseq, RecordKey>,
    /// Appends in flight, with the log position that each reaches.
    in_flight: VecDeque<(IoId, Lseq)>,
    durable_below: Lseq,
    planted: Planted,
}

impl ChangeLog {
    pub(super) fn new(planted: Planted) -> ChangeLog {
        ChangeLog {
            planted,
            ..ChangeLog::default()
        }
    }

    /// Starts from what a recovering acceptor found on disk.
    pub(super) fn recovered(&mut self, durable_below: Lseq) {
        self.durable_below = durable_below;
    }

    pub(super) fn unlearned(&self) -> usize {
        self.by_key.len()
    }

    /// Notes a change that is not yet known to be chosen.
    pub(super) fn changed(&mut self, key: &RecordKey, lseq: Lseq, ballot: Ballot, since: Millis) {
        self.forget(key);
        self.by_lseq.insert(lseq, key.clone());
        self.by_key.insert(
            key.clone(),
            Unlearned {
                lseq,
                ballot,
                since,
            },
        );
    }

    /// Notes that a key no longer waits to be learned.
    pub(super) fn forget(&mut self, key: &RecordKey) {
        if let Some(old) = self.by_key.remove(key) {
            self.by_lseq.remove(&old.lseq);
        }
    }

    /// Notes that a ballot of a key was chosen: the key no longer waits, unless for a later one.
    pub(super) fn chosen(&mut self, key: &RecordKey, ballot: Ballot) {
        let any = self.planted.is(Bug::ChosenWithoutBallot);
        if self
            .waiting(key)
            .is_some_and(|waiting| any || waiting <= ballot)
        {
            self.forget(key);
        }
    }

    /// The ballot that waits to be learned for a key.
    pub(super) fn waiting(&self, key: &RecordKey) -> Option<Ballot> {
        self.by_key.get(key).map(|unlearned| unlearned.ballot)
    }

    /// Keys that have waited since before `before`, oldest position first; their clocks restart.
    pub(super) fn overdue(&mut self, before: Millis, now: Millis, most: usize) -> Vec<RecordKey> {
        let mut overdue = Vec::new();
        for key in self.by_lseq.values().take(most) {
            if let Some(unlearned) = self.by_key.get_mut(key)
                && unlearned.since <= before
            {
                unlearned.since = now;
                overdue.push(key.clone());
            }
        }
        overdue
    }

    pub(super) fn appended(&mut self, io: IoId, next: Lseq) {
        self.in_flight.push_back((io, next));
    }

    /// The last append that is not durable yet; 0 if all are.
    pub(super) fn last_in_flight(&self) -> IoId {
        if self.planted.is(Bug::PageNotSynced) {
            return IoId(0);
        }
        self.in_flight.back().map_or(IoId(0), |(io, _)| *io)
    }

    pub(super) fn became_durable(&mut self, durable: IoId) {
        while let Some(&(io, next)) = self.in_flight.front()
            && io <= durable
        {
            self.durable_below = next;
            self.in_flight.pop_front();
        }
    }

    /// All changes below this position are known to be chosen.
    pub(super) fn learned_below(&self, next: Lseq) -> Lseq {
        self.by_lseq.keys().next().copied().unwrap_or(next)
    }

    /// All changes below this position are durable and known to be chosen.
    pub(super) fn ready_below(&self, next: Lseq) -> Lseq {
        if self.planted.is(Bug::UnlearnedFed) {
            return self.durable_below;
        }
        self.learned_below(next).min(self.durable_below)
    }
}

/// What a write does to the change log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Position {
    /// Only the promise changed: the record keeps its position.
    Keep,
    /// The register changed: the record takes the next position.
    Next,
}

impl Acceptor {
    /// Writes a record and everything derived from it in one batch.
    pub(super) fn write(
        &mut self,
        now: Millis,
        key: &RecordKey,
        old: Option<&Record>,
        mut record: Record,
        position: Position,
        out: &mut Vec<Effect>,
    ) -> IoId {
        debug_assert!(old.is_none_or(|old| old.promise <= record.promise));
        debug_assert!(old.is_none_or(|old| old.accepted <= record.accepted));
        let shard = self.options.shard;
        let mut batch = WriteBatch::default();
        match old {
            Some(old) if position == Position::Keep => record.lseq = old.lseq,
            _ => {
                record.lseq = self.meta.next_lseq;
                self.meta.next_lseq = Lseq(record.lseq.0 + 1);
                self.gone.moved(key, old, &record);
                self.tail.push(record.lseq, key.clone(), record.accepted);
                if let Some(old) = old {
                    if old.register.vtag == record.register.vtag {
                        self.freshness.moved(old.lseq, record.lseq);
                    }
                    let is_learned = self.log.waiting(key).is_none();
                    self.watches
                        .overwritten(key, old, &record.register, is_learned);
                    self.tail.remove(old.lseq);
                    batch.remove(Keyspace::Changes, keys::change(shard, old.lseq));
                }
                let change = ChangeEntry {
                    key: key.clone(),
                    accepted: record.accepted,
                };
                batch.put(
                    Keyspace::Changes,
                    keys::change(shard, record.lseq),
                    seal(&change),
                );
                if !record.accepted.is_zero() {
                    self.log.changed(key, record.lseq, record.accepted, now);
                }
                self.derive(key, old, &record, &mut batch);
            }
        }
        batch.put(Keyspace::Records, keys::record(shard, key), seal(&record));
        let promised = record.promise.n;
        if promised >= self.meta.promised_below {
            self.meta.promised_below = promised.saturating_add(BALLOTS_RESERVED);
            self.put_meta(&mut batch);
        } else if self.meta.next_lseq > self.reserved_below {
            self.put_meta(&mut batch);
        }
        let io = self.append(batch, out);
        self.cache
            .insert(key.clone(), Slot::Present(record), io, self.durable);
        io
    }

    /// Keeps the expiry and tombstone indexes in step with a record.
    fn derive(
        &self,
        key: &RecordKey,
        old: Option<&Record>,
        record: &Record,
        batch: &mut WriteBatch,
    ) {
        let shard = self.options.shard;
        let old_expiry = old.and_then(|old| old.register.expires_at);
        let expiry = record.register.expires_at;
        if old_expiry != expiry {
            if let Some(at) = old_expiry {
                batch.remove(Keyspace::Expiry, keys::expiry(shard, at, key));
            }
            if let Some(at) = expiry {
                batch.put(Keyspace::Expiry, keys::expiry(shard, at, key), Vec::new());
            }
        }
        if let Some(old) = old.filter(|old| old.register.value.is_none()) {
            batch.remove(Keyspace::Empties, keys::change(shard, old.lseq));
        }
        if record.register.value.is_none() {
            let entry = ChangeEntry {
                key: key.clone(),
                accepted: record.accepted,
            };
            batch.put(
                Keyspace::Empties,
                keys::change(shard, record.lseq),
                seal(&entry),
            );
        }
    }

    /// Removes a purged record and raises the floor in one batch.
    pub(super) fn remove(&mut self, key: &RecordKey, old: &Record, out: &mut Vec<Effect>) -> IoId {
        let shard = self.options.shard;
        debug_assert!(old.register.value.is_none());
        self.meta.floor = self.meta.floor.max(old.accepted);
        self.meta.floor_time = self.meta.floor_time.max(old.register.newest_time());
        self.log.forget(key);
        self.gone.purged(key);
        self.watches.purged(key, old);
        self.tail.remove(old.lseq);
        let mut batch = WriteBatch::default();
        batch.remove(Keyspace::Records, keys::record(shard, key));
        batch.remove(Keyspace::Changes, keys::change(shard, old.lseq));
        batch.remove(Keyspace::Empties, keys::change(shard, old.lseq));
        self.put_meta(&mut batch);
        let io = self.append(batch, out);
        self.cache
            .insert(key.clone(), Slot::Absent, io, self.durable);
        io
    }

    /// Adds the shard's metadata to a batch. It reserves the next positions of the change log, so
    /// that not every change has to write it: a later life begins behind them.
    pub(super) fn put_meta(&mut self, batch: &mut WriteBatch) {
        self.meta.learned_below = self.log.learned_below(self.meta.next_lseq);
        self.meta.seen = self.catch_up.seen();
        self.reserved_below = Lseq(self.meta.next_lseq.0 + LSEQS_RESERVED);
        let stored = ShardMeta {
            next_lseq: self.reserved_below,
            ..self.meta.clone()
        };
        batch.put(
            Keyspace::Meta,
            keys::shard_meta(self.options.shard),
            seal(&stored),
        );
    }

    /// Hands a batch to storage.
    pub(super) fn append(&mut self, batch: WriteBatch, out: &mut Vec<Effect>) -> IoId {
        let io = self.io();
        self.log.appended(io, self.meta.next_lseq);
        out.push(Effect::Append(io, batch));
        io
    }
}
