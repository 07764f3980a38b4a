//! The machine itself: what happens on each event, and what follows from the state after it.

use std::collections::{BTreeMap, BTreeSet};

use super::super::vectors::{BuildError, BuiltSegment, SegmentLimits};
use super::super::{FeedRequest, IndexOptionsLookup, TextMarks, seal_vector_mark, vector_mark_key};
use super::backlog::Backlog;
use super::commits::TextCommits;
use super::early_ships::EarlyShips;
use super::failures::Failures;
use super::fresh::FreshQuery;
use super::queries::OpenQueries;
use super::shard::{Outstanding, ShardState};
use super::spaces::Spaces;
use super::{
    BuildTicket, Effect, EmbedTicket, Event, FEED_TIMEOUT_MS, FeedTicket, QueryTicket, StoreTicket,
    VECTOR_MARK_STORE_MS,
};
use crate::limits::{INDEX_FEED_PAGE_MAX, INDEX_PENDING_TEXTS_MAX};
use crate::storage::{Keyspace, WriteBatch};
use crate::types::{Lseq, MemberId, Millis, NamespaceId, ShardId};
use crate::wire::IndexLag;

/// What an index partition is told when it is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PartitionConfig {
    /// This member: it embeds the versions that it made.
    pub me: MemberId,
    /// When segments of vectors are merged.
    pub segments: SegmentLimits,
    /// Memory that vectors and their graphs may take, in bytes; what finds no room is put off. A merge
    /// holds those that it merges twice.
    pub vector_bytes_max: usize,
}

/// What an index partition holds and did since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PartitionStats {
    /// Shards.
    pub shards: usize,
    /// Entries that can be found by words.
    pub documents: u64,
    /// Vectors that can be found by meaning: one for each chunk of an entry's text.
    pub vectors: usize,
    /// Vectors that were replaced or deleted and still take memory.
    pub dead_vectors: usize,
    /// Memory of the vectors and their graphs, about.
    pub vector_bytes: usize,
    /// Segments of vectors.
    pub segments: usize,
    /// Those that are searched by a graph.
    pub graphs: usize,
    /// Vectors of the others: a search compares them one by one.
    pub compared: usize,
    /// Merges of segments.
    pub merges: u64,
    /// Those that failed.
    pub failed_merges: u64,
    /// Texts whose vectors are missing.
    pub pending_embeddings: usize,
    /// Those that are being embedded.
    pub embeddings_in_flight: usize,
    /// Vectors made here.
    pub embedded: u64,
    /// Vectors that other replicas sent.
    pub received: u64,
    /// Vectors that other replicas were asked for.
    pub asked: u64,
    /// Attempts that failed and are tried again.
    pub embed_retries: u64,
    /// Entries that are not found by meaning, because their text could not be embedded.
    pub embed_failures: usize,
    /// How often a text was given up, for ever or for a while.
    pub embed_given_up: u64,
    /// Vectors that could not be stored; they are made again after a restart.
    pub unstored_vectors: u64,
    /// Stored vectors that were damaged and are made again.
    pub damaged_vectors: u64,
    /// Entries passed over because their namespace remained unknown.
    pub unknown_namespace: u64,
    /// The most changes that a shard is behind, by words or by meaning.
    pub lag_changes: u64,
    /// The longest time that a shard has been behind, in milliseconds.
    pub lag_ms: u64,
}

/// The index of a part of a node's shards. See the module.
#[derive(Debug)]
pub struct IndexPartition {
    pub(super) config: PartitionConfig,
    pub(super) shards: BTreeMap<ShardId, ShardState>,
    pub(super) spaces: Spaces,
    pub(super) backlog: Backlog,
    pub(super) failures: Failures,
    pub(super) early: EarlyShips,
    pub(super) commits: TextCommits,
    pub(super) queries: OpenQueries,
    pub(super) fresh: BTreeMap<QueryTicket, FreshQuery>,
    /// The text marks as last committed; `None` until the full-text index is open.
    pub(super) text_marks: Option<BTreeMap<ShardId, Lseq>>,
    /// Namespaces that remained unknown for so long that their entries are passed over.
    pub(super) unknown: BTreeSet<NamespaceId>,
    /// What the current step writes.
    pub(super) writes: WriteBatch,
    /// Entries that are dealt with once what the current step writes is durable.
    pub(super) writing: Vec<(ShardId, Lseq)>,
    /// The same for writes on their way.
    pub(super) unconfirmed: BTreeMap<StoreTicket, Vec<(ShardId, Lseq)>>,
    pub(super) counts: PartitionStats,
    marks_moved_since: Option<Millis>,
    /// The shard that was asked last: the next one is asked first.
    last_asked: Option<ShardId>,
    tickets: u64,
    timer: Option<Millis>,
}

impl IndexPartition {
    /// A partition without shards, whose full-text index is not open yet.
    pub fn new(config: PartitionConfig) -> IndexPartition {
        IndexPartition {
            config,
            shards: BTreeMap::new(),
            spaces: Spaces::new(config.segments),
            backlog: Backlog::default(),
            failures: Failures::default(),
            early: EarlyShips::default(),
            commits: TextCommits::default(),
            queries: OpenQueries::default(),
            fresh: BTreeMap::new(),
            text_marks: None,
            unknown: BTreeSet::new(),
            writes: WriteBatch::default(),
            writing: Vec::new(),
            unconfirmed: BTreeMap::new(),
            counts: PartitionStats::default(),
            marks_moved_since: None,
            last_asked: None,
            tickets: 0,
            timer: None,
        }
    }

    /// Deals with one event. `lookup` tells how namespaces are indexed; effects are to be carried
    /// out in order.
    pub fn step(
        &mut self,
        now: Millis,
        event: Event,
        lookup: &dyn IndexOptionsLookup,
        out: &mut Vec<Effect>,
    ) {
        match event {
            Event::Host(shard) => self.host(shard, out),
            Event::TextOpened {
                watermark,
                documents,
            } => {
                self.text_opened(now, watermark.as_ref(), documents, out);
            }
            Event::VectorsLoaded {
                ticket,
                shard,
                page,
            } => {
                self.vectors_loaded(now, ticket, shard, &page, out);
            }
            Event::VectorsUnreadable {
                ticket,
                shard,
                damaged,
            } => {
                self.vectors_unreadable(now, ticket, shard, damaged);
            }
            Event::Stored { ticket, durable } => self.stored(now, ticket, durable),
            Event::Advance { shard, learned } => {
                if let Some(state) = self.shards.get_mut(&shard) {
                    state.target = state.target.max(learned);
                }
            }
            Event::Page { ticket, page } => self.page(now, ticket, page, lookup, out),
            Event::Embedded { ticket, result } => self.embedded(now, ticket, result, out),
            Event::Shipped(ship) => self.shipped(now, ship),
            Event::Wanted { from, want } => self.wanted(from, want, out),
            Event::SegmentBuilt { ticket, result } => self.segment_built(now, ticket, result),
            Event::Committed { documents } => self.committed(documents),
            Event::Query { ticket, query } => self.query(now, ticket, query, lookup, out),
            Event::Freshened {
                ticket,
                shard,
                upto,
            } => self.freshened(now, ticket, shard, upto),
            Event::TextFound { ticket, result } => self.text_found(now, ticket, result, out),
            Event::Timer => self.timer = None,
        }
        self.retry_loads(now, out);
        self.unpark(now);
        self.pull(now, out);
        self.ask_peers(now, out);
        self.start_embeddings(now, out);
        self.commit(now, out);
        self.store_marks(now);
        self.tell_shards(out);
        self.merge_segments(now, out);
        self.note_lag(now);
        self.end_fresh(now, lookup, out);
        self.flush(out);
        self.set_timer(out);
    }

    /// What it holds and did.
    pub fn stats(&self, now: Millis) -> PartitionStats {
        let of_vectors = self.spaces.stats();
        let mut stats = PartitionStats {
            shards: self.shards.len(),
            vectors: of_vectors.vectors,
            dead_vectors: of_vectors.dead_vectors,
            vector_bytes: of_vectors.memory_bytes,
            segments: of_vectors.segments,
            graphs: of_vectors.graphs,
            compared: of_vectors.compared,
            embed_failures: self.failures.count(),
            pending_embeddings: self.backlog.len(),
            embeddings_in_flight: self.backlog.in_flight(),
            ..self.counts
        };
        for (shard, state) in &self.shards {
            for lag in [state.text_lag(*shard, now), state.vector_lag(*shard, now)] {
                stats.lag_changes = stats.lag_changes.max(lag.changes);
                stats.lag_ms = stats.lag_ms.max(lag.behind_ms);
            }
        }
        stats
    }

    /// How far each shard's index is behind its log. A search compares so many vectors one by one.
    pub(super) fn lags(&self, now: Millis, compared: usize) -> Vec<(ShardId, IndexLag)> {
        let short = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let compared = short(compared as u64);
        let lags = self.shards.iter().map(|(shard, state)| {
            let words_ms = state
                .reached_end
                .then(|| short(state.text_lag(*shard, now).behind_ms));
            let meaning_ms = state
                .reached_end
                .then(|| short(state.vector_lag(*shard, now).behind_ms));
            let lag = IndexLag {
                words_ms,
                meaning_ms,
                compared,
            };
            (*shard, lag)
        });
        lags.collect()
    }

    pub(super) fn next_ticket(&mut self) -> u64 {
        self.tickets += 1;
        self.tickets
    }

    /// Asks shards for pages, in turn, while there is room for what they may hold.
    fn pull(&mut self, now: Millis, out: &mut Vec<Effect>) {
        for state in self.shards.values_mut() {
            state
                .outstanding
                .take_if(|asked| now >= asked.since.plus(FEED_TIMEOUT_MS));
            state.paused_until.take_if(|until| now >= *until);
        }
        let on_their_way = self
            .shards
            .values()
            .filter(|state| state.outstanding.is_some())
            .count();
        let mut expected = self.backlog.len() + on_their_way * INDEX_FEED_PAGE_MAX;
        while expected + INDEX_FEED_PAGE_MAX <= INDEX_PENDING_TEXTS_MAX && !self.commits.is_full() {
            let Some(shard) = self.next_to_ask() else {
                return;
            };
            let ticket = FeedTicket(self.next_ticket());
            let Some(state) = self.shards.get_mut(&shard) else {
                return;
            };
            state.outstanding = Some(Outstanding {
                ticket,
                after: state.fed,
                since: now,
            });
            let request = FeedRequest {
                shard,
                after: state.fed,
                limit: INDEX_FEED_PAGE_MAX,
            };
            out.push(Effect::RequestFeed { ticket, request });
            self.last_asked = Some(shard);
            expected += INDEX_FEED_PAGE_MAX;
        }
    }

    /// The first shard after the last one asked that has something to tell.
    fn next_to_ask(&self) -> Option<ShardId> {
        let wanting = self.shards.iter().filter(|(_, state)| state.wants_page());
        let mut wanting = wanting.map(|(shard, _)| *shard).peekable();
        let first = wanting.peek().copied();
        wanting
            .find(|shard| Some(*shard) > self.last_asked)
            .or(first)
    }

    fn start_embeddings(&mut self, now: Millis, out: &mut Vec<Effect>) {
        while self.backlog.next_due().is_some_and(|due| due <= now) {
            let ticket = EmbedTicket(self.next_ticket());
            let Some(missing) = self.backlog.start(now, ticket) else {
                return;
            };
            let (model, text) = (missing.model.clone(), missing.next_text().to_owned());
            out.push(Effect::Embed {
                ticket,
                model,
                text,
            });
        }
    }

    fn commit(&mut self, now: Millis, out: &mut Vec<Effect>) {
        let Some(committed) = &self.text_marks else {
            return;
        };
        if self.commits.is_clean() {
            // Nothing changed the text: what was fed can be found as far as it ever will.
            for state in self.shards.values_mut().filter(|state| state.feeding) {
                state.text_mark = state.text_mark.max(state.fed);
            }
        }
        let is_due = self.commits.due().is_some_and(|due| due <= now);
        let is_awaited = self.is_commit_awaited() && self.commits.may_start();
        if !is_due && !is_awaited {
            return;
        }
        let mut marks = committed.clone();
        let feeding = self.shards.iter().filter(|(_, state)| state.feeding);
        marks.extend(feeding.map(|(shard, state)| (*shard, state.reached())));
        self.commits.start(marks.clone());
        out.push(Effect::CommitText(
            TextMarks {
                member: self.config.me,
                marks,
            }
            .seal(),
        ));
    }

    fn committed(&mut self, documents: u64) {
        self.counts.documents = documents;
        let marks = self.commits.finish();
        for (shard, mark) in &marks {
            if let Some(state) = self.shards.get_mut(shard) {
                state.text_mark = state.text_mark.max(*mark);
            }
        }
        self.text_marks = Some(marks);
    }

    /// Stores the vector marks that moved, all together and not too often.
    fn store_marks(&mut self, now: Millis) {
        let moved = |state: &ShardState| state.feeding && state.vector_mark() > state.stored_mark;
        if !self.shards.values().any(moved) {
            self.marks_moved_since = None;
            return;
        }
        let since = *self.marks_moved_since.get_or_insert(now);
        if now < since.plus(VECTOR_MARK_STORE_MS) {
            return;
        }
        self.marks_moved_since = None;
        for (shard, state) in self.shards.iter_mut().filter(|(_, state)| moved(state)) {
            let mark = state.vector_mark();
            state.stored_mark = mark;
            let (key, value) = (vector_mark_key(*shard), seal_vector_mark(*shard, mark));
            self.writes.put(Keyspace::Vectors, key, value);
        }
    }

    /// Begins the next merge of segments, unless vectors are still being read.
    fn merge_segments(&mut self, now: Millis, out: &mut Vec<Effect>) {
        self.spaces.wake(now);
        if self.shards.values().any(|state| state.loading.is_some()) {
            return;
        }
        let ticket = BuildTicket(self.tickets + 1);
        if let Some(order) = self.spaces.next_order(now, ticket) {
            self.tickets += 1;
            out.push(Effect::BuildSegment { ticket, order });
        }
    }

    fn segment_built(
        &mut self,
        now: Millis,
        ticket: BuildTicket,
        result: Result<BuiltSegment, BuildError>,
    ) {
        let failed = result.is_err();
        if self.spaces.merged(now, ticket, result) {
            self.counts.merges += 1;
            self.counts.failed_merges += u64::from(failed);
        }
    }

    /// Tells shards which deletions the index knows of, durably.
    fn tell_shards(&mut self, out: &mut Vec<Effect>) {
        for (shard, state) in self.shards.iter_mut().filter(|(_, state)| state.feeding) {
            let upto = state.deletions_known();
            if upto > state.told {
                state.told = upto;
                let shard = *shard;
                out.push(Effect::Indexed { shard, upto });
            }
        }
    }

    /// Sends off what this step writes.
    fn flush(&mut self, out: &mut Vec<Effect>) {
        if self.writes.is_empty() {
            return;
        }
        let ticket = StoreTicket(self.next_ticket());
        self.unconfirmed
            .insert(ticket, std::mem::take(&mut self.writing));
        out.push(Effect::Store {
            ticket,
            batch: std::mem::take(&mut self.writes),
        });
    }

    fn note_lag(&mut self, now: Millis) {
        for state in self.shards.values_mut() {
            state.note_lag(now);
        }
    }

    /// Sees to it that something happens when the next deadline comes.
    fn set_timer(&mut self, out: &mut Vec<Effect>) {
        let of_shards = self.shards.values().flat_map(|state| {
            let timeout = state
                .outstanding
                .map(|asked| asked.since.plus(FEED_TIMEOUT_MS));
            timeout
                .into_iter()
                .chain(state.paused_until)
                .chain(state.parked_until())
                .chain(state.load_again_at)
        });
        let marks = self
            .marks_moved_since
            .map(|since| since.plus(VECTOR_MARK_STORE_MS));
        let commit = self.text_marks.as_ref().and_then(|_| self.commits.due());
        let all = of_shards
            .chain(marks)
            .chain(commit)
            .chain(self.spaces.next_due())
            .chain(self.next_fresh_end())
            .chain(self.backlog.next_due())
            .chain(self.backlog.next_ask());
        let Some(next) = all.min() else { return };
        if self.timer.is_none_or(|set| next < set) {
            self.timer = Some(next);
            out.push(Effect::SetTimer(next));
        }
    }
}

#[cfg(test)]
mod tests;
