//! Searches: by meaning, by words, or by both.

use std::future::IntoFuture;

use engram_core::index::{ReadyVectors, Snippet, TextExpression};
use engram_core::limits::{QUERY_BYTES_MAX, TOP_K_MAX};
use engram_core::types::{Blob, Key};
use engram_core::wire::{self, Explanation};
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
/// let guides = notes.search("(python OR rust) guide -snake tag:eu").expression().await?;
/// let best = notes.search("how do I learn python").hybrid().await?;
/// # drop((both_words, guides, best));
/// # Ok(())
/// # }
/// ```
///
/// Every hit was verified by a linearizable read: a deleted, expired or overwritten value is never
/// returned. An entry is found from about a second after it was written, or at once by a search
/// that is [`Search::fresh`].
#[must_use = "nothing is searched before it is awaited"]
#[derive(Debug)]
pub struct Search {
    namespace: Namespace,
    query: String,
    mode: wire::SearchMode,
    top_k: u32,
    threshold: Option<f32>,
    weights: wire::HybridWeights,
    prefix: Blob,
    tags: Vec<String>,
    with_values: bool,
    snippets: bool,
    fresh: bool,
}

/// One entry found.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit {
    /// Its key.
    pub key: Key,
    /// What it held when it was verified.
    pub entry: Entry,
    /// How well it matches: cosine similarity (-1 to 1) by meaning, BM25 (above 0) by words, and
    /// the sum of `weight / (60 + rank)` of both lists if it is a hybrid search.
    pub score: f32,
    /// Where it stands in the list by meaning and in the list by words.
    pub explanation: Explanation,
    /// The part of it that shows best why it was found, if [`Search::snippets`] was asked for.
    pub snippet: Option<Snippet>,
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
            weights: wire::HybridWeights::default(),
            prefix: Blob::default(),
            tags: Vec::new(),
            with_values: true,
            snippets: false,
            fresh: false,
        }
    }

    /// Searches a namespace whose entries bring their vectors (embedder `vectors-N`) for those
    /// nearest to `vector`, `[N]`, by cosine similarity. Its length does not matter.
    pub fn search_vector(&self, vector: &[f32]) -> Search {
        self.search(ReadyVectors::encode(vector))
    }
}

impl Search {
    /// At most so many hits: 1 to [`TOP_K_MAX`]. 10 unless set.
    pub fn top_k(mut self, top_k: u32) -> Search {
        self.top_k = top_k;
        self
    }

    /// Finds entries by an expression: `AND`, `OR`, `NOT`, brackets, `"phrases"`, `begin*`, `key:`
    /// and `tag:`; see [`TextExpression`]. One that makes no sense is refused before anything is
    /// asked, with [`ClientError::Expression`], which names the place.
    pub fn expression(mut self) -> Search {
        self.mode = wire::SearchMode::Expression;
        self
    }

    /// Takes the query as a text, and finds entries that share the words which say most about it.
    pub fn similar(mut self) -> Search {
        self.mode = wire::SearchMode::Similar;
        self
    }

    /// Finds entries by meaning and by most of the words, and fuses both lists by rank: what is
    /// high in both comes first. [`Search::weights`] shifts the balance; [`Search::threshold`] is
    /// then about what is found by meaning.
    pub fn hybrid(mut self) -> Search {
        self.mode = wire::SearchMode::Hybrid;
        self
    }

    /// How much the list by meaning and the list by words count in a hybrid search: 0 to 1000
    /// each, 1 unless set.
    pub fn weights(mut self, meaning: f32, words: f32) -> Search {
        self.weights = wire::HybridWeights { meaning, words };
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

    /// Has each hit come with the part of its value, or else of its key, that shows best why it
    /// was found: at most 240 bytes on one line, with the places of the words looked for. Together
    /// with [`Search::keys_only`] it comes instead of the value.
    ///
    /// ```no_run
    /// # async fn run(notes: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
    /// for hit in notes.search("python guide").any_word().snippets().await?.hits {
    ///     for (piece, is_found) in hit.snippet.iter().flat_map(|snippet| snippet.pieces()) {
    ///         print!("{}", if is_found { piece.to_uppercase() } else { piece.to_owned() });
    ///     }
    ///     println!();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn snippets(mut self) -> Search {
        self.snippets = true;
        self
    }

    /// Sees every write that was acknowledged before the search began, by whichever client. Each
    /// index asks the other replicas what it has missed, and waits until that is embedded and
    /// indexed; so it takes longer: up to the client's request timeout. A shard that cannot be
    /// sure in time counts as unanswered, see [`Found::is_complete`]. Without this, a search may
    /// miss what was written in the last second.
    ///
    /// ```no_run
    /// # async fn run(notes: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
    /// notes.put("note:1", "tea and cake").await?;
    /// let found = notes.search("tea").words().fresh().await?;
    /// assert!(found.hits.len() == 1 || !found.is_complete());
    /// # Ok(())
    /// # }
    /// ```
    pub fn fresh(mut self) -> Search {
        self.fresh = true;
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
        if self.mode == wire::SearchMode::Expression {
            TextExpression::parse(&self.query)?;
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
            weights: self.weights,
            prefix: self.prefix.as_ref().to_vec(),
            tags: self.tags,
            with_values: self.with_values,
            snippets: self.snippets,
            fresh: self.fresh,
        };
        let client = self.namespace.client();
        let reply = if self.fresh {
            client.ask_once(request).await?
        } else {
            client.ask(request).await?
        };
        let now = client.cluster_time();
        let hits = reply.hits.into_iter().map(|hit| Hit {
            key: hit.key,
            entry: Entry::from_wire(hit.entry, now),
            score: hit.score,
            explanation: hit.explanation,
            snippet: hit.snippet,
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
