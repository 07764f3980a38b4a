//! Jobs on one key, run in order once its record is in memory: the rules of voting.

use std::sync::Arc;

use super::super::cache::Slot;
use super::log::Position;
use super::rebuild::Abstention;
use super::{Acceptor, Effect};
use crate::planted::Bug;
use crate::storage::format::Record;
use crate::types::{Ballot, IoId, Lseq, MemberId, Millis, RecordKey, Register};
use crate::wire::register::{ReplyBody, ReplyTo};

/// What is to be done with one record.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Job {
    Read {
        reply_to: ReplyTo,
        with_register: bool,
    },
    Prepare {
        reply_to: ReplyTo,
        ballot: Ballot,
        have: Ballot,
    },
    Accept {
        reply_to: ReplyTo,
        ballot: Ballot,
        register: Arc<Register>,
        next: Ballot,
    },
    Learn {
        ballot: Ballot,
        from: MemberId,
    },
    Purge {
        ballot: Ballot,
    },
    /// Contributes this key to a gathering, at this place in it.
    Gather {
        gather: u64,
        index: usize,
    },
    /// A record pulled from a peer: a delayed `Accept`.
    Install {
        record: Record,
        from: MemberId,
    },
    /// Asks the proposer to make a tombstone of the value if it ends at this time.
    Expire {
        at: Millis,
    },
    /// Asks the proposer to purge the key if it is still empty at this position.
    PurgeIfEmpty {
        lseq: Lseq,
    },
    /// Makes sure that the record can be read, of which the disk showed a damaged copy.
    Verify,
    /// Puts what the other replicas hold in the place of a damaged record.
    Rebuild {
        abstention: Abstention,
        ballot: Ballot,
        register: Arc<Register>,
    },
}

impl Acceptor {
    /// Runs a job whose record is in memory.
    pub(super) fn run(&mut self, now: Millis, key: &RecordKey, job: Job, out: &mut Vec<Effect>) {
        let Some((slot, written)) = self.cache.get(key) else {
            return;
        };
        let record = match slot {
            Slot::Present(record) => Some(record.clone()),
            Slot::Absent => None,
            Slot::Corrupt => return self.run_without(now, key, job, out),
        };
        match job {
            Job::Read {
                reply_to,
                with_register,
            } => {
                let accepted = record
                    .as_ref()
                    .map_or(Ballot::ZERO, |record| record.accepted);
                let register = record
                    .filter(|_| with_register)
                    .map(|record| record.register);
                self.reply(
                    reply_to,
                    ReplyBody::Read { accepted, register },
                    written,
                    out,
                );
            }
            Job::Prepare {
                reply_to,
                ballot,
                have,
            } => {
                self.prepare(now, key, record, written, (reply_to, ballot, have), out);
            }
            Job::Accept {
                reply_to,
                ballot,
                register,
                next,
            } => {
                let (body, after) = self.accept(
                    now,
                    key,
                    record.as_ref(),
                    written,
                    ballot,
                    register,
                    next,
                    out,
                );
                self.reply(reply_to, body, after, out);
            }
            Job::Learn { ballot, from } => {
                let accepted = record
                    .as_ref()
                    .map_or(Ballot::ZERO, |record| record.accepted);
                if accepted == ballot {
                    self.log.forget(key);
                } else if accepted < ballot && ballot > self.meta.floor {
                    self.want(now, from, key.clone(), accepted, out);
                }
            }
            Job::Purge { ballot } => {
                if let Some(record) = record
                    && record.accepted == ballot
                    && record.promise == ballot
                    && record.register.value.is_none()
                    && self.gone.knows(key, &record)
                    && self.catch_up.is_current()
                {
                    self.remove(key, &record, out);
                    self.purged += 1;
                }
            }
            Job::Gather { gather, index } => {
                self.gathered(now, gather, index, record, written, out)
            }
            Job::Install {
                record: pulled,
                from,
            } => {
                self.install(now, key, record.as_ref(), pulled, from, out);
            }
            Job::Expire { at } => self.expire(key, record.as_ref(), at, out),
            Job::PurgeIfEmpty { lseq } => self.purge_if_empty(key, record.as_ref(), lseq, out),
            Job::Verify => self.write_again(now, key, record, out),
            // It was rebuilt before.
            Job::Rebuild { .. } => {}
        }
    }

    fn prepare(
        &mut self,
        now: Millis,
        key: &RecordKey,
        record: Option<Record>,
        written: IoId,
        (reply_to, ballot, have): (ReplyTo, Ballot, Ballot),
        out: &mut Vec<Effect>,
    ) {
        let seen = self.refused_below(record.as_ref());
        let accepted = record
            .as_ref()
            .map_or(Ballot::ZERO, |record| record.accepted);
        let repeated = record
            .as_ref()
            .is_some_and(|record| record.promise == ballot && accepted < ballot);
        if ballot <= seen && !repeated {
            return self.reply(reply_to, ReplyBody::Nack { ballot, seen }, written, out);
        }
        let register = record
            .as_ref()
            .filter(|_| !accepted.is_zero() && accepted != have)
            .map(|record| record.register.clone());
        let after = if repeated {
            written
        } else {
            let promised = Record {
                promise: ballot,
                ..record.clone().unwrap_or_default()
            };
            let io = self.write(now, key, record.as_ref(), promised, Position::Keep, out);
            if self.options.planted.is(Bug::PromiseNotSynced) {
                IoId(0)
            } else {
                io
            }
        };
        let floor_time = self.meta.floor_time;
        self.reply(
            reply_to,
            ReplyBody::Promise {
                ballot,
                accepted,
                register,
                floor_time,
            },
            after,
            out,
        );
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of one message and its record"
    )]
    fn accept(
        &mut self,
        now: Millis,
        key: &RecordKey,
        record: Option<&Record>,
        written: IoId,
        ballot: Ballot,
        register: Arc<Register>,
        next: Ballot,
        out: &mut Vec<Effect>,
    ) -> (ReplyBody, IoId) {
        let accepted = record.map_or(Ballot::ZERO, |record| record.accepted);
        let promise = record.map_or(Ballot::ZERO, |record| record.promise);
        if let Some(record) = record
            && ballot == accepted
            && !ballot.is_zero()
        {
            debug_assert!(record.register == register, "one value per ballot");
            if next <= promise || self.options.planted.is(Bug::ReservationSkipped) {
                return (ReplyBody::Accepted { ballot }, written);
            }
            // The register came by catch-up, before this message and without the reservation, on
            // which the proposer will rely.
            let reserved = Record {
                promise: next,
                ..record.clone()
            };
            let io = self.write(now, key, Some(record), reserved, Position::Keep, out);
            return (ReplyBody::Accepted { ballot }, io);
        }
        let below_floor = record.is_none() && ballot <= self.meta.floor;
        if ballot < promise || ballot < accepted || below_floor || ballot.is_zero() {
            let seen = self.refused_below(record);
            return (ReplyBody::Nack { ballot, seen }, written);
        }
        let promise = promise.max(ballot).max(next);
        let changed = Record {
            promise,
            accepted: ballot,
            register,
            lseq: Lseq(0),
        };
        let io = self.write(now, key, record, changed, Position::Next, out);
        if self.options.planted.is(Bug::AcceptNotSynced) {
            return (ReplyBody::Accepted { ballot }, IoId(0));
        }
        (ReplyBody::Accepted { ballot }, io)
    }

    /// Applies a pulled record as a delayed `Accept`.
    fn install(
        &mut self,
        now: Millis,
        key: &RecordKey,
        own: Option<&Record>,
        pulled: Record,
        from: MemberId,
        out: &mut Vec<Effect>,
    ) {
        let accepted = own.map_or(Ballot::ZERO, |record| record.accepted);
        let promise = own.map_or(Ballot::ZERO, |record| record.promise);
        let ballot = pulled.accepted;
        let floor = if own.is_none() && !self.options.planted.is(Bug::PullBelowFloor) {
            self.meta.floor
        } else {
            Ballot::ZERO
        };
        let mut written = IoId(0);
        if ballot == accepted {
            self.held_by_two(key, ballot);
        } else if ballot > accepted && ballot >= promise && ballot > floor {
            let record = Record {
                promise: promise.max(ballot),
                accepted: ballot,
                register: pulled.register,
                lseq: Lseq(0),
            };
            written = self.write(now, key, own, record, Position::Next, out);
            self.held_by_two(key, ballot);
        } else if ballot > accepted && (own.is_some() || from != self.options.member) {
            // A higher promise or the floor refuses it: a round of our own settles what is chosen.
            self.catch_up.refuse(from);
            out.push(Effect::Settle(key.clone()));
        }
        self.installed(from, written);
    }

    /// This replica and another have accepted the same ballot: a majority of up to three.
    pub(super) fn held_by_two(&mut self, key: &RecordKey, ballot: Ballot) {
        if self.options.members.len() <= 3 {
            self.log.chosen(key, ballot);
        }
    }

    fn refused_below(&self, record: Option<&Record>) -> Ballot {
        record.map_or(self.meta.floor, |record| {
            record.promise.max(record.accepted)
        })
    }

    /// Notes that a ballot was chosen; loads the record only if it is not the expected one.
    pub(super) fn learn(
        &mut self,
        now: Millis,
        key: RecordKey,
        ballot: Ballot,
        from: MemberId,
        out: &mut Vec<Effect>,
    ) {
        match self.log.waiting(&key) {
            Some(waiting) if waiting == ballot => self.log.forget(&key),
            Some(waiting) if waiting > ballot => {}
            _ => self.submit(now, key, Job::Learn { ballot, from }, out),
        }
    }
}
