//! Vectors on disk.
//!
//! Keyspace `vectors`: shard (2 bytes) | namespace (4 bytes) | key → sealed [`StoredVector`]; all
//! numbers big-endian, so that a shard is one range. The namespace of the cluster's own records
//! has no vectors; in its place, without a key, stands up to where the shard's vectors are
//! complete. It comes first in the range.

use bincode::{Decode, Encode};
use bytes::Bytes;

use super::sealed::{SealError, seal, unseal};
use super::{Embeddings, ModelId};
use crate::types::{Ballot, Key, Lseq, NamespaceId, RecordKey, ShardId};

/// The vectors of one version of an entry.
#[derive(Clone, PartialEq, Debug, Encode, Decode)]
pub struct StoredVector {
    /// The version.
    pub vtag: Ballot,
    /// The model that made the vectors.
    pub model: ModelId,
    /// The tags of that version.
    pub tags: Vec<String>,
    /// The vectors, one a chunk of the text.
    pub vectors: Embeddings,
}

/// What a key of the keyspace names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VectorKey {
    /// The vector of an entry.
    Vector(RecordKey),
    /// Up to where the shard's vectors are complete.
    Mark,
}

/// The key of an entry's vector.
pub fn vector_key(shard: ShardId, key: &RecordKey) -> Bytes {
    place(shard, key.namespace, key.key.as_bytes())
}

/// The key of a shard's watermark.
pub fn vector_mark_key(shard: ShardId) -> Bytes {
    place(shard, NamespaceId::SYSTEM, &[])
}

/// First key and end of all that is stored of a shard.
pub fn vector_range(shard: ShardId) -> (Bytes, Bytes) {
    let from = Bytes::copy_from_slice(&shard.0.to_be_bytes());
    let to = match shard.0.checked_add(1) {
        Some(next) => Bytes::copy_from_slice(&next.to_be_bytes()),
        // After every key of the last shard, whatever its namespace.
        None => Bytes::from_static(&[0xff; 7]),
    };
    (from, to)
}

/// Reads a key back. `None`: it is not a key of this shard's part of the keyspace.
pub fn parse_vector_key(shard: ShardId, stored: &[u8]) -> Option<VectorKey> {
    let rest = stored.strip_prefix(&shard.0.to_be_bytes())?;
    let (namespace, key) = rest.split_first_chunk::<4>()?;
    let namespace = NamespaceId(u32::from_be_bytes(*namespace));
    if key.is_empty() {
        return (namespace == NamespaceId::SYSTEM).then_some(VectorKey::Mark);
    }
    Some(VectorKey::Vector(RecordKey {
        namespace,
        key: Key::new(key).ok()?,
    }))
}

fn place(shard: ShardId, namespace: NamespaceId, key: &[u8]) -> Bytes {
    let mut place = Vec::with_capacity(6 + key.len());
    place.extend_from_slice(&shard.0.to_be_bytes());
    place.extend_from_slice(&namespace.0.to_be_bytes());
    place.extend_from_slice(key);
    place.into()
}

impl StoredVector {
    /// The bytes to store under `key`.
    pub fn seal(&self, key: &[u8]) -> Bytes {
        seal(key, self).into()
    }

    /// Reads what was stored under `key`.
    ///
    /// # Errors
    /// [`SealError`] if it is damaged or of a newer format.
    pub fn unseal(key: &[u8], stored: &[u8]) -> Result<StoredVector, SealError> {
        unseal(key, stored)
    }
}

/// The bytes of a shard's watermark.
pub fn seal_vector_mark(shard: ShardId, mark: Lseq) -> Bytes {
    seal(&vector_mark_key(shard), &mark).into()
}

/// Reads a shard's watermark.
///
/// # Errors
/// [`SealError`] if it is damaged or of a newer format.
pub fn unseal_vector_mark(shard: ShardId, stored: &[u8]) -> Result<Lseq, SealError> {
    unseal(&vector_mark_key(shard), stored)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Embedding;
    use crate::types::{Incarnation, MemberId};

    fn key() -> RecordKey {
        RecordKey {
            namespace: NamespaceId(258),
            key: Key::new("user:1").expect("not empty"),
        }
    }

    fn stored() -> StoredVector {
        StoredVector {
            vtag: Ballot {
                n: 300,
                member: MemberId(1 << 40),
                incarnation: Incarnation {
                    boot: 2,
                    respawn: 1,
                },
            },
            model: ModelId::new("m-1").expect("short"),
            tags: vec!["eu".to_owned()],
            vectors: Embeddings::new(vec![
                Embedding::from_unit(vec![0.0, -1.0]).expect("a unit vector"),
                Embedding::from_unit(vec![1.0, 0.0]).expect("a unit vector"),
            ])
            .expect("alike"),
        }
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn the_format_on_disk_never_changes_unnoticed() {
        let key = vector_key(ShardId(7), &key());
        assert_eq!(hex(&key), "000700000102757365723a31");
        assert_eq!(
            hex(&stored().seal(&key)),
            "0134090f6ba9f6e712fb2c01fd00000000000100000201036d2d3101026575020200000000000080bf020000803f00000000"
        );
        assert_eq!(hex(&vector_mark_key(ShardId(7))), "000700000000");
        assert_eq!(
            hex(&seal_vector_mark(ShardId(7), Lseq(70_000))),
            "013681b7dd7fa9e699fc70110100"
        );
    }

    #[test]
    fn what_was_stored_is_read_back_from_its_place_only() {
        let shard = ShardId(7);
        let place = vector_key(shard, &key());
        let sealed = stored().seal(&place);
        assert_eq!(StoredVector::unseal(&place, &sealed), Ok(stored()));
        let elsewhere = vector_key(ShardId(8), &key());
        assert_eq!(
            StoredVector::unseal(&elsewhere, &sealed),
            Err(SealError::Damaged)
        );
        assert_eq!(
            parse_vector_key(shard, &place),
            Some(VectorKey::Vector(key()))
        );
        assert_eq!(parse_vector_key(shard, &elsewhere), None);
        let mark = seal_vector_mark(shard, Lseq(9));
        assert_eq!(unseal_vector_mark(shard, &mark), Ok(Lseq(9)));
        assert_eq!(
            parse_vector_key(shard, &vector_mark_key(shard)),
            Some(VectorKey::Mark)
        );
        assert_eq!(parse_vector_key(shard, b"\0\x07\0\0\0\x01"), None);
    }

    #[test]
    fn a_shard_is_one_range_that_begins_with_its_mark() {
        for shard in [ShardId(0), ShardId(255), ShardId(u16::MAX)] {
            let (from, to) = vector_range(shard);
            let last = RecordKey {
                namespace: NamespaceId(u32::MAX),
                key: Key::new(vec![0xff; 9]).expect("not empty"),
            };
            let keys = [vector_mark_key(shard), vector_key(shard, &key())];
            assert!(from <= keys[0] && keys[0] < keys[1] && keys[1] < to);
            // The very last namespace is never given out.
            let inside = shard.0 == u16::MAX || vector_key(shard, &last) < to;
            assert!(inside);
        }
    }
}
