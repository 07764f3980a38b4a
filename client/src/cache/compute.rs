//! Answers that are computed if the cache has none.

use std::error::Error;
use std::future::{Future, IntoFuture};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::counters::count;
use super::store::Labels;
use super::{CacheHit, SemanticCache, check_prompt, check_threshold};
use crate::ClientError;

/// What all callers of one flight get.
pub(super) type Computed = Result<Answer, CacheError>;

/// An answer, and where it came from.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The answer.
    pub text: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Where an answer came from.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The cache.
    Cached(CacheHit),
    /// It was computed. If it could not be stored, this says why.
    Computed {
        /// Why the next caller will compute it again.
        not_stored: Option<Arc<ClientError>>,
    },
}

impl Origin {
    /// Whether it came from the cache.
    pub fn is_cached(&self) -> bool {
        matches!(self, Origin::Cached(_))
    }
}

/// There is no answer. Clones go to all who waited for it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CacheError {
    /// The call makes no sense; nothing was computed.
    #[error(transparent)]
    Invalid(Arc<ClientError>),
    /// The computation failed.
    #[error("computing the answer failed: {0}")]
    Failed(Arc<dyn Error + Send + Sync>),
    /// The computation panicked.
    #[error("computing the answer panicked")]
    Panicked,
}

impl From<ClientError> for CacheError {
    fn from(error: ClientError) -> CacheError {
        CacheError::Failed(Arc::new(error))
    }
}

type Compute =
    Box<dyn FnOnce() -> BoxFuture<'static, Result<String, Arc<dyn Error + Send + Sync>>> + Send>;

/// An answer from the cache, or else computed, when it is awaited. Made by
/// [`SemanticCache::get_or_insert_with`].
#[must_use = "nothing happens before it is awaited"]
pub struct GetOrInsert {
    cache: SemanticCache,
    prompt: String,
    threshold: f32,
    labels: Labels,
    compute: Compute,
}

impl std::fmt::Debug for GetOrInsert {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GetOrInsert")
            .field("prompt", &self.prompt)
            .field("threshold", &self.threshold)
            .field("labels", &self.labels)
            .finish_non_exhaustive()
    }
}

impl SemanticCache {
    /// The answer to a prompt from the cache, or else from `compute`, whose answer is stored.
    ///
    /// Callers of this process that ask the very same prompt at the same time get one answer:
    /// `compute` runs once for all, with the options of the first. It runs within the callers'
    /// own polling: it goes on while any of them waits, and is dropped with the last. So it is
    /// safe to drop a caller at any time.
    ///
    /// A cache that cannot be reached does not stand in the way: `compute` runs all the same, and
    /// [`CacheCounters::failures`](super::CacheCounters::failures) counts it.
    pub fn get_or_insert_with<F, W, E>(&self, prompt: impl Into<String>, compute: F) -> GetOrInsert
    where
        F: FnOnce() -> W + Send + 'static,
        W: Future<Output = Result<String, E>> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let compute = || {
            let work = async move {
                let computed = compute().await;
                computed.map_err(|error| Arc::from(error.into()))
            };
            work.boxed()
        };
        GetOrInsert {
            cache: self.clone(),
            prompt: prompt.into(),
            threshold: self.threshold,
            labels: Labels::default(),
            compute: Box::new(compute),
        }
    }

    /// Looks up, computes, stores.
    async fn fly(
        self,
        prompt: String,
        threshold: f32,
        labels: Labels,
        compute: Compute,
    ) -> Computed {
        match self.lookup(&prompt, threshold).await {
            Ok(Some(hit)) => {
                return Ok(Answer {
                    text: hit.answer.clone(),
                    origin: Origin::Cached(hit),
                });
            }
            Ok(None) => {}
            Err(error @ (ClientError::Invalid(_) | ClientError::TooLarge { .. })) => {
                return Err(CacheError::Invalid(Arc::new(error)));
            }
            Err(error) => {
                tracing::debug!(%error, "the cache is passed over");
                count(&self.shared.counters.failures);
            }
        }
        // The closure itself may panic, too, so it is called inside.
        let computing = AssertUnwindSafe(async move { compute().await }).catch_unwind();
        let computed = computing.await.map_err(|_| CacheError::Panicked)?;
        let text = computed.map_err(CacheError::Failed)?;
        count(&self.shared.counters.computed);
        let stored = self.store(prompt, text.clone()).labels(labels).await;
        let not_stored = stored.err().map(Arc::new);
        if not_stored.is_some() {
            count(&self.shared.counters.failures);
        }
        Ok(Answer {
            text,
            origin: Origin::Computed { not_stored },
        })
    }
}

impl GetOrInsert {
    /// How alike a stored prompt must be, instead of [`SemanticCache::threshold`].
    pub fn threshold(mut self, threshold: f32) -> GetOrInsert {
        self.threshold = threshold;
        self
    }

    /// Lets a computed answer end after this time.
    pub fn ttl(mut self, ttl: Duration) -> GetOrInsert {
        self.labels.ttl = Some(ttl);
        self
    }

    /// Adds a tag to a computed answer.
    pub fn tag(mut self, tag: impl Into<String>) -> GetOrInsert {
        self.labels.tags.push(tag.into());
        self
    }

    async fn run(self) -> Computed {
        let GetOrInsert {
            cache,
            prompt,
            threshold,
            labels,
            compute,
        } = self;
        let invalid = |error| CacheError::Invalid(Arc::new(error));
        let prompt = check_prompt(&prompt).map_err(invalid)?.to_owned();
        check_threshold(threshold).map_err(invalid)?;
        let name = prompt.clone();
        let (shared, flying) = (cache.shared.clone(), cache);
        let begin = || flying.fly(prompt, threshold, labels, compute);
        let (flight, joined) = shared.flights.join(&name, begin);
        if joined {
            count(&shared.counters.joined);
        }
        flight.await
    }
}

impl IntoFuture for GetOrInsert {
    type Output = Result<Answer, CacheError>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
