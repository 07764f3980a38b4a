//! The actor of an index partition: carries out what the state machine decides.
//!
//! When the full-text index fails, the partition begins a new life by itself, after a pause that
//! grows: a full disk must not use up the restarts of its supervisor and with them end the node,
//! which serves keys all the same.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use engram_core::index::PartitionError;
use engram_core::index::partition::{
    BuildTicket, Effect, EmbedFailure, EmbedTicket, Event, IndexPartition, LoadTicket,
    PartitionConfig, QueryTicket, StoreTicket,
};
use engram_core::index::vectors::{BuildError, SegmentOrder};
use engram_core::limits::FAILURES_LIMIT_MAX;
use engram_core::storage::{RangeQuery, WriteBatch};
use engram_core::types::{Blob, MemberId, Millis, ShardId};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use super::handle::{Inbox, PendingQuery};
use super::{
    Embedders, IndexPartitionHandle, IndexPartitionMessage, PartitionPeers, SegmentOptions,
    ShardFeed, SharedLookup, TextIndex, TextIndexError,
};
use crate::embedder::{EmbedError, EmbedPriority};
use crate::env::{Background, Clock, ReadOutcome, ReadQuery, Store, StoreError};

/// First pause before a new life after a failure; it doubles with each further one.
const RETRY_MS: u64 = 500;
/// Longest such pause.
const RETRY_MS_MAX: u64 = 60_000;

/// An index partition. See the module.
pub struct IndexPartitionActor;

/// What an index partition is made of. All of it outlives the actor.
#[derive(Clone)]
pub struct IndexPartitionArguments {
    /// Its number on this node, for the log.
    pub number: u16,
    /// This member.
    pub me: MemberId,
    /// How others reach it.
    pub handle: IndexPartitionHandle,
    /// The disk.
    pub store: Arc<dyn Store>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Where segments of vectors are merged.
    pub background: Arc<dyn Background>,
    /// How.
    pub segments: SegmentOptions,
    /// The full-text index of this partition alone.
    pub text: Arc<dyn TextIndex>,
    /// The shards.
    pub feed: Arc<dyn ShardFeed>,
    /// The other replicas.
    pub peers: Arc<dyn PartitionPeers>,
    /// The models that this node has.
    pub embedders: Embedders,
    /// How namespaces are indexed.
    pub lookup: SharedLookup,
}

/// What the actor keeps.
pub struct IndexPartitionState {
    arguments: IndexPartitionArguments,
    inbox: Arc<Inbox>,
    machine: IndexPartition,
    life: u64,
    /// Not between two lives.
    running: bool,
    /// Lives that failed since the last commit.
    failures: u32,
    queries: BTreeMap<QueryTicket, PendingQuery>,
    last_query: u64,
}

impl Actor for IndexPartitionActor {
    type Msg = IndexPartitionMessage;
    type State = IndexPartitionState;
    type Arguments = IndexPartitionArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: IndexPartitionArguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let inbox = arguments.handle.inbox();
        inbox.attach(myself.clone());
        myself.cast(IndexPartitionMessage::Begin { life: 1 })?;
        let machine = new_machine(&arguments);
        Ok(IndexPartitionState {
            arguments,
            inbox,
            machine,
            life: 0,
            running: false,
            failures: 0,
            queries: BTreeMap::new(),
            last_query: 0,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            IndexPartitionMessage::Begin { life } if life == state.life + 1 => {
                state.begin(&myself);
            }
            IndexPartitionMessage::Begin { .. } => {}
            // Searches are refused by being dropped; all else is known to the next life.
            IndexPartitionMessage::Hosted(_)
            | IndexPartitionMessage::Advanced
            | IndexPartitionMessage::Shipped(..)
            | IndexPartitionMessage::Wanted(..)
            | IndexPartitionMessage::Query(..)
                if !state.running => {}
            IndexPartitionMessage::Hosted(shard) => state.step(&myself, Event::Host(shard)),
            IndexPartitionMessage::Advanced => {
                for (shard, learned) in state.inbox.take_advances() {
                    state.step(&myself, Event::Advance { shard, learned });
                }
            }
            IndexPartitionMessage::Shipped(ship, permit) => {
                state.step(&myself, Event::Shipped(*ship));
                drop(permit);
            }
            IndexPartitionMessage::Wanted(from, want, permit) => {
                state.step(&myself, Event::Wanted { from, want });
                drop(permit);
            }
            IndexPartitionMessage::Query(query, pending) => {
                state.last_query += 1;
                let ticket = QueryTicket(state.last_query);
                state.queries.insert(ticket, pending);
                state.step(
                    &myself,
                    Event::Query {
                        ticket,
                        query: *query,
                    },
                );
            }
            IndexPartitionMessage::Stats(done) => {
                done(state.machine.report(state.arguments.clock.now()));
            }
            IndexPartitionMessage::Failures(namespace, done) => {
                done(
                    state
                        .machine
                        .failed_embeddings(namespace, FAILURES_LIMIT_MAX),
                );
            }
            IndexPartitionMessage::Happened { life, event } if life == state.life => {
                if matches!(*event, Event::Committed { .. }) {
                    state.failures = 0;
                }
                state.step(&myself, *event);
            }
            IndexPartitionMessage::Failed { life, reason } if life == state.life => {
                state.fail(&myself, &reason);
            }
            // Of a former life.
            IndexPartitionMessage::Happened { .. } | IndexPartitionMessage::Failed { .. } => {}
        }
        Ok(())
    }
}

impl IndexPartitionState {
    /// Begins a life: all is read again.
    fn begin(&mut self, myself: &ActorRef<IndexPartitionMessage>) {
        self.end_life();
        self.running = true;
        for shard in self.inbox.hosted() {
            self.step(myself, Event::Host(shard));
        }
        for (shard, learned) in self.inbox.take_advances() {
            self.step(myself, Event::Advance { shard, learned });
        }
        let tell = self.teller(myself);
        self.arguments
            .text
            .open(Box::new(move |result| match result {
                Ok(status) => tell.happened(Event::TextOpened {
                    watermark: status.watermark,
                    documents: status.documents,
                }),
                Err(error) => tell.failed(&error),
            }));
    }

    /// Ends this life and begins the next after a pause.
    fn fail(&mut self, myself: &ActorRef<IndexPartitionMessage>, reason: &str) {
        let pause = RETRY_MS
            .checked_shl(self.failures)
            .unwrap_or(RETRY_MS_MAX)
            .min(RETRY_MS_MAX);
        tracing::warn!(
            partition = self.arguments.number,
            reason,
            pause_ms = pause,
            "index partition begins again"
        );
        self.failures = self.failures.saturating_add(1).min(16);
        // Until then nothing of this life is carried out, and searches are refused.
        self.end_life();
        let life = self.life + 1;
        let begin = move || IndexPartitionMessage::Begin { life };
        drop(myself.send_after(Duration::from_millis(pause), begin));
    }

    /// What this life asked for means nothing any more; who waits for it is told so.
    fn end_life(&mut self) {
        self.life += 1;
        self.running = false;
        self.queries.clear();
        self.machine = new_machine(&self.arguments);
    }

    fn step(&mut self, myself: &ActorRef<IndexPartitionMessage>, event: Event) {
        let now = self.arguments.clock.now();
        let mut effects = Vec::new();
        self.machine
            .step(now, event, self.arguments.lookup.as_ref(), &mut effects);
        for effect in effects {
            self.carry_out(myself, effect);
        }
    }

    fn carry_out(&mut self, myself: &ActorRef<IndexPartitionMessage>, effect: Effect) {
        let tell = self.teller(myself);
        match effect {
            Effect::LoadVectors {
                ticket,
                shard,
                range,
            } => self.load(tell, ticket, shard, range),
            Effect::RequestFeed { ticket, request } => {
                let done = move |page| tell.happened(Event::Page { ticket, page });
                self.arguments.feed.request(request, Box::new(done));
            }
            Effect::Freshen { ticket, shard, fed } => {
                let done = move |upto| {
                    tell.happened(Event::Freshened {
                        ticket,
                        shard,
                        upto,
                    });
                };
                self.arguments.feed.freshen(shard, fed, Box::new(done));
            }
            Effect::Embed {
                ticket,
                model,
                text,
            } => match self.arguments.embedders.get(&model) {
                Some(embedder) => {
                    let done = move |result| tell.embedded(ticket, result);
                    embedder.embed(&text, EmbedPriority::Text, Box::new(done));
                }
                None => tell.embedded(ticket, Err(EmbedError::NoModel(model))),
            },
            Effect::BuildSegment { ticket, order } => self.build(tell, ticket, order),
            Effect::Store { ticket, batch } => self.store(tell, ticket, batch),
            Effect::Ship(ship) => self.arguments.peers.ship(ship),
            Effect::ShipTo(to, ship) => self.arguments.peers.ship_to(to, ship),
            Effect::AskPeer { turn, want } => self.arguments.peers.ask(turn, want),
            Effect::ApplyText(changes) => self.arguments.text.apply(changes),
            Effect::ClearText => self.arguments.text.clear(),
            Effect::CommitText(watermark) => self.commit(tell, watermark),
            Effect::SearchText { ticket, query } => {
                let done = move |result| tell.found(ticket, result);
                self.arguments.text.search(query, Box::new(done));
            }
            Effect::Reply { ticket, result } => {
                if let Some(pending) = self.queries.remove(&ticket) {
                    pending.answer(result);
                }
            }
            Effect::Indexed { shard, upto } => self.inbox.set_indexed(shard, upto),
            Effect::SetTimer(at) => self.set_timer(myself, at),
        }
    }

    fn load(&self, tell: Teller, ticket: LoadTicket, shard: ShardId, range: RangeQuery) {
        let done = move |result| match result {
            Ok(ReadOutcome::Page(page)) => {
                tell.happened(Event::VectorsLoaded {
                    ticket,
                    shard,
                    page,
                });
            }
            Ok(ReadOutcome::Value(_)) => tell.failed(&"the store answered something else"),
            Err(error) => {
                let damaged = matches!(error, StoreError::Corrupt(_));
                tell.happened(Event::VectorsUnreadable {
                    ticket,
                    shard,
                    damaged,
                });
            }
        };
        self.arguments
            .store
            .read(ReadQuery::Range(range), Box::new(done));
    }

    fn build(&self, tell: Teller, ticket: BuildTicket, order: SegmentOrder) {
        let builder = self.arguments.segments.builder.clone();
        let asked = tell.clone();
        let job = move || {
            let build = AssertUnwindSafe(|| order.carry_out(builder.as_ref()));
            let result = catch_unwind(build).unwrap_or(Err(BuildError::Panicked));
            if let Err(error) = &result {
                tracing::warn!(%error, "segments of vectors were not merged");
            }
            tell.happened(Event::SegmentBuilt { ticket, result });
        };
        if let Err(full) = self.arguments.background.run(Box::new(job)) {
            let result = Err(BuildError::Refused(full.to_string()));
            asked.happened(Event::SegmentBuilt { ticket, result });
        }
    }

    fn store(&self, tell: Teller, ticket: StoreTicket, batch: WriteBatch) {
        let done = move |result: Result<_, StoreError>| {
            tell.happened(Event::Stored {
                ticket,
                durable: result.is_ok(),
            });
        };
        self.arguments.store.append(batch, Box::new(done));
    }

    fn commit(&self, tell: Teller, watermark: Blob) {
        let done = move |result: Result<super::TextIndexStatus, TextIndexError>| match result {
            Ok(status) => tell.happened(Event::Committed {
                documents: status.documents,
            }),
            Err(error) => tell.failed(&error),
        };
        self.arguments.text.commit(watermark, Box::new(done));
    }

    fn set_timer(&self, myself: &ActorRef<IndexPartitionMessage>, at: Millis) {
        let life = self.life;
        let wait = Duration::from_millis(at.since(self.arguments.clock.now()));
        let timer = move || IndexPartitionMessage::Happened {
            life,
            event: Box::new(Event::Timer),
        };
        // The handle of the timer is of no use: timers of former lives are ignored.
        drop(myself.send_after(wait, timer));
    }

    fn teller(&self, myself: &ActorRef<IndexPartitionMessage>) -> Teller {
        Teller {
            actor: myself.clone(),
            life: self.life,
        }
    }
}

fn new_machine(arguments: &IndexPartitionArguments) -> IndexPartition {
    IndexPartition::new(PartitionConfig {
        me: arguments.me,
        segments: arguments.segments.limits,
        vector_bytes_max: arguments.segments.vector_bytes_max,
    })
}

/// Tells the actor what happened to what it asked for, from any thread.
#[derive(Clone)]
struct Teller {
    actor: ActorRef<IndexPartitionMessage>,
    life: u64,
}

impl Teller {
    fn happened(&self, event: Event) {
        let message = IndexPartitionMessage::Happened {
            life: self.life,
            event: Box::new(event),
        };
        // An actor that is gone does not need to know.
        drop(self.actor.cast(message));
    }

    fn failed(&self, reason: &impl std::fmt::Display) {
        let reason = reason.to_string();
        drop(self.actor.cast(IndexPartitionMessage::Failed {
            life: self.life,
            reason,
        }));
    }

    fn embedded(
        &self,
        ticket: EmbedTicket,
        result: Result<Arc<engram_core::index::Embedding>, EmbedError>,
    ) {
        let result = result.map_err(|error| match error {
            EmbedError::Rejected(reason) => EmbedFailure::Never(reason),
            EmbedError::NoModel(_) => EmbedFailure::NotHere,
            EmbedError::Overloaded | EmbedError::Closed => EmbedFailure::Busy,
            EmbedError::Failed(reason) | EmbedError::Unavailable(reason) => {
                EmbedFailure::Again(reason)
            }
        });
        self.happened(Event::Embedded { ticket, result });
    }

    fn found(
        &self,
        ticket: QueryTicket,
        result: Result<Vec<engram_core::index::TextHit>, TextIndexError>,
    ) {
        let failure = match &result {
            Err(TextIndexError::Failed(reason)) => Some(reason.clone()),
            _ => None,
        };
        let result = result.map_err(|error| match error {
            TextIndexError::Overloaded => PartitionError::Overloaded,
            TextIndexError::NotOpen => PartitionError::NotReady,
            TextIndexError::Failed(reason) => PartitionError::Failed(reason.to_string()),
        });
        self.happened(Event::TextFound { ticket, result });
        if let Some(reason) = failure {
            self.failed(&reason);
        }
    }
}

#[cfg(test)]
mod tests;
