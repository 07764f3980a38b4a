//! Graphs against the exact answer.

use std::collections::BTreeSet;

use engram_core::index::vectors::{EntryNumber, RowNumber, SegmentError};

use super::*;

/// `count` vectors around a few centres. Not random enough for anything else.
fn vectors(count: u32, dim: u32) -> Vec<Embedding> {
    let wave = |number: u32, place: u32| {
        let turn = f64::from(number % 7 * 31 + place * 17) + f64::from(number * (place % 5)) * 0.01;
        turn.sin()
    };
    (0..count)
        .map(|number| {
            #[expect(clippy::cast_possible_truncation, reason = "rounding does no harm")]
            let values = (0..dim).map(|place| wave(number, place) as f32).collect();
            Embedding::new(values).expect("finite")
        })
        .collect()
}

fn rows(vectors: &[Embedding]) -> Arc<FlatSegment> {
    let mut rows = FlatSegment::new(vectors.first().map_or(1, Embedding::dim));
    for (number, vector) in (0_u32..).zip(vectors) {
        let pushed = rows.push(RowNumber(number.into()), EntryNumber(number), vector);
        assert_eq!(pushed, Ok(()));
    }
    Arc::new(rows)
}

fn found(graph: &Graph, query: &Embedding, width: usize) -> BTreeSet<usize> {
    let nearest = graph.0.nearest(query, width).expect("fits");
    let slots: BTreeSet<usize> = nearest.slots.iter().copied().collect();
    assert_eq!(slots.len(), nearest.slots.len(), "no row is found twice");
    slots
}

#[test]
fn copies_of_one_vector_are_all_found_and_hide_nothing() {
    let others = vectors(300, 24);
    let copy = vectors(1, 24);
    let all = [vec![copy[0].clone(); 500], others[1..].to_vec()].concat();
    let rows = rows(&all);
    let graph = HoraBuilder.build(&rows).expect("builds");
    let first = found(&graph, &copy[0], 1);
    assert!((0..500).all(|slot| first.contains(&slot)), "all copies");
    let nearest = graph.0.nearest(&copy[0], 300).expect("fits");
    assert!(nearest.is_all);
    assert_eq!(nearest.slots.len(), all.len());
    for (slot, vector) in all.iter().enumerate().skip(500) {
        assert!(found(&graph, vector, 10).contains(&slot), "{slot}");
    }
}

#[test]
fn the_same_rows_give_the_same_graph() {
    let all = vectors(400, 17);
    let rows = rows(&all);
    let graphs = [(); 2].map(|()| HoraBuilder.build(&rows).expect("builds"));
    for query in &all {
        let nearest = |graph: &Graph| graph.0.nearest(query, 5).expect("fits");
        assert_eq!(nearest(&graphs[0]), nearest(&graphs[1]));
    }
    // A code, a scale and a slot for each row, and some links.
    let memory = graphs[0].0.memory_bytes();
    assert!(memory > 400 * (17 + 4 + 4 + 4), "{memory}");
    assert!(
        memory < 400 * (17 + 4 + 4 + 4 + NEIGHBOURS * 4 + 9),
        "{memory}"
    );
}

#[test]
fn opposite_and_single_rows_have_an_entry_point_too() {
    let up = Embedding::new(vec![1.0, 0.0]).expect("finite");
    let down = Embedding::new(vec![-1.0, 0.0]).expect("finite");
    for all in [vec![up.clone()], vec![up.clone(), down.clone()]] {
        let graph = HoraBuilder.build(&rows(&all)).expect("builds");
        assert_eq!(found(&graph, &down, 9).len(), all.len());
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let empty = HoraBuilder.build(&rows(&[]));
    assert!(matches!(empty, Err(BuildError::Refused(_))));
    let graph = HoraBuilder.build(&rows(&vectors(3, 4))).expect("builds");
    let short = Embedding::new(vec![1.0]).expect("finite");
    let error = SegmentError::Dimension {
        expected: 4,
        found: 1,
    };
    assert_eq!(graph.0.nearest(&short, 1), Err(error));
}
