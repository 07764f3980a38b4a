//! What is stored of a prompt and its answer.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{Entry, Version};

/// The field that the namespace of a cache indexes.
pub(super) const PROMPT_FIELD: &str = "prompt";

/// The value of an entry, as JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) prompt: String,
    pub(super) answer: String,
}

/// The key of a prompt. A hash, since a prompt may be longer than a key.
pub(super) fn key_of(prompt: &str) -> String {
    format!("{:032x}", xxh3_128(prompt.as_bytes()))
}

/// An answer that was found.
#[derive(Clone, PartialEq, Debug)]
pub struct CacheHit {
    /// What was asked when it was stored.
    pub prompt: String,
    /// The answer.
    pub answer: String,
    /// How alike the prompts are: cosine similarity, 1 for the very same.
    pub score: f32,
    /// Whether it is the answer to the very same prompt.
    pub is_exact: bool,
    /// The version of its entry.
    pub version: Version,
    /// Its tags.
    pub tags: Vec<String>,
    /// How long it has left, if it ends.
    pub ttl: Option<Duration>,
}

impl CacheHit {
    /// None if the entry is not one of a cache: anybody may write into the namespace.
    pub(super) fn of(entry: Entry, score: f32, is_exact: bool) -> Option<CacheHit> {
        let Stored { prompt, answer } = serde_json::from_slice(entry.bytes()).ok()?;
        Some(CacheHit {
            prompt,
            answer,
            score,
            is_exact,
            version: entry.version,
            tags: entry.tags,
            ttl: entry.ttl,
        })
    }
}

#[cfg(test)]
mod tests {
    use engram_core::types::Blob;

    use super::*;

    #[test]
    fn an_entry_comes_back_and_strangers_are_passed_over() {
        let stored = Stored {
            prompt: "why?".into(),
            answer: "\"so\"".into(),
        };
        let value = serde_json::to_vec(&stored).expect("plain data");
        let entry = |value: Vec<u8>| Entry {
            value: Blob::from(value),
            version: Version::ZERO,
            tags: vec!["t".into()],
            expires_at: None,
            ttl: None,
        };
        let hit = CacheHit::of(entry(value), 0.9, false).expect("an entry of a cache");
        assert_eq!((hit.prompt, hit.answer), (stored.prompt, stored.answer));
        for strange in [&b""[..], b"{}", b"{\"prompt\": 1, \"answer\": 2}", b"\xff"] {
            assert_eq!(CacheHit::of(entry(strange.to_vec()), 1.0, true), None);
        }
    }

    #[test]
    fn keys_are_stable() {
        // Stored entries are found by these: they must never change.
        assert_eq!(key_of("why?").len(), 32);
        assert_eq!(key_of(""), "99aa06d3014798d86001c324468d497f");
        assert_ne!(key_of("why?"), key_of("why"));
    }
}
