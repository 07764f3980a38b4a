//! What every [`TextIndex`] must do. One suite runs on all of them; it panics on a breach.

use std::sync::mpsc;
use std::time::Duration;

use engram_core::index::{TextChange, TextDocument, TextHit, TextQuery, WordsMode};
use engram_core::types::{Ballot, Blob, Key, NamespaceId, RecordKey, ShardId, TextLanguage};

use super::{TextIndex, TextIndexError, TextIndexStatus};

mod language;
mod queries;

/// Longest wait for an index that works in a thread of its own.
const PATIENCE: Duration = Duration::from_secs(60);

type Rule = fn(&dyn TextIndex);

/// Checks an implementation, each rule on an index that `fresh` makes empty.
pub fn check(fresh: &dyn Fn() -> Box<dyn TextIndex>) {
    let rules: [(&str, Rule); 15] = [
        (
            "words are found in any case, all or any of them",
            words_and_modes,
        ),
        ("expressions are understood", queries::expressions),
        (
            "odd expressions find nothing and fail nothing",
            queries::odd_expressions,
        ),
        ("a text finds those that share its words", queries::similar),
        ("words are found in any form", language::forms),
        (
            "accents, case and width make no difference",
            language::folding,
        ),
        ("each namespace has its language", language::languages),
        ("more of a word in less text ranks higher", ranking),
        (
            "namespaces, shards, prefixes and tags restrict",
            restrictions,
        ),
        ("an upsert replaces, a delete forgets", replacement),
        ("only commits become visible", visibility),
        (
            "opening again keeps commits and forgets the rest",
            reopening,
        ),
        ("no text is syntax, none fails", queries::any_text),
        ("k bounds the hits", bound),
        ("clear forgets everything", clearing),
    ];
    for (rule, check) in rules {
        let index = fresh();
        let status = open(index.as_ref());
        assert_eq!(
            status,
            TextIndexStatus::default(),
            "{rule}: the index is not fresh"
        );
        check(index.as_ref());
    }
}

/// Calls and waits for the callback.
fn wait<T: Send + 'static>(call: impl FnOnce(Box<dyn FnOnce(T) + Send>)) -> T {
    let (sender, answer) = mpsc::channel();
    call(Box::new(move |result| drop(sender.send(result))));
    answer
        .recv_timeout(PATIENCE)
        .expect("the callback is called")
}

/// Opens an index and waits for it.
pub fn open(index: &dyn TextIndex) -> TextIndexStatus {
    wait(|done| index.open(done)).expect("opens")
}

/// Commits and waits for it.
pub fn commit(index: &dyn TextIndex, watermark: &str) -> TextIndexStatus {
    wait(|done| index.commit(Blob::from(watermark), done)).expect("commits")
}

/// Searches and waits for the hits.
///
/// # Errors
/// What the index reports.
pub fn search(index: &dyn TextIndex, query: TextQuery) -> Result<Vec<TextHit>, TextIndexError> {
    wait(|done| index.search(query, done))
}

/// A key of namespace 1.
pub fn key(name: &str) -> RecordKey {
    RecordKey {
        namespace: NamespaceId(1),
        key: Key::new(name).expect("not empty"),
    }
}

/// An upsert of an entry of namespace 1 and shard 0.
pub fn upsert(name: &str, words: &str) -> TextChange {
    TextChange::Upsert(document(name, words))
}

fn document(name: &str, words: &str) -> TextDocument {
    TextDocument {
        key: key(name),
        shard: ShardId(0),
        vtag: Ballot {
            n: 1,
            ..Ballot::ZERO
        },
        language: TextLanguage::English,
        words: words.to_owned(),
        tags: Vec::new(),
    }
}

/// A query for all words in namespace 1 and shard 0.
pub fn all_of(words: &str) -> TextQuery {
    TextQuery {
        namespace: NamespaceId(1),
        shards: [ShardId(0)].into(),
        language: TextLanguage::English,
        words: words.to_owned(),
        mode: WordsMode::All,
        k: 10,
        prefix: None,
        tags: Vec::new(),
    }
}

/// The keys that a query finds, in order.
pub fn names(index: &dyn TextIndex, query: TextQuery) -> Vec<String> {
    let hits = search(index, query).expect("finds");
    assert!(
        hits.is_sorted_by(|left, right| left.score >= right.score),
        "hits come best first: {hits:?}"
    );
    assert!(
        hits.iter().all(|hit| hit.score.is_finite()),
        "scores are numbers: {hits:?}"
    );
    hits.iter()
        .map(|hit| hit.key.key.to_text().into_owned())
        .collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn words_and_modes(index: &dyn TextIndex) {
    index.apply(vec![
        upsert("a", "Python programming for the curious"),
        upsert("b", "PYTHON in the zoo"),
        upsert("c", "programming in Java"),
    ]);
    let status = commit(index, "mark");
    assert_eq!(status.documents, 3);
    assert_eq!(status.watermark, Some(Blob::from("mark")));
    assert_eq!(names(index, all_of("python Programming")), ["a"]);
    let any = TextQuery {
        mode: WordsMode::Any,
        ..all_of("python programming")
    };
    assert_eq!(sorted(names(index, any.clone())), ["a", "b", "c"]);
    assert_eq!(names(index, any)[0], "a", "both words rank above one");
    for (percent, found) in [(33, vec!["a", "b", "c"]), (60, vec!["a"])] {
        let most = TextQuery {
            mode: WordsMode::Most(percent),
            ..all_of("python programming curious")
        };
        assert_eq!(sorted(names(index, most)), found);
    }
    // Words that say nothing are neither needed nor found.
    assert_eq!(names(index, all_of("the python and a zoo")), ["b"]);
    assert!(names(index, all_of("the")).is_empty());
    assert!(names(index, all_of("")).is_empty());
    assert!(names(index, all_of("absent")).is_empty());
    assert!(names(index, all_of("python absent")).is_empty());
}

fn ranking(index: &dyn TextIndex) {
    let padding = "other words that make this text longer ".repeat(8);
    index.apply(vec![
        upsert("long", &format!("rust {padding}")),
        upsert("often", "rust and more rust, rust"),
        upsert("short", "rust words"),
    ]);
    commit(index, "mark");
    assert_eq!(names(index, all_of("rust")), ["often", "short", "long"]);
}

fn restrictions(index: &dyn TextIndex) {
    let other_namespace = TextDocument {
        key: RecordKey {
            namespace: NamespaceId(2),
            key: Key::new("x:1").expect("not empty"),
        },
        ..document("unused", "tea")
    };
    let other_shard = TextDocument {
        shard: ShardId(7),
        ..document("x:2", "tea")
    };
    let tagged = TextDocument {
        tags: vec!["eu".to_owned(), "a b:c".to_owned()],
        ..document("y:\u{10ffff}", "tea")
    };
    let also = TextDocument {
        tags: vec!["eu".to_owned()],
        ..document("x:3", "tea")
    };
    let changes = [other_namespace, other_shard, tagged, also].map(TextChange::Upsert);
    index.apply(changes.to_vec());
    commit(index, "mark");
    let tea = all_of("tea");
    assert_eq!(sorted(names(index, tea.clone())), ["x:3", "y:\u{10ffff}"]);
    let two = TextQuery {
        namespace: NamespaceId(2),
        ..tea.clone()
    };
    assert_eq!(names(index, two), ["x:1"]);
    let both_shards = TextQuery {
        shards: [ShardId(0), ShardId(7)].into(),
        ..tea.clone()
    };
    assert_eq!(
        sorted(names(index, both_shards.clone())),
        ["x:2", "x:3", "y:\u{10ffff}"]
    );
    let none = TextQuery {
        shards: [].into(),
        ..tea.clone()
    };
    assert!(names(index, none).is_empty());
    let prefixed = TextQuery {
        prefix: Some(Blob::from("x:")),
        ..both_shards.clone()
    };
    assert_eq!(sorted(names(index, prefixed)), ["x:2", "x:3"]);
    // A prefix that no byte string follows, and one that is longer than any key.
    let last = TextQuery {
        prefix: Some(Blob::from(vec![0xff, 0xff])),
        ..both_shards.clone()
    };
    assert!(names(index, last).is_empty());
    let empty = TextQuery {
        prefix: Some(Blob::from("")),
        ..both_shards
    };
    assert_eq!(names(index, empty).len(), 3);
    for (tags, found) in [
        (vec!["eu"], vec!["x:3", "y:\u{10ffff}"]),
        (vec!["eu", "a b:c"], vec!["y:\u{10ffff}"]),
        (vec!["a"], vec![]),
        (vec!["EU"], vec![]),
    ] {
        let tags = tags.into_iter().map(str::to_owned).collect();
        assert_eq!(
            sorted(names(
                index,
                TextQuery {
                    tags,
                    ..tea.clone()
                }
            )),
            found
        );
    }
}

fn replacement(index: &dyn TextIndex) {
    index.apply(vec![
        upsert("k", "old"),
        upsert("k", "older"),
        upsert("gone", "old"),
    ]);
    commit(index, "1");
    let newer = Ballot {
        n: 9,
        ..Ballot::ZERO
    };
    index.apply(vec![
        TextChange::Upsert(TextDocument {
            vtag: newer,
            ..document("k", "new")
        }),
        TextChange::Delete(key("gone")),
        TextChange::Delete(key("never there")),
    ]);
    index.apply(vec![
        upsert("brief", "new"),
        TextChange::Delete(key("brief")),
    ]);
    let status = commit(index, "2");
    assert_eq!(status.documents, 1);
    assert!(names(index, all_of("old")).is_empty());
    let hits = search(index, all_of("new")).expect("finds");
    assert_eq!(hits.len(), 1);
    assert_eq!((&hits[0].key, hits[0].vtag), (&key("k"), newer));
}

fn visibility(index: &dyn TextIndex) {
    index.apply(vec![upsert("k", "word")]);
    assert!(names(index, all_of("word")).is_empty());
    commit(index, "1");
    assert_eq!(names(index, all_of("word")), ["k"]);
    index.apply(vec![TextChange::Delete(key("k"))]);
    assert_eq!(names(index, all_of("word")), ["k"]);
    commit(index, "2");
    assert!(names(index, all_of("word")).is_empty());
}

fn reopening(index: &dyn TextIndex) {
    index.apply(vec![upsert("kept", "word")]);
    commit(index, "first \u{0} mark");
    index.apply(vec![
        upsert("lost", "word"),
        TextChange::Delete(key("kept")),
    ]);
    let status = open(index);
    assert_eq!(status.watermark, Some(Blob::from("first \u{0} mark")));
    assert_eq!(status.documents, 1);
    assert_eq!(names(index, all_of("word")), ["kept"]);
    // A commit without changes still moves the watermark.
    let status = commit(index, "second");
    assert_eq!(
        (status.watermark, status.documents),
        (Some(Blob::from("second")), 1)
    );
    assert_eq!(open(index).watermark, Some(Blob::from("second")));
}

fn bound(index: &dyn TextIndex) {
    index.apply(
        (0..30)
            .map(|number| upsert(&format!("k{number:02}"), "same word"))
            .collect(),
    );
    commit(index, "1");
    for k in [1, 7, 30] {
        assert_eq!(
            names(
                index,
                TextQuery {
                    k,
                    ..all_of("word")
                }
            )
            .len(),
            k
        );
    }
    assert_eq!(
        names(
            index,
            TextQuery {
                k: 1000,
                ..all_of("word")
            }
        )
        .len(),
        30
    );
    assert!(
        names(
            index,
            TextQuery {
                k: 0,
                ..all_of("word")
            }
        )
        .is_empty()
    );
}

fn clearing(index: &dyn TextIndex) {
    index.apply(vec![upsert("before", "word")]);
    commit(index, "1");
    index.clear();
    index.apply(vec![upsert("after", "word")]);
    assert_eq!(commit(index, "2").documents, 1);
    assert_eq!(names(index, all_of("word")), ["after"]);
}
