//! What becomes of each entry: its words, and its vector from whoever has it first.

use std::sync::Arc;

use super::super::{
    EmbedOutlook, Embedding, Embeddings, FeedEntry, FeedPage, IndexOptions, IndexOptionsLookup,
    NamespaceIndexing, StoredVector, TextChange, TextDocument, VectorShip, vector_key,
};
use super::backlog::{Finished, Missing};
use super::space::NewVectors;
use super::{
    ASK_AFTER_MS, Effect, EmbedFailure, EmbedTicket, FEED_PAUSE_MS, FRESH_SHIP_WAIT_MS, FeedTicket,
    IndexPartition, NAMESPACE_WAIT_MS, SHIP_WAIT_MS, StoreTicket,
};
use crate::limits::{EMBED_ATTEMPTS_MAX, INDEX_FEED_PAGE_MAX, NAMESPACE_TRIES_MAX, NAMESPACES_MAX};
use crate::storage::Keyspace;
use crate::types::{Lseq, Millis, NamespaceId, RecordKey, ShardId};

impl IndexPartition {
    pub(super) fn page(
        &mut self,
        now: Millis,
        ticket: FeedTicket,
        page: FeedPage,
        lookup: &dyn IndexOptionsLookup,
        out: &mut Vec<Effect>,
    ) {
        let shard = page.shard;
        let Some(state) = self.shards.get_mut(&shard) else {
            return;
        };
        let Some(asked) = state.outstanding.take_if(|asked| asked.ticket == ticket) else {
            return;
        };
        let mut fed = page.upto.max(asked.after);
        let mut more = page.entries.len() >= INDEX_FEED_PAGE_MAX;
        let mut changes = Vec::new();
        for entry in page
            .entries
            .into_iter()
            .filter(|entry| entry.lseq > asked.after)
        {
            let before = Lseq(entry.lseq.0.saturating_sub(1));
            match self.indexing(shard, entry.key.namespace, lookup) {
                NamespaceIndexing::Indexed(options) => {
                    self.entry(now, shard, entry, options, &mut changes);
                }
                NamespaceIndexing::Skipped => {}
                NamespaceIndexing::NotYetKnown => {
                    fed = before;
                    more = true;
                    if let Some(state) = self.shards.get_mut(&shard) {
                        state.paused_until = Some(now.plus(NAMESPACE_WAIT_MS));
                    }
                    break;
                }
            }
        }
        if fed > asked.after || !changes.is_empty() {
            self.commits.moved(now, changes.len());
        }
        if !changes.is_empty() {
            out.push(Effect::ApplyText(changes));
        }
        if let Some(state) = self.shards.get_mut(&shard) {
            if fed == asked.after && state.target > fed {
                // The shard promised more than it gave: ask again, but do not insist.
                state.paused_until.get_or_insert(now.plus(FEED_PAUSE_MS));
            }
            state.set_fed(fed);
            state.more = more;
            state.reached_end |= !more && fed >= state.target;
        }
    }

    /// How a namespace is indexed. One that remains unknown for long is passed over, so that it
    /// does not hold up the others.
    fn indexing(
        &mut self,
        shard: ShardId,
        namespace: NamespaceId,
        lookup: &dyn IndexOptionsLookup,
    ) -> NamespaceIndexing {
        if namespace == NamespaceId::SYSTEM {
            return NamespaceIndexing::Skipped;
        }
        let indexing = lookup.indexing(namespace);
        if indexing != NamespaceIndexing::NotYetKnown {
            return indexing;
        }
        let Some(state) = self.shards.get_mut(&shard) else {
            return indexing;
        };
        if !self.unknown.contains(&namespace) {
            state.unknown_namespace += 1;
            if state.unknown_namespace <= NAMESPACE_TRIES_MAX {
                return NamespaceIndexing::NotYetKnown;
            }
            state.unknown_namespace = 0;
            if self.unknown.len() < NAMESPACES_MAX {
                self.unknown.insert(namespace);
            }
        }
        self.counts.unknown_namespace += 1;
        NamespaceIndexing::Skipped
    }

    fn entry(
        &mut self,
        now: Millis,
        shard: ShardId,
        entry: FeedEntry,
        options: IndexOptions,
        changes: &mut Vec<TextChange>,
    ) {
        let FeedEntry {
            lseq,
            key,
            vtag,
            value,
            tags,
            ..
        } = entry;
        let text = value.map(|value| options.text_of(key.key.as_bytes(), value.as_ref()));
        let (words, meaning) = text.map_or_else(Default::default, |t| (t.words, t.meaning));
        if options.text && !words.is_empty() {
            let tags = tags.clone();
            let document = TextDocument {
                key: key.clone(),
                shard,
                vtag,
                language: options.language,
                words,
                tags,
            };
            changes.push(TextChange::Upsert(document));
        } else if options.text {
            changes.push(TextChange::Delete(key.clone()));
        }
        if options.semantic && !meaning.is_empty() {
            // A version that was accepted again is in the log again. It waits at its first place: who
            // was told that everything up to there is searchable waits for its vector, too.
            if self.backlog.awaits(&key, vtag, &options.model) {
                return;
            }
        }
        // Of this version it may be known that it failed; of others it does not matter any more.
        let attempts = self.failures.attempts(&key, vtag, &options.model);
        if attempts.is_none() || meaning.is_empty() {
            self.failures.remove(&key);
        }
        // Nobody needs the vector of an older version any more.
        if let Some(state) = self.shards.get_mut(&shard) {
            state.forget_removal(&key);
        }
        if let Some(older) = self.backlog.remove(&key) {
            self.end(older.shard, older.lseq);
        }
        if !options.semantic {
            return;
        }
        if meaning.is_empty() {
            self.spaces.remove(now, &key);
            if let Some(state) = self.shards.get_mut(&shard) {
                state.begin_removal(lseq, key.clone());
            }
            self.forget_stored(shard, &key, lseq);
            return;
        }
        if self.spaces.vtag(&key, &options.model) == Some(vtag) {
            return;
        }
        // The stored vector of the older version stays until it is replaced: the mark stands
        // before this entry, which will come again if the new vector is not stored in time.
        self.spaces.remove(now, &key);
        let model = options.model;
        let early = self.early.take(&key, vtag, &model);
        let is_behind = self.shards.get(&shard).is_some_and(|state| {
            let ahead = state.target.0.saturating_sub(lseq.0);
            ahead >= INDEX_FEED_PAGE_MAX as u64
        });
        let (ask_ms, wait_ms) = if vtag.member == self.config.me {
            (0, 0)
        } else if self.is_vector_awaited(shard, lseq) {
            (0, FRESH_SHIP_WAIT_MS)
        } else if is_behind {
            (0, SHIP_WAIT_MS)
        } else {
            (ASK_AFTER_MS, SHIP_WAIT_MS)
        };
        let missing = Missing {
            shard,
            lseq,
            vtag,
            tags,
            model,
            texts: meaning,
            vectors: Vec::new(),
            due: now.plus(ask_ms),
            embed_at: now.plus(wait_ms),
            asks: 0,
            // What failed often and comes again has one attempt.
            attempts: attempts.map_or(0, |attempts| attempts.min(EMBED_ATTEMPTS_MAX - 1)),
            reason: None,
            ticket: None,
        };
        match early {
            Some(ship) => {
                self.counts.received += 1;
                self.begin(shard, lseq);
                self.complete(now, &key, missing, ship.vectors);
            }
            None if self.backlog.is_closed(&missing.model) => self.park(now, &key, &missing),
            None if self.is_full() => self.put_off(now, &key, missing),
            None => {
                self.begin(shard, lseq);
                self.backlog.insert(key, missing);
            }
        }
    }

    pub(super) fn embedded(
        &mut self,
        now: Millis,
        ticket: EmbedTicket,
        result: Result<Arc<Embedding>, EmbedFailure>,
        out: &mut Vec<Effect>,
    ) {
        match result {
            Ok(vector) => {
                let vector = Arc::unwrap_or_clone(vector);
                let Some((finished, was_down)) = self.backlog.finish(now, ticket, vector) else {
                    return;
                };
                if was_down {
                    self.model_recovered(now);
                }
                self.counts.embedded += 1;
                if let Finished::Whole(key, missing) = finished {
                    self.embedded_all(now, &key, missing, out);
                }
            }
            Err(failure) => self.embed_failed(now, ticket, failure, out),
        }
    }

    /// All chunks of a text have their vectors, made here.
    pub(super) fn embedded_all(
        &mut self,
        now: Millis,
        key: &RecordKey,
        mut missing: Missing,
        out: &mut Vec<Effect>,
    ) {
        let Ok(vectors) = Embeddings::new(std::mem::take(&mut missing.vectors)) else {
            self.counts.embed_given_up += 1;
            self.forget_stored(missing.shard, key, missing.lseq);
            return;
        };
        if missing.vtag.member == self.config.me {
            out.push(Effect::Ship(VectorShip {
                shard: missing.shard,
                key: key.clone(),
                vtag: missing.vtag,
                model: missing.model.clone(),
                vectors: vectors.clone(),
            }));
        }
        self.complete(now, key, missing, vectors);
    }

    pub(super) fn shipped(&mut self, now: Millis, ship: VectorShip) {
        if !self.shards.contains_key(&ship.shard) {
            return;
        }
        match self.backlog.get(&ship.key) {
            Some(missing) if missing.vtag == ship.vtag && missing.model == ship.model => {
                let Some(missing) = self.backlog.remove(&ship.key) else {
                    return;
                };
                self.counts.received += 1;
                self.complete(now, &ship.key, missing, ship.vectors);
            }
            Some(missing) if missing.vtag > ship.vtag => {}
            _ if self
                .spaces
                .vtag(&ship.key, &ship.model)
                .is_some_and(|vtag| vtag >= ship.vtag) => {}
            _ => self.early.keep(ship),
        }
    }

    /// Whether there is no memory for further vectors.
    fn is_full(&self) -> bool {
        self.spaces.memory_bytes() >= self.config.vector_bytes_max
    }

    /// Leaves an entry for which there is no memory in the log for later.
    fn put_off(&mut self, now: Millis, key: &RecordKey, missing: Missing) {
        let most = self.config.vector_bytes_max;
        let reason = format!("the {most} bytes that vectors may take in this partition are full");
        let missing = Missing {
            reason: Some(reason.into()),
            ..missing
        };
        self.park(now, key, &missing);
    }

    /// Missing vectors are there: they can be found, and the entry is dealt with once they are
    /// durable.
    fn complete(&mut self, now: Millis, key: &RecordKey, missing: Missing, vectors: Embeddings) {
        if self.is_full() {
            return self.put_off(now, key, missing);
        }
        let (shard, lseq) = (missing.shard, missing.lseq);
        let new = NewVectors {
            key,
            shard,
            vtag: missing.vtag,
            model: &missing.model,
            tags: missing.tags.clone(),
            vectors: &vectors,
        };
        if self.spaces.upsert(now, new).is_err() {
            // Of another dimension than the model's other vectors: comparing them is in vain.
            self.counts.embed_given_up += 1;
            let reason = format!("its vector has {} dimensions, unlike others", vectors.dim());
            let failed = Missing {
                reason: Some(reason.into()),
                ..missing
            };
            self.list_failure(key, &failed, EmbedOutlook::Never);
            self.forget_stored(shard, key, lseq);
            return;
        }
        self.failures.remove(key);
        let place = vector_key(shard, key);
        let stored = StoredVector {
            vtag: missing.vtag,
            model: missing.model,
            tags: missing.tags,
            vectors,
        };
        let sealed = stored.seal(&place);
        self.writes.put(Keyspace::Vectors, place, sealed);
        self.writing.push((shard, lseq));
    }

    /// Removes what is stored of an older version. The entry is dealt with once that is durable.
    pub(super) fn forget_stored(&mut self, shard: ShardId, key: &RecordKey, lseq: Lseq) {
        self.writes
            .remove(Keyspace::Vectors, vector_key(shard, key));
        self.writing.push((shard, lseq));
    }

    /// What was written is durable, or could not be written: then what was to be removed is removed
    /// later, and vectors are made again in the next life.
    pub(super) fn stored(&mut self, now: Millis, ticket: StoreTicket, durable: bool) {
        for (shard, lseq) in self.unconfirmed.remove(&ticket).unwrap_or_default() {
            if durable {
                self.end(shard, lseq);
            } else if let Some(state) = self.shards.get_mut(&shard) {
                if state.is_removal(lseq) {
                    state.park(now, lseq);
                    continue;
                }
                self.counts.unstored_vectors += 1;
                state.give_up(lseq);
            }
        }
    }

    fn begin(&mut self, shard: ShardId, lseq: Lseq) {
        if let Some(state) = self.shards.get_mut(&shard) {
            state.begin(lseq);
        }
    }

    fn end(&mut self, shard: ShardId, lseq: Lseq) {
        if let Some(state) = self.shards.get_mut(&shard) {
            state.end(lseq);
        }
    }
}
