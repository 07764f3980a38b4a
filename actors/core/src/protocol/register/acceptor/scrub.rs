//! Looking for damage before somebody needs the record: a few records of the shard are read now and
//! then, in key order, again and again.
//!
//! What cannot be opened is loaded like any other record, which finds the damage (see
//! [`super::rebuild`]). If the record is still in memory, it is written again as it is.

use bytes::Bytes;

use super::super::cache::Slot;
use super::jobs::Job;
use super::log::Position;
use super::scan::RangeUse;
use super::{Acceptor, Effect};
use crate::limits::{PAGE_BYTES_MAX, SCRUB_RECORDS};
use crate::storage::format::{FormatError, Record, Sealed, open};
use crate::storage::{Keyspace, RangePage, RangeQuery, keys};
use crate::types::{IoId, Millis, RecordKey};

/// How far the check has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Scrub {
    due: Millis,
    reading: bool,
    /// The first key on disk that was not checked yet; none at the beginning of a round.
    from: Option<Bytes>,
}

impl Acceptor {
    pub(super) fn scrub_tick(&mut self, now: Millis, out: &mut Vec<Effect>) {
        if self.scrub.reading || now < self.scrub.due {
            return;
        }
        let first = self.scrub.due == Millis(0);
        self.scrub.due = now.plus(self.options.scrub_every_ms);
        if first {
            return;
        }
        self.scrub.reading = true;
        let (begin, to) = keys::shard_records(self.options.shard);
        let query = RangeQuery {
            keyspace: Keyspace::Records,
            from: self.scrub.from.take().unwrap_or(begin),
            to,
            limit_entries: SCRUB_RECORDS,
            limit_bytes: PAGE_BYTES_MAX,
        };
        self.range(query, RangeUse::Scrub, out);
    }

    pub(super) fn scrubbed(&mut self, now: Millis, page: &RangePage, out: &mut Vec<Effect>) {
        self.scrub.reading = false;
        let last = page.entries.last().filter(|_| page.more);
        self.scrub.from = last.map(|(key, _)| keys::after(key));
        for (key, value) in &page.entries {
            if let Some((_, key)) = keys::parse_record(key)
                && matches!(open::<Record>(value), Err(FormatError::Corrupt(_)))
            {
                self.submit(now, key, Job::Verify, out);
            }
        }
    }

    /// The copy on disk is damaged, the one in memory is not.
    pub(super) fn write_again(
        &mut self,
        now: Millis,
        key: &RecordKey,
        record: Option<Record>,
        out: &mut Vec<Effect>,
    ) {
        if let Some(record) = record {
            self.write(now, key, Some(&record), record.clone(), Position::Keep, out);
        }
    }

    /// What a load or a range was to read is damaged below the records.
    pub(super) fn unreadable(&mut self, now: Millis, io: IoId, out: &mut Vec<Effect>) {
        if let Some(key) = self.loads.remove(&io) {
            self.found_damaged(&key, FormatError::Corrupt(Record::NAME), out);
            self.found(now, key, Slot::Corrupt, out);
        } else if self.ranges.get(&io) == Some(&RangeUse::Scrub) {
            // Which records these are is not known: reads of each of them will tell.
            self.ranges.remove(&io);
            self.scrub.reading = false;
        } else {
            out.push(Effect::Broken(io));
        }
    }
}
