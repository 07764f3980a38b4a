//! Answers made of several records: they are loaded one by one and put together here.

use super::jobs::Job;
use super::scan::RangeUse;
use super::tail::ChangesPage;
use super::{Acceptor, Effect, FeedEntry, FeedPage};
use crate::limits::{CHANGES_PAGE_MAX, PAGE_BYTES_MAX};
use crate::storage::format::Record;
use crate::types::{Ballot, IoId, Lseq, MemberId, Millis, RecordKey};
use crate::wire::register::{Fetched, ReplyBody, ReplyTo};

/// A gathering in progress.
#[derive(Debug)]
pub(super) struct Gather {
    purpose: Purpose,
    /// Keys, and the ballot that each is compared with.
    wanted: Vec<(RecordKey, Ballot)>,
    found: Vec<Option<Record>>,
    missing: usize,
    /// The last append that any of the records waits for.
    after: IoId,
}

#[derive(Clone, Copy, Debug)]
enum Purpose {
    Fetch(ReplyTo),
    Feed {
        token: u64,
        upto: Lseq,
    },
    Watch {
        token: u64,
    },
    Compare {
        peer: MemberId,
        upto: Lseq,
        more: bool,
    },
}

impl Acceptor {
    /// Answers a peer that wants what is newer than its own records.
    pub(super) fn fetch(
        &mut self,
        now: Millis,
        reply_to: ReplyTo,
        mut wanted: Vec<(RecordKey, Ballot)>,
        out: &mut Vec<Effect>,
    ) {
        wanted.truncate(CHANGES_PAGE_MAX);
        self.gather(now, Purpose::Fetch(reply_to), wanted, IoId(0), out);
    }

    /// Answers the index partition.
    pub(super) fn feed(
        &mut self,
        now: Millis,
        token: u64,
        after: Lseq,
        limit: usize,
        out: &mut Vec<Effect>,
    ) {
        self.freshness.asked_after(after);
        let below = self.log.ready_below(self.meta.next_lseq);
        if !self.is_serving() || below.0 <= after.0.saturating_add(1) {
            out.push(Effect::Feed(FeedPage {
                token,
                entries: Vec::new(),
                upto: after,
            }));
            return;
        }
        let limit = limit.clamp(1, CHANGES_PAGE_MAX);
        if let Some(page) = self.tail.page(after, below, limit) {
            return self.feed_page(now, token, below, page, out);
        }
        let query = self.changes_query(after, below, limit);
        self.range(
            query,
            RangeUse::Feed {
                token,
                after,
                below,
            },
            out,
        );
    }

    /// A page for the index was read. A change in flight may have taken a key away from a position
    /// of it: the page is held until that is durable, for a crash would bring the position back.
    pub(super) fn feed_page(
        &mut self,
        now: Millis,
        token: u64,
        below: Lseq,
        page: ChangesPage,
        out: &mut Vec<Effect>,
    ) {
        let mut upto = page.upto;
        if !page.more {
            upto = upto.max(Lseq(below.0.saturating_sub(1)));
        }
        let wanted = page
            .changes
            .into_iter()
            .filter(|(_, _, accepted)| !accepted.is_zero())
            .map(|(_, key, accepted)| (key, accepted))
            .collect();
        let after = self.log.last_in_flight();
        self.gather(now, Purpose::Feed { token, upto }, wanted, after, out);
    }

    /// Gathers what a standing query wants of a page.
    pub(super) fn gather_watch(
        &mut self,
        now: Millis,
        token: u64,
        wanted: Vec<(RecordKey, Ballot)>,
        out: &mut Vec<Effect>,
    ) {
        let after = self.log.last_in_flight();
        self.gather(now, Purpose::Watch { token }, wanted, after, out);
    }

    /// Compares a page of a peer's change log with this replica's records.
    pub(super) fn compare(
        &mut self,
        now: Millis,
        peer: MemberId,
        wanted: Vec<(RecordKey, Ballot)>,
        (upto, more): (Lseq, bool),
        out: &mut Vec<Effect>,
    ) {
        let purpose = Purpose::Compare { peer, upto, more };
        self.gather(now, purpose, wanted, IoId(0), out);
    }

    fn gather(
        &mut self,
        now: Millis,
        purpose: Purpose,
        wanted: Vec<(RecordKey, Ballot)>,
        after: IoId,
        out: &mut Vec<Effect>,
    ) {
        let id = self.next_gather;
        self.next_gather += 1;
        let keys: Vec<RecordKey> = wanted.iter().map(|(key, _)| key.clone()).collect();
        let found = vec![None; wanted.len()];
        let missing = wanted.len();
        self.gathers.insert(
            id,
            Gather {
                purpose,
                wanted,
                found,
                missing,
                after,
            },
        );
        if missing == 0 {
            self.complete(now, id, out);
        }
        for (index, key) in keys.into_iter().enumerate() {
            self.submit(now, key, Job::Gather { gather: id, index }, out);
        }
    }

    /// One more record of a gathering is known.
    pub(super) fn gathered(
        &mut self,
        now: Millis,
        id: u64,
        index: usize,
        record: Option<Record>,
        written: IoId,
        out: &mut Vec<Effect>,
    ) {
        let Some(gather) = self.gathers.get_mut(&id) else {
            return;
        };
        if let Some(place) = gather.found.get_mut(index) {
            *place = record;
        }
        gather.after = gather.after.max(written);
        gather.missing -= 1;
        if gather.missing == 0 {
            self.complete(now, id, out);
        }
    }

    /// One record of a gathering cannot be read.
    pub(super) fn gather_without(&mut self, id: u64, index: usize, out: &mut Vec<Effect>) {
        self.gathered(Millis(0), id, index, None, IoId(0), out);
    }

    fn complete(&mut self, now: Millis, id: u64, out: &mut Vec<Effect>) {
        let Some(gather) = self.gathers.remove(&id) else {
            return;
        };
        let after = gather.after;
        match gather.purpose {
            Purpose::Fetch(reply_to) => {
                let records = fetched(gather);
                self.reply(reply_to, ReplyBody::Records { records }, after, out);
            }
            Purpose::Feed { token, upto } => {
                self.freshness.fed(upto);
                let page = FeedPage {
                    token,
                    entries: feed_entries(gather, upto),
                    upto,
                };
                self.hold(Effect::Feed(page), after, out);
            }
            Purpose::Watch { token } => {
                let found = gather.wanted.into_iter().zip(gather.found).collect();
                if let Some(feed) = self.watched(token, found) {
                    self.hold(Effect::Watched(feed), after, out);
                }
            }
            Purpose::Compare { peer, upto, more } => {
                let mut wanted = Vec::new();
                for ((key, theirs), own) in gather.wanted.into_iter().zip(gather.found) {
                    let own_accepted = own.as_ref().map_or(Ballot::ZERO, |r| r.accepted);
                    if theirs == own_accepted {
                        // By now this replica may have accepted more, which is not known to be.
                        self.held_by_two(&key, theirs);
                    } else if theirs > own_accepted && (own.is_some() || theirs > self.meta.floor) {
                        wanted.push((key, own_accepted));
                    } else if theirs > own_accepted {
                        // Purged here and not yet there, or never here: a round finds out.
                        self.catch_up.refuse(peer);
                        out.push(Effect::Settle(key));
                    }
                }
                self.compared(now, peer, wanted, (upto, more), out);
            }
        }
    }
}

fn fetched(gather: Gather) -> Vec<(RecordKey, Fetched)> {
    let mut records = Vec::with_capacity(gather.wanted.len());
    let mut bytes = 0;
    for ((key, have), record) in gather.wanted.into_iter().zip(gather.found) {
        let accepted = record
            .as_ref()
            .map_or(Ballot::ZERO, |record| record.accepted);
        let answer = match record {
            Some(record) if accepted > have => {
                bytes += record.register.weight();
                // The first record is sent whatever its size, so that a page always leads on.
                if bytes > PAGE_BYTES_MAX && !records.is_empty() {
                    break;
                }
                Fetched::Newer(record)
            }
            _ if accepted == have => Fetched::Same,
            _ => Fetched::NotNewer,
        };
        records.push((key, answer));
    }
    records
}

fn feed_entries(gather: Gather, upto: Lseq) -> Vec<FeedEntry> {
    gather
        .wanted
        .into_iter()
        .zip(gather.found)
        .filter_map(|((key, accepted), record)| {
            // A record that changed since the page was read comes again later.
            record
                .filter(|record| record.accepted == accepted && record.lseq <= upto)
                .map(|record| FeedEntry {
                    lseq: record.lseq,
                    key,
                    register: record.register,
                })
        })
        .collect()
}
