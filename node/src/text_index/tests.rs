//! The suite of all text indexes, and what concerns files.

use std::fs;
use std::path::Path;

use engram_actors::index_partition::conformance::{
    all_of, check, commit, key, names, open, search, upsert,
};
use engram_core::index::{TextDocument, WordsMode};
use engram_core::types::{
    Ballot, Incarnation, MemberId, NamespaceId, RecordKey, ShardId, TextLanguage,
};

use super::*;

/// An index whose folder is removed with it.
struct Temporary {
    index: TantivyTextIndex,
    _folder: tempfile::TempDir,
}

impl TextIndex for Temporary {
    fn open(&self, done: TextStatusDone) {
        self.index.open(done);
    }

    fn apply(&self, changes: Vec<TextChange>) {
        self.index.apply(changes);
    }

    fn clear(&self) {
        self.index.clear();
    }

    fn commit(&self, watermark: Blob, done: TextStatusDone) {
        self.index.commit(watermark, done);
    }

    fn search(&self, query: TextQuery, done: TextSearchDone) {
        self.index.search(query, done);
    }
}

fn in_folder(folder: &Path) -> TantivyTextIndex {
    TantivyTextIndex::new(folder, "test").expect("threads start")
}

/// Commits one entry and opens the index again, so that all its files are at rest.
fn filled(folder: &Path) -> TantivyTextIndex {
    let index = in_folder(folder);
    open(&index);
    index.apply(vec![upsert("k", "word")]);
    assert_eq!(commit(&index, "mark").documents, 1);
    index
}

type Damage = fn(&Path);

fn assert_rebuilt(index: &TantivyTextIndex, damage: &str) {
    let status = open(index);
    assert_eq!((status.watermark, status.documents), (None, 0), "{damage}");
    index.apply(vec![upsert("again", "word")]);
    commit(index, "new mark");
    assert_eq!(names(index, all_of("word")), ["again"]);
}

#[test]
fn it_conforms() {
    check(&|| {
        let folder = tempfile::tempdir().expect("a folder");
        Box::new(Temporary {
            index: in_folder(&folder.path().join("index")),
            _folder: folder,
        })
    });
}

#[test]
fn versions_and_odd_keys_come_back_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = in_folder(folder.path());
    open(&index);
    let vtag = Ballot {
        n: u64::MAX,
        member: MemberId(7),
        incarnation: Incarnation {
            boot: u32::MAX,
            respawn: 3,
        },
    };
    let key = RecordKey {
        namespace: NamespaceId(u32::MAX),
        key: engram_core::types::Key::new(vec![0, 255, 1]).expect("not empty"),
    };
    let words = "Programming, café".to_owned();
    let shard = ShardId(65_000);
    let document = TextDocument {
        key: key.clone(),
        shard,
        vtag,
        language: TextLanguage::English,
        words,
        tags: Vec::new(),
    };
    index.apply(vec![TextChange::Upsert(document)]);
    commit(&index, "mark");
    let query = TextQuery {
        namespace: key.namespace,
        shards: [shard].into(),
        prefix: Some(Blob::from(vec![0, 255])),
        ..all_of("programs CAFÉ")
    };
    let hits = search(&index, query.clone()).expect("finds");
    assert_eq!(hits.len(), 1);
    assert_eq!((&hits[0].key, hits[0].vtag), (&key, vtag));
    assert!(hits[0].score > 0.0);
    let any = TextQuery {
        mode: WordsMode::Any,
        words: "programmed absent".to_owned(),
        ..query
    };
    assert_eq!(search(&index, any).map(|hits| hits.len()), Ok(1));
}

#[test]
fn a_closed_index_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = in_folder(folder.path());
    assert_eq!(search(&index, all_of("word")), Err(TextIndexError::NotOpen));
    let (sender, answer) = std::sync::mpsc::channel();
    index.commit(
        Blob::from("mark"),
        Box::new(move |result| drop(sender.send(result))),
    );
    assert_eq!(answer.recv().expect("called"), Err(TextIndexError::NotOpen));
}

#[test]
fn a_later_life_finds_what_was_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = filled(folder.path());
    index.apply(vec![TextChange::Delete(key("k"))]);
    open(&index);
    assert_eq!(names(&index, all_of("word")), ["k"]);
}

#[test]
fn damaged_and_foreign_folders_are_rebuilt() {
    let damages: [(&str, Damage); 5] = [
        ("another format", |folder| {
            fs::write(
                folder.join("engram-format"),
                "engram full-text index, format 0\n",
            )
            .expect("writes");
        }),
        ("no format", |folder| {
            fs::remove_file(folder.join("engram-format")).expect("removes")
        }),
        ("broken metadata", |folder| {
            fs::write(folder.join("meta.json"), "{").expect("writes");
        }),
        ("foreign watermark", |folder| {
            let meta = fs::read_to_string(folder.join("meta.json")).expect("reads");
            let mark = payload::encode(&Blob::from("mark"));
            assert!(meta.contains(&mark));
            fs::write(folder.join("meta.json"), meta.replace(&mark, "other")).expect("writes");
        }),
        ("lost files", |folder| {
            for entry in fs::read_dir(folder).expect("lists") {
                let path = entry.expect("an entry").path();
                if path.extension().is_some_and(|extension| extension == "idx") {
                    fs::remove_file(path).expect("removes");
                }
            }
        }),
    ];
    for (damage, make) in damages {
        let folder = tempfile::tempdir().expect("a folder");
        let index = filled(folder.path());
        make(folder.path());
        assert_rebuilt(&index, damage);
    }
}

#[test]
fn the_best_are_found_whatever_shards_a_segment_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let index = in_folder(folder.path());
    open(&index);
    let in_shard = |number: usize, shard: u16| {
        let words = format!("word {}", "filler ".repeat(number % 37));
        let TextChange::Upsert(document) = upsert(&format!("{number:04}"), &words) else {
            unreachable!("an upsert is one");
        };
        TextChange::Upsert(TextDocument {
            shard: ShardId(shard),
            ..document
        })
    };
    // One segment of shard 0, one of shard 1, and one of both, from which some are deleted.
    for (range, shards) in [(0..300, [0, 0]), (300..600, [1, 1]), (600..900, [0, 1])] {
        index.apply(range.map(|n| in_shard(n, shards[n % 2])).collect());
        commit(&index, "mark");
    }
    index.apply(
        (0..900)
            .step_by(7)
            .map(|n| TextChange::Delete(key(&format!("{n:04}"))))
            .collect(),
    );
    commit(&index, "mark");
    let found = |shards: &[u16], k: usize| {
        let query = TextQuery {
            shards: shards.iter().copied().map(ShardId).collect(),
            k,
            ..all_of("word")
        };
        search(&index, query).expect("finds")
    };
    let all = found(&[0, 1], 900);
    assert_eq!(all.len(), 900 - 129);
    let is_in = |hit: &TextHit, shard: usize| {
        let number: usize = hit.key.key.to_text().parse().expect("a number");
        (number < 300 && shard == 0)
            || (number >= 600 && number % 2 == shard)
            || ((300..600).contains(&number) && shard == 1)
    };
    let scores = |hits: &[TextHit]| hits.iter().map(|hit| hit.score).collect::<Vec<f32>>();
    for k in [1, 10, 100] {
        assert_eq!(scores(&found(&[0, 1], k)), scores(&all[..k]), "{k}");
        for shard in [0, 1] {
            let of_shard: Vec<TextHit> = all
                .iter()
                .filter(|hit| is_in(hit, shard))
                .take(k)
                .cloned()
                .collect();
            let hits = found(&[u16::try_from(shard).expect("small")], k);
            assert!(hits.iter().all(|hit| is_in(hit, shard)), "{hits:?}");
            assert_eq!(scores(&hits), scores(&of_shard), "{k} of {shard}");
        }
    }
}
