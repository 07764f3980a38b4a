//! What becomes of an entry whose text could not be embedded. Its place in the change log is kept:
//! what failed too often comes again from there, after a pause that grows, or as soon as the model
//! works again. So neither a bad text nor an endpoint that is away for a day costs a vector, and the
//! texts of other models and the full-text index go on meanwhile.

use std::sync::Arc;

use super::super::{EmbedOutlook, FailedEmbedding};
use super::backlog::{Failed, Missing};
use super::failures::Failure;
use super::{Effect, EmbedFailure, EmbedTicket, IndexPartition};
use crate::types::{Millis, NamespaceId, RecordKey, ShardId};

impl IndexPartition {
    pub(super) fn embed_failed(
        &mut self,
        now: Millis,
        ticket: EmbedTicket,
        why: EmbedFailure,
        out: &mut Vec<Effect>,
    ) {
        match self.backlog.fail(now, ticket, why) {
            None => {}
            Some(Failed::Again) => self.counts.embed_retries += 1,
            Some(Failed::Never(key, missing)) => {
                self.counts.embed_given_up += 1;
                self.list_failure(&key, &missing, EmbedOutlook::Never);
                self.forget_stored(missing.shard, &key, missing.lseq);
            }
            Some(Failed::Rest(key, missing)) => self.embedded_all(now, &key, missing, out),
            Some(Failed::NotHere(key, missing)) => {
                self.counts.embed_given_up += 1;
                self.list_failure(&key, &missing, EmbedOutlook::NextStart);
                if let Some(state) = self.shards.get_mut(&missing.shard) {
                    state.give_up(missing.lseq);
                }
            }
            Some(Failed::NotNow(key, missing)) => {
                self.counts.embed_given_up += 1;
                self.park(now, &key, &missing);
            }
        }
    }

    /// Leaves an entry in the change log for later.
    pub(super) fn park(&mut self, now: Millis, key: &RecordKey, missing: &Missing) {
        self.list_failure(key, missing, EmbedOutlook::Later);
        if let Some(state) = self.shards.get_mut(&missing.shard) {
            state.park(now, missing.lseq);
        }
    }

    pub(super) fn list_failure(
        &mut self,
        key: &RecordKey,
        missing: &Missing,
        outlook: EmbedOutlook,
    ) {
        let reason = missing.reason.clone().unwrap_or_else(|| match outlook {
            EmbedOutlook::NextStart => Arc::from(format!(
                "this node does not have the model {}",
                missing.model
            )),
            _ => Arc::from("the model fails for other texts as well"),
        });
        let failure = Failure::of(missing, reason, outlook);
        self.failures.add(key.clone(), failure);
    }

    /// A model that was down works again: what was left for later is due.
    pub(super) fn model_recovered(&mut self, now: Millis) {
        for state in self.shards.values_mut() {
            state.unpark_at(now);
        }
    }

    /// Goes back in the change logs to what was left for later, if it is due.
    pub(super) fn unpark(&mut self, now: Millis) {
        let due = self
            .shards
            .iter_mut()
            .filter_map(|(shard, state)| state.unpark(now).then_some(*shard));
        let due: Vec<ShardId> = due.collect();
        for shard in due {
            self.failures.begin_again(shard);
        }
    }

    /// Entries of a namespace that are not found by meaning, at most so many.
    pub fn failed_embeddings(&self, namespace: NamespaceId, limit: usize) -> Vec<FailedEmbedding> {
        let listed = self.failures.list(namespace);
        listed
            .chain(self.backlog.list(namespace))
            .take(limit)
            .collect()
    }
}
