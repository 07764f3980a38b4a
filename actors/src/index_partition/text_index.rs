//! The seam to a full-text index.

use std::sync::Arc;

use engram_core::index::{TextChange, TextHit, TextQuery};
use engram_core::types::Blob;

/// Why a full-text index did not do what it was asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TextIndexError {
    /// Too much is queued. Try again later.
    #[error("too much waits in the full-text index")]
    Overloaded,
    /// It must be opened first, or opened again after a failure.
    #[error("the full-text index is not open")]
    NotOpen,
    /// It failed, and stays closed until it is opened again: changes since the last commit are
    /// lost.
    #[error("the full-text index failed: {0}")]
    Failed(Arc<str>),
}

/// What a full-text index holds after a commit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TextIndexStatus {
    /// What was given to the last commit; `None` if there never was one.
    pub watermark: Option<Blob>,
    /// How many entries can be found.
    pub documents: u64,
}

/// Called when the index is open or committed. Must not block.
pub type TextStatusDone = Box<dyn FnOnce(Result<TextIndexStatus, TextIndexError>) + Send>;
/// Called with what a search found, best first. Must not block.
pub type TextSearchDone = Box<dyn FnOnce(Result<Vec<TextHit>, TextIndexError>) + Send>;

/// A full-text index of one partition. It is derived data: one that is damaged, or of a format
/// that is not understood, is emptied when it is opened. Every method returns at once; `open`,
/// `apply`, `clear` and `commit` take effect in the order of the calls, and each callback is
/// called exactly once.
pub trait TextIndex: Send + Sync + 'static {
    /// Opens the index as the last commit left it. May be called again, after a failure or by a
    /// restarted owner: what was not committed is lost.
    fn open(&self, done: TextStatusDone);

    /// Makes changes that a later commit makes visible and durable. A failure is reported by that
    /// commit.
    fn apply(&self, changes: Vec<TextChange>);

    /// Forgets everything, as a change like others.
    fn clear(&self);

    /// Makes all changes so far visible and durable, together with a watermark that says how far
    /// they go.
    fn commit(&self, watermark: Blob, done: TextStatusDone);

    /// Finds entries among what is committed.
    fn search(&self, query: TextQuery, done: TextSearchDone);
}
