//! A merge of segments that is carried out elsewhere, because it takes long.

use std::fmt;
use std::sync::Arc;

use super::{AnnSegment, FlatSegment, SegmentBuilder};

/// A graph could not be built.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BuildError {
    /// The library that builds graphs refused.
    #[error("no graph could be built: {0}")]
    Refused(String),
    /// It panicked.
    #[error("building a graph failed by a panic")]
    Panicked,
}

/// A graph over the rows of a segment.
#[derive(Clone, Debug)]
pub struct Graph(pub Arc<dyn AnnSegment>);

impl PartialEq for Graph {
    /// Whether both are the very same.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// Live rows of some segments, to be merged.
#[derive(Clone, PartialEq)]
pub struct SegmentOrder {
    /// Of which segments, in their order, and which slots of each.
    pub(super) parts: Vec<(Arc<FlatSegment>, Vec<u32>)>,
    /// Whether a graph is wanted.
    pub(super) with_graph: bool,
}

impl fmt::Debug for SegmentOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SegmentOrder")
            .field("segments", &self.parts.len())
            .field("rows", &self.rows())
            .field("with_graph", &self.with_graph)
            .finish()
    }
}

/// The segment that an order asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct BuiltSegment {
    /// The live rows of the order.
    pub rows: Arc<FlatSegment>,
    /// The graph, if one was wanted.
    pub graph: Option<Graph>,
}

impl SegmentOrder {
    /// How many rows the new segment has.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|(_, slots)| slots.len()).sum()
    }

    /// Makes the segment. Takes long.
    ///
    /// # Errors
    /// [`BuildError`] if the graph cannot be built.
    pub fn carry_out(&self, builder: &dyn SegmentBuilder) -> Result<BuiltSegment, BuildError> {
        let dim = self.parts.first().map_or(0, |(segment, _)| segment.dim());
        let mut rows = FlatSegment::new(dim);
        for (segment, slots) in &self.parts {
            for slot in slots.iter().filter_map(|slot| usize::try_from(*slot).ok()) {
                rows.copy_row(segment, slot);
            }
        }
        let rows = Arc::new(rows);
        let graph = if self.with_graph {
            Some(builder.build(&rows)?)
        } else {
            None
        };
        Ok(BuiltSegment { rows, graph })
    }
}

/// Builds what is no graph: all rows are compared. For tests, and as the oracle.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExactBuilder;

impl SegmentBuilder for ExactBuilder {
    fn build(&self, rows: &Arc<FlatSegment>) -> Result<Graph, BuildError> {
        Ok(Graph(Arc::new(rows.clone())))
    }
}
