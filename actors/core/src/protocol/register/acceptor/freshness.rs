//! Knowing that this replica's change log holds every write that was acknowledged before.
//!
//! Such a write is on a majority of the replicas, durably, so either this one has it, or one of as
//! many others as make up a majority with it. Their logs are followed to where they end, beginning
//! after the question; what they hold is then in the own log, at some position below its end. The
//! answer is that end, once everything below it is durable and known to be chosen, and was fed to
//! the index: keys that wait to be learned are settled by rounds.
//!
//! A round that settles a key gives its record a later position without changing it. If the old
//! position was not fed yet, the end moves there, too; else the index would not be waited for. A
//! new write does the same, but whoever asks cannot tell whether it came before or after.

use std::collections::{BTreeMap, BTreeSet};

use super::{Acceptor, Effect};
use crate::limits::FRESH_WAITS_MAX;
use crate::types::{Lseq, MemberId, Millis, RequestId};

/// How long a question waits at most, in milliseconds. Whoever asked has given up before.
const WAIT_MS_MAX: u64 = 30_000;
/// A change that has waited so long to be learned is settled by a round, in milliseconds; younger
/// ones are nearly always about to be.
const SETTLE_AFTER_MS: u64 = 100;
/// Most keys settled at a time.
const SETTLE_MAX: usize = 256;

#[derive(Debug)]
struct Wait {
    since: Millis,
    /// A page that was asked for with this request or a later one was made after the question.
    asked_from: RequestId,
    /// Whose logs were followed to the end since.
    heard: BTreeSet<MemberId>,
    /// The end of the own log when enough were.
    barrier: Option<Lseq>,
}

/// The questions that wait.
#[derive(Debug, Default)]
pub(super) struct Freshness {
    waits: BTreeMap<u64, Wait>,
    /// The index was fed up to here: of each record there the version that it had then.
    fed: Lseq,
}

impl Freshness {
    /// Whether somebody waits for a page of this peer that was asked for after `last`.
    pub(super) fn wants(&self, peer: MemberId, last: RequestId) -> bool {
        self.waits.values().any(|wait| {
            wait.barrier.is_none() && !wait.heard.contains(&peer) && wait.asked_from > last
        })
    }

    /// The index has been fed up to here.
    pub(super) fn fed(&mut self, upto: Lseq) {
        self.fed = self.fed.max(upto);
    }

    /// The index asks for what comes after this position: if it has been there before, it has
    /// begun anew.
    pub(super) fn asked_after(&mut self, after: Lseq) {
        self.fed = after;
    }

    /// A record went from one position to another without a new write.
    pub(super) fn moved(&mut self, from: Lseq, to: Lseq) {
        if from <= self.fed {
            return;
        }
        for wait in self.waits.values_mut() {
            if let Some(barrier) = &mut wait.barrier
                && from < *barrier
            {
                *barrier = Lseq(to.0.saturating_add(1)).max(*barrier);
            }
        }
    }

    /// Whether anybody waits for peers.
    pub(super) fn is_waiting_for_peers(&self) -> bool {
        self.waits.values().any(|wait| wait.barrier.is_none())
    }
}

impl Acceptor {
    /// Up to where does the log hold everything acknowledged? Answered by
    /// [`Effect::Freshened`].
    pub(super) fn freshen(&mut self, now: Millis, token: u64, fed: Lseq, out: &mut Vec<Effect>) {
        self.freshness.fed(fed);
        if !self.is_serving() || self.freshness.waits.len() >= FRESH_WAITS_MAX {
            return out.push(Effect::Freshened { token, upto: None });
        }
        let wait = Wait {
            since: now,
            asked_from: self.next_request,
            heard: BTreeSet::new(),
            barrier: None,
        };
        self.freshness.waits.insert(token, wait);
        let needed = self.others_needed();
        for peer in self.catch_up.most_recently_heard(needed) {
            self.follow_now(now, peer, out);
        }
        self.draw_barriers(now, out);
    }

    /// How many others make up a majority with this replica.
    pub(super) fn others_needed(&self) -> usize {
        self.options.members.len() / 2
    }

    /// A peer's log was followed to its end, by a page that was asked for with this request.
    pub(super) fn followed(
        &mut self,
        now: Millis,
        peer: MemberId,
        by: RequestId,
        out: &mut Vec<Effect>,
    ) {
        for wait in self.freshness.waits.values_mut() {
            if wait.asked_from <= by {
                wait.heard.insert(peer);
            }
        }
        self.draw_barriers(now, out);
    }

    fn draw_barriers(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let (needed, end) = (self.others_needed(), self.meta.next_lseq);
        let mut drawn = false;
        for wait in self.freshness.waits.values_mut() {
            if wait.barrier.is_none() && wait.heard.len() >= needed {
                wait.barrier = Some(end);
                drawn = true;
            }
        }
        if drawn {
            self.settle_for_freshness(now, out);
        }
    }

    fn settle_for_freshness(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let before = Millis(now.0.saturating_sub(SETTLE_AFTER_MS));
        for key in self.log.overdue(before, now, SETTLE_MAX) {
            out.push(Effect::Settle(key));
        }
    }

    /// Time has passed: peers that are silent are not waited for alone.
    pub(super) fn freshness_tick(&mut self, now: Millis, out: &mut Vec<Effect>) {
        self.freshness.waits.retain(|token, wait| {
            let is_over = now.since(wait.since) > WAIT_MS_MAX;
            if is_over {
                let token = *token;
                out.push(Effect::Freshened { token, upto: None });
            }
            !is_over
        });
        if self.freshness.waits.is_empty() {
            return;
        }
        if self.freshness.is_waiting_for_peers() {
            for peer in self.catch_up.most_recently_heard(usize::MAX) {
                self.follow_now(now, peer, out);
            }
        }
        self.settle_for_freshness(now, out);
    }

    /// Answers the questions whose time has come.
    pub(super) fn answer_freshness(&mut self, out: &mut Vec<Effect>) {
        if self.freshness.waits.is_empty() {
            return;
        }
        let ready = self.log.ready_below(self.meta.next_lseq);
        let fed_below = Lseq(self.freshness.fed.0.saturating_add(1));
        let covered = ready.min(fed_below);
        self.freshness.waits.retain(|token, wait| {
            let reached = wait.barrier.filter(|barrier| *barrier <= covered);
            if let Some(barrier) = reached {
                let (token, upto) = (*token, Some(Lseq(barrier.0.saturating_sub(1))));
                out.push(Effect::Freshened { token, upto });
            }
            reached.is_none()
        });
    }
}
