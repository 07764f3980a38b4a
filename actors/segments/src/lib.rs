//! Graphs over the rows of vector segments: approximate nearest neighbours.
//!
//! | name | what |
//! |---|---|
//! | [`HoraBuilder`] | graphs that the crate `hora` builds; what nodes use |
//! | `UsearchBuilder` | graphs by `usearch`; what nodes use with the cargo feature of that name |
//!
//! Both implement the seam [`SegmentBuilder`](engram_core::index::vectors::SegmentBuilder), and the
//! exact form of the core is what they are measured against.

mod code_graph;
mod element;
mod hora_builder;
mod hora_links;
#[cfg(feature = "usearch")]
mod usearch_segment;

pub use hora_builder::HoraBuilder;
#[cfg(feature = "usearch")]
pub use usearch_segment::UsearchBuilder;

/// Builds the graphs of nodes.
#[cfg(not(feature = "usearch"))]
pub use hora_builder::HoraBuilder as NodeBuilder;
/// Builds the graphs of nodes.
#[cfg(feature = "usearch")]
pub use usearch_segment::UsearchBuilder as NodeBuilder;
