//! Graphs that hora 0.1.1 builds: one layer of the HNSW graph of Malkov and Yashunin (2016).
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
//! - Its searches wait for memory most of the time: of what it built only the links are kept, and
//!   searched by a [`CodeGraph`].

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use engram_core::index::Embedding;
use engram_core::index::vectors::codes::encode;
use engram_core::index::vectors::{BuildError, FlatSegment, Graph, SegmentBuilder};
use hora::core::ann_index::ANNIndex;
use hora::core::metrics::Metric;
use hora::index::hnsw_idx::HNSWIndex;
use hora::index::hnsw_params::HNSWParams;

use crate::code_graph::CodeGraph;
use crate::element::Element;
use crate::hora_links::links;

/// Most neighbours of a node.
const NEIGHBOURS: usize = 32;
/// How many nodes are looked at for the neighbours of a new one.
const BUILD_WIDTH: usize = 100;

/// Builds graphs by hora.
#[derive(Clone, Copy, Debug, Default)]
pub struct HoraBuilder;

impl SegmentBuilder for HoraBuilder {
    fn build(&self, rows: &Arc<FlatSegment>) -> Result<Graph, BuildError> {
        // hora reports some of its failures by panics.
        catch_unwind(AssertUnwindSafe(|| build(rows)))
            .unwrap_or(Err(BuildError::Panicked))
            .map(|graph| Graph(Arc::new(graph)))
    }
}

fn build(rows: &FlatSegment) -> Result<CodeGraph, BuildError> {
    let refused = |reason: &str| BuildError::Refused(reason.to_owned());
    let nodes = nodes(rows);
    let mut parameters = HNSWParams::<Element>::default()
        .max_item(nodes.len())
        .n_neighbor0(NEIGHBOURS)
        .ef_build(BUILD_WIDTH);
    parameters.max_level = 0;
    let mut index = HNSWIndex::new(Element::count(rows.dim()), &parameters);
    let mean = mean(rows).ok_or_else(|| refused("there are no rows"))?;
    let mut mean_code = Vec::with_capacity(mean.dim());
    let mean_scale = encode(mean.as_slice(), &mut mean_code).inverse_length;
    for (node, slots) in nodes.iter().enumerate() {
        let (code, scale) = match slots.first() {
            None => (mean_code.as_slice(), mean_scale),
            Some(slot) => rows
                .code(*slot)
                .zip(rows.inverse_code_length(*slot))
                .ok_or_else(|| refused("a row is missing"))?,
        };
        let elements = Element::of_code(code, scale);
        index.add(&elements, node).map_err(refused)?;
    }
    index.build(Metric::Euclidean).map_err(refused)?;
    let links = links(index, nodes.len(), NEIGHBOURS).map_err(BuildError::Refused)?;
    CodeGraph::new(rows, &nodes, &links).map_err(refused)
}

/// The slots of the rows that each node stands for: those with the same code. Node 0 is the mean and
/// stands for none.
fn nodes(rows: &FlatSegment) -> Vec<Vec<usize>> {
    let mut by_code: BTreeMap<&[i8], Vec<usize>> = BTreeMap::new();
    for slot in 0..rows.len() {
        by_code
            .entry(rows.code(slot).unwrap_or_default())
            .or_default()
            .push(slot);
    }
    let mut nodes: Vec<Vec<usize>> = by_code.into_values().collect();
    nodes.push(Vec::new());
    // In the order of their first rows.
    nodes.sort_unstable();
    nodes
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

#[cfg(test)]
mod tests;
