//! Embedding: turning text into vectors, away from every thread that must stay quick.
//!
//! | name | what |
//! |---|---|
//! | [`Embedder`] | the seam that callers see: takes a text, calls back with its vector |
//! | [`EmbeddingModel`] | the seam that models implement: blocking, one call at a time |
//! | [`QueuedEmbedder`] | production: bounded queues, batches and a cache in front of its threads |
//! | [`EmbedderActor`] | owns the threads of a [`QueuedEmbedder`], so that a supervisor can revive them |
//! | [`EmbedderCatalog`] | the embedders of a node by name, and why one cannot be provided |
//! | [`InlineEmbedder`] | simulation and tests: computes in the caller's thread, deterministically |
//!
//! Queries go before texts to be indexed: somebody waits for them. A model that panics is
//! replaced and its callers get an error; the thread survives.

mod actor;
mod catalog;
mod hash_model;
mod inline;
mod queue;
mod ready_model;
mod worker;

use std::sync::Arc;

use engram_core::index::{Embedding, ModelId};

pub use actor::{EmbedderActor, EmbedderMessage};
pub use catalog::{EmbedderCatalog, EmbedderError};
pub use hash_model::HashModel;
pub use inline::InlineEmbedder;
pub use queue::{EmbedderStats, EmbedderThreads, QueuedEmbedder};
pub use ready_model::ReadyModel;

/// Why a text got no vector.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EmbedError {
    /// The queue is full. Try again later.
    #[error("too many texts wait to be embedded")]
    Overloaded,
    /// The model cannot embed this text, and never will.
    #[error("the text cannot be embedded: {0}")]
    Rejected(Arc<str>),
    /// The model failed; it may succeed another time.
    #[error("the embedding model failed: {0}")]
    Failed(Arc<str>),
    /// The model does not work at present, whatever the text.
    #[error("the embedding model is not available: {0}")]
    Unavailable(Arc<str>),
    /// This node does not have the model.
    #[error("the embedding model {0} is not available on this node")]
    NoModel(ModelId),
    /// The embedder was closed: the node is stopping.
    #[error("the embedder is closed")]
    Closed,
}

impl EmbedError {
    /// Whether trying again with the same text is in vain.
    pub fn is_permanent(&self) -> bool {
        matches!(self, EmbedError::Rejected(_) | EmbedError::NoModel(_))
    }
}

/// Who waits for a vector.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum EmbedPriority {
    /// A search: goes first.
    Query,
    /// A text to be indexed.
    Text,
}

/// Called once with the vector of a text, from any thread. Must not block.
pub type EmbedDone = Box<dyn FnOnce(Result<Arc<Embedding>, EmbedError>) + Send>;

/// Turns texts into vectors of one model. Cheap to call from anywhere.
pub trait Embedder: Send + Sync + 'static {
    /// The model.
    fn id(&self) -> ModelId;

    /// Dimensions of its vectors.
    fn dim(&self) -> usize;

    /// Asks for the vector of a text. Returns at once; `done` is called exactly once, at once if
    /// the answer is known or the request is refused.
    fn embed(&self, text: &str, priority: EmbedPriority, done: EmbedDone);
}

/// An embedding model: blocking, used by one thread at a time.
pub trait EmbeddingModel: Send {
    /// Which model this is. Must not load anything.
    fn id(&self) -> ModelId;

    /// Dimensions of its vectors. Must not load anything.
    fn dim(&self) -> usize;

    /// How many texts it should get in one call. A model that gains nothing from batches says 1
    /// or little more, so that a query never waits long behind texts.
    fn batch_max(&self) -> usize {
        engram_core::limits::EMBED_BATCH_MAX
    }

    /// The vectors of `texts`, in their order. May block for long.
    ///
    /// # Errors
    /// [`EmbedError::Rejected`] if one of the texts cannot be embedded, [`EmbedError::Failed`] if
    /// the model failed: the caller tries the texts one by one then. [`EmbedError::Unavailable`] if
    /// that would be in vain.
    fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, EmbedError>;
}

/// Makes a model, anew after each panic. Cheap: models load on first use.
pub type ModelFactory = Arc<dyn Fn() -> Box<dyn EmbeddingModel> + Send + Sync>;
