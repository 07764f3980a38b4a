//! Graphs over the rows of vector segments: approximate nearest neighbours.
//!
//! | name | what |
//! |---|---|
//! | [`HoraBuilder`] | graphs by the crate `hora`; what nodes use |
//! | `UsearchBuilder` | graphs by `usearch`; what nodes use with the cargo feature of that name |
//!
//! Both implement the seam [`SegmentBuilder`](engram_core::index::vectors::SegmentBuilder), and the
//! exact form of the core is what they are measured against.

mod element;
mod hora_segment;
#[cfg(feature = "usearch")]
mod usearch_segment;

pub use hora_segment::HoraBuilder;
#[cfg(feature = "usearch")]
pub use usearch_segment::UsearchBuilder;

/// Builds the graphs of nodes.
#[cfg(not(feature = "usearch"))]
pub use hora_segment::HoraBuilder as NodeBuilder;
/// Builds the graphs of nodes.
#[cfg(feature = "usearch")]
pub use usearch_segment::UsearchBuilder as NodeBuilder;
