//! A segment that takes no more rows.

use std::ops::Range;
use std::sync::Arc;

use super::{BestKeys, EntryNumber, FlatSegment, Graph, RowNumber, ScanQuery, SegmentError};
use crate::limits::SEARCH_WIDTH_MIN;

/// How much wider a graph is searched if it gave too few.
const WIDEN: usize = 4;
/// A graph is not searched wider than this part of its rows: comparing all of them costs less.
const WIDTH_PART: usize = 32;

/// Rows, the graph to find them by if they are many, and how many of them are dead.
#[derive(Clone, Debug)]
pub(super) struct SealedSegment {
    pub(super) rows: Arc<FlatSegment>,
    pub(super) graph: Option<Graph>,
    /// The rows of this segment, and of no other, have numbers in this range.
    pub(super) numbers: Range<RowNumber>,
    pub(super) dead: usize,
}

impl SealedSegment {
    /// How many rows are alive.
    pub(super) fn live(&self) -> usize {
        self.rows.len().saturating_sub(self.dead)
    }

    /// Whether at least these hundredths of the rows are dead.
    pub(super) fn is_dead_by(&self, percent: usize) -> bool {
        self.dead * 100 >= self.rows.len() * percent
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let graph = self.graph.as_ref();
        self.rows.memory_bytes() + graph.map_or(0, |graph| graph.0.memory_bytes())
    }

    /// Offers the keys of the rows that may be among the best. What the graph misses is missed,
    /// unless it finds fewer than wanted: then it is searched wider, and at last all rows are
    /// compared.
    pub(super) fn search<K: Ord + Copy>(
        &self,
        query: &ScanQuery<'_>,
        k: usize,
        best: &mut BestKeys<K>,
        key_of: &mut dyn FnMut(RowNumber, EntryNumber) -> Option<K>,
    ) -> Result<(), SegmentError> {
        if let Some(graph) = &self.graph {
            let mut width = self.first_width(k);
            while width * WIDTH_PART <= self.rows.len() || width <= SEARCH_WIDTH_MIN {
                let found = graph.0.nearest(query.embedding(), width)?;
                let worst = self.offer_all(&found.slots, query, best, key_of);
                let is_enough = if best.is_full() {
                    worst <= best.floor()
                } else {
                    // Everything that is farther away is below the threshold.
                    worst < best.floor()
                };
                if found.is_all || is_enough {
                    return Ok(());
                }
                width *= WIDEN;
            }
        }
        self.rows.scan(query, best, key_of);
        Ok(())
    }

    /// How wide the graph is searched at first: dead rows are found as well.
    fn first_width(&self, k: usize) -> usize {
        let width = SEARCH_WIDTH_MIN.max(k + k / 2);
        width * self.rows.len().max(1) / self.live().max(1)
    }

    /// Offers the rows at these places. Returns the worst similarity among them.
    fn offer_all<K: Ord + Copy>(
        &self,
        slots: &[usize],
        query: &ScanQuery<'_>,
        best: &mut BestKeys<K>,
        key_of: &mut dyn FnMut(RowNumber, EntryNumber) -> Option<K>,
    ) -> f32 {
        let mut worst = f32::INFINITY;
        for slot in slots {
            let (Some(vector), Some((row, entry))) =
                (self.rows.vector(*slot), self.rows.row(*slot))
            else {
                continue;
            };
            let score = query.score(vector);
            worst = worst.min(score);
            if score >= best.floor()
                && let Some(key) = key_of(row, entry)
            {
                best.offer(score, key);
            }
        }
        worst
    }
}
