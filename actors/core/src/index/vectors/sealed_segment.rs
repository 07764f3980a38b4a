//! A segment that takes no more rows.

use std::ops::Range;
use std::sync::Arc;

use super::{BestKeys, EntryNumber, FlatSegment, Graph, RowNumber, ScanQuery, SegmentError};
use crate::limits::SEARCH_WIDTH_MIN;

/// How much wider a graph is searched if it gave too few.
const WIDEN: usize = 4;
/// A graph is not searched wider than this part of its rows: comparing all of them costs less
/// (measured at 100,000 rows: as much at a width of 450).
const WIDTH_PART: usize = 200;
/// A graph is searched so many times wider at least than the rows that are wanted are many. Of ten, 99 %
/// are found at a width of 48; of a hundred at 300 (measured at 100,000 rows).
const SLACK: usize = 3;

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

    /// Rows that a search compares one by one: all, where there is no graph.
    pub(super) fn compared(&self) -> usize {
        if self.graph.is_some() {
            0
        } else {
            self.rows.len()
        }
    }

    /// Whether at least these hundredths of the rows are dead.
    pub(super) fn is_dead_by(&self, percent: usize) -> bool {
        self.dead * 100 >= self.rows.len() * percent
    }

    pub(super) fn memory_bytes(&self) -> usize {
        let graph = self.graph.as_ref();
        self.rows.memory_bytes() + graph.map_or(0, |graph| graph.0.memory_bytes())
    }

    /// Offers the keys of the rows that may be among the best. A graph misses few of the nearest rows
    /// if it is searched much wider than they are many. So it is searched wider as long as the rows
    /// that are wanted lie too far out, for nearer ones are not wanted, and at last all rows are
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
                let scores = self.offer_all(&found.slots, query, best, key_of);
                // What is farther away than the worst that counts need not be found. Without enough of
                // them that is the threshold.
                let floor = best.floor();
                let nearer = scores.iter().filter(|score| **score >= floor).count();
                if found.is_all || (nearer < scores.len() && nearer * SLACK <= width) {
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
        let width = SEARCH_WIDTH_MIN.max(SLACK * k);
        width * self.rows.len().max(1) / self.live().max(1)
    }

    /// Offers the rows at these places. Returns how similar they are.
    fn offer_all<K: Ord + Copy>(
        &self,
        slots: &[usize],
        query: &ScanQuery<'_>,
        best: &mut BestKeys<K>,
        key_of: &mut dyn FnMut(RowNumber, EntryNumber) -> Option<K>,
    ) -> Vec<f32> {
        let mut scores = Vec::with_capacity(slots.len());
        for slot in slots {
            let (Some(vector), Some((row, entry))) =
                (self.rows.vector(*slot), self.rows.row(*slot))
            else {
                continue;
            };
            let score = query.score(vector);
            scores.push(score);
            if score >= best.floor()
                && let Some(key) = key_of(row, entry)
            {
                best.offer(score, key);
            }
        }
        scores
    }
}
