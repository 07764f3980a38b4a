//! What every kind of graph over the rows of a segment promises.

use std::fmt;
use std::sync::Arc;

use super::order::BuildError;
use super::{FlatSegment, Graph};
use crate::index::Embedding;

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

/// Rows near a query.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Nearest {
    /// Places of the rows in their segment, none twice. In any order, but whoever takes them has less
    /// to do if the nearest come first.
    pub slots: Vec<usize>,
    /// Whether these are all rows of the segment.
    pub is_all: bool,
}

/// A way to find the rows of a segment that are near a query without comparing all of them. It
/// never changes, and the same query always finds the same.
pub trait AnnSegment: fmt::Debug + Send + Sync {
    /// About the `width` rows most similar to `query`; more where rows are alike. A larger width
    /// misses fewer.
    ///
    /// # Errors
    /// [`SegmentError::Dimension`] if the query has another dimension than the rows.
    fn nearest(&self, query: &Embedding, width: usize) -> Result<Nearest, SegmentError>;

    /// Bytes of memory that it takes beside the rows, about.
    fn memory_bytes(&self) -> usize;
}

/// Makes graphs. Takes long, and gives the same graph for the same rows.
pub trait SegmentBuilder: Send + Sync {
    /// A graph over these rows.
    ///
    /// # Errors
    /// [`BuildError`] if it fails; the rows stay as they are.
    fn build(&self, rows: &Arc<FlatSegment>) -> Result<Graph, BuildError>;
}
