//! The shard actor: the shell of one replica's acceptor.
//!
//! It turns messages into events, and runs the effects. A failed append ends this life: the
//! acceptor's memory is then ahead of the disk, so the supervisor starts a new one that reads what
//! is really there.

mod hits;
mod message;
mod shared;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use engram_core::protocol::register::acceptor::{Effect, Event, TICK_MS};
use engram_core::storage::{Keyspace, RangeQuery, WriteBatch};
use engram_core::types::{IoId, MemberId, ShardId};
use engram_core::wire::Frame;
use engram_core::wire::register::{RegisterReply, RegisterRequest, ReplyBody, RequestBody};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{error, info, warn};

use self::hits::OpenHits;
pub use self::hits::{HitSlot, HitsDone, read_hits};
pub use self::message::{FeedDone, FreshDone, ShardMessage, WatchDone};
pub use self::shared::SharedAcceptor;
use crate::buggify::Point;
use crate::directory::Directory;
use crate::env::{Env, ReadOutcome, ReadQuery, StoreError};
use crate::replicator::ReplicatorMessage;

/// How long reads and appends wait that storage had no room for, in milliseconds.
const STORAGE_AGAIN_MS: u64 = 10;
/// Most waiting appends that a shard hands on at a time: what all shards may hand on together fits
/// into the room that storage keeps for what is on its way.
const APPENDS_AT_ONCE: usize = 64;

/// What a shard actor is made of.
pub struct ShardArguments {
    /// Who this replica is.
    pub shard: ShardId,
    /// The replica's state, before its first step.
    pub acceptor: SharedAcceptor,
    /// The node.
    pub directory: Arc<Directory>,
    /// The world.
    pub env: Env,
    /// How often this replica was respawned before.
    pub restarts: u32,
}

/// The shard actor. See the module.
pub struct Shard;

/// A shard actor's state.
pub struct ShardState {
    acceptor: SharedAcceptor,
    shard: ShardId,
    member: MemberId,
    directory: Arc<Directory>,
    env: Env,
    restarts: u32,
    index_stalled: bool,
    feeds: BTreeMap<u64, FeedDone>,
    freshens: BTreeMap<u64, FreshDone>,
    hits: OpenHits,
    next_feed: u64,
    /// Appends for which storage had no room, in order. Bounded by what one page of catch-up
    /// installs: requests are refused meanwhile.
    waiting: VecDeque<(IoId, WriteBatch)>,
    watches: BTreeMap<u64, (u64, WatchDone)>,
    effects: Vec<Effect>,
}

impl Actor for Shard {
    type Msg = ShardMessage;
    type State = ShardState;
    type Arguments = ShardArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ShardMessage>,
        arguments: ShardArguments,
    ) -> Result<ShardState, ActorProcessingErr> {
        let ShardArguments {
            shard,
            acceptor,
            directory,
            env,
            restarts,
        } = arguments;
        let mut state = ShardState {
            acceptor,
            shard,
            member: directory.me.id,
            directory,
            env,
            restarts,
            index_stalled: false,
            feeds: BTreeMap::new(),
            freshens: BTreeMap::new(),
            hits: OpenHits::default(),
            next_feed: 0,
            waiting: VecDeque::new(),
            watches: BTreeMap::new(),
            effects: Vec::new(),
        };
        state.report();
        state.step(&myself, Event::Start)?;
        myself.send_interval(Duration::from_millis(TICK_MS), || ShardMessage::Tick);
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<ShardMessage>,
        message: ShardMessage,
        state: &mut ShardState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardMessage::Request(request) => match state.busy(&request) {
                Some(reply) => {
                    state.send_reply(reply);
                    Ok(())
                }
                None => state.step(&myself, Event::Request(request)),
            },
            ShardMessage::Reply(reply) => state.step(&myself, Event::Reply(reply)),
            ShardMessage::ReadHit {
                read,
                with_register,
                slot,
            } => {
                let request = state.hits.begin(state.member, read, with_register, slot);
                state.step(&myself, Event::Request(request))
            }
            ShardMessage::Appended(io, Ok(())) => state.step(&myself, Event::Durable(io)),
            ShardMessage::Appended(_, Err(error)) => {
                Err(format!("shard {}: an append failed: {error}", state.shard).into())
            }
            ShardMessage::Read(io, Ok(ReadOutcome::Value(value))) => {
                state.step(&myself, Event::Loaded(io, value))
            }
            ShardMessage::Read(io, Ok(ReadOutcome::Page(page))) => {
                state.step(&myself, Event::Ranged(io, page))
            }
            ShardMessage::Read(io, Err(StoreError::Corrupt(reason))) => {
                warn!(shard = %state.shard, %reason, "damaged data on disk");
                state.step(&myself, Event::Unreadable(io))
            }
            ShardMessage::Read(_, Err(error)) => {
                Err(format!("shard {}: a read failed: {error}", state.shard).into())
            }
            ShardMessage::ReadRefused(io, query) => {
                let wait = Duration::from_millis(STORAGE_AGAIN_MS);
                myself.send_after(wait, move || ShardMessage::ReadAgain(io, query));
                Ok(())
            }
            ShardMessage::ReadAgain(io, query) => {
                state.read(&myself, io, query);
                Ok(())
            }
            ShardMessage::AppendAgain => {
                state.append_waiting(&myself);
                Ok(())
            }
            ShardMessage::Feed { after, limit, done } => {
                let token = state.next_feed;
                state.next_feed += 1;
                state.feeds.insert(token, done);
                let short = state.env.buggify.at(Point::FeedShort);
                let limit = if short { 1 } else { limit };
                state.step(
                    &myself,
                    Event::Feed {
                        token,
                        after,
                        limit,
                    },
                )
            }
            ShardMessage::Rebuilt {
                key,
                abstention,
                ballot,
                register,
            } => {
                let event = Event::Rebuilt {
                    key,
                    abstention,
                    ballot,
                    register,
                };
                state.step(&myself, event)
            }
            ShardMessage::Watch { mut query, done } => {
                // Tokens of a watcher's earlier life may come again.
                let token = state.next_feed;
                state.next_feed += 1;
                state.watches.insert(token, (query.token, done));
                query.token = token;
                state.step(&myself, Event::Watch(query))
            }
            ShardMessage::Freshen { fed, done } => {
                let token = state.next_feed;
                state.next_feed += 1;
                state.freshens.insert(token, done);
                state.step(&myself, Event::Freshen { token, fed })
            }
            ShardMessage::PeerUp(peer) => state.step(&myself, Event::PeerUp(peer)),
            ShardMessage::PeerProgress(..) if state.env.buggify.at(Point::ProgressLost) => Ok(()),
            ShardMessage::PeerProgress(peer, next) => {
                state.step(&myself, Event::PeerProgress(peer, next))
            }
            ShardMessage::Witnessed => state.step(&myself, Event::Witnessed),
            ShardMessage::Tick if state.env.buggify.at(Point::TickLost) => Ok(()),
            ShardMessage::Tick => {
                if let Some(index) = state.directory.index() {
                    let upto = index.indexed(state.shard);
                    state.step(&myself, Event::Indexed(upto))?;
                }
                let rank = state.directory.rank(state.shard);
                state.step(&myself, Event::Tick { rank })?;
                state.report();
                Ok(())
            }
            ShardMessage::Inspect(look) => {
                look(&state.acceptor.lock());
                Ok(())
            }
        }
    }
}

impl ShardState {
    fn step(
        &mut self,
        myself: &ActorRef<ShardMessage>,
        event: Event,
    ) -> Result<(), ActorProcessingErr> {
        let mut effects = std::mem::take(&mut self.effects);
        let mut acceptor = self.acceptor.lock();
        if self.env.buggify.at(Point::RecordsForgotten) {
            acceptor.forget_records();
        }
        acceptor.step(self.env.clock.now(), event, &mut effects);
        drop(acceptor);
        let mut outcome = Ok(());
        for effect in effects.drain(..) {
            if matches!(effect, Effect::Broken(_)) {
                let shard = self.shard;
                outcome = Err(format!("shard {shard}: its data on disk is damaged").into());
            } else {
                self.run(myself, effect);
            }
        }
        self.effects = effects;
        outcome
    }

    fn run(&mut self, myself: &ActorRef<ShardMessage>, effect: Effect) {
        match effect {
            Effect::Append(io, batch) => self.append(myself, io, batch),
            Effect::Load(io, keyspace, key) => {
                self.read(myself, io, ReadQuery::Get { keyspace, key });
            }
            Effect::Range(io, query) => self.range(myself, io, query),
            Effect::Reply(reply) => {
                if let Some(reply) = self.hits.take(self.member, reply) {
                    self.send_reply(reply);
                }
            }
            Effect::Send(to, request) => {
                self.env.transport.send(to, &Frame::Register(request));
            }
            Effect::Advance(below) => {
                if let Some(index) = self.directory.index() {
                    index.advance(self.shard, below);
                }
                self.directory.ring(self.shard);
            }
            Effect::Feed(page) => {
                if let Some(done) = self.feeds.remove(&page.token) {
                    done(page);
                }
            }
            Effect::Watched(mut feed) => {
                if let Some((token, done)) = self.watches.remove(&feed.token) {
                    feed.token = token;
                    done(feed);
                }
            }
            Effect::Freshened { token, upto } => {
                if let Some(done) = self.freshens.remove(&token) {
                    done(upto);
                }
            }
            Effect::Settle(key) => self.tell_replicator(ReplicatorMessage::Settle(key)),
            Effect::Purge(key) => self.tell_replicator(ReplicatorMessage::Purge(key)),
            Effect::Serving => {
                info!(node = %self.directory.me.name, shard = %self.shard, "serving");
                self.report();
            }
            Effect::Corrupt(key, reason) => {
                let shard = self.shard;
                error!(%shard, key = ?key.key, %reason, "abstaining from a damaged record");
            }
            Effect::Rebuild(key, abstention) => {
                self.tell_replicator(ReplicatorMessage::Rebuild(key, abstention));
            }
            // It ends this life; see `step`.
            Effect::Broken(_) => {}
            Effect::Whole(key) => {
                let shard = self.shard;
                warn!(%shard, key = ?key.key, "rebuilt a damaged record from the other replicas");
            }
        }
    }

    /// Hands a batch to storage. A life's first, empty one is a barrier and never waits.
    fn append(&mut self, myself: &ActorRef<ShardMessage>, io: IoId, batch: WriteBatch) {
        let admitted = batch.is_empty() || self.env.store.admits_writes();
        if admitted && self.waiting.is_empty() {
            return self.append_now(myself, io, batch);
        }
        self.waiting.push_back((io, batch));
        if self.waiting.len() == 1 {
            self.append_later(myself);
        }
    }

    fn append_later(&self, myself: &ActorRef<ShardMessage>) {
        let wait = Duration::from_millis(STORAGE_AGAIN_MS);
        myself.send_after(wait, || ShardMessage::AppendAgain);
    }

    fn append_waiting(&mut self, myself: &ActorRef<ShardMessage>) {
        for _ in 0..APPENDS_AT_ONCE {
            if !self.env.store.admits_writes() {
                break;
            }
            let Some((io, batch)) = self.waiting.pop_front() else {
                return;
            };
            self.append_now(myself, io, batch);
        }
        if !self.waiting.is_empty() {
            self.append_later(myself);
        }
    }

    fn append_now(&self, myself: &ActorRef<ShardMessage>, io: IoId, batch: WriteBatch) {
        let to = myself.clone();
        let done = move |result: Result<_, StoreError>| {
            // A life that has ended needs no answer.
            let _ = to.cast(ShardMessage::Appended(io, result.map(|_| ())));
        };
        self.env.store.append(batch, Box::new(done));
    }

    fn range(&self, myself: &ActorRef<ShardMessage>, io: IoId, query: RangeQuery) {
        self.read(myself, io, ReadQuery::Range(query));
    }

    fn read(&self, myself: &ActorRef<ShardMessage>, io: IoId, query: ReadQuery) {
        debug_assert!(!matches!(
            &query,
            ReadQuery::Get {
                keyspace: Keyspace::Vectors,
                ..
            }
        ));
        let to = myself.clone();
        let again = query.clone();
        let done = move |result| {
            let _ = to.cast(match result {
                Err(StoreError::Overloaded { .. }) => ShardMessage::ReadRefused(io, again),
                result => ShardMessage::Read(io, result),
            });
        };
        self.env.store.read(query, Box::new(done));
    }

    /// Refuses what would write while storage takes no writes: the acceptor must not go ahead of
    /// the disk.
    fn busy(&self, request: &RegisterRequest) -> Option<RegisterReply> {
        let writes = matches!(
            request.body,
            RequestBody::Prepare { .. } | RequestBody::Accept { .. }
        );
        let admits = self.env.store.admits_writes() && !self.env.buggify.at(Point::Busy);
        if !writes || admits {
            return None;
        }
        Some(RegisterReply {
            shard: self.shard,
            reply_to: request.reply_to,
            from: self.member,
            body: ReplyBody::Busy,
        })
    }

    fn send_reply(&self, reply: RegisterReply) {
        if reply.reply_to.member == self.member {
            self.tell_replicator(ReplicatorMessage::Reply(reply));
        } else {
            let to = reply.reply_to.member;
            self.env.transport.send(to, &Frame::RegisterReply(reply));
        }
    }

    fn tell_replicator(&self, message: ReplicatorMessage) {
        if let Some(local) = self.directory.shard(self.shard) {
            // A replicator that is being respawned asks again by itself.
            let _ = local.replicator.cast(message);
        }
    }

    fn report(&mut self) {
        let acceptor = self.acceptor.lock();
        let (status, (next_lseq, seen)) = (acceptor.status(), acceptor.progress());
        drop(acceptor);
        if status.index_stalled && !self.index_stalled {
            let (shard, changes) = (self.shard, status.unindexed);
            warn!(%shard, changes, "the index stands still: deleted values may stay in it");
        }
        self.index_stalled = status.index_stalled;
        let restarts = self.restarts;
        self.directory.report_shard(self.shard, |report| {
            report.status.state = if status.serving {
                "serving"
            } else {
                "recovering"
            }
            .into();
            report.status.restarts = restarts;
            report.status.changes = status.changes;
            report.status.unlearned = status.unlearned;
            report.status.behind = status.behind;
            report.caught_up = status.caught_up;
            report.purged = status.purged;
            report.unindexed = status.unindexed;
            report.index_stalled = status.index_stalled;
            report.damaged = status.damaged;
            report.next_lseq = next_lseq;
            report.seen = seen;
        });
    }
}
