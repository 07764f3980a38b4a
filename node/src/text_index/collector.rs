//! The best documents of some shards.
//!
//! A segment in which there are no others is searched without a look at each match's shard. Tantivy then
//! passes over whole blocks of matches that cannot be among the best (block-max WAND, Ding and Suel
//! 2011), which it cannot do where somebody else decides what counts. What it knows of a block goes by
//! the average length of the texts in its segment, while scores go by that of the whole index: where
//! these differ much, one may be passed over that scores a little better than the last of the best.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use engram_core::types::ShardId;
use lru::LruCache;
use tantivy::collector::{Collector, FilterCollector, SegmentCollector, TopDocs};
use tantivy::index::SegmentId;
use tantivy::query::Weight;
use tantivy::schema::Schema;
use tantivy::{DocAddress, Score, Searcher, SegmentOrdinal, SegmentReader, TantivyError};

use super::schema::Fields;

/// Of how many segments it is remembered which shards they hold: more than there are in an index.
const SEGMENTS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

type Best = Vec<(Score, DocAddress)>;

/// Which shards the documents of each segment belong to. Segments never change but for deletions.
pub(super) struct SegmentShards(LruCache<SegmentId, BTreeSet<u64>>);

impl SegmentShards {
    pub(super) fn new() -> SegmentShards {
        SegmentShards(LruCache::new(SEGMENTS_MAX))
    }

    /// Whether a segment holds documents of these shards only.
    fn are_within(
        &mut self,
        segment: &SegmentReader,
        is_wanted: impl Fn(u64) -> bool,
    ) -> Result<bool, TantivyError> {
        let found = self.0.try_get_or_insert(segment.segment_id(), || {
            let column = segment.fast_fields().u64(Fields::SHARD)?;
            let mut found = BTreeSet::new();
            for document in 0..segment.max_doc() {
                found.extend(column.first(document));
            }
            Ok::<_, TantivyError>(found)
        })?;
        Ok(found.iter().all(|shard| is_wanted(*shard)))
    }
}

/// Collects the best `k` documents of some shards.
///
/// # Errors
/// What tantivy reports of a file that cannot be read.
pub(super) fn best_of(
    searcher: &Searcher,
    known: &mut SegmentShards,
    shards: &BTreeSet<ShardId>,
    k: usize,
) -> Result<impl Collector<Fruit = Best> + use<>, TantivyError> {
    let is_wanted = Fields::shard_filter(shards);
    let segments = searcher.segment_readers().iter();
    let is_whole = segments.map(|segment| known.are_within(segment, &is_wanted));
    let top = || TopDocs::with_limit(k).order_by_score();
    Ok(BestOf {
        is_whole: is_whole.collect::<Result<_, _>>()?,
        whole: top(),
        part: FilterCollector::new(Fields::SHARD.to_owned(), is_wanted, top()),
    })
}

struct BestOf<Whole, Part> {
    /// By segment: whether all its documents are wanted.
    is_whole: Vec<bool>,
    whole: Whole,
    part: Part,
}

impl<Whole, Part> Collector for BestOf<Whole, Part>
where
    Whole: Collector<Fruit = Best>,
    Part: Collector<Fruit = Best>,
    Part::Child: SegmentCollector<Fruit = <Whole::Child as SegmentCollector>::Fruit>,
{
    type Fruit = Best;
    type Child = Part::Child;

    fn check_schema(&self, schema: &Schema) -> Result<(), TantivyError> {
        self.part.check_schema(schema)
    }

    fn for_segment(
        &self,
        number: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> Result<Part::Child, TantivyError> {
        self.part.for_segment(number, segment)
    }

    fn requires_scoring(&self) -> bool {
        true
    }

    fn merge_fruits(
        &self,
        fruits: Vec<<Part::Child as SegmentCollector>::Fruit>,
    ) -> Result<Best, TantivyError> {
        self.part.merge_fruits(fruits)
    }

    fn collect_segment(
        &self,
        weight: &dyn Weight,
        number: SegmentOrdinal,
        segment: &SegmentReader,
    ) -> Result<<Part::Child as SegmentCollector>::Fruit, TantivyError> {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        if self.is_whole.get(place).copied().unwrap_or(false) {
            self.whole.collect_segment(weight, number, segment)
        } else {
            self.part.collect_segment(weight, number, segment)
        }
    }
}
