//! Two members' partitions with the same shards, in virtual time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

use bytes::Bytes;
use engram_core::index::partition::PartitionStats;
use engram_core::index::vectors::{ExactBuilder, SegmentLimits};
use engram_core::index::{
    Embedding, FeedEntry, FeedPage, FeedRequest, HashEmbedder, IndexOptions, ModelId,
    NamespaceIndexing, PartitionHits, PartitionQuery, QueryKind, Source, TextChange, TextQuery,
    VectorShip, VectorWant, WordsMode,
};
use engram_core::limits::INDEX_QUERIES_MAX;
use engram_core::storage::{RangePage, WriteOp};
use engram_core::types::{Ballot, Key, Lseq, Lsn, NamespaceId, RecordKey};
use tokio::time::Instant;

use super::super::{
    FeedPageDone, FreshPositionDone, MemoryTextIndex, TextSearchDone, TextStatusDone,
};
use super::*;
use crate::embedder::{EmbedDone, Embedder, HashModel, InlineEmbedder};
use crate::env::{AppendDone, BackgroundFull, Job, ReadDone};

const SHARD: ShardId = ShardId(4);
const SPACE: NamespaceId = NamespaceId(1);

struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Millis {
        let passed = Instant::now().duration_since(self.0).as_millis();
        Millis(1_000_000 + u64::try_from(passed).expect("short tests"))
    }
}

#[derive(Default)]
struct Disk(Mutex<BTreeMap<Bytes, Bytes>>);

impl Store for Disk {
    fn append(&self, batch: WriteBatch, done: AppendDone) {
        let mut disk = self.0.lock().expect("not poisoned");
        for op in batch.ops {
            match op {
                WriteOp::Put { key, value, .. } => disk.insert(key, value),
                WriteOp::Remove { key, .. } => disk.remove(&key),
            };
        }
        drop(disk);
        done(Ok(Lsn(1)));
    }

    fn read(&self, query: ReadQuery, done: ReadDone) {
        let ReadQuery::Range(range) = query else {
            panic!("only ranges are read")
        };
        let disk = self.0.lock().expect("not poisoned");
        let entries = disk
            .range(range.from..range.to)
            .map(|(k, v)| (k.clone(), v.clone()));
        let page = RangePage {
            entries: entries.collect(),
            more: false,
        };
        drop(disk);
        done(Ok(ReadOutcome::Page(page)));
    }

    fn durable_lsn(&self) -> Lsn {
        Lsn(1)
    }

    fn admits_writes(&self) -> bool {
        true
    }

    fn free_bytes(&self) -> Option<u64> {
        None
    }
}

/// Segments are merged early, and at once.
const LIMITS: SegmentLimits = SegmentLimits {
    seal_rows: 2,
    flat_rows: 4,
    settled_rows: 2,
    graph_rows_max: 16,
    settle_ms: 500,
};

struct Inline;

impl Background for Inline {
    fn run(&self, job: Job) -> Result<(), BackgroundFull> {
        job();
        Ok(())
    }
}

/// What both members have learned.
#[derive(Default)]
struct Log(Mutex<Vec<FeedEntry>>);

impl ShardFeed for Log {
    fn request(&self, request: FeedRequest, done: FeedPageDone) {
        let log = self.0.lock().expect("not poisoned");
        let after = log.iter().filter(|entry| entry.lseq > request.after);
        let entries: Vec<FeedEntry> = after.take(request.limit).cloned().collect();
        drop(log);
        let upto = entries.last().map_or(request.after, |entry| entry.lseq);
        done(FeedPage {
            shard: request.shard,
            entries,
            upto,
        });
    }

    fn freshen(&self, _: ShardId, _: Lseq, done: FreshPositionDone) {
        let log = self.0.lock().expect("not poisoned");
        let last = log.last().map_or(Lseq(0), |entry| entry.lseq);
        drop(log);
        done(Some(last));
    }
}

/// Gives vectors to the other member, and asks it for them.
#[derive(Default)]
struct Wire(Mutex<Option<IndexPartitionHandle>>);

impl PartitionPeers for Wire {
    fn ship_to(&self, _to: MemberId, ship: VectorShip) {
        self.ship(ship);
    }

    fn ask(&self, _turn: u32, want: VectorWant) {
        if let Some(other) = &*self.0.lock().expect("not poisoned") {
            // There are two members; the answer goes to the only other one.
            other.wanted(MemberId(0), want);
        }
    }

    fn ship(&self, ship: VectorShip) {
        if let Some(other) = &*self.0.lock().expect("not poisoned") {
            other.shipped(ship);
        }
    }
}

struct CountingEmbedder(InlineEmbedder, AtomicUsize);

impl Embedder for CountingEmbedder {
    fn id(&self) -> ModelId {
        self.0.id()
    }

    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn embed(&self, text: &str, priority: EmbedPriority, done: EmbedDone) {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.embed(text, priority, done);
    }
}

/// A text index whose next commit fails if told to.
#[derive(Default)]
struct Flaky(MemoryTextIndex, AtomicBool);

impl TextIndex for Flaky {
    fn open(&self, done: TextStatusDone) {
        self.0.open(done);
    }

    fn apply(&self, changes: Vec<TextChange>) {
        self.0.apply(changes);
    }

    fn clear(&self) {
        self.0.clear();
    }

    fn commit(&self, watermark: Blob, done: TextStatusDone) {
        if self.1.swap(false, Ordering::SeqCst) {
            done(Err(TextIndexError::Failed("told to".into())));
        } else {
            self.0.commit(watermark, done);
        }
    }

    fn search(&self, query: TextQuery, done: TextSearchDone) {
        self.0.search(query, done);
    }
}

struct Member {
    arguments: IndexPartitionArguments,
    wire: Arc<Wire>,
    embedder: Arc<CountingEmbedder>,
    text: Arc<Flaky>,
    log: Arc<Log>,
    actor: ActorRef<IndexPartitionMessage>,
}

impl Member {
    async fn start(me: u64, log: &Arc<Log>) -> Member {
        let wire = Arc::new(Wire::default());
        let inline = InlineEmbedder::new(Box::new(HashModel));
        let embedder = Arc::new(CountingEmbedder(inline, AtomicUsize::new(0)));
        let text = Arc::new(Flaky::default());
        let handle = IndexPartitionHandle::new();
        handle.host(SHARD);
        let shared: Arc<dyn Embedder> = embedder.clone();
        let arguments = IndexPartitionArguments {
            number: 0,
            me: MemberId(me),
            handle,
            store: Arc::new(Disk::default()),
            clock: Arc::new(VirtualClock(Instant::now())),
            background: Arc::new(Inline),
            segments: SegmentOptions {
                builder: Arc::new(ExactBuilder),
                limits: LIMITS,
                vector_bytes_max: usize::MAX,
            },
            text: text.clone(),
            feed: log.clone(),
            peers: wire.clone(),
            embedders: Embedders::new([shared]),
            lookup: Arc::new(|_: NamespaceId| {
                NamespaceIndexing::Indexed(IndexOptions {
                    source: Source::Value,
                    language: engram_core::types::TextLanguage::English,
                    text: true,
                    semantic: true,
                    model: HashEmbedder::id(),
                })
            }),
        };
        let actor = spawn(&arguments).await;
        Member {
            arguments,
            wire,
            embedder,
            text,
            log: log.clone(),
            actor,
        }
    }

    fn handle(&self) -> &IndexPartitionHandle {
        &self.arguments.handle
    }

    fn embedded(&self) -> usize {
        self.embedder.1.load(Ordering::SeqCst)
    }

    async fn stats(&self) -> PartitionStats {
        let (sender, answer) = tokio::sync::oneshot::channel();
        self.handle().stats(Box::new(move |report| {
            sender.send(report.stats).expect("the test waits")
        }));
        answer.await.expect("an actor runs")
    }

    async fn ask(&self, kind: QueryKind) -> Result<PartitionHits, PartitionError> {
        let (sender, answer) = tokio::sync::oneshot::channel();
        let query = query(kind);
        self.handle()
            .query(query, Box::new(move |result| drop(sender.send(result))));
        answer.await.expect("always answered")
    }

    async fn found(&self, kind: QueryKind) -> BTreeSet<String> {
        let hits = self
            .ask(kind)
            .await
            .map(|hits| hits.hits)
            .unwrap_or_default();
        hits.iter()
            .map(|hit| hit.key.to_text().into_owned())
            .collect()
    }

    /// Waits, in virtual time, until a search finds these keys and no others.
    async fn finds(&self, kind: QueryKind, names: &[&str]) {
        let names: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let end = Instant::now() + Duration::from_secs(600);
        while self.found(kind.clone()).await != names {
            assert!(
                Instant::now() < end,
                "{names:?} should be found: {:?}",
                self.found(kind).await
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn spawn(arguments: &IndexPartitionArguments) -> ActorRef<IndexPartitionMessage> {
    let spawned = Actor::spawn(None, IndexPartitionActor, arguments.clone()).await;
    spawned.expect("starts").0
}

fn query(kind: QueryKind) -> PartitionQuery {
    PartitionQuery {
        namespace: SPACE,
        shards: vec![SHARD],
        kind,
        k: 10,
        prefix: None,
        tags: Vec::new(),
        fresh_ms: None,
    }
}

fn words(words: &str) -> QueryKind {
    QueryKind::Text {
        words: words.to_owned(),
        mode: WordsMode::All,
    }
}

fn meaning(text: &str) -> QueryKind {
    let vector: Embedding = HashEmbedder::embed(text).expect("has words");
    QueryKind::Semantic {
        vector,
        model: HashEmbedder::id(),
        threshold: Some(0.1),
    }
}

/// Both members learn a write.
fn learn(members: &[&Member], by: &Member, name: &str, value: Option<&str>) {
    let mut log = by.log.0.lock().expect("not poisoned");
    let n = log.last().map_or(1, |entry| entry.lseq.0 + 1);
    let key = RecordKey {
        namespace: SPACE,
        key: Key::new(name).expect("not empty"),
    };
    log.retain(|entry| entry.key != key);
    log.push(FeedEntry {
        lseq: Lseq(n),
        key,
        vtag: Ballot {
            n,
            member: by.arguments.me,
            ..Ballot::ZERO
        },
        value: value.map(Blob::from),
        tags: Vec::new(),
        expires_at: None,
    });
    drop(log);
    for member in members {
        member.handle().advance(SHARD, Lseq(n));
    }
}

async fn pair() -> (Member, Member) {
    let log = Arc::new(Log::default());
    let (one, two) = (Member::start(1, &log).await, Member::start(2, &log).await);
    *one.wire.0.lock().expect("not poisoned") = Some(two.handle().clone());
    *two.wire.0.lock().expect("not poisoned") = Some(one.handle().clone());
    (one, two)
}

#[tokio::test(start_paused = true)]
async fn a_write_is_embedded_once_and_found_on_every_replica() {
    let (one, two) = pair().await;
    learn(&[&one, &two], &one, "tea", Some("green tea leaves"));
    learn(&[&one, &two], &two, "paint", Some("green paint"));
    for member in [&one, &two] {
        member.finds(meaning("tea leaves"), &["tea"]).await;
        member.finds(meaning("green"), &["tea", "paint"]).await;
        member.finds(words("green paint"), &["paint"]).await;
        assert_eq!(member.embedded(), 1);
        let stats = member.stats().await;
        assert_eq!((stats.documents, stats.vectors, stats.received), (2, 2, 1));
    }
    learn(&[&one, &two], &one, "paint", None);
    two.finds(words("paint"), &[]).await;
    two.finds(meaning("paint"), &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_vector_is_computed_by_whoever_misses_it() {
    let (one, two) = pair().await;
    *one.wire.0.lock().expect("not poisoned") = None;
    learn(&[&one, &two], &one, "tea", Some("green tea"));
    two.finds(meaning("tea"), &["tea"]).await;
    assert_eq!((one.embedded(), two.embedded()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_next_actor_goes_on_where_the_last_one_was() {
    let (mut one, two) = pair().await;
    learn(&[&one, &two], &one, "tea", Some("green tea"));
    one.finds(meaning("tea"), &["tea"]).await;
    one.finds(words("tea"), &["tea"]).await;
    one.actor.kill_and_wait(None).await.expect("dies");
    assert_eq!(one.ask(words("tea")).await, Err(PartitionError::NotReady));
    learn(&[&one], &one, "paint", Some("green paint"));
    one.actor = spawn(&one.arguments).await;
    one.finds(words("green"), &["tea", "paint"]).await;
    one.finds(meaning("green"), &["tea", "paint"]).await;
    assert_eq!(one.embedded(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_text_index_is_opened_again_without_the_supervisor() {
    let (one, two) = pair().await;
    one.text.1.store(true, Ordering::SeqCst);
    learn(&[&one, &two], &one, "tea", Some("green tea"));
    one.finds(words("tea"), &["tea"]).await;
    assert!(!one.text.1.load(Ordering::SeqCst), "a commit has failed");
    one.finds(meaning("tea"), &["tea"]).await;
    assert_eq!(one.embedded(), 1, "vectors are read from disk");
}

#[tokio::test(start_paused = true)]
async fn searches_beyond_the_bound_are_refused_at_once() {
    let (one, _two) = pair().await;
    let (sender, answers) = mpsc::channel();
    // The actor gets no turn before the test waits.
    for _ in 0..=INDEX_QUERIES_MAX {
        let sender = sender.clone();
        let done = move |result: Result<PartitionHits, _>| drop(sender.send(result.err()));
        one.handle().query(query(words("tea")), Box::new(done));
    }
    assert_eq!(answers.try_recv(), Ok(Some(PartitionError::Overloaded)));
    assert!(answers.try_recv().is_err());
    one.actor.kill_and_wait(None).await.expect("dies");
    let rest: Vec<_> = answers.try_iter().collect();
    assert_eq!(rest.len(), INDEX_QUERIES_MAX, "every search is answered");
}

#[tokio::test(start_paused = true)]
async fn what_was_deleted_durably_is_told_and_remembered_over_lives() {
    let (one, two) = pair().await;
    learn(&[&one, &two], &one, "tea", Some("green tea"));
    one.finds(words("tea"), &["tea"]).await;
    learn(&[&one, &two], &one, "tea", None);
    one.text.1.store(true, Ordering::SeqCst);
    let end = Instant::now() + Duration::from_secs(600);
    while one.handle().indexed(SHARD) < Lseq(2) {
        assert!(Instant::now() < end, "it should be told");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!one.text.1.load(Ordering::SeqCst), "a commit has failed");
    assert_eq!(one.found(words("tea")).await, BTreeSet::new());
    one.actor.kill_and_wait(None).await.expect("dies");
    let _next = spawn(&one.arguments).await;
    assert_eq!(one.handle().indexed(SHARD), Lseq(2), "it still holds");
    assert_eq!(one.handle().indexed(ShardId(0)), Lseq(0), "of another");
}
