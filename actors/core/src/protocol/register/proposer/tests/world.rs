//! One proposer; the test answers for the acceptors of all three replicas.

use std::sync::Arc;

use super::super::{Effect, Event, Operation, Options, Origin, Proposer};
use crate::planted::Planted;
use crate::types::{
    Ballot, Blob, Change, Condition, Epoch, Incarnation, Key, LogicalTime, MemberId, Millis,
    NamespaceId, RecentWrite, RecordKey, Register, RequestId, ShardId, Write, WriteId,
};
use crate::wire::register::{RegisterReply, ReplyBody, ReplyTo, RequestBody};
use crate::wire::{ClientReply, Entry, RequestError, Written};

pub(super) const ME: MemberId = MemberId(1);
pub(super) const PEER: MemberId = MemberId(2);
pub(super) const OTHER: MemberId = MemberId(3);
pub(super) const ALL: [MemberId; 3] = [ME, PEER, OTHER];
/// How long the operations of these tests may take, in milliseconds.
pub(super) const PATIENCE_MS: u64 = 1_000;

const INCARNATION: Incarnation = Incarnation {
    boot: 4,
    respawn: 2,
};

/// A ballot of this proposer.
pub(super) fn own(n: u64) -> Ballot {
    Ballot {
        n,
        member: ME,
        incarnation: INCARNATION,
    }
}

/// A ballot of another proposer.
pub(super) fn theirs(n: u64) -> Ballot {
    Ballot {
        n,
        member: PEER,
        incarnation: Incarnation::default(),
    }
}

pub(super) fn named(name: &str) -> RecordKey {
    RecordKey {
        namespace: NamespaceId(1),
        key: Key::new(name).expect("short and not empty"),
    }
}

pub(super) fn key() -> RecordKey {
    named("k")
}

/// What another proposer wrote at `n`; its logical time is `n` milliseconds.
pub(super) fn register(n: u64, value: Option<&str>) -> Arc<Register> {
    let recent = RecentWrite {
        ballot: theirs(n),
        write: WriteId {
            client: 99,
            sequence: n,
        },
        time: LogicalTime::from_millis(Millis(n)),
        found: false,
    };
    Arc::new(Register {
        vtag: theirs(n),
        value: value.map(Blob::from),
        recent: vec![recent],
        ..Register::default()
    })
}

pub(super) fn entry(n: u64, value: &str) -> Entry {
    Entry {
        value: Blob::from(value),
        version: theirs(n),
        tags: Vec::new(),
        expires_at: None,
    }
}

pub(super) fn write(sequence: u64, value: &str, condition: Condition) -> Write {
    Write {
        change: Change::Put {
            value: Blob::from(value),
            tags: Vec::new(),
            expires_at: None,
        },
        condition,
        id: WriteId {
            client: 1,
            sequence,
        },
        since: LogicalTime::from_millis(Millis(900_000)),
    }
}

pub(super) fn put(sequence: u64, value: &str) -> Operation {
    Operation::Put {
        key: key(),
        write: write(sequence, value, Condition::Any),
    }
}

pub(super) fn get() -> Operation {
    Operation::Get {
        key: key(),
        with_value: true,
    }
}

/// A promise of `ballot` by who has accepted this, or nothing.
pub(super) fn promise(ballot: Ballot, accepted: Option<(Ballot, &Arc<Register>)>) -> ReplyBody {
    ReplyBody::Promise {
        ballot,
        accepted: accepted.map_or(Ballot::ZERO, |(ballot, _)| ballot),
        register: accepted.map(|(_, register)| register.clone()),
        floor_time: LogicalTime(0),
    }
}

pub(super) fn accepted(ballot: Ballot) -> ReplyBody {
    ReplyBody::Accepted { ballot }
}

pub(super) fn nack(ballot: Ballot, seen: Ballot) -> ReplyBody {
    ReplyBody::Nack { ballot, seen }
}

pub(super) fn written(version: Ballot, found: bool) -> Result<ClientReply, RequestError> {
    Ok(ClientReply::Written(Written { version, found }))
}

pub(super) fn found(entry: Option<Entry>) -> Result<ClientReply, RequestError> {
    Ok(ClientReply::Entry(entry))
}

/// Who is asked what, and by which request: one body for all who are asked the same.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Asked {
    pub(super) of: Vec<MemberId>,
    pub(super) request: RequestId,
    pub(super) body: RequestBody,
}

/// The questions among effects, but what is announced as learned.
pub(super) fn asked(effects: &[Effect]) -> Vec<Asked> {
    let mut all: Vec<Asked> = Vec::new();
    for effect in effects {
        let Effect::Send(to, request) = effect else {
            continue;
        };
        let (id, body) = (request.reply_to.request, &request.body);
        match all
            .iter_mut()
            .find(|asked| asked.request == id && asked.body == *body)
        {
            _ if matches!(body, RequestBody::Learn { .. }) => {}
            Some(asked) => asked.of.push(*to),
            None => all.push(Asked {
                of: vec![*to],
                request: id,
                body: body.clone(),
            }),
        }
    }
    all
}

/// The only question among effects.
pub(super) fn one(effects: &[Effect]) -> Asked {
    let mut all = asked(effects);
    assert_eq!(all.len(), 1, "one question: {effects:?}");
    all.remove(0)
}

/// The `Prepare` among effects, sent to everybody: its request and ballot.
pub(super) fn prepared(effects: &[Effect]) -> (RequestId, Ballot) {
    let asked = one(effects);
    let RequestBody::Prepare { ballot, .. } = asked.body else {
        panic!("not a prepare: {asked:?}");
    };
    assert_eq!(asked.of, ALL);
    (asked.request, ballot)
}

/// An `Accept` that was sent to everybody.
pub(super) struct Accepting {
    pub(super) request: RequestId,
    pub(super) ballot: Ballot,
    pub(super) register: Arc<Register>,
    pub(super) next: Ballot,
}

/// The `Accept` among effects.
pub(super) fn accepting(effects: &[Effect]) -> Accepting {
    let asked = one(effects);
    let RequestBody::Accept {
        ballot,
        register,
        next,
        ..
    } = asked.body
    else {
        panic!("not an accept: {asked:?}");
    };
    assert_eq!(asked.of, ALL);
    Accepting {
        request: asked.request,
        ballot,
        register,
        next,
    }
}

/// The answers among effects, by the number of the question.
pub(super) fn answers(effects: &[Effect]) -> Vec<(u64, Result<ClientReply, RequestError>)> {
    let answer = |effect: &Effect| match effect {
        Effect::Answer {
            origin: Origin::Local(number),
            result,
            ..
        } => Some((*number, result.clone())),
        _ => None,
    };
    effects.iter().filter_map(answer).collect()
}

/// A proposer whose peers are reachable.
pub(super) struct World {
    pub(super) proposer: Proposer,
    pub(super) now: Millis,
    questions: u64,
}

impl World {
    pub(super) fn new() -> World {
        let mut world = World {
            proposer: Proposer::new(Options {
                shard: ShardId(0),
                member: ME,
                incarnation: INCARNATION,
                epoch: Epoch(1),
                members: ALL.to_vec(),
                seed: 1,
                planted: Planted::default(),
            }),
            now: Millis(1_000_000),
            questions: 0,
        };
        for peer in [PEER, OTHER] {
            assert_eq!(world.step(Event::PeerUp(peer)), []);
        }
        world
    }

    pub(super) fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.proposer.step(self.now, event, &mut effects);
        effects
    }

    /// Asks; the questions are numbered from 1.
    pub(super) fn ask(&mut self, operation: Operation) -> Vec<Effect> {
        self.questions += 1;
        let event = Event::Ask {
            origin: Origin::Local(self.questions),
            deadline: self.now.plus(PATIENCE_MS),
            operation,
        };
        self.step(event)
    }

    /// A replica answers.
    pub(super) fn answer(
        &mut self,
        from: MemberId,
        request: RequestId,
        body: ReplyBody,
    ) -> Vec<Effect> {
        let reply_to = ReplyTo {
            member: ME,
            incarnation: INCARNATION,
            request,
        };
        self.step(Event::Reply(RegisterReply {
            shard: ShardId(0),
            reply_to,
            from,
            body,
        }))
    }

    /// Replicas answer the same, one after the other.
    pub(super) fn answer_all(
        &mut self,
        from: &[MemberId],
        request: RequestId,
        body: &ReplyBody,
    ) -> Vec<Effect> {
        let each = from
            .iter()
            .flat_map(|from| self.answer(*from, request, body.clone()));
        each.collect()
    }

    /// Time passes, and the timer comes.
    pub(super) fn wait(&mut self, ms: u64) -> Vec<Effect> {
        self.now = self.now.plus(ms);
        self.step(Event::Timer)
    }

    /// Puts a value into an empty register, with two round trips; returns the accepted round.
    pub(super) fn put_first(&mut self, value: &str) -> Accepting {
        let effects = self.ask(put(1, value));
        let (request, ballot) = prepared(&effects);
        let effects = self.answer_all(&[ME, PEER], request, &promise(ballot, None));
        let accept = accepting(&effects);
        let effects = self.answer_all(&[ME, PEER], accept.request, &accepted(accept.ballot));
        assert_eq!(answers(&effects).len(), 1);
        accept
    }
}
