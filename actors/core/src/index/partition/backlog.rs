//! Texts that wait for their vector.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::{EmbedOutlook, FailedEmbedding, ModelId};
use super::{EMBED_BUSY_MS, EMBED_RETRY_MS, EMBED_RETRY_MS_MAX, EmbedFailure, EmbedTicket};
use crate::limits::{
    EMBED_ATTEMPTS_MAX, EMBED_DOWN_FAILURES, INDEX_EMBEDS_IN_FLIGHT_MAX, INDEX_PENDING_DOWN_MAX,
};
use crate::types::{Ballot, Lseq, Millis, NamespaceId, RecordKey, ShardId};

/// One version of an entry whose vector is missing.
#[derive(Clone, Debug)]
pub(super) struct Missing {
    pub(super) shard: ShardId,
    pub(super) lseq: Lseq,
    pub(super) vtag: Ballot,
    pub(super) tags: Vec<String>,
    pub(super) model: ModelId,
    pub(super) text: String,
    /// Not to be embedded before this: somebody else may send the vector.
    pub(super) due: Millis,
    pub(super) attempts: u32,
    /// What went wrong last.
    pub(super) reason: Option<Arc<str>>,
    pub(super) ticket: Option<EmbedTicket>,
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
}

/// Missing vectors by key, and those of each model in the order in which they are due. Models do
/// not wait for each other.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    missing: BTreeMap<RecordKey, Missing>,
    in_flight: BTreeMap<EmbedTicket, RecordKey>,
    models: BTreeMap<ModelId, Line>,
}

/// The texts of one model.
#[derive(Debug, Default)]
struct Line {
    /// Those that are not being embedded.
    due: BTreeSet<(Millis, Lseq, RecordKey)>,
    in_flight: usize,
    /// Failures since the last success.
    failures: u32,
}

impl Line {
    fn next_due(&self) -> Option<Millis> {
        let has_room = self.in_flight < INDEX_EMBEDS_IN_FLIGHT_MAX;
        self.due
            .first()
            .filter(|_| has_room)
            .map(|(due, _, _)| *due)
    }

    fn is_down(&self) -> bool {
        self.failures >= EMBED_DOWN_FAILURES
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

    /// The version that waits for a key's vector.
    pub(super) fn get(&self, key: &RecordKey) -> Option<&Missing> {
        self.missing.get(key)
    }

    /// Whether another text of a model had better wait elsewhere: the model is down, and enough of
    /// its texts are here to notice when it works again.
    pub(super) fn is_closed(&self, model: &ModelId) -> bool {
        self.models.get(model).is_some_and(|line| {
            line.is_down() && line.due.len() + line.in_flight >= INDEX_PENDING_DOWN_MAX
        })
    }

    /// Adds a missing vector. The key must have none.
    pub(super) fn insert(&mut self, key: RecordKey, missing: Missing) {
        debug_assert!(
            !self.missing.contains_key(&key),
            "an older version must be removed first"
        );
        let line = self.models.entry(missing.model.clone()).or_default();
        line.due.insert((missing.due, missing.lseq, key.clone()));
        self.missing.insert(key, missing);
    }

    /// Removes a key's missing vector; an answer that is on its way will not be recognised.
    pub(super) fn remove(&mut self, key: &RecordKey) -> Option<Missing> {
        let missing = self.missing.remove(key)?;
        if let Some(ticket) = missing.ticket {
            self.in_flight.remove(&ticket);
        }
        if let Some(line) = self.models.get_mut(&missing.model) {
            match missing.ticket {
                Some(_) => line.in_flight = line.in_flight.saturating_sub(1),
                None => {
                    line.due.remove(&(missing.due, missing.lseq, key.clone()));
                }
            }
        }
        Some(missing)
    }

    /// Moves what waits for this very version to a later place in the change log, where it was
    /// found again. Returns the place it had.
    pub(super) fn move_to(
        &mut self,
        key: &RecordKey,
        vtag: Ballot,
        model: &ModelId,
        lseq: Lseq,
    ) -> Option<Lseq> {
        let missing = self.missing.get_mut(key)?;
        if missing.vtag != vtag || missing.model != *model {
            return None;
        }
        let before = std::mem::replace(&mut missing.lseq, lseq);
        if missing.ticket.is_none()
            && let Some(line) = self.models.get_mut(model)
        {
            line.due.remove(&(missing.due, before, key.clone()));
            line.due.insert((missing.due, lseq, key.clone()));
        }
        Some(before)
    }

    /// Moves texts of a shard up to a position forward: somebody waits for them.
    pub(super) fn hurry(&mut self, shard: ShardId, upto: Lseq, due: Millis) {
        for (key, missing) in &mut self.missing {
            let waits = missing.ticket.is_none() && missing.attempts == 0 && missing.due > due;
            if missing.shard == shard
                && missing.lseq <= upto
                && waits
                && let Some(line) = self.models.get_mut(&missing.model)
            {
                line.due.remove(&(missing.due, missing.lseq, key.clone()));
                missing.due = due;
                line.due.insert((due, missing.lseq, key.clone()));
            }
        }
    }

    /// When the next text is due, if it may be embedded then.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.models.values().filter_map(Line::next_due).min()
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

    /// Takes out the text that was embedded under this ticket, and tells whether its model was down
    /// until now.
    pub(super) fn finish(&mut self, ticket: EmbedTicket) -> Option<(RecordKey, Missing, bool)> {
        let (key, missing) = self.take(ticket)?;
        let line = self.models.entry(missing.model.clone()).or_default();
        let was_down = line.is_down();
        line.failures = 0;
        Some((key, missing, was_down))
    }

    /// Notes that an attempt failed. `None`: nobody waits for it any more.
    pub(super) fn fail(
        &mut self,
        now: Millis,
        ticket: EmbedTicket,
        failure: EmbedFailure,
    ) -> Option<Failed> {
        let (key, mut missing) = self.take(ticket)?;
        missing.ticket = None;
        match failure {
            EmbedFailure::Never(reason) => {
                missing.reason = Some(reason);
                return Some(Failed::Never(key, missing));
            }
            EmbedFailure::NotHere => return Some(Failed::NotHere(key, missing)),
            EmbedFailure::Busy => {
                missing.due = now.plus(EMBED_BUSY_MS);
                self.insert(key, missing);
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
        missing.due = now.plus(pause.min(EMBED_RETRY_MS_MAX));
        self.insert(key, missing);
        Some(Failed::Again)
    }

    fn take(&mut self, ticket: EmbedTicket) -> Option<(RecordKey, Missing)> {
        let key = self.in_flight.get(&ticket)?.clone();
        let missing = self.remove(&key)?;
        Some((key, missing))
    }
}
