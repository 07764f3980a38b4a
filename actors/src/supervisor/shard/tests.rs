//! One replica under its supervisor, with an index partition beside it, in virtual time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use engram_core::index::vectors::{ExactBuilder, SegmentLimits};
use engram_core::protocol::register::proposer::Operation;
use engram_core::storage::{Keyspace, RangePage, WriteBatch, WriteOp};
use engram_core::types::{
    Blob, Change, ClusterConfig, Condition, Epoch, Key, LogicalTime, Lsn, Member, Millis,
    Namespace, NamespaceId, NamespaceOptions, RecordKey, RequestId, SessionId, Write, WriteId,
};
use engram_core::wire::{Frame, ReturnAddress};
use tokio::time::Instant;

use super::*;
use crate::background::BackgroundThread;
use crate::buggify::Buggify;
use crate::directory::ShardReport;
use crate::embedder::EmbedderCatalog;
use crate::env::{AppendDone, Clock, Entropy, ReadDone, ReadOutcome, ReadQuery, Store, Transport};
use crate::index_partition::{
    IndexPartitionActor, MemoryTextIndex, NodeIndex, NodeIndexArguments, SegmentOptions, TextIndex,
};

const SHARD: ShardId = ShardId(0);
const ME: MemberId = MemberId(1);

struct VirtualClock(Instant);

impl Clock for VirtualClock {
    fn now(&self) -> Millis {
        let passed = Instant::now().duration_since(self.0).as_millis();
        Millis(1_000_000 + u64::try_from(passed).expect("short tests"))
    }
}

/// Durable at once.
#[derive(Default)]
struct Disk(Mutex<BTreeMap<(Keyspace, Bytes), Bytes>>);

impl Store for Disk {
    fn append(&self, batch: WriteBatch, done: AppendDone) {
        let mut disk = self.0.lock().expect("not poisoned");
        for op in batch.ops {
            match op {
                WriteOp::Put {
                    keyspace,
                    key,
                    value,
                } => disk.insert((keyspace, key), value),
                WriteOp::Remove { keyspace, key } => disk.remove(&(keyspace, key)),
            };
        }
        drop(disk);
        done(Ok(Lsn(1)));
    }

    fn read(&self, query: ReadQuery, done: ReadDone) {
        let disk = self.0.lock().expect("not poisoned");
        let found = match query {
            ReadQuery::Get { keyspace, key } => {
                ReadOutcome::Value(disk.get(&(keyspace, key)).cloned())
            }
            ReadQuery::Range(range) => {
                let all = disk.range((range.keyspace, range.from)..(range.keyspace, range.to));
                ReadOutcome::Page(RangePage {
                    entries: all.map(|((_, k), v)| (k.clone(), v.clone())).collect(),
                    more: false,
                })
            }
        };
        drop(disk);
        done(Ok(found));
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

/// Nobody else is there, and clients do not listen.
struct Silence;

impl Transport for Silence {
    fn send(&self, _to: MemberId, _frame: &Frame) {}
    fn broadcast(&self, _to: &[MemberId], _frame: &Frame) {}
    fn respond(&self, _to: SessionId, _frame: &Frame) {}
}

struct Seven;

impl Entropy for Seven {
    fn next_u64(&self) -> u64 {
        7
    }
}

fn config(me: &Member) -> ClusterConfig {
    let shard = ShardConfig {
        epoch: Epoch(1),
        members: vec![ME],
    };
    ClusterConfig {
        version: 1,
        cluster: "c".into(),
        cluster_id: 1,
        members: vec![me.clone()],
        shards: vec![shard.clone()],
        system: shard,
        namespaces: vec![Namespace {
            id: NamespaceId(1),
            name: "docs".into(),
            // Its model is not there: that must not hold up purges.
            options: NamespaceOptions::default(),
        }],
    }
}

struct Node {
    directory: Arc<Directory>,
    index: Arc<NodeIndex>,
    env: Env,
    writes: u64,
}

impl Node {
    /// A node with one shard, whose index partition has no actor yet.
    async fn start() -> Node {
        let me = Member {
            id: ME,
            name: "a".into(),
            address: "a:1".into(),
            zone: None,
        };
        let config = config(&me);
        let directory = Arc::new(Directory::new(me, 1, Millis(0)));
        directory.set_config(Arc::new(config.clone()));
        let env = Env {
            store: Arc::new(Disk::default()),
            transport: Arc::new(Silence),
            clock: Arc::new(VirtualClock(Instant::now())),
            entropy: Arc::new(Seven),
            buggify: Buggify::default(),
            background: Arc::new(BackgroundThread::start().expect("a thread")),
        };
        let text: Arc<dyn TextIndex> = Arc::new(MemoryTextIndex::default());
        let arguments = NodeIndexArguments {
            texts: vec![text],
            embedders: EmbedderCatalog::default(),
            segments: SegmentOptions {
                builder: Arc::new(ExactBuilder),
                limits: SegmentLimits::default(),
                vector_bytes_max: usize::MAX,
            },
        };
        let index = Arc::new(NodeIndex::new(arguments, directory.clone(), env.clone()));
        directory.set_index(index.clone());
        index.host(SHARD);
        let arguments = ShardSupervisorArguments {
            shard: SHARD,
            config: config.shards[0].clone(),
            directory: directory.clone(),
            env: env.clone(),
            cache_bytes: 1 << 20,
            purge_after_ms: 1_000,
            planted: Planted::default(),
        };
        let spawned = Actor::spawn(None, ShardSupervisor, arguments).await;
        spawned.expect("starts");
        Node {
            directory,
            index,
            env,
            writes: 0,
        }
    }

    async fn start_index(&self) {
        let arguments = self.index.partition_arguments(0).expect("one partition");
        let spawned = Actor::spawn(None, IndexPartitionActor, arguments).await;
        spawned.expect("starts");
    }

    fn write(&mut self, name: &str, change: Change) {
        self.writes += 1;
        let now = self.env.clock.now();
        let write = Write {
            change,
            condition: Condition::Any,
            id: WriteId {
                client: 1,
                sequence: self.writes,
            },
            since: LogicalTime::from_millis(now),
        };
        let key = RecordKey {
            namespace: NamespaceId(1),
            key: Key::new(name).expect("short"),
        };
        let local = self.directory.shard(SHARD).expect("it runs");
        let asked = local.replicator.cast(ReplicatorMessage::Ask {
            to: ReturnAddress {
                via: ME,
                session: SessionId(5),
                request: RequestId(self.writes),
            },
            deadline: now.plus(1_000),
            operation: Operation::Put { key, write },
        });
        asked.expect("it runs");
    }

    async fn put_and_delete(&mut self, name: &str) {
        let value = Blob::from("some text");
        self.write(
            name,
            Change::Put {
                value,
                tags: Vec::new(),
                expires_at: None,
            },
        );
        pass(100).await;
        self.write(name, Change::Delete);
        pass(100).await;
    }

    fn report(&self) -> ShardReport {
        let mut reports = self.directory.shard_reports();
        reports.pop().expect("one shard").1
    }
}

/// Lets virtual time pass.
async fn pass(milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_is_purged_when_the_index_knows_of_it_in_every_life() {
    let mut node = Node::start().await;
    pass(1_000).await;
    node.put_and_delete("a").await;
    pass(20_000).await;
    let report = node.report();
    assert_eq!(report.purged, 0, "the index has not even begun");
    assert!(report.unindexed > 0);
    node.start_index().await;
    pass(20_000).await;
    let report = node.report();
    assert_eq!((report.purged, report.unindexed), (1, 0));

    // The index has nothing more to say: the next life must hear what was said before.
    node.put_and_delete("b").await;
    pass(700).await;
    let local = node.directory.shard(SHARD).expect("it runs");
    local.shard.kill();
    pass(20_000).await;
    let report = node.report();
    assert_eq!(report.status.restarts, 1);
    assert_eq!((report.purged, report.unindexed), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_index_that_stands_still_is_reported_and_no_longer_waited_for() {
    let mut node = Node::start().await;
    pass(1_000).await;
    node.put_and_delete("a").await;
    pass(engram_core::limits::INDEX_STALLED_MS - 5_000).await;
    let report = node.report();
    assert!(!report.index_stalled);
    assert_eq!(report.purged, 0);
    pass(20_000).await;
    let report = node.report();
    assert!(report.index_stalled);
    assert_eq!(report.purged, 1);
}
