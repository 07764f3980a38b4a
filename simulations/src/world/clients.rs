//! Clients: each does one operation after the other, retries through other nodes, and tells only
//! what it knows.

use std::collections::BTreeMap;

use engram_core::protocol::register::proposer::{self, Operation as Asked, Origin};
use engram_core::types::{
    Ballot, Blob, Change as Changing, Condition, Key, LogicalClock, LogicalTime, Millis,
    NamespaceId, RecordKey, Write, WriteId,
};
use engram_core::wire::{ClientReply, Entry, RequestError, Scan, ScanPage};

use super::{EPOCH_MS, Happening, Message, World, key};
use crate::history::{Action, Change, Operation, Outcome, Seen};
use crate::mutant::Misdeed;

/// Most attempts of one operation.
const ATTEMPTS_MAX: u32 = 4;

/// Stands for the reader after healing, which is no client.
pub(super) const LAST_READER: usize = usize::MAX;

/// A copy of a request on its way to, or at, a node.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) client: usize,
    /// Which of the client's operations.
    pub(super) operation: u64,
    /// The key, unless it is a scan.
    pub(super) key: Option<RecordKey>,
    pub(super) asked: Asked,
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    clock: LogicalClock,
    ahead_ms: u64,
    home: usize,
    sequence: u64,
    token: u64,
    left: u64,
    current: Option<Current>,
    /// Versions it has heard of, for conditional writes.
    versions: BTreeMap<RecordKey, Ballot>,
}

/// An operation under way.
#[derive(Debug)]
struct Current {
    call_us: u64,
    asked: Asked,
    change: Option<Change>,
    attempts: u32,
    copies_sent: u32,
    copies_answered: u32,
    /// Whether some copy may have had an effect.
    uncertain: bool,
}

impl World {
    pub(super) fn begin_clients(&mut self) {
        let count = u64::from(self.profile.clients);
        for number in 0..count {
            let ahead_ms = self.random.below(2 * self.profile.skew_ms + 1);
            let home = self.any_node();
            self.clients.push(Client {
                clock: LogicalClock::default(),
                ahead_ms,
                home,
                sequence: 0,
                token: 0,
                left: self.profile.operations / count,
                current: None,
                versions: BTreeMap::new(),
            });
            let client = usize::try_from(number).unwrap_or(0);
            self.wake_client(client, 500_000);
        }
    }

    pub(super) fn clients_done(&self) -> bool {
        self.clients
            .iter()
            .all(|client| client.left == 0 && client.current.is_none())
    }

    pub(super) fn any_node(&mut self) -> usize {
        usize::try_from(self.random.below(self.nodes.len() as u64)).unwrap_or(0)
    }

    fn client(&mut self, client: usize) -> &mut Client {
        self.clients
            .get_mut(client)
            .expect("clients are numbered from 0")
    }

    fn wake_client(&mut self, client: usize, within_us: u64) {
        let delay_us = self.random.below(within_us.max(1));
        self.wake_client_in(client, delay_us);
    }

    fn wake_client_in(&mut self, client: usize, delay_us: u64) {
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
            let current = self.draw_operation(client);
            self.client(client).current = Some(current);
            self.attempt(client);
        }
    }

    fn draw_operation(&mut self, client: usize) -> Current {
        let number = self.random.below(self.profile.keys);
        let key = key(number);
        let chosen = self.random.below(100);
        let (asked, change) = match chosen {
            0..30 => {
                let with_value = true;
                (Asked::Get { key, with_value }, None)
            }
            30..36 => (Asked::Scan(self.draw_scan()), None),
            _ => {
                let (write, change) = self.draw_write(client, chosen, &key);
                (Asked::Put { key, write }, Some(change))
            }
        };
        Current {
            call_us: self.now_us,
            asked,
            change,
            attempts: 0,
            copies_sent: 0,
            copies_answered: 0,
            uncertain: false,
        }
    }

    fn draw_scan(&mut self) -> Scan {
        let after = self.random.below(2 * self.profile.keys);
        let limit = 1 + self.random.below(5);
        Scan {
            namespace: NamespaceId(1),
            prefix: b"key".to_vec(),
            after: (after < self.profile.keys).then(|| key(after).key),
            limit: u32::try_from(limit).unwrap_or(1),
            with_values: true,
        }
    }

    fn draw_write(&mut self, client: usize, chosen: u64, key: &RecordKey) -> (Write, Change) {
        let expires = self.random.chance(self.profile.expiring);
        let ttl_ms = 1 + self.random.below(self.profile.ttl_ms);
        let padding = self.random.below(100);
        let true_ms = EPOCH_MS - self.profile.skew_ms + self.now_us / 1000;
        let it = self.client(client);
        let now = Millis(true_ms + it.ahead_ms);
        it.sequence += 1;
        let id = WriteId {
            client: client as u64,
            sequence: it.sequence,
        };
        let since = it.clock.tick(now);
        let expires_at = expires.then(|| now.plus(ttl_ms));
        let known = it.versions.get(key).copied();
        let condition = match (chosen, known) {
            (60..70, _) => Condition::Absent,
            (70..85, Some(version)) | (96..98, Some(version)) => Condition::Version(version),
            (98.., _) => Condition::Present,
            _ => Condition::Any,
        };
        let change = match chosen {
            85..92 | 96..98 => Change::Delete,
            92..96 => Change::Touch { expires_at },
            _ => Change::Put { expires_at },
        };
        let changing = match change {
            Change::Put { expires_at } => Changing::Put {
                value: value(id, padding),
                tags: Vec::new(),
                expires_at,
            },
            Change::Delete => Changing::Delete,
            Change::Touch { expires_at } => Changing::SetExpiry { expires_at },
        };
        let write = Write {
            change: changing,
            condition,
            id,
            since,
        };
        (write, change)
    }

    /// Sends an operation, perhaps twice, and waits.
    fn attempt(&mut self, client: usize) {
        if self.random.chance(self.profile.wander) {
            let home = self.any_node();
            self.client(client).home = home;
        }
        let blind = self.does(Misdeed::BlindRetry);
        let it = self.client(client);
        let (node, operation) = (it.home, it.sequence);
        let Some(current) = &mut it.current else {
            return;
        };
        current.attempts += 1;
        if blind
            && current.attempts > 1
            && let Asked::Put { write, .. } = &mut current.asked
        {
            // The high bits tell the ids of retries from those of operations.
            write.id.client += 1 << 32;
        }
        let asked = current.asked.clone();
        let ask = Ask {
            client,
            operation,
            key: match &asked {
                Asked::Get { key, .. } | Asked::Put { key, .. } => Some(key.clone()),
                Asked::Scan(_) => None,
            },
            asked,
        };
        if !self.random.chance(self.profile.lose) {
            let delay_us = self.delay_us();
            self.deliver_ask(node, ask.clone(), delay_us);
        }
        if self.random.chance(self.profile.request_copies) {
            self.counters.copies += 1;
            let delay_us = self.random.below(self.profile.late_copy_ms * 1000);
            self.deliver_ask(node, ask, delay_us);
        }
        self.wake_client_in(client, self.profile.attempt_ms * 1000);
    }

    fn deliver_ask(&mut self, node: usize, ask: Ask, delay_us: u64) {
        if let Some(current) = &mut self.client(ask.client).current {
            current.copies_sent += 1;
        }
        let id = self.asks.len() as u64 + 1;
        self.asks.insert(id, ask);
        let message = Message::Ask { ask: id };
        self.after(delay_us, Happening::Arrive { node, message });
    }

    /// A copy of a request reaches a node.
    pub(super) fn ask_arrives(&mut self, node: usize, ask: u64) {
        let deadline = self.clock(node).plus(self.profile.attempt_ms);
        let Some(operation) = self.asks.get(&ask).map(|ask| ask.asked.clone()) else {
            return;
        };
        if let Some(machines) = &mut self.node_mut(node).machines {
            machines.answers.asked(ask, deadline);
        }
        let event = proposer::Event::Ask {
            origin: Origin::Local(ask),
            deadline,
            operation,
        };
        self.step_proposer(node, event);
    }

    /// An answer sets out for its client.
    pub(super) fn answer_travels(
        &mut self,
        ask: u64,
        time: LogicalTime,
        result: Result<ClientReply, RequestError>,
    ) {
        if !self.healed && self.random.chance(self.profile.lose) {
            self.counters.lost += 1;
            return;
        }
        let delay_us = self.delay_us();
        self.after(delay_us, Happening::Answered { ask, time, result });
    }

    /// An answer reaches its client.
    pub(super) fn client_answered(
        &mut self,
        ask: u64,
        time: LogicalTime,
        result: Result<ClientReply, RequestError>,
    ) {
        let Some(Ask {
            client, operation, ..
        }) = self.asks.get(&ask)
        else {
            return;
        };
        let (client, operation) = (*client, *operation);
        if client == LAST_READER {
            self.last_answer = Some((ask, result));
            return;
        }
        let it = self.client(client);
        it.clock.merge(time);
        if it.sequence != operation {
            return;
        }
        let Some(current) = &mut it.current else {
            return;
        };
        current.copies_answered += 1;
        match result {
            Ok(reply) => self.succeed(client, reply),
            Err(RequestError::Conflict { current: version }) => {
                let unanswered = current.copies_answered < current.copies_sent;
                let outcome = Outcome::Conflict {
                    current: version,
                    copies_left: unanswered || current.uncertain,
                };
                self.counters.conflicts += 1;
                self.finish_write(client, outcome);
            }
            Err(error) => {
                current.uncertain |= matches!(error, RequestError::Unknown(_));
                self.wake_client(client, 50_000);
            }
        }
    }

    fn retry(&mut self, client: usize) {
        let Some(current) = &self.client(client).current else {
            return;
        };
        let certain = !current.uncertain && current.copies_answered == current.copies_sent;
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

    /// The run is over: what is still under way may or may not have been applied.
    pub(super) fn give_up_clients(&mut self) {
        for client in 0..self.clients.len() {
            self.finish_write(client, Outcome::Unknown);
        }
    }

    fn succeed(&mut self, client: usize, reply: ClientReply) {
        match reply {
            ClientReply::Entry(entry) => {
                let Some(current) = self.client(client).current.take() else {
                    return;
                };
                if let Asked::Get { key, .. } = current.asked {
                    self.saw(client, key, entry.as_ref(), current.call_us);
                }
            }
            ClientReply::Written(written) => {
                let outcome = Outcome::Written {
                    version: written.version,
                    found: written.found,
                };
                return self.finish_write(client, outcome);
            }
            ClientReply::Page(page) => {
                let Some(current) = self.client(client).current.take() else {
                    return;
                };
                self.counters.scans += 1;
                if let Asked::Scan(scan) = &current.asked {
                    self.saw_page(client, scan, &page, current.call_us);
                }
            }
            ClientReply::Config(_)
            | ClientReply::Status(_)
            | ClientReply::Found(_)
            | ClientReply::EmbedFailures(_)
            | ClientReply::Watched(_) => {}
        }
        self.think(client);
    }

    fn think(&mut self, client: usize) {
        self.client(client).sequence += 1;
        self.wake_client(client, self.profile.think_ms * 1000);
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
            put: writer(&entry.value),
            version: entry.version,
            expires_at: entry.expires_at,
        });
        self.history.push(Operation {
            client: u32::try_from(client).unwrap_or(u32::MAX),
            key,
            call_us,
            return_us: self.now_us,
            action: Action::Get(seen),
        });
    }

    /// A page of a scan is a read of every key that it covers.
    fn saw_page(&mut self, client: usize, scan: &Scan, page: &ScanPage, call_us: u64) {
        let entries: BTreeMap<&Key, &Entry> = page
            .entries
            .iter()
            .map(|(key, entry)| (key, entry))
            .collect();
        for number in 0..self.profile.keys {
            let key = key(number);
            let begun = scan.after.as_ref().is_none_or(|after| key.key > *after);
            let ended = page.next.as_ref().is_some_and(|next| key.key > *next);
            if begun && !ended {
                let entry = entries.get(&key.key).copied();
                self.saw(client, key, entry, call_us);
            }
        }
    }

    fn finish_write(&mut self, client: usize, outcome: Outcome) {
        let now_us = self.now_us;
        let it = self.client(client);
        let Some(current) = it.current.take() else {
            return;
        };
        if let (Asked::Put { key, write }, Some(change)) = (current.asked, current.change) {
            if let Outcome::Written { version, .. } = outcome {
                it.versions.insert(key.clone(), version);
            }
            self.history.push(Operation {
                client: u32::try_from(client).unwrap_or(u32::MAX),
                key,
                call_us: current.call_us,
                return_us: now_us,
                action: Action::Write {
                    id: original(write.id),
                    change,
                    condition: write.condition,
                    outcome,
                },
            });
        }
        self.think(client);
    }
}

/// The first id of a write that was retried under fresh ones.
pub(super) fn original(id: WriteId) -> WriteId {
    WriteId {
        client: id.client & u64::from(u32::MAX),
        ..id
    }
}

/// A value that names its write.
fn value(id: WriteId, padding: u64) -> Blob {
    let padding = "x".repeat(usize::try_from(padding).unwrap_or(0));
    Blob::from(format!("{}:{}:{padding}", id.client, id.sequence))
}

/// The write that a value names.
fn writer(value: &Blob) -> WriteId {
    let text = String::from_utf8_lossy(value.as_ref());
    let mut parts = text.split(':').map(|part| part.parse().unwrap_or(u64::MAX));
    WriteId {
        client: parts.next().unwrap_or(u64::MAX),
        sequence: parts.next().unwrap_or(u64::MAX),
    }
}
