//! Watchers: each follows the keys with a prefix in every shard, as a client does, and keeps a copy
//! of them. What they draw is drawn apart, so that a seed without them is what it was before.

use bytes::Bytes;
use engram_core::protocol::watch::{Follower, Next, Position, Told};
use engram_core::types::{Key, LogicalTime, RecordKey, RequestId, ShardId};
use engram_core::wire::{
    ClientReply, ClientRequest, Frame, RequestEnvelope, Scan, ScanShard, Watch,
};

use super::clients::NAMESPACE;
use super::driver::Driver;
use super::profile::pick;
use super::rest;
use super::state::{Answer, Happening, State};
use crate::checkers::watched::Copy;
use crate::checkers::{Property, Violation};

/// The first number of a watcher among the clients.
const FIRST: usize = 20_000;
/// All watchers must have begun after so long.
const BEGIN_US: u64 = 60_000_000;
/// At rest a copy must equal the store after so long.
const CAUGHT_UP_US: u64 = 60_000_000;
/// Keys of a page while a shard is shown anew.
const PAGE: u32 = 2;

/// A watcher.
#[derive(Debug)]
pub(super) struct Watcher {
    prefix: Vec<u8>,
    /// How long it waits for one answer.
    patience_ms: u64,
    /// Longest pause between two questions.
    think_us: u64,
    /// Chance that it goes away after an answer, and another comes in its place.
    leaves: u64,
    next_request: u64,
    shards: Vec<Following>,
    copy: Copy,
}

/// How a watcher follows one shard.
#[derive(Debug)]
struct Following {
    follower: Follower,
    /// The question that is not answered.
    asked: Option<u64>,
    token: u64,
}

impl Following {
    fn new(position: Position) -> Following {
        Following {
            follower: Follower::new(position),
            asked: None,
            token: 0,
        }
    }
}

/// Which watcher a client's number stands for, if any.
pub(super) fn number(client: usize) -> Option<usize> {
    client.checked_sub(FIRST)
}

impl Driver {
    /// Lets the watchers begin, while nothing is written.
    pub(super) async fn begin_watches(&self) {
        self.world.with(State::begin_watchers);
        let limit_us = self.world.lock().now_us() + BEGIN_US;
        if !self.run(limit_us, State::all_watch).await {
            self.stuck("not every watcher begins");
        }
    }

    /// Waits until every watcher's copy equals the store, or too long.
    pub(super) async fn watches(&self) {
        if self.world.lock().watchers.is_empty() {
            return;
        }
        self.world.with(|state| state.begin_phase("watches"));
        let limit_us = self.world.lock().now_us() + CAUGHT_UP_US;
        let mut found = Ok(());
        while self.goes_on(limit_us) {
            found = self.compare_copies().await;
            if found.is_ok() {
                return;
            }
            self.pass(500_000).await;
        }
        let mut state = self.world.lock();
        if state.violations.is_empty() {
            state.check(found);
        }
    }

    async fn compare_copies(&self) -> Result<(), Violation> {
        let node = self.world.lock().live_nodes().first().copied();
        let scan = ClientRequest::Scan(rest::everything());
        let Some(Ok(ClientReply::Page(page))) = self.ask(node.unwrap_or(0), scan).await else {
            let story = format!("node {node:?} does not answer a scan at rest");
            return Err(Violation::new(Property::Progress, story));
        };
        let entries = page.entries.into_iter();
        let stored = entries.map(|(key, entry)| (key, entry.version)).collect();
        let state = self.world.lock();
        // A replica cannot show a record that it cannot read.
        let rotten = state.rotten();
        let mut copies = state.watchers.iter().map(|watcher| &watcher.copy);
        copies.try_for_each(|copy| copy.at_rest(&stored, &rotten))
    }
}

impl State {
    fn begin_watchers(&mut self) {
        for watcher in 0..self.profile.watchers {
            let random = &mut self.watching;
            let prefix = pick(random, &["", "key", "key0"]).as_bytes().to_vec();
            let shards = (0..self.profile.shards).map(|_| Following::new(Position::default()));
            self.watchers.push(Watcher {
                patience_ms: pick(random, &[1_000, 3_000, 10_000]),
                think_us: pick(random, &[0, 50_000, 1_000_000]),
                leaves: pick(random, &[0, 20, 200]),
                next_request: 1,
                shards: shards.collect(),
                copy: Copy::new(prefix.clone()),
                prefix,
            });
            for shard in 0..self.profile.shards {
                self.wake_watcher(watcher, shard, 0);
            }
        }
    }

    fn all_watch(&self) -> bool {
        let mut all = self.watchers.iter().flat_map(|watcher| &watcher.shards);
        all.all(|it| it.follower.cursor().is_some())
    }

    fn following(&mut self, watcher: usize, shard: u16) -> Option<&mut Following> {
        let shards = &mut self.watchers.get_mut(watcher)?.shards;
        shards.get_mut(usize::from(shard))
    }

    fn wake_watcher(&mut self, watcher: usize, shard: u16, delay_us: u64) {
        if let Some(it) = self.following(watcher, shard) {
            it.token += 1;
            let token = it.token;
            let happening = Happening::Watcher {
                watcher,
                shard,
                token,
            };
            self.after(delay_us, happening);
        }
    }

    /// It is time for a watcher to ask on, or to stop waiting for an answer.
    pub(super) fn watcher_wakes(&mut self, watcher: usize, shard: u16, token: u64) {
        let Some(it) = self
            .following(watcher, shard)
            .filter(|it| it.token == token)
        else {
            return;
        };
        if it.asked.take().is_some() {
            it.follower.unanswered();
        }
        self.ask_on(watcher, shard);
    }

    fn ask_on(&mut self, watcher: usize, shard: u16) {
        let others = self.watching.below(self.nodes.len() as u64);
        let Some(it) = self.watchers.get_mut(watcher) else {
            return;
        };
        let (request, patience_ms) = (it.next_request, it.patience_ms);
        it.next_request += 1;
        let prefix = it.prefix.clone();
        let Some(following) = it.shards.get_mut(usize::from(shard)) else {
            return;
        };
        following.asked = Some(request);
        let served_by = following.follower.served_by();
        let body = question(&following.follower, ShardId(shard), prefix);
        let node = served_by.and_then(|member| self.node_of(member));
        let node = node.unwrap_or(usize::try_from(others).unwrap_or(0));
        let envelope = RequestEnvelope {
            request: RequestId(request),
            time: LogicalTime::from_millis(self.clock(node)),
            timeout_ms: u32::try_from(patience_ms).unwrap_or(u32::MAX),
            body,
        };
        if self.healed || !self.watching.chance(self.profile.lose) {
            let bytes = Bytes::from(Frame::Request(envelope).encode());
            let delay_us = self.watch_delay_us();
            let happening = Happening::Request {
                client: FIRST + watcher,
                node,
                bytes,
            };
            self.after(delay_us, happening);
        }
        self.wake_watcher(watcher, shard, patience_ms * 1000);
    }

    /// A question met a node that is down.
    pub(super) fn watcher_unreachable(&mut self, watcher: usize, request: u64) {
        if let Some(shard) = self.asked_of(watcher, request) {
            self.ask_another(watcher, shard);
        }
    }

    /// The shard that a question is about, if it is not answered.
    fn asked_of(&self, watcher: usize, request: u64) -> Option<u16> {
        let mut shards = self.watchers.get(watcher)?.shards.iter();
        let shard = shards.position(|it| it.asked == Some(request))?;
        u16::try_from(shard).ok()
    }

    fn ask_another(&mut self, watcher: usize, shard: u16) {
        if let Some(it) = self.following(watcher, shard) {
            it.asked = None;
            it.follower.unanswered();
        }
        let delay_us = 5_000 + self.watching.below(60_000);
        self.wake_watcher(watcher, shard, delay_us);
    }

    /// An answer reaches a watcher.
    pub(super) fn watcher_hears(&mut self, watcher: usize, request: u64, answer: Answer) {
        let Some(shard) = self.asked_of(watcher, request) else {
            return;
        };
        let Some(it) = self.following(watcher, shard) else {
            return;
        };
        let told = match (it.follower.next(), answer) {
            (Next::Changes, Ok(ClientReply::Watched(page))) => it.follower.changes(page),
            (Next::Keys(_), Ok(ClientReply::Page(page))) => {
                let entries = page.entries.into_iter();
                let entries = entries.map(|(key, entry)| (key, entry, None)).collect();
                it.follower.keys(entries, page.next)
            }
            _ => return self.ask_another(watcher, shard),
        };
        it.asked = None;
        for told in told {
            self.told(watcher, ShardId(shard), &told);
        }
        let leaves = self.watchers.get(watcher).map_or(0, |it| it.leaves);
        if !self.healed && self.watching.chance(leaves) {
            return self.hand_over(watcher);
        }
        let think_us = self.watchers.get(watcher).map_or(0, |it| it.think_us);
        let delay_us = self.watching.below(think_us + 1);
        self.wake_watcher(watcher, shard, delay_us);
    }

    fn told(&mut self, watcher: usize, shard: ShardId, told: &Told) {
        self.counters.watch_events += 1;
        self.counters.watch_resyncs += u64::from(*told == Told::Resync);
        self.note("watch", None, format_args!("{watcher} {shard:?} {told:?}"));
        let ledger = &self.judge.ledger;
        let chosen = |key: &Key, version| {
            let key = RecordKey {
                namespace: NAMESPACE,
                key: key.clone(),
            };
            ledger.chosen_at(&key, version)
        };
        let Some(it) = self.watchers.get_mut(watcher) else {
            return;
        };
        let result = it.copy.told(shard, told, chosen);
        self.check(result);
    }

    /// A watcher ends; after a while another goes on with its copy from its cursor.
    fn hand_over(&mut self, watcher: usize) {
        self.counters.watch_returns += 1;
        self.note("watch", None, format_args!("{watcher} leaves"));
        let away_us = 1_000 * pick(&mut self.watching, &[10, 1_000, 10_000]);
        let Some(it) = self.watchers.get_mut(watcher) else {
            return;
        };
        it.copy.handed_over();
        for following in &mut it.shards {
            let cursor = following.follower.cursor().unwrap_or_default();
            let token = following.token;
            *following = Following {
                token,
                ..Following::new(cursor)
            };
        }
        for shard in 0..self.profile.shards {
            self.wake_watcher(watcher, shard, away_us);
        }
    }
}

fn question(follower: &Follower, shard: ShardId, prefix: Vec<u8>) -> ClientRequest {
    match follower.next() {
        Next::Changes => ClientRequest::Watch(Watch {
            shard,
            namespace: NAMESPACE,
            prefix,
            since: follower.position().pairs(),
            similar: None,
            with_values: true,
        }),
        Next::Keys(after) => {
            let scan = Scan {
                namespace: NAMESPACE,
                prefix,
                after: after.clone(),
                limit: PAGE,
                with_values: true,
            };
            ClientRequest::ScanShard(ScanShard { shard, scan })
        }
    }
}
