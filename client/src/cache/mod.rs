//! A semantic cache: answers by the meaning of the question.
//!
//! For whatever is dear to compute and asked again in other words, such as the answers of a
//! language model. Entries are ordinary entries of a namespace: replicated and durable, found by
//! every client, with time to live and tags.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! # async fn run(client: engram_client::Client) -> Result<(), Box<dyn std::error::Error>> {
//! let cache = client.semantic_cache("llm").max_entries(100_000);
//! let answer = cache
//!     .get_or_insert_with("How do I reset my password?", async || {
//!         Ok::<_, std::io::Error>("Press *Forgot password*.".to_owned()) // ask the model here
//!     })
//!     .ttl(Duration::from_secs(24 * 3600))
//!     .tag("accounts")
//!     .await?;
//! println!("{} ({:?})", answer.text, answer.origin);
//! if let Some(hit) = cache.lookup("how can I change a forgotten password", 0.75).await? {
//!     println!("{} ({:.2}, asked as {:?})", hit.answer, hit.score, hit.prompt);
//! }
//! cache.invalidate_tag("accounts").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # How an entry is laid out
//!
//! The key is a hash of the prompt, the value a JSON object `{"prompt": ..., "answer": ...}`, and
//! the namespace indexes the field `prompt` alone: what an answer says must not attract questions.
//! The very same prompt is found by its key, without any embedding; that also works at once, while
//! an entry is found by meaning from about a second after it was stored.
//!
//! # How embeddings are fooled
//!
//! An embedding says what a text is about, not what it wants. Cosine similarities of the built-in
//! model, as measured:
//!
//! | asked | stored | similarity | same answer |
//! |---|---|---|---|
//! | how can I change a forgotten password | How do I reset my password? | 0.78 | yes |
//! | how is the weather in Paris | what is the weather like in Paris | 0.97 | yes |
//! | How do I enable the query cache? | How do I disable the query cache? | 0.84 | **no** |
//! | Will the parcel arrive in 5 days? | Will the parcel arrive in 50 days? | 0.92 | **no** |
//! | a recipe for bread with sugar | a recipe for bread without sugar | 0.95 | **no** |
//! | Can I eat raw eggs? | Can't I eat raw eggs? | 0.97 | **no** |
//! | how to convert pounds to kilograms | how to convert kilograms to pounds | 0.997 | **no** |
//!
//! No threshold separates the two kinds. Therefore a word-level check ([`difference`]) stands
//! between a lookup and what the index found: numbers, negations, opposites, names, symbols and the
//! order of directions must agree. It knows English, works by lists and simple rules, and cannot
//! know what it was not told: "which red wine goes with fish" and "which white wine goes with fish"
//! (0.79) pass. Where a wrong answer is dear, raise the threshold and judge for yourself with
//! [`SemanticCache::verifier`].
//!
//! Prompts longer than [`CACHE_SIMILAR_BYTES_MAX`] bytes are found only as the very same text: a
//! model reads the beginning of a text, and long prompts tend to begin alike.

mod compute;
mod counters;
mod entry;
mod flights;
mod guard;
mod opposites;
mod store;
mod words;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use engram_core::limits::{CACHE_CANDIDATES, CACHE_SIMILAR_BYTES_MAX, QUERY_BYTES_MAX};
use engram_core::types::{IndexSource, NamespaceOptions};
use tokio::sync::OnceCell;

pub use self::compute::{Answer, CacheError, GetOrInsert, Origin};
pub use self::counters::CacheCounters;
pub use self::entry::CacheHit;
pub use self::store::Store;
pub use self::words::{Difference, difference};

use self::compute::Computed;
use self::counters::{Counters, count};
use self::entry::{PROMPT_FIELD, Stored, key_of};
use self::flights::Flights;
use self::guard::Guard;
use crate::connection::lock;
use crate::{Client, ClientError, Namespace};

/// How alike a prompt must be unless told otherwise; fits the built-in model.
pub const THRESHOLD_DEFAULT: f32 = 0.85;

/// A cache of answers by the meaning of their prompts; see the [module](self). Cheap to clone.
/// Made by [`Client::semantic_cache`].
#[derive(Clone, Debug)]
pub struct SemanticCache {
    namespace: Namespace,
    is_open: Arc<OnceCell<()>>,
    options: NamespaceOptions,
    threshold: f32,
    guard: Guard,
    shared: Arc<Shared>,
}

/// What all handles of one cache in this process share.
#[derive(Default)]
struct Shared {
    counters: Counters,
    flights: Flights<Computed>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

/// The caches that are in use in this process, by the names of their namespaces.
#[derive(Default)]
pub(crate) struct Caches(Mutex<BTreeMap<String, Weak<Shared>>>);

impl Caches {
    fn get(&self, name: &str) -> Arc<Shared> {
        let mut caches = lock(&self.0);
        if let Some(shared) = caches.get(name).and_then(Weak::upgrade) {
            return shared;
        }
        caches.retain(|_, shared| shared.strong_count() > 0);
        let shared = Arc::new(Shared::default());
        caches.insert(name.to_owned(), Arc::downgrade(&shared));
        shared
    }
}

impl Client {
    /// The semantic cache in the namespace of that name. Costs nothing; the namespace is made at
    /// its first use if there is none. See [`cache`](crate::cache).
    pub fn semantic_cache(&self, name: impl Into<String>) -> SemanticCache {
        let namespace = self.namespace(name);
        let shared = self.caches().get(namespace.name());
        SemanticCache {
            namespace,
            is_open: Arc::default(),
            options: NamespaceOptions {
                source: IndexSource::Field(PROMPT_FIELD.into()),
                text: false,
                ..NamespaceOptions::default()
            },
            threshold: THRESHOLD_DEFAULT,
            guard: Guard::default(),
            shared,
        }
    }
}

impl SemanticCache {
    /// How many answers the cache keeps, roughly; the least recently used go first. Counts when
    /// the namespace is made, and is fixed then.
    pub fn max_entries(mut self, most: u64) -> SemanticCache {
        self.options.max_entries = Some(most);
        self
    }

    /// The model that compares prompts. Counts when the namespace is made, and is fixed then.
    pub fn embedder(mut self, name: impl Into<String>) -> SemanticCache {
        self.options.embedder = name.into();
        self
    }

    /// How alike prompts must be for [`SemanticCache::get_or_insert_with`]: a cosine similarity
    /// above 0, at most 1. [`THRESHOLD_DEFAULT`] unless set.
    pub fn threshold(mut self, threshold: f32) -> SemanticCache {
        self.threshold = threshold;
        self
    }

    /// Has the last word on whether a prompt (the first argument) may have the answer to another
    /// one (the second) that looks alike. It runs where lookups run: it must not block.
    pub fn verifier(
        mut self,
        verifier: impl Fn(&str, &str) -> bool + Send + Sync + 'static,
    ) -> SemanticCache {
        self.guard = self.guard.with_verifier(verifier);
        self
    }

    /// Does without the word-level check: opposite questions may then get each other's answers.
    pub fn without_word_check(mut self) -> SemanticCache {
        self.guard = self.guard.without_words();
        self
    }

    /// The namespace that holds the entries.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// What all handles of this cache in this process have counted.
    pub fn counters(&self) -> CacheCounters {
        self.shared.counters.read()
    }

    /// Looks for the answer to a prompt, or to one that means the same: whose similarity is at
    /// least `threshold`, above 0 and at most 1, and that passes the guard.
    ///
    /// # Errors
    /// `Invalid` for an empty prompt, a threshold out of range or a namespace that is no cache;
    /// `TooLarge` for a prompt above [`QUERY_BYTES_MAX`] bytes; else [`ClientError`].
    pub async fn lookup(
        &self,
        prompt: &str,
        threshold: f32,
    ) -> Result<Option<CacheHit>, ClientError> {
        let prompt = check_prompt(prompt)?;
        check_threshold(threshold)?;
        self.open().await?;
        let counters = &self.shared.counters;
        if let Some(hit) = self.exact(prompt).await? {
            count(&counters.exact_hits);
            return Ok(Some(hit));
        }
        let similar = self.similar(prompt, threshold).await?;
        count(match similar {
            Some(_) => &counters.similar_hits,
            None => &counters.misses,
        });
        Ok(similar)
    }

    async fn exact(&self, prompt: &str) -> Result<Option<CacheHit>, ClientError> {
        let found = self.namespace.get(key_of(prompt)).await?;
        let hit = found.and_then(|entry| CacheHit::of(entry, 1.0, true));
        // Another prompt may have the same hash.
        Ok(hit.filter(|hit| hit.prompt == prompt))
    }

    async fn similar(&self, prompt: &str, threshold: f32) -> Result<Option<CacheHit>, ClientError> {
        if prompt.len() > CACHE_SIMILAR_BYTES_MAX {
            return Ok(None);
        }
        let search = self.namespace.search(prompt).top_k(CACHE_CANDIDATES);
        let found = search.threshold(threshold).await?;
        for found in found.hits {
            let hit = CacheHit::of(found.entry, found.score, false);
            let Some(hit) = hit.filter(|hit| hit.prompt.len() <= CACHE_SIMILAR_BYTES_MAX) else {
                continue;
            };
            if self.guard.admits(prompt, &hit.prompt) {
                self.note_use(&hit.prompt).await;
                return Ok(Some(hit));
            }
            count(&self.shared.counters.refused);
        }
        Ok(None)
    }

    /// A search reads its hits through whichever node was asked; what is evicted is decided by the
    /// reads of the first replica.
    async fn note_use(&self, prompt: &str) {
        let config = self.namespace.client().config();
        let namespace = config.namespace(self.namespace.name());
        if namespace.is_some_and(|found| found.options.max_entries.is_some())
            && let Err(error) = self.namespace.head(key_of(prompt)).await
        {
            tracing::debug!(%error, "a use of a cached answer is not noted");
        }
    }

    /// Stores the answer to a prompt when awaited, in place of an earlier one; see [`Store`] for
    /// time to live and tags.
    pub fn store(&self, prompt: impl Into<String>, answer: impl Into<String>) -> Store {
        Store::new(
            self.clone(),
            Stored {
                prompt: prompt.into(),
                answer: answer.into(),
            },
        )
    }

    /// Removes the answer to this very prompt; returns whether there was one.
    ///
    /// # Errors
    /// As [`SemanticCache::lookup`].
    pub async fn remove(&self, prompt: &str) -> Result<bool, ClientError> {
        let prompt = check_prompt(prompt)?;
        self.open().await?;
        self.namespace.delete(key_of(prompt)).await
    }

    /// Removes all answers with this tag, and returns how many; see [`Namespace::delete_by_tag`].
    ///
    /// # Errors
    /// As [`Namespace::delete_by_tag`].
    pub async fn invalidate_tag(&self, tag: &str) -> Result<u64, ClientError> {
        self.open().await?;
        self.namespace.delete_by_tag(tag).await
    }

    /// Makes sure that the namespace is there, and indexes prompts.
    async fn open(&self) -> Result<(), ClientError> {
        self.is_open
            .get_or_try_init(|| self.open_namespace())
            .await
            .copied()
    }

    async fn open_namespace(&self) -> Result<(), ClientError> {
        let (client, name) = (self.namespace.client(), self.namespace.name());
        let config = client.config();
        if let Some(known) = config.namespace(name) {
            return check_options(name, &known.options);
        }
        let created = client.create_namespace(name, self.options.clone()).await;
        let Err(ClientError::Invalid(reason)) = created else {
            return created.map(drop);
        };
        // Somebody may have made it with other bounds or another model, which will do.
        let all = client.namespaces().await?;
        match all.iter().find(|namespace| namespace.name == name) {
            Some(found) => check_options(name, &found.options),
            None => Err(ClientError::Invalid(reason)),
        }
    }
}

fn check_options(name: &str, options: &NamespaceOptions) -> Result<(), ClientError> {
    let field = IndexSource::Field(PROMPT_FIELD.into());
    if options.semantic && options.source == field {
        return Ok(());
    }
    Err(ClientError::Invalid(format!(
        "namespace {name:?} is no semantic cache: it must be searched by the meaning of the field \
         {PROMPT_FIELD:?}"
    )))
}

/// The prompt without blanks around it.
fn check_prompt(prompt: &str) -> Result<&str, ClientError> {
    let prompt = prompt.trim();
    if prompt.is_empty() {
        return Err(ClientError::Invalid("a prompt must not be empty".into()));
    }
    if prompt.len() > QUERY_BYTES_MAX {
        return Err(ClientError::TooLarge {
            what: "a prompt, in bytes,".into(),
            limit: QUERY_BYTES_MAX as u64,
            actual: prompt.len() as u64,
        });
    }
    Ok(prompt)
}

fn check_threshold(threshold: f32) -> Result<(), ClientError> {
    // Nothing compares with NaN.
    if threshold > 0.0 && threshold <= 1.0 {
        return Ok(());
    }
    Err(ClientError::Invalid(format!(
        "the threshold of a cache is above 0 and at most 1, not {threshold}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_and_thresholds_are_checked() {
        assert!(matches!(check_prompt(" why? \n"), Ok("why?")));
        for empty in ["", " ", "\n\t"] {
            assert!(matches!(check_prompt(empty), Err(ClientError::Invalid(_))));
        }
        let long = "x".repeat(QUERY_BYTES_MAX + 1);
        let too_large = check_prompt(&long);
        assert!(matches!(too_large, Err(ClientError::TooLarge { .. })));
        for good in [f32::MIN_POSITIVE, 0.5, 1.0] {
            assert!(check_threshold(good).is_ok(), "{good}");
        }
        for bad in [0.0, -0.1, 1.01, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            assert!(check_threshold(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_a_namespace_of_prompts_is_a_cache() {
        let cache = NamespaceOptions {
            source: IndexSource::Field(PROMPT_FIELD.into()),
            max_entries: Some(7),
            ..NamespaceOptions::default()
        };
        assert!(check_options("n", &cache).is_ok());
        assert!(check_options("n", &NamespaceOptions::default()).is_err());
        let silent = NamespaceOptions {
            semantic: false,
            ..cache
        };
        assert!(check_options("n", &silent).is_err());
    }

    #[test]
    fn handles_of_one_name_count_together() {
        let caches = Caches::default();
        let first = caches.get("llm");
        count(&first.counters.misses);
        assert_eq!(caches.get("llm").counters.read().misses, 1);
        assert_eq!(caches.get("other").counters.read().misses, 0);
        drop(first);
        assert_eq!(caches.get("llm").counters.read().misses, 0, "nobody had it");
    }
}
