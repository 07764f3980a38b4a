//! The proposer: runs rounds for the keys of one shard against the acceptors of all its replicas.
//!
//! | operation | messages | answered when |
//! |---|---|---|
//! | get | `Read` to this replica and one peer | both have accepted the same ballot |
//! | get, replicas differ | an identity round | a majority holds the register |
//! | put, right after a round of this proposer | `Accept` | a majority accepted |
//! | put | `Prepare`, `Accept` | a majority accepted |
//! | failed compare | `Prepare`, and `Accept` unless the promises agree | a majority holds it |
//! | rebuilding a damaged record | `Prepare`, `Accept` | a majority accepted, this replica abstaining |
//!
//! One queue per key: one round at a time. A get that is queued before the `Accept` of a round
//! leaves is answered by that round. Operations that outlive their deadline are answered with
//! `Unknown` if an `Accept` ever left for them, else with an error that says nothing happened.

mod key_queue;
mod propose;
mod reads;
mod ready;
mod replies;
mod rounds;
mod scans;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use self::key_queue::{Job, JobKind, KeyState};
use self::reads::ReadRound;
use self::ready::Reserved;
use self::scans::ScanRound;
use super::acceptor::Abstention;
use crate::limits::REPLICATOR_OPERATIONS_MAX;
use crate::placement::in_turn;
use crate::planted::{Bug, Planted};
use crate::protocol::random::Random;
use crate::types::{
    Ballot, Epoch, Incarnation, Key, LogicalClock, LogicalTime, MemberId, Millis, RecordKey,
    Register, RequestId, ShardId, Write,
};
use crate::wire::register::{RegisterReply, RegisterRequest, ReplyTo, RequestBody};
use crate::wire::{ClientReply, Entry, RequestError, ReturnAddress, Scan};

/// What a proposer is told when it is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its shard.
    pub shard: ShardId,
    /// The replica it belongs to.
    pub member: MemberId,
    /// Its life; part of every ballot it makes.
    pub incarnation: Incarnation,
    /// The shard's membership version.
    pub epoch: Epoch,
    /// All replicas of the shard.
    pub members: Vec<MemberId>,
    /// Seed of its randomness, which only spreads retries.
    pub seed: u64,
    /// A bug planted by the simulator; none in production.
    pub planted: Planted,
}

/// Whom an answer is for.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// A client of this node or another.
    Client(ReturnAddress),
    /// An actor of this node, which knows the number.
    Local(u64),
    /// A scan of this proposer that needs one key read by a quorum.
    Scan(RequestId, Key),
}

/// What is asked of a proposer.
#[derive(Clone, PartialEq, Debug)]
pub enum Operation {
    /// Reads a key.
    Get {
        /// Which.
        key: RecordKey,
        /// Whether the value is wanted.
        with_value: bool,
    },
    /// Changes a key.
    Put {
        /// Which.
        key: RecordKey,
        /// How.
        write: Write,
    },
    /// Reads a page of this shard's keys.
    Scan(Scan),
}

/// What happens to a proposer.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Somebody asks.
    Ask {
        /// Who.
        origin: Origin,
        /// Until when the answer is of use.
        deadline: Millis,
        /// What.
        operation: Operation,
    },
    /// A replica answers.
    Reply(RegisterReply),
    /// This replica's acceptor wants a round finished on a key.
    Settle(RecordKey),
    /// This replica's acceptor wants a tombstone purged.
    Purge(RecordKey),
    /// This replica's acceptor cannot read its record of a key, and abstains.
    Rebuild(RecordKey, Abstention),
    /// A peer is reachable.
    PeerUp(MemberId),
    /// A peer is not reachable.
    PeerDown(MemberId),
    /// Some replica has seen a ballot of this number.
    HighestSeen(u64),
    /// The time asked for by [`Effect::SetTimer`] has come.
    Timer,
}

/// What a proposer wants done.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Ask a replica, perhaps this one.
    Send(MemberId, RegisterRequest),
    /// Answer.
    Answer {
        /// Whom.
        origin: Origin,
        /// The logical time that the receiver merges.
        time: LogicalTime,
        /// What.
        result: Result<ClientReply, RequestError>,
    },
    /// Answers [`Event::Rebuild`], to this replica's acceptor: a majority has accepted a register, in a
    /// round begun since.
    Rebuilt {
        /// Which key.
        key: RecordKey,
        /// As asked.
        abstention: Abstention,
        /// The round's ballot.
        ballot: Ballot,
        /// What was accepted.
        register: Arc<Register>,
    },
    /// Report [`Event::Timer`] at this time. Only the earliest one asked for since the last
    /// [`Event::Timer`] counts.
    SetTimer(Millis),
}

/// What a request id stands for.
#[derive(Clone, Debug)]
enum Asked {
    Round(RecordKey),
    Read,
    Scan,
}

/// Runs rounds for one shard. See the module for its operations.
#[derive(Clone, Debug)]
pub struct Proposer {
    options: Options,
    random: Random,
    clock: LogicalClock,
    highest_n: u64,
    live: BTreeSet<MemberId>,
    keys: BTreeMap<RecordKey, KeyState>,
    reserved: Reserved,
    asked: BTreeMap<RequestId, Asked>,
    reads: BTreeMap<RequestId, ReadRound>,
    scans: BTreeMap<RequestId, ScanRound>,
    chosen: Vec<(RecordKey, Ballot)>,
    chosen_since: Option<Millis>,
    operations: usize,
    next_request: RequestId,
    timer: Option<Millis>,
}

/// A round's messages are sent again to those who did not answer after so long, in milliseconds.
const RESEND_MS: u64 = 60;
/// A read or scan asks further replicas after so long, in milliseconds.
const HEDGE_MS: u64 = 25;
/// Learned ballots are announced in batches, at the latest after so long, in milliseconds.
const LEARN_MS: u64 = 40;
/// Learned ballots are announced at once when there are so many.
const LEARN_BATCH: usize = 128;

impl Proposer {
    /// A proposer at the beginning of a life. No peer counts as reachable yet.
    pub fn new(options: Options) -> Proposer {
        Proposer {
            random: Random::new(options.seed),
            reserved: Reserved::new(options.planted),
            live: BTreeSet::from([options.member]),
            options,
            clock: LogicalClock::default(),
            highest_n: 0,
            keys: BTreeMap::new(),
            asked: BTreeMap::new(),
            reads: BTreeMap::new(),
            scans: BTreeMap::new(),
            chosen: Vec::new(),
            chosen_since: None,
            operations: 0,
            next_request: RequestId(1),
            timer: None,
        }
    }

    /// Takes one event; adds what it wants done to `out`, in order.
    pub fn step(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Ask {
                origin,
                deadline,
                operation,
            } => {
                self.operation(now, origin, deadline, operation, out);
            }
            Event::Reply(reply) => self.reply(now, reply, out),
            Event::Settle(key) => self.enqueue_own(now, key, JobKind::Settle, out),
            Event::Rebuild(key, abstention) => self.rebuild(now, key, abstention, out),
            Event::Purge(key) => {
                // A purge needs every replica; trying without one would only rewrite tombstones.
                if self
                    .options
                    .members
                    .iter()
                    .all(|member| self.live.contains(member))
                {
                    self.enqueue_own(now, key, JobKind::Purge, out);
                }
            }
            Event::PeerUp(peer) => self.peer_up(now, peer, out),
            Event::PeerDown(peer) => {
                if peer != self.options.member {
                    self.live.remove(&peer);
                }
            }
            Event::HighestSeen(n) => self.highest_n = self.highest_n.max(n),
            Event::Timer => self.timer(now, out),
        }
    }

    /// Lets go of the reserved ballots: the next writes prepare.
    pub fn forget_reserved(&mut self) {
        self.reserved.clear();
    }

    /// How many operations are under way.
    pub fn in_flight(&self) -> usize {
        self.operations
    }

    /// Whether an answer to this question would be looked at.
    pub fn awaits(&self, question: &ReplyTo) -> bool {
        question.member == self.options.member
            && question.incarnation == self.options.incarnation
            && self.asked.contains_key(&question.request)
    }

    /// The highest ballot number seen.
    pub fn highest_n(&self) -> u64 {
        self.highest_n
    }

    fn operation(
        &mut self,
        now: Millis,
        origin: Origin,
        deadline: Millis,
        operation: Operation,
        out: &mut Vec<Effect>,
    ) {
        if self.operations >= REPLICATOR_OPERATIONS_MAX {
            let error = RequestError::Overloaded { retry_after_ms: 20 };
            return self.emit(now, origin, Err(error), out);
        }
        if deadline <= now {
            let error = "it came when its time was over".into();
            return self.emit(now, origin, Err(RequestError::NotApplied(error)), out);
        }
        self.operations += 1;
        match operation {
            Operation::Get { key, with_value } => {
                self.read(now, origin, deadline, key, with_value, out);
            }
            Operation::Put { key, write } => {
                self.clock.merge(write.since);
                let kind = JobKind::Put { write };
                self.enqueue(now, key, Job::new(Some(origin), deadline, kind), out);
            }
            Operation::Scan(scan) => self.scan(now, origin, deadline, scan, out),
        }
    }

    /// Gives an operation's answer, and forgets it.
    fn answer(
        &mut self,
        now: Millis,
        origin: Origin,
        result: Result<ClientReply, RequestError>,
        out: &mut Vec<Effect>,
    ) {
        self.operations -= 1;
        match origin {
            Origin::Scan(scan, key) => self.scan_key_read(now, scan, key, result, out),
            origin => self.emit(now, origin, result, out),
        }
    }

    fn emit(
        &mut self,
        now: Millis,
        origin: Origin,
        result: Result<ClientReply, RequestError>,
        out: &mut Vec<Effect>,
    ) {
        out.push(Effect::Answer {
            origin,
            time: self.clock.peek(now),
            result,
        });
    }

    fn majority(&self) -> usize {
        self.options.members.len() / 2 + 1
    }

    fn ballot(&mut self) -> Ballot {
        self.highest_n += 1;
        Ballot {
            n: self.highest_n,
            member: self.options.member,
            incarnation: self.options.incarnation,
        }
    }

    fn request_id(&mut self, asked: Asked) -> RequestId {
        let id = self.next_request;
        self.next_request = RequestId(id.0 + 1);
        self.asked.insert(id, asked);
        id
    }

    fn send(&self, to: MemberId, request: RequestId, body: RequestBody, out: &mut Vec<Effect>) {
        let Options {
            shard,
            epoch,
            member,
            incarnation,
            ..
        } = self.options;
        let reply_to = ReplyTo {
            member,
            incarnation,
            request,
        };
        out.push(Effect::Send(
            to,
            RegisterRequest {
                shard,
                epoch,
                reply_to,
                body,
            },
        ));
    }

    /// Reachable peers, in the order in which they are to be asked.
    fn live_peers(&self, now: Millis) -> Vec<MemberId> {
        let live = self.live.iter().copied();
        let peers = live.filter(|peer| *peer != self.options.member);
        in_turn(peers.collect(), now)
    }

    fn peer_up(&mut self, now: Millis, peer: MemberId, out: &mut Vec<Effect>) {
        if self.options.members.contains(&peer) && self.live.insert(peer) {
            self.resend_to(now, peer, out);
        }
    }

    /// Notes that a ballot was chosen; the replicas are told soon.
    fn learned(&mut self, now: Millis, key: RecordKey, ballot: Ballot, out: &mut Vec<Effect>) {
        self.chosen.push((key, ballot));
        if self.chosen.len() >= LEARN_BATCH {
            self.announce(out);
        } else if self.chosen_since.is_none() {
            self.chosen_since = Some(now);
            self.wake_at(now.plus(LEARN_MS), out);
        }
    }

    fn announce(&mut self, out: &mut Vec<Effect>) {
        self.chosen_since = None;
        let chosen = std::mem::take(&mut self.chosen);
        if !chosen.is_empty() {
            for &member in &self.options.members {
                let body = RequestBody::Learn {
                    chosen: chosen.clone(),
                };
                self.send(member, RequestId(0), body, out);
            }
        }
    }

    fn wake_at(&mut self, at: Millis, out: &mut Vec<Effect>) {
        if self.timer.is_none_or(|armed| at < armed) {
            self.timer = Some(at);
            out.push(Effect::SetTimer(at));
        }
    }

    fn timer(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if let Some(armed) = self.timer.filter(|armed| *armed > now) {
            if self.options.planted.is(Bug::TimerForgotten) {
                return;
            }
            // The clock was set back meanwhile: the operations are still due.
            return out.push(Effect::SetTimer(armed));
        }
        self.timer = None;
        if self
            .chosen_since
            .is_some_and(|since| now.since(since) >= LEARN_MS)
        {
            self.announce(out);
        }
        self.reads_timer(now, out);
        self.scans_timer(now, out);
        self.keys_timer(now, out);
        let next = [
            self.chosen_since.map(|since| since.plus(LEARN_MS)),
            self.reads.values().map(ReadRound::wakes_at).min(),
            self.scans.values().map(ScanRound::wakes_at).min(),
            self.keys.values().map(KeyState::wakes_at).min(),
        ];
        if let Some(at) = next.into_iter().flatten().min() {
            self.wake_at(at.max(now.plus(1)), out);
        }
    }
}

/// The client's view of a register; none if it holds no value.
pub(crate) fn entry(register: &Register, with_value: bool) -> Option<Entry> {
    let value = register.value.as_ref()?;
    Some(Entry {
        value: if with_value {
            value.clone()
        } else {
            Default::default()
        },
        version: register.vtag,
        tags: register.tags.clone(),
        expires_at: register.expires_at,
    })
}
