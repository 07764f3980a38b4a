//! Sealed values on disk: kind, version, checksum, body.
//!
//! Layout: `kind: u8 | version: u8 | xxh3-64 of kind, version and body: u64 LE | body (bincode)`.
//! A reader accepts the current version and the one before; a newer one is refused by name.

use bincode::config::{Configuration, LittleEndian, Varint};
use bincode::{Decode, Encode};
use bytes::Bytes;
use xxhash_rust::xxh3::Xxh3;

use crate::limits::PACKET_BYTES_MAX;
use crate::types::{
    Ballot, ClusterConfig, Epoch, LogicalTime, Lseq, MemberId, RecordKey, Register,
};

/// Bincode as used everywhere, on disk and on the wire: little endian, variable-length integers.
pub const CODEC: Configuration<LittleEndian, Varint, bincode::config::Limit<PACKET_BYTES_MAX>> =
    bincode::config::standard().with_limit::<PACKET_BYTES_MAX>();

const HEADER_BYTES: usize = 10;

/// A value that is stored sealed.
pub trait Sealed: Encode + Decode<()> {
    /// Distinguishes kinds, so that one is never read as another.
    const KIND: u8;
    /// Raised whenever the body changes.
    const VERSION: u8;
    /// What it is called in errors.
    const NAME: &'static str;
}

/// Bytes on disk that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FormatError {
    /// Shorter than a header, of another kind, or its checksum does not match.
    #[error("{0} is corrupt")]
    Corrupt(&'static str),
    /// Written by a later release.
    #[error("{what} has format version {found}, this release reads up to {supported}")]
    Newer {
        /// What it is.
        what: &'static str,
        /// Its version.
        found: u8,
        /// The newest that is known here.
        supported: u8,
    },
}

/// Encodes and seals a value.
pub fn seal<T: Sealed>(value: &T) -> Bytes {
    let mut bytes = vec![0_u8; HEADER_BYTES];
    bincode::encode_into_std_write(value, &mut bytes, CODEC)
        .expect("writing to memory succeeds, and no stored type refuses to be encoded");
    bytes[0] = T::KIND;
    bytes[1] = T::VERSION;
    let checksum = checksum(T::KIND, T::VERSION, &bytes[HEADER_BYTES..]);
    bytes[2..HEADER_BYTES].copy_from_slice(&checksum.to_le_bytes());
    bytes.into()
}

/// Checks and decodes a sealed value.
///
/// # Errors
/// [`FormatError`] if the bytes are damaged or newer than this release.
pub fn open<T: Sealed>(bytes: &[u8]) -> Result<T, FormatError> {
    let corrupt = FormatError::Corrupt(T::NAME);
    let (header, body) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or(corrupt.clone())?;
    let (kind, version) = (header[0], header[1]);
    let stored: [u8; 8] = header[2..].try_into().map_err(|_| corrupt.clone())?;
    if kind != T::KIND || u64::from_le_bytes(stored) != checksum(kind, version, body) {
        return Err(corrupt);
    }
    if version > T::VERSION {
        return Err(FormatError::Newer {
            what: T::NAME,
            found: version,
            supported: T::VERSION,
        });
    }
    match bincode::decode_from_slice(body, CODEC) {
        Ok((value, read)) if read == body.len() => Ok(value),
        _ => Err(corrupt),
    }
}

fn checksum(kind: u8, version: u8, body: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&[kind, version]);
    hash.update(body);
    hash.digest()
}

/// What one replica stores of one key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct Record {
    /// No ballot below this one is accepted any more.
    pub promise: Ballot,
    /// The ballot at which `register` was accepted; zero if none was.
    pub accepted: Ballot,
    /// The register as of `accepted`.
    pub register: std::sync::Arc<Register>,
    /// Where this record stands in the replica's change log.
    pub lseq: Lseq,
}

/// An entry of a replica's change log.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct ChangeEntry {
    /// Which record changed.
    pub key: RecordKey,
    /// What it had accepted then.
    pub accepted: Ballot,
}

/// What one replica stores of its shard as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct ShardMeta {
    /// The membership this replica has adopted.
    pub epoch: Epoch,
    /// The highest ballot ever purged: absent registers refuse everything up to it.
    pub floor: Ballot,
    /// The highest time that any purged register held.
    pub floor_time: LogicalTime,
    /// Positions of the change log below this one may have been taken; a new life begins here.
    pub next_lseq: Lseq,
    /// All changes below this position are known to be chosen.
    pub learned_below: Lseq,
    /// How far this replica has followed each peer's change log.
    pub seen: Vec<(MemberId, Lseq)>,
    /// Every ballot that this replica promised or accepted for any key has a lower number.
    pub promised_below: u64,
}

/// A configuration as adopted by a node.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct StoredConfig {
    /// The configuration.
    pub config: ClusterConfig,
    /// Whether the whole ensemble is known to hold it, or a later one.
    pub formed: bool,
}

/// Stands on a disk that lost what it had reported durable: its member must never vote again.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Condemned {
    /// Who saw what, and what is to be done.
    pub reason: String,
}

impl Condemned {
    /// Why a disk is condemned, from what stands under [`keys::condemned`](super::keys::condemned);
    /// none if nothing does. What cannot be read condemns as well.
    pub fn found(bytes: Option<&[u8]>) -> Option<String> {
        Some(match open::<Condemned>(bytes?) {
            Ok(condemned) => condemned.reason,
            Err(error) => {
                format!("this disk is marked as one that must not vote again ({error})")
            }
        })
    }
}

impl Sealed for Record {
    const KIND: u8 = b'R';
    const VERSION: u8 = 1;
    const NAME: &'static str = "a record";
}

impl Sealed for ChangeEntry {
    const KIND: u8 = b'C';
    const VERSION: u8 = 1;
    const NAME: &'static str = "a change log entry";
}

impl Sealed for ShardMeta {
    const KIND: u8 = b'S';
    const VERSION: u8 = 1;
    const NAME: &'static str = "shard metadata";
}

impl Sealed for StoredConfig {
    const KIND: u8 = b'G';
    const VERSION: u8 = 1;
    const NAME: &'static str = "the cluster configuration";
}

impl Sealed for Condemned {
    const KIND: u8 = b'X';
    const VERSION: u8 = 1;
    const NAME: &'static str = "the reason why";
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::{Blob, Incarnation, Key, Millis, NamespaceId, RecentWrite, WriteId};

    fn ballot(n: u64) -> Ballot {
        Ballot {
            n,
            member: MemberId(0x0102),
            incarnation: Incarnation {
                boot: 3,
                respawn: 4,
            },
        }
    }

    fn record() -> Record {
        Record {
            promise: ballot(9),
            accepted: ballot(8),
            register: std::sync::Arc::new(Register {
                vtag: ballot(7),
                value: Some(Blob::from("value")),
                tags: vec!["eu".into()],
                expires_at: Some(Millis(123_456)),
                low_time: LogicalTime(5),
                recent: vec![RecentWrite {
                    ballot: ballot(7),
                    write: WriteId {
                        client: 11,
                        sequence: 12,
                    },
                    time: LogicalTime(13),
                    found: true,
                }],
            }),
            lseq: Lseq(77),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_bytes_on_disk_are_these() {
        let change = ChangeEntry {
            key: RecordKey {
                namespace: NamespaceId(2),
                key: Key::new("k").expect("short"),
            },
            accepted: ballot(8),
        };
        let meta = ShardMeta {
            epoch: Epoch(1),
            floor: ballot(2),
            floor_time: LogicalTime(3),
            next_lseq: Lseq(4),
            learned_below: Lseq(3),
            seen: vec![(MemberId(6), Lseq(5))],
            promised_below: 9,
        };
        let bytes = [
            hex(&seal(&record())),
            hex(&seal(&change)),
            hex(&seal(&meta)),
        ];
        assert_eq!(bytes, [GOLDEN_RECORD, GOLDEN_CHANGE, GOLDEN_META]);
        assert_eq!(open::<Record>(&seal(&record())), Ok(record()));
        assert_eq!(open::<ChangeEntry>(&seal(&change)), Ok(change));
        assert_eq!(open::<ShardMeta>(&seal(&meta)), Ok(meta));
    }

    const GOLDEN_RECORD: &str = concat!(
        "520155a7e8ec0db7f4ab09fb0201030408fb0201030407fb0201030401",
        "0576616c75650102657501fc40e20100050107fb020103040b0c0d014d"
    );
    const GOLDEN_CHANGE: &str = "4301ba420576c7055ce402016b08fb02010304";
    const GOLDEN_META: &str = "5301f4159e53cf27a8820102fb0201030403040301060509";

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = seal(&record());
        for at in 0..good.len() * 8 {
            let mut bad = good.to_vec();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(open::<Record>(&bad).is_err(), "bit {at}");
        }
    }

    #[test]
    fn a_newer_version_is_named() {
        let mut bytes = seal(&record()).to_vec();
        bytes[1] = 2;
        let sum = checksum(b'R', 2, &bytes[HEADER_BYTES..]);
        bytes[2..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
        let newer = FormatError::Newer {
            what: "a record",
            found: 2,
            supported: 1,
        };
        assert_eq!(open::<Record>(&bytes), Err(newer));
    }

    proptest! {
        #[test]
        fn garbage_is_refused_without_panic(bytes: Vec<u8>) {
            prop_assert!(open::<Record>(&bytes).is_err());
            prop_assert!(open::<ShardMeta>(&bytes).is_err());
        }
    }

    #[test]
    fn a_disk_is_condemned_by_a_mark_that_can_be_read_and_by_one_that_cannot() {
        let mark = seal(&Condemned {
            reason: "it lost writes".into(),
        });
        assert_eq!(Condemned::found(None), None);
        assert_eq!(
            Condemned::found(Some(&mark)).as_deref(),
            Some("it lost writes")
        );
        let reason = Condemned::found(Some(&mark[1..])).expect("a mark is a mark");
        assert!(reason.contains("corrupt"), "{reason}");
    }
}
