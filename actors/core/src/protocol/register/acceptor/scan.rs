//! Range reads: pages of records for scans, pages of the change log for peers.
//!
//! A store may show batches that are not durable yet. So an answer made of a page is held until
//! everything written before the page came is durable.

use bytes::Bytes;

use super::tail::ChangesPage;
use super::{Acceptor, Effect};
use crate::limits::{CHANGES_PAGE_MAX, PAGE_BYTES_MAX, SCAN_LIMIT_MAX};
use crate::storage::format::{Record, open};
use crate::storage::{Keyspace, RangePage, RangeQuery, keys};
use crate::types::{IoId, Lseq, Millis};
use crate::wire::register::{ReplyBody, ReplyTo};

/// What a range read in flight is for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum RangeUse {
    /// Recovery.
    Unlearned,
    /// A scan's page.
    Scan {
        reply_to: ReplyTo,
        with_registers: bool,
    },
    /// A peer's catch-up.
    Changes {
        reply_to: ReplyTo,
        after: Lseq,
        next: Lseq,
    },
    /// The index partition's.
    Feed {
        token: u64,
        after: Lseq,
        below: Lseq,
    },
    /// A standing query's.
    Watch { token: u64, below: Lseq },
    /// Expired values to be turned into tombstones.
    Expired,
    /// Tombstones to be purged, up to this position.
    Empties { below: Lseq },
    /// Records to be checked for damage.
    Scrub,
}

impl Acceptor {
    pub(super) fn range(&mut self, query: RangeQuery, purpose: RangeUse, out: &mut Vec<Effect>) {
        let io = self.io();
        self.ranges.insert(io, purpose);
        out.push(Effect::Range(io, query));
    }

    pub(super) fn ranged(&mut self, now: Millis, io: IoId, page: RangePage, out: &mut Vec<Effect>) {
        match self.ranges.remove(&io) {
            None => {}
            Some(RangeUse::Unlearned) => self.unlearned_read(&page, out),
            Some(RangeUse::Scan {
                reply_to,
                with_registers,
            }) => {
                let body = scanned(&page, with_registers);
                self.reply(reply_to, body, self.log.last_in_flight(), out);
            }
            Some(RangeUse::Changes {
                reply_to,
                after,
                next,
            }) => {
                let body = changes(ChangesPage::from_disk(&page, after), next);
                self.reply(reply_to, body, self.log.last_in_flight(), out);
            }
            Some(RangeUse::Feed {
                token,
                after,
                below,
            }) => {
                let page = ChangesPage::from_disk(&page, after);
                self.feed_page(now, token, below, page, out);
            }
            Some(RangeUse::Expired) => self.expired_ranged(now, &page, out),
            Some(RangeUse::Scrub) => self.scrubbed(now, &page, out),
            Some(RangeUse::Watch { token, below }) => {
                let page = ChangesPage::from_disk(&page, self.watched_after(token));
                self.watch_page(now, token, below, page, out);
            }
            Some(RangeUse::Empties { below }) => self.empties_ranged(now, below, &page, out),
        }
    }

    pub(super) fn scan(
        &mut self,
        reply_to: ReplyTo,
        (from, to): (Bytes, Bytes),
        limit: u32,
        with_registers: bool,
        out: &mut Vec<Effect>,
    ) {
        let limit_entries = usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .clamp(1, SCAN_LIMIT_MAX);
        let query = RangeQuery {
            keyspace: Keyspace::Records,
            from,
            to,
            limit_entries,
            limit_bytes: PAGE_BYTES_MAX,
        };
        self.range(
            query,
            RangeUse::Scan {
                reply_to,
                with_registers,
            },
            out,
        );
    }

    pub(super) fn pull_since(&mut self, reply_to: ReplyTo, after: Lseq, out: &mut Vec<Effect>) {
        let in_memory = self.tail.page(after, self.meta.next_lseq, CHANGES_PAGE_MAX);
        if let Some(page) = in_memory {
            let body = changes(page, self.meta.next_lseq);
            return self.reply(reply_to, body, self.log.last_in_flight(), out);
        }
        let query = self.changes_query(after, Lseq(u64::MAX), CHANGES_PAGE_MAX);
        // The page is read from committed state, which may end before `next`.
        let next = self.log.ready_below(self.meta.next_lseq);
        self.range(
            query,
            RangeUse::Changes {
                reply_to,
                after,
                next,
            },
            out,
        );
    }

    /// Changes after a position and below another.
    pub(super) fn changes_query(&self, after: Lseq, below: Lseq, limit: usize) -> RangeQuery {
        RangeQuery {
            keyspace: Keyspace::Changes,
            from: keys::change(self.options.shard, Lseq(after.0.saturating_add(1))),
            to: keys::change(self.options.shard, below),
            limit_entries: limit,
            limit_bytes: PAGE_BYTES_MAX,
        }
    }
}

fn scanned(page: &RangePage, with_registers: bool) -> ReplyBody {
    let mut entries = Vec::with_capacity(page.entries.len());
    for (key, value) in &page.entries {
        let Some((_, key)) = keys::parse_record(key) else {
            continue;
        };
        match open::<Record>(value) {
            Ok(record) if record.accepted.is_zero() => {}
            Ok(record) => {
                let register = with_registers.then_some(record.register);
                entries.push((key.key, record.accepted, register));
            }
            // A damaged record agrees with nobody, so the reader asks a quorum for the key.
            Err(_) => entries.push((key.key, crate::types::Ballot::ZERO, None)),
        }
    }
    // A page without visible records must still lead on.
    if entries.is_empty()
        && page.more
        && let Some((_, key)) = page
            .entries
            .last()
            .and_then(|(key, _)| keys::parse_record(key))
    {
        entries.push((key.key, crate::types::Ballot::ZERO, None));
    }
    ReplyBody::Scanned {
        entries,
        more: page.more,
    }
}

fn changes(page: ChangesPage, next: Lseq) -> ReplyBody {
    let ChangesPage {
        mut changes,
        mut upto,
        more,
    } = page;
    changes.retain(|(_, _, accepted)| !accepted.is_zero());
    if !more {
        // Positions that were taken by later changes of the same keys are covered, too.
        upto = upto.max(Lseq(next.0.saturating_sub(1)));
    }
    ReplyBody::Changes {
        changes,
        upto,
        more,
    }
}
