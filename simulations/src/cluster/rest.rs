//! Before and after the storm: the cluster forms; when all faults are over it must work again,
//! converge, and answer every question alike.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use engram_actors::coordinator::CoordinatorMessage;
use engram_actors::replicator::ReplicatorMessage;
use engram_core::protocol::register::proposer::Proposer;
use engram_core::storage::format::{Record, open};
use engram_core::storage::{Keyspace, keys};
use engram_core::types::{
    Ballot, Blob, Change, Condition, Key, LogicalTime, MemberId, RecordKey, RequestId, ShardId,
    Write, WriteId,
};
use engram_core::wire::{
    ClientReply, ClientRequest, Frame, Get, OpenNamespace, Put, RequestEnvelope, Scan, SearchMode,
};

use super::clients::{NAMESPACE, PROBE};
use super::driver::Driver;
use super::node::Damage;
use super::state::{Answer, Happening, State};
use super::workload::{self, EVERYTHING, WORDS};
use crate::checkers::convergence::{self, AtRest};
use crate::checkers::found::{self, Found};
use crate::checkers::{Property, Violation};

/// The cluster must have formed after so long.
const FORM_US: u64 = 60_000_000;
/// After healing, everything must work again after so long.
const LIVELY_US: u64 = 45_000_000;
/// After that, replicas and indexes have so long to converge.
const REST_US: u64 = 120_000_000;
/// How often a world at rest is looked at.
const LOOK_US: u64 = 1_000_000;
/// How long the world waits for one answer.
const PROBE_US: u64 = 3_000_000;

impl Driver {
    /// Starts all nodes and waits for the cluster.
    pub(super) async fn form(&self) {
        self.world.with(|state| {
            state.begin_links();
            for node in 0..state.nodes.len() {
                let delay_us = state.choices.below(400_000);
                state.after(delay_us, Happening::Restart { node });
            }
        });
        if !self.run(FORM_US, State::all_serve).await {
            return self.stuck("the cluster does not form");
        }
        let open = OpenNamespace {
            name: "simulated".into(),
            options: None,
        };
        let limit_us = self.world.lock().now_us() + FORM_US;
        while self.goes_on(limit_us) {
            let answer = self
                .ask(0, ClientRequest::OpenNamespace(open.clone()))
                .await;
            if matches!(answer, Some(Ok(_))) {
                break;
            }
        }
        if !self.run(limit_us, State::all_know_namespace).await {
            self.stuck("the namespace does not become known");
        }
    }

    pub(super) fn goes_on(&self, limit_us: u64) -> bool {
        let state = self.world.lock();
        state.violations.is_empty() && state.now_us() < limit_us
    }

    /// All faults end, and what is down comes back.
    pub(super) async fn heal(&self) {
        self.world.with(|state| {
            state.begin_phase("heal");
            state.healed = true;
            state.blocked.clear();
            for node in 0..state.nodes.len() {
                let it = state.node_mut(node);
                (it.full_until_us, it.slow_until_us) = (0, 0);
                if !it.up && it.damage != Some(Damage::LostWrites) {
                    state.after(1_000, Happening::Restart { node });
                }
            }
            state.give_up_clients();
        });
        // What is still on its way, and copies of requests, arrive before rest.
        self.pass(10_000_000).await;
    }

    /// Everything works again: each node answers a write and a read of each key.
    pub(super) async fn revive(&self) {
        let limit_us = self.world.lock().now_us() + LIVELY_US;
        if !self.run(limit_us, State::all_serve).await {
            return self.stuck("not every replica serves again");
        }
        let (nodes, keys) = {
            let state = self.world.lock();
            (state.live_nodes(), state.profile.keys)
        };
        for node in nodes {
            for number in 0..keys {
                if !self.works(node, workload::key(number), limit_us).await {
                    return self.stuck(&format!("node {node} does not serve key {number}"));
                }
            }
        }
    }

    /// Whether a node carries out a write that is never applied, for its condition does not hold.
    async fn works(&self, node: usize, key: RecordKey, limit_us: u64) -> bool {
        while self.goes_on(limit_us) {
            let (clock, sequence) = {
                let mut state = self.world.lock();
                state.next_probe += 1;
                (state.clock(node), state.next_probe)
            };
            let write = Write {
                change: Change::Put {
                    value: Blob::from("never"),
                    tags: Vec::new(),
                    expires_at: None,
                },
                condition: Condition::Version(Ballot {
                    n: u64::MAX,
                    ..Ballot::ZERO
                }),
                id: WriteId {
                    client: u64::MAX,
                    sequence,
                },
                since: LogicalTime::from_millis(clock),
            };
            let put = Put {
                key: key.clone(),
                write,
            };
            let answer = self.ask(node, ClientRequest::Put(put)).await;
            if let Some(Err(engram_core::wire::RequestError::Conflict { .. })) = answer {
                return true;
            }
            self.pass(100_000).await;
        }
        false
    }

    /// Asks a node something, as a client of the world's own would.
    pub(super) async fn ask(&self, node: usize, body: ClientRequest) -> Option<Answer> {
        let (request, limit_us) = self.world.with(|state| {
            state.next_probe += 1;
            let request = state.next_probe;
            let envelope = RequestEnvelope {
                request: RequestId(request),
                time: LogicalTime::from_millis(state.clock(node)),
                timeout_ms: 2_500,
                body,
            };
            let bytes = Bytes::from(Frame::Request(envelope).encode());
            let happening = Happening::Request {
                client: PROBE,
                node,
                bytes,
            };
            state.after(50, happening);
            (request, state.now_us() + PROBE_US)
        });
        self.run(limit_us, |state| state.probes.contains_key(&request))
            .await;
        self.world.lock().probes.remove(&request)
    }

    /// Waits until all replicas hold the same and all indexes what they hold, or too long.
    pub(super) async fn rest(&self) {
        self.world.with(|state| state.begin_phase("rest"));
        let until_us = self.world.lock().now_us() + REST_US;
        loop {
            self.pass(LOOK_US).await;
            if !self.goes_on(u64::MAX) {
                return;
            }
            let mut found = self.world.lock().look();
            let is_over = self.world.lock().now_us() >= until_us;
            if found.is_ok() {
                found = self.search_everything().await;
                if found.is_ok() && self.world.lock().look().is_err() {
                    continue;
                }
            }
            if found.is_ok() || is_over {
                return self.world.lock().check(found);
            }
        }
    }

    /// Reads every key through every node, and scans, and remembers what was seen.
    pub(super) async fn last_reads(&self) {
        self.world.with(|state| state.begin_phase("last reads"));
        let (nodes, keys) = {
            let state = self.world.lock();
            (state.live_nodes(), state.profile.keys)
        };
        for node in nodes {
            let call_us = self.world.lock().now_us();
            let scan = everything();
            let Some(Ok(ClientReply::Page(page))) =
                self.ask(node, ClientRequest::Scan(scan.clone())).await
            else {
                return self.stuck(&format!("node {node} does not answer a scan at rest"));
            };
            let reader = 1_000 + node;
            self.world.lock().saw_page(reader, &scan, &page, call_us);
            for number in 0..keys {
                let (key, call_us) = (workload::key(number), self.world.lock().now_us());
                let get = Get {
                    key: key.clone(),
                    with_value: true,
                };
                let Some(Ok(ClientReply::Entry(entry))) =
                    self.ask(node, ClientRequest::Get(get)).await
                else {
                    return self.stuck(&format!("node {node} does not answer a read at rest"));
                };
                let mut state = self.world.lock();
                let put = entry.as_ref().map(|entry| workload::writer(&entry.value));
                state.last_reads.push((key.clone(), put));
                state.saw(reader, key, entry.as_ref(), call_us);
            }
        }
    }

    /// Compares searches through every node with a scan.
    async fn search_everything(&self) -> Result<(), Violation> {
        let not_yet = |what: String| Err(Violation::new(Property::Index, what));
        let nodes = self.world.lock().live_nodes();
        for node in nodes {
            let scan = ClientRequest::Scan(everything());
            let Some(Ok(ClientReply::Page(page))) = self.ask(node, scan).await else {
                return not_yet(format!("node {node} does not answer a scan at rest"));
            };
            let scanned: BTreeMap<Key, Ballot> = page
                .entries
                .iter()
                .map(|(key, entry)| (key.clone(), entry.version))
                .collect();
            let searches = WORDS.iter().map(|word| (*word, SearchMode::AllWords));
            for (word, mode) in searches.chain([(WORDS[0], SearchMode::Semantic)]) {
                let search = ClientRequest::Search(workload::search(word, mode, EVERYTHING));
                let answer = self.ask(node, search).await;
                let Some(Ok(ClientReply::Found(reply))) = answer else {
                    return not_yet(format!("a search for {word} on node {node}: {answer:?}"));
                };
                let holds = |value: &Blob| {
                    mode == SearchMode::Semantic
                        || String::from_utf8_lossy(value.as_ref()).contains(word)
                };
                // A damaged record is not rebuilt: its replica does not index it.
                let rotten = self.world.lock().rotten();
                let entries = page.entries.iter();
                let found = Found {
                    what: format!("a search for {word} ({mode:?}) on node {node}"),
                    expected: entries
                        .filter(|(key, entry)| holds(&entry.value) && !rotten.contains(key))
                        .map(|(key, _)| key.clone())
                        .collect::<BTreeSet<Key>>(),
                    hits: reply
                        .hits
                        .iter()
                        .filter(|hit| !rotten.contains(&hit.key))
                        .map(|hit| (hit.key.clone(), hit.entry.version))
                        .collect(),
                    shards_answered: reply.shards_answered,
                    shards_total: reply.shards_total,
                };
                found::check(&scanned, &found)?;
            }
        }
        Ok(())
    }

    /// Nothing is left over: no proposer has an operation in flight for long, and no coordinator a
    /// question.
    pub(super) async fn leftovers(&self) {
        let mut left = self.in_flight().await;
        // A bounded namespace may just be looked at.
        for _ in 0..2 {
            if !left.is_empty() {
                self.pass(3_000_000).await;
                left = self.in_flight().await;
            }
        }
        if let Some((node, shard, open)) = left.first() {
            let place = shard.map_or("the coordinator".into(), |it| format!("shard {it}"));
            let story = format!("{open} operations of {place} on node {node} at rest");
            self.world.lock().violate(Property::Answered, story);
        }
    }

    /// The operations in flight, by node and shard, or none for the coordinator.
    async fn in_flight(&self) -> Vec<(usize, Option<ShardId>, usize)> {
        let (sender, counts) = std::sync::mpsc::channel();
        let processes: Vec<_> = {
            let state = self.world.lock();
            let live = state.live_nodes();
            live.into_iter()
                .filter_map(|node| Some((node, state.node(node).process.clone()?)))
                .collect()
        };
        for (node, process) in processes {
            for (shard, local) in process.directory.shards() {
                let sender = sender.clone();
                let look = Box::new(move |proposer: &Proposer| {
                    // The receiver waits until all have answered.
                    let _ = sender.send((node, Some(shard), proposer.in_flight()));
                });
                let _ = local.replicator.cast(ReplicatorMessage::Inspect(look));
            }
            if let Some(coordinator) = process.directory.coordinator() {
                let sender = sender.clone();
                let look = Box::new(move |open: usize| {
                    let _ = sender.send((node, None, open));
                });
                let _ = coordinator.cast(CoordinatorMessage::Inspect(look));
            }
        }
        drop(sender);
        self.pass(100_000).await;
        let counts: Vec<_> = counts.try_iter().collect();
        let mut state = self.world.lock();
        for (node, shard, open) in &counts {
            match shard {
                Some(_) => state.judge.bounds.proposer(*node, *open),
                None => state.judge.bounds.coordinator(*node, *open),
            }
        }
        let busy = counts.into_iter();
        busy.filter(|(_, _, open)| *open > 0).collect()
    }

    /// Ends a world that does not get on, with a report of who waits for whom.
    pub(super) fn stuck(&self, what: &str) {
        let mut state = self.world.lock();
        if state.violations.is_empty() {
            let report = super::report::who_waits(&state);
            state.violate(Property::Progress, format!("{what}\n{report}"));
        }
    }
}

pub(super) fn everything() -> Scan {
    Scan {
        namespace: NAMESPACE,
        prefix: Vec::new(),
        after: None,
        limit: EVERYTHING,
        with_values: true,
    }
}

impl State {
    /// Whether all replicas of a node serve.
    fn serves(&self, node: usize) -> bool {
        let it = self.node(node);
        let Some(process) = it.process.as_ref().filter(|_| it.up) else {
            return false;
        };
        let directory = &process.directory;
        let Some(config) = directory.config() else {
            return false;
        };
        let serving: BTreeSet<u16> = directory
            .shard_reports()
            .into_iter()
            .filter(|(shard, report)| {
                report.status.state == "serving" && directory.shard(*shard).is_some()
            })
            .map(|(shard, _)| shard.0)
            .collect();
        (0..config.shard_count())
            .map(ShardId)
            .chain([ShardId::SYSTEM])
            .filter(|shard| {
                config
                    .shard(*shard)
                    .is_some_and(|found| found.members.contains(&it.member))
            })
            .all(|shard| serving.contains(&shard.0))
            && directory.waiting_for().is_none()
    }

    pub(super) fn all_serve(&self) -> bool {
        let live = self.live_nodes();
        let expected = self
            .nodes
            .iter()
            .filter(|node| node.damage.is_none_or(|damage| !damage.excludes()))
            .count();
        live.len() == expected && live.into_iter().all(|node| self.serves(node))
    }

    fn all_know_namespace(&self) -> bool {
        self.nodes.iter().all(|node| {
            let config = node.process.as_ref().and_then(|it| it.directory.config());
            config.is_some_and(|config| config.namespace_by_id(NAMESPACE).is_some())
        })
    }

    /// Notes how long nodes that were started needed until they served.
    pub(super) fn see_who_serves(&mut self) {
        let now_us = self.now_us();
        for node in 0..self.nodes.len() {
            if let Some(since_us) = self.node(node).starting_us
                && self.serves(node)
            {
                self.node_mut(node).starting_us = None;
                self.recoveries.add("start to serving", now_us - since_us);
            }
        }
    }

    /// Keys whose record is damaged on some disk.
    pub(super) fn rotten(&self) -> BTreeSet<Key> {
        let rotten = self.nodes.iter().flat_map(|node| &node.rotten);
        rotten.map(|key| key.key.clone()).collect()
    }

    /// Looks at all disks at rest.
    fn look(&self) -> Result<(), Violation> {
        let live = self.live_nodes();
        let Some(config) = live
            .first()
            .and_then(|node| self.node(*node).process.as_ref())
            .and_then(|process| process.directory.config())
        else {
            return Ok(());
        };
        let rotten = self.rotten();
        for shard in (0..config.shard_count()).map(ShardId) {
            let members = config.shard(shard).map(|found| found.members.clone());
            let replicas: Vec<AtRest> = live
                .iter()
                .filter(|node| {
                    let member = self.node(**node).member;
                    members.as_ref().is_some_and(|all| all.contains(&member))
                })
                .map(|node| self.at_rest(*node, shard, &rotten))
                .collect();
            convergence::check(&replicas)?;
        }
        Ok(())
    }

    fn at_rest(&self, node: usize, shard: ShardId, rotten: &BTreeSet<Key>) -> AtRest {
        let it = self.node(node);
        let mut records = BTreeMap::new();
        for (at, value) in it.disk.durable(Keyspace::Records) {
            if let (Some((of, key)), Ok(record)) = (keys::parse_record(at), open::<Record>(value))
                && of == shard
                && !record.accepted.is_zero()
                && !rotten.contains(&key.key)
            {
                records.insert(key, (record.accepted, record.register));
            }
        }
        let reports = it
            .process
            .as_ref()
            .map(|process| process.directory.shard_reports());
        let unlearned = reports
            .into_iter()
            .flatten()
            .find(|(of, _)| *of == shard)
            .map_or(0, |(_, report)| report.status.unlearned);
        AtRest {
            member: MemberId(it.member.0),
            records,
            unlearned: if it.damage == Some(Damage::Rotten) {
                0
            } else {
                unlearned
            },
        }
    }
}
