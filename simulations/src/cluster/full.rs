//! A second namespace that may hold few entries: it is filled far beyond its bound before the
//! storm, so that eviction goes on during it; at rest it must be within the bound, and the same
//! through every node.

use std::collections::BTreeMap;

use engram_core::types::{
    Ballot, Blob, Change, Condition, Key, LogicalTime, NamespaceId, NamespaceOptions, RecordKey,
    Write, WriteId,
};
use engram_core::wire::{ClientReply, ClientRequest, OpenNamespace, Put, Scan};

use super::driver::Driver;
use crate::checkers::Property;

/// The second one that is made.
const FULL: NamespaceId = NamespaceId(2);
/// Entries written for each shard, of which each may hold one.
const WRITTEN_PER_SHARD: u64 = 4;
/// Filling it must be possible within so long.
const FILL_US: u64 = 60_000_000;
/// At rest it must be within its bound after so long: a sweep comes once a minute at least.
const EMPTIED_US: u64 = 90_000_000;

impl Driver {
    /// Makes the namespace and fills it.
    pub(super) async fn fill(&self) {
        let shards = self.world.lock().profile.shards;
        let options = NamespaceOptions {
            text: false,
            semantic: false,
            max_entries: Some(u64::from(shards)),
            ..NamespaceOptions::default()
        };
        let open = ClientRequest::OpenNamespace(OpenNamespace {
            name: "full".into(),
            options: Some(options),
        });
        let limit_us = self.world.lock().now_us() + FILL_US;
        if !self.until_done(limit_us, |_| open.clone()).await {
            return self.stuck("the bounded namespace is not made");
        }
        for number in 0..WRITTEN_PER_SHARD * u64::from(shards) {
            let put = |now| ClientRequest::Put(put(number, now));
            if !self.until_done(limit_us, put).await {
                return self.stuck("the bounded namespace is not filled");
            }
        }
    }

    /// Asks the first node until it has done what it was asked.
    async fn until_done(
        &self,
        limit_us: u64,
        request: impl Fn(LogicalTime) -> ClientRequest,
    ) -> bool {
        while self.goes_on(limit_us) {
            let clock = self.world.lock().clock(0);
            let answer = self.ask(0, request(LogicalTime::from_millis(clock))).await;
            if matches!(answer, Some(Ok(_))) {
                return true;
            }
            self.pass(100_000).await;
        }
        // A violation was noted already, or this one is.
        !self.goes_on(u64::MAX)
    }

    /// Waits until the namespace is within its bound through every node, or too long.
    pub(super) async fn emptied(&self) {
        let limit_us = self.world.lock().now_us() + EMPTIED_US;
        let mut found = String::new();
        while self.goes_on(limit_us) {
            match self.look_at_full().await {
                Ok(()) => return,
                Err(what) => found = what,
            }
            self.pass(500_000).await;
        }
        let mut state = self.world.lock();
        if state.violations.is_empty() {
            state.violate(Property::Bounded, found);
        }
    }

    async fn look_at_full(&self) -> Result<(), String> {
        let (nodes, shards) = {
            let state = self.world.lock();
            (state.live_nodes(), state.profile.shards)
        };
        let mut first: Option<BTreeMap<Key, Ballot>> = None;
        for node in nodes {
            let scan = ClientRequest::Scan(everything());
            let Some(Ok(ClientReply::Page(page))) = self.ask(node, scan).await else {
                return Err(format!("node {node} does not scan the bounded namespace"));
            };
            let entries = page.entries.into_iter();
            let found: BTreeMap<Key, Ballot> =
                entries.map(|(key, entry)| (key, entry.version)).collect();
            if found.len() > usize::from(shards) {
                let count = found.len();
                return Err(format!(
                    "{count} entries are left where {shards} may be, through node {node}"
                ));
            }
            match &first {
                None => first = Some(found),
                Some(first) if *first == found => {}
                Some(_) => {
                    return Err(format!(
                        "node {node} sees others left in the bounded namespace"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn put(number: u64, now: LogicalTime) -> Put {
    Put {
        key: RecordKey {
            namespace: FULL,
            key: Key::new(format!("full{number:03}")).expect("short and not empty"),
        },
        write: Write {
            change: Change::Put {
                value: Blob::from("one of too many"),
                tags: Vec::new(),
                expires_at: None,
            },
            condition: Condition::Any,
            id: WriteId {
                client: u64::MAX - 1,
                sequence: number,
            },
            since: now,
        },
    }
}

fn everything() -> Scan {
    Scan {
        namespace: FULL,
        prefix: Vec::new(),
        after: None,
        limit: 1_000,
        with_values: false,
    }
}
