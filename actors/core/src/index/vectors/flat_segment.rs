//! Rows of vectors, compared with the query one by one: exact, and fast enough for some ten
//! thousand of them.
//!
//! Rows lie in blocks, each contiguous, so that growing never copies what is there.

use std::sync::Arc;

use engram_kernels::dot_codes_rows;

use super::codes::{CodeScale, encode};
use super::{AnnSegment, BestKeys, Nearest, ScanQuery, SegmentError};
use crate::index::Embedding;

/// Rows of one block. The codes of a block of 384 dimensions take 98 KB, which fits a level-2 cache.
const BLOCK_ROWS: usize = 256;

/// Numbers the rows of a set of vectors in the order in which they were added; never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RowNumber(pub u64);

/// Numbers the entries that rows belong to. Given again once an entry is gone: a row is alive only
/// if its entry names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct EntryNumber(pub u32);

/// Rows of unit vectors of one dimension, in rising order of their numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct FlatSegment {
    dim: usize,
    /// All blocks but the last hold [`BLOCK_ROWS`] rows.
    blocks: Vec<Block>,
    rows: usize,
}

#[derive(Clone, PartialEq, Debug, Default)]
struct Block {
    /// `[rows, dim]`.
    vectors: Vec<f32>,
    /// `[rows, dim]`.
    codes: Vec<i8>,
    /// `[rows]`.
    marks: Vec<Mark>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Mark {
    row: RowNumber,
    entry: EntryNumber,
    scale: CodeScale,
}

impl FlatSegment {
    /// No rows, for vectors of `dim` dimensions.
    pub fn new(dim: usize) -> FlatSegment {
        FlatSegment {
            dim,
            blocks: Vec::new(),
            rows: 0,
        }
    }

    /// How many dimensions the vectors have.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Bytes of memory that the rows take, about.
    pub fn memory_bytes(&self) -> usize {
        let of_block = |block: &Block| {
            block.vectors.capacity() * size_of::<f32>()
                + block.codes.capacity()
                + block.marks.capacity() * size_of::<Mark>()
        };
        // All blocks but the first are of one size.
        let later = self.blocks.len().saturating_sub(1);
        self.blocks.first().map_or(0, of_block) + later * self.blocks.last().map_or(0, of_block)
    }

    /// Adds a row; its number must be higher than those of all rows.
    ///
    /// # Errors
    /// [`SegmentError::Dimension`] if the vector does not fit.
    pub fn push(
        &mut self,
        row: RowNumber,
        entry: EntryNumber,
        vector: &Embedding,
    ) -> Result<(), SegmentError> {
        self.check(vector)?;
        debug_assert!(self.last_row() < Some(row), "rows are added in their order");
        let block = self.open_block();
        let scale = encode(vector.as_slice(), &mut block.codes);
        block.vectors.extend_from_slice(vector.as_slice());
        block.marks.push(Mark { row, entry, scale });
        self.rows += 1;
        Ok(())
    }

    /// Adds the row at a place of another segment of the same dimension.
    pub(super) fn copy_row(&mut self, from: &FlatSegment, slot: usize) {
        debug_assert_eq!(self.dim, from.dim, "only like segments are merged");
        let (Some(vector), Some(code), Some(mark)) =
            (from.vector(slot), from.code(slot), from.mark(slot))
        else {
            return;
        };
        let mark = *mark;
        let block = self.open_block();
        block.vectors.extend_from_slice(vector);
        block.codes.extend_from_slice(code);
        block.marks.push(mark);
        self.rows += 1;
    }

    /// The number and the entry of the row at a place.
    pub fn row(&self, slot: usize) -> Option<(RowNumber, EntryNumber)> {
        self.mark(slot).map(|mark| (mark.row, mark.entry))
    }

    /// The place of a row.
    pub fn slot_of(&self, row: RowNumber) -> Option<usize> {
        let before = |block: &Block| block.marks.last().is_some_and(|last| last.row < row);
        let number = self.blocks.partition_point(before);
        let marks = &self.blocks.get(number)?.marks;
        let place = marks.binary_search_by_key(&row, |mark| mark.row).ok()?;
        Some(number * BLOCK_ROWS + place)
    }

    /// The vector at a place, `[dim]`.
    pub fn vector(&self, slot: usize) -> Option<&[f32]> {
        let start = (slot % BLOCK_ROWS) * self.dim;
        let block = self.blocks.get(slot / BLOCK_ROWS)?;
        block.vectors.get(start..start + self.dim)
    }

    /// The code of the vector at a place, `[dim]`.
    pub fn code(&self, slot: usize) -> Option<&[i8]> {
        let start = (slot % BLOCK_ROWS) * self.dim;
        let block = self.blocks.get(slot / BLOCK_ROWS)?;
        block.codes.get(start..start + self.dim)
    }

    /// One over the length of the code at a place.
    pub fn inverse_code_length(&self, slot: usize) -> Option<f32> {
        self.mark(slot).map(|mark| mark.scale.inverse_length)
    }

    /// Offers the keys of all rows that may be among the best. `key_of` gives the key of a row that
    /// is alive and wanted; it is asked about few rows.
    pub fn scan<K: Ord + Copy>(
        &self,
        query: &ScanQuery<'_>,
        best: &mut BestKeys<K>,
        key_of: &mut dyn FnMut(RowNumber, EntryNumber) -> Option<K>,
    ) {
        let mut products = Vec::with_capacity(BLOCK_ROWS);
        for block in &self.blocks {
            dot_codes_rows(query.code(), &block.codes, &mut products);
            let vectors = block.vectors.chunks_exact(self.dim.max(1));
            for ((product, mark), vector) in products.iter().zip(&block.marks).zip(vectors) {
                if query.score_at_most(*product, mark.scale) < best.floor() {
                    continue;
                }
                if let Some(key) = key_of(mark.row, mark.entry) {
                    best.offer(query.score(vector), key);
                }
            }
        }
    }

    pub(super) fn check(&self, vector: &Embedding) -> Result<(), SegmentError> {
        if vector.dim() == self.dim {
            Ok(())
        } else {
            Err(SegmentError::Dimension {
                expected: self.dim,
                found: vector.dim(),
            })
        }
    }

    fn mark(&self, slot: usize) -> Option<&Mark> {
        let block = self.blocks.get(slot / BLOCK_ROWS)?;
        block.marks.get(slot % BLOCK_ROWS)
    }

    fn last_row(&self) -> Option<RowNumber> {
        Some(self.blocks.last()?.marks.last()?.row)
    }

    /// The block that takes the next row.
    fn open_block(&mut self) -> &mut Block {
        if self.rows.is_multiple_of(BLOCK_ROWS) {
            // A first block may stay small: many sets have few rows.
            let rows = if self.blocks.is_empty() {
                0
            } else {
                BLOCK_ROWS
            };
            self.blocks.push(Block {
                vectors: Vec::with_capacity(rows * self.dim),
                codes: Vec::with_capacity(rows * self.dim),
                marks: Vec::with_capacity(rows),
            });
        }
        self.blocks.last_mut().expect("there is a block with room")
    }
}

/// The exact answer: what graphs are measured against.
impl AnnSegment for Arc<FlatSegment> {
    fn nearest(&self, query: &Embedding, width: usize) -> Result<Nearest, SegmentError> {
        self.check(query)?;
        let mut best = BestKeys::new(width, None);
        self.scan(&ScanQuery::new(query), &mut best, &mut |row, _| Some(row));
        let found = best.into_sorted().into_iter();
        Ok(Nearest {
            slots: found.filter_map(|(_, row)| self.slot_of(row)).collect(),
            is_all: width >= self.len(),
        })
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::index::rank;

    fn vector(values: [i8; 3]) -> Option<Embedding> {
        Embedding::new(values.iter().map(|value| f32::from(*value)).collect()).ok()
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut segment = FlatSegment::new(3);
        let short = Embedding::new(vec![1.0, 0.0]).expect("finite");
        let error = SegmentError::Dimension {
            expected: 3,
            found: 2,
        };
        let pushed = segment.push(RowNumber(1), EntryNumber(1), &short);
        assert_eq!(pushed, Err(error));
        assert!(segment.is_empty());
        assert_eq!(Arc::new(segment).nearest(&short, 1), Err(error));
    }

    #[test]
    fn rows_are_found_by_number_in_every_block() {
        let mut segment = FlatSegment::new(1);
        let one = Embedding::new(vec![1.0]).expect("finite");
        for number in 0..600 {
            let pushed = segment.push(RowNumber(2 * number), EntryNumber(0), &one);
            assert_eq!(pushed, Ok(()));
        }
        assert_eq!((segment.len(), segment.blocks.len()), (600, 3));
        for number in 0..600 {
            let slot = usize::try_from(number).expect("small");
            assert_eq!(segment.slot_of(RowNumber(2 * number)), Some(slot));
            assert_eq!(segment.slot_of(RowNumber(2 * number + 1)), None);
        }
        let mut copy = FlatSegment::new(1);
        for slot in 0..600 {
            copy.copy_row(&segment, slot);
        }
        assert_eq!(copy, segment);
        copy.copy_row(&segment, 600);
        assert_eq!(copy.len(), 600);
    }

    proptest! {
        /// The oracle is a full sort of all similarities.
        #[test]
        fn it_agrees_with_a_full_sort(
            rows in proptest::collection::vec(any::<[i8; 3]>(), 0..400),
            query in any::<[i8; 3]>(),
            k in 0_usize..50,
            threshold in proptest::option::of(-1.0_f32..1.0),
        ) {
            let mut segment = FlatSegment::new(3);
            let mut all: Vec<(f32, u32)> = Vec::new();
            let Some(query) = vector(query) else { return Ok(()) };
            for (number, row) in (0_u32..).zip(rows.into_iter().filter_map(vector)) {
                let pushed = segment.push(RowNumber(number.into()), EntryNumber(number), &row);
                prop_assert_eq!(pushed, Ok(()));
                let score = query.cosine(&row).expect("same dimension");
                if number % 3 > 0 && threshold.is_none_or(|least| score >= least) {
                    all.push((score, number));
                }
            }
            all.sort_by(|left, right| rank((left.0, &left.1), (right.0, &right.1)));
            all.truncate(k);
            let mut best = BestKeys::new(k, threshold);
            segment.scan(&ScanQuery::new(&query), &mut best, &mut |_, entry| {
                (entry.0 % 3 > 0).then_some(entry.0)
            });
            prop_assert_eq!(best.into_sorted(), all);
        }
    }
}
