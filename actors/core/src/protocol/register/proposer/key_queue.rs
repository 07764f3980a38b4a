//! The queue of one key: what waits for a round, and the round under way.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::acceptor::Abstention;
use super::rounds::Round;
use super::{Effect, Origin, Proposer};
use crate::limits::KEY_QUEUE_MAX;
use crate::types::{Ballot, Millis, RecordKey, Register, RequestId, Write};
use crate::wire::RequestError;

/// How long this node's own rounds may take, in milliseconds.
const OWN_DEADLINE_MS: u64 = 2_000;

/// One thing to be done by a round.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Whom the answer is for; nobody, for this node's own jobs.
    pub(super) origin: Option<Origin>,
    pub(super) deadline: Millis,
    pub(super) kind: JobKind,
    /// The first request that was sent after it was queued: only answers to this and later ones
    /// tell what it may know.
    pub(super) since: RequestId,
    /// Whether an `Accept` has left for it: it may take effect even if this proposer gives up.
    pub(super) uncertain: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum JobKind {
    Get {
        with_value: bool,
    },
    Put {
        write: Write,
    },
    /// Make sure that something is chosen, and that an expired value is gone.
    Settle,
    /// Make all replicas forget a tombstone.
    Purge,
    /// Have the other replicas accept what is chosen, in a whole round of its own.
    Rebuild(Abstention),
}

impl JobKind {
    /// Whether its round must begin with `Prepare`, whatever was reserved before.
    fn prepares(&self) -> bool {
        matches!(self, JobKind::Purge | JobKind::Rebuild(_))
    }
}

impl Job {
    pub(super) fn new(origin: Option<Origin>, deadline: Millis, kind: JobKind) -> Job {
        Job {
            origin,
            deadline,
            kind,
            since: RequestId(0),
            uncertain: false,
        }
    }

    /// Whose abstention it ends, if it rebuilds a damaged record.
    pub(super) fn rebuilds(&self) -> Option<Abstention> {
        match self.kind {
            JobKind::Rebuild(abstention) => Some(abstention),
            _ => None,
        }
    }

    pub(super) fn is_get(&self) -> bool {
        matches!(self.kind, JobKind::Get { .. })
    }
}

/// What a key is doing. Kept only while there is something to do.
#[derive(Clone, Debug)]
pub(super) struct KeyState {
    pub(super) queue: VecDeque<Job>,
    pub(super) phase: Phase,
    /// The newest register seen: replicas need not send it again.
    pub(super) known: Option<(Ballot, Arc<Register>)>,
    /// Refused rounds in a row.
    pub(super) refusals: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Phase {
    Idle,
    Running(Box<Round>),
    /// Another proposer was faster, twice: wait a random while.
    Backoff(Millis),
}

impl KeyState {
    fn new() -> KeyState {
        KeyState {
            queue: VecDeque::new(),
            phase: Phase::Idle,
            known: None,
            refusals: 0,
        }
    }

    pub(super) fn wakes_at(&self) -> Millis {
        let phase = match &self.phase {
            Phase::Idle => Millis(u64::MAX),
            Phase::Running(round) => round.wakes_at(),
            Phase::Backoff(until) => *until,
        };
        self.queue
            .iter()
            .map(|job| job.deadline)
            .fold(phase, Millis::min)
    }

    fn is_rebuilding(&self) -> bool {
        let waits = self.queue.iter().any(|job| job.rebuilds().is_some());
        waits || matches!(&self.phase, Phase::Running(round) if round.rebuilds().is_some())
    }

    /// Remembers a register, if it is the newest yet.
    pub(super) fn saw(&mut self, accepted: Ballot, register: &Arc<Register>) {
        if self
            .known
            .as_ref()
            .is_none_or(|(known, _)| *known < accepted)
        {
            self.known = Some((accepted, register.clone()));
        }
    }
}

impl Proposer {
    /// Queues a job for a client.
    pub(super) fn enqueue(
        &mut self,
        now: Millis,
        key: RecordKey,
        mut job: Job,
        out: &mut Vec<Effect>,
    ) {
        job.since = self.next_request;
        let state = self.keys.entry(key.clone()).or_insert_with(KeyState::new);
        if state.queue.len() >= KEY_QUEUE_MAX
            && let Some(origin) = job.origin
        {
            let error = RequestError::Overloaded { retry_after_ms: 20 };
            return self.answer(now, origin, Err(error), out);
        }
        let deadline = job.deadline;
        state.queue.push_back(job);
        self.wake_at(deadline, out);
        self.begin(now, &key, out);
    }

    /// Queues a job of this node's own, unless the key is busy anyway.
    pub(super) fn enqueue_own(
        &mut self,
        now: Millis,
        key: RecordKey,
        kind: JobKind,
        out: &mut Vec<Effect>,
    ) {
        if !self.keys.contains_key(&key) {
            let job = Job::new(None, now.plus(OWN_DEADLINE_MS), kind);
            self.enqueue(now, key, job, out);
        }
    }

    /// Queues a rebuild, unless one waits or is under way. It may come behind other jobs, or a busy
    /// key would stay damaged.
    pub(super) fn rebuild(
        &mut self,
        now: Millis,
        key: RecordKey,
        abstention: Abstention,
        out: &mut Vec<Effect>,
    ) {
        if !self.keys.get(&key).is_some_and(KeyState::is_rebuilding) {
            let kind = JobKind::Rebuild(abstention);
            let job = Job::new(None, now.plus(OWN_DEADLINE_MS), kind);
            self.enqueue(now, key, job, out);
        }
    }

    /// Begins the next round of a key, if it has none and there is something to do.
    pub(super) fn begin(&mut self, now: Millis, key: &RecordKey, out: &mut Vec<Effect>) {
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        if !matches!(state.phase, Phase::Idle) {
            return;
        }
        let Some(job) = state.queue.front() else {
            self.keys.remove(key);
            return;
        };
        let prepares = job.kind.prepares();
        match self.reserved.take(key) {
            Some(ready) if !prepares => self.propose_ready(now, key, ready, out),
            _ => self.prepare(now, key, out),
        }
    }

    /// Gives up on jobs that are past their deadline, goes on with backed-off and silent rounds.
    pub(super) fn keys_timer(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let due: Vec<RecordKey> = self
            .keys
            .iter()
            .filter(|(_, state)| state.wakes_at() <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            self.drop_overdue(now, &key, out);
            let Some(state) = self.keys.get_mut(&key) else {
                continue;
            };
            match &state.phase {
                Phase::Backoff(until) if *until <= now => {
                    state.phase = Phase::Idle;
                    self.begin(now, &key, out);
                }
                Phase::Backoff(_) | Phase::Idle => self.begin(now, &key, out),
                Phase::Running(_) => self.round_timer(now, &key, out),
            }
        }
    }

    fn drop_overdue(&mut self, now: Millis, key: &RecordKey, out: &mut Vec<Effect>) {
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        let (overdue, waiting): (VecDeque<Job>, VecDeque<Job>) =
            state.queue.drain(..).partition(|job| job.deadline <= now);
        state.queue = waiting;
        for job in overdue {
            self.give_up(now, job, out);
        }
    }

    /// Answers a job that could not be finished in time.
    pub(super) fn give_up(&mut self, now: Millis, job: Job, out: &mut Vec<Effect>) {
        let Some(origin) = job.origin else { return };
        let error = if job.uncertain {
            RequestError::Unknown("too few replicas confirmed the write in time".into())
        } else {
            let (live, needed) = (self.live.len(), self.majority());
            RequestError::Unavailable {
                shard: self.options.shard.0,
                reason: format!("no majority answered in time ({live} reachable, {needed} needed)"),
            }
        };
        self.answer(now, origin, Err(error), out);
    }
}
