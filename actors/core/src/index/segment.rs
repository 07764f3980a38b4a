//! What every kind of vector segment promises.

use super::Embedding;
use crate::types::RecordKey;

/// A key and how well it matched.
#[derive(Clone, PartialEq, Debug)]
pub struct Scored {
    /// Which record.
    pub key: RecordKey,
    /// Cosine similarity, between −1 and 1 up to rounding; higher is better.
    pub score: f32,
}

/// A segment was asked for what it cannot do. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Debug, thiserror::Error)]
pub enum SegmentError {
    /// A segment holds vectors of one dimension.
    #[error("the index holds vectors of {expected} dimensions, this one has {found}")]
    Dimension {
        /// Of the segment.
        expected: usize,
        /// Of the vector given.
        found: usize,
    },
    /// A threshold must be a number.
    #[error("the threshold is not a number")]
    Threshold,
}

/// A set of unit vectors of one dimension, searchable by cosine similarity. Implementations
/// differ in speed and recall; results are best first with ties in key order, and the same
/// operations give the same results on every machine.
pub trait VectorSegment {
    /// How many dimensions its vectors have.
    fn dim(&self) -> usize;

    /// How many vectors it holds.
    fn len(&self) -> usize;

    /// Whether it holds no vectors.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory that the vectors take, about.
    fn memory_bytes(&self) -> usize;

    /// Sets the vector of a key, replacing the one it had.
    ///
    /// # Errors
    /// [`SegmentError::Dimension`] if the vector does not fit.
    fn upsert(&mut self, key: RecordKey, vector: &Embedding) -> Result<(), SegmentError>;

    /// Removes a key's vector. Returns whether there was one.
    fn remove(&mut self, key: &RecordKey) -> bool;

    /// The `k` vectors most similar to `query` among those whose key passes `filter` and whose
    /// similarity is at least `threshold`. `filter` is asked only about keys that would be
    /// returned; it must give the same answer to the same key within one call.
    ///
    /// # Errors
    /// [`SegmentError`] if the query has another dimension or the threshold is not a number.
    fn search(
        &self,
        query: &Embedding,
        k: usize,
        threshold: Option<f32>,
        filter: &mut dyn FnMut(&RecordKey) -> bool,
    ) -> Result<Vec<Scored>, SegmentError>;
}
