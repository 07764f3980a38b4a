//! Reads without a round: two equal answers from a majority are the chosen register.

use std::sync::Arc;

use super::key_queue::{Job, JobKind};
use super::{Asked, Effect, HEDGE_MS, Origin, Proposer, entry};
use crate::planted::Bug;
use crate::types::{Ballot, MemberId, Millis, RecordKey, Register, RequestId};
use crate::wire::ClientReply;
use crate::wire::register::RequestBody;

/// A read under way.
#[derive(Clone, Debug)]
pub(super) struct ReadRound {
    origin: Origin,
    deadline: Millis,
    key: RecordKey,
    with_value: bool,
    asked: Vec<MemberId>,
    answers: Vec<(MemberId, Ballot)>,
    /// This replica's own register.
    own: Option<Arc<Register>>,
    hedge_at: Millis,
}

impl ReadRound {
    pub(super) fn wakes_at(&self) -> Millis {
        self.hedge_at.min(self.deadline)
    }
}

impl Proposer {
    pub(super) fn read(
        &mut self,
        now: Millis,
        origin: Origin,
        deadline: Millis,
        key: RecordKey,
        with_value: bool,
        out: &mut Vec<Effect>,
    ) {
        let request = self.request_id(Asked::Read);
        let mut asked = vec![self.options.member];
        asked.extend(self.live_peers(now).into_iter().take(self.majority() - 1));
        let hedge_at = now.plus(HEDGE_MS);
        let all = self.options.planted.is(Bug::EmptiesTakenAsEqual);
        let body = |own| RequestBody::Read {
            key: key.clone(),
            with_register: own || all,
        };
        for &member in &asked {
            self.send(member, request, body(member == self.options.member), out);
        }
        let (answers, own) = (Vec::new(), None);
        self.reads.insert(
            request,
            ReadRound {
                origin,
                deadline,
                key,
                with_value,
                asked,
                answers,
                own,
                hedge_at,
            },
        );
        self.wake_at(hedge_at, out);
    }

    pub(super) fn read_answered(
        &mut self,
        now: Millis,
        request: RequestId,
        from: MemberId,
        accepted: Ballot,
        register: Option<Arc<Register>>,
        out: &mut Vec<Effect>,
    ) {
        let (me, majority) = (self.options.member, self.majority());
        let Some(round) = self.reads.get_mut(&request) else {
            return;
        };
        if round.answers.iter().any(|(member, _)| *member == from) {
            return;
        }
        let is_empty = register.as_ref().is_none_or(|it| it.value.is_none());
        let accepted = if is_empty && self.options.planted.is(Bug::EmptiesTakenAsEqual) {
            Ballot::ZERO
        } else {
            accepted
        };
        round.answers.push((from, accepted));
        if from == me {
            round.own = register;
        }
        if from == me && self.options.planted.is(Bug::ReadFromOne) {
            return self.read_agreed(now, request, accepted, out);
        }
        if round.answers.len() < majority {
            return;
        }
        let own = round
            .answers
            .iter()
            .find(|(member, _)| *member == me)
            .map(|(_, own)| *own);
        let equal = round
            .answers
            .iter()
            .filter(|(_, ballot)| Some(*ballot) == own)
            .count();
        if equal >= majority {
            self.read_agreed(now, request, own.unwrap_or(Ballot::ZERO), out);
        } else if round.answers.len() == round.asked.len() {
            self.read_further(now, request, out);
        }
    }

    fn read_agreed(
        &mut self,
        now: Millis,
        request: RequestId,
        accepted: Ballot,
        out: &mut Vec<Effect>,
    ) {
        self.asked.remove(&request);
        let Some(round) = self.reads.remove(&request) else {
            return;
        };
        if let Some(register) = &round.own {
            self.clock.merge(register.newest_time());
        }
        let found = match &round.own {
            // An expired value must be seen to end by everybody: a round makes it a tombstone.
            Some(register)
                if register.is_expired(now) && self.options.planted.is(Bug::ExpiryByClock) =>
            {
                None
            }
            Some(register) if register.is_expired(now) => {
                return self.read_by_round(now, round, accepted, out);
            }
            Some(register) => entry(register, round.with_value),
            None => None,
        };
        self.answer(now, round.origin, Ok(ClientReply::Entry(found)), out);
    }

    /// The replicas asked do not agree: ask the others, and if there are none, run a round.
    fn read_further(&mut self, now: Millis, request: RequestId, out: &mut Vec<Effect>) {
        let Some(round) = self.reads.get_mut(&request) else {
            return;
        };
        let others: Vec<MemberId> = self
            .options
            .members
            .iter()
            .copied()
            .filter(|member| self.live.contains(member) && !round.asked.contains(member))
            .collect();
        if others.is_empty() {
            self.asked.remove(&request);
            if let Some(round) = self.reads.remove(&request) {
                let own = round
                    .answers
                    .iter()
                    .find(|(member, _)| *member == self.options.member);
                let accepted = own.map_or(Ballot::ZERO, |(_, accepted)| *accepted);
                self.read_by_round(now, round, accepted, out);
            }
            return;
        }
        round.asked.extend(&others);
        round.hedge_at = now.plus(HEDGE_MS);
        let hedge_at = round.hedge_at;
        let body = RequestBody::Read {
            key: round.key.clone(),
            with_register: false,
        };
        for member in others {
            self.send(member, request, body.clone(), out);
        }
        self.wake_at(hedge_at, out);
    }

    fn read_by_round(
        &mut self,
        now: Millis,
        round: ReadRound,
        accepted: Ballot,
        out: &mut Vec<Effect>,
    ) {
        let kind = JobKind::Get {
            with_value: round.with_value,
        };
        let job = Job::new(Some(round.origin), round.deadline, kind);
        let own = round.own;
        self.enqueue(now, round.key.clone(), job, out);
        if let Some(register) = own
            && !accepted.is_zero()
            && let Some(state) = self.keys.get_mut(&round.key)
        {
            state.saw(accepted, &register);
        }
    }

    pub(super) fn reads_timer(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let due: Vec<(RequestId, bool)> = self
            .reads
            .iter()
            .filter(|(_, round)| round.wakes_at() <= now)
            .map(|(request, round)| (*request, round.deadline <= now))
            .collect();
        for (request, overdue) in due {
            if overdue {
                self.asked.remove(&request);
                if let Some(round) = self.reads.remove(&request) {
                    let kind = JobKind::Get {
                        with_value: round.with_value,
                    };
                    self.give_up(now, Job::new(Some(round.origin), round.deadline, kind), out);
                }
            } else {
                self.read_further(now, request, out);
            }
        }
    }
}
