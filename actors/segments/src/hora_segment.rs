//! A graph by hora 0.1.1: one layer of the HNSW graph of Malkov and Yashunin (2016).
//!
//! hora must be used with care; each of these was measured:
//! - Its upper layers never lead anywhere, and their heights are random: there is one layer only,
//!   so the same rows always give the same graph.
//! - A search begins at the first vector that was added. That is the mean of all vectors, which is
//!   near everything and is left out of what is found.
//! - Vectors that are equal crowd each other out of the lists of neighbours: rows with the same code
//!   are one node.
//! - Built by several threads it loses vectors: its threads are switched off.
//! - Its own metrics are slow, and some are wrong: its elements are ours, see [`Element`].

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engram_core::index::Embedding;
use engram_core::index::vectors::codes::encode;
use engram_core::index::vectors::{
    AnnSegment, BuildError, FlatSegment, Graph, Nearest, SegmentBuilder, SegmentError,
};
use hora::core::ann_index::ANNIndex;
use hora::core::metrics::Metric;
use hora::index::hnsw_idx::HNSWIndex;
use hora::index::hnsw_params::HNSWParams;

use crate::element::Element;

/// Most neighbours of a node.
const NEIGHBOURS: usize = 32;
/// How many nodes are looked at for the neighbours of a new one.
const BUILD_WIDTH: usize = 100;
/// The name of the mean in the graph; rows have their node's number.
const MEAN: usize = usize::MAX;

/// Builds graphs by hora.
#[derive(Clone, Copy, Debug, Default)]
pub struct HoraBuilder;

impl SegmentBuilder for HoraBuilder {
    fn build(&self, rows: &Arc<FlatSegment>) -> Result<Graph, BuildError> {
        // hora reports some of its failures by panics.
        catch_unwind(AssertUnwindSafe(|| HoraSegment::build(rows)))
            .unwrap_or(Err(BuildError::Panicked))
            .map(|segment| Graph(Arc::new(segment)))
    }
}

/// A graph of nodes, each of which stands for the rows that have its code.
struct HoraSegment {
    index: HNSWIndex<Element, usize>,
    dim: usize,
    nodes: Nodes,
}

impl HoraSegment {
    fn build(rows: &FlatSegment) -> Result<HoraSegment, BuildError> {
        let nodes = Nodes::of(rows);
        let refused = |reason: &'static str| BuildError::Refused(reason.to_owned());
        let elements = Element::count(rows.dim());
        let mut parameters = HNSWParams::<Element>::default()
            .max_item(nodes.len() + 1)
            .n_neighbor0(NEIGHBOURS)
            .ef_build(BUILD_WIDTH)
            // A search is as wide as the number of nodes it asks for.
            .ef_search(1);
        parameters.max_level = 0;
        let mut index = HNSWIndex::new(elements, &parameters);
        let mean = mean(rows).ok_or_else(|| refused("there are no rows"))?;
        index.add(&of_vector(&mean), MEAN).map_err(refused)?;
        for node in 0..nodes.len() {
            let slot = nodes.rows(node).first().copied().unwrap_or(usize::MAX);
            let (Some(code), Some(inverse_length)) =
                (rows.code(slot), rows.inverse_code_length(slot))
            else {
                return Err(refused("a row is missing"));
            };
            let elements = Element::of_code(code, inverse_length);
            index.add(&elements, node).map_err(refused)?;
        }
        index.build(Metric::Euclidean).map_err(refused)?;
        Ok(HoraSegment {
            index,
            dim: rows.dim(),
            nodes,
        })
    }
}

impl AnnSegment for HoraSegment {
    fn nearest(&self, query: &Embedding, width: usize) -> Result<Nearest, SegmentError> {
        if query.dim() != self.dim {
            return Err(SegmentError::Dimension {
                expected: self.dim,
                found: query.dim(),
            });
        }
        // One more, for the mean.
        let width = width.min(self.nodes.len()) + 1;
        let found = self.index.search_nodes(&of_vector(query), width);
        let nodes = found.iter().filter_map(|(node, _)| *node.idx());
        let nodes: Vec<usize> = nodes.filter(|node| *node != MEAN).collect();
        let slots = nodes.iter().flat_map(|node| self.nodes.rows(*node));
        Ok(Nearest {
            slots: slots.copied().collect(),
            is_all: nodes.len() == self.nodes.len(),
        })
    }

    fn memory_bytes(&self) -> usize {
        // A node, its vector, its list of neighbours with a lock, and what points to them.
        let of_node = 48 + Element::count(self.dim) * size_of::<Element>();
        let of_neighbours = 40 + NEIGHBOURS * size_of::<usize>();
        let of_pointers = 24 + 2 * size_of::<usize>();
        self.nodes.len() * (of_node + of_neighbours + of_pointers) + self.nodes.memory_bytes()
    }
}

impl fmt::Debug for HoraSegment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HoraSegment")
            .field("dim", &self.dim)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

/// Which rows each node stands for.
struct Nodes {
    /// The slots of all rows, node by node.
    slots: Vec<usize>,
    /// Where in `slots` each node begins, and the end of the last one.
    starts: Vec<usize>,
}

impl Nodes {
    fn of(rows: &FlatSegment) -> Nodes {
        let mut by_code: BTreeMap<&[i8], Vec<usize>> = BTreeMap::new();
        for slot in 0..rows.len() {
            by_code
                .entry(rows.code(slot).unwrap_or_default())
                .or_default()
                .push(slot);
        }
        // In the order of their first rows.
        let mut nodes: Vec<Vec<usize>> = by_code.into_values().collect();
        nodes.sort_unstable();
        let mut starts = vec![0];
        starts.extend(nodes.iter().scan(0, |end, node| {
            *end += node.len();
            Some(*end)
        }));
        Nodes {
            slots: nodes.concat(),
            starts,
        }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn rows(&self, node: usize) -> &[usize] {
        let start = self.starts.get(node).copied();
        let end = self.starts.get(node.saturating_add(1)).copied();
        let range = start.zip(end).map(|(start, end)| start..end);
        range
            .and_then(|range| self.slots.get(range))
            .unwrap_or_default()
    }

    fn memory_bytes(&self) -> usize {
        (self.slots.capacity() + self.starts.capacity()) * size_of::<usize>()
    }
}

/// The direction in which most rows lie; none if there are no rows.
fn mean(rows: &FlatSegment) -> Option<Embedding> {
    let mut sum = vec![0.0_f64; rows.dim()];
    for slot in 0..rows.len() {
        for (sum, value) in sum.iter_mut().zip(rows.vector(slot)?) {
            *sum += f64::from(*value);
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "rounding does no harm")]
    let sum = sum.into_iter().map(|sum| sum as f32).collect();
    // Opposite rows have no mean: then the first row is as good as any.
    Embedding::new(sum)
        .or_else(|_| Embedding::new(rows.vector(0).unwrap_or_default().to_vec()))
        .ok()
}

fn of_vector(vector: &Embedding) -> Vec<Element> {
    let mut code = Vec::with_capacity(vector.dim());
    let scale = encode(vector.as_slice(), &mut code);
    Element::of_code(&code, scale.inverse_length)
}

#[cfg(test)]
mod tests;
