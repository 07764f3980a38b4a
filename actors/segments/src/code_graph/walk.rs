//! The search through a graph: algorithm 2 of Malkov and Yashunin (2016).

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use engram_kernels::dot_codes_each;

use super::CodeGraph;

/// A node and how similar it is.
#[derive(Clone, Copy, Debug)]
struct Scored {
    score: f32,
    node: usize,
}

impl Ord for Scored {
    /// The more similar one is greater; of equals the one that comes first in memory.
    fn cmp(&self, other: &Self) -> Ordering {
        let by_score = self.score.total_cmp(&other.score);
        by_score.then_with(|| other.node.cmp(&self.node))
    }
}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Scored {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Scored {}

/// The `width` nodes that stand for rows and are most similar to the code `query` `[dim]`, as far as a
/// walk from node 0 comes by them, best first.
pub(super) fn walk(graph: &CodeGraph, query: &[i16], width: usize) -> Vec<usize> {
    let mut seen = Seen::of(graph.len());
    // Nodes whose neighbours were not looked at yet, and the best, the worst of these on top.
    let (mut open, mut best) = (BinaryHeap::new(), BinaryHeap::new());
    // New neighbours, and the inner products with the query.
    let (mut nodes, mut codes, mut products) = (Vec::new(), Vec::new(), Vec::new());
    let mut next = 0;
    seen.insert(next);
    loop {
        nodes.clear();
        codes.clear();
        for node in graph.links.of(next).filter(|node| seen.insert(*node)) {
            if let Some((code, scale)) = graph.code(node) {
                nodes.push((node, scale));
                codes.push(code);
            }
        }
        dot_codes_each(query, &codes, &mut products);
        for ((node, scale), product) in nodes.iter().zip(&products) {
            #[expect(clippy::cast_precision_loss, reason = "codes are no more precise")]
            let scored = Scored {
                score: *product as f32 * scale,
                node: *node,
            };
            if is_among(&best, width, scored) {
                open.push(scored);
                best.push(Reverse(scored));
                if best.len() > width {
                    best.pop();
                }
            }
        }
        match open.pop() {
            Some(nearest) if is_among(&best, width, nearest) => next = nearest.node,
            _ => {
                let best = best.into_sorted_vec().into_iter();
                return best.map(|found| found.0.node).collect();
            }
        }
    }
}

/// Whether a node is one of the best, or would be.
fn is_among(best: &BinaryHeap<Reverse<Scored>>, width: usize, scored: Scored) -> bool {
    let worst = best.peek().filter(|_| best.len() >= width);
    worst.is_none_or(|worst| scored >= worst.0)
}

/// A set of nodes: a bit for each.
struct Seen(Vec<u64>);

impl Seen {
    /// The empty set, for so many nodes.
    fn of(nodes: usize) -> Seen {
        Seen(vec![0; nodes.div_ceil(64)])
    }

    /// Adds a node; tells whether it is new.
    fn insert(&mut self, node: usize) -> bool {
        let bit = 1 << (node % 64);
        let Some(bits) = self.0.get_mut(node / 64) else {
            return false;
        };
        let new = *bits & bit == 0;
        *bits |= bit;
        new
    }
}
