//! The end of a run: healing, last reads, rest, and judgement.

use std::collections::BTreeMap;

use engram_core::protocol::register::proposer::Operation as Asked;
use engram_core::storage::format::{Record, open};
use engram_core::storage::{Keyspace, keys};
use engram_core::types::{RecordKey, WriteId};
use engram_core::wire::{ClientReply, RequestError};

use super::clients::{Ask, LAST_READER, original};
use super::{EPOCH_MS, Happening, Message, REST_US, World, key};
use crate::checkers::convergence::AtRest;
use crate::checkers::{Property, Violation, at_most_once, convergence, linearizability};
use crate::history::{Action, Outcome};

/// How often replicas at rest are looked at, in microseconds.
const LOOK_US: u64 = 1_000_000;
/// Last reads are answered at the latest after so long.
const LAST_READ_US: u64 = 30_000_000;

impl World {
    /// All faults end.
    pub(super) fn heal(&mut self) {
        self.trace.note(self.now_us, format_args!("heal"));
        self.healed = true;
        self.blocked.clear();
        for node in 0..self.nodes.len() {
            self.restart(node);
        }
        // Copies of requests that are still on their way arrive before rest.
        self.pass(10_000_000);
    }

    /// Every key is read through every node: after rest, for a read repairs what it finds.
    pub(super) fn last_reads(&mut self) {
        for node in 0..self.nodes.len() {
            for number in 0..self.profile.keys {
                if self.violations.is_empty() {
                    self.last_read(node, number);
                }
            }
        }
    }

    /// Reads a key through a node, which must answer.
    fn last_read(&mut self, node: usize, number: u64) {
        let (key, call_us) = (key(number), self.now_us);
        while self.now_us < call_us + LAST_READ_US && self.violations.is_empty() {
            let asked = Asked::Get {
                key: key.clone(),
                with_value: true,
            };
            match self.ask_and_wait(node, &key, asked) {
                Some(Ok(ClientReply::Entry(entry))) => {
                    return self.saw(1000 + node, key, entry.as_ref(), call_us);
                }
                Some(_) => {}
                None => self.pass(100_000),
            }
        }
        if self.violations.is_empty() {
            let story = format!("{key:?} cannot be read through {node} after healing");
            self.violate(Property::Answered, story);
        }
    }

    fn ask_and_wait(
        &mut self,
        node: usize,
        key: &RecordKey,
        asked: Asked,
    ) -> Option<Result<ClientReply, RequestError>> {
        let id = self.asks.len() as u64 + 1;
        let ask = Ask {
            client: LAST_READER,
            operation: 0,
            key: Some(key.clone()),
            asked,
        };
        self.asks.insert(id, ask);
        let message = Message::Ask { ask: id };
        self.after(5, Happening::Arrive { node, message });
        let until_us = self.now_us + 2_000 * self.profile.attempt_ms + 1_000_000;
        while self.now_us < until_us && self.next() {
            if let Some((answered, result)) = self.last_answer.take()
                && answered == id
            {
                return Some(result);
            }
        }
        None
    }

    /// Waits until all replicas hold the same, or too long.
    pub(super) fn rest(&mut self) {
        if !self.violations.is_empty() {
            return;
        }
        let until_us = self.now_us + REST_US;
        loop {
            self.pass(LOOK_US);
            let found = self.look();
            if found.is_ok() || self.now_us >= until_us || !self.violations.is_empty() {
                return self.check(found);
            }
        }
    }

    fn look(&self) -> Result<(), Violation> {
        let mut replicas = Vec::new();
        for node in &self.nodes {
            let machines = node.machines.as_ref();
            let status = machines.map(|machines| machines.acceptor.status());
            if !status.is_some_and(|status| status.serving) {
                let story = format!("{} does not serve at rest: {status:?}", node.member);
                return Err(Violation::new(Property::Converges, story));
            }
            let mut records = BTreeMap::new();
            for (at, value) in node.disk.durable(Keyspace::Records) {
                if let (Some((_, key)), Ok(record)) =
                    (keys::parse_record(at), open::<Record>(value))
                    && !record.accepted.is_zero()
                {
                    records.insert(key, (record.accepted, record.register));
                }
            }
            replicas.push(AtRest {
                member: node.member,
                records,
                unlearned: status.map_or(0, |status| status.unlearned),
            });
        }
        convergence::check(&replicas)?;
        for (node, replica) in self.nodes.iter().zip(&replicas) {
            node.index.at_rest(&replica.records)?;
            if let Some(machines) = &node.machines {
                machines.answers.at_rest(machines.proposer.in_flight())?;
            }
        }
        Ok(())
    }

    /// Judges the whole run.
    pub(super) fn judge(&mut self) {
        self.give_up_clients();
        let chain = self.ledger.chosen().try_for_each(|(key, chosen)| {
            let chosen = chosen
                .iter()
                .map(|(ballot, register)| (*ballot, &***register));
            at_most_once::check(key, chosen)
        });
        self.check(chain);
        let ledger = &self.ledger;
        // A blind retry has other ids, of which its client knows nothing.
        let retries = |id: WriteId| {
            (0..8).map(move |retry| WriteId {
                client: id.client + (retry << 32),
                ..id
            })
        };
        let refused = self
            .history
            .iter()
            .try_for_each(|operation| match operation.action {
                Action::Write {
                    id,
                    outcome: Outcome::Refused,
                    ..
                } => at_most_once::refused(id, retries(id).any(|id| ledger.appeared(id))),
                _ => Ok(()),
            });
        let context = linearizability::Context {
            writer: &|key, version| ledger.writer(key, version).map(original),
            effective_us: &|id| {
                let each = retries(id).filter_map(|id| ledger.effective_us(id));
                each.reduce(|one, other| (one.0.min(other.0), one.1.min(other.1)))
            },
            epoch_ms: EPOCH_MS,
            skew_ms: self.profile.skew_ms,
        };
        let linearizable = linearizability::check(&self.history, &context);
        self.check(refused);
        self.check(linearizable);
    }
}
