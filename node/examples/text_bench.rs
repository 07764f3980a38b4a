//! Measures the full-text index alone: how fast texts are indexed and searches answered, without
//! network, replicas or the reading of hits.
//!
//! `cargo run --release -p engram-node --example text_bench [DOCUMENTS] [SECONDS]`

use std::sync::mpsc;
use std::time::{Duration, Instant};

use engram_actors::index_partition::TextIndex;
use engram_core::index::{TextChange, TextDocument, TextQuery, WordsMode};
use engram_core::types::{Ballot, Blob, Key, NamespaceId, RecordKey, ShardId, TextLanguage};
use engram_node::text_index::TantivyTextIndex;

/// Different words of the texts; the first are the most frequent (Zipf).
const WORDS: u64 = 20_000;
/// Words of one text.
const TEXT_WORDS: u64 = 40;
/// As many candidates as a search for ten hits asks for.
const K: usize = 36;
const SHARDS: u16 = 16;

/// A small generator of the family xorshift, always with the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A word; low numbers are drawn more often.
    fn word(&mut self) -> String {
        let spread = 1 + self.below(WORDS);
        format!("word{}", self.below(spread))
    }

    fn text(&mut self) -> String {
        let words: Vec<String> = (0..TEXT_WORDS).map(|_| self.word()).collect();
        words.join(" ")
    }
}

fn wait<T: Send + 'static>(call: impl FnOnce(Box<dyn FnOnce(T) + Send>)) -> T {
    let (sender, answer) = mpsc::channel();
    call(Box::new(move |result| drop(sender.send(result))));
    answer.recv().expect("the callback is called")
}

fn document(number: u64, random: &mut Random) -> TextChange {
    let key = Key::new(format!("key:{number}")).expect("not empty");
    TextChange::Upsert(TextDocument {
        key: RecordKey {
            namespace: NamespaceId(1),
            key,
        },
        shard: ShardId(u16::try_from(number % u64::from(SHARDS)).expect("small")),
        vtag: Ballot::ZERO,
        language: TextLanguage::English,
        words: random.text(),
        tags: Vec::new(),
    })
}

fn fill(index: &TantivyTextIndex, documents: u64, a_commit: u64) {
    let mut random = Random(7);
    let (began, mut commits) = (Instant::now(), Vec::new());
    for first in (0..documents).step_by(usize::try_from(a_commit).expect("small")) {
        let last = (first + a_commit).min(documents);
        let changes = (first..last).map(|number| document(number, &mut random));
        index.apply(changes.collect());
        let committing = Instant::now();
        wait(|done| index.commit(Blob::from("mark"), done)).expect("commits");
        commits.push(committing.elapsed());
    }
    commits.sort_unstable();
    let rate = documents as f64 / began.elapsed().as_secs_f64();
    let median = commits[commits.len() / 2];
    println!(
        "{rate:8.0} texts/s, {a_commit} a commit, which takes {median:.1?} (median, with the indexing)"
    );
}

fn search(
    index: &TantivyTextIndex,
    what: &str,
    mode: WordsMode,
    shards: u16,
    queries: &[String],
    time: Duration,
) {
    let query = |words: &String| TextQuery {
        namespace: NamespaceId(1),
        shards: (0..shards).map(ShardId).collect(),
        language: TextLanguage::English,
        words: words.clone(),
        mode,
        k: K,
        prefix: None,
        tags: Vec::new(),
    };
    let (began, mut times, mut hits) = (Instant::now(), Vec::new(), 0);
    for words in queries.iter().cycle() {
        let asked = Instant::now();
        let found = wait(|done| index.search(query(words), done)).expect("finds");
        times.push(asked.elapsed());
        hits += found.len();
        if began.elapsed() >= time {
            break;
        }
    }
    let rate = times.len() as f64 / began.elapsed().as_secs_f64();
    times.sort_unstable();
    let (median, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
    let hits = hits as f64 / times.len() as f64;
    println!(
        "{rate:8.0} searches/s, p50 {median:.1?}, p99 {late:.1?}, {hits:.1} hits: {what}, {shards} of {SHARDS} shards"
    );
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| {
        let given = arguments.next();
        given.map_or(default, |text| text.parse().expect("a number"))
    };
    let (documents, seconds) = (number(20_000), number(3));
    for a_commit in [200, 1_000, 10_000] {
        let folder = tempfile::tempdir().expect("a folder");
        let index = TantivyTextIndex::new(folder.path(), "bench").expect("threads");
        wait(|done| index.open(done)).expect("opens");
        fill(&index, documents, a_commit);
        if a_commit != 1_000 {
            continue;
        }
        let mut random = Random(99);
        let two: Vec<String> = (0..500)
            .map(|_| format!("word{} word{}", random.below(200), random.below(2_000)))
            .collect();
        let four: Vec<String> = (0..500)
            .map(|_| (0..4).map(|_| random.word()).collect::<Vec<_>>().join(" "))
            .collect();
        let time = Duration::from_secs(seconds);
        for shards in [SHARDS, SHARDS / 2] {
            search(
                &index,
                "both of two words",
                WordsMode::All,
                shards,
                &two,
                time,
            );
            search(
                &index,
                "any of four words",
                WordsMode::Any,
                shards,
                &four,
                time,
            );
        }
    }
}
