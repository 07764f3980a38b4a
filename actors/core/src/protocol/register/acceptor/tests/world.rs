//! One acceptor and its disk. Loads and ranges are answered at once from what is durable; appends
//! wait until the test says that they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::super::{Acceptor, Effect, Event, Options};
use crate::storage::format::{Record, ShardMeta, open, seal};
use crate::storage::{Keyspace, RangePage, RangeQuery, WriteBatch, WriteOp, keys};
use crate::types::{
    Ballot, Blob, Epoch, Incarnation, IoId, Key, LogicalTime, Lseq, MemberId, Millis, NamespaceId,
    RecentWrite, RecordKey, Register, RequestId, ShardId, WriteId,
};
use crate::wire::register::{
    Fetched, RegisterReply, RegisterRequest, ReplyBody, ReplyTo, RequestBody,
};

pub(super) const SHARD: ShardId = ShardId(0);
pub(super) const ME: MemberId = MemberId(1);
/// A peer, which proposes in these tests.
pub(super) const PEER: MemberId = MemberId(2);
pub(super) const OTHER: MemberId = MemberId(3);

pub(super) fn ballot(n: u64) -> Ballot {
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

/// A register that one write made at logical time 100.
fn register(value: Option<&str>) -> Arc<Register> {
    let write = WriteId {
        client: 1,
        sequence: 1,
    };
    let recent = RecentWrite {
        ballot: ballot(1),
        write,
        time: LogicalTime(100),
        found: false,
    };
    Arc::new(Register {
        vtag: ballot(1),
        value: value.map(Blob::from),
        recent: vec![recent],
        ..Register::default()
    })
}

pub(super) fn value(text: &str) -> Arc<Register> {
    register(Some(text))
}

pub(super) fn tombstone() -> Arc<Register> {
    register(None)
}

pub(super) fn read() -> RequestBody {
    RequestBody::Read {
        key: key(),
        with_register: true,
    }
}

pub(super) fn prepare(n: u64) -> RequestBody {
    RequestBody::Prepare {
        key: key(),
        ballot: ballot(n),
        have: Ballot::ZERO,
    }
}

pub(super) fn accept(n: u64, register: &Arc<Register>) -> RequestBody {
    accept_at(&key(), n, register, 0)
}

/// `next` of 0 reserves nothing.
pub(super) fn accept_at(
    key: &RecordKey,
    n: u64,
    register: &Arc<Register>,
    next: u64,
) -> RequestBody {
    RequestBody::Accept {
        key: key.clone(),
        ballot: ballot(n),
        register: register.clone(),
        next: if next == 0 {
            Ballot::ZERO
        } else {
            ballot(next)
        },
    }
}

pub(super) fn learn(n: u64) -> RequestBody {
    RequestBody::Learn {
        chosen: vec![(key(), ballot(n))],
    }
}

pub(super) fn purge(n: u64) -> RequestBody {
    RequestBody::Purge {
        key: key(),
        ballot: ballot(n),
    }
}

pub(super) fn promise(n: u64, accepted: u64, register: Option<&Arc<Register>>) -> ReplyBody {
    ReplyBody::Promise {
        ballot: ballot(n),
        accepted: if accepted == 0 {
            Ballot::ZERO
        } else {
            ballot(accepted)
        },
        register: register.cloned(),
        floor_time: LogicalTime(0),
    }
}

pub(super) fn accepted(n: u64) -> ReplyBody {
    ReplyBody::Accepted { ballot: ballot(n) }
}

pub(super) fn nack(n: u64, seen: u64) -> ReplyBody {
    ReplyBody::Nack {
        ballot: ballot(n),
        seen: ballot(seen),
    }
}

/// What a peer sends of a record that it accepted at `n`.
pub(super) fn newer(n: u64, register: &Arc<Register>) -> Fetched {
    Fetched::Newer(Record {
        promise: ballot(n),
        accepted: ballot(n),
        register: register.clone(),
        lseq: Lseq(7),
    })
}

/// The answers among effects.
pub(super) fn replies(effects: &[Effect]) -> Vec<ReplyBody> {
    let body = |effect: &Effect| match effect {
        Effect::Reply(reply) => Some(reply.body.clone()),
        _ => None,
    };
    effects.iter().filter_map(body).collect()
}

/// The questions to peers among effects.
pub(super) fn asked(effects: &[Effect]) -> Vec<(MemberId, RequestId, RequestBody)> {
    let sent = |effect: &Effect| match effect {
        Effect::Send(to, request) => Some((*to, request.reply_to.request, request.body.clone())),
        _ => None,
    };
    effects.iter().filter_map(sent).collect()
}

/// An acceptor on a disk.
pub(super) struct World {
    pub(super) acceptor: Acceptor,
    pub(super) now: Millis,
    disk: BTreeMap<Keyspace, BTreeMap<Bytes, Bytes>>,
    queued: Vec<(IoId, WriteBatch)>,
    requests: u64,
}

impl World {
    /// Not started. One of three replicas; what it says of purges and indexes is in `options`.
    pub(super) fn new(change: impl FnOnce(&mut Options)) -> World {
        World {
            acceptor: Acceptor::new(World::options(change)),
            now: Millis(1_000_000),
            disk: BTreeMap::new(),
            queued: Vec::new(),
            requests: 0,
        }
    }

    fn options(change: impl FnOnce(&mut Options)) -> Options {
        let mut options = Options::new(SHARD, ME, Incarnation::default());
        options.members = vec![ME, PEER, OTHER];
        change(&mut options);
        options
    }

    /// One that votes.
    pub(super) fn serving() -> World {
        World::serving_with(|_| {})
    }

    pub(super) fn serving_with(change: impl FnOnce(&mut Options)) -> World {
        let mut world = World::new(change);
        world.begin();
        assert!(world.acceptor.is_serving());
        world
    }

    fn begin(&mut self) {
        self.step(Event::Start);
        self.sync();
        self.step(Event::Witnessed);
    }

    /// Power is cut and comes back: what was not durable is gone, and a new life begins.
    pub(super) fn restart(&mut self, change: impl FnOnce(&mut Options)) {
        self.queued.clear();
        self.acceptor = Acceptor::new(World::options(change));
        self.begin();
    }

    /// Takes an event, answers what is read, and returns all other effects but appends.
    pub(super) fn step(&mut self, event: Event) -> Vec<Effect> {
        let mut rest = Vec::new();
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let mut effects = Vec::new();
            self.acceptor.step(self.now, event, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Append(io, batch) => self.queued.push((io, batch)),
                    Effect::Load(io, keyspace, key) => {
                        let found = self.durable(keyspace, &key);
                        events.insert(0, Event::Loaded(io, found));
                    }
                    Effect::Range(io, query) => {
                        let page = self.page(&query);
                        events.insert(0, Event::Ranged(io, page));
                    }
                    other => rest.push(other),
                }
            }
        }
        rest
    }

    /// Everything that was appended is durable now.
    pub(super) fn sync(&mut self) -> Vec<Effect> {
        let mut rest = Vec::new();
        while !self.queued.is_empty() {
            let (io, batch) = self.queued.remove(0);
            for op in batch.ops {
                match op {
                    WriteOp::Put {
                        keyspace,
                        key,
                        value,
                    } => {
                        self.disk.entry(keyspace).or_default().insert(key, value);
                    }
                    WriteOp::Remove { keyspace, key } => {
                        self.disk.entry(keyspace).or_default().remove(&key);
                    }
                }
            }
            rest.extend(self.step(Event::Durable(io)));
        }
        rest
    }

    /// How many appends are not durable yet.
    pub(super) fn in_flight(&self) -> usize {
        self.queued.len()
    }

    /// Asks as the proposer of `PEER`.
    pub(super) fn ask(&mut self, body: RequestBody) -> Vec<Effect> {
        self.ask_in(Epoch(1), body)
    }

    pub(super) fn ask_in(&mut self, epoch: Epoch, body: RequestBody) -> Vec<Effect> {
        let request = self.request_in(epoch, body);
        self.step(request)
    }

    /// A question of the proposer of `PEER`, not yet asked.
    pub(super) fn request(&mut self, body: RequestBody) -> Event {
        self.request_in(Epoch(1), body)
    }

    fn request_in(&mut self, epoch: Epoch, body: RequestBody) -> Event {
        self.requests += 1;
        let reply_to = ReplyTo {
            member: PEER,
            incarnation: Incarnation::default(),
            request: RequestId(self.requests),
        };
        Event::Request(RegisterRequest {
            shard: SHARD,
            epoch,
            reply_to,
            body,
        })
    }

    /// Asks, waits for the disk, and returns the answers.
    pub(super) fn tell(&mut self, body: RequestBody) -> Vec<ReplyBody> {
        let mut effects = self.ask(body);
        effects.extend(self.sync());
        replies(&effects)
    }

    /// A peer answers a catch-up question.
    pub(super) fn answered(
        &mut self,
        from: MemberId,
        request: RequestId,
        body: ReplyBody,
    ) -> Vec<Effect> {
        let reply_to = ReplyTo {
            member: ME,
            incarnation: Incarnation::default(),
            request,
        };
        self.step(Event::Reply(RegisterReply {
            shard: SHARD,
            reply_to,
            from,
            body,
        }))
    }

    /// Both peers' logs are empty and were followed to their end.
    pub(super) fn catch_up_with_silent_peers(&mut self) {
        for peer in [PEER, OTHER] {
            let effects = self.step(Event::PeerUp(peer));
            let Some((_, request, _)) = asked(&effects).first().cloned() else {
                panic!("a peer that is up is followed");
            };
            let body = ReplyBody::Changes {
                changes: Vec::new(),
                upto: Lseq(0),
                more: false,
            };
            self.answered(peer, request, body);
        }
    }

    fn durable(&self, keyspace: Keyspace, key: &Bytes) -> Option<Bytes> {
        self.disk.get(&keyspace)?.get(key).cloned()
    }

    /// The record on disk.
    pub(super) fn record(&self) -> Option<Record> {
        let bytes = self.durable(Keyspace::Records, &keys::record(SHARD, &key()))?;
        Some(open(&bytes).expect("sound"))
    }

    /// The shard's metadata on disk.
    pub(super) fn meta(&self) -> ShardMeta {
        let bytes = self.durable(Keyspace::Meta, &keys::shard_meta(SHARD));
        open(&bytes.expect("written with the first record")).expect("sound")
    }

    /// How many pairs a keyspace holds.
    pub(super) fn count(&self, keyspace: Keyspace) -> usize {
        self.disk.get(&keyspace).map_or(0, BTreeMap::len)
    }

    /// The bytes of a key on disk are no longer what was written.
    pub(super) fn damage(&mut self, keyspace: Keyspace, key: &Bytes) {
        let found = self
            .disk
            .get_mut(&keyspace)
            .and_then(|all| all.get_mut(key));
        let found = found.expect("there is something to damage");
        let mut bytes = found.to_vec();
        let last = bytes.last_mut().expect("not empty");
        *last ^= 1;
        *found = bytes.into();
    }

    /// Puts metadata on the disk, as an earlier life left it.
    pub(super) fn put_meta(&mut self, meta: &ShardMeta) {
        let metas = self.disk.entry(Keyspace::Meta).or_default();
        metas.insert(keys::shard_meta(SHARD), seal(meta));
    }

    fn page(&self, query: &RangeQuery) -> RangePage {
        let all = self.disk.get(&query.keyspace).into_iter().flatten();
        let within = all.filter(|(key, _)| **key >= query.from && **key < query.to);
        let mut entries: Vec<(Bytes, Bytes)> = within
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let more = entries.len() > query.limit_entries;
        entries.truncate(query.limit_entries);
        RangePage { entries, more }
    }
}
