//! The replicator actor: the shell of one replica's proposer.

mod eviction;

use std::sync::Arc;
use std::time::Duration;

use engram_core::protocol::eviction::TICK_MS;
use engram_core::protocol::register::acceptor::Abstention;
use engram_core::protocol::register::proposer::{
    Effect, Event, Operation, Options, Origin, Proposer,
};
use engram_core::types::{MemberId, Millis, RecordKey, ShardId};
use engram_core::wire::register::{RegisterReply, RegisterRequest};
use engram_core::wire::{ClientResponse, Frame, ReturnAddress};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use self::eviction::Eviction;
use crate::buggify::Point;
use crate::directory::Directory;
use crate::env::Env;
use crate::ingress::answer;
use crate::shard::{ShardMessage, SharedAcceptor};

/// What a replicator is told. Senders are actors of the same node.
pub enum ReplicatorMessage {
    /// From ingress or the coordinator; answered to the return address. Writes may be sent again
    /// under the same write id; if lost, the client's deadline passes.
    Ask {
        /// Where the answer goes.
        to: ReturnAddress,
        /// Until when it is of use.
        deadline: Millis,
        /// What is asked.
        operation: Operation,
    },
    /// From the local shard or the link. If lost, the question is asked again.
    Reply(RegisterReply),
    /// From the local shard: finish a round on this key. If lost, the shard asks again.
    Settle(RecordKey),
    /// From the local shard: purge this tombstone. If lost, the shard asks again.
    Purge(RecordKey),
    /// From the local shard: settle this key, whose record it cannot read, with the others. If lost,
    /// the shard asks again.
    Rebuild(RecordKey, Abstention),
    /// From gossip.
    PeerUp(MemberId),
    /// From gossip.
    PeerDown(MemberId),
    /// From gossip: a ballot number that some replica has seen.
    HighestSeen(u64),
    /// From the timer.
    Timer,
    /// From the clock, twice a second: full namespaces are looked after.
    Tick,
    /// From tests and diagnosis: runs with the proposer, on the actor's task.
    Inspect(Box<dyn FnOnce(&Proposer) + Send>),
}

impl ractor::Message for ReplicatorMessage {}

/// What a replicator is made of.
pub struct ReplicatorArguments {
    /// Of the proposer.
    pub options: Options,
    /// The node.
    pub directory: Arc<Directory>,
    /// The world.
    pub env: Env,
    /// The acceptor of the same replica.
    pub shard: ActorRef<ShardMessage>,
    /// What it knows, for reads.
    pub acceptor: SharedAcceptor,
}

/// The replicator actor. See the module.
pub struct Replicator;

/// A replicator's state.
pub struct ReplicatorState {
    proposer: Proposer,
    eviction: Eviction,
    shard_id: ShardId,
    member: MemberId,
    directory: Arc<Directory>,
    env: Env,
    shard: ActorRef<ShardMessage>,
    acceptor: SharedAcceptor,
    effects: Vec<Effect>,
}

impl Actor for Replicator {
    type Msg = ReplicatorMessage;
    type State = ReplicatorState;
    type Arguments = ReplicatorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ReplicatorMessage>,
        arguments: ReplicatorArguments,
    ) -> Result<ReplicatorState, ActorProcessingErr> {
        let ReplicatorArguments {
            options,
            directory,
            env,
            shard,
            acceptor,
        } = arguments;
        let (shard_id, member) = (options.shard, options.member);
        let proposer = Proposer::new(options);
        let eviction = Eviction::new(env.entropy.next_u64());
        myself.send_interval(Duration::from_millis(TICK_MS), || ReplicatorMessage::Tick);
        let effects = Vec::new();
        Ok(ReplicatorState {
            proposer,
            eviction,
            shard_id,
            member,
            directory,
            env,
            shard,
            acceptor,
            effects,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<ReplicatorMessage>,
        message: ReplicatorMessage,
        state: &mut ReplicatorState,
    ) -> Result<(), ActorProcessingErr> {
        let event = match message {
            ReplicatorMessage::Ask {
                to,
                deadline,
                operation,
            } => {
                let now = state.env.clock.now();
                let asked = state.eviction.asked(now, &operation);
                state.steps(&myself, asked);
                Event::Ask {
                    origin: Origin::Client(to),
                    deadline,
                    operation,
                }
            }
            ReplicatorMessage::Tick => {
                state.tick(&myself);
                return Ok(());
            }
            ReplicatorMessage::Reply(reply) => Event::Reply(reply),
            ReplicatorMessage::Settle(_) | ReplicatorMessage::Purge(_)
                if state.env.buggify.at(Point::SettleLost) =>
            {
                return Ok(());
            }
            ReplicatorMessage::Settle(key) => Event::Settle(key),
            ReplicatorMessage::Purge(key) => Event::Purge(key),
            ReplicatorMessage::Rebuild(key, abstention) => Event::Rebuild(key, abstention),
            ReplicatorMessage::PeerUp(peer) => Event::PeerUp(peer),
            ReplicatorMessage::PeerDown(peer) => Event::PeerDown(peer),
            ReplicatorMessage::HighestSeen(n) => Event::HighestSeen(n),
            ReplicatorMessage::Timer => {
                let highest_n = state.proposer.highest_n();
                state
                    .directory
                    .report_shard(state.shard_id, |report| report.highest_n = highest_n);
                Event::Timer
            }
            ReplicatorMessage::Inspect(look) => {
                look(&state.proposer);
                return Ok(());
            }
        };
        state.step(&myself, event);
        Ok(())
    }
}

impl ReplicatorState {
    fn step(&mut self, myself: &ActorRef<ReplicatorMessage>, event: Event) {
        let now = self.env.clock.now();
        if self.env.buggify.at(Point::ReservationsForgotten) {
            self.proposer.forget_reserved();
        }
        let mut effects = std::mem::take(&mut self.effects);
        let mut more = Vec::new();
        self.proposer.step(now, event, &mut effects);
        let mut draining = effects.drain(..).peekable();
        while let Some(effect) = draining.next() {
            match effect {
                Effect::Send(to, request) => {
                    // A round says the same to all replicas, one right after the other.
                    let mut all = vec![to];
                    while let Some(Effect::Send(to, _)) =
                        draining.next_if(|next| matches!(next, Effect::Send(_, r) if *r == request))
                    {
                        all.push(to);
                    }
                    more.extend(self.send(&all, request).map(Event::Reply));
                }
                Effect::Answer {
                    origin: Origin::Client(to),
                    time,
                    result,
                } => {
                    answer(
                        &self.directory,
                        &self.env,
                        to,
                        ClientResponse { time, result },
                    );
                }
                Effect::Rebuilt {
                    key,
                    abstention,
                    ballot,
                    register,
                } => {
                    // A shard that is being respawned finds the damage again.
                    let _ = self.shard.cast(ShardMessage::Rebuilt {
                        key,
                        abstention,
                        ballot,
                        register,
                    });
                }
                Effect::Answer {
                    origin: Origin::Local(ticket),
                    time,
                    result,
                } => more.extend(self.eviction.answered(now, ticket, time, result)),
                // Answers to its own scans stay within the proposer.
                Effect::Answer { .. } => {}
                Effect::SetTimer(at) => {
                    let wait = Duration::from_millis(at.since(now));
                    myself.send_after(wait, || ReplicatorMessage::Timer);
                }
            }
        }
        drop(draining);
        self.effects = effects;
        self.steps(myself, more);
    }

    fn steps(&mut self, myself: &ActorRef<ReplicatorMessage>, events: Vec<Event>) {
        for event in events {
            self.step(myself, event);
        }
    }

    fn tick(&mut self, myself: &ActorRef<ReplicatorMessage>) {
        if self.shard_id.is_system() {
            return;
        }
        let now = self.env.clock.now();
        let config = self.directory.config();
        // Deletions would be refused while storage takes no writes.
        let is_first = self.directory.rank(self.shard_id) == 0 && self.env.store.admits_writes();
        let asked = self.eviction.tick(now, config.as_deref(), is_first);
        self.steps(myself, asked);
        let evicted = self.eviction.evicted();
        self.directory
            .report_shard(self.shard_id, |report| report.evicted = evicted);
    }

    /// Sends a request to members; what this node's replica can answer at once is given back.
    fn send(&self, to: &[MemberId], request: RegisterRequest) -> Option<RegisterReply> {
        let peers: Vec<MemberId> = to.iter().copied().filter(|to| *to != self.member).collect();
        let mut answer = None;
        if peers.len() < to.len() {
            answer = self.acceptor.answer(&request);
            if answer.is_none() {
                // A shard that is being respawned is asked again by the round's timer.
                let _ = self.shard.cast(ShardMessage::Request(request.clone()));
            }
        }
        if !peers.is_empty() {
            self.env
                .transport
                .broadcast(&peers, &Frame::Register(request));
        }
        answer
    }
}
