//! Catch-up: following each peer's change log from the last position seen.
//!
//! A page of (key, ballot) pairs is compared with the own records; only those that are newer at
//! the peer are fetched and installed. `seen` moves on when all of a page is applied or
//! superseded, durably. What cannot be installed, because of a higher promise or because it lies
//! below the floor, which other keys may have raised, is settled by a round of this replica's
//! proposer, and the page is pulled again later. Source: version vectors over change logs, as in Wuu and Bernstein 1984.

use std::collections::BTreeMap;

use super::jobs::Job;
use super::{Acceptor, Effect};
use crate::storage::WriteBatch;
use crate::types::{Ballot, IoId, Lseq, MemberId, Millis, RecordKey, RequestId};
use crate::wire::register::{Fetched, RegisterReply, ReplyBody, RequestBody};

/// Most keys fetched at a time.
const FETCH_MAX: usize = 256;
/// How long an answer is waited for, in milliseconds.
const ANSWER_MS: u64 = 5_000;
/// How often a reachable peer's log is followed without other cause, in milliseconds.
const ROUND_MS: u64 = 3_000;

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// Waiting for a page of the log.
    Pulling(RequestId),
    /// Comparing it with the own records.
    Comparing,
    /// Waiting for records.
    Fetching(RequestId),
    /// Waiting for records to be installed.
    Installing { left: usize, after: IoId },
}

#[derive(Debug, Default)]
struct Peer {
    seen: Lseq,
    next: Lseq,
    phase: Phase,
    since: Millis,
    due: Millis,
    /// Where `seen` goes when all is installed, and whether the peer's log goes on.
    upto: Lseq,
    more: bool,
    wanted: Vec<(RecordKey, Ballot)>,
    /// With which request the last page was asked for.
    pulled: RequestId,
    /// When it last answered.
    heard: Millis,
    /// Whether something of the page could not be installed.
    refused: bool,
    /// Whether its log was followed to the end since it was last out of reach.
    current: bool,
}

/// How far each peer was followed, and what is under way.
#[derive(Debug)]
pub(super) struct CatchUp {
    peers: BTreeMap<MemberId, Peer>,
}

impl CatchUp {
    pub(super) fn new(peers: &[MemberId]) -> CatchUp {
        CatchUp {
            peers: peers.iter().map(|peer| (*peer, Peer::default())).collect(),
        }
    }

    pub(super) fn recovered(&mut self, seen: &[(MemberId, Lseq)]) {
        for (member, lseq) in seen {
            if let Some(peer) = self.peers.get_mut(member) {
                peer.seen = *lseq;
            }
        }
    }

    pub(super) fn seen(&self) -> Vec<(MemberId, Lseq)> {
        self.peers
            .iter()
            .map(|(member, peer)| (*member, peer.seen))
            .collect()
    }

    pub(super) fn progress(&mut self, member: MemberId, next: Lseq) {
        if let Some(peer) = self.peers.get_mut(&member) {
            peer.next = peer.next.max(next);
        }
    }

    /// So many peers, those who answered last first.
    pub(super) fn most_recently_heard(&self, most: usize) -> Vec<MemberId> {
        let mut peers: Vec<(Millis, MemberId)> = self
            .peers
            .iter()
            .map(|(member, peer)| (peer.heard, *member))
            .collect();
        peers.sort_by_key(|(heard, _)| std::cmp::Reverse(*heard));
        peers.truncate(most);
        peers.into_iter().map(|(_, member)| member).collect()
    }

    /// Something of a peer's page cannot be installed: the page must be pulled again.
    pub(super) fn refuse(&mut self, member: MemberId) {
        if let Some(peer) = self.peers.get_mut(&member) {
            peer.refused = true;
        }
    }

    /// Whether every peer's log was followed to the end since it was last out of reach. A purge
    /// before that could raise the floor above what is still to be pulled.
    pub(super) fn is_current(&self) -> bool {
        self.peers.values().all(|peer| peer.current)
    }

    /// How many peers' logs were followed to the end since they were last out of reach.
    pub(super) fn current(&self) -> usize {
        self.peers.values().filter(|peer| peer.current).count()
    }

    /// How much of a peer's log may be missing here. A log that was followed to its end since the
    /// peer was last out of reach is not counted: what it says now, this replica hears as well.
    pub(super) fn behind(&self) -> u64 {
        self.peers
            .values()
            .filter(|peer| !peer.current)
            .map(|peer| peer.next.0.saturating_sub(peer.seen.0.saturating_add(1)))
            .max()
            .unwrap_or(0)
    }
}

impl Acceptor {
    pub(super) fn peer_up(&mut self, now: Millis, member: MemberId, out: &mut Vec<Effect>) {
        if let Some(peer) = self.catch_up.peers.get_mut(&member) {
            // Whatever was under way went down with the connection.
            if !matches!(peer.phase, Phase::Installing { .. } | Phase::Comparing) {
                peer.phase = Phase::Idle;
            }
            peer.due = now;
            peer.current = false;
            self.follow(now, member, out);
        }
    }

    /// Called on every tick: begins what is due, gives up on what is overdue.
    pub(super) fn catch_up_tick(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let members: Vec<MemberId> = self.catch_up.peers.keys().copied().collect();
        for member in members {
            if let Some(peer) = self.catch_up.peers.get_mut(&member)
                && matches!(peer.phase, Phase::Pulling(_) | Phase::Fetching(_))
                && now.since(peer.since) > ANSWER_MS
            {
                peer.phase = Phase::Idle;
                peer.due = now.plus(ROUND_MS);
            }
            self.follow(now, member, out);
        }
    }

    /// Follows a peer's log without waiting for its turn.
    pub(super) fn follow_now(&mut self, now: Millis, member: MemberId, out: &mut Vec<Effect>) {
        if let Some(peer) = self.catch_up.peers.get_mut(&member) {
            peer.due = now;
        }
        self.follow(now, member, out);
    }

    fn follow(&mut self, now: Millis, member: MemberId, out: &mut Vec<Effect>) {
        let serving = self.is_serving();
        let Some(peer) = self.catch_up.peers.get(&member) else {
            return;
        };
        if !serving || !matches!(peer.phase, Phase::Idle) || now < peer.due {
            return;
        }
        let after = peer.seen;
        let request = self.ask(member, RequestBody::PullSince { after }, out);
        if let Some(peer) = self.catch_up.peers.get_mut(&member) {
            peer.pulled = request;
        }
        self.enter(member, now, Phase::Pulling(request));
    }

    fn enter(&mut self, member: MemberId, now: Millis, phase: Phase) {
        if let Some(peer) = self.catch_up.peers.get_mut(&member) {
            peer.phase = phase;
            peer.since = now;
        }
    }

    pub(super) fn catch_up_reply(
        &mut self,
        now: Millis,
        reply: RegisterReply,
        out: &mut Vec<Effect>,
    ) {
        let RegisterReply {
            reply_to,
            from,
            body,
            ..
        } = reply;
        let Some(peer) = self.catch_up.peers.get_mut(&from) else {
            return;
        };
        if reply_to.incarnation != self.options.incarnation {
            return;
        }
        peer.heard = now;
        match (&peer.phase, body) {
            (
                Phase::Pulling(asked),
                ReplyBody::Changes {
                    changes,
                    upto,
                    more,
                },
            ) if *asked == reply_to.request => {
                peer.phase = Phase::Comparing;
                let wanted = changes
                    .into_iter()
                    .map(|(_, key, ballot)| (key, ballot))
                    .collect();
                self.compare(now, from, wanted, (upto, more), out);
            }
            (Phase::Fetching(asked), ReplyBody::Records { records })
                if *asked == reply_to.request =>
            {
                peer.wanted.drain(..records.len().min(peer.wanted.len()));
                // An empty answer to a question leads nowhere: try again later.
                if records.is_empty() {
                    peer.phase = Phase::Idle;
                    peer.due = now.plus(ROUND_MS);
                    return;
                }
                self.install_all(now, from, records, out);
            }
            (Phase::Pulling(asked) | Phase::Fetching(asked), _) if *asked == reply_to.request => {
                peer.phase = Phase::Idle;
                peer.due = now.plus(ROUND_MS);
            }
            // An answer to `want`, which follows no page: install what came.
            (_, ReplyBody::Records { records }) => {
                for (key, answer) in records {
                    if let Fetched::Newer(record) = answer {
                        self.submit(
                            now,
                            key,
                            Job::Install {
                                record,
                                from: self.options.member,
                            },
                            out,
                        );
                    }
                }
            }
            _ => {}
        }
    }

    /// Fetches one key that a peer is known to have newer.
    pub(super) fn want(
        &mut self,
        _now: Millis,
        from: MemberId,
        key: RecordKey,
        have: Ballot,
        out: &mut Vec<Effect>,
    ) {
        if self.catch_up.peers.contains_key(&from) {
            self.ask(
                from,
                RequestBody::Fetch {
                    wanted: vec![(key, have)],
                },
                out,
            );
        } else {
            // Learned from this node's own proposer: only a round can bring the register.
            out.push(Effect::Settle(key));
        }
    }

    pub(super) fn compared(
        &mut self,
        now: Millis,
        member: MemberId,
        wanted: Vec<(RecordKey, Ballot)>,
        (upto, more): (Lseq, bool),
        out: &mut Vec<Effect>,
    ) {
        let Some(peer) = self.catch_up.peers.get_mut(&member) else {
            return;
        };
        peer.upto = upto;
        peer.more = more;
        peer.wanted = wanted;
        self.fetch_or_finish(now, member, out);
    }

    fn fetch_or_finish(&mut self, now: Millis, member: MemberId, out: &mut Vec<Effect>) {
        let Some(peer) = self.catch_up.peers.get_mut(&member) else {
            return;
        };
        if !peer.wanted.is_empty() {
            let wanted = peer.wanted.iter().take(FETCH_MAX).cloned().collect();
            let request = self.ask(member, RequestBody::Fetch { wanted }, out);
            return self.enter(member, now, Phase::Fetching(request));
        }
        peer.phase = Phase::Idle;
        if std::mem::take(&mut peer.refused) {
            // The rounds that settle it take a moment; who waits for it asks again on a tick.
            peer.due = now.plus(ROUND_MS);
            return;
        }
        let moved = peer.upto > peer.seen;
        peer.seen = peer.seen.max(peer.upto);
        peer.next = peer.next.max(Lseq(peer.seen.0.saturating_add(1)));
        peer.current |= !peer.more;
        let (is_end, pulled) = (!peer.more, peer.pulled);
        let again = !is_end || self.freshness.wants(member, pulled);
        peer.due = if again { now } else { now.plus(ROUND_MS) };
        if moved {
            let mut batch = WriteBatch::default();
            self.put_meta(&mut batch);
            self.append(batch, out);
        }
        if is_end {
            self.followed(now, member, pulled, out);
        }
        self.follow(now, member, out);
    }

    fn install_all(
        &mut self,
        now: Millis,
        from: MemberId,
        records: Vec<(RecordKey, Fetched)>,
        out: &mut Vec<Effect>,
    ) {
        let newer: Vec<_> = records
            .into_iter()
            .filter_map(|(key, answer)| match answer {
                Fetched::Newer(record) => Some((key, record)),
                // Since the page was made, the peer has purged the record, or this replica has
                // accepted more than it asked with: nothing follows from that.
                Fetched::Same | Fetched::NotNewer => None,
            })
            .collect();
        self.enter(
            from,
            now,
            Phase::Installing {
                left: newer.len(),
                after: IoId(0),
            },
        );
        for (key, record) in newer {
            self.submit(now, key, Job::Install { record, from }, out);
        }
        self.installs_durable_at(now, out);
    }

    /// One pulled record was applied by append `written`, or superseded (0).
    pub(super) fn installed(&mut self, from: MemberId, written: IoId) {
        if let Some(peer) = self.catch_up.peers.get_mut(&from)
            && let Phase::Installing { left, after } = &mut peer.phase
        {
            *left = left.saturating_sub(1);
            *after = (*after).max(written);
        }
    }

    /// Goes on where all of a page has been installed durably.
    pub(super) fn installs_durable(&mut self, out: &mut Vec<Effect>) {
        let since = self.catch_up.peers.values().map(|peer| peer.since).max();
        self.installs_durable_at(since.unwrap_or_default(), out);
    }

    fn installs_durable_at(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let durable = self.durable;
        let ready: Vec<MemberId> = self
            .catch_up
            .peers
            .iter()
            .filter(|(_, peer)| {
                matches!(peer.phase, Phase::Installing { left: 0, after } if after <= durable)
            })
            .map(|(member, _)| *member)
            .collect();
        for member in ready {
            self.fetch_or_finish(now, member, out);
        }
    }
}
