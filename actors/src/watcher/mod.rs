//! The watcher actor: answers the standing queries that this node's replicas are asked, as the
//! shell of [`WatchServer`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use engram_core::index::{Embedding, IndexOptions, ModelId, NamespaceIndexing};
use engram_core::limits::WATCH_WAIT_MS_MAX;
use engram_core::planted::Planted;
use engram_core::protocol::watch::{Effect, Event, Question, WatchFeed, WatchQuery, WatchServer};
use engram_core::types::{Millis, NamespaceId, ShardId};
use engram_core::wire::{ClientReply, RequestError, ReturnAddress, Watch};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::directory::Directory;
use crate::embedder::EmbedPriority;
use crate::env::Env;
use crate::ingress::respond;
use crate::shard::ShardMessage;

/// What a watcher is told.
pub enum WatcherMessage {
    /// From ingress: a client's question. Answered to the return address; if lost, it is asked
    /// again.
    Ask {
        /// Where the answer goes.
        to: ReturnAddress,
        /// Until when it is of use.
        deadline: Millis,
        /// What is asked.
        watch: Watch,
    },
    /// From a shard: a page of its log. If lost, the question is given up at its deadline.
    Fed(WatchFeed),
    /// From a shard: it has new changes. If lost, watchers see them when their time is up.
    Rung(ShardId),
    /// From the embedder: the vector of a text. It always answers.
    Embedded(u64, usize, Result<Option<Arc<Embedding>>, String>),
    /// From the timer.
    Timer,
}

impl ractor::Message for WatcherMessage {}

/// What a watcher is made of.
pub struct WatcherArguments {
    /// The node.
    pub directory: Arc<Directory>,
    /// The world.
    pub env: Env,
    /// A bug planted by the simulator; none in production.
    pub planted: Planted,
}

/// The watcher actor. See the module.
pub struct Watcher;

/// A watcher's state.
pub struct WatcherState {
    directory: Arc<Directory>,
    env: Env,
    server: WatchServer,
    asking: BTreeMap<u64, ReturnAddress>,
    next: u64,
    myself: ActorRef<WatcherMessage>,
}

impl Actor for Watcher {
    type Msg = WatcherMessage;
    type State = WatcherState;
    type Arguments = WatcherArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<WatcherMessage>,
        arguments: WatcherArguments,
    ) -> Result<WatcherState, ActorProcessingErr> {
        let WatcherArguments {
            directory,
            env,
            planted,
        } = arguments;
        Ok(WatcherState {
            server: WatchServer::new(directory.me.id, planted),
            asking: BTreeMap::new(),
            // Pages for a predecessor must not be taken for answers to these.
            next: env.entropy.next_u64() >> 1,
            directory,
            env,
            myself,
        })
    }

    async fn handle(
        &self,
        _myself: ActorRef<WatcherMessage>,
        message: WatcherMessage,
        state: &mut WatcherState,
    ) -> Result<(), ActorProcessingErr> {
        let event = match message {
            WatcherMessage::Ask {
                to,
                deadline,
                watch,
            } => state.question(to, deadline, watch),
            WatcherMessage::Fed(feed) => Event::Fed(feed),
            WatcherMessage::Rung(shard) => Event::Rung(shard),
            WatcherMessage::Embedded(id, place, result) => Event::Embedded(id, place, result),
            WatcherMessage::Timer => Event::Timer,
        };
        state.step(event);
        Ok(())
    }
}

impl WatcherState {
    fn question(&mut self, to: ReturnAddress, deadline: Millis, watch: Watch) -> Event {
        let id = self.next;
        self.next += 1;
        self.asking.insert(id, to);
        let now = self.env.clock.now();
        // The answer must arrive before the asker's patience ends.
        let wait_ms = (deadline.since(now) / 2).min(WATCH_WAIT_MS_MAX);
        Event::Ask(Question {
            id,
            until: now.plus(wait_ms),
            indexing: watch
                .similar
                .as_ref()
                .and_then(|_| self.indexing(watch.namespace)),
            watch,
        })
    }

    fn indexing(&self, namespace: NamespaceId) -> Option<IndexOptions> {
        match self.directory.index()?.lookup().indexing(namespace) {
            NamespaceIndexing::Indexed(options) => Some(options),
            NamespaceIndexing::NotYetKnown | NamespaceIndexing::Skipped => None,
        }
    }

    fn step(&mut self, event: Event) {
        let now = self.env.clock.now();
        let mut effects = Vec::new();
        self.server.step(now, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Listen(shard) => self.directory.listen(shard),
                Effect::Read(shard, query) => self.read(shard, query),
                Effect::Embed {
                    id,
                    place,
                    model,
                    text,
                } => self.embed(id, place, &model, &text),
                Effect::Answer(id, result) => {
                    if let Some(to) = self.asking.remove(&id) {
                        let result = result.map(ClientReply::Watched);
                        respond(&self.directory, &self.env, to, result);
                    }
                }
                Effect::SetTimer(at) => {
                    let wait = Duration::from_millis(at.since(now));
                    self.myself.send_after(wait, || WatcherMessage::Timer);
                }
            }
        }
    }

    fn read(&self, shard: ShardId, query: WatchQuery) {
        let token = query.token;
        let to = self.myself.clone();
        let done = move |feed| {
            // A watcher that has ended needs no answer.
            let _ = to.cast(WatcherMessage::Fed(feed));
        };
        let local = self.directory.shard(shard);
        let asked = local.is_some_and(|local| {
            let done = Box::new(done);
            local
                .shard
                .cast(ShardMessage::Watch { query, done })
                .is_ok()
        });
        if !asked {
            // It is being respawned.
            let feed = WatchFeed::not_serving(token);
            let _ = self.myself.cast(WatcherMessage::Fed(feed));
        }
    }

    fn embed(&self, id: u64, place: usize, model: &ModelId, text: &str) {
        let to = self.myself.clone();
        let answer = move |result| {
            let _ = to.cast(WatcherMessage::Embedded(id, place, result));
        };
        let index = self.directory.index();
        match index
            .as_ref()
            .and_then(|index| index.embedders().get(model))
        {
            None => {
                let reason = format!("this node does not have the model {model}");
                answer(Err(reason));
            }
            Some(embedder) => {
                let done = move |result: Result<Arc<Embedding>, crate::embedder::EmbedError>| {
                    answer(match result {
                        Ok(vector) => Ok(Some(vector)),
                        Err(error) if error.is_permanent() => Ok(None),
                        Err(error) => Err(error.to_string()),
                    });
                };
                let priority = if place == 0 {
                    EmbedPriority::Query
                } else {
                    EmbedPriority::Text
                };
                embedder.embed(text, priority, Box::new(done));
            }
        }
    }
}

/// What a request that could not be routed is answered.
pub(crate) fn not_watching() -> RequestError {
    RequestError::NotApplied("this node's standing queries are being restarted".into())
}
