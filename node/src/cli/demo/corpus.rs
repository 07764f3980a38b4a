//! The sample corpus, which is part of the binary.

use engram_client::{Client, Namespace, NamespaceOptions};

use crate::cli::entry_line::{EntryLine, ParsedLine};
use crate::cli::exit::Failure;
use crate::cli::transfer::Lines;

/// Namespaces, and the entries that go there.
const FILES: [(&str, &str); 4] = [
    ("users", include_str!("../../../corpus/users.jsonl")),
    ("config", include_str!("../../../corpus/config.jsonl")),
    ("texts", include_str!("../../../corpus/texts.jsonl")),
    ("questions", include_str!("../../../corpus/questions.jsonl")),
];

/// The entries of one namespace.
pub(super) struct Part {
    /// The namespace.
    pub(super) name: &'static str,
    /// In the order of the file.
    pub(super) entries: Vec<ParsedLine>,
}

/// All of it.
///
/// # Errors
/// [`Failure`] if the corpus is damaged.
pub(super) fn read() -> Result<Vec<Part>, Failure> {
    let part = |(name, text): (&'static str, &str)| {
        let entries: Result<Vec<ParsedLine>, Failure> = Lines::new(text.as_bytes())
            .map(|line| {
                let line = line.map_err(Failure::other)?;
                let bytes = line.bytes.unwrap_or_default();
                EntryLine::parse(&bytes).map_err(|error| {
                    Failure::other(format_args!("corpus {name}, line {}: {error}", line.number))
                })
            })
            .collect();
        Ok(Part {
            name,
            entries: entries?,
        })
    };
    FILES.into_iter().map(part).collect()
}

/// Writes the corpus, many entries at a time, into namespaces with that embedder.
///
/// # Errors
/// The first [`Failure`].
pub(super) async fn load(client: &Client, parts: &[Part], embedder: &str) -> Result<(), Failure> {
    for part in parts {
        let options = NamespaceOptions {
            embedder: embedder.into(),
            ..NamespaceOptions::default()
        };
        client.create_namespace(part.name, options).await?;
    }
    let puts = parts.iter().flat_map(|part| {
        let namespace = client.namespace(part.name);
        part.entries.iter().map(move |entry| {
            namespace
                .put(&entry.key, entry.value.clone())
                .tags(entry.tags.clone())
        })
    });
    for written in Namespace::put_all(puts).await {
        written?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_corpus_is_readable_and_its_keys_are_unique() {
        let parts = read().expect("readable");
        let keys: Vec<_> = parts
            .iter()
            .flat_map(|part| &part.entries)
            .map(|entry| entry.key.clone())
            .collect();
        let unique: BTreeSet<_> = keys.iter().cloned().collect();
        assert!(keys.len() > 500);
        assert_eq!(unique.len(), keys.len());
    }
}
