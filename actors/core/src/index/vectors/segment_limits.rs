//! When segments are sealed and merged.

use crate::limits::{
    SEGMENT_FLAT_ROWS, SEGMENT_GRAPH_ROWS_MAX, SEGMENT_SEAL_ROWS, SEGMENT_SETTLE_MS,
    SEGMENT_SETTLED_ROWS,
};

/// The sizes at which a set of vectors reorganises itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentLimits {
    /// The buffer is sealed when it has so many rows.
    pub seal_rows: usize,
    /// So many sealed rows without a graph are merged into one that has one.
    pub flat_rows: usize,
    /// The same when nothing was written for a while, and fewest rows that get a graph.
    pub settled_rows: usize,
    /// Most rows of one segment.
    pub graph_rows_max: usize,
    /// What "a while" is, in milliseconds.
    pub settle_ms: u64,
}

impl Default for SegmentLimits {
    fn default() -> SegmentLimits {
        SegmentLimits {
            seal_rows: SEGMENT_SEAL_ROWS,
            flat_rows: SEGMENT_FLAT_ROWS,
            settled_rows: SEGMENT_SETTLED_ROWS,
            graph_rows_max: SEGMENT_GRAPH_ROWS_MAX,
            settle_ms: SEGMENT_SETTLE_MS,
        }
    }
}
