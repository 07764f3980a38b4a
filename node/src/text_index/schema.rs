//! How an entry becomes a tantivy document.

use std::collections::BTreeSet;

use engram_core::index::{TextAnalyzer, TextDocument, TextField, key_words};
use engram_core::types::{Ballot, Incarnation, Key, MemberId, NamespaceId, RecordKey, ShardId};
use tantivy::schema::{
    BytesOptions, Field, IndexRecordOption, NumericOptions, Schema, TextFieldIndexing, TextOptions,
    Value,
};
use tantivy::{TantivyDocument, Term};

use super::words::{Analysed, scoped};

/// Bytes of a stored version: n, member, boot, respawn.
const VTAG_BYTES: usize = 24;

/// The fields of a document. Words and tags begin with their namespace, so that namespaces share
/// an index without sharing statistics, and a search never meets another's entries.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) schema: Schema,
    /// Namespace and key: the unique id, indexed whole.
    id: Field,
    shard: Field,
    /// The words, with their counts and places.
    words: Field,
    /// The words of the key, with their places.
    key_words: Field,
    /// All words uncut, to be found by how they begin.
    exact: Field,
    tags: Field,
    /// Version and id, to be returned.
    head: Field,
}

impl Fields {
    /// Name of the fast field with the shard.
    pub(super) const SHARD: &'static str = "shard";

    pub(super) fn new() -> Fields {
        let mut schema = Schema::builder();
        // Texts come as words already: the tokenizer is never asked.
        let counted = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let plain = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_fieldnorms(false)
            .set_index_option(IndexRecordOption::Basic);
        let id = schema.add_bytes_field("id", BytesOptions::default().set_indexed());
        let shard = schema.add_u64_field(Fields::SHARD, NumericOptions::default().set_fast());
        let words = schema.add_text_field(
            "words",
            TextOptions::default().set_indexing_options(counted.clone()),
        );
        let key_words = schema.add_text_field(
            "key_words",
            TextOptions::default().set_indexing_options(counted),
        );
        let exact = schema.add_text_field(
            "exact",
            TextOptions::default().set_indexing_options(plain.clone()),
        );
        let tags =
            schema.add_text_field("tags", TextOptions::default().set_indexing_options(plain));
        let head = schema.add_bytes_field("head", BytesOptions::default().set_stored());
        Fields {
            schema: schema.build(),
            id,
            shard,
            words,
            key_words,
            exact,
            tags,
            head,
        }
    }

    /// The term that names one entry.
    pub(super) fn id_term(&self, key: &RecordKey) -> Term {
        self.id_term_of(key.namespace, key.key.as_bytes())
    }

    /// The term that an entry with these bytes as its key would have.
    pub(super) fn id_term_of(&self, namespace: NamespaceId, key: &[u8]) -> Term {
        Term::from_field_bytes(self.id, &id_bytes(namespace, key))
    }

    /// The first term after all entries of a namespace whose key begins with `prefix`.
    pub(super) fn id_term_after(&self, namespace: NamespaceId, prefix: &[u8]) -> Option<Term> {
        let mut bytes = id_bytes(namespace, prefix);
        while let Some(last) = bytes.pop() {
            if let Some(next) = last.checked_add(1) {
                bytes.push(next);
                return Some(Term::from_field_bytes(self.id, &bytes));
            }
        }
        None
    }

    /// The term of an analysed word.
    pub(super) fn word_term(&self, field: TextField, word: &str) -> Term {
        let field = match field {
            TextField::Everything => self.words,
            TextField::Key => self.key_words,
        };
        Term::from_field_text(field, word)
    }

    /// The term of an uncut word, or of how it begins.
    pub(super) fn exact_term(&self, word: &str) -> Term {
        Term::from_field_text(self.exact, word)
    }

    /// The term of a tag.
    pub(super) fn tag_term(&self, namespace: NamespaceId, tag: &str) -> Term {
        Term::from_field_text(self.tags, &scoped(namespace, tag))
    }

    /// The document of an entry.
    pub(super) fn document(&self, entry: &TextDocument) -> TantivyDocument {
        let namespace = entry.key.namespace;
        let id = id_bytes(namespace, entry.key.key.as_bytes());
        let mut head = Vec::with_capacity(VTAG_BYTES + id.len());
        head.extend_from_slice(&entry.vtag.n.to_be_bytes());
        head.extend_from_slice(&entry.vtag.member.0.to_be_bytes());
        head.extend_from_slice(&entry.vtag.incarnation.boot.to_be_bytes());
        head.extend_from_slice(&entry.vtag.incarnation.respawn.to_be_bytes());
        head.extend_from_slice(&id);
        let mut document = TantivyDocument::new();
        document.add_bytes(self.id, &id);
        document.add_u64(self.shard, u64::from(entry.shard.0));
        let analyzer = TextAnalyzer::new(entry.language);
        let text = Analysed::of(namespace, &analyzer, &entry.words);
        document.add_pre_tokenized_text(self.words, text.stems);
        document.add_pre_tokenized_text(self.exact, text.exact);
        let key = entry.key.key.to_text();
        let key: Vec<&str> = key_words(&key).collect();
        let key = Analysed::of(namespace, &analyzer, &key.join(" "));
        document.add_pre_tokenized_text(self.key_words, key.stems);
        for tag in &entry.tags {
            document.add_text(self.tags, scoped(namespace, tag));
        }
        document.add_bytes(self.head, &head);
        document
    }

    /// Which version of which entry a document is. `None`: the document is damaged.
    pub(super) fn head(&self, document: &TantivyDocument) -> Option<(RecordKey, Ballot)> {
        let head = document.get_first(self.head)?;
        let (n, rest) = head.as_bytes()?.split_first_chunk::<8>()?;
        let (member, rest) = rest.split_first_chunk::<8>()?;
        let (boot, rest) = rest.split_first_chunk::<4>()?;
        let (respawn, rest) = rest.split_first_chunk::<4>()?;
        let (namespace, key) = rest.split_first_chunk::<4>()?;
        let incarnation = Incarnation {
            boot: u32::from_be_bytes(*boot),
            respawn: u32::from_be_bytes(*respawn),
        };
        let vtag = Ballot {
            n: u64::from_be_bytes(*n),
            member: MemberId(u64::from_be_bytes(*member)),
            incarnation,
        };
        let namespace = NamespaceId(u32::from_be_bytes(*namespace));
        Some((
            RecordKey {
                namespace,
                key: Key::new(key).ok()?,
            },
            vtag,
        ))
    }

    /// Tells whether a value of the fast field is one of these shards. Asked for every document
    /// that matches.
    pub(super) fn shard_filter(shards: &BTreeSet<ShardId>) -> impl Fn(u64) -> bool + Clone + use<> {
        let places = shards.last().map_or(0, |last| usize::from(last.0) + 1);
        let mut is_wanted = vec![false; places];
        for shard in shards {
            if let Some(place) = is_wanted.get_mut(usize::from(shard.0)) {
                *place = true;
            }
        }
        move |shard| {
            let place = usize::try_from(shard).ok();
            let wanted = place.and_then(|place| is_wanted.get(place));
            wanted.copied().unwrap_or(false)
        }
    }
}

fn id_bytes(namespace: NamespaceId, key: &[u8]) -> Vec<u8> {
    let mut bytes = namespace.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(key);
    bytes
}
