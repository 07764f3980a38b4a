//! Who is near whom in a graph that hora built.

use bincode::Decode;
use bincode::config::legacy;
use hora::core::ann_index::SerializableIndex;
use hora::index::hnsw_idx::HNSWIndex;

use crate::element::Element;

/// Where hora writes what it is asked to dump.
const NOWHERE: &str = "/dev/null";

/// The neighbours of every node of a graph with one layer; nodes are numbered as they were added.
/// hora shows them to nobody; but a dump, wherever it goes, leaves a copy in fields that are
/// serialised.
///
/// # Errors
/// Why they cannot be read. Then hora is not the version that this was made for.
pub(crate) fn links(mut index: HNSWIndex<Element, usize>) -> Result<Vec<Vec<usize>>, String> {
    index.dump(NOWHERE)?;
    let encoded = bincode::serde::encode_to_vec(&index, legacy());
    drop(index);
    let encoded = encoded.map_err(|error| error.to_string())?;
    let decoded = bincode::decode_from_slice::<Dump, _>(&encoded, legacy());
    let (dump, _) = decoded.map_err(|error| error.to_string())?;
    Ok(dump.links)
}

/// The fields of hora's graph in the order in which they are serialised, up to the links.
#[derive(Decode)]
struct Dump {
    /// Dimensions, nodes added, nodes built, most nodes, most neighbours above and in the lowest
    /// layer, layers, the highest layer, the first node.
    _numbers: [usize; 9],
    _levels: Vec<usize>,
    _has_removed: bool,
    _widths: [usize; 2],
    _metric: u32,
    /// Of the layers above the lowest, for each node: none.
    _upper_links: Vec<Vec<Vec<usize>>>,
    links: Vec<Vec<usize>>,
}
