//! The seam below group commit: a blocking engine that commits batches atomically and durably.

use std::error::Error;

use bytes::Bytes;
use engram_core::storage::{Keyspace, RangePage, RangeQuery, WriteBatch};
use engram_core::types::Lsn;

/// Keys of [`Keyspace::Meta`] that begin with this byte belong to the storage layer. Appends may
/// not write them.
pub const RESERVED_PREFIX: u8 = 0;

/// Where in [`Keyspace::Meta`] each commit leaves its lsn, as [`encode_lsn`] makes it.
pub const LSN_KEY: &[u8] = b"\0lsn";

/// Why an engine could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The operating system reported an error.
    #[error("the data disk failed")]
    Io(#[from] std::io::Error),
    /// Bytes on disk are not what was written.
    #[error("data on disk is corrupt")]
    Corrupt(#[source] Box<dyn Error + Send + Sync>),
    /// The engine takes no request any more, or none of this kind.
    #[error("the storage engine refused")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// The engine panicked: a defect of it, or bytes on disk that it did not expect.
    #[error("the storage engine panicked: {0}")]
    Panicked(String),
}

impl EngineError {
    /// The error with all its sources, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = self.source();
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(&error.to_string());
            source = error.source();
        }
        text
    }
}

/// A storage engine. Calls block, and may come from several threads at a time; `commit` comes
/// from one thread only.
pub trait Engine: Send + Sync + 'static {
    /// Commits the operations of all batches, in order, together with the lsn, as one: when this
    /// returns they are on disk, and no crash leaves a part of them. Reads see all of them from
    /// then on. There may be no batch at all; keys are not empty and at most
    /// [`STORE_KEY_BYTES_MAX`](engram_core::limits::STORE_KEY_BYTES_MAX) long.
    ///
    /// # Errors
    /// Afterwards it is not known what is on disk. The caller must not commit again.
    fn commit(&self, batches: &[WriteBatch], lsn: Lsn) -> Result<(), EngineError>;

    /// The value of a key, if any. Does not wait for a commit.
    ///
    /// # Errors
    /// If the disk fails, or what it holds is corrupt.
    fn get(&self, keyspace: Keyspace, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// A page of a range, all of it as of one commit. Does not wait for a commit. A range that
    /// ends before it begins is empty.
    ///
    /// # Errors
    /// If the disk fails, or what it holds is corrupt.
    fn range(&self, query: &RangeQuery) -> Result<RangePage, EngineError>;

    /// The lsn of the last commit; 0 before the first one.
    ///
    /// # Errors
    /// If the disk fails, or what it holds is corrupt.
    fn last_lsn(&self) -> Result<Lsn, EngineError> {
        match self.get(Keyspace::Meta, LSN_KEY)? {
            None => Ok(Lsn(0)),
            Some(value) => decode_lsn(&value),
        }
    }

    /// Bytes left on the disk below, if that is known.
    fn free_bytes(&self) -> Option<u64>;
}

/// The value under [`LSN_KEY`]: big-endian.
pub fn encode_lsn(lsn: Lsn) -> [u8; 8] {
    lsn.0.to_be_bytes()
}

/// Reads what [`encode_lsn`] made.
///
/// # Errors
/// [`EngineError::Corrupt`] if the value has another length.
pub fn decode_lsn(value: &[u8]) -> Result<Lsn, EngineError> {
    match <[u8; 8]>::try_from(value) {
        Ok(bytes) => Ok(Lsn(u64::from_be_bytes(bytes))),
        Err(error) => Err(EngineError::Corrupt(Box::new(error))),
    }
}

/// Fills a page from the entries of a range, in order, up to the bounds of the query. `load` is
/// called only for entries that are returned, so that a value beyond the page is never read.
///
/// # Errors
/// The first error of `load`.
pub fn collect_page<T>(
    query: &RangeQuery,
    entries: impl Iterator<Item = T>,
    load: impl Fn(T) -> Result<(Bytes, Bytes), EngineError>,
) -> Result<RangePage, EngineError> {
    let mut page = RangePage::default();
    let mut bytes = 0_usize;
    for entry in entries {
        let over_bytes = bytes >= query.limit_bytes && !page.entries.is_empty();
        if over_bytes || page.entries.len() >= query.limit_entries {
            page.more = true;
            break;
        }
        let (key, value) = load(entry)?;
        bytes = bytes.saturating_add(key.len()).saturating_add(value.len());
        page.entries.push((key, value));
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(limit_entries: usize, limit_bytes: usize) -> RangeQuery {
        RangeQuery {
            keyspace: Keyspace::Records,
            from: Bytes::new(),
            to: Bytes::from_static(b"z"),
            limit_entries,
            limit_bytes,
        }
    }

    #[test]
    fn a_page_ends_at_either_bound_and_says_whether_there_is_more() {
        // (most entries, most bytes, entries there are of 4 bytes each) -> (entries, more)
        let cases = [
            ((10, 100, 3), (3, false)),
            ((2, 100, 3), (2, true)),
            ((3, 100, 3), (3, false)),
            ((10, 5, 3), (2, true)),
            ((10, 8, 3), (2, true)),
            ((10, 9, 3), (3, false)),
            ((10, 0, 3), (1, true)),
            ((0, 100, 1), (0, true)),
            ((0, 100, 0), (0, false)),
        ];
        for ((entries_max, bytes_max, there), (entries, more)) in cases {
            let page = collect_page(&query(entries_max, bytes_max), 0..there, |n: u8| {
                Ok((Bytes::from(vec![n]), Bytes::from_static(b"abc")))
            })
            .expect("nothing fails");
            assert_eq!(
                (page.entries.len(), page.more),
                (entries, more),
                "{there} entries"
            );
        }
    }

    #[test]
    fn an_entry_beyond_the_page_is_not_loaded() {
        let page = collect_page(&query(1, 100), 0..2_u8, |n| {
            assert_eq!(n, 0);
            Ok((Bytes::from(vec![n]), Bytes::new()))
        });
        assert!(page.expect("nothing fails").more);
    }

    #[test]
    fn an_lsn_of_another_length_is_corrupt() {
        assert_eq!(
            decode_lsn(&encode_lsn(Lsn(77))).expect("eight bytes"),
            Lsn(77)
        );
        assert!(matches!(
            decode_lsn(b"1234567"),
            Err(EngineError::Corrupt(_))
        ));
        assert!(matches!(decode_lsn(b""), Err(EngineError::Corrupt(_))));
    }

    #[test]
    fn a_chain_names_every_source() {
        let error = EngineError::Io(std::io::Error::other("no such block"));
        assert_eq!(error.chain(), "the data disk failed: no such block");
    }
}
