//! Opening a standing query: what is wanted, and where it begins.

use std::future::IntoFuture;
use std::sync::Arc;

use engram_core::limits::{CLIENT_BULK_IN_FLIGHT_MAX, KEY_BYTES_MAX, QUERY_BYTES_MAX};
use engram_core::protocol::watch::{Follower, Position};
use engram_core::types::{Blob, NamespaceId, ShardId};
use engram_core::wire::Similar;
use futures::future::BoxFuture;
use futures::stream::{self, StreamExt, TryStreamExt};

use super::cursor::WatchCursor;
use super::stream::{Following, WatchStream};
use crate::{ClientError, Namespace};

/// What is watched.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) namespace: Namespace,
    pub(super) id: NamespaceId,
    pub(super) prefix: Blob,
    pub(super) similar: Option<Similar>,
    pub(super) with_values: bool,
}

/// A standing query, which begins when it is awaited. See the [module](super) for what it
/// promises.
#[must_use = "nothing is watched before it is awaited"]
#[derive(Debug)]
pub struct Watch {
    namespace: Namespace,
    prefix: Blob,
    similar: Option<Similar>,
    with_values: bool,
    since: Option<WatchCursor>,
}

impl Namespace {
    /// Watches the keys with this prefix, all of them if it is empty. Awaited, it gives a
    /// [`WatchStream`] of every change that is acknowledged from then on.
    pub fn watch(&self, prefix: impl Into<Blob>) -> Watch {
        Watch {
            namespace: self.clone(),
            prefix: prefix.into(),
            similar: None,
            with_values: true,
            since: None,
        }
    }

    /// Watches for values near a meaning: those that are written from now on and whose cosine
    /// similarity to `text` is at least `threshold`, -1 to 1. Deletions are not shown. Values are
    /// compared as they are written, whatever the index is doing.
    ///
    /// After [`WatchEvent::Resync`](super::WatchEvent::Resync) what is near is searched for once,
    /// up to a thousand entries, as far as they are indexed.
    pub fn watch_similar(&self, text: impl Into<String>, threshold: f32) -> Watch {
        Watch {
            similar: Some(Similar {
                text: text.into(),
                threshold,
            }),
            ..self.watch("")
        }
    }
}

impl Watch {
    /// Only keys with this prefix.
    pub fn prefix(mut self, prefix: impl Into<Blob>) -> Watch {
        self.prefix = prefix.into();
        self
    }

    /// Without values: entries then hold versions, tags and expiry only.
    pub fn keys_only(mut self) -> Watch {
        self.with_values = false;
        self
    }

    /// Goes on where an earlier watch of the same keys was, instead of from now on.
    pub fn since(mut self, cursor: WatchCursor) -> Watch {
        self.since = Some(cursor);
        self
    }

    async fn open(self) -> Result<WatchStream, ClientError> {
        self.check()?;
        let id = self.namespace.id().await?;
        let shards = self.namespace.client().config().shard_count();
        let positions = begin(self.since, shards)?;
        let query = Arc::new(Query {
            namespace: self.namespace,
            id,
            prefix: self.prefix,
            similar: self.similar,
            with_values: self.with_values,
        });
        // Only once every shard has said where it is does "from now on" mean something.
        let opening = positions.into_iter().map(|(shard, position)| {
            let query = query.clone();
            async move {
                let is_new = position.0.is_empty();
                let follower = Follower::new(position);
                let mut following = Following {
                    query,
                    shard,
                    follower,
                };
                if is_new {
                    following.begin().await?;
                }
                Ok::<_, ClientError>(following)
            }
        });
        let all: Vec<Following> = stream::iter(opening)
            .buffered(CLIENT_BULK_IN_FLIGHT_MAX)
            .try_collect()
            .await?;
        Ok(WatchStream::new(all, id, shards))
    }

    fn check(&self) -> Result<(), ClientError> {
        let too_large = |what: &str, limit: usize, actual: usize| ClientError::TooLarge {
            what: what.into(),
            limit: limit as u64,
            actual: actual as u64,
        };
        if self.prefix.len() > KEY_BYTES_MAX {
            let actual = self.prefix.len();
            return Err(too_large("a prefix, in bytes,", KEY_BYTES_MAX, actual));
        }
        let Some(similar) = &self.similar else {
            return Ok(());
        };
        if similar.text.trim().is_empty() {
            let reason = "a text to be similar to must not be empty";
            return Err(ClientError::Invalid(reason.into()));
        }
        if similar.text.len() > QUERY_BYTES_MAX {
            let actual = similar.text.len();
            return Err(too_large("a query, in bytes,", QUERY_BYTES_MAX, actual));
        }
        if !(-1.0..=1.0).contains(&similar.threshold) {
            return Err(ClientError::Invalid(format!(
                "a threshold of similarity is -1 to 1, not {}",
                similar.threshold
            )));
        }
        Ok(())
    }
}

/// Where each shard begins.
fn begin(since: Option<WatchCursor>, shards: u16) -> Result<Vec<(ShardId, Position)>, ClientError> {
    let all = || (0..shards).map(ShardId);
    let Some(WatchCursor(positions)) = since else {
        return Ok(all().map(|shard| (shard, Position::default())).collect());
    };
    if !positions.keys().copied().eq(all()) {
        let found = positions.len();
        return Err(ClientError::Invalid(format!(
            "the cursor is of another cluster: it has {found} shards, this one has {shards}"
        )));
    }
    Ok(positions.into_iter().collect())
}

impl IntoFuture for Watch {
    type Output = Result<WatchStream, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.open())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use engram_core::types::{Lseq, MemberId};

    use super::*;

    #[test]
    fn a_cursor_must_cover_exactly_the_shards_there_are() {
        let cursor = |shards: &[u16]| {
            let position = || Position::of(vec![(MemberId(1), Lseq(2))]);
            let positions = shards.iter().map(|shard| (ShardId(*shard), position()));
            Some(WatchCursor(positions.collect::<BTreeMap<_, _>>()))
        };
        assert_eq!(begin(None, 2).expect("fresh").len(), 2);
        let known = begin(cursor(&[0, 1]), 2).expect("complete");
        assert!(known.iter().all(|(_, position)| !position.0.is_empty()));
        for bad in [&[0][..], &[0, 1, 2], &[1, 2], &[]] {
            let refused = begin(cursor(bad), 2);
            assert!(matches!(refused, Err(ClientError::Invalid(_))), "{bad:?}");
        }
    }
}
