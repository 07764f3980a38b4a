//! A graph by usearch: HNSW with several layers, built of the vectors rounded to one byte a
//! dimension.

use std::fmt;
use std::sync::Arc;

use engram_core::index::Embedding;
use engram_core::index::vectors::{
    AnnSegment, BuildError, FlatSegment, Graph, Nearest, SegmentBuilder, SegmentError,
};
use usearch::{Index, IndexOptions, MetricKind, ScalarKind};

/// Most neighbours of a node on the upper layers; on the lowest it may have twice as many.
const NEIGHBOURS: usize = 16;
/// How many nodes are looked at for the neighbours of a new one.
const BUILD_WIDTH: usize = 100;

/// Builds graphs by usearch.
#[derive(Clone, Copy, Debug, Default)]
pub struct UsearchBuilder;

impl SegmentBuilder for UsearchBuilder {
    fn build(&self, rows: &Arc<FlatSegment>) -> Result<Graph, BuildError> {
        let refused = |error: &dyn fmt::Display| BuildError::Refused(error.to_string());
        let options = IndexOptions {
            dimensions: rows.dim(),
            metric: MetricKind::Cos,
            quantization: ScalarKind::I8,
            connectivity: NEIGHBOURS,
            expansion_add: BUILD_WIDTH,
            // A search is as wide as the number of rows it asks for.
            expansion_search: 1,
            multi: false,
        };
        let index = Index::new(&options).map_err(|error| refused(&error))?;
        index.reserve(rows.len()).map_err(|error| refused(&error))?;
        for (slot, key) in (0..rows.len()).zip(0_u64..) {
            let vector = rows
                .vector(slot)
                .ok_or_else(|| refused(&"a row is missing"))?;
            index.add(key, vector).map_err(|error| refused(&error))?;
        }
        Ok(Graph(Arc::new(UsearchSegment { index })))
    }
}

/// The graph; rows are known by their slots.
struct UsearchSegment {
    index: Index,
}

impl AnnSegment for UsearchSegment {
    fn nearest(&self, query: &Embedding, width: usize) -> Result<Nearest, SegmentError> {
        if query.dim() != self.index.dimensions() {
            return Err(SegmentError::Dimension {
                expected: self.index.dimensions(),
                found: query.dim(),
            });
        }
        // A failed search finds nothing; then whoever searches compares all rows.
        let found = self.index.search(query.as_slice(), width);
        let keys = found.map(|found| found.keys).unwrap_or_default();
        let slots: Vec<usize> = keys
            .into_iter()
            .filter_map(|key| usize::try_from(key).ok())
            .collect();
        Ok(Nearest {
            is_all: slots.len() == self.index.size(),
            slots,
        })
    }

    fn memory_bytes(&self) -> usize {
        self.index.memory_usage()
    }
}

impl fmt::Debug for UsearchSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsearchSegment")
            .field("rows", &self.index.size())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use engram_core::index::vectors::{EntryNumber, RowNumber};

    use super::*;

    #[test]
    fn rows_are_found_by_their_own_vectors() {
        let mut rows = FlatSegment::new(8);
        let vectors: Vec<Embedding> = (1_u8..200)
            .map(|number| {
                let values = (1_u8..9)
                    .map(|place| f32::from(number.wrapping_mul(place.wrapping_mul(37))) - 128.0);
                Embedding::new(values.collect()).expect("finite")
            })
            .collect();
        for (number, vector) in (0_u32..).zip(&vectors) {
            let pushed = rows.push(RowNumber(number.into()), EntryNumber(number), vector);
            assert_eq!(pushed, Ok(()));
        }
        let graph = UsearchBuilder.build(&Arc::new(rows)).expect("builds");
        for (slot, vector) in vectors.iter().enumerate() {
            let nearest = graph.0.nearest(vector, 8).expect("fits");
            assert!(nearest.slots.contains(&slot), "{slot}");
        }
        let all = graph.0.nearest(&vectors[0], 500).expect("fits");
        assert!(all.is_all);
    }
}
