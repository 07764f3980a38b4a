//! A segment that compares the query with every vector: exact, and fast enough for the newest
//! few ten thousand vectors of a partition.
//!
//! Vectors lie in blocks, each contiguous, so that growing never copies what is there. A removed
//! vector's slot is filled with the last one, so that there are no holes to skip.

use std::collections::BTreeMap;

use super::dot::dot_rows;
use super::{Embedding, Scored, SegmentError, TopK, VectorSegment};
use crate::types::RecordKey;

/// Vectors of one block. A block of 384 dimensions takes 393 KB, which fits a level-2 cache.
const BLOCK_VECTORS: usize = 256;

/// An exact vector segment. See the module for how it is laid out.
#[derive(Clone, Debug)]
pub struct FlatSegment {
    dim: usize,
    /// Each `[rows, dim]`; all blocks but the last hold [`BLOCK_VECTORS`] rows.
    blocks: Vec<Vec<f32>>,
    /// Slot to key.
    keys: Vec<RecordKey>,
    /// Key to slot.
    slots: BTreeMap<RecordKey, usize>,
}

impl FlatSegment {
    /// An empty segment for vectors of `dim` dimensions.
    pub fn new(dim: usize) -> FlatSegment {
        FlatSegment {
            dim,
            blocks: Vec::new(),
            keys: Vec::new(),
            slots: BTreeMap::new(),
        }
    }

    /// The vector of a key, `[dim]`.
    pub fn get(&self, key: &RecordKey) -> Option<&[f32]> {
        self.row(*self.slots.get(key)?)
    }

    /// The keys, in no particular order.
    pub fn keys(&self) -> &[RecordKey] {
        &self.keys
    }

    fn row(&self, slot: usize) -> Option<&[f32]> {
        let start = (slot % BLOCK_VECTORS) * self.dim;
        self.blocks
            .get(slot / BLOCK_VECTORS)?
            .get(start..start + self.dim)
    }

    fn row_mut(&mut self, slot: usize) -> Option<&mut [f32]> {
        let start = (slot % BLOCK_VECTORS) * self.dim;
        self.blocks
            .get_mut(slot / BLOCK_VECTORS)?
            .get_mut(start..start + self.dim)
    }

    fn check(&self, vector: &Embedding) -> Result<(), SegmentError> {
        if vector.dim() == self.dim {
            Ok(())
        } else {
            Err(SegmentError::Dimension {
                expected: self.dim,
                found: vector.dim(),
            })
        }
    }

    /// Takes the last vector off the blocks.
    fn pop_row(&mut self) -> Option<Vec<f32>> {
        let block = self.blocks.last_mut()?;
        let row = block.split_off(block.len().checked_sub(self.dim)?);
        if block.is_empty() {
            self.blocks.pop();
        }
        Some(row)
    }

    #[cfg(any(test, debug_assertions))]
    fn validate(&self) {
        assert_eq!(self.keys.len(), self.slots.len(), "every key has one slot");
        let rows: usize = self
            .blocks
            .iter()
            .map(|block| block.len() / self.dim.max(1))
            .sum();
        assert_eq!(rows, self.keys.len(), "every key has one row");
    }
}

impl VectorSegment for FlatSegment {
    fn dim(&self) -> usize {
        self.dim
    }

    fn len(&self) -> usize {
        self.keys.len()
    }

    fn memory_bytes(&self) -> usize {
        self.blocks
            .iter()
            .map(|block| block.capacity() * size_of::<f32>())
            .sum()
    }

    fn upsert(&mut self, key: RecordKey, vector: &Embedding) -> Result<(), SegmentError> {
        self.check(vector)?;
        if let Some(slot) = self.slots.get(&key).copied() {
            if let Some(row) = self.row_mut(slot) {
                row.copy_from_slice(vector.as_slice());
            }
            return Ok(());
        }
        let slot = self.keys.len();
        if slot.is_multiple_of(BLOCK_VECTORS) {
            self.blocks.push(Vec::new());
        }
        if let Some(block) = self.blocks.last_mut() {
            block.extend_from_slice(vector.as_slice());
        }
        self.keys.push(key.clone());
        self.slots.insert(key, slot);
        #[cfg(debug_assertions)]
        self.validate();
        Ok(())
    }

    fn remove(&mut self, key: &RecordKey) -> bool {
        let Some(slot) = self.slots.remove(key) else {
            return false;
        };
        let (Some(row), Some(last)) = (self.pop_row(), self.keys.pop()) else {
            return false;
        };
        if slot < self.keys.len() {
            if let Some(place) = self.row_mut(slot) {
                place.copy_from_slice(&row);
            }
            if let Some(place) = self.keys.get_mut(slot) {
                *place = last.clone();
            }
            self.slots.insert(last, slot);
        }
        #[cfg(debug_assertions)]
        self.validate();
        true
    }

    fn search(
        &self,
        query: &Embedding,
        k: usize,
        threshold: Option<f32>,
        filter: &mut dyn FnMut(&RecordKey) -> bool,
    ) -> Result<Vec<Scored>, SegmentError> {
        self.check(query)?;
        let threshold = threshold.unwrap_or(f32::NEG_INFINITY);
        if threshold.is_nan() {
            return Err(SegmentError::Threshold);
        }
        let mut top = TopK::new(k);
        let mut scores = Vec::with_capacity(BLOCK_VECTORS);
        for (block, keys) in self.blocks.iter().zip(self.keys.chunks(BLOCK_VECTORS)) {
            dot_rows(query.as_slice(), block, &mut scores);
            for (score, key) in scores.iter().zip(keys) {
                if *score >= threshold && top.would_keep(*score, &key) && filter(key) {
                    top.push(*score, key);
                }
            }
        }
        let found = top.into_sorted().into_iter();
        Ok(found
            .map(|(score, key)| Scored {
                key: key.clone(),
                score,
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Key, NamespaceId};

    fn key(name: u8) -> RecordKey {
        RecordKey {
            namespace: NamespaceId(1),
            key: Key::new(vec![name]).expect("not empty"),
        }
    }

    fn vector(values: [i8; 3]) -> Option<Embedding> {
        Embedding::new(values.iter().map(|value| f32::from(*value)).collect()).ok()
    }

    fn names(found: &[Scored]) -> Vec<u8> {
        found.iter().map(|hit| hit.key.key.as_bytes()[0]).collect()
    }

    #[test]
    fn ties_come_in_key_order_and_the_threshold_is_inclusive() {
        let mut segment = FlatSegment::new(3);
        let same = vector([1, 0, 0]).expect("not zero");
        for name in [3, 1, 2] {
            segment.upsert(key(name), &same).expect("fits");
        }
        segment
            .upsert(key(0), &vector([0, 1, 0]).expect("not zero"))
            .expect("fits");
        let found = segment
            .search(&same, 2, Some(1.0), &mut |_| true)
            .expect("fits");
        assert_eq!(names(&found), [1, 2]);
        let found = segment
            .search(&same, 9, Some(1.0), &mut |_| true)
            .expect("fits");
        assert_eq!(names(&found), [1, 2, 3]);
        let found = segment
            .search(&same, 9, None, &mut |k| *k != key(2))
            .expect("fits");
        assert_eq!(names(&found), [1, 3, 0]);
        assert_eq!(segment.search(&same, 0, None, &mut |_| true), Ok(vec![]));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut segment = FlatSegment::new(3);
        let short = Embedding::new(vec![1.0, 0.0]).expect("finite");
        let error = SegmentError::Dimension {
            expected: 3,
            found: 2,
        };
        assert_eq!(segment.upsert(key(1), &short), Err(error));
        assert_eq!(segment.search(&short, 1, None, &mut |_| true), Err(error));
        let query = vector([1, 0, 0]).expect("not zero");
        assert_eq!(
            segment.search(&query, 1, Some(f32::NAN), &mut |_| true),
            Err(SegmentError::Threshold)
        );
        assert!(segment.is_empty());
    }

    #[test]
    fn blocks_fill_and_empty() {
        let mut segment = FlatSegment::new(1);
        let one = Embedding::new(vec![1.0]).expect("finite");
        let many: Vec<RecordKey> = (0..600_u16)
            .map(|name| RecordKey {
                namespace: NamespaceId(1),
                key: Key::new(name.to_be_bytes().to_vec()).expect("not empty"),
            })
            .collect();
        for key in &many {
            segment.upsert(key.clone(), &one).expect("fits");
        }
        assert_eq!((segment.len(), segment.blocks.len()), (600, 3));
        for key in &many {
            assert!(segment.remove(key));
            assert!(!segment.remove(key));
            segment.validate();
        }
        assert_eq!((segment.len(), segment.blocks.len()), (0, 0));
    }

    proptest! {
        /// The oracle is a map and a full sort.
        #[test]
        fn it_agrees_with_a_map_and_a_full_sort(
            operations in proptest::collection::vec((0_u8..40, any::<[i8; 3]>(), any::<bool>()), 0..120),
            query in any::<[i8; 3]>(),
            k in 0_usize..50,
            threshold in proptest::option::of(-1.0_f32..1.0),
        ) {
            let mut segment = FlatSegment::new(3);
            let mut oracle: BTreeMap<RecordKey, Embedding> = BTreeMap::new();
            for (name, values, keep) in operations {
                match vector(values).filter(|_| keep) {
                    Some(embedding) => {
                        segment.upsert(key(name), &embedding).expect("fits");
                        oracle.insert(key(name), embedding);
                    }
                    None => {
                        let removed = segment.remove(&key(name));
                        prop_assert_eq!(removed, oracle.remove(&key(name)).is_some());
                    }
                }
                segment.validate();
            }
            for (key, embedding) in &oracle {
                prop_assert_eq!(segment.get(key), Some(embedding.as_slice()));
            }
            let Some(query) = vector(query) else { return Ok(()) };
            let odd = |key: &RecordKey| key.key.as_bytes()[0] % 2 == 1;
            let mut expected: Vec<Scored> = oracle
                .iter()
                .filter(|(key, _)| odd(key))
                .map(|(key, vector)| Scored {
                    key: key.clone(),
                    score: query.cosine(vector).expect("same dimension"),
                })
                .filter(|hit| threshold.is_none_or(|least| hit.score >= least))
                .collect();
            expected.sort_by(|l, r| super::super::rank((l.score, &l.key), (r.score, &r.key)));
            expected.truncate(k);
            let found = segment.search(&query, k, threshold, &mut |key| odd(key)).expect("fits");
            prop_assert_eq!(found, expected);
        }
    }
}
