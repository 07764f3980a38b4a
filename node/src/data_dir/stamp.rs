//! The record by which a database says whose it is and how often it was booted.
//!
//! Version 1: version (1 byte), member (8 bytes, big-endian), boot (4 bytes, big-endian). The
//! database keeps checksums.

use std::path::Path;

use engram_actors::storage::{Engine, EngineError};
use engram_core::storage::{Keyspace, WriteBatch};
use engram_core::types::MemberId;

use super::{DataDirError, STORE_NAME};

/// Where in [`Keyspace::Meta`] the stamp is. The prefix keeps appends from writing it.
pub(super) const STAMP_KEY: &[u8] = b"\0stamp";

const VERSION: u8 = 1;

/// The stamp's bytes are not a stamp.
#[derive(Debug, thiserror::Error)]
#[error("its stamp is damaged or of a newer version: {}", .0.escape_ascii())]
struct StampError(Vec<u8>);

/// Who uses a database, for the how-manieth time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    pub(super) member: MemberId,
    pub(super) boot: u32,
}

impl Stamp {
    /// The stamp of a database, if it has one.
    pub(super) fn read(path: &Path, engine: &impl Engine) -> Result<Option<Stamp>, DataDirError> {
        let stamp = engine.get(Keyspace::Meta, STAMP_KEY).and_then(|value| {
            let Some(value) = value else { return Ok(None) };
            match Stamp::decode(&value) {
                Some(stamp) => Ok(Some(stamp)),
                None => Err(EngineError::Corrupt(Box::new(StampError(value.to_vec())))),
            }
        });
        stamp.map_err(|source| DataDirError::Store {
            path: path.join(STORE_NAME),
            source,
        })
    }

    /// The commit that writes it.
    pub(super) fn to_batch(self) -> WriteBatch {
        let mut batch = WriteBatch::default();
        batch.put(Keyspace::Meta, STAMP_KEY, self.encode());
        batch
    }

    fn encode(self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend(self.member.0.to_be_bytes());
        bytes.extend(self.boot.to_be_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Stamp> {
        let (version, rest) = bytes.split_first()?;
        let (member, rest) = rest.split_first_chunk()?;
        let (boot, rest) = rest.split_first_chunk()?;
        (*version == VERSION && rest.is_empty()).then_some(Stamp {
            member: MemberId(u64::from_be_bytes(*member)),
            boot: u32::from_be_bytes(*boot),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_bytes_are_these() {
        let stamp = Stamp {
            member: MemberId(0x0102_0304_0506_0708),
            boot: 9,
        };
        let bytes = [1, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 9];
        assert_eq!(stamp.encode(), bytes);
        assert_eq!(Stamp::decode(&bytes), Some(stamp));
        for length in 0..bytes.len() {
            assert_eq!(Stamp::decode(&bytes[..length]), None);
        }
        assert_eq!(Stamp::decode(&[&bytes[..], &[0]].concat()), None);
        assert_eq!(Stamp::decode(&[&[2], &bytes[1..]].concat()), None);
    }
}
