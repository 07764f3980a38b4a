//! Expiry and purge sweeps, and settling what was never learned. Any replica may do this at any
//! time; the first live one does it soon, the others later, so that work is rarely done twice.

use std::collections::VecDeque;

use bytes::Bytes;

use super::jobs::Job;
use super::scan::RangeUse;
use super::{Acceptor, Effect, TICK_MS};
use crate::limits::PAGE_BYTES_MAX;
use crate::storage::format::{ChangeEntry, Record, open};
use crate::storage::{Keyspace, RangePage, RangeQuery, WriteBatch, keys};
use crate::types::{Lseq, Millis, RecordKey};

/// How long a change may stay unlearned before this replica settles it, in milliseconds.
const SETTLE_AFTER_MS: u64 = 1_000;
/// Most keys settled, expired or purged per sweep.
const SWEEP_MAX: usize = 256;
/// Each further rank waits this many times longer between sweeps.
const RANK_FACTOR: u64 = 20;

/// When the next sweeps are due, and how old positions of the change log are.
#[derive(Debug, Default)]
pub(super) struct Housekeeping {
    sweep_due: Millis,
    sweeping: bool,
    /// (time, next position then), oldest first: a tombstone below a position is at least so old.
    ages: VecDeque<(Millis, Lseq)>,
    old_below: Lseq,
}

impl Housekeeping {
    fn note(&mut self, now: Millis, next: Lseq, age_ms: u64) {
        if self.ages.back().is_none_or(|(_, last)| *last < next) {
            self.ages.push_back((now, next));
        }
        while let Some((at, position)) = self.ages.front()
            && now.since(*at) >= age_ms
        {
            self.old_below = *position;
            self.ages.pop_front();
        }
    }
}

impl Acceptor {
    pub(super) fn tick(&mut self, now: Millis, rank: usize, out: &mut Vec<Effect>) {
        if !self.is_serving() {
            return;
        }
        self.catch_up_tick(now, out);
        self.mark();
        self.freshness_tick(now, out);
        self.settle_overdue(now, out);
        self.rebuild_damaged(out);
        self.scrub_tick(now, out);
        let ready = self.log.ready_below(self.meta.next_lseq);
        self.gone.watch(now, ready);
        self.housekeeping
            .note(now, self.meta.next_lseq, self.options.purge_after_ms);
        if now >= self.housekeeping.sweep_due && !self.housekeeping.sweeping {
            let rank = u64::try_from(rank).unwrap_or(u64::MAX);
            let wait_ms = TICK_MS.saturating_mul(1 + rank.saturating_mul(RANK_FACTOR));
            let first = self.housekeeping.sweep_due == Millis(0);
            self.housekeeping.sweep_due = now.plus(wait_ms);
            // A replica that has just begun to serve does not know yet whether it comes first.
            if !first {
                self.sweep(now, out);
            }
        }
    }

    fn settle_overdue(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let before = Millis(now.0.saturating_sub(SETTLE_AFTER_MS));
        for key in self.log.overdue(before, now, SWEEP_MAX) {
            out.push(Effect::Settle(key));
        }
    }

    fn sweep(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let shard = self.options.shard;
        let mut from = shard.0.to_be_bytes().to_vec();
        from.extend_from_slice(&0_u64.to_be_bytes());
        let mut to = shard.0.to_be_bytes().to_vec();
        to.extend_from_slice(&now.0.saturating_add(1).to_be_bytes());
        let expired = RangeQuery {
            keyspace: Keyspace::Expiry,
            from: from.into(),
            to: to.into(),
            limit_entries: SWEEP_MAX,
            limit_bytes: PAGE_BYTES_MAX,
        };
        self.range(expired, RangeUse::Expired, out);
        let below = self.housekeeping.old_below;
        if below > Lseq(0) {
            let empties = RangeQuery {
                keyspace: Keyspace::Empties,
                from: keys::change(shard, Lseq(0)),
                to: keys::change(shard, below),
                limit_entries: SWEEP_MAX,
                limit_bytes: PAGE_BYTES_MAX,
            };
            self.housekeeping.sweeping = true;
            self.range(empties, RangeUse::Empties { below }, out);
        }
    }

    pub(super) fn expired_ranged(&mut self, now: Millis, page: &RangePage, out: &mut Vec<Effect>) {
        for (key, _) in &page.entries {
            if let Some((_, at, key)) = keys::parse_expiry(key) {
                self.submit(now, key, Job::Expire { at }, out);
            }
        }
    }

    /// Has a value that has ended turned into a tombstone. An entry that belongs to no record, such
    /// as a damaged one leaves behind, is removed.
    pub(super) fn expire(
        &mut self,
        key: &RecordKey,
        record: Option<&Record>,
        at: Millis,
        out: &mut Vec<Effect>,
    ) {
        if record.is_some_and(|record| record.register.expires_at == Some(at)) {
            out.push(Effect::Settle(key.clone()));
        } else {
            let entry = keys::expiry(self.options.shard, at, key);
            self.remove_stale(Keyspace::Expiry, entry, out);
        }
    }

    /// Has a tombstone purged. An entry that belongs to no record is removed.
    pub(super) fn purge_if_empty(
        &mut self,
        key: &RecordKey,
        record: Option<&Record>,
        lseq: Lseq,
        out: &mut Vec<Effect>,
    ) {
        match record.filter(|record| record.lseq == lseq && record.register.value.is_none()) {
            Some(record) if self.gone.knows(key, record) => out.push(Effect::Purge(key.clone())),
            Some(_) => {}
            None => {
                let entry = keys::change(self.options.shard, lseq);
                self.remove_stale(Keyspace::Empties, entry, out);
            }
        }
    }

    fn remove_stale(&mut self, keyspace: Keyspace, entry: Bytes, out: &mut Vec<Effect>) {
        let mut batch = WriteBatch::default();
        batch.remove(keyspace, entry);
        self.append(batch, out);
    }

    pub(super) fn empties_ranged(
        &mut self,
        now: Millis,
        below: Lseq,
        page: &RangePage,
        out: &mut Vec<Effect>,
    ) {
        self.housekeeping.sweeping = false;
        for (key, value) in &page.entries {
            if let Some((_, lseq)) = keys::parse_change(key)
                && let Ok(entry) = open::<ChangeEntry>(value)
                && lseq < below
            {
                self.submit(now, entry.key, Job::PurgeIfEmpty { lseq }, out);
            }
        }
    }
}
