//! Keys on disk: big-endian numbers first, so that ranges are contiguous and ordered.

use bytes::Bytes;

use crate::types::{Key, Lseq, Millis, NamespaceId, RecordKey, ShardId};

/// Key of a record: shard, namespace, user key.
pub fn record(shard: ShardId, key: &RecordKey) -> Bytes {
    let mut bytes = Vec::with_capacity(6 + key.key.as_bytes().len());
    bytes.extend_from_slice(&shard.0.to_be_bytes());
    bytes.extend_from_slice(&key.namespace.0.to_be_bytes());
    bytes.extend_from_slice(key.key.as_bytes());
    bytes.into()
}

/// Reads the record key back out of [`record`]'s bytes; none if they are not such a key.
pub fn parse_record(bytes: &[u8]) -> Option<(ShardId, RecordKey)> {
    let (shard, rest) = bytes.split_first_chunk::<2>()?;
    let (namespace, key) = rest.split_first_chunk::<4>()?;
    let namespace = NamespaceId(u32::from_be_bytes(*namespace));
    Some((
        ShardId(u16::from_be_bytes(*shard)),
        RecordKey {
            namespace,
            key: Key::new(key).ok()?,
        },
    ))
}

/// The range of record keys of one shard and namespace that start with `prefix` and come after
/// `after`, if given: from (inclusive), to (exclusive).
pub fn record_range(
    shard: ShardId,
    namespace: NamespaceId,
    prefix: &[u8],
    after: Option<&Key>,
) -> (Bytes, Bytes) {
    let mut from = Vec::with_capacity(8 + prefix.len());
    from.extend_from_slice(&shard.0.to_be_bytes());
    from.extend_from_slice(&namespace.0.to_be_bytes());
    let base = from.len();
    from.extend_from_slice(prefix);
    let to = successor(&from);
    if let Some(after) = after
        && after.as_bytes() >= prefix
    {
        from.truncate(base);
        from.extend_from_slice(after.as_bytes());
        from.push(0);
    }
    (from.into(), to)
}

/// The range of all record keys of one shard: from (inclusive), to (exclusive).
pub fn shard_records(shard: ShardId) -> (Bytes, Bytes) {
    let from = shard.0.to_be_bytes();
    (Bytes::copy_from_slice(&from), successor(&from))
}

/// The first key after this one.
pub fn after(key: &[u8]) -> Bytes {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next.into()
}

/// Key of a change log entry: shard, position. Also of an entry of `Empties`.
pub fn change(shard: ShardId, lseq: Lseq) -> Bytes {
    let mut bytes = Vec::with_capacity(10);
    bytes.extend_from_slice(&shard.0.to_be_bytes());
    bytes.extend_from_slice(&lseq.0.to_be_bytes());
    bytes.into()
}

/// Reads the position back out of [`change`]'s bytes; none if they are not such a key.
pub fn parse_change(bytes: &[u8]) -> Option<(ShardId, Lseq)> {
    let (shard, rest) = bytes.split_first_chunk::<2>()?;
    let lseq: [u8; 8] = rest.try_into().ok()?;
    Some((
        ShardId(u16::from_be_bytes(*shard)),
        Lseq(u64::from_be_bytes(lseq)),
    ))
}

/// Key of an expiry: shard, time, namespace, user key.
pub fn expiry(shard: ShardId, at: Millis, key: &RecordKey) -> Bytes {
    let mut bytes = Vec::with_capacity(14 + key.key.as_bytes().len());
    bytes.extend_from_slice(&shard.0.to_be_bytes());
    bytes.extend_from_slice(&at.0.to_be_bytes());
    bytes.extend_from_slice(&key.namespace.0.to_be_bytes());
    bytes.extend_from_slice(key.key.as_bytes());
    bytes.into()
}

/// Reads an expiry key back; none if the bytes are not one.
pub fn parse_expiry(bytes: &[u8]) -> Option<(ShardId, Millis, RecordKey)> {
    let (shard, rest) = bytes.split_first_chunk::<2>()?;
    let (at, rest) = rest.split_first_chunk::<8>()?;
    let (namespace, key) = rest.split_first_chunk::<4>()?;
    let namespace = NamespaceId(u32::from_be_bytes(*namespace));
    Some((
        ShardId(u16::from_be_bytes(*shard)),
        Millis(u64::from_be_bytes(*at)),
        RecordKey {
            namespace,
            key: Key::new(key).ok()?,
        },
    ))
}

/// Key of a shard's metadata in `Meta`.
pub fn shard_meta(shard: ShardId) -> Bytes {
    let mut bytes = b"shard/".to_vec();
    bytes.extend_from_slice(&shard.0.to_be_bytes());
    bytes.into()
}

/// Key of the adopted cluster configuration in `Meta`.
pub fn config() -> Bytes {
    Bytes::from_static(b"config")
}

/// Key in `Meta` of why this disk's member must never vote again.
pub fn condemned() -> Bytes {
    Bytes::from_static(b"condemned")
}

/// The first key after all that start with `prefix`.
pub fn successor(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.last_mut() {
        if *last < u8::MAX {
            *last += 1;
            return end.into();
        }
        end.pop();
    }
    // Nothing sorts after a prefix of 0xff bytes; no shard number makes such a prefix.
    vec![u8::MAX; prefix.len() + 1].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> RecordKey {
        RecordKey {
            namespace: NamespaceId(3),
            key: Key::new(text).expect("short"),
        }
    }

    #[test]
    fn keys_survive_the_round_trip_and_garbage_does_not_parse() {
        let shard = ShardId(0xfffe);
        assert_eq!(
            parse_record(&record(shard, &key("a"))),
            Some((shard, key("a")))
        );
        assert_eq!(
            parse_change(&change(shard, Lseq(9))),
            Some((shard, Lseq(9)))
        );
        let at = Millis(77);
        assert_eq!(
            parse_expiry(&expiry(shard, at, &key("b"))),
            Some((shard, at, key("b")))
        );
        for length in 0..6 {
            let bytes = vec![0_u8; length];
            assert_eq!(parse_record(&bytes), None);
            assert_eq!(parse_change(&bytes), None);
            assert_eq!(parse_expiry(&bytes), None);
        }
    }

    #[test]
    fn a_record_range_holds_the_prefix_and_nothing_else() {
        let shard = ShardId(1);
        let inside = |text: &str, prefix: &str, after: Option<&str>| {
            let after = after.map(|text| Key::new(text).expect("short"));
            let (from, to) = record_range(shard, NamespaceId(3), prefix.as_bytes(), after.as_ref());
            let at = record(shard, &key(text));
            from <= at && at < to
        };
        assert!(inside("user:1", "user:", None));
        assert!(inside("anything", "", None));
        assert!(!inside("users", "user:", None));
        assert!(!inside("user:1", "user:", Some("user:1")));
        assert!(inside("user:10", "user:", Some("user:1")));
        assert!(inside("user:1", "user:", Some("a")));
        assert!(!inside("user:1", "user:", Some("z")));
        let (_, to) = record_range(ShardId::SYSTEM, NamespaceId(u32::MAX), b"", None);
        assert!(record(ShardId::SYSTEM, &key("a")) < to);
    }
}
