//! What counts as the same word.

use engram_core::index::{TextChange, TextDocument, TextQuery, WordsMode};
use engram_core::types::{Key, NamespaceId, RecordKey, TextLanguage};

use super::{all_of, commit, document, names, sorted, upsert};
use crate::index_partition::TextIndex;

pub(super) fn forms(index: &dyn TextIndex) {
    index.apply(vec![
        upsert("a", "She guides programmers who were running"),
        upsert("b", "a guided program run"),
        upsert("c", "misguided"),
    ]);
    commit(index, "1");
    for query in ["guide", "GUIDES run", "\"guided programs\" OR running"] {
        let query = TextQuery {
            mode: WordsMode::Expression,
            ..all_of(query)
        };
        assert_eq!(sorted(names(index, query)), ["a", "b"]);
    }
    // Beginnings are those of the words as they are written.
    let begun = TextQuery {
        mode: WordsMode::Expression,
        ..all_of("runn*")
    };
    assert_eq!(names(index, begun), ["a"]);
}

pub(super) fn folding(index: &dyn TextIndex) {
    index.apply(vec![
        upsert("a", "Crème brûlée in Łódź"),
        upsert("b", "creme brulee in Lodz"),
        upsert("c", "Cre\u{300}me bru\u{302}le\u{301}e in ＬＯＤＺ"),
        upsert("d", "ΌΔΟΣ ёлка"),
    ]);
    commit(index, "1");
    for query in ["creme lodz", "CRÈME ŁÓDŹ", "cre\u{300}me ｌｏｄｚ"] {
        assert_eq!(
            sorted(names(index, all_of(query))),
            ["a", "b", "c"],
            "{query}"
        );
    }
    assert_eq!(names(index, all_of("οδος ЕЛКА")), ["d"]);
    let begun = TextQuery {
        mode: WordsMode::Expression,
        ..all_of("brÛL*")
    };
    assert_eq!(sorted(names(index, begun)), ["a", "b", "c"]);
}

pub(super) fn languages(index: &dyn TextIndex) {
    let of = |namespace, language, words: &str| {
        TextChange::Upsert(TextDocument {
            key: RecordKey {
                namespace: NamespaceId(namespace),
                key: Key::new("k").expect("not empty"),
            },
            language,
            ..document("unused", words)
        })
    };
    index.apply(vec![
        of(1, TextLanguage::German, "die alten Häuser und the Gärten"),
        of(2, TextLanguage::Plain, "the Häuser"),
        of(3, TextLanguage::French, "les chevaux de la ferme"),
    ]);
    commit(index, "1");
    for (namespace, language, words, found) in [
        (1, TextLanguage::German, "Haus im Garten", true),
        // What says nothing in English is a word like others here.
        (1, TextLanguage::German, "the", true),
        (1, TextLanguage::German, "und", false),
        (2, TextLanguage::Plain, "Haus", false),
        (2, TextLanguage::Plain, "the hauser", true),
        (3, TextLanguage::French, "cheval", true),
        (3, TextLanguage::French, "fermes", true),
    ] {
        let query = TextQuery {
            namespace: NamespaceId(namespace),
            language,
            ..all_of(words)
        };
        assert_eq!(names(index, query).len(), usize::from(found), "{words}");
    }
}
