//! Everything around an index partition, as plain data that tests look into.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use super::seams::{Lookup, Text};
use crate::index::partition::*;
use crate::index::vectors::{BuildError, ExactBuilder, SegmentLimits};
use crate::index::*;
use crate::storage::{RangePage, RangeQuery, WriteOp};
use crate::types::{Ballot, Blob, Key, Lseq, MemberId, Millis, NamespaceId, RecordKey, ShardId};

pub(super) const ME: MemberId = MemberId(1);
pub(super) const OTHER: MemberId = MemberId(2);
/// Segments are merged early.
fn config(me: MemberId, vector_bytes_max: usize) -> PartitionConfig {
    PartitionConfig {
        me,
        segments: SegmentLimits {
            seal_rows: 2,
            flat_rows: 4,
            settled_rows: 2,
            graph_rows_max: 16,
            settle_ms: 500,
        },
        vector_bytes_max,
    }
}

/// Indexed by words and meaning.
pub(super) const DOCS: NamespaceId = NamespaceId(1);
/// Not indexed.
pub(super) const PLAIN: NamespaceId = NamespaceId(2);
/// Known only when the test says so.
pub(super) const LATER: NamespaceId = NamespaceId(3);

pub(super) fn key(namespace: NamespaceId, name: &str) -> RecordKey {
    RecordKey {
        namespace,
        key: Key::new(name).expect("not empty"),
    }
}

pub(super) fn ballot(n: u64, member: MemberId) -> Ballot {
    Ballot {
        n,
        member,
        ..Ballot::ZERO
    }
}

pub(super) fn options() -> IndexOptions {
    IndexOptions {
        source: Source::Value,
        language: crate::types::TextLanguage::English,
        text: true,
        semantic: true,
        model: HashEmbedder::id(),
    }
}

pub(super) fn vector(text: &str) -> Embedding {
    HashEmbedder::embed(text).expect("has words")
}

pub(super) struct World {
    pub(super) now: Millis,
    me: MemberId,
    pub(super) machine: IndexPartition,
    pub(super) hosted: BTreeSet<ShardId>,
    pub(super) log: BTreeMap<ShardId, BTreeMap<Lseq, FeedEntry>>,
    lseq: u64,
    pub(super) disk: BTreeMap<Bytes, Bytes>,
    pub(super) text: Text,
    pub(super) later_is_known: bool,
    /// Texts that contain "absent" find no model.
    pub(super) model_is_absent: bool,
    /// Whether the node has the model at all.
    pub(super) model_is_provided: bool,
    /// What cannot be read is damaged, not only out of reach.
    pub(super) disk_is_damaged: bool,
    /// Memory for vectors, when the machine is made.
    pub(super) vector_bytes_max: usize,
    /// Effects that were not carried out yet.
    pub(super) todo: Vec<Effect>,
    /// What left the partition.
    pub(super) ships: Vec<VectorShip>,
    pub(super) answers: Vec<(MemberId, VectorShip)>,
    pub(super) wants: Vec<(u32, VectorWant)>,
    pub(super) embedded: Vec<String>,
    pub(super) asked: Vec<FeedRequest>,
    pub(super) replies: Vec<Result<PartitionHits, PartitionError>>,
    pub(super) timer: Option<Millis>,
    /// What the shards were told of deletions, at most.
    pub(super) indexed: BTreeMap<ShardId, Lseq>,
    queries: u64,
}

impl World {
    pub(super) fn new() -> World {
        World {
            now: Millis(1_000),
            me: ME,
            machine: IndexPartition::new(config(ME, usize::MAX)),
            hosted: [ShardId(0), ShardId(4)].into(),
            log: BTreeMap::new(),
            lseq: 0,
            disk: BTreeMap::new(),
            text: Text::default(),
            later_is_known: false,
            model_is_absent: true,
            model_is_provided: true,
            disk_is_damaged: false,
            vector_bytes_max: usize::MAX,
            todo: Vec::new(),
            ships: Vec::new(),
            answers: Vec::new(),
            wants: Vec::new(),
            embedded: Vec::new(),
            asked: Vec::new(),
            replies: Vec::new(),
            timer: None,
            indexed: BTreeMap::new(),
            queries: 0,
        }
    }

    /// A world whose partition is up and has nothing to do.
    pub(super) fn started() -> World {
        let mut world = World::new();
        world.start();
        world.work();
        world
    }

    pub(super) fn start(&mut self) {
        self.machine = IndexPartition::new(config(self.me, self.vector_bytes_max));
        self.todo.clear();
        self.timer = None;
        self.text.lose_uncommitted();
        for shard in self.hosted.clone() {
            self.step(Event::Host(shard));
        }
        let watermark = self.text.watermark.clone();
        let documents = u64::try_from(self.text.committed.len()).expect("small");
        self.step(Event::TextOpened {
            watermark,
            documents,
        });
    }

    /// Begins anew as another member, on an empty disk, with the same change logs.
    pub(super) fn become_other(&mut self) {
        self.disk.clear();
        self.text = Text::default();
        self.embedded.clear();
        self.ships.clear();
        self.me = OTHER;
        self.start();
        self.work();
        for (shard, log) in self.log.clone() {
            let learned = log.keys().next_back().copied().unwrap_or_default();
            self.step(Event::Advance { shard, learned });
        }
    }

    pub(super) fn step(&mut self, event: Event) {
        let lookup = Lookup {
            later_is_known: self.later_is_known,
            model_is_provided: self.model_is_provided,
        };
        let mut out = Vec::new();
        self.machine.step(self.now, event, &lookup, &mut out);
        for effect in out {
            match effect {
                // These take place in order and at once, as in the text index.
                Effect::ApplyText(changes) => {
                    self.text.apply(changes);
                }
                Effect::ClearText => self.text.clear(),
                Effect::Ship(ship) => self.ships.push(ship),
                Effect::ShipTo(to, ship) => self.answers.push((to, ship)),
                Effect::AskPeer { turn, want } => self.wants.push((turn, want)),
                Effect::Reply { result, .. } => self.replies.push(result),
                Effect::Indexed { shard, upto } => {
                    let known = self.indexed.entry(shard).or_default();
                    *known = upto.max(*known);
                }
                Effect::SetTimer(at) => {
                    self.timer = Some(self.timer.map_or(at, |set| set.min(at)));
                }
                other => self.todo.push(other),
            }
        }
    }

    fn write(&mut self, ops: Vec<WriteOp>) {
        for op in ops {
            match op {
                WriteOp::Put { key, value, .. } => self.disk.insert(key, value),
                WriteOp::Remove { key, .. } => self.disk.remove(&key),
            };
        }
    }

    /// A shard learns a value (`None`: a delete).
    pub(super) fn learn(
        &mut self,
        shard: ShardId,
        key: &RecordKey,
        vtag: Ballot,
        value: Option<&str>,
    ) {
        self.lseq += 1;
        let log = self.log.entry(shard).or_default();
        log.retain(|_, entry| entry.key != *key);
        let entry = FeedEntry {
            lseq: Lseq(self.lseq),
            key: key.clone(),
            vtag,
            value: value.map(Blob::from),
            tags: value
                .filter(|value| value.contains("tagged"))
                .map(str::to_owned)
                .into_iter()
                .collect(),
            expires_at: None,
        };
        log.insert(entry.lseq, entry);
        self.step(Event::Advance {
            shard,
            learned: Lseq(self.lseq),
        });
    }

    /// A shard forgets a deleted key, if the index knows of the deletion. Tells whether it did.
    pub(super) fn purge(&mut self, shard: ShardId, name: &[u8]) -> bool {
        let upto = self.indexed.get(&shard).copied().unwrap_or_default();
        let log = self.log.entry(shard).or_default();
        let before = log.len();
        log.retain(|lseq, entry| {
            *lseq > upto || entry.value.is_some() || entry.key.key.as_bytes() != name
        });
        log.len() < before
    }

    fn page(&self, request: FeedRequest) -> FeedPage {
        let log = self.log.get(&request.shard);
        let after = log
            .into_iter()
            .flatten()
            .filter(|(lseq, _)| **lseq > request.after);
        let entries: Vec<FeedEntry> = after
            .take(request.limit)
            .map(|(_, entry)| entry.clone())
            .collect();
        let upto = entries.last().map_or(request.after, |entry| entry.lseq);
        FeedPage {
            shard: request.shard,
            entries,
            upto,
        }
    }

    fn range(&self, range: &RangeQuery) -> RangePage {
        let mut found = self.disk.range(range.from.clone()..range.to.clone());
        // Small pages, so that every test pages.
        let entries: Vec<(Bytes, Bytes)> = found
            .by_ref()
            .take(2)
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        RangePage {
            entries,
            more: found.next().is_some(),
        }
    }

    /// Takes one effect out of those to be carried out. Writes take place in order.
    pub(super) fn take(&mut self, mut place: usize) -> Effect {
        let is_store = |effect: &Effect| matches!(effect, Effect::Store { .. });
        if is_store(&self.todo[place]) {
            place = self
                .todo
                .iter()
                .position(is_store)
                .expect("this one at least");
        }
        self.todo.remove(place)
    }

    /// Carries out one effect. `fault`: whether it fails, if it can.
    pub(super) fn carry_out(&mut self, effect: Effect, fault: bool) {
        let event = match effect {
            Effect::Store { ticket, batch } => {
                if !fault {
                    self.write(batch.ops);
                }
                Event::Stored {
                    ticket,
                    durable: !fault,
                }
            }
            Effect::LoadVectors { ticket, shard, .. } if fault => Event::VectorsUnreadable {
                ticket,
                shard,
                damaged: self.disk_is_damaged,
            },
            Effect::LoadVectors {
                ticket,
                shard,
                range,
            } => Event::VectorsLoaded {
                ticket,
                shard,
                page: self.range(&range),
            },
            Effect::RequestFeed { ticket, request } => {
                self.asked.push(request);
                Event::Page {
                    ticket,
                    page: self.page(request),
                }
            }
            Effect::Embed { ticket, text, .. } => {
                self.embedded.push(text.clone());
                let result = match HashEmbedder::embed(&text) {
                    _ if fault => Err(EmbedFailure::Again("told to".into())),
                    _ if text.contains("absent") && self.model_is_absent => {
                        Err(EmbedFailure::NotHere)
                    }
                    _ if text.contains("refused") => Err(EmbedFailure::Never("refused".into())),
                    Ok(vector) => Ok(Arc::new(vector)),
                    Err(error) => Err(EmbedFailure::Never(error.to_string().into())),
                };
                Event::Embedded { ticket, result }
            }
            Effect::BuildSegment { ticket, order } => {
                let result = if fault {
                    Err(BuildError::Panicked)
                } else {
                    order.carry_out(&ExactBuilder)
                };
                Event::SegmentBuilt { ticket, result }
            }
            Effect::CommitText(watermark) => {
                self.text.commit(watermark);
                let documents = u64::try_from(self.text.committed.len()).expect("small");
                Event::Committed { documents }
            }
            Effect::SearchText { ticket, query } => {
                let hits = self.text.committed.values().filter(|document| {
                    query.shards.contains(&document.shard) && document.words.contains(&query.words)
                });
                let hit = |document: &TextDocument| TextHit {
                    key: document.key.clone(),
                    vtag: document.vtag,
                    score: 1.0,
                };
                Event::TextFound {
                    ticket,
                    result: Ok(hits.take(query.k).map(hit).collect()),
                }
            }
            other => panic!("not to be carried out here: {other:?}"),
        };
        self.step(event);
    }

    /// Carries out everything until nothing is left to do at this time.
    pub(super) fn work(&mut self) {
        while !self.todo.is_empty() {
            let effect = self.todo.remove(0);
            self.carry_out(effect, false);
        }
    }

    /// Lets time pass, timers fire and everything be done.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        let end = self.now.plus(milliseconds);
        self.work();
        while let Some(at) = self.timer.filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.fire();
            self.work();
        }
        self.now = end;
    }

    pub(super) fn fire(&mut self) {
        self.timer = None;
        self.step(Event::Timer);
    }

    pub(super) fn stats(&self) -> PartitionStats {
        self.machine.stats(self.now)
    }

    pub(super) fn ask(&mut self, query: PartitionQuery) -> Result<PartitionHits, PartitionError> {
        self.queries += 1;
        self.step(Event::Query {
            ticket: QueryTicket(self.queries),
            query,
        });
        self.work();
        self.replies.pop().expect("answered")
    }

    pub(super) fn semantic(&self, text: &str) -> PartitionQuery {
        PartitionQuery {
            namespace: DOCS,
            shards: self.hosted.iter().copied().collect(),
            kind: QueryKind::Semantic {
                vector: vector(text),
                model: HashEmbedder::id(),
                threshold: Some(0.01),
            },
            k: 10,
            prefix: None,
            tags: Vec::new(),
            fresh_ms: None,
        }
    }

    /// The names that a search finds, in order.
    pub(super) fn find(&mut self, text: &str) -> Vec<String> {
        let hits = self.ask(self.semantic(text)).expect("answered").hits;
        hits.into_iter()
            .map(|hit| hit.key.to_text().into_owned())
            .collect()
    }

    /// Checks that text index, vectors and disk hold exactly what the shards hold.
    pub(super) fn assert_index_equals_store(&self) {
        let indexed = |namespace| namespace == DOCS || (namespace == LATER && self.later_is_known);
        let mut live = BTreeMap::new();
        for shard in &self.hosted {
            for entry in self.log.get(shard).into_iter().flat_map(BTreeMap::values) {
                if indexed(entry.key.namespace) && entry.value.is_some() {
                    live.insert(entry.key.clone(), (*shard, entry.vtag));
                }
            }
        }
        let text: BTreeMap<_, _> = self
            .text
            .committed
            .values()
            .map(|document| (document.key.clone(), (document.shard, document.vtag)))
            .collect();
        assert_eq!(text, live, "by words");
        let mut stored = BTreeMap::new();
        for shard in &self.hosted {
            let (from, to) = vector_range(*shard);
            for (place, value) in self.disk.range(from..to) {
                if let Some(VectorKey::Vector(key)) = parse_vector_key(*shard, place) {
                    let vector = StoredVector::unseal(place, value).expect("sound");
                    let here = self.machine.spaces.vtag(&key, &HashEmbedder::id());
                    assert_eq!(here, Some(vector.vtag), "memory and disk agree on {key:?}");
                    stored.insert(key, (*shard, vector.vtag));
                }
            }
        }
        assert_eq!(stored, live, "by meaning");
        assert_eq!(self.stats().vectors, live.len());
    }
}
