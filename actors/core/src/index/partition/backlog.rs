//! Texts that wait for their vector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{EmbedOutlook, Embedding, FailedEmbedding, ModelId};
use super::{
    ASK_AGAIN_MS, ASKS_MAX, EMBED_BUSY_MS, EMBED_RETRY_MS, EMBED_RETRY_MS_MAX, EmbedFailure,
    EmbedTicket,
};
use crate::limits::{
    EMBED_ATTEMPTS_MAX, EMBED_DOWN_FAILURES, INDEX_EMBEDS_IN_FLIGHT_MAX, INDEX_PENDING_DOWN_MAX,
};
use crate::types::{Ballot, Lseq, Millis, NamespaceId, RecordKey, ShardId};

/// One version of an entry whose vectors are missing.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub(super) shard: ShardId,
    pub(super) lseq: Lseq,
    pub(super) vtag: Ballot,
    pub(super) tags: Vec<String>,
    pub(super) model: ModelId,
    /// The chunks of its text.
    pub(super) texts: Vec<String>,
    /// The vectors of the first of them.
    pub(super) vectors: Vec<Embedding>,
    /// When the next thing is to be done for it.
    pub(super) due: Millis,
    /// Not to be embedded before this: somebody else may send the vectors.
    pub(super) embed_at: Millis,
    /// How often others were asked for the vectors.
    pub(super) asks: u32,
    pub(super) attempts: u32,
    /// What went wrong last.
    pub(super) reason: Option<Arc<str>>,
    pub(super) ticket: Option<EmbedTicket>,
}

impl Missing {
    /// The chunk that is embedded next.
    pub(super) fn next_text(&self) -> &str {
        self.texts
            .get(self.vectors.len())
            .map_or("", String::as_str)
    }

    /// Whether another replica is to be asked for the vectors before they are made here.
    fn is_asked(&self) -> bool {
        self.asks < ASKS_MAX && self.due < self.embed_at
    }

    fn is_complete(&self) -> bool {
        self.vectors.len() >= self.texts.len()
    }
}

/// What became of a vector that was made.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "it is taken apart where it is returned"
)]
pub(super) enum Finished {
    /// Further chunks are to be embedded.
    Chunk,
    /// It was removed: all chunks have their vectors.
    Whole(RecordKey, Missing),
}

/// What became of a failed attempt.
#[derive(Debug)]
pub(super) enum Failed {
    /// It will be tried again.
    Again,
    /// It was removed: it failed too often, and is to come again later.
    NotNow(RecordKey, Missing),
    /// It was removed: this node does not have the model.
    NotHere(RecordKey, Missing),
    /// It was removed: it can never succeed.
    Never(RecordKey, Missing),
    /// It was removed: the last chunk can never succeed, the others have.
    Rest(RecordKey, Missing),
}

/// A text in a queue: when it is its turn, where it is in the change log, its key.
type Place = (Millis, Lseq, RecordKey);

/// Missing vectors by key, and those of each model in the order in which they are due. Models do
/// not wait for each other.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    missing: BTreeMap<RecordKey, Missing>,
    /// Those for which another replica is to be asked at a time.
    asking: BTreeSet<Place>,
    in_flight: BTreeMap<EmbedTicket, RecordKey>,
    models: BTreeMap<ModelId, Line>,
}

/// The texts of one model.
#[derive(Debug, Default)]
struct Line {
    /// Those that are to be embedded at a time.
    due: BTreeSet<Place>,
    in_flight: usize,
    /// Failures since the last success.
    failures: u32,
}

impl Line {
    fn next_due(&self) -> Option<Millis> {
        let has_room = self.in_flight < INDEX_EMBEDS_IN_FLIGHT_MAX;
        let first = self.due.first().filter(|_| has_room);
        first.map(|(due, _, _)| *due)
    }

    fn is_down(&self) -> bool {
        self.failures >= EMBED_DOWN_FAILURES
    }
}

/// Where a text waits: to be asked for, or in its model's line.
fn queue<'a>(
    asking: &'a mut BTreeSet<Place>,
    models: &'a mut BTreeMap<ModelId, Line>,
    missing: &Missing,
) -> &'a mut BTreeSet<Place> {
    if missing.is_asked() {
        asking
    } else {
        &mut models.entry(missing.model.clone()).or_default().due
    }
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.missing.len()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// How many texts of each namespace wait.
    pub(super) fn by_namespace(&self) -> BTreeMap<NamespaceId, usize> {
        let mut counts = BTreeMap::new();
        for key in self.missing.keys() {
            *counts.entry(key.namespace).or_default() += 1;
        }
        counts
    }

    /// Those of a namespace that were tried in vain, in key order.
    pub(super) fn list(&self, namespace: NamespaceId) -> impl Iterator<Item = FailedEmbedding> {
        let waiting = self.missing.iter();
        let waiting = waiting.filter(move |(key, _)| key.namespace == namespace);
        waiting.filter_map(|(key, missing)| {
            Some(FailedEmbedding {
                key: key.key.clone(),
                version: missing.vtag,
                attempts: missing.attempts,
                reason: missing.reason.as_ref()?.to_string(),
                outlook: EmbedOutlook::Soon,
            })
        })
    }

    /// Whether another text of a model had better wait elsewhere: the model is down, and enough of
    /// its texts are here to notice when it works again.
    pub(super) fn is_closed(&self, model: &ModelId) -> bool {
        self.models.get(model).is_some_and(|line| {
            line.is_down() && line.due.len() + line.in_flight >= INDEX_PENDING_DOWN_MAX
        })
    }

    /// The version that waits for a key's vector.
    pub(super) fn get(&self, key: &RecordKey) -> Option<&Missing> {
        self.missing.get(key)
    }

    /// Adds a missing vector. The key must have none.
    pub(super) fn insert(&mut self, key: RecordKey, missing: Missing) {
        debug_assert!(
            !self.missing.contains_key(&key),
            "an older version must be removed first"
        );
        let place = (missing.due, missing.lseq, key.clone());
        queue(&mut self.asking, &mut self.models, &missing).insert(place);
        self.missing.insert(key, missing);
    }

    /// Removes a key's missing vector; an answer that is on its way will not be recognised.
    pub(super) fn remove(&mut self, key: &RecordKey) -> Option<Missing> {
        let missing = self.missing.remove(key)?;
        match missing.ticket {
            Some(ticket) => {
                self.in_flight.remove(&ticket);
                if let Some(line) = self.models.get_mut(&missing.model) {
                    line.in_flight = line.in_flight.saturating_sub(1);
                }
            }
            None => {
                let place = (missing.due, missing.lseq, key.clone());
                queue(&mut self.asking, &mut self.models, &missing).remove(&place);
            }
        }
        Some(missing)
    }

    /// Whether this very version waits already.
    pub(super) fn awaits(&self, key: &RecordKey, vtag: Ballot, model: &ModelId) -> bool {
        let missing = self.missing.get(key);
        missing.is_some_and(|missing| missing.vtag == vtag && missing.model == *model)
    }

    /// Moves texts of a shard up to a position forward: somebody waits for them.
    pub(super) fn hurry(&mut self, shard: ShardId, upto: Lseq, due: Millis) {
        for (key, missing) in &mut self.missing {
            let waits = missing.ticket.is_none() && missing.attempts == 0 && missing.embed_at > due;
            if missing.shard == shard && missing.lseq <= upto && waits {
                let before = (missing.due, missing.lseq, key.clone());
                queue(&mut self.asking, &mut self.models, missing).remove(&before);
                missing.embed_at = due;
                missing.due = missing.due.min(due);
                let after = (missing.due, missing.lseq, key.clone());
                queue(&mut self.asking, &mut self.models, missing).insert(after);
            }
        }
    }

    /// When the next text is due, if it may be embedded then.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.models.values().filter_map(Line::next_due).min()
    }

    /// When another replica should be asked for vectors next.
    pub(super) fn next_ask(&self) -> Option<Millis> {
        self.asking.first().map(|(due, _, _)| *due)
    }

    /// Takes the next text for whose vectors another replica should be asked now, and notes that it
    /// is.
    pub(super) fn ask(&mut self, now: Millis) -> Option<(RecordKey, Missing)> {
        if self.next_ask()? > now {
            return None;
        }
        let (_, _, key) = self.asking.pop_first()?;
        let missing = self.missing.get_mut(&key)?;
        let asked = missing.clone();
        missing.asks += 1;
        missing.due = if missing.asks < ASKS_MAX {
            now.plus(ASK_AGAIN_MS).min(missing.embed_at)
        } else {
            missing.embed_at
        };
        let place = (missing.due, missing.lseq, key.clone());
        queue(&mut self.asking, &mut self.models, missing).insert(place);
        Some((key, asked))
    }

    /// Takes the next text that is due and notes that it is being embedded.
    pub(super) fn start(&mut self, now: Millis, ticket: EmbedTicket) -> Option<&Missing> {
        let due = self.next_due().filter(|due| *due <= now)?;
        let mut lines = self.models.values_mut();
        let line = lines.find(|line| line.next_due() == Some(due))?;
        let (_, _, key) = line.due.pop_first()?;
        line.in_flight += 1;
        self.in_flight.insert(ticket, key.clone());
        let missing = self.missing.get_mut(&key)?;
        missing.ticket = Some(ticket);
        Some(missing)
    }

    /// Adds the vector of the chunk that was embedded under this ticket. Takes the text out if it
    /// was the last one; otherwise the next chunk is due. Tells as well whether the model was down
    /// until now.
    pub(super) fn finish(
        &mut self,
        now: Millis,
        ticket: EmbedTicket,
        vector: Embedding,
    ) -> Option<(Finished, bool)> {
        let (key, mut missing) = self.take(ticket)?;
        let line = self.models.entry(missing.model.clone()).or_default();
        let was_down = line.is_down();
        line.failures = 0;
        missing.vectors.push(vector);
        if missing.is_complete() {
            return Some((Finished::Whole(key, missing), was_down));
        }
        missing.attempts = 0;
        self.put_back(key, missing, now);
        Some((Finished::Chunk, was_down))
    }

    /// Takes out the text of which a chunk was being embedded.
    fn take(&mut self, ticket: EmbedTicket) -> Option<(RecordKey, Missing)> {
        let key = self.in_flight.get(&ticket)?.clone();
        let mut missing = self.remove(&key)?;
        missing.ticket = None;
        Some((key, missing))
    }

    fn put_back(&mut self, key: RecordKey, mut missing: Missing, due: Millis) {
        missing.due = due;
        self.insert(key, missing);
    }

    /// Notes that an attempt failed. `None`: nobody waits for it any more.
    pub(super) fn fail(
        &mut self,
        now: Millis,
        ticket: EmbedTicket,
        failure: EmbedFailure,
    ) -> Option<Failed> {
        let (key, mut missing) = self.take(ticket)?;
        match failure {
            EmbedFailure::Never(reason) => {
                missing.reason = Some(reason);
                missing.texts.remove(missing.vectors.len());
                return Some(if missing.texts.is_empty() {
                    Failed::Never(key, missing)
                } else if missing.is_complete() {
                    Failed::Rest(key, missing)
                } else {
                    self.put_back(key, missing, now);
                    Failed::Again
                });
            }
            EmbedFailure::NotHere => return Some(Failed::NotHere(key, missing)),
            EmbedFailure::Busy => {
                self.put_back(key, missing, now.plus(EMBED_BUSY_MS));
                return Some(Failed::Again);
            }
            EmbedFailure::Again(reason) => missing.reason = Some(reason),
        }
        missing.attempts += 1;
        if let Some(line) = self.models.get_mut(&missing.model) {
            line.failures = line.failures.saturating_add(1);
        }
        if missing.attempts >= EMBED_ATTEMPTS_MAX {
            return Some(Failed::NotNow(key, missing));
        }
        let pause = EMBED_RETRY_MS
            .checked_shl(missing.attempts - 1)
            .unwrap_or(EMBED_RETRY_MS_MAX);
        self.put_back(key, missing, now.plus(pause.min(EMBED_RETRY_MS_MAX)));
        Some(Failed::Again)
    }
}
