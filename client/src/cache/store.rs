//! Storing an answer.

use std::future::IntoFuture;
use std::time::Duration;

use engram_core::wire::Written;
use futures::future::BoxFuture;

use super::entry::{Stored, key_of};
use super::{SemanticCache, check_prompt};
use crate::ClientError;

/// Time to live and tags of what is stored.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Labels {
    pub(super) ttl: Option<Duration>,
    pub(super) tags: Vec<String>,
}

/// An answer to be stored, which happens when it is awaited.
#[must_use = "nothing is stored before it is awaited"]
#[derive(Debug)]
pub struct Store {
    cache: SemanticCache,
    stored: Stored,
    labels: Labels,
}

impl Store {
    pub(super) fn new(cache: SemanticCache, stored: Stored) -> Store {
        Store {
            cache,
            stored,
            labels: Labels::default(),
        }
    }

    pub(super) fn labels(mut self, labels: Labels) -> Store {
        self.labels = labels;
        self
    }

    /// Lets the answer end after this time.
    pub fn ttl(mut self, ttl: Duration) -> Store {
        self.labels.ttl = Some(ttl);
        self
    }

    /// Adds a tag, to remove the answer by later.
    pub fn tag(mut self, tag: impl Into<String>) -> Store {
        self.labels.tags.push(tag.into());
        self
    }

    /// Adds several tags.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Store {
        self.labels.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    async fn run(self) -> Result<Written, ClientError> {
        let prompt = check_prompt(&self.stored.prompt)?.to_owned();
        let key = key_of(&prompt);
        let answer = self.stored.answer;
        let value = serde_json::to_vec(&Stored { prompt, answer });
        let value = value.map_err(crate::ValueError::NotJson)?;
        self.cache.open().await?;
        let put = self.cache.namespace.put(key, value).tags(self.labels.tags);
        match self.labels.ttl {
            Some(ttl) => put.ttl(ttl).await,
            None => put.await,
        }
    }
}

impl IntoFuture for Store {
    type Output = Result<Written, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
