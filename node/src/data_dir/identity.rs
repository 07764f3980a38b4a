//! The file that says whose data a directory holds, and its format.
//!
//! The frame is the same in every version: magic (8 bytes), version (2), length of the body (2),
//! the body, and the xxh3 hash of everything before (8). All numbers are little-endian.
//!
//! Body of version 1: member (8), boot count (4), shards (2), stage (1: 0 being made, 1 ready),
//! length of the cluster's name (1), the name, length of the node's name (1), the name. Names are
//! UTF-8.
//!
//! A reader takes its own version and the one before. It refuses a newer one, since it would not
//! know what to keep.

use std::path::Path;

use engram_core::limits::{NAME_BYTES_MAX, SHARDS_MAX, SHARDS_MIN};
use engram_core::types::MemberId;
use xxhash_rust::xxh3::xxh3_64;

use super::{DataDirError, Expected};

const MAGIC: &[u8; 8] = b"ENGRAMID";

/// The version of the data directory's format that this program writes.
pub const FORMAT_VERSION: u16 = 1;

/// Why bytes are not an identity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is no identity at all.
    #[error("it is not an identity of a data directory")]
    NotAnIdentity,
    /// It was one, and is damaged.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// A newer version of this program wrote it.
    #[error("it has format version {found}, and this program knows {FORMAT_VERSION} at most")]
    NewerVersion {
        /// The version it has.
        found: u16,
    },
}

/// Whose data a directory holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Name of the cluster, 1 to [`NAME_BYTES_MAX`] bytes.
    pub cluster: String,
    /// Name of the node, 1 to [`NAME_BYTES_MAX`] bytes.
    pub node: String,
    /// Drawn when the directory was made; never 0.
    pub member: MemberId,
    /// Shards of the cluster.
    pub shards: u16,
}

impl Identity {
    pub(super) fn check_expected(
        &self,
        path: &Path,
        expected: &Expected,
    ) -> Result<(), DataDirError> {
        let path = path.to_owned();
        if self.cluster != expected.cluster {
            let (expected, found) = (expected.cluster.clone(), self.cluster.clone());
            return Err(DataDirError::OtherCluster {
                path,
                expected,
                found,
            });
        }
        if self.node != expected.node {
            let (expected, found) = (expected.node.clone(), self.node.clone());
            return Err(DataDirError::OtherNode {
                path,
                expected,
                found,
            });
        }
        if self.shards != expected.shards {
            let (expected, found) = (expected.shards, self.shards);
            return Err(DataDirError::OtherShards {
                path,
                expected,
                found,
            });
        }
        Ok(())
    }
}

/// Whether the database of a directory was there once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// The first boot was not finished.
    Making,
    /// It was.
    Ready,
}

/// All that the file holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct IdentityFile {
    pub(super) identity: Identity,
    pub(super) stage: Stage,
    pub(super) boot: u32,
}

impl IdentityFile {
    /// The bytes of the file, in the current version. Names are within their bounds.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(self.identity.member.0.to_le_bytes());
        body.extend(self.boot.to_le_bytes());
        body.extend(self.identity.shards.to_le_bytes());
        body.push(match self.stage {
            Stage::Making => 0,
            Stage::Ready => 1,
        });
        for name in [&self.identity.cluster, &self.identity.node] {
            body.push(u8::try_from(name.len()).expect("a name has at most NAME_BYTES_MAX bytes"));
            body.extend(name.as_bytes());
        }
        let length = u16::try_from(body.len()).expect("two names and some numbers are short");
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT_VERSION.to_le_bytes());
        bytes.extend(length.to_le_bytes());
        bytes.extend(body);
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    /// Reads the file.
    pub(super) fn decode(bytes: &[u8]) -> Result<IdentityFile, IdentityError> {
        let mut reader = Reader(bytes);
        if reader.take::<8>() != Ok(*MAGIC) {
            return Err(IdentityError::NotAnIdentity);
        }
        let version = u16::from_le_bytes(reader.take()?);
        let length = u16::from_le_bytes(reader.take()?);
        let body = reader.take_slice(usize::from(length))?;
        let framed = bytes.len() - reader.0.len();
        let checksum = u64::from_le_bytes(reader.take()?);
        if !reader.0.is_empty() {
            return Err(IdentityError::Damaged("it is too long"));
        }
        if bytes.get(..framed).map(xxh3_64) != Some(checksum) {
            return Err(IdentityError::Damaged("its checksum is wrong"));
        }
        match version {
            FORMAT_VERSION => decode_v1(body),
            0 => Err(IdentityError::Damaged("it has version 0")),
            found => Err(IdentityError::NewerVersion { found }),
        }
    }
}

fn decode_v1(body: &[u8]) -> Result<IdentityFile, IdentityError> {
    let mut reader = Reader(body);
    let member = MemberId(u64::from_le_bytes(reader.take()?));
    let boot = u32::from_le_bytes(reader.take()?);
    let shards = u16::from_le_bytes(reader.take()?);
    let stage = match reader.take()? {
        [0] => Stage::Making,
        [1] => Stage::Ready,
        _ => return Err(IdentityError::Damaged("its stage is unknown")),
    };
    let cluster = reader.take_name()?;
    let node = reader.take_name()?;
    if !reader.0.is_empty() {
        return Err(IdentityError::Damaged("its body is too long"));
    }
    if member.0 == 0 || !(SHARDS_MIN..=SHARDS_MAX).contains(&shards) {
        return Err(IdentityError::Damaged("its member or its shards cannot be"));
    }
    Ok(IdentityFile {
        identity: Identity {
            cluster,
            node,
            member,
            shards,
        },
        stage,
        boot,
    })
}

/// Takes bytes from the front of what is left.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], IdentityError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn take_slice(&mut self, length: usize) -> Result<&'a [u8], IdentityError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(TOO_SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    fn take_name(&mut self) -> Result<String, IdentityError> {
        let [length] = self.take()?;
        if !(1..=NAME_BYTES_MAX).contains(&usize::from(length)) {
            return Err(IdentityError::Damaged("a name is empty or too long"));
        }
        String::from_utf8(self.take_slice(usize::from(length))?.to_vec())
            .map_err(|_| IdentityError::Damaged("a name is not UTF-8"))
    }
}

const TOO_SHORT: IdentityError = IdentityError::Damaged("it is too short");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> IdentityFile {
        IdentityFile {
            identity: Identity {
                cluster: "demo".to_owned(),
                node: "a".to_owned(),
                member: MemberId(0x0123_4567_89ab_cdef),
                shards: 64,
            },
            stage: Stage::Ready,
            boot: 3,
        }
    }

    /// With a right checksum.
    fn framed(version: u16, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).expect("short");
        let mut bytes = [
            MAGIC.as_slice(),
            &version.to_le_bytes(),
            &length.to_le_bytes(),
            body,
        ]
        .concat();
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    #[test]
    fn version_1_is_these_bytes_for_ever() {
        let golden = [
            b"ENGRAMID".as_slice(),
            &[1, 0],
            &[22, 0],
            &[0xef, 0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01],
            &[3, 0, 0, 0],
            &[64, 0],
            &[1],
            b"\x04demo",
            b"\x01a",
            &[0x35, 0x4e, 0xbe, 0x0c, 0x56, 0x58, 0x92, 0x9d],
        ]
        .concat();
        assert_eq!(sample().encode(), golden);
        assert_eq!(IdentityFile::decode(&golden), Ok(sample()));
    }

    #[test]
    fn a_newer_version_is_told_from_damage() {
        let newer = framed(FORMAT_VERSION + 1, b"whatever that will be");
        assert_eq!(
            IdentityFile::decode(&newer),
            Err(IdentityError::NewerVersion {
                found: FORMAT_VERSION + 1
            })
        );
        let mut damaged = newer;
        damaged[12] ^= 1;
        assert!(matches!(
            IdentityFile::decode(&damaged),
            Err(IdentityError::Damaged(_))
        ));
        assert_eq!(
            IdentityFile::decode(b"some text"),
            Err(IdentityError::NotAnIdentity)
        );
        assert_eq!(IdentityFile::decode(b""), Err(IdentityError::NotAnIdentity));
    }

    #[test]
    fn every_single_flipped_or_missing_byte_is_noticed() {
        let bytes = sample().encode();
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 0x40;
            assert!(IdentityFile::decode(&flipped).is_err(), "byte {index}");
            assert!(
                IdentityFile::decode(&bytes[..index]).is_err(),
                "cut at {index}"
            );
        }
        assert!(IdentityFile::decode(&[&bytes[..], &[0]].concat()).is_err());
    }

    #[test]
    fn a_body_that_cannot_be_is_damaged_whatever_its_checksum_says() {
        let good = sample().encode();
        let body = &good[12..good.len() - 8];
        assert!(IdentityFile::decode(&framed(1, body)).is_ok());
        // (offset, bytes that cannot be there)
        let cases: [(usize, &[u8]); 6] = [
            (0, &[0; 8]),
            (12, &[0, 0]),
            (12, &[255, 255]),
            (14, &[2]),
            (15, &[0]),
            (16, &[255]),
        ];
        for (offset, wrong) in cases {
            let mut body = body.to_vec();
            body[offset..offset + wrong.len()].copy_from_slice(wrong);
            let decoded = IdentityFile::decode(&framed(1, &body));
            assert!(
                matches!(decoded, Err(IdentityError::Damaged(_))),
                "{offset}: {decoded:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            cluster in "\\PC{1,16}",
            node in "[a-z0-9-]{1,64}",
            member in 1..u64::MAX,
            shards in SHARDS_MIN..=SHARDS_MAX,
            boot in any::<u32>(),
            is_ready in any::<bool>(),
        ) {
            let stage = if is_ready { Stage::Ready } else { Stage::Making };
            let identity = Identity { cluster, node, member: MemberId(member), shards };
            let file = IdentityFile { identity, stage, boot };
            prop_assert_eq!(IdentityFile::decode(&file.encode()), Ok(file));
        }

        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = IdentityFile::decode(&body);
            let _ = IdentityFile::decode(&framed(1, &body));
        }
    }
}
