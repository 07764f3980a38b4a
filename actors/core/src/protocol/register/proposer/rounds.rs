//! Rounds: prepare and accept, with those who answer, refuse or stay silent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::acceptor::Abstention;
use super::key_queue::{Job, JobKind, Phase};
use super::propose::Current;
use super::ready::Ready;
use super::{Asked, Effect, Proposer, RESEND_MS};
use crate::planted::Bug;
use crate::types::{Ballot, LogicalTime, MemberId, Millis, RecordKey, Register, RequestId};
use crate::wire::register::RequestBody;
use crate::wire::{ClientReply, RequestError};

/// A round under way.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) request: RequestId,
    pub(super) ballot: Ballot,
    pub(super) step: Step,
    pub(super) answered: BTreeSet<MemberId>,
    pub(super) refused: BTreeSet<MemberId>,
    pub(super) resend_at: Millis,
}

#[derive(Clone, Debug)]
pub(super) enum Step {
    Prepare {
        /// What the promising replicas have accepted.
        accepted: BTreeMap<MemberId, Ballot>,
        floor_time: LogicalTime,
        have: Ballot,
    },
    Accept {
        register: Arc<Register>,
        next: Ballot,
        /// Jobs that this round answers, the proposing one first.
        jobs: Vec<(Job, Result<ClientReply, RequestError>)>,
        /// Whether every replica must accept, for a purge.
        purge: bool,
    },
}

impl Round {
    pub(super) fn wakes_at(&self) -> Millis {
        match &self.step {
            Step::Prepare { .. } => self.resend_at,
            Step::Accept { jobs, .. } => jobs
                .iter()
                .map(|(job, _)| job.deadline)
                .fold(self.resend_at, Millis::min),
        }
    }

    /// Whose abstention its `Accept` ends, if it rebuilds a damaged record.
    pub(super) fn rebuilds(&self) -> Option<Abstention> {
        match &self.step {
            Step::Prepare { .. } => None,
            Step::Accept { jobs, .. } => jobs.iter().find_map(|(job, _)| job.rebuilds()),
        }
    }

    fn body(&self, key: &RecordKey) -> RequestBody {
        match &self.step {
            Step::Prepare { have, .. } => RequestBody::Prepare {
                key: key.clone(),
                ballot: self.ballot,
                have: *have,
            },
            Step::Accept { register, next, .. } => RequestBody::Accept {
                key: key.clone(),
                ballot: self.ballot,
                register: register.clone(),
                next: *next,
            },
        }
    }
}

impl Proposer {
    /// Begins a round with `Prepare`.
    pub(super) fn prepare(&mut self, now: Millis, key: &RecordKey, out: &mut Vec<Effect>) {
        let ballot = self.ballot();
        let have = self
            .keys
            .get(key)
            .and_then(|state| state.known.as_ref())
            .map_or(Ballot::ZERO, |(accepted, _)| *accepted);
        let step = Step::Prepare {
            accepted: BTreeMap::new(),
            floor_time: LogicalTime(0),
            have,
        };
        self.run_round(now, key, ballot, step, out);
    }

    /// Begins a round with `Accept`: a majority has promised `ready.next` to this proposer.
    pub(super) fn propose_ready(
        &mut self,
        now: Millis,
        key: &RecordKey,
        ready: Ready,
        out: &mut Vec<Effect>,
    ) {
        let current = Current {
            register: ready.register,
            accepted: ready.accepted,
            agreed_on: None,
            held_here: false,
        };
        self.propose(now, key, ready.next, current, out);
    }

    pub(super) fn run_round(
        &mut self,
        now: Millis,
        key: &RecordKey,
        ballot: Ballot,
        step: Step,
        out: &mut Vec<Effect>,
    ) {
        let request = self.request_id(Asked::Round(key.clone()));
        let round = Round {
            request,
            ballot,
            step,
            answered: BTreeSet::new(),
            refused: BTreeSet::new(),
            resend_at: now.plus(RESEND_MS),
        };
        let body = round.body(key);
        for &member in &self.options.members {
            self.send(member, request, body.clone(), out);
        }
        if let Some(state) = self.keys.get_mut(key) {
            state.phase = Phase::Running(Box::new(round));
        }
        self.wake_at(now.plus(RESEND_MS), out);
    }

    /// Takes a key's round off, for good.
    fn end_round(&mut self, key: &RecordKey) -> Option<Round> {
        let state = self.keys.get_mut(key)?;
        match std::mem::replace(&mut state.phase, Phase::Idle) {
            Phase::Running(round) => {
                self.asked.remove(&round.request);
                Some(*round)
            }
            other => {
                state.phase = other;
                None
            }
        }
    }

    fn round(&mut self, key: &RecordKey) -> Option<&mut Round> {
        match &mut self.keys.get_mut(key)?.phase {
            Phase::Running(round) => Some(round),
            _ => None,
        }
    }

    pub(super) fn promised(
        &mut self,
        now: Millis,
        key: &RecordKey,
        from: MemberId,
        ballot: Ballot,
        (theirs, register, their_floor): (Ballot, Option<Arc<Register>>, LogicalTime),
        out: &mut Vec<Effect>,
    ) {
        let (me, majority) = (self.options.member, self.majority());
        if let Some(register) = &register
            && let Some(state) = self.keys.get_mut(key)
        {
            state.saw(theirs, register);
        }
        let Some(round) = self.round(key) else { return };
        let Step::Prepare {
            accepted,
            floor_time,
            ..
        } = &mut round.step
        else {
            return;
        };
        if round.ballot != ballot || !round.answered.insert(from) {
            return;
        }
        accepted.insert(from, theirs);
        *floor_time = (*floor_time).max(their_floor);
        if round.answered.len() < majority {
            return;
        }
        let highest = accepted.values().copied().max().unwrap_or(Ballot::ZERO);
        let agreed = accepted.values().all(|ballot| *ballot == highest);
        let held_here = accepted.contains_key(&me) && agreed;
        let agreed_on = agreed.then_some(round.request);
        let floor_time = *floor_time;
        self.end_round(key);
        let known = self.keys.get(key).and_then(|state| state.known.clone());
        let register = match known {
            _ if highest.is_zero() => Arc::new(Register::empty(floor_time)),
            Some((accepted, register)) if accepted == highest => register,
            // The newest register is newer than what was known, and did not come along. This
            // happens only if a peer breaks the protocol: start again from nothing.
            _ => {
                if let Some(state) = self.keys.get_mut(key) {
                    state.known = None;
                }
                return self.refused(now, key, out);
            }
        };
        self.propose(
            now,
            key,
            ballot,
            Current {
                register,
                accepted: highest,
                agreed_on,
                held_here,
            },
            out,
        );
    }

    pub(super) fn accepted(
        &mut self,
        now: Millis,
        key: &RecordKey,
        from: MemberId,
        ballot: Ballot,
        out: &mut Vec<Effect>,
    ) {
        let (majority, mut all) = (self.majority(), self.options.members.len());
        if self.options.planted.is(Bug::PurgeAtTwo) {
            all = majority;
        }
        let Some(round) = self.round(key) else { return };
        let Step::Accept { purge, .. } = &round.step else {
            return;
        };
        let needed = if *purge { all } else { majority };
        if round.ballot != ballot || !round.answered.insert(from) || round.answered.len() < needed {
            return;
        }
        let Some(round) = self.end_round(key) else {
            return;
        };
        let rebuilds = round.rebuilds();
        let Step::Accept {
            register,
            next,
            jobs,
            purge,
        } = round.step
        else {
            return;
        };
        if let Some(abstention) = rebuilds {
            out.push(Effect::Rebuilt {
                key: key.clone(),
                abstention,
                ballot,
                register: register.clone(),
            });
        }
        if purge {
            for &member in &self.options.members {
                let body = RequestBody::Purge {
                    key: key.clone(),
                    ballot,
                };
                self.send(member, RequestId(0), body, out);
            }
        } else {
            self.learned(now, key.clone(), ballot, out);
        }
        self.finish(now, key, jobs, out);
        if let Some(state) = self.keys.get_mut(key) {
            state.known = Some((ballot, register.clone()));
        }
        if !purge {
            self.reserved.keep(
                key.clone(),
                Ready {
                    next,
                    accepted: ballot,
                    register,
                },
            );
        }
        self.begin(now, key, out);
    }

    pub(super) fn nacked(
        &mut self,
        now: Millis,
        key: &RecordKey,
        from: MemberId,
        ballot: Ballot,
        seen: Ballot,
        out: &mut Vec<Effect>,
    ) {
        self.highest_n = self.highest_n.max(seen.n);
        let (majority, all) = (self.majority(), self.options.members.len());
        let Some(round) = self.round(key) else { return };
        if round.ballot != ballot || !round.refused.insert(from) {
            return;
        }
        if all - round.refused.len() < majority {
            self.refused(now, key, out);
        }
    }

    /// A round cannot win: its jobs go back to the queue, for a round with a higher ballot.
    fn refused(&mut self, now: Millis, key: &RecordKey, out: &mut Vec<Effect>) {
        if let Some(round) = self.end_round(key)
            && let Step::Accept { jobs, .. } = round.step
            && let Some(state) = self.keys.get_mut(key)
        {
            // A refused purge is given up: whoever was faster may have written a value.
            for (job, _) in jobs
                .into_iter()
                .rev()
                .filter(|(job, _)| job.kind != JobKind::Purge)
            {
                state.queue.push_front(job);
            }
        }
        let Some(state) = self.keys.get_mut(key) else {
            return;
        };
        state.refusals = state.refusals.saturating_add(1);
        if state.refusals > 1 {
            let most = 20 * u64::from(state.refusals.min(8));
            let until = now.plus(1 + self.random.below(most));
            state.phase = Phase::Backoff(until);
            self.wake_at(until, out);
        } else {
            self.begin(now, key, out);
        }
    }

    /// A round has waited long enough: ask the silent again, or begin anew.
    pub(super) fn round_timer(&mut self, now: Millis, key: &RecordKey, out: &mut Vec<Effect>) {
        let Some(round) = self.round(key) else { return };
        if let Step::Accept { jobs, .. } = &mut round.step {
            let overdue: Vec<Job> = jobs
                .extract_if(.., |(job, _)| job.deadline <= now)
                .map(|(job, _)| job)
                .collect();
            let abandoned = jobs.is_empty();
            if abandoned {
                self.end_round(key);
            }
            for job in overdue {
                self.give_up(now, job, out);
            }
            if abandoned {
                return self.begin(now, key, out);
            }
        } else if self
            .keys
            .get(key)
            .is_some_and(|state| state.queue.is_empty())
        {
            self.end_round(key);
            return self.begin(now, key, out);
        }
        let Some(round) = self.round(key) else { return };
        if round.resend_at > now {
            return;
        }
        if !round.refused.is_empty() {
            return self.refused(now, key, out);
        }
        let purge = matches!(round.step, Step::Accept { purge: true, .. });
        if purge
            && self
                .keys
                .get(key)
                .is_some_and(|state| !state.queue.is_empty())
        {
            // A purge needs every replica: others do not wait for a silent one. It comes again.
            self.end_round(key);
            return self.begin(now, key, out);
        }
        let Some(round) = self.round(key) else { return };
        round.resend_at = now.plus(RESEND_MS);
        let (request, body) = (round.request, round.body(key));
        let answered = round.answered.clone();
        for &member in self
            .options
            .members
            .iter()
            .filter(|member| !answered.contains(member))
        {
            self.send(member, request, body.clone(), out);
        }
    }

    /// A peer has just become reachable: what it was asked before may be lost.
    pub(super) fn resend_to(&mut self, _now: Millis, peer: MemberId, out: &mut Vec<Effect>) {
        let lost: Vec<(RequestId, RequestBody)> = self
            .keys
            .iter()
            .filter_map(|(key, state)| match &state.phase {
                Phase::Running(round) if !round.answered.contains(&peer) => {
                    Some((round.request, round.body(key)))
                }
                _ => None,
            })
            .collect();
        for (request, body) in lost {
            self.send(peer, request, body, out);
        }
    }
}
