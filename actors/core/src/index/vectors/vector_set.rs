//! The vectors of one namespace and model as a log-structured merge tree of segments.

use std::ops::Range;
use std::sync::Arc;

use super::plan::plan;
use super::sealed_segment::SealedSegment;
use super::{
    BestKeys, BuildError, BuiltSegment, EntryNumber, FlatSegment, RowNumber, ScanQuery,
    SegmentError, SegmentLimits, SegmentOrder,
};
use crate::index::Embedding;
use crate::limits::{SEGMENT_BUFFER_DEAD_MIN, SEGMENT_BUILD_RETRY_MS, SEGMENT_DEAD_PERCENT};
use crate::types::Millis;

/// What a set of vectors holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VectorSetStats {
    /// Rows that are alive.
    pub vectors: usize,
    /// Rows that are dead and still take memory.
    pub dead_vectors: usize,
    /// Bytes of memory, about.
    pub memory_bytes: usize,
    /// Segments: the buffer, those that are compared as a whole, and those with a graph.
    pub segments: usize,
    /// Those with a graph.
    pub graphs: usize,
    /// Rows of the others: a search compares them one by one.
    pub compared: usize,
}

/// Vectors of one dimension. See the module.
#[derive(Clone, Debug)]
pub struct VectorSet {
    dim: usize,
    limits: SegmentLimits,
    next_row: u64,
    buffer: FlatSegment,
    buffer_dead: usize,
    /// In rising order of their rows' numbers.
    sealed: Vec<SealedSegment>,
    /// The segments that are being merged, and how many of their rows were dead at the start.
    merging: Option<(Range<usize>, usize)>,
    changed_at: Millis,
    /// After a merge that failed.
    not_before: Millis,
}

impl VectorSet {
    /// No vectors, of `dim` dimensions.
    pub fn new(dim: usize, limits: SegmentLimits) -> VectorSet {
        VectorSet {
            dim,
            limits,
            next_row: 0,
            buffer: FlatSegment::new(dim),
            buffer_dead: 0,
            sealed: Vec::new(),
            merging: None,
            changed_at: Millis(0),
            not_before: Millis(0),
        }
    }

    /// Adds the vectors of an entry. Returns the numbers of their rows.
    ///
    /// # Errors
    /// [`SegmentError::Dimension`] if one does not fit; then none is added.
    pub fn insert(
        &mut self,
        now: Millis,
        entry: EntryNumber,
        vectors: &[Embedding],
    ) -> Result<Range<RowNumber>, SegmentError> {
        vectors
            .iter()
            .try_for_each(|vector| self.buffer.check(vector))?;
        let start = RowNumber(self.next_row);
        for vector in vectors {
            self.buffer.push(RowNumber(self.next_row), entry, vector)?;
            self.next_row += 1;
        }
        self.changed_at = now;
        Ok(start..RowNumber(self.next_row))
    }

    /// Rows are dead: their entry has none of them any more. Each row may die once.
    pub fn remove(&mut self, now: Millis, rows: &Range<RowNumber>) {
        let count = usize::try_from(rows.end.0.saturating_sub(rows.start.0)).unwrap_or(0);
        match self.sealed_of(rows.start) {
            Some(place) => {
                if let Some(segment) = self.sealed.get_mut(place) {
                    segment.dead += count;
                }
            }
            None => self.buffer_dead += count,
        }
        self.changed_at = now;
    }

    /// The vectors of the rows of one entry, each `[dim]`.
    pub fn vectors(&self, rows: &Range<RowNumber>) -> impl Iterator<Item = &[f32]> {
        let sealed = self
            .sealed_of(rows.start)
            .and_then(|at| self.sealed.get(at));
        let segment: &FlatSegment = sealed.map_or(&self.buffer, |sealed| &sealed.rows);
        // Rows of one entry come and go together, so they are neighbours.
        let count = usize::try_from(rows.end.0.saturating_sub(rows.start.0)).unwrap_or(0);
        let first = segment.slot_of(rows.start);
        let slots = first
            .into_iter()
            .flat_map(move |first| first..first + count);
        slots.filter_map(|slot| segment.vector(slot))
    }

    /// Checks a query.
    ///
    /// # Errors
    /// [`SegmentError`] if it has another dimension or the threshold is not a number.
    pub fn check(&self, query: &Embedding, threshold: Option<f32>) -> Result<(), SegmentError> {
        self.buffer.check(query)?;
        if threshold.is_some_and(f32::is_nan) {
            return Err(SegmentError::Threshold);
        }
        Ok(())
    }

    /// The `k` keys most similar to `query`, best first with ties in key order; a key counts by the
    /// best of its rows. `key_of` gives the key of a row if the row is alive and its key wanted; it
    /// must give the same answer within one call.
    ///
    /// # Errors
    /// [`SegmentError`] if the query has another dimension or the threshold is not a number.
    pub fn search<K: Ord + Copy>(
        &self,
        query: &Embedding,
        k: usize,
        threshold: Option<f32>,
        key_of: &mut dyn FnMut(RowNumber, EntryNumber) -> Option<K>,
    ) -> Result<Vec<(f32, K)>, SegmentError> {
        self.check(query, threshold)?;
        let query = ScanQuery::new(query);
        let mut best = BestKeys::new(k, threshold);
        // Large segments first: what they give lets most rows of the others be passed over.
        for segment in self.sealed.iter().filter(|segment| segment.live() > 0) {
            segment.search(&query, k, &mut best, key_of)?;
        }
        self.buffer.scan(&query, &mut best, key_of);
        Ok(best.into_sorted())
    }

    /// Bytes of memory, about.
    pub fn memory_bytes(&self) -> usize {
        let sealed = self.sealed.iter().map(SealedSegment::memory_bytes);
        self.buffer.memory_bytes() + sealed.sum::<usize>()
    }

    /// What it holds.
    pub fn stats(&self) -> VectorSetStats {
        let sum = |of: fn(&SealedSegment) -> usize| -> usize { self.sealed.iter().map(of).sum() };
        let dead = self.buffer_dead + sum(|segment| segment.dead);
        VectorSetStats {
            vectors: self.buffer.len() + sum(|segment| segment.rows.len()) - dead,
            dead_vectors: dead,
            memory_bytes: self.memory_bytes(),
            segments: self.sealed.len() + usize::from(!self.buffer.is_empty()),
            graphs: sum(|segment| usize::from(segment.graph.is_some())),
            compared: self.buffer.len() + sum(SealedSegment::compared),
        }
    }

    /// Seals the buffer if it is full, or removes its dead rows if they are many. `is_alive` tells
    /// whether a row is.
    pub fn tend(&mut self, now: Millis, is_alive: &mut dyn FnMut(RowNumber, EntryNumber) -> bool) {
        let dead = self.buffer_dead;
        let many_dead = dead >= SEGMENT_BUFFER_DEAD_MIN && 2 * dead >= self.buffer.len();
        let full = self.buffer.len() >= self.limits.seal_rows;
        if many_dead || (full && dead * 100 >= self.buffer.len() * SEGMENT_DEAD_PERCENT) {
            self.buffer = live_rows(self.take_buffer(), is_alive);
        } else if full || (self.is_settled(now) && self.is_worth_sealing()) {
            self.seal(is_alive);
        }
        if self.merging.is_none() {
            // The numbers of rows that nobody has any more need no segment.
            self.sealed.retain(|segment| segment.live() > 0);
        }
    }

    /// Begins the next merge if there is something to merge and none on its way. Its result is to
    /// be given to [`VectorSet::merged`].
    pub fn next_order(
        &mut self,
        now: Millis,
        is_alive: &mut dyn FnMut(RowNumber, EntryNumber) -> bool,
    ) -> Option<SegmentOrder> {
        if self.merging.is_some() || now < self.not_before {
            return None;
        }
        let plan = plan(&self.sealed, &self.limits, self.is_settled(now))?;
        let segments = self.sealed.get(plan.segments.clone())?;
        let dead = segments.iter().map(|segment| segment.dead).sum();
        let parts = segments
            .iter()
            .map(|segment| (segment.rows.clone(), live_slots(&segment.rows, is_alive)))
            .collect();
        self.merging = Some((plan.segments, dead));
        Some(SegmentOrder {
            parts,
            with_graph: plan.with_graph,
        })
    }

    /// The merge that [`VectorSet::next_order`] began is done, or has failed.
    pub fn merged(&mut self, now: Millis, result: Result<BuiltSegment, BuildError>) {
        let Some((places, dead_before)) = self.merging.take() else {
            return;
        };
        let Ok(built) = result else {
            self.not_before = now.plus(SEGMENT_BUILD_RETRY_MS);
            return;
        };
        let Some(old) = self.sealed.get(places.clone()) else {
            return;
        };
        let (Some(first), Some(last)) = (old.first(), old.last()) else {
            return;
        };
        // Rows that died meanwhile are in the new segment.
        let dead: usize = old.iter().map(|segment| segment.dead).sum();
        let new = SealedSegment {
            rows: built.rows,
            graph: built.graph,
            numbers: first.numbers.start..last.numbers.end,
            dead: dead.saturating_sub(dead_before),
        };
        self.sealed.splice(places, [new]);
    }

    /// When there may be something to tend or to merge although nothing happens, if ever.
    pub fn next_tending(&self, now: Millis) -> Option<Millis> {
        let next = self.settles_at().max(self.not_before);
        (next > now).then_some(next)
    }

    fn settles_at(&self) -> Millis {
        self.changed_at.plus(self.limits.settle_ms)
    }

    /// Whether nothing was written for a while.
    fn is_settled(&self, now: Millis) -> bool {
        now >= self.settles_at()
    }

    /// Whether the buffer should be merged with what is sealed, though it is not full.
    fn is_worth_sealing(&self) -> bool {
        let flat = self.sealed.iter().filter(|segment| segment.graph.is_none());
        let flat: usize = flat.map(SealedSegment::live).sum();
        let live = self.buffer.len().saturating_sub(self.buffer_dead);
        live > 0 && flat + live >= self.limits.settled_rows
    }

    /// Makes the live rows of the buffer a sealed segment.
    fn seal(&mut self, is_alive: &mut dyn FnMut(RowNumber, EntryNumber) -> bool) {
        let rows = match self.buffer_dead {
            0 => self.take_buffer(),
            _ => live_rows(self.take_buffer(), is_alive),
        };
        let start = self.sealed.last().map_or(RowNumber(0), |l| l.numbers.end);
        self.sealed.push(SealedSegment {
            rows: Arc::new(rows),
            graph: None,
            numbers: start..RowNumber(self.next_row),
            dead: 0,
        });
    }

    fn take_buffer(&mut self) -> FlatSegment {
        self.buffer_dead = 0;
        std::mem::replace(&mut self.buffer, FlatSegment::new(self.dim))
    }

    /// The place of the sealed segment that has a row; none if it is in the buffer.
    fn sealed_of(&self, row: RowNumber) -> Option<usize> {
        let place = self.sealed.partition_point(|s| s.numbers.end <= row);
        let segment = self.sealed.get(place)?;
        segment.numbers.contains(&row).then_some(place)
    }
}

/// The rows that are alive.
fn live_rows(
    rows: FlatSegment,
    is_alive: &mut dyn FnMut(RowNumber, EntryNumber) -> bool,
) -> FlatSegment {
    let mut live = FlatSegment::new(rows.dim());
    for slot in live_slots(&rows, is_alive) {
        live.copy_row(&rows, usize::try_from(slot).unwrap_or(usize::MAX));
    }
    live
}

/// The places of the rows that are alive.
fn live_slots(
    rows: &FlatSegment,
    is_alive: &mut dyn FnMut(RowNumber, EntryNumber) -> bool,
) -> Vec<u32> {
    (0..rows.len())
        .filter(|slot| {
            rows.row(*slot)
                .is_some_and(|(row, entry)| is_alive(row, entry))
        })
        .filter_map(|slot| u32::try_from(slot).ok())
        .collect()
}

#[cfg(test)]
mod tests;
