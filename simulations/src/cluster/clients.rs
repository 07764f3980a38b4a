//! Clients: each does one operation after the other, retries through other nodes under the same
//! write id, and tells only what it knows.

use std::collections::BTreeMap;

use bytes::Bytes;
use engram_core::types::{
    Ballot, LogicalClock, Millis, NamespaceId, RecordKey, RequestId, SessionId,
};
use engram_core::wire::{
    ClientReply, ClientRequest, ClientResponse, Entry, Frame, RequestEnvelope, RequestError, Scan,
    ScanPage, SearchReply,
};

use super::Misdeed;
use super::state::{EPOCH_MS, Happening, State};
use super::watchers;
use super::workload::{self, Step};
use crate::history::{Action, Change, Operation, Outcome, Seen};

/// Most attempts of one operation.
const ATTEMPTS_MAX: u32 = 5;
/// The namespace that all clients work in.
pub(super) const NAMESPACE: NamespaceId = NamespaceId(1);

/// Stands for the world's own questions, which no client asks.
pub(super) const PROBE: usize = 9_999;

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) clock: LogicalClock,
    pub(super) ahead_ms: u64,
    home: usize,
    pub(super) sequence: u64,
    next_request: u64,
    token: u64,
    pub(super) left: u64,
    pub(super) current: Option<Current>,
    /// Versions it has heard of, for conditional writes.
    pub(super) versions: BTreeMap<RecordKey, Ballot>,
}

/// An operation under way.
#[derive(Debug)]
pub(super) struct Current {
    call_us: u64,
    body: ClientRequest,
    change: Option<Change>,
    attempts: u32,
    /// Requests of this operation that were delivered and not answered.
    open: Vec<u64>,
    /// Whether some copy may have had an effect.
    uncertain: bool,
}

impl State {
    pub(super) fn begin_clients(&mut self) {
        let count = u64::from(self.profile.clients);
        for number in 0..count {
            let ahead_ms = self.choices.below(2 * self.profile.skew_ms + 1);
            let home = self.any_node();
            self.clients.push(Client {
                clock: LogicalClock::default(),
                ahead_ms,
                home,
                sequence: 0,
                next_request: 1,
                token: 0,
                left: self.profile.operations / count,
                current: None,
                versions: BTreeMap::new(),
            });
            let client = usize::try_from(number).unwrap_or(0);
            let delay_us = self.choices.below(200_000);
            self.wake_client(client, delay_us);
        }
    }

    pub(super) fn clients_done(&self) -> bool {
        self.clients
            .iter()
            .all(|client| client.left == 0 && client.current.is_none())
    }

    pub(super) fn client(&mut self, client: usize) -> &mut Client {
        self.clients
            .get_mut(client)
            .expect("clients are numbered from 0")
    }

    /// What a client's clock shows.
    pub(super) fn client_clock(&self, client: usize) -> Millis {
        let ahead_ms = self.clients.get(client).map_or(0, |it| it.ahead_ms);
        Millis(EPOCH_MS - self.profile.skew_ms + self.now_us() / 1000 + ahead_ms)
    }

    fn wake_client(&mut self, client: usize, delay_us: u64) {
        let it = self.client(client);
        it.token += 1;
        let token = it.token;
        self.after(delay_us, Happening::Client { client, token });
    }

    /// It is time for a client to begin an operation, or to stop waiting for an answer.
    pub(super) fn client_wakes(&mut self, client: usize, token: u64) {
        if self.client(client).token != token {
            return;
        }
        let it = self.client(client);
        if it.current.is_some() {
            self.retry(client);
        } else if it.left > 0 && !self.healed {
            self.client(client).left -= 1;
            self.counters.operations += 1;
            let Step { body, change } = workload::draw(self, client);
            let call_us = self.now_us();
            self.client(client).current = Some(Current {
                call_us,
                body,
                change,
                attempts: 0,
                open: Vec::new(),
                uncertain: false,
            });
            self.attempt(client);
        }
    }

    /// Sends an operation, perhaps twice, and waits.
    fn attempt(&mut self, client: usize) {
        if self.choices.chance(self.profile.wander) {
            let home = self.any_node();
            self.client(client).home = home;
        }
        let blind = self.does(Misdeed::BlindRetry);
        let node = self.client(client).home;
        let Some(current) = &mut self.client(client).current else {
            return;
        };
        current.attempts += 1;
        if blind
            && current.attempts > 1
            && let ClientRequest::Put(put) = &mut current.body
        {
            // The high bits tell the ids of retries from those of operations.
            put.write.id.client += 1 << 32;
        }
        if !self.network.chance(self.profile.lose) {
            let delay_us = self.delay_us();
            self.deliver(client, node, delay_us);
        }
        if self.network.chance(self.profile.request_copies) {
            self.counters.copies += 1;
            let delay_us = self.network.below(self.profile.late_copy_ms * 1000);
            self.deliver(client, node, delay_us);
        }
        self.wake_client(client, self.profile.attempt_ms * 1000);
    }

    fn deliver(&mut self, client: usize, node: usize, delay_us: u64) {
        let now = self.client_clock(client);
        let timeout_ms = u32::try_from(self.profile.attempt_ms).unwrap_or(u32::MAX);
        let it = self.client(client);
        let request = it.next_request;
        it.next_request += 1;
        let time = it.clock.peek(now);
        let Some(current) = &mut it.current else {
            return;
        };
        current.open.push(request);
        let envelope = RequestEnvelope {
            request: RequestId(request),
            time,
            timeout_ms,
            body: current.body.clone(),
        };
        let bytes = Bytes::from(Frame::Request(envelope).encode());
        let happening = Happening::Request {
            client,
            node,
            bytes,
        };
        self.after(delay_us, happening);
    }

    /// The session that a client has with every node.
    pub(super) fn session(client: usize) -> SessionId {
        SessionId(client as u64 + 1)
    }

    /// A request met a node that is down, and certainly had no effect.
    pub(super) fn unreachable(&mut self, client: usize, request: u64) {
        if let Some(watcher) = watchers::number(client) {
            return self.watcher_unreachable(watcher, request);
        }
        let Some(it) = self.clients.get_mut(client) else {
            return;
        };
        let Some(current) = &mut it.current else {
            return;
        };
        let before = current.open.len();
        current.open.retain(|open| *open != request);
        if current.open.len() < before && current.open.is_empty() {
            let home = self.any_node();
            self.client(client).home = home;
            let delay_us = 5_000 + self.choices.below(50_000);
            self.wake_client(client, delay_us);
        }
    }

    /// A node answers a client: what it says is checked against the disks before it leaves.
    pub(super) fn answered(
        &mut self,
        node: usize,
        client: usize,
        request: RequestId,
        response: &ClientResponse,
    ) {
        let Ok(ClientReply::Written(written)) = &response.result else {
            return;
        };
        let it = self.clients.get(client).and_then(|it| it.current.as_ref());
        let Some(current) = it.filter(|current| current.open.contains(&request.0)) else {
            return;
        };
        let ClientRequest::Put(put) = &current.body else {
            return;
        };
        let (key, version) = (put.key.clone(), written.version);
        let Some(process) = self.node(node).process.clone() else {
            return;
        };
        if let (Some(config), Some(shard)) =
            (process.directory.config(), process.directory.shard_of(&key))
        {
            let result = self.judge.acknowledged(&config, shard, &key, version);
            self.check(result);
        }
    }

    /// An answer reaches its client.
    pub(super) fn client_hears(&mut self, client: usize, bytes: &[u8]) {
        let Ok(Frame::Response(request, response)) = Frame::decode(bytes) else {
            return;
        };
        if client == PROBE {
            self.probes.insert(request.0, response.result);
            return;
        }
        if let Some(watcher) = watchers::number(client) {
            return self.watcher_hears(watcher, request.0, response.result);
        }
        let Some(it) = self.clients.get_mut(client) else {
            return;
        };
        it.clock.merge(response.time);
        let Some(current) = &mut it.current else {
            return;
        };
        let Some(position) = current.open.iter().position(|open| *open == request.0) else {
            return;
        };
        current.open.swap_remove(position);
        match response.result {
            Ok(reply) => self.succeed(client, reply),
            Err(RequestError::Conflict { current: version }) => {
                let copies_left = !current.open.is_empty() || current.uncertain;
                self.counters.conflicts += 1;
                self.finish_write(
                    client,
                    Outcome::Conflict {
                        current: version,
                        copies_left,
                    },
                );
            }
            Err(error) => {
                current.uncertain |= matches!(error, RequestError::Unknown(_));
                if current.open.is_empty() {
                    let delay_us = 2_000 + self.choices.below(60_000);
                    self.wake_client(client, delay_us);
                }
            }
        }
    }

    fn retry(&mut self, client: usize) {
        let Some(current) = &self.client(client).current else {
            return;
        };
        let certain = !current.uncertain && current.open.is_empty();
        if current.attempts < ATTEMPTS_MAX && !self.healed {
            return self.attempt(client);
        }
        let outcome = if certain {
            Outcome::Refused
        } else {
            Outcome::Unknown
        };
        self.counters.unknown += u64::from(!certain);
        self.finish_write(client, outcome);
    }

    /// The storm is over: what is still under way may or may not have been applied.
    pub(super) fn give_up_clients(&mut self) {
        for client in 0..self.clients.len() {
            self.client(client).left = 0;
            self.finish_write(client, Outcome::Unknown);
        }
    }

    fn succeed(&mut self, client: usize, reply: ClientReply) {
        self.counters.succeeded += 1;
        if let Some(current) = &self.client(client).current {
            let call_us = current.call_us;
            self.recovered(call_us);
        }
        if let ClientReply::Written(written) = reply {
            let outcome = Outcome::Written {
                version: written.version,
                found: written.found,
            };
            return self.finish_write(client, outcome);
        }
        let Some(current) = self.client(client).current.take() else {
            return;
        };
        let call_us = current.call_us;
        match (current.body, reply) {
            (ClientRequest::Get(get), ClientReply::Entry(entry)) => {
                self.saw(client, get.key, entry.as_ref(), call_us);
            }
            (ClientRequest::Scan(scan), ClientReply::Page(page)) => {
                self.counters.scans += 1;
                self.saw_page(client, &scan, &page, call_us);
            }
            (ClientRequest::Search(search), ClientReply::Found(found)) => {
                self.counters.searches += 1;
                self.saw_hits(client, &found, call_us);
                if search.fresh && found.shards_answered == found.shards_total {
                    self.counters.fresh_searches += 1;
                    self.missed_nothing(client, &found, call_us);
                }
            }
            _ => {}
        }
        self.think(client);
    }

    /// An operation that began at this time has succeeded.
    fn recovered(&mut self, call_us: u64) {
        let now_us = self.now_us();
        let recoveries = &mut self.recoveries;
        self.recovering.retain(|(kind, at_us)| {
            let over = *at_us <= call_us;
            if over {
                recoveries.add(kind, now_us - at_us);
            }
            !over
        });
    }

    fn think(&mut self, client: usize) {
        let delay_us = self.choices.below(self.profile.think_ms * 1000 + 1);
        self.wake_client(client, delay_us);
    }

    /// A client has read a key.
    pub(super) fn saw(
        &mut self,
        client: usize,
        key: RecordKey,
        entry: Option<&Entry>,
        call_us: u64,
    ) {
        if let Some(entry) = entry
            && let Some(it) = self.clients.get_mut(client)
        {
            it.versions.insert(key.clone(), entry.version);
        }
        let seen = entry.map(|entry| Seen {
            put: workload::writer(&entry.value),
            version: entry.version,
            expires_at: entry.expires_at,
        });
        let return_us = self.now_us();
        self.judge.history.push(Operation {
            client: u32::try_from(client).unwrap_or(u32::MAX),
            key,
            call_us,
            return_us,
            action: Action::Get(seen),
        });
    }

    /// A page of a scan is a read of every key that it covers.
    pub(super) fn saw_page(&mut self, client: usize, scan: &Scan, page: &ScanPage, call_us: u64) {
        for number in 0..self.profile.keys {
            let key = workload::key(number);
            let begun = scan.after.as_ref().is_none_or(|after| key.key > *after);
            let ended = page.next.as_ref().is_some_and(|next| key.key > *next);
            if begun && !ended {
                let entry = page.entries.iter().find(|(at, _)| *at == key.key);
                self.saw(client, key, entry.map(|(_, entry)| entry), call_us);
            }
        }
    }

    /// A hit of a search is a read of its key: it was verified by one.
    fn saw_hits(&mut self, client: usize, found: &SearchReply, call_us: u64) {
        self.counters.hits += found.hits.len() as u64;
        for hit in &found.hits {
            let key = RecordKey {
                namespace: NAMESPACE,
                key: hit.key.clone(),
            };
            self.saw(client, key, Some(&hit.entry), call_us);
        }
    }

    /// A fresh search for everything is a read of what it did not find, too: of every key that
    /// nobody wrote meanwhile. Damaged records are not indexed.
    fn missed_nothing(&mut self, client: usize, found: &SearchReply, call_us: u64) {
        let rotten = self.rotten();
        for number in 0..self.profile.keys {
            let key = workload::key(number);
            let is_found = found.hits.iter().any(|hit| hit.key == key.key);
            if !is_found && !rotten.contains(&key.key) && !self.is_written(&key, call_us) {
                self.counters.fresh_misses += 1;
                self.saw(client, key, None, call_us);
            }
        }
    }

    /// Whether a write of a key may have been under way at some time since.
    fn is_written(&self, key: &RecordKey, since_us: u64) -> bool {
        let mut current = self.clients.iter().filter_map(|it| it.current.as_ref());
        let is_current = current
            .any(|current| matches!(&current.body, ClientRequest::Put(put) if put.key == *key));
        let mut past = self.judge.history.iter();
        is_current
            || past.any(|operation| {
                let is_write = matches!(operation.action, Action::Write { .. });
                is_write && operation.key == *key && operation.over_us() >= since_us
            })
    }

    fn finish_write(&mut self, client: usize, outcome: Outcome) {
        let return_us = self.now_us();
        let it = self.client(client);
        let Some(current) = it.current.take() else {
            return;
        };
        if let (ClientRequest::Put(put), Some(change)) = (current.body, current.change) {
            if let Outcome::Written { version, .. } = outcome {
                it.versions.insert(put.key.clone(), version);
            }
            self.judge.history.push(Operation {
                client: u32::try_from(client).unwrap_or(u32::MAX),
                key: put.key,
                call_us: current.call_us,
                return_us,
                action: Action::Write {
                    id: workload::original(put.write.id),
                    change,
                    condition: put.write.condition,
                    outcome,
                },
            });
        }
        self.think(client);
    }
}
