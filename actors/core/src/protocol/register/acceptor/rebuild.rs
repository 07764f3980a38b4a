//! Damaged records: this replica abstains on their keys until the other replicas have settled them.
//!
//! What is lost with a record is what it had accepted and what it had promised.
//!
//! *Accepted.* A round begun after the abstention is run by the other replicas alone. Every ballot
//! that this replica had accepted was promised by a majority before, so by one of the majority that
//! runs this round; that one lets only a higher ballot win. So the round's ballot is above all that
//! this replica had accepted, and carries on whatever was chosen with its vote.
//!
//! *Promised.* This replica may have promised a ballot higher than the round's to a proposer that
//! still counts on it. Accepting a ballot in between would break that promise. So the rebuilt record
//! promises [`ShardMeta::promised_below`], which is above every ballot that this replica ever
//! promised in this shard.
//!
//! "Begun after the abstention" is what [`Abstention`] stands for: a record that was rebuilt, voted on
//! and damaged once more must not be replaced by what a round brings that began before.
//!
//! | step | message | if it is lost |
//! |---|---|---|
//! | a load finds damage | `Effect::Rebuild` to the replicator of this replica | asked again with the next tick |
//! | the round is accepted by a majority of all, without this replica | `Event::Rebuilt` | as above |
//!
//! A record of a newer format is not damaged, and is left alone.
//!
//! [`ShardMeta::promised_below`]: crate::storage::format::ShardMeta::promised_below

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::cache::Slot;
use super::jobs::Job;
use super::log::Position;
use super::{Acceptor, Effect};
use crate::limits::DAMAGED_RECORDS_MAX;
use crate::storage::format::{FormatError, Record};
use crate::types::{Ballot, Incarnation, IoId, Lseq, MemberId, Millis, RecordKey, Register};
use crate::wire::register::ReplyBody;

/// Most rounds asked for with one tick.
const REBUILDS_PER_TICK: usize = 32;

/// The time from when damage is found until the record is rebuilt. Numbered within a life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abstention(pub u64);

/// Damaged records that wait to be rebuilt.
#[derive(Clone, Debug, Default)]
pub(super) struct Damaged {
    keys: BTreeMap<RecordKey, Abstention>,
    last: u64,
}

impl Damaged {
    pub(super) fn len(&self) -> u64 {
        self.keys.len() as u64
    }
}

impl Acceptor {
    /// A load met bytes that are no record.
    pub(super) fn found_damaged(
        &mut self,
        key: &RecordKey,
        error: FormatError,
        out: &mut Vec<Effect>,
    ) {
        let known = self.damaged.keys.contains_key(key);
        let damaged = matches!(error, FormatError::Corrupt(_));
        if !known {
            out.push(Effect::Corrupt(key.clone(), error));
        }
        // Beyond the bound, a record is remembered when it is met again.
        if damaged && !known && self.damaged.keys.len() < DAMAGED_RECORDS_MAX {
            self.damaged.last += 1;
            let abstention = Abstention(self.damaged.last);
            self.damaged.keys.insert(key.clone(), abstention);
            out.push(Effect::Rebuild(key.clone(), abstention));
        }
    }

    /// A damaged record can be read after all: the disk failed for a while. Votes count again, so what
    /// was begun to rebuild it must not replace it should it be damaged once more. It takes a new
    /// position of the change log, for the index and peers have passed the old one without it.
    pub(super) fn found_after_all(&mut self, now: Millis, key: &RecordKey, out: &mut Vec<Effect>) {
        if let Some((Slot::Present(record), _)) = self.cache.get(key)
            && self.damaged.keys.contains_key(key)
        {
            let record = record.clone();
            self.write(now, key, Some(&record), record.clone(), Position::Next, out);
            self.gone.purged(key);
            self.damaged.keys.remove(key);
        }
    }

    /// Asks again for what was not rebuilt.
    pub(super) fn rebuild_damaged(&self, out: &mut Vec<Effect>) {
        let waiting = self.damaged.keys.iter().take(REBUILDS_PER_TICK);
        out.extend(waiting.map(|(key, abstention)| Effect::Rebuild(key.clone(), *abstention)));
    }

    /// Runs a job on a damaged record: a replica that cannot read it must not vote on it, nor hold
    /// anybody up.
    pub(super) fn run_without(
        &mut self,
        now: Millis,
        key: &RecordKey,
        job: Job,
        out: &mut Vec<Effect>,
    ) {
        match job {
            Job::Read { reply_to, .. }
            | Job::Prepare { reply_to, .. }
            | Job::Accept { reply_to, .. } => {
                self.reply(reply_to, ReplyBody::NotVoting, IoId(0), out);
            }
            Job::Gather { gather, index } => self.gather_without(gather, index, out),
            Job::Install { from, .. } => self.installed(from, IoId(0)),
            // Its position waits to be learned until the record is whole again.
            Job::Learn { .. } => {}
            Job::Purge { .. } | Job::PurgeIfEmpty { .. } | Job::Expire { .. } | Job::Verify => {}
            Job::Rebuild {
                abstention,
                ballot,
                register,
            } => {
                if self.damaged.keys.get(key) == Some(&abstention) {
                    self.rebuild(now, key, ballot, register, out);
                }
            }
        }
    }

    fn rebuild(
        &mut self,
        now: Millis,
        key: &RecordKey,
        ballot: Ballot,
        register: Arc<Register>,
        out: &mut Vec<Effect>,
    ) {
        let above_all = Ballot {
            n: self.meta.promised_below,
            member: MemberId(0),
            incarnation: Incarnation::default(),
        };
        let record = Record {
            promise: ballot.max(above_all),
            accepted: ballot,
            register,
            lseq: Lseq(0),
        };
        self.write(now, key, None, record, Position::Next, out);
        // Whether the index holds a value of the lost record is not known: a purge waits for it.
        self.gone.purged(key);
        self.log.chosen(key, ballot);
        self.damaged.keys.remove(key);
        out.push(Effect::Whole(key.clone()));
    }
}
