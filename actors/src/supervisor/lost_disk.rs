//! How a node ends whose disk lost writes: its replicas at once, the rest when the disk is marked.
//!
//! A mark is refused as any write may be, on a full disk say. It is tried again for a while, and then the
//! node ends without: it is started on the disk again, and its peers must tell it once more.

use std::time::Duration;

use engram_core::planted::Bug;
use engram_core::storage::format::{Condemned, seal};
use engram_core::storage::{Keyspace, WriteBatch, keys};
use ractor::ActorRef;
use tracing::{error, warn};

use super::node::{NodeMessage, NodeState, Stopped};
use crate::env::StoreError;

/// How long the node waits for the mark.
const MARK_WAIT: Duration = Duration::from_secs(5);
/// How soon it tries again.
const MARK_AGAIN: Duration = Duration::from_millis(250);

impl NodeState {
    /// The disk lost writes: it must not vote again.
    pub(super) fn condemn(&mut self, myself: &ActorRef<NodeMessage>, reason: String) {
        if self.condemned.is_some() {
            return;
        }
        let node = &self.arguments.directory.me.name;
        error!(%node, %reason, "marking the disk as one that must not vote again");
        self.end_replicas();
        self.condemned = Some(reason.clone());
        if self.arguments.options.planted.is(Bug::LostDiskUnmarked) {
            return self.stop(myself, Stopped::Fatal(reason));
        }
        myself.send_after(MARK_WAIT, move || NodeMessage::Fatal(reason));
        self.mark(myself);
    }

    /// Has the mark written.
    pub(super) fn mark(&self, myself: &ActorRef<NodeMessage>) {
        let Some(reason) = self.condemned.clone() else {
            return;
        };
        let mut batch = WriteBatch::default();
        batch.put(
            Keyspace::Meta,
            keys::condemned(),
            seal(&Condemned { reason }),
        );
        let myself = myself.clone();
        let done = move |result: Result<_, StoreError>| {
            // If the node has ended meanwhile, there is nothing left to end.
            let _ = myself.cast(NodeMessage::Marked(result.map(drop)));
        };
        self.arguments.env.store.append(batch, Box::new(done));
    }

    /// The mark is durable, or was refused.
    pub(super) fn marked(
        &mut self,
        myself: &ActorRef<NodeMessage>,
        result: Result<(), StoreError>,
    ) {
        let Some(reason) = self.condemned.clone() else {
            return;
        };
        match result {
            Ok(()) => self.stop(myself, Stopped::Fatal(reason)),
            Err(error) => {
                let node = &self.arguments.directory.me.name;
                warn!(%node, %error, "the disk is not marked yet");
                myself.send_after(MARK_AGAIN, || NodeMessage::MarkAgain);
            }
        }
    }
}
