//! Entries that are not found by meaning.

use std::collections::BTreeMap;

use engram_core::index::EmbedOutlook;
use engram_core::limits::FAILURES_LIMIT_MAX;
use engram_core::types::Key;
use engram_core::wire::ListEmbedFailures;
use futures::future::join_all;

use crate::{ClientError, Namespace, Version};

/// An entry whose text could not be embedded. It can be read, and found by words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EmbedFailure {
    /// Its key.
    pub key: Key,
    /// The version that could not be embedded.
    pub version: Version,
    /// The nodes on which it is so, by name.
    pub nodes: Vec<String>,
    /// How often one of them tried, at most.
    pub attempts: u32,
    /// What went wrong last on the first of them.
    pub reason: String,
    /// When it is tried again, at the soonest.
    pub outlook: EmbedOutlook,
}

impl Namespace {
    /// Entries that some node does not find by meaning, because their text could not be embedded;
    /// in key order, at most [`FAILURES_LIMIT_MAX`] of each node. Nodes list them since their start.
    ///
    /// # Errors
    /// [`ClientError`] if a member does not answer: its entries would be missing silently.
    pub async fn embed_failures(&self) -> Result<Vec<EmbedFailure>, ClientError> {
        let namespace = self.id().await?;
        let limit = u32::try_from(FAILURES_LIMIT_MAX).unwrap_or(u32::MAX);
        let list = ListEmbedFailures { namespace, limit };
        let config = self.client().config();
        let asked = config
            .members
            .iter()
            .map(|member| self.client().ask_node(member.id, list));
        let mut all: BTreeMap<(Key, Version), EmbedFailure> = BTreeMap::new();
        for (member, found) in config.members.iter().zip(join_all(asked).await) {
            for one in found? {
                let failure = all
                    .entry((one.key.clone(), one.version))
                    .or_insert_with(|| EmbedFailure {
                        key: one.key,
                        version: one.version,
                        nodes: Vec::new(),
                        attempts: 0,
                        reason: one.reason,
                        outlook: one.outlook,
                    });
                failure.nodes.push(member.name.clone());
                failure.attempts = failure.attempts.max(one.attempts);
                failure.outlook = failure.outlook.min(one.outlook);
            }
        }
        Ok(all.into_values().collect())
    }
}
