//! What a key holds, as clients see it.

use std::time::Duration;

use engram_core::types::{Blob, Millis};
use engram_core::wire;
use serde::de::DeserializeOwned;

use crate::{ClientError, ValueError, Version};

/// A value and what is known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The value; empty where only keys were asked for.
    pub value: Blob,
    /// The version, for conditional writes. It never recurs, even after a deletion.
    pub version: Version,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it ends, if it does, by the cluster's clock.
    pub expires_at: Option<Millis>,
    /// How long it had left when it was read, if it ends.
    pub ttl: Option<Duration>,
}

impl Entry {
    pub(crate) fn from_wire(entry: wire::Entry, now: Millis) -> Entry {
        Entry {
            value: entry.value,
            version: entry.version,
            tags: entry.tags,
            expires_at: entry.expires_at,
            ttl: entry
                .expires_at
                .map(|at| Duration::from_millis(at.since(now))),
        }
    }

    /// The value as bytes.
    pub fn bytes(&self) -> &[u8] {
        self.value.as_ref()
    }

    /// The value as text.
    ///
    /// # Errors
    /// [`ValueError::NotText`] if it is not UTF-8.
    pub fn text(&self) -> Result<&str, ClientError> {
        Ok(std::str::from_utf8(self.bytes()).map_err(ValueError::NotText)?)
    }

    /// The value read as JSON.
    ///
    /// # Errors
    /// [`ValueError::NotJson`] if it is no JSON of this type.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        Ok(serde_json::from_slice(self.bytes()).map_err(ValueError::NotJson)?)
    }
}

/// What is known of a value, without the value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// The version, for conditional writes.
    pub version: Version,
    /// Its tags.
    pub tags: Vec<String>,
    /// When it ends, if it does, by the cluster's clock.
    pub expires_at: Option<Millis>,
    /// How long it had left when it was read, if it ends.
    pub ttl: Option<Duration>,
}

impl From<Entry> for Head {
    fn from(entry: Entry) -> Head {
        Head {
            version: entry.version,
            tags: entry.tags,
            expires_at: entry.expires_at,
            ttl: entry.ttl,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: &[u8], expires_at: Option<u64>) -> Entry {
        let entry = wire::Entry {
            value: Blob::from(value),
            version: Version::ZERO,
            tags: vec![],
            expires_at: expires_at.map(Millis),
        };
        Entry::from_wire(entry, Millis(1000))
    }

    #[test]
    fn the_time_left_is_counted_from_the_cluster_s_clock() {
        let cases = [(None, None), (Some(1500), Some(500)), (Some(900), Some(0))];
        for (expires_at, left) in cases {
            let ttl = left.map(Duration::from_millis);
            assert_eq!(entry(b"", expires_at).ttl, ttl);
        }
    }

    #[test]
    fn values_are_read_as_what_they_are() {
        assert_eq!(entry("Ada".as_bytes(), None).text().expect("text"), "Ada");
        let bad = entry(b"\xff", None);
        let not_text = bad.text();
        assert!(matches!(
            not_text,
            Err(ClientError::Value(ValueError::NotText(_)))
        ));
        let number: u8 = entry(b"7", None).json().expect("JSON");
        assert_eq!(number, 7);
        let not_json = entry(b"{", None).json::<u8>();
        assert!(matches!(
            not_json,
            Err(ClientError::Value(ValueError::NotJson(_)))
        ));
    }
}
