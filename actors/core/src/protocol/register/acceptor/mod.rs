//! The acceptor: one replica of one shard. It owns the shard's records and votes on them.
//!
//! States: `Recovering` (barrier through storage, then metadata, then the unlearned end of the
//! change log) → `Waiting` (until another replica has witnessed that this disk lost nothing) →
//! `Serving`. Before `Serving` it answers `NotVoting` to everything.
//!
//! Records are read through a cache. A miss emits [`Effect::Load`]; jobs on that key wait in order
//! behind it. A change emits [`Effect::Append`]; every answer that reveals the new state is held
//! here until [`Event::Durable`]. Appends become durable in order.

mod catch_up;
mod event;
mod freshness;
mod gather;
mod gone;
mod housekeeping;
mod jobs;
mod log;
mod peek;
mod rebuild;
mod recovery;
mod scan;
mod scrub;
mod tail;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

pub use self::event::{Effect, Event, FeedEntry, FeedPage, Options, Status, TICK_MS};
pub use self::rebuild::Abstention;

use self::catch_up::CatchUp;
use self::freshness::Freshness;
use self::gather::Gather;
use self::gone::Gone;
use self::housekeeping::Housekeeping;
use self::jobs::Job;
use self::log::ChangeLog;
use self::rebuild::Damaged;
use self::recovery::Stage;
use self::scrub::Scrub;
use self::tail::Tail;
use self::watch::Watches;
use super::cache::{RecordCache, Slot};
use crate::limits::SHARD_WAITING_MAX;
use crate::planted::Bug;
use crate::storage::format::{Record, ShardMeta};
use crate::storage::keys;
use crate::types::{Epoch, IoId, Lseq, MemberId, Millis, RecordKey, RequestId};
use crate::wire::register::{RegisterReply, RegisterRequest, ReplyBody, ReplyTo, RequestBody};

/// One replica of one shard. See the module for its states.
#[derive(Clone, Debug)]
pub struct Acceptor {
    options: Options,
    stage: Stage,
    witnessed: bool,
    meta: ShardMeta,
    cache: RecordCache,
    log: ChangeLog,
    tail: Tail,
    /// Positions below this one may be given out: the metadata on disk says so.
    reserved_below: Lseq,
    loading: BTreeMap<RecordKey, VecDeque<Job>>,
    loads: BTreeMap<IoId, RecordKey>,
    ranges: BTreeMap<IoId, scan::RangeUse>,
    held: BTreeMap<IoId, Vec<Effect>>,
    waiting: usize,
    gathers: BTreeMap<u64, Gather>,
    next_gather: u64,
    catch_up: CatchUp,
    freshness: Freshness,
    housekeeping: Housekeeping,
    gone: Gone,
    damaged: Damaged,
    scrub: Scrub,
    watches: Watches,
    next_io: IoId,
    durable: IoId,
    next_request: RequestId,
    advanced: Lseq,
    purged: u64,
}

impl Acceptor {
    /// An acceptor at the beginning of a life. It does nothing before [`Event::Start`].
    pub fn new(options: Options) -> Acceptor {
        let peers: Vec<MemberId> = options
            .members
            .iter()
            .copied()
            .filter(|member| *member != options.member)
            .collect();
        let planted = options.planted;
        Acceptor {
            // A shard of one replica has nobody who could have seen more than its disk holds.
            witnessed: peers.is_empty() || planted.is(Bug::UnwitnessedVotes),
            catch_up: CatchUp::new(&peers),
            gone: Gone::new(options.indexed && !planted.is(Bug::PurgeBeforeIndexed)),
            watches: Watches::default(),
            log: ChangeLog::new(planted),
            cache: RecordCache::new(options.cache_bytes, planted),
            options,
            stage: Stage::Created,
            meta: ShardMeta::default(),
            tail: Tail::default(),
            reserved_below: Lseq(0),
            freshness: Freshness::default(),
            loading: BTreeMap::new(),
            loads: BTreeMap::new(),
            ranges: BTreeMap::new(),
            held: BTreeMap::new(),
            waiting: 0,
            gathers: BTreeMap::new(),
            next_gather: 0,
            housekeeping: Housekeeping::default(),
            damaged: Damaged::default(),
            scrub: Scrub::default(),
            next_io: IoId(1),
            durable: IoId(0),
            next_request: RequestId(1),
            advanced: Lseq(0),
            purged: 0,
        }
    }

    /// Takes one event; adds what it wants done to `out`, in order.
    pub fn step(&mut self, now: Millis, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Start => self.start(out),
            Event::Witnessed => self.witness(out),
            Event::Request(request) => self.request(now, request, out),
            Event::Reply(reply) => self.catch_up_reply(now, reply, out),
            Event::Loaded(io, bytes) => self.loaded(now, io, bytes, out),
            Event::Ranged(io, page) => self.ranged(now, io, page, out),
            Event::Unreadable(io) => self.unreadable(now, io, out),
            Event::Durable(io) => self.became_durable(io, out),
            Event::Feed {
                token,
                after,
                limit,
            } => self.feed(now, token, after, limit, out),
            Event::Watch(query) => self.watch(now, query, out),
            Event::Freshen { token, fed } => self.freshen(now, token, fed, out),
            Event::Indexed(upto) => self.gone.indexed(upto),
            Event::Rebuilt {
                key,
                abstention,
                ballot,
                register,
            } => {
                let job = Job::Rebuild {
                    abstention,
                    ballot,
                    register,
                };
                self.submit(now, key, job, out);
            }
            Event::PeerUp(peer) => self.peer_up(now, peer, out),
            Event::PeerProgress(peer, next) => self.catch_up.progress(peer, next),
            Event::Tick { rank } => self.tick(now, rank, out),
        }
        self.advance(out);
        self.answer_freshness(out);
    }

    /// Lets go of the records in memory that can be read from disk again.
    pub fn forget_records(&mut self) {
        self.cache.forget(self.durable);
    }

    /// Counters and gauges.
    pub fn status(&self) -> Status {
        Status {
            serving: self.is_serving(),
            changes: self.meta.next_lseq.0,
            unlearned: self.log.unlearned() as u64,
            behind: self.catch_up.behind(),
            caught_up: self.is_serving() && self.catch_up.current() >= self.others_needed(),
            purged: self.purged,
            unindexed: self.gone.behind(self.log.ready_below(self.meta.next_lseq)),
            index_stalled: self.gone.is_stalled(),
            damaged: self.damaged.len(),
            cache_bytes: self.cache.weight() as u64,
        }
    }

    /// Whether it votes and serves.
    pub fn is_serving(&self) -> bool {
        matches!(self.stage, Stage::Serving)
    }

    /// The version vector: how far each peer's change log was followed, with the log's own end.
    pub fn progress(&self) -> (Lseq, Vec<(MemberId, Lseq)>) {
        (self.meta.next_lseq, self.catch_up.seen())
    }

    fn request(&mut self, now: Millis, request: RegisterRequest, out: &mut Vec<Effect>) {
        let RegisterRequest {
            epoch,
            reply_to,
            body,
            ..
        } = request;
        if let Some(refusal) = self.refusal(epoch, &body) {
            // `Learn` asks for no answer; a lost one is healed later.
            if !matches!(body, RequestBody::Learn { .. }) {
                self.reply(reply_to, refusal, IoId(0), out);
            }
            return;
        }
        match body {
            RequestBody::Read { key, with_register } => {
                self.submit(
                    now,
                    key,
                    Job::Read {
                        reply_to,
                        with_register,
                    },
                    out,
                );
            }
            RequestBody::Prepare { key, ballot, have } => {
                self.submit(
                    now,
                    key,
                    Job::Prepare {
                        reply_to,
                        ballot,
                        have,
                    },
                    out,
                );
            }
            RequestBody::Accept {
                key,
                ballot,
                register,
                next,
            } => {
                self.submit(
                    now,
                    key,
                    Job::Accept {
                        reply_to,
                        ballot,
                        register,
                        next,
                    },
                    out,
                );
            }
            RequestBody::Learn { chosen } => {
                for (key, ballot) in chosen {
                    self.learn(now, key, ballot, reply_to.member, out);
                }
            }
            RequestBody::Purge { key, ballot } => {
                self.submit(now, key, Job::Purge { ballot }, out);
            }
            RequestBody::PullSince { after } => self.pull_since(reply_to, after, out),
            RequestBody::Fetch { wanted } => self.fetch(now, reply_to, wanted, out),
            RequestBody::Scan {
                namespace,
                prefix,
                after,
                limit,
                with_registers,
            } => {
                let range =
                    keys::record_range(self.options.shard, namespace, &prefix, after.as_ref());
                self.scan(reply_to, range, limit, with_registers, out);
            }
        }
    }

    fn refusal(&self, epoch: Epoch, body: &RequestBody) -> Option<ReplyBody> {
        if !self.is_serving() {
            Some(ReplyBody::NotVoting)
        } else if epoch < self.options.epoch {
            Some(ReplyBody::StaleEpoch {
                epoch: self.options.epoch,
            })
        } else if epoch > self.options.epoch {
            // A newer epoch is adopted durably before anything is said in it.
            Some(ReplyBody::NotVoting)
        } else if self.waiting >= SHARD_WAITING_MAX && !matches!(body, RequestBody::Learn { .. }) {
            Some(ReplyBody::Busy)
        } else {
            None
        }
    }

    /// Runs a job on a key, at once if its record is in memory, else behind the load of it.
    fn submit(&mut self, now: Millis, key: RecordKey, job: Job, out: &mut Vec<Effect>) {
        if let Some(queue) = self.loading.get_mut(&key) {
            queue.push_back(job);
            self.waiting += 1;
        } else if self.cache.contains(&key) {
            self.run(now, &key, job, out);
        } else {
            let io = self.io();
            let at = keys::record(self.options.shard, &key);
            out.push(Effect::Load(io, crate::storage::Keyspace::Records, at));
            self.loads.insert(io, key.clone());
            self.loading.insert(key, VecDeque::from([job]));
            self.waiting += 1;
        }
    }

    fn loaded(&mut self, now: Millis, io: IoId, bytes: Option<Bytes>, out: &mut Vec<Effect>) {
        if self.meta_loaded(io, bytes.as_deref(), out) {
            return;
        }
        let Some(key) = self.loads.remove(&io) else {
            return;
        };
        let slot = match bytes.as_deref().map(crate::storage::format::open::<Record>) {
            None => Slot::Absent,
            Some(Ok(record)) => Slot::Present(record),
            Some(Err(error)) => {
                self.found_damaged(&key, error, out);
                Slot::Corrupt
            }
        };
        self.found(now, key, slot, out);
    }

    /// A record is in memory now: the jobs that waited for it are run.
    fn found(&mut self, now: Millis, key: RecordKey, slot: Slot, out: &mut Vec<Effect>) {
        self.cache.insert(key.clone(), slot, IoId(0), self.durable);
        self.found_after_all(now, &key, out);
        let jobs = self.loading.remove(&key).unwrap_or_default();
        self.waiting -= jobs.len();
        for job in jobs {
            // A large record may be evicted by the very jobs that wait for it.
            self.submit(now, key.clone(), job, out);
        }
    }

    /// Releases what waited for this append and all before it.
    fn became_durable(&mut self, io: IoId, out: &mut Vec<Effect>) {
        self.durable = self.durable.max(io);
        self.log.became_durable(self.durable);
        let later = self.held.split_off(&IoId(self.durable.0 + 1));
        let released = std::mem::replace(&mut self.held, later);
        for effect in released.into_values().flatten() {
            self.waiting -= 1;
            out.push(effect);
        }
        self.recovery_durable(io, out);
        self.installs_durable(out);
    }

    fn reply(&mut self, to: ReplyTo, body: ReplyBody, after: IoId, out: &mut Vec<Effect>) {
        let reply = RegisterReply {
            shard: self.options.shard,
            reply_to: to,
            from: self.options.member,
            body,
        };
        self.hold(Effect::Reply(reply), after, out);
    }

    /// Emits an effect once append `after` is durable.
    fn hold(&mut self, effect: Effect, after: IoId, out: &mut Vec<Effect>) {
        if after <= self.durable {
            out.push(effect);
        } else {
            self.waiting += 1;
            self.held.entry(after).or_default().push(effect);
        }
    }

    /// Tells the index partition when there is more to read.
    fn advance(&mut self, out: &mut Vec<Effect>) {
        let ready = self.log.ready_below(self.meta.next_lseq);
        if self.is_serving() && ready > self.advanced {
            self.advanced = ready;
            out.push(Effect::Advance(ready));
        }
    }

    fn io(&mut self) -> IoId {
        let io = self.next_io;
        self.next_io = IoId(io.0 + 1);
        io
    }

    fn ask(&mut self, to: MemberId, body: RequestBody, out: &mut Vec<Effect>) -> RequestId {
        let request = self.next_request;
        self.next_request = RequestId(request.0 + 1);
        let reply_to = ReplyTo {
            member: self.options.member,
            incarnation: self.options.incarnation,
            request,
        };
        let (shard, epoch) = (self.options.shard, self.options.epoch);
        out.push(Effect::Send(
            to,
            RegisterRequest {
                shard,
                epoch,
                reply_to,
                body,
            },
        ));
        request
    }
}
