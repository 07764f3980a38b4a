//! Who is near whom in a graph that hora built.

use bincode::Decode;
use bincode::config::legacy;
use bincode::enc::write::Writer;
use bincode::error::EncodeError;
use hora::core::ann_index::SerializableIndex;
use hora::index::hnsw_idx::HNSWIndex;

use crate::element::Element;

/// More than the fields of one number take, and the lengths of the lists.
const HEAD_BYTES: usize = 256;
/// Where hora writes what it is asked to dump.
const NOWHERE: &str = "/dev/null";

/// The neighbours, up to so many, of every node of a graph with one layer and so many nodes, which
/// are numbered as they were added.
/// hora shows them to nobody; but a dump, wherever it goes, leaves a copy in fields that are
/// serialised.
///
/// # Errors
/// Why they cannot be read. Then hora is not the version that this was made for.
pub(crate) fn links(
    mut index: HNSWIndex<Element, usize>,
    nodes: usize,
    neighbours: usize,
) -> Result<Vec<Vec<usize>>, String> {
    index.dump(NOWHERE)?;
    // A level, a list of upper layers, and a list of links for each node.
    let of_node = (1 + 1 + 1 + neighbours) * size_of::<u64>();
    let mut start = Start {
        bytes: Vec::new(),
        most: HEAD_BYTES + nodes * of_node,
    };
    let encoded = bincode::serde::encode_into_writer(&index, &mut start, legacy());
    drop(index);
    encoded.map_err(|error| error.to_string())?;
    let decoded = bincode::decode_from_slice::<Dump, _>(&start.bytes, legacy());
    let (dump, _) = decoded.map_err(|error| error.to_string())?;
    Ok(dump.links)
}

/// Keeps the first bytes of what is written: copies of all vectors follow.
struct Start {
    bytes: Vec<u8>,
    most: usize,
}

impl Writer for &mut Start {
    fn write(&mut self, bytes: &[u8]) -> Result<(), EncodeError> {
        let room = self.most.saturating_sub(self.bytes.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.bytes.extend_from_slice(kept);
        Ok(())
    }
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
