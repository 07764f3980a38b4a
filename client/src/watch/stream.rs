//! The stream of a standing query: all shards are followed at once, each no faster than its
//! events are taken.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use engram_core::limits::{SCAN_LIMIT_MAX, TOP_K_MAX, WATCH_WAIT_MS_MAX};
use engram_core::placement::shard_of;
use engram_core::protocol::watch::{Follower, Held, Next, Position};
use engram_core::types::{Key, NamespaceId, RecordKey, ShardId};
use engram_core::wire::{self, ScanShard, WatchPage};
use futures::stream::{self, BoxStream, SelectAll, Stream, StreamExt};

use super::WatchEvent;
use super::cursor::WatchCursor;
use super::open::Query;
use crate::connection::Patience;
use crate::{ClientError, Entry, IntoKey};

/// How long one question may take: a node answers after half of it at the latest.
const ATTEMPT: Duration = Duration::from_millis(2 * WATCH_WAIT_MS_MAX);
/// Keys of a page while a shard is read anew.
const PAGE: usize = 1000;

const _: () = assert!(PAGE <= SCAN_LIMIT_MAX);

/// One shard, and how to ask for more of it.
#[derive(Debug)]
pub(super) struct Following {
    pub(super) query: Arc<Query>,
    pub(super) shard: ShardId,
    pub(super) follower: Follower,
}

/// What came of one question: events, and where the shard is once they were taken.
struct Step {
    shard: ShardId,
    events: Vec<WatchEvent>,
    position: Option<Position>,
}

/// What becomes of keys. Never ends by itself. An error is no end either: the next event is asked
/// for where the last one was.
pub struct WatchStream {
    steps: SelectAll<BoxStream<'static, Result<Step, ClientError>>>,
    /// Events of one step that were not taken yet.
    waiting: VecDeque<WatchEvent>,
    /// The position that is reached when they are.
    reached: Option<(ShardId, Position)>,
    cursor: WatchCursor,
    namespace: NamespaceId,
    shards: u16,
}

impl WatchStream {
    pub(super) fn new(all: Vec<Following>, namespace: NamespaceId, shards: u16) -> WatchStream {
        let positions = all
            .iter()
            .map(|following| (following.shard, following.follower.position().clone()));
        let cursor = WatchCursor(positions.collect());
        WatchStream {
            steps: stream::select_all(all.into_iter().map(|it| it.steps().boxed())),
            waiting: VecDeque::new(),
            reached: None,
            cursor,
            namespace,
            shards,
        }
    }

    /// The shard of a key: who keeps a copy of what is watched drops the keys of a shard when it
    /// is told [`WatchEvent::Resync`].
    ///
    /// # Errors
    /// `Invalid` if it is no key.
    pub fn shard_of(&self, key: impl IntoKey) -> Result<u16, ClientError> {
        let key = RecordKey {
            namespace: self.namespace,
            key: key.into_key()?,
        };
        Ok(shard_of(&key, self.shards).0)
    }

    /// Where a later watch goes on: behind every event that this stream has given.
    pub fn cursor(&self) -> WatchCursor {
        self.cursor.clone()
    }
}

impl Stream for WatchStream {
    type Item = Result<WatchEvent, ClientError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(event) = this.waiting.pop_front() {
                if this.waiting.is_empty() {
                    this.arrive();
                }
                return Poll::Ready(Some(Ok(event)));
            }
            match this.steps.poll_next_unpin(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(step))) => {
                    this.reached = step.position.map(|position| (step.shard, position));
                    this.waiting = step.events.into();
                    if this.waiting.is_empty() {
                        this.arrive();
                    }
                }
            }
        }
    }
}

impl WatchStream {
    fn arrive(&mut self) {
        if let Some((shard, position)) = self.reached.take() {
            self.cursor.0.insert(shard, position);
        }
    }
}

impl fmt::Debug for WatchStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream")
            .field("waiting", &self.waiting.len())
            .finish_non_exhaustive()
    }
}

impl Following {
    /// Finds out where the shard is now.
    pub(super) async fn begin(&mut self) -> Result<(), ClientError> {
        let page = self.ask().await?;
        self.follower.changes(page);
        Ok(())
    }

    fn steps(self) -> impl Stream<Item = Result<Step, ClientError>> + Send + 'static {
        stream::unfold(self, async |mut following| {
            let step = following.step().await;
            Some((step, following))
        })
    }

    async fn step(&mut self) -> Result<Step, ClientError> {
        let told = match self.follower.next().clone() {
            Next::Changes => {
                let page = self.ask().await?;
                self.follower.changes(page)
            }
            Next::Keys(after) => {
                let (entries, next) = self.read_anew(after).await?;
                self.follower.keys(entries, next)
            }
        };
        let (shard, now) = (self.shard, self.query.namespace.client().cluster_time());
        let told = told.into_iter();
        Ok(Step {
            shard,
            events: told.map(|told| WatchEvent::of(told, shard, now)).collect(),
            position: self.follower.cursor(),
        })
    }

    /// Asks whoever answered last, and if that fails any replica.
    async fn ask(&mut self) -> Result<WatchPage, ClientError> {
        let client = self.query.namespace.client();
        let request = wire::Watch {
            shard: self.shard,
            namespace: self.query.id,
            prefix: self.query.prefix.as_ref().to_vec(),
            since: self.follower.position().pairs(),
            similar: self.query.similar.clone(),
            with_values: self.query.with_values,
        };
        let patience = Patience::new(ATTEMPT, ATTEMPT);
        if let Some(member) = self.follower.served_by() {
            match client
                .ask_patiently(Some(member), request.clone(), patience)
                .await
            {
                Ok(page) => return Ok(page),
                Err(error) if is_final(&error) => return Err(error),
                Err(error) => tracing::debug!(%error, "another replica is watched"),
            }
            self.follower.unanswered();
        }
        let patience = Patience::new(2 * ATTEMPT, ATTEMPT);
        client.ask_patiently(None, request, patience).await
    }

    /// A page of what the shard holds, or what in it is near the meaning that is looked for.
    async fn read_anew(&self, after: Option<Key>) -> Result<(Vec<Held>, Option<Key>), ClientError> {
        let client = self.query.namespace.client();
        if self.query.similar.is_some() {
            return Ok((self.search().await?, None));
        }
        let scan = wire::Scan {
            namespace: self.query.id,
            prefix: self.query.prefix.as_ref().to_vec(),
            after: after.clone(),
            limit: u32::try_from(PAGE).unwrap_or(u32::MAX),
            with_values: self.query.with_values,
        };
        let shard = self.shard;
        let page = client.ask(ScanShard { shard, scan }).await?;
        if page.next.is_some() && page.next <= after {
            let reason = "a page of the scan leads nowhere".into();
            return Err(ClientError::NotApplied { reason });
        }
        let entries = page.entries.into_iter();
        let entries = entries.map(|(key, entry)| (key, entry, None)).collect();
        Ok((entries, page.next))
    }

    async fn search(&self) -> Result<Vec<Held>, ClientError> {
        let Some(similar) = &self.query.similar else {
            return Ok(Vec::new());
        };
        let namespace = &self.query.namespace;
        let shards = namespace.client().config().shard_count();
        let most = u32::try_from(TOP_K_MAX).unwrap_or(u32::MAX);
        let mut search = namespace.search(similar.text.clone()).top_k(most);
        search = search.threshold(similar.threshold);
        if !self.query.with_values {
            search = search.keys_only();
        }
        let found = search.prefix(self.query.prefix.clone()).await?;
        let here = found.hits.into_iter().filter(|hit| {
            let key = RecordKey {
                namespace: self.query.id,
                key: hit.key.clone(),
            };
            shard_of(&key, shards) == self.shard
        });
        Ok(here
            .map(|hit| (hit.key, to_wire(hit.entry), Some(hit.score)))
            .collect())
    }
}

fn to_wire(entry: Entry) -> wire::Entry {
    wire::Entry {
        value: entry.value,
        version: entry.version,
        tags: entry.tags,
        expires_at: entry.expires_at,
    }
}

/// Whether another replica would say the same.
fn is_final(error: &ClientError) -> bool {
    matches!(
        error,
        ClientError::Invalid(_)
            | ClientError::TooLarge { .. }
            | ClientError::Unauthorized(_)
            | ClientError::Closed
    )
}
