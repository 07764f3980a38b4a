//! Searches: by meaning or by words.

use std::future::IntoFuture;

use engram_core::limits::{QUERY_BYTES_MAX, TOP_K_MAX};
use engram_core::types::{Blob, Key};
use engram_core::wire;
use futures::future::BoxFuture;

use crate::{ClientError, Entry, Namespace};

/// Hits unless told otherwise.
const TOP_K_DEFAULT: u32 = 10;

/// A search of a namespace, which happens when it is awaited.
///
/// ```no_run
/// # async fn run(notes: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
/// let found = notes.search("people who write programs").top_k(5).threshold(0.3).await?;
/// for hit in &found.hits {
///     println!("{:.2} {} {}", hit.score, hit.key.to_text(), hit.entry.text()?);
/// }
/// if !found.is_complete() {
///     println!("{} of {} shards took part", found.shards_answered, found.shards_total);
/// }
/// let both_words = notes.search("python programming").words().await?;
/// # drop(both_words);
/// # Ok(())
/// # }
/// ```
///
/// Every hit was verified by a linearizable read: a deleted, expired or overwritten value is never
/// returned. An entry is found from about a second after it was written.
#[must_use = "nothing is searched before it is awaited"]
#[derive(Debug)]
pub struct Search {
    namespace: Namespace,
    query: String,
    mode: wire::SearchMode,
    top_k: u32,
    threshold: Option<f32>,
    prefix: Blob,
    tags: Vec<String>,
    with_values: bool,
}

/// One entry found.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit {
    /// Its key.
    pub key: Key,
    /// What it held when it was verified.
    pub entry: Entry,
    /// How well it matches: cosine similarity (-1 to 1) by meaning, BM25 (above 0) by words.
    pub score: f32,
}

/// What a search found.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Found {
    /// Best first.
    pub hits: Vec<Hit>,
    /// How many shards took part.
    pub shards_answered: u16,
    /// How many there are.
    pub shards_total: u16,
}

impl Found {
    /// Whether all shards took part.
    pub fn is_complete(&self) -> bool {
        self.shards_answered == self.shards_total
    }
}

impl Namespace {
    /// Searches by meaning when awaited; see [`Search`] for words, filters and bounds.
    pub fn search(&self, query: impl Into<String>) -> Search {
        Search {
            namespace: self.clone(),
            query: query.into(),
            mode: wire::SearchMode::Semantic,
            top_k: TOP_K_DEFAULT,
            threshold: None,
            prefix: Blob::default(),
            tags: Vec::new(),
            with_values: true,
        }
    }
}

impl Search {
    /// At most so many hits: 1 to [`TOP_K_MAX`]. 10 unless set.
    pub fn top_k(mut self, top_k: u32) -> Search {
        self.top_k = top_k;
        self
    }

    /// Only hits with at least this score.
    pub fn threshold(mut self, threshold: f32) -> Search {
        self.threshold = Some(threshold);
        self
    }

    /// Finds entries that hold all words of the query, instead of its meaning.
    pub fn words(mut self) -> Search {
        self.mode = wire::SearchMode::AllWords;
        self
    }

    /// Finds entries that hold any word of the query, instead of its meaning.
    pub fn any_word(mut self) -> Search {
        self.mode = wire::SearchMode::AnyWords;
        self
    }

    /// Only keys that start with this.
    pub fn prefix(mut self, prefix: impl Into<Blob>) -> Search {
        self.prefix = prefix.into();
        self
    }

    /// Only entries with this tag; with all of them, if called again.
    pub fn tag(mut self, tag: impl Into<String>) -> Search {
        self.tags.push(tag.into());
        self
    }

    /// Leaves the values out.
    pub fn keys_only(mut self) -> Search {
        self.with_values = false;
        self
    }

    fn check(&self) -> Result<(), ClientError> {
        let most = u32::try_from(TOP_K_MAX).unwrap_or(u32::MAX);
        if !(1..=most).contains(&self.top_k) {
            let reason = format!("top-k is 1 to {most}, not {}", self.top_k);
            return Err(ClientError::Invalid(reason));
        }
        if self.query.trim().is_empty() {
            return Err(ClientError::Invalid("a search needs a query".into()));
        }
        if self.query.len() > QUERY_BYTES_MAX {
            return Err(ClientError::TooLarge {
                what: "a query, in bytes,".into(),
                limit: QUERY_BYTES_MAX as u64,
                actual: self.query.len() as u64,
            });
        }
        Ok(())
    }

    async fn run(self) -> Result<Found, ClientError> {
        self.check()?;
        let request = wire::Search {
            namespace: self.namespace.id().await?,
            query: self.query,
            mode: self.mode,
            top_k: self.top_k,
            threshold: self.threshold,
            prefix: self.prefix.as_ref().to_vec(),
            tags: self.tags,
            with_values: self.with_values,
        };
        let client = self.namespace.client();
        let reply = client.ask(request).await?;
        let now = client.cluster_time();
        let hits = reply.hits.into_iter().map(|hit| Hit {
            key: hit.key,
            entry: Entry::from_wire(hit.entry, now),
            score: hit.score,
        });
        Ok(Found {
            hits: hits.collect(),
            shards_answered: reply.shards_answered,
            shards_total: reply.shards_total,
        })
    }
}

impl IntoFuture for Search {
    type Output = Result<Found, ClientError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
