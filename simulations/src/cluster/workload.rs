//! What clients do.

use engram_core::protocol::random::Random;
use engram_core::types::{Blob, Change as Changing, Condition, Key, RecordKey, Write, WriteId};
use engram_core::wire::{ClientRequest, Get, HybridWeights, Put, Scan, Search, SearchMode};

use super::clients::NAMESPACE;
use super::profile::pick;
use super::state::State;
use crate::history::Change;

/// The words that values are made of.
pub(super) const WORDS: [&str; 8] = [
    "amber", "brook", "cedar", "delta", "ember", "fjord", "grove", "heron",
];

/// More hits than there are keys.
pub(super) const EVERYTHING: u32 = 1_000;

/// An operation, and the change that it makes if it is a write.
pub(super) struct Step {
    pub(super) body: ClientRequest,
    pub(super) change: Option<Change>,
}

/// The key of that number.
pub(super) fn key(number: u64) -> RecordKey {
    RecordKey {
        namespace: NAMESPACE,
        key: Key::new(format!("key{number:02}")).expect("short and not empty"),
    }
}

/// Draws a client's next operation.
pub(super) fn draw(state: &mut State, client: usize) -> Step {
    let number = state.choices.below(state.profile.keys);
    let key = key(number);
    let chosen = state.choices.below(100);
    let body = match chosen {
        0..26 => ClientRequest::Get(Get {
            key,
            with_value: true,
        }),
        26..32 => ClientRequest::Scan(draw_scan(state)),
        32..38 => ClientRequest::Search(draw_search(&mut state.choices)),
        _ => {
            let (write, change) = draw_write(state, client, chosen, &key);
            return Step {
                body: ClientRequest::Put(Put { key, write }),
                change: Some(change),
            };
        }
    };
    Step { body, change: None }
}

fn draw_scan(state: &mut State) -> Scan {
    let keys = state.profile.keys;
    let after = state.choices.below(2 * keys);
    let limit = 1 + state.choices.below(8);
    Scan {
        namespace: NAMESPACE,
        prefix: b"key".to_vec(),
        after: (after < keys).then(|| key(after).key),
        limit: u32::try_from(limit).unwrap_or(1),
        with_values: true,
    }
}

fn draw_search(random: &mut Random) -> Search {
    if random.below(3) == 0 {
        return everything_fresh(random);
    }
    let mode = pick(
        random,
        &[
            SearchMode::AllWords,
            SearchMode::AnyWords,
            SearchMode::Semantic,
            SearchMode::Expression,
            SearchMode::Similar,
            SearchMode::Hybrid,
        ],
    );
    search(pick(random, &WORDS), mode, 10)
}

/// A search for a word.
pub(super) fn search(word: &str, mode: SearchMode, top_k: u32) -> Search {
    Search {
        namespace: NAMESPACE,
        query: word.into(),
        mode,
        top_k,
        threshold: None,
        weights: HybridWeights::default(),
        prefix: Vec::new(),
        tags: Vec::new(),
        with_values: true,
        snippets: true,
        fresh: false,
    }
}

/// A fresh search that finds all keys, by one of the ways of doing so.
fn everything_fresh(random: &mut Random) -> Search {
    let (query, mode) = pick(
        random,
        &[
            (WORDS[0], SearchMode::Semantic),
            ("key:key*", SearchMode::Expression),
        ],
    );
    Search {
        fresh: true,
        ..search(query, mode, EVERYTHING)
    }
}

fn draw_write(state: &mut State, client: usize, chosen: u64, key: &RecordKey) -> (Write, Change) {
    let expires = state.choices.chance(state.profile.expiring);
    let ttl_ms = 1 + state.choices.below(state.profile.ttl_ms);
    let words = (
        pick(&mut state.choices, &WORDS),
        pick(&mut state.choices, &WORDS),
    );
    let now = state.client_clock(client);
    let it = state.client(client);
    it.sequence += 1;
    let id = WriteId {
        client: client as u64,
        sequence: it.sequence,
    };
    let since = it.clock.tick(now);
    let expires_at = expires.then(|| now.plus(ttl_ms));
    let known = it.versions.get(key).copied();
    let condition = match (chosen, known) {
        (60..70, _) => Condition::Absent,
        (70..85, Some(version)) | (96..98, Some(version)) => Condition::Version(version),
        (98.., _) => Condition::Present,
        _ => Condition::Any,
    };
    let change = match chosen {
        83..92 | 96..98 => Change::Delete,
        92..96 => Change::Touch { expires_at },
        _ => Change::Put { expires_at },
    };
    let changing = match change {
        Change::Put { expires_at } => Changing::Put {
            value: value(id, words),
            tags: Vec::new(),
            expires_at,
        },
        Change::Delete => Changing::Delete,
        Change::Touch { expires_at } => Changing::SetExpiry { expires_at },
    };
    let write = Write {
        change: changing,
        condition,
        id,
        since,
    };
    (write, change)
}

/// A value that names its write.
fn value(id: WriteId, words: (&str, &str)) -> Blob {
    Blob::from(format!(
        "{}:{}: {} {}",
        id.client, id.sequence, words.0, words.1
    ))
}

/// The write that a value names.
pub(super) fn writer(value: &Blob) -> WriteId {
    let text = String::from_utf8_lossy(value.as_ref());
    let mut parts = text.split(':').map(|part| part.parse().unwrap_or(u64::MAX));
    WriteId {
        client: parts.next().unwrap_or(u64::MAX),
        sequence: parts.next().unwrap_or(u64::MAX),
    }
}

/// The first id of a write that was retried under fresh ones.
pub(super) fn original(id: WriteId) -> WriteId {
    WriteId {
        client: id.client & u64::from(u32::MAX),
        ..id
    }
}
