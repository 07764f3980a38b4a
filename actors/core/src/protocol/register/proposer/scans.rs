//! Scans: pages of keys from this replica and one peer. Keys on which both agree are taken, the
//! others are read by a quorum.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Asked, Effect, HEDGE_MS, Origin, Proposer, entry};
use crate::types::{Ballot, Key, MemberId, Millis, RecordKey, Register, RequestId};
use crate::wire::register::RequestBody;
use crate::wire::{ClientReply, Entry, RequestError, Scan, ScanPage};

/// One replica's page.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) entries: Vec<(Key, Ballot, Option<Arc<Register>>)>,
    pub(super) more: bool,
}

/// A scan under way.
#[derive(Clone, Debug)]
pub(super) struct ScanRound {
    origin: Origin,
    deadline: Millis,
    scan: Scan,
    asked: BTreeSet<MemberId>,
    own: Option<Page>,
    peer: Option<Page>,
    hedge_at: Millis,
    found: BTreeMap<Key, Entry>,
    pending: BTreeSet<Key>,
    /// The last key covered, if the shard has more.
    frontier: Option<Key>,
}

impl ScanRound {
    pub(super) fn wakes_at(&self) -> Millis {
        self.hedge_at.min(self.deadline)
    }
}

impl Proposer {
    pub(super) fn scan(
        &mut self,
        now: Millis,
        origin: Origin,
        deadline: Millis,
        scan: Scan,
        out: &mut Vec<Effect>,
    ) {
        let request = self.request_id(Asked::Scan);
        let mut asked = BTreeSet::from([self.options.member]);
        if self.majority() > 1 {
            asked.extend(self.live_peers(now).into_iter().take(1));
        }
        for &member in &asked {
            self.send(
                member,
                request,
                page_request(&scan, member == self.options.member),
                out,
            );
        }
        let hedge_at = now.plus(HEDGE_MS);
        let round = ScanRound {
            origin,
            deadline,
            scan,
            asked,
            own: None,
            peer: None,
            hedge_at,
            found: BTreeMap::new(),
            pending: BTreeSet::new(),
            frontier: None,
        };
        self.scans.insert(request, round);
        self.wake_at(hedge_at, out);
    }

    pub(super) fn scanned(
        &mut self,
        now: Millis,
        request: RequestId,
        from: MemberId,
        page: Page,
        out: &mut Vec<Effect>,
    ) {
        let alone = self.majority() == 1;
        let Some(round) = self.scans.get_mut(&request) else {
            return;
        };
        let (first_own, first_peer) = (round.own.is_none(), round.peer.is_none());
        match from == self.options.member {
            true if first_own => round.own = Some(page),
            false if first_peer => round.peer = Some(page),
            _ => return,
        }
        if alone && round.peer.is_none() {
            let own = round.own.as_ref();
            let agreeing = own.map(|own| Page {
                entries: own.entries.clone(),
                more: own.more,
            });
            round.peer = agreeing;
        }
        if round.own.is_some() && round.peer.is_some() {
            // From here on only quorum reads are waited for.
            round.hedge_at = Millis(u64::MAX);
            self.merge_pages(now, request, out);
        }
    }

    fn merge_pages(&mut self, now: Millis, request: RequestId, out: &mut Vec<Effect>) {
        let Some(round) = self.scans.get_mut(&request) else {
            return;
        };
        let (Some(own), Some(peer)) = (round.own.take(), round.peer.take()) else {
            return;
        };
        let frontier = [&own, &peer]
            .into_iter()
            .filter(|page| page.more)
            .filter_map(|page| page.entries.last().map(|(key, _, _)| key.clone()))
            .min();
        let within = |key: &Key| frontier.as_ref().is_none_or(|frontier| key <= frontier);
        let theirs: BTreeMap<&Key, Ballot> = peer
            .entries
            .iter()
            .filter(|(key, _, _)| within(key))
            .map(|(key, accepted, _)| (key, *accepted))
            .collect();
        let mut agreed = BTreeSet::new();
        for (key, accepted, register) in own.entries.iter().filter(|(key, _, _)| within(key)) {
            if theirs.get(key) == Some(accepted)
                && !accepted.is_zero()
                && let Some(register) = register
                && !register.is_expired(now)
            {
                agreed.insert(key);
                if let Some(entry) = entry(register, round.scan.with_values) {
                    round.found.insert(key.clone(), entry);
                }
            } else {
                round.pending.insert(key.clone());
            }
        }
        round.pending.extend(
            theirs
                .keys()
                .filter(|key| !agreed.contains(*key))
                .map(|k| (*k).clone()),
        );
        round.frontier = frontier.clone();
        let (namespace, with_value) = (round.scan.namespace, round.scan.with_values);
        let (deadline, pending) = (round.deadline, round.pending.clone());
        if pending.is_empty() {
            return self.scan_finished(now, request, out);
        }
        for key in pending {
            let record = RecordKey {
                namespace,
                key: key.clone(),
            };
            self.operations += 1;
            self.read(
                now,
                Origin::Scan(request, key),
                deadline,
                record,
                with_value,
                out,
            );
        }
    }

    /// A quorum has read one key of a scan.
    pub(super) fn scan_key_read(
        &mut self,
        now: Millis,
        request: RequestId,
        key: Key,
        result: Result<ClientReply, RequestError>,
        out: &mut Vec<Effect>,
    ) {
        let Some(round) = self.scans.get_mut(&request) else {
            return;
        };
        round.pending.remove(&key);
        match result {
            Ok(ClientReply::Entry(Some(entry))) => {
                round.found.insert(key, entry);
            }
            Ok(_) => {}
            Err(error) => return self.scan_failed(now, request, error, out),
        }
        if round.pending.is_empty() {
            self.scan_finished(now, request, out);
        }
    }

    fn scan_finished(&mut self, now: Millis, request: RequestId, out: &mut Vec<Effect>) {
        self.asked.remove(&request);
        let Some(round) = self.scans.remove(&request) else {
            return;
        };
        let limit = usize::try_from(round.scan.limit).unwrap_or(usize::MAX);
        let more_found = round.found.len() > limit;
        let entries: Vec<(Key, Entry)> = round.found.into_iter().take(limit).collect();
        let next = if more_found {
            entries.last().map(|(key, _)| key.clone())
        } else {
            round.frontier
        };
        let page = ScanPage { entries, next };
        self.answer(now, round.origin, Ok(ClientReply::Page(page)), out);
    }

    fn scan_failed(
        &mut self,
        now: Millis,
        request: RequestId,
        error: RequestError,
        out: &mut Vec<Effect>,
    ) {
        self.asked.remove(&request);
        if let Some(round) = self.scans.remove(&request) {
            self.answer(now, round.origin, Err(error), out);
        }
    }

    pub(super) fn scans_timer(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let due: Vec<(RequestId, bool)> = self
            .scans
            .iter()
            .filter(|(_, round)| round.wakes_at() <= now)
            .map(|(request, round)| (*request, round.deadline <= now))
            .collect();
        for (request, overdue) in due {
            if overdue {
                let error = RequestError::Unavailable {
                    shard: self.options.shard.0,
                    reason: "no majority answered the scan in time".into(),
                };
                self.scan_failed(now, request, error, out);
            } else {
                self.scan_hedge(now, request, out);
            }
        }
    }

    /// Asks those again who have not answered, and every other reachable peer.
    fn scan_hedge(&mut self, now: Millis, request: RequestId, out: &mut Vec<Effect>) {
        let peers = self.live_peers(now);
        let me = self.options.member;
        let Some(round) = self.scans.get_mut(&request) else {
            return;
        };
        let mut ask = BTreeSet::new();
        if round.own.is_none() {
            ask.insert(me);
        }
        if round.peer.is_none() {
            ask.extend(peers);
        }
        round.asked.extend(&ask);
        round.hedge_at = now.plus(4 * HEDGE_MS);
        let scan = round.scan.clone();
        for member in ask {
            self.send(member, request, page_request(&scan, member == me), out);
        }
    }
}

fn page_request(scan: &Scan, own: bool) -> RequestBody {
    RequestBody::Scan {
        namespace: scan.namespace,
        prefix: scan.prefix.clone(),
        after: scan.after.clone(),
        limit: scan.limit,
        // This replica's registers are shared, not copied; the peer sends ballots only.
        with_registers: own,
    }
}
