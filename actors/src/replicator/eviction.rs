//! The shell of a replica's evictor: it sees what goes to the proposer, and asks it to scan and
//! delete.

use std::collections::BTreeMap;

use engram_core::limits::EVICTION_PAGE_MAX;
use engram_core::protocol::eviction::{Effect, Event, EvictionTicket, Evictor};
use engram_core::protocol::register::proposer::{Event as ProposerEvent, Operation, Origin};
use engram_core::types::{
    Change, ClusterConfig, Condition, LogicalClock, LogicalTime, Millis, NamespaceId, RecordKey,
    Write, WriteId,
};
use engram_core::wire::{ClientReply, RequestError, Scan};

/// How long a page or a deletion may take, in milliseconds.
const DEADLINE_MS: u64 = 2_000;

/// An evictor and what its effects need.
pub(super) struct Eviction {
    evictor: Evictor,
    clock: LogicalClock,
    /// Names this life in the ids of its writes.
    writer: u64,
    writes: u64,
    config_version: u64,
}

impl Eviction {
    pub(super) fn new(writer: u64) -> Eviction {
        Eviction {
            evictor: Evictor::default(),
            clock: LogicalClock::default(),
            writer,
            writes: 0,
            config_version: 0,
        }
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evictor.evicted()
    }

    /// Takes note of what a client wants.
    pub(super) fn asked(&mut self, now: Millis, operation: &Operation) -> Vec<ProposerEvent> {
        if self.evictor.is_idle() {
            return Vec::new();
        }
        let event = match operation {
            Operation::Get { key, .. } => Event::Read(key.clone()),
            Operation::Put { key, write } if matches!(write.change, Change::Put { .. }) => {
                Event::Write(key.clone())
            }
            Operation::Put { .. } | Operation::Scan(_) => return Vec::new(),
        };
        self.step(now, event)
    }

    /// Time passes.
    pub(super) fn tick(
        &mut self,
        now: Millis,
        config: Option<&ClusterConfig>,
        is_first: bool,
    ) -> Vec<ProposerEvent> {
        let mut asked = Vec::new();
        if let Some(config) = config.filter(|config| config.version != self.config_version) {
            self.config_version = config.version;
            asked = self.step(now, Event::Limits(limits(config)));
        }
        if !self.evictor.is_idle() {
            asked.extend(self.step(now, Event::Tick { is_first }));
        }
        asked
    }

    /// The proposer has answered a page or a deletion.
    pub(super) fn answered(
        &mut self,
        now: Millis,
        ticket: u64,
        time: LogicalTime,
        result: Result<ClientReply, RequestError>,
    ) -> Vec<ProposerEvent> {
        self.clock.merge(time);
        let ticket = EvictionTicket(ticket);
        let event = match result {
            Ok(ClientReply::Page(page)) => {
                let more = page.next.is_some();
                let entries = page.entries.into_iter();
                let keys = entries.map(|(key, entry)| (key, entry.version)).collect();
                Event::Page(ticket, keys, more)
            }
            Ok(ClientReply::Written(written)) => Event::Deleted(ticket, written.found),
            _ => Event::Failed(ticket),
        };
        self.step(now, event)
    }

    fn step(&mut self, now: Millis, event: Event) -> Vec<ProposerEvent> {
        let mut effects = Vec::new();
        self.evictor.step(now, event, &mut effects);
        let effects = effects.into_iter();
        effects.map(|effect| self.ask(now, effect)).collect()
    }

    /// What the proposer is asked to do.
    fn ask(&mut self, now: Millis, effect: Effect) -> ProposerEvent {
        let (ticket, operation) = match effect {
            Effect::Scan {
                ticket,
                namespace,
                after,
            } => {
                let scan = Scan {
                    namespace,
                    prefix: Vec::new(),
                    after,
                    limit: EVICTION_PAGE_MAX,
                    with_values: false,
                };
                (ticket, Operation::Scan(scan))
            }
            Effect::Delete {
                ticket,
                key,
                version,
            } => {
                let condition = Condition::Version(version);
                (ticket, self.delete(now, key, condition))
            }
        };
        ProposerEvent::Ask {
            origin: Origin::Local(ticket.0),
            deadline: now.plus(DEADLINE_MS),
            operation,
        }
    }

    fn delete(&mut self, now: Millis, key: RecordKey, condition: Condition) -> Operation {
        self.writes += 1;
        let write = Write {
            change: Change::Delete,
            condition,
            id: WriteId {
                client: self.writer,
                sequence: self.writes,
            },
            since: self.clock.tick(now),
        };
        Operation::Put { key, write }
    }
}

/// The namespaces with a bound, and the share of one shard.
fn limits(config: &ClusterConfig) -> BTreeMap<NamespaceId, u64> {
    let shards = config.shard_count();
    let namespaces = config.namespaces.iter();
    namespaces
        .filter_map(|namespace| Some((namespace.id, namespace.options.entries_max(shards)?)))
        .collect()
}
