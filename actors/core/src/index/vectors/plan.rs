//! Which segments are merged next: size-tiered, and always neighbours, so that the numbers of a
//! segment's rows stay one range.

use std::ops::Range;

use super::SegmentLimits;
use super::sealed_segment::SealedSegment;
use crate::limits::SEGMENT_DEAD_PERCENT;

/// A segment is merged with newer ones that have together a part of its rows: one in so many.
const TIER_RATIO: usize = 2;

/// What is to be merged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Plan {
    /// Which segments, by their places.
    pub(super) segments: Range<usize>,
    /// Whether the result gets a graph.
    pub(super) with_graph: bool,
}

/// What to merge, if anything. `settled`: nothing was written for a while, so that the effort will
/// last.
pub(super) fn plan(
    sealed: &[SealedSegment],
    limits: &SegmentLimits,
    settled: bool,
) -> Option<Plan> {
    let first_flat = sealed
        .iter()
        .rposition(|segment| segment.graph.is_some())
        .map_or(0, |last_graph| last_graph + 1);
    let mut end = first_flat;
    let mut rows = 0;
    for segment in sealed.iter().skip(first_flat) {
        if rows + segment.live() > limits.graph_rows_max {
            break;
        }
        rows += segment.live();
        end += 1;
    }
    let enough = if settled {
        limits.settled_rows
    } else {
        limits.flat_rows
    };
    if rows >= enough {
        let mut start = first_flat;
        for older in sealed.iter().take(first_flat).rev() {
            let is_tier = older.live() <= TIER_RATIO * rows;
            if !is_tier || rows + older.live() > limits.graph_rows_max {
                break;
            }
            rows += older.live();
            start -= 1;
        }
        return Some(Plan {
            segments: start..end,
            with_graph: true,
        });
    }
    let place = sealed
        .iter()
        .position(|segment| segment.is_dead_by(SEGMENT_DEAD_PERCENT))?;
    let live = sealed.get(place).map_or(0, SealedSegment::live);
    Some(Plan {
        segments: place..place + 1,
        with_graph: live >= limits.settled_rows,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{EntryNumber, FlatSegment, Graph, RowNumber};
    use super::*;
    use crate::index::Embedding;

    const LIMITS: SegmentLimits = SegmentLimits {
        seal_rows: 4,
        flat_rows: 10,
        settled_rows: 5,
        graph_rows_max: 40,
        settle_ms: 1,
    };

    fn segment(rows: u32, has_graph: bool, dead: usize) -> SealedSegment {
        let mut flat = FlatSegment::new(1);
        let one = Embedding::new(vec![1.0]).expect("finite");
        for row in 0..rows {
            let pushed = flat.push(RowNumber(row.into()), EntryNumber(row), &one);
            assert_eq!(pushed, Ok(()));
        }
        let flat = Arc::new(flat);
        SealedSegment {
            graph: has_graph.then(|| Graph(Arc::new(flat.clone()))),
            rows: flat,
            numbers: RowNumber(0)..RowNumber(rows.into()),
            dead,
        }
    }

    #[test]
    fn segments_are_merged_when_it_is_worth_the_effort() {
        let flat = |rows| segment(rows, false, 0);
        let graph = |rows| segment(rows, true, 0);
        let merged = |segments| {
            Some(Plan {
                segments,
                with_graph: true,
            })
        };
        for (given, settled, expected) in [
            (vec![], false, None),
            (vec![flat(4), flat(4)], false, None),
            (vec![flat(4), flat(4)], true, merged(0..2)),
            (vec![flat(4)], true, None),
            (vec![flat(4), flat(4), flat(4)], false, merged(0..3)),
            // The older one is of the same tier.
            (vec![graph(24), flat(6), flat(6)], false, merged(0..3)),
            // It is of a higher one.
            (vec![graph(25), flat(6), flat(6)], false, merged(1..3)),
            // Both together would be too large.
            (
                vec![graph(20), graph(12), flat(6), flat(6)],
                false,
                merged(1..4),
            ),
            // More than fits into one segment.
            (vec![flat(30), flat(20)], false, merged(0..1)),
        ] {
            assert_eq!(plan(&given, &LIMITS, settled), expected, "{given:?}");
        }
    }

    #[test]
    fn segments_with_many_dead_rows_are_written_anew() {
        let of = |place, with_graph| {
            Some(Plan {
                segments: place..place + 1,
                with_graph,
            })
        };
        let sound = segment(10, true, 2);
        assert_eq!(plan(std::slice::from_ref(&sound), &LIMITS, true), None);
        let given = [sound.clone(), segment(10, true, 3)];
        assert_eq!(plan(&given, &LIMITS, false), of(1, true));
        // What is left is too little for a graph.
        let given = [sound, segment(10, true, 6)];
        assert_eq!(plan(&given, &LIMITS, false), of(1, false));
    }
}
