//! Evaluation: what the jobs of a key make of its register, once it is known.

use std::borrow::Cow;
use std::sync::Arc;

use super::super::apply::{Applied, apply, expire};
use super::key_queue::{Job, JobKind};
use super::ready::Ready;
use super::rounds::Step;
use super::{Effect, Proposer, entry};
use crate::planted::{Bug, Planted};
use crate::types::{Ballot, LogicalTime, Millis, RecordKey, Register, RequestId, Write};
use crate::wire::{ClientReply, RequestError, Written};

/// The register that a proposer is about to change, and how sure it is of it.
pub(super) struct Current {
    pub(super) register: Arc<Register>,
    pub(super) accepted: Ballot,
    /// The request to which a majority answered that it holds exactly this, if one did: a read
    /// that was queued before that request needs no `Accept`.
    pub(super) agreed_on: Option<RequestId>,
    /// Whether this replica was one of that majority.
    pub(super) held_here: bool,
}

impl Proposer {
    /// Evaluates the first job and what can ride along, at `ballot`, which a majority promised.
    pub(super) fn propose(
        &mut self,
        now: Millis,
        key: &RecordKey,
        ballot: Ballot,
        current: Current,
        out: &mut Vec<Effect>,
    ) {
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        let Some(mut first) = state.queue.pop_front() else {
            return self.begin(now, key, out);
        };
        let expired = expire(&current.register, ballot, now);
        // A majority may have answered before the job was asked: what came between, it must see.
        let mut agreed = expired.is_none()
            && current
                .agreed_on
                .is_some_and(|request| first.since <= request);
        let base = expired.map_or_else(|| current.register.clone(), Arc::new);
        let purge = first.kind == JobKind::Purge;
        // A client whose clock is behind hears of the register's time with the answer, so that its
        // next write is not taken for a forgotten one.
        self.clock.merge(base.newest_time());
        let time = self.clock.tick(now);
        if purge && base.value.is_some() {
            return self.begin(now, key, out);
        }
        let planted = self.options.planted;
        let (register, result, must_accept) =
            evaluate(&mut first, &base, ballot, time, &current, planted);
        let conflict = matches!(result, Err(RequestError::Conflict { .. }));
        if conflict && planted.is(Bug::CompareWithoutRound) {
            self.finish(now, key, vec![(first, result)], out);
            return self.begin(now, key, out);
        }
        agreed &= !must_accept;
        let mut jobs = vec![(first, result)];
        // A purge needs every replica: reads do not wait for that.
        // A value may have ended before it was put: then the readers' own round finds it gone.
        if !purge && (!register.is_expired(now) || planted.is(Bug::EndedValueShown)) {
            let before = current.agreed_on.filter(|_| agreed);
            self.take_readers(key, &register, before, &mut jobs);
        }
        if agreed {
            self.finish_agreed(now, key, ballot, &current, jobs, out);
        } else {
            let next = if purge { Ballot::ZERO } else { self.ballot() };
            let step = Step::Accept {
                register,
                next,
                jobs,
                purge,
            };
            self.run_round(now, key, ballot, step, out);
        }
    }

    /// Gets that wait in the queue were asked before the `Accept` leaves: it answers them, too. If
    /// none leaves, only those are answered that were queued before the request that was answered.
    fn take_readers(
        &mut self,
        key: &RecordKey,
        register: &Register,
        before: Option<RequestId>,
        jobs: &mut Vec<(Job, Result<ClientReply, RequestError>)>,
    ) {
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        if !state.queue.iter().any(Job::is_get) {
            return;
        }
        let mut waiting = std::mem::take(&mut state.queue);
        for job in waiting.drain(..) {
            let sees = before.is_none_or(|request| job.since <= request);
            match job.kind {
                JobKind::Get { with_value } if sees => {
                    jobs.push((job, Ok(ClientReply::Entry(entry(register, with_value)))));
                }
                _ => state.queue.push_back(job),
            }
        }
    }

    /// A majority holds exactly the current register: nothing needs to be accepted again.
    fn finish_agreed(
        &mut self,
        now: Millis,
        key: &RecordKey,
        ballot: Ballot,
        current: &Current,
        jobs: Vec<(Job, Result<ClientReply, RequestError>)>,
        out: &mut Vec<Effect>,
    ) {
        if !current.accepted.is_zero() {
            self.learned(now, key.clone(), current.accepted, out);
        }
        self.finish(now, key, jobs, out);
        let register = current.register.clone();
        self.reserved.keep(
            key.clone(),
            Ready {
                next: ballot,
                accepted: current.accepted,
                register,
            },
        );
        self.begin(now, key, out);
    }

    pub(super) fn finish(
        &mut self,
        now: Millis,
        key: &RecordKey,
        jobs: Vec<(Job, Result<ClientReply, RequestError>)>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(state) = self.keys.get_mut(key) {
            state.refusals = 0;
        }
        for (job, result) in jobs {
            if let Some(origin) = job.origin {
                self.answer(now, origin, result, out);
            }
        }
    }
}

/// What a job makes of a register: the register to propose, the job's answer, and whether only an
/// `Accept` will do, however well the replicas agree.
fn evaluate(
    job: &mut Job,
    base: &Arc<Register>,
    ballot: Ballot,
    time: LogicalTime,
    current: &Current,
    planted: Planted,
) -> (Arc<Register>, Result<ClientReply, RequestError>, bool) {
    let unchanged = base.clone();
    match &job.kind {
        JobKind::Get { with_value } => {
            let found = entry(base, *with_value);
            (unchanged, Ok(ClientReply::Entry(found)), false)
        }
        // It was asked for because this replica may have missed something: then only an `Accept`
        // brings it.
        JobKind::Settle => (unchanged, Ok(ClientReply::Entry(None)), !current.held_here),
        JobKind::Purge | JobKind::Rebuild(_) => (unchanged, Ok(ClientReply::Entry(None)), true),
        JobKind::Put { write } => match apply(base, &misread(write, base, planted), ballot, time) {
            Applied::Changed(register, found) => {
                job.uncertain = true;
                (Arc::new(register), Ok(written(ballot, found)), true)
            }
            Applied::Already(recent) => {
                let result = Ok(written(recent.ballot, recent.found));
                (unchanged, result, false)
            }
            Applied::Conflict(current) => {
                let conflict = RequestError::Conflict { current };
                (unchanged, Err(conflict), false)
            }
            Applied::Forgotten if job.uncertain => {
                let error = RequestError::Forgotten.to_string();
                (unchanged, Err(RequestError::Unknown(error)), false)
            }
            Applied::Forgotten => (unchanged, Err(RequestError::Forgotten), false),
        },
    }
}

/// The write as a planted bug takes it for another; else as it is.
fn misread<'a>(write: &'a Write, base: &Register, planted: Planted) -> Cow<'a, Write> {
    let mut write = Cow::Borrowed(write);
    let mut recent = base.recent.iter();
    if planted.is(Bug::WriteAppliedAgain) && recent.any(|recent| recent.write == write.id) {
        // The high bits tell the ids of repeated writes from those of clients.
        write.to_mut().id.client += 1 << 32;
    }
    if planted.is(Bug::LateWriteEvaluated) && write.since <= base.low_time {
        write.to_mut().since = base.low_time.next();
    }
    write
}

fn written(version: Ballot, found: bool) -> ClientReply {
    ClientReply::Written(Written { version, found })
}
