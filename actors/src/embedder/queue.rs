//! Bounded queues and a cache in front of the threads of a model.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engram_core::index::{Embedding, ModelId};
use engram_core::limits::{
    EMBED_BATCH_MAX, EMBED_CACHE_ENTRIES, EMBED_QUERIES_MAX, EMBED_TEXTS_MAX, EMBED_THREADS_MAX,
    QUERY_BYTES_MAX,
};
use lru::LruCache;
use xxhash_rust::xxh3::xxh3_128;

use super::{EmbedDone, EmbedError, EmbedPriority, Embedder, ModelFactory};

/// Counts what an embedder did since it was made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EmbedderStats {
    /// Queries that wait now.
    pub queries_waiting: usize,
    /// Texts that wait now.
    pub texts_waiting: usize,
    /// Vectors computed.
    pub computed: u64,
    /// Requests answered from the cache, or together with an equal one.
    pub reused: u64,
    /// Requests refused because a queue was full.
    pub overloaded: u64,
    /// Requests that the model failed or refused.
    pub failed: u64,
    /// Times that the model panicked.
    pub panics: u64,
}

/// How many threads run a model; each has one of its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EmbedderThreads {
    /// Threads that take queries, and texts while there are none; at least one.
    pub any: usize,
    /// Further threads that take queries alone, so that a search never waits behind a text.
    pub queries: usize,
}

impl Default for EmbedderThreads {
    fn default() -> Self {
        EmbedderThreads { any: 1, queries: 0 }
    }
}

/// What a thread takes from the queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Takes {
    Any,
    QueriesOnly,
}

/// The production [`Embedder`]: requests wait in one of two bounded queues for the model's threads,
/// which take queries first. Clones share everything. An [`EmbedderActor`](super::EmbedderActor)
/// runs the threads; requests that arrive while there are none wait for the next.
#[derive(Clone)]
pub struct QueuedEmbedder {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    pub(super) id: ModelId,
    pub(super) dim: usize,
    pub(super) factory: ModelFactory,
    batch_max: usize,
    threads: EmbedderThreads,
    queues: Mutex<Queues>,
    wake: Condvar,
}

pub(super) struct Queues {
    queries: VecDeque<Job>,
    texts: VecDeque<Job>,
    cache: LruCache<u128, Arc<Embedding>>,
    closed: bool,
    /// Which threads may take work; older ones end.
    life: u64,
    last_failure: Option<EmbedError>,
    pub(super) stats: EmbedderStats,
}

/// One text and who waits for its vector.
pub(super) struct Job {
    pub(super) hash: u128,
    pub(super) text: String,
    pub(super) waiting: Vec<EmbedDone>,
}

impl QueuedEmbedder {
    /// An embedder for the model that `factory` makes, with one thread. Nothing is loaded yet.
    pub fn new(factory: ModelFactory) -> QueuedEmbedder {
        QueuedEmbedder::with_threads(factory, EmbedderThreads::default())
    }

    /// The same with so many threads, up to [`EMBED_THREADS_MAX`] of either kind.
    pub fn with_threads(factory: ModelFactory, threads: EmbedderThreads) -> QueuedEmbedder {
        let model = factory();
        let cache = NonZeroUsize::new(EMBED_CACHE_ENTRIES).unwrap_or(NonZeroUsize::MIN);
        let shared = Shared {
            id: model.id(),
            dim: model.dim(),
            batch_max: model.batch_max().clamp(1, EMBED_BATCH_MAX),
            factory,
            threads: EmbedderThreads {
                any: threads.any.clamp(1, EMBED_THREADS_MAX),
                queries: threads.queries.min(EMBED_THREADS_MAX),
            },
            queues: Mutex::new(Queues {
                queries: VecDeque::new(),
                texts: VecDeque::new(),
                cache: LruCache::new(cache),
                closed: false,
                life: 0,
                last_failure: None,
                stats: EmbedderStats::default(),
            }),
            wake: Condvar::new(),
        };
        QueuedEmbedder {
            shared: Arc::new(shared),
        }
    }

    /// What it did so far.
    pub fn stats(&self) -> EmbedderStats {
        let queues = self.shared.lock();
        EmbedderStats {
            queries_waiting: queues.queries.len(),
            texts_waiting: queues.texts.len(),
            ..queues.stats
        }
    }

    /// How many threads it has.
    pub fn threads(&self) -> usize {
        self.shared.threads.any + self.shared.threads.queries
    }

    /// What failed last, if anything did.
    pub fn last_failure(&self) -> Option<String> {
        let queues = self.shared.lock();
        queues.last_failure.as_ref().map(ToString::to_string)
    }

    /// Answers everything that waits with [`EmbedError::Closed`], and everything that comes.
    pub fn close(&self) {
        let jobs: Vec<Job> = {
            let mut queues = self.shared.lock();
            queues.closed = true;
            let Queues { queries, texts, .. } = &mut *queues;
            queries.drain(..).chain(texts.drain(..)).collect()
        };
        self.shared.wake.notify_all();
        for job in jobs {
            job.answer(&Err(EmbedError::Closed));
        }
    }

    /// What each of its threads takes.
    pub(super) fn roles(&self) -> Vec<Takes> {
        let EmbedderThreads { any, queries } = self.shared.threads;
        let mut roles = vec![Takes::Any; any];
        roles.resize(any + queries, Takes::QueriesOnly);
        roles
    }

    /// Begins a new life: the threads that serve it may take work, older ones end.
    pub(super) fn begin_life(&self) -> u64 {
        let mut queues = self.shared.lock();
        queues.life += 1;
        self.shared.wake.notify_all();
        queues.life
    }

    pub(super) fn shared(&self) -> Arc<Shared> {
        self.shared.clone()
    }
}

impl Embedder for QueuedEmbedder {
    fn id(&self) -> ModelId {
        self.shared.id.clone()
    }

    fn dim(&self) -> usize {
        self.shared.dim
    }

    fn embed(&self, text: &str, priority: EmbedPriority, done: EmbedDone) {
        let hash = xxh3_128(text.as_bytes());
        let answer = {
            let mut queues = self.shared.lock();
            match queues.admit(hash, text, priority) {
                Ok(()) => {
                    let job = Job {
                        hash,
                        text: text.to_owned(),
                        waiting: vec![done],
                    };
                    queues.queue_of(priority).0.push_back(job);
                    drop(queues);
                    // All of them: the one that wakes up may not be one that takes this.
                    self.shared.wake.notify_all();
                    return;
                }
                Err(answer) => answer,
            }
        };
        // Outside the lock: the callback may ask for the next text.
        done(answer);
    }
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for work. `None` once there is none left for this thread to do: the embedder was
    /// closed or younger threads have taken over.
    pub(super) fn next_batch(&self, life: u64, takes: Takes) -> Option<Vec<Job>> {
        let mut queues = self.lock();
        loop {
            if queues.closed || queues.life != life {
                return None;
            }
            let batch = queues.take_batch(self.batch_max, takes);
            if !batch.is_empty() {
                return Some(batch);
            }
            queues = self
                .wake
                .wait(queues)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Queues {
    fn queue_of(&mut self, priority: EmbedPriority) -> (&mut VecDeque<Job>, usize) {
        match priority {
            EmbedPriority::Query => (&mut self.queries, EMBED_QUERIES_MAX),
            EmbedPriority::Text => (&mut self.texts, EMBED_TEXTS_MAX),
        }
    }

    /// Whether a request may wait; otherwise its answer.
    fn admit(
        &mut self,
        hash: u128,
        text: &str,
        priority: EmbedPriority,
    ) -> Result<(), Result<Arc<Embedding>, EmbedError>> {
        if self.closed {
            return Err(Err(EmbedError::Closed));
        }
        if text.len() > QUERY_BYTES_MAX {
            let length = format!("it has {} bytes, {QUERY_BYTES_MAX} are allowed", text.len());
            return Err(Err(EmbedError::Rejected(length.into())));
        }
        if let Some(known) = self.cache.get(&hash) {
            let known = known.clone();
            self.stats.reused += 1;
            return Err(Ok(known));
        }
        let (queue, length_max) = self.queue_of(priority);
        if queue.len() >= length_max {
            self.stats.overloaded += 1;
            return Err(Err(EmbedError::Overloaded));
        }
        Ok(())
    }

    /// Takes up to `length_max` different texts, queries alone if there are any.
    fn take_batch(&mut self, length_max: usize, takes: Takes) -> Vec<Job> {
        let queue = if self.queries.is_empty() && takes == Takes::Any {
            &mut self.texts
        } else {
            &mut self.queries
        };
        let mut batch: Vec<Job> = Vec::new();
        while batch.len() < length_max {
            let Some(job) = queue.pop_front() else { break };
            match batch.iter_mut().find(|same| same.hash == job.hash) {
                Some(same) => {
                    self.stats.reused += 1;
                    same.waiting.extend(job.waiting);
                }
                None => batch.push(job),
            }
        }
        batch
    }

    /// A vector that was computed while the same text waited again.
    pub(super) fn known(&mut self, hash: u128) -> Option<Arc<Embedding>> {
        self.cache.get(&hash).cloned()
    }

    /// Counts a request that failed.
    pub(super) fn note_failure(&mut self, error: &EmbedError) {
        self.stats.failed += 1;
        self.last_failure = Some(error.clone());
    }

    pub(super) fn remember(&mut self, hash: u128, vector: Arc<Embedding>) {
        self.cache.put(hash, vector);
    }
}

impl Job {
    /// Calls everybody who waits.
    pub(super) fn answer(self, result: &Result<Arc<Embedding>, EmbedError>) {
        for done in self.waiting {
            done(result.clone());
        }
    }
}
