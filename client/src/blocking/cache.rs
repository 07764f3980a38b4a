//! The semantic cache.

use std::error::Error;
use std::panic::resume_unwind;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::{Background, Call, Namespace};
use crate::ClientError;
use crate::cache::{CacheCounters, CacheHit, GetOrInsert, Store};

/// As [`crate::SemanticCache`], for threads. Cheap to clone. Made by
/// [`Client::semantic_cache`](super::Client::semantic_cache).
///
/// ```no_run
/// use std::time::Duration;
///
/// # fn run(client: engram_client::blocking::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let cache = client.semantic_cache("llm").with(|cache| cache.max_entries(100_000));
/// let answer = cache
///     .get_or_insert_with("How do I reset my password?", || {
///         Ok::<_, std::io::Error>("Press *Forgot password*.".to_owned()) // ask the model here
///     })
///     .with(|call| call.ttl(Duration::from_secs(24 * 3600)).tag("accounts"))
///     .send()?;
/// println!("{} ({:?})", answer.text, answer.origin);
/// if let Some(hit) = cache.lookup("how can I change a forgotten password", 0.75)? {
///     println!("{} ({:.2}, asked as {:?})", hit.answer, hit.score, hit.prompt);
/// }
/// cache.invalidate_tag("accounts")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SemanticCache {
    pub(super) cache: crate::SemanticCache,
    pub(super) background: Arc<Background>,
}

impl SemanticCache {
    /// Sets options, on the async cache.
    pub fn with(
        self,
        set: impl FnOnce(crate::SemanticCache) -> crate::SemanticCache,
    ) -> SemanticCache {
        SemanticCache {
            cache: set(self.cache),
            background: self.background,
        }
    }

    /// The async cache behind this one, for [`Client::run`](super::Client::run).
    pub fn to_async(&self) -> crate::SemanticCache {
        self.cache.clone()
    }

    /// As [`crate::SemanticCache::namespace`].
    pub fn namespace(&self) -> Namespace {
        Namespace {
            namespace: self.cache.namespace().clone(),
            background: self.background.clone(),
        }
    }

    /// As [`crate::SemanticCache::counters`].
    pub fn counters(&self) -> CacheCounters {
        self.cache.counters()
    }

    /// As [`crate::SemanticCache::lookup`].
    ///
    /// # Errors
    /// As there.
    pub fn lookup(&self, prompt: &str, threshold: f32) -> Result<Option<CacheHit>, ClientError> {
        let (cache, prompt) = (self.cache.clone(), prompt.to_owned());
        self.background
            .run(async move { cache.lookup(&prompt, threshold).await })?
    }

    /// As [`crate::SemanticCache::store`]; ends with [`Call::send`].
    pub fn store(&self, prompt: impl Into<String>, answer: impl Into<String>) -> Call<Store> {
        Call::new(self.cache.store(prompt, answer), &self.background)
    }

    /// As [`crate::SemanticCache::get_or_insert_with`]; ends with [`Call::send`]. `compute` may
    /// block, and may use this client: it runs on a thread of its own. It is not given up, as the
    /// caller waits to the end.
    pub fn get_or_insert_with<F, E>(
        &self,
        prompt: impl Into<String>,
        compute: F,
    ) -> Call<GetOrInsert>
    where
        F: FnOnce() -> Result<String, E> + Send + 'static,
        E: Into<Box<dyn Error + Send + Sync>> + 'static,
    {
        let handle = self.background.handle.clone();
        let compute = move || on_its_own_thread(handle, compute);
        let asked = self.cache.get_or_insert_with(prompt, compute);
        Call::new(asked, &self.background)
    }

    /// As [`crate::SemanticCache::remove`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(&self, prompt: &str) -> Result<bool, ClientError> {
        let (cache, prompt) = (self.cache.clone(), prompt.to_owned());
        self.background
            .run(async move { cache.remove(&prompt).await })?
    }

    /// As [`crate::SemanticCache::invalidate_tag`].
    ///
    /// # Errors
    /// As there.
    pub fn invalidate_tag(&self, tag: &str) -> Result<u64, ClientError> {
        let (cache, tag) = (self.cache.clone(), tag.to_owned());
        self.background
            .run(async move { cache.invalidate_tag(&tag).await })?
    }
}

/// Runs what may block beside the client's thread, which keeps the links alive. Panics as it does.
async fn on_its_own_thread<F, E>(
    handle: Handle,
    compute: F,
) -> Result<String, Box<dyn Error + Send + Sync>>
where
    F: FnOnce() -> Result<String, E> + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    let computing = handle.spawn_blocking(move || compute().map_err(Into::into));
    match computing.await.map_err(|error| error.try_into_panic()) {
        Ok(computed) => computed,
        Err(Ok(panic)) => resume_unwind(panic),
        // The client's thread has ended.
        Err(Err(_)) => Err(ClientError::Closed.into()),
    }
}
