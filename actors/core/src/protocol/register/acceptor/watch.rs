//! Learned changes of some keys, for standing queries: as for the index, but filtered, with
//! deletions whose records are purged already, and with how far that covers the peers' logs.
//!
//! A page is complete if this replica knows every change after the position that it was asked for.
//! It does not if the position is none of its log, or if deletions after it were purged so long
//! ago, or in an earlier life, that they are not remembered.

use std::collections::VecDeque;

use super::scan::RangeUse;
use super::tail::ChangesPage;
use super::{Acceptor, Effect};
use crate::limits::{CHANGES_PAGE_MAX, WATCH_PAGE_BYTES_MAX, WATCH_PAGE_MAX, WATCH_PURGED_MAX};
use crate::protocol::watch::{WatchEntry, WatchFeed, WatchQuery, WatchState};
use crate::storage::format::Record;
use crate::types::{Ballot, Lseq, MemberId, Millis, RecordKey, Register};

/// Most marks that are kept.
const MARKS_MAX: usize = 4;

/// What is kept for standing queries.
#[derive(Clone, Debug, Default)]
pub(super) struct Watches {
    /// Deletions whose records were purged, by position.
    forgotten: VecDeque<WatchEntry>,
    /// Every purged deletion above this position is in `forgotten`.
    complete_above: Lseq,
    /// How far the peers' logs were followed when this log reached a position.
    marks: VecDeque<(Lseq, Vec<(MemberId, Lseq)>)>,
    /// The next mark, once everything below its position is learned.
    coming: Option<(Lseq, Vec<(MemberId, Lseq)>)>,
    /// Pages that are being read or gathered.
    reading: std::collections::BTreeMap<u64, Reading>,
}

#[derive(Clone, Debug)]
struct Reading {
    query: WatchQuery,
    after: Lseq,
    upto: Lseq,
}

impl Watches {
    /// Starts from what a recovering acceptor found on disk: what was purged before is not known.
    pub(super) fn recovered(&mut self, next: Lseq) {
        self.complete_above = Lseq(next.0.saturating_sub(1));
    }

    /// A tombstone was purged.
    pub(super) fn purged(&mut self, key: &RecordKey, record: &Record) {
        if record.register.vtag.is_zero() {
            // It was never written: there was nothing to see.
            return;
        }
        self.forgotten
            .push_back(WatchEntry::of(record.lseq, key.clone(), &record.register));
        if self.forgotten.len() > WATCH_PURGED_MAX
            && let Some(oldest) = self.forgotten.pop_front()
        {
            self.complete_above = self.complete_above.max(oldest.lseq);
        }
    }

    /// A record is overwritten. Where peers have purged a tombstone that is still here, a round
    /// finds the key empty, as if it never was written, and brings that here: the deletion is
    /// remembered as if it were purged here, or counts as forgotten if it is not known to be
    /// chosen. A purge has a round of its own: a tombstone that was accepted at no later ballot
    /// than its own was never purged, and so never chosen.
    pub(super) fn overwritten(
        &mut self,
        key: &RecordKey,
        old: &Record,
        register: &Register,
        is_learned: bool,
    ) {
        let tombstone = &old.register;
        let is_purged = register.vtag.is_zero()
            && tombstone.value.is_none()
            && !tombstone.vtag.is_zero()
            && old.accepted > tombstone.vtag;
        if is_purged && is_learned {
            self.purged(key, old);
        } else if is_purged {
            self.complete_above = self.complete_above.max(old.lseq);
        }
    }

    /// Notes how far peers' logs were followed when this log was `next` long.
    pub(super) fn mark(&mut self, next: Lseq, ready: Lseq, seen: Vec<(MemberId, Lseq)>) {
        if self.coming.as_ref().is_some_and(|(at, _)| *at <= ready)
            && let Some(mark) = self.coming.take()
        {
            self.marks.push_back(mark);
        }
        if ready == next {
            if self.marks.back().is_some_and(|(at, _)| *at == next) {
                self.marks.pop_back();
            }
            self.marks.push_back((next, seen));
            self.coming = None;
        } else if self.coming.is_none() {
            self.coming = Some((next, seen));
        }
        while self.marks.len() > MARKS_MAX {
            self.marks.pop_front();
        }
    }

    /// What of the peers' logs is covered by this log up to a position.
    fn seen_at(&self, upto: Lseq) -> Vec<(MemberId, Lseq)> {
        let covers =
            |(below, _): &&(Lseq, Vec<(MemberId, Lseq)>)| below.0 <= upto.0.saturating_add(1);
        let mark = self.marks.iter().rev().find(covers);
        mark.map(|(_, seen)| seen.clone()).unwrap_or_default()
    }
}

impl Acceptor {
    /// Answers a standing query with what it has not seen yet.
    pub(super) fn watch(&mut self, now: Millis, query: WatchQuery, out: &mut Vec<Effect>) {
        let token = query.token;
        if !self.is_serving() {
            return out.push(Effect::Watched(WatchFeed::not_serving(token)));
        }
        self.mark();
        let ready = self.log.ready_below(self.meta.next_lseq);
        let end = Lseq(ready.0.saturating_sub(1));
        if end < self.watches.complete_above {
            // No position that could be told now would be known when it comes back.
            return out.push(Effect::Watched(WatchFeed::not_serving(token)));
        }
        let after = query.after.unwrap_or(end);
        let is_known = after < self.meta.next_lseq && after >= self.watches.complete_above;
        let is_gap = query.after.is_some() && !is_known;
        if is_gap || after >= end {
            let upto = if is_gap { end } else { after };
            let feed = WatchFeed {
                is_complete: !is_gap,
                ..self.covered(token, upto)
            };
            return self.hold(Effect::Watched(feed), self.log.last_in_flight(), out);
        }
        let reading = Reading {
            query,
            after,
            upto: after,
        };
        self.watches.reading.insert(token, reading);
        match self.tail.page(after, ready, CHANGES_PAGE_MAX) {
            Some(page) => self.watch_page(now, token, ready, page, out),
            None => {
                let range = self.changes_query(after, ready, CHANGES_PAGE_MAX);
                let below = ready;
                self.range(range, RangeUse::Watch { token, below }, out);
            }
        }
    }

    /// Where a page was read from disk begins.
    pub(super) fn watched_after(&self, token: u64) -> Lseq {
        let reading = self.watches.reading.get(&token);
        reading.map_or(Lseq(0), |reading| reading.after)
    }

    /// A page of the change log was read: the records that the query wants are gathered.
    pub(super) fn watch_page(
        &mut self,
        now: Millis,
        token: u64,
        below: Lseq,
        page: ChangesPage,
        out: &mut Vec<Effect>,
    ) {
        let Some(reading) = self.watches.reading.get_mut(&token) else {
            return;
        };
        let query = &reading.query;
        let mut changes = page.changes;
        changes.retain(|(_, key, accepted)| !accepted.is_zero() && query.wants(key));
        reading.upto = if page.more {
            page.upto
        } else {
            page.upto.max(Lseq(below.0.saturating_sub(1)))
        };
        if let Some((next, _, _)) = changes.get(WATCH_PAGE_MAX) {
            reading.upto = Lseq(next.0.saturating_sub(1));
            changes.truncate(WATCH_PAGE_MAX);
        }
        let wanted = changes.into_iter();
        let wanted = wanted.map(|(_, key, accepted)| (key, accepted)).collect();
        self.gather_watch(now, token, wanted, out);
    }

    /// The records of a page are in memory.
    pub(super) fn watched(
        &mut self,
        token: u64,
        found: Vec<((RecordKey, Ballot), Option<Record>)>,
    ) -> Option<WatchFeed> {
        let reading = self.watches.reading.remove(&token)?;
        let (after, mut upto) = (reading.after, reading.upto);
        // A record that changed since the page was read comes again later.
        let mut entries: Vec<WatchEntry> = found
            .into_iter()
            .filter_map(|((key, accepted), record)| {
                let here = |record: &Record| record.accepted == accepted && record.lseq <= upto;
                let record = record.filter(here)?;
                let written = !record.register.vtag.is_zero();
                written.then(|| WatchEntry::of(record.lseq, key, &record.register))
            })
            .collect();
        let within = |entry: &&WatchEntry| after < entry.lseq && entry.lseq <= upto;
        let forgotten = self.watches.forgotten.iter().filter(within);
        let wanted = forgotten.filter(|entry| reading.query.wants(&entry.key));
        entries.extend(wanted.cloned());
        entries.sort_by_key(|entry| entry.lseq);
        if let Some(cut) = too_many_bytes(&entries) {
            if let Some(entry) = entries.get(cut) {
                upto = Lseq(entry.lseq.0.saturating_sub(1));
            }
            entries.truncate(cut);
        }
        let is_complete = after >= self.watches.complete_above;
        Some(WatchFeed {
            entries,
            is_complete,
            ..self.covered(token, upto)
        })
    }

    /// Notes how far this log covers those of the peers.
    pub(super) fn mark(&mut self) {
        let next = self.meta.next_lseq;
        let ready = self.log.ready_below(next);
        self.watches.mark(next, ready, self.catch_up.seen());
    }

    fn covered(&self, token: u64, upto: Lseq) -> WatchFeed {
        let mut position = self.watches.seen_at(upto);
        position.push((self.options.member, upto));
        WatchFeed {
            token,
            serving: true,
            is_complete: true,
            entries: Vec::new(),
            upto,
            position,
        }
    }
}

/// From which entry on a page would be too large; the first entry always fits.
fn too_many_bytes(entries: &[WatchEntry]) -> Option<usize> {
    let mut bytes = 0;
    entries.iter().enumerate().position(|(place, entry)| {
        bytes += entry.key.key.as_bytes().len() + 64;
        if let WatchState::Present(register) = &entry.state {
            bytes += register.weight();
        }
        bytes > WATCH_PAGE_BYTES_MAX && place > 0
    })
}
