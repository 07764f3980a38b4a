//! A graph over the codes of rows, laid out for searches.
//!
//! A search goes from node to node, and waits for memory more than it computes. So codes lie in one
//! place, links in another; nodes near each other in the graph are near each other there; and all new
//! neighbours of a node are compared before any is decided on, so that the processor asks for many at
//! once. At 100,000 rows of 384 dimensions that made searches four times as fast as hora's, which has
//! each code and each list of links in a place of its own.

mod lists;
mod walk;

use std::fmt;

use engram_core::index::Embedding;
use engram_core::index::vectors::codes::encode;
use engram_core::index::vectors::{AnnSegment, FlatSegment, Nearest, SegmentError};

use self::lists::Lists;
use self::walk::walk;

/// Nodes, each of which stands for some rows but the first one, where searches begin.
pub(crate) struct CodeGraph {
    dim: usize,
    /// The codes of the nodes, `[nodes, dim]`.
    codes: Vec<i8>,
    /// What the code of each node is to be multiplied by for length 1.
    scales: Vec<f32>,
    /// The neighbours of each node.
    links: Lists,
    /// The slots of each node's rows.
    slots: Lists,
}

impl CodeGraph {
    /// A graph of nodes that stand for the rows at these `slots`, all of one node with the same code,
    /// and have these neighbours. Searches begin at node 0, which stands for none and is never found.
    ///
    /// # Errors
    /// What is wrong with the slots or links.
    pub(crate) fn new(
        rows: &FlatSegment,
        slots: &[Vec<usize>],
        links: &[Vec<usize>],
    ) -> Result<CodeGraph, &'static str> {
        if slots.len() != links.len() {
            return Err("each node needs slots and links");
        }
        let order = depth_first(links);
        let mut place_of = vec![0; order.len()];
        for (place, node) in order.iter().enumerate() {
            *place_of.get_mut(*node).ok_or("no node")? = place;
        }
        let mut graph = CodeGraph {
            dim: rows.dim(),
            codes: Vec::with_capacity(order.len() * rows.dim()),
            scales: Vec::with_capacity(order.len()),
            links: Lists::default(),
            slots: Lists::default(),
        };
        for node in &order {
            let (slots, links) = slots.get(*node).zip(links.get(*node)).ok_or("no node")?;
            if links.iter().any(|node| *node >= place_of.len()) {
                return Err("a link leads nowhere");
            }
            let places = links.iter().filter_map(|node| place_of.get(*node).copied());
            graph.links.push(places).ok_or("there are too many links")?;
            let rows_of = slots.iter().copied();
            graph.slots.push(rows_of).ok_or("there are too many rows")?;
            match slots.first() {
                None => {
                    graph.codes.resize(graph.codes.len() + graph.dim, 0);
                    graph.scales.push(0.0);
                }
                Some(slot) => {
                    let code = rows.code(*slot).ok_or("a row is missing")?;
                    let scale = rows.inverse_code_length(*slot).ok_or("a row is missing")?;
                    graph.codes.extend_from_slice(code);
                    graph.scales.push(scale);
                }
            }
        }
        graph.links.shrink();
        graph.slots.shrink();
        Ok(graph)
    }

    /// How many nodes there are.
    fn len(&self) -> usize {
        self.scales.len()
    }

    /// The code of a node, and what it is to be multiplied by for length 1.
    fn code(&self, node: usize) -> Option<(&[i8], f32)> {
        let start = node * self.dim;
        let code = self.codes.get(start..start + self.dim)?;
        Some((code, *self.scales.get(node)?))
    }
}

impl AnnSegment for CodeGraph {
    fn nearest(&self, query: &Embedding, width: usize) -> Result<Nearest, SegmentError> {
        if query.dim() != self.dim {
            return Err(SegmentError::Dimension {
                expected: self.dim,
                found: query.dim(),
            });
        }
        let mut code = Vec::with_capacity(query.dim());
        encode(query.as_slice(), &mut code);
        let code: Vec<i16> = code.into_iter().map(i16::from).collect();
        let nodes = walk(self, &code, width);
        Ok(Nearest {
            slots: nodes.iter().flat_map(|node| self.slots.of(*node)).collect(),
            is_all: nodes.len() + 1 >= self.len(),
        })
    }

    fn memory_bytes(&self) -> usize {
        self.codes.capacity()
            + self.scales.capacity() * size_of::<f32>()
            + self.links.memory_bytes()
            + self.slots.memory_bytes()
    }
}

impl fmt::Debug for CodeGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CodeGraph")
            .field("dim", &self.dim)
            .field("nodes", &self.len())
            .finish_non_exhaustive()
    }
}

/// The nodes in the order in which one comes by them who always goes on to the nearest neighbour that
/// he has not seen yet. So nodes of one neighbourhood stand together.
fn depth_first(links: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(links.len());
    let mut seen = vec![false; links.len()];
    // Nodes to go to, the next one last. Not all may be reachable from node 0.
    let mut ahead: Vec<usize> = (0..links.len()).rev().collect();
    while let Some(node) = ahead.pop() {
        let Some(seen_before) = seen.get_mut(node) else {
            continue;
        };
        if !std::mem::replace(seen_before, true) {
            order.push(node);
            ahead.extend(links.get(node).into_iter().flatten().rev());
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use engram_core::index::vectors::{EntryNumber, RowNumber};
    use proptest::prelude::*;

    use super::*;

    fn vector(values: [f32; 2]) -> Embedding {
        Embedding::new(values.to_vec()).expect("finite")
    }

    /// Rows on a quarter of a circle.
    fn rows(count: u8) -> FlatSegment {
        let mut rows = FlatSegment::new(2);
        for number in 0..count {
            let row = vector([f32::from(count - number), f32::from(number)]);
            let pushed = rows.push(RowNumber(number.into()), EntryNumber(number.into()), &row);
            assert_eq!(pushed, Ok(()));
        }
        rows
    }

    #[test]
    fn searches_follow_links_and_find_all_rows_of_a_node() {
        let rows = rows(4);
        let slots = [vec![], vec![0], vec![1, 2], vec![3]];
        let links = [vec![1], vec![2], vec![1], vec![0]];
        let graph = CodeGraph::new(&rows, &slots, &links).expect("well formed");
        let found = |query, width| graph.nearest(&vector(query), width).expect("fits");
        assert_eq!(found([1.0, 0.0], 1).slots, [0]);
        assert_eq!(found([0.0, 1.0], 2).slots, [1, 2, 0]);
        // No link leads to the last node.
        let all = found([0.0, 1.0], 9);
        assert_eq!((all.slots.len(), all.is_all), (3, false));
    }

    proptest! {
        /// The oracle is a walk along all links.
        #[test]
        fn a_wide_search_finds_what_links_lead_to_best_first(
            links in proptest::collection::vec(proptest::collection::vec(0_usize..9, 0..4), 9),
            angle in 0_u8..100,
        ) {
            let rows = rows(8);
            let slots: Vec<Vec<usize>> = (0..9).map(|node: usize| node.checked_sub(1).into_iter().collect()).collect();
            let graph = CodeGraph::new(&rows, &slots, &links).expect("well formed");
            let query = vector([f32::from(100 - angle), f32::from(angle)]);
            let found = graph.nearest(&query, 9).expect("fits");
            let mut reached = vec![0_usize];
            let mut at = 0;
            while let Some(node) = reached.get(at) {
                let new: Vec<usize> = links[*node].iter().copied().filter(|it| !reached.contains(it)).collect();
                for node in new {
                    if !reached.contains(&node) {
                        reached.push(node);
                    }
                }
                at += 1;
            }
            let score = |slot: &usize| {
                let row = Embedding::new(rows.vector(*slot).expect("there").to_vec());
                query.cosine(&row.expect("finite")).expect("same dimension")
            };
            let mut expected: Vec<usize> = reached.into_iter().filter_map(|it| it.checked_sub(1)).collect();
            prop_assert_eq!(found.is_all, expected.len() == 8);
            let falls = found.slots.is_sorted_by(|a, b| score(a) > score(b) - 0.02);
            prop_assert!(falls, "{:?}", found.slots);
            let mut slots = found.slots;
            slots.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(slots, expected);
        }
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        let rows = rows(1);
        let new = |slots: &[Vec<usize>], links: &[Vec<usize>]| {
            CodeGraph::new(&rows, slots, links).expect_err("not well formed")
        };
        let node = || vec![vec![], vec![0]];
        assert_eq!(new(&node(), &[vec![1]]), "each node needs slots and links");
        assert_eq!(new(&node(), &[vec![1], vec![2]]), "a link leads nowhere");
        assert_eq!(
            new(&[vec![], vec![7]], &[vec![1], vec![]]),
            "a row is missing"
        );
    }

    #[test]
    fn neighbours_stand_together() {
        let links = [vec![2, 1], vec![3], vec![4, 0], vec![], vec![], vec![3]];
        assert_eq!(depth_first(&links), [0, 2, 4, 1, 3, 5]);
    }
}
