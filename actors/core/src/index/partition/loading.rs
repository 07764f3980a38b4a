//! The start: stored vectors are read and the marks found where the feed resumes.

use super::super::{
    StoredVector, TextMarks, VectorKey, parse_vector_key, seal_vector_mark, unseal_vector_mark,
    vector_mark_key, vector_range,
};
use super::shard::ShardState;
use super::space::NewVectors;
use super::{Effect, IndexPartition, LOAD_RETRY_MS, LoadTicket};
use crate::limits::{INDEX_LOAD_ENTRIES, PAGE_BYTES_MAX};
use crate::storage::{Keyspace, RangePage, RangeQuery};
use crate::types::{Blob, Lseq, Millis, ShardId};

impl IndexPartition {
    pub(super) fn host(&mut self, shard: ShardId, out: &mut Vec<Effect>) {
        if shard.is_system() || self.shards.contains_key(&shard) {
            return;
        }
        self.shards.entry(shard).or_default().more = true;
        let (from, to) = vector_range(shard);
        self.load(shard, from, to, out);
    }

    fn load(
        &mut self,
        shard: ShardId,
        from: bytes::Bytes,
        to: bytes::Bytes,
        out: &mut Vec<Effect>,
    ) {
        let ticket = LoadTicket(self.next_ticket());
        let Some(state) = self.shards.get_mut(&shard) else {
            return;
        };
        state.loading = Some(ticket);
        let range = RangeQuery {
            keyspace: Keyspace::Vectors,
            from,
            to,
            limit_entries: INDEX_LOAD_ENTRIES,
            limit_bytes: PAGE_BYTES_MAX,
        };
        out.push(Effect::LoadVectors {
            ticket,
            shard,
            range,
        });
    }

    pub(super) fn vectors_loaded(
        &mut self,
        now: Millis,
        ticket: LoadTicket,
        shard: ShardId,
        page: &RangePage,
        out: &mut Vec<Effect>,
    ) {
        match self.shards.get_mut(&shard) {
            Some(state) if state.loading == Some(ticket) => state.loading = None,
            _ => return,
        }
        for (key, value) in &page.entries {
            if !self.load_one(now, shard, key, value) {
                self.discard(shard, key);
            }
        }
        match page.entries.last() {
            Some((last, _)) if page.more => {
                // The smallest key that comes after the last one.
                let from = [last, &[0_u8][..]].concat().into();
                let (_, to) = vector_range(shard);
                self.load(shard, from, to, out);
            }
            _ => self.start_feeding(shard),
        }
    }

    pub(super) fn vectors_unreadable(
        &mut self,
        now: Millis,
        ticket: LoadTicket,
        shard: ShardId,
        damaged: bool,
    ) {
        let Some(state) = self.shards.get_mut(&shard) else {
            return;
        };
        if state.loading != Some(ticket) {
            return;
        }
        if !damaged {
            state.load_again_at = Some(now.plus(LOAD_RETRY_MS));
            return;
        }
        // What was read until here is good; all entries are looked at for the rest.
        state.loading = None;
        self.distrust(shard);
        self.start_feeding(shard);
    }

    /// Begins again to read the vectors of shards that could not be read before.
    pub(super) fn retry_loads(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let due = |state: &mut ShardState| state.load_again_at.take_if(|at| now >= *at).is_some();
        let due: Vec<ShardId> = self
            .shards
            .iter_mut()
            .filter_map(|(shard, state)| due(state).then_some(*shard))
            .collect();
        for shard in due {
            let (from, to) = vector_range(shard);
            self.load(shard, from, to, out);
        }
    }

    /// Removes a damaged pair. Whose vector it was is unknown, so every entry must be looked at
    /// again, and after a crash as well: the stored mark goes back in the same batch.
    fn discard(&mut self, shard: ShardId, key: &bytes::Bytes) {
        self.counts.damaged_vectors += 1;
        self.writes.remove(Keyspace::Vectors, key.clone());
        self.distrust(shard);
    }

    /// Sees to it that every entry of a shard is looked at again.
    fn distrust(&mut self, shard: ShardId) {
        let Some(state) = self.shards.get_mut(&shard) else {
            return;
        };
        state.damaged = true;
        let (place, start) = (vector_mark_key(shard), seal_vector_mark(shard, Lseq(0)));
        self.writes.put(Keyspace::Vectors, place, start);
    }

    /// Takes one stored pair. Returns whether it was sound.
    fn load_one(&mut self, now: Millis, shard: ShardId, key: &[u8], value: &[u8]) -> bool {
        match parse_vector_key(shard, key) {
            Some(VectorKey::Mark) => {
                let Ok(mark) = unseal_vector_mark(shard, value) else {
                    return false;
                };
                if let Some(state) = self.shards.get_mut(&shard) {
                    state.stored_mark = mark;
                }
                true
            }
            Some(VectorKey::Vector(record)) => {
                let Ok(stored) = StoredVector::unseal(key, value) else {
                    return false;
                };
                let new = NewVectors {
                    key: &record,
                    shard,
                    vtag: stored.vtag,
                    model: &stored.model,
                    tags: stored.tags,
                    vectors: &stored.vectors,
                };
                self.spaces.upsert(now, new).is_ok()
            }
            None => false,
        }
    }

    pub(super) fn text_opened(
        &mut self,
        now: Millis,
        watermark: Option<&Blob>,
        documents: u64,
        out: &mut Vec<Effect>,
    ) {
        self.counts.documents = documents;
        let marks = watermark.and_then(|committed| TextMarks::unseal(committed).ok());
        let marks = match marks {
            Some(own) if own.member == self.config.me => own.marks,
            // Marks of another member's change logs, or unreadable ones: begin anew.
            _ => {
                if documents > 0 {
                    out.push(Effect::ClearText);
                    self.commits.moved(now, 1);
                }
                Default::default()
            }
        };
        self.text_marks = Some(marks);
        let shards: Vec<ShardId> = self.shards.keys().copied().collect();
        for shard in shards {
            self.start_feeding(shard);
        }
    }

    /// Begins to feed a shard once both its marks are known.
    fn start_feeding(&mut self, shard: ShardId) {
        let (Some(marks), Some(state)) = (&self.text_marks, self.shards.get_mut(&shard)) else {
            return;
        };
        if state.feeding || state.loading.is_some() {
            return;
        }
        if state.damaged {
            state.stored_mark = Lseq(0);
        }
        let text_mark = marks.get(&shard).copied().unwrap_or_default();
        state.text_mark = text_mark;
        state.set_fed(text_mark.min(state.stored_mark));
        state.feeding = true;
    }
}
