//! Vectors of one namespace and model, and the search among them.
//!
//! [`VectorSet`] is a log-structured merge tree of segments. New vectors go to a mutable buffer. A
//! full buffer is sealed; sealed segments are merged in the background, and those that are large
//! get a graph to be searched by. The buffer and segments without a graph are compared with the
//! query one by one, which is exact.
//!
//! | name | what |
//! |---|---|
//! | [`FlatSegment`] | rows of vectors, compared with the query one by one |
//! | [`AnnSegment`] | what is asked of a graph over the rows of a segment |
//! | [`SegmentBuilder`] | makes one; [`ExactBuilder`] makes one that compares all |
//! | [`SegmentOrder`], [`BuiltSegment`] | a merge that is to be done elsewhere, and its result |
//!
//! # Compact form
//!
//! Beside its numbers a row has a *code*: one signed byte a dimension, a quarter of the size. Graphs
//! are built of codes, and a comparison with all rows reads codes only: how far a code is from its
//! vector is known, so rows that cannot be among the best are passed over and the others are
//! compared exactly. Scores always come of the vectors themselves.
//!
//! # Dead rows
//!
//! A row is never changed. It is dead once its entry has newer vectors or none; whoever searches
//! tells whether a row is alive. Segments count their dead rows, graphs are searched wider by that
//! much, and a segment with many is written anew.

mod ann_segment;
mod best_keys;
pub mod codes;
mod flat_segment;
mod order;
mod plan;
mod scan_query;
mod sealed_segment;
mod segment_limits;
mod vector_set;

pub use ann_segment::{AnnSegment, Nearest, SegmentBuilder, SegmentError};
pub use best_keys::BestKeys;
pub use flat_segment::{EntryNumber, FlatSegment, RowNumber};
pub use order::{BuildError, BuiltSegment, ExactBuilder, Graph, SegmentOrder};
pub use scan_query::ScanQuery;
pub use segment_limits::SegmentLimits;
pub use vector_set::{VectorSet, VectorSetStats};
