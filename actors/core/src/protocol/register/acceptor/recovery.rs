//! How a life begins: barrier, metadata, the unlearned end of the change log, witness.

use super::scan::RangeUse;
use super::{Acceptor, Effect};
use crate::limits::PAGE_BYTES_MAX;
use crate::storage::format::{ChangeEntry, ShardMeta, open};
use crate::storage::{Keyspace, RangePage, RangeQuery, WriteBatch, keys};
use crate::types::{IoId, Lseq, Millis};

/// Where an acceptor stands in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// Not started.
    Created,
    /// Waiting for all appends of an earlier life to be durable or gone.
    Barrier(IoId),
    /// Reading the shard's metadata.
    Meta(IoId),
    /// Reading the changes that were not known to be chosen.
    Unlearned,
    /// Waiting for another replica's witness that this disk lost nothing.
    Witness,
    /// Votes and serves.
    Serving,
    /// The shard's metadata is damaged: it never votes.
    Broken,
}

impl Acceptor {
    pub(super) fn start(&mut self, out: &mut Vec<Effect>) {
        if self.stage == Stage::Created {
            let io = self.append(WriteBatch::default(), out);
            self.stage = Stage::Barrier(io);
        }
    }

    pub(super) fn witness(&mut self, out: &mut Vec<Effect>) {
        self.witnessed = true;
        self.serve_if_ready(out);
    }

    pub(super) fn recovery_durable(&mut self, io: IoId, out: &mut Vec<Effect>) {
        if matches!(self.stage, Stage::Barrier(barrier) if barrier <= io) {
            let io = self.io();
            self.stage = Stage::Meta(io);
            let key = keys::shard_meta(self.options.shard);
            out.push(Effect::Load(io, Keyspace::Meta, key));
        }
    }

    /// Whether this load was the metadata's.
    pub(super) fn meta_loaded(
        &mut self,
        io: IoId,
        bytes: Option<&[u8]>,
        out: &mut Vec<Effect>,
    ) -> bool {
        if self.stage != Stage::Meta(io) {
            return false;
        }
        self.meta = match bytes.map(open::<ShardMeta>) {
            None => ShardMeta {
                next_lseq: Lseq(1),
                learned_below: Lseq(1),
                ..Default::default()
            },
            Some(Ok(meta)) => meta,
            Some(Err(_)) => {
                self.stage = Stage::Broken;
                return true;
            }
        };
        self.meta.epoch = self.options.epoch;
        self.catch_up.recovered(&self.meta.seen);
        self.log.recovered(self.meta.next_lseq);
        self.tail.recovered(self.meta.next_lseq);
        self.watches.recovered(self.meta.next_lseq);
        self.reserved_below = self.meta.next_lseq;
        self.stage = Stage::Unlearned;
        self.read_unlearned(self.meta.learned_below, out);
        true
    }

    fn read_unlearned(&mut self, from: Lseq, out: &mut Vec<Effect>) {
        let io = self.io();
        self.ranges.insert(io, RangeUse::Unlearned);
        out.push(Effect::Range(
            io,
            RangeQuery {
                keyspace: Keyspace::Changes,
                from: keys::change(self.options.shard, from),
                to: keys::change(self.options.shard, Lseq(u64::MAX)),
                limit_entries: crate::limits::CHANGES_PAGE_MAX,
                limit_bytes: PAGE_BYTES_MAX,
            },
        ));
    }

    pub(super) fn unlearned_read(&mut self, page: &RangePage, out: &mut Vec<Effect>) {
        let mut last = None;
        for (key, value) in &page.entries {
            let Some((_, lseq)) = keys::parse_change(key) else {
                continue;
            };
            last = Some(lseq);
            if let Ok(entry) = open::<ChangeEntry>(value)
                && !entry.accepted.is_zero()
            {
                self.log
                    .changed(&entry.key, lseq, entry.accepted, Millis(0));
            }
        }
        match last {
            Some(lseq) if page.more => self.read_unlearned(Lseq(lseq.0 + 1), out),
            _ => {
                self.stage = Stage::Witness;
                self.serve_if_ready(out);
            }
        }
    }

    fn serve_if_ready(&mut self, out: &mut Vec<Effect>) {
        if self.stage == Stage::Witness && self.witnessed {
            self.stage = Stage::Serving;
            out.push(Effect::Serving);
        }
    }
}
