//! The directory of one node: which local actor answers for what, who is alive, what is configured.
//!
//! Shards are addressed logically: a respawned actor takes its predecessor's place here, and a
//! message for a shard that is just being respawned is dropped, as if the network had lost it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use engram_core::placement::shard_of;
use engram_core::protocol::membership::Identity;
use engram_core::types::{ClusterConfig, Lsn, Member, MemberId, Millis, RecordKey, ShardId};
use engram_core::wire::{IndexLag, PartitionStatus, ShardStatus};
use ractor::ActorRef;

use crate::coordinator::CoordinatorMessage;
use crate::gossip::GossipActorMessage;
use crate::index_partition::NodeIndex;
use crate::replicator::ReplicatorMessage;
use crate::shard::{ShardMessage, SharedAcceptor};
use crate::watcher::WatcherMessage;

/// The actors of one local replica.
#[derive(Clone, Debug)]
pub struct LocalShard {
    /// Its acceptor.
    pub shard: ActorRef<ShardMessage>,
    /// Its proposer.
    pub replicator: ActorRef<ReplicatorMessage>,
    /// What the acceptor knows, for those who only read.
    pub acceptor: SharedAcceptor,
}

/// Shared by all actors of one node.
pub struct Directory {
    /// This node.
    pub me: Member,
    /// How often its disk was booted.
    pub boot: u32,
    /// When it started.
    pub started: Millis,
    config: RwLock<Option<Arc<ClusterConfig>>>,
    shards: RwLock<BTreeMap<ShardId, LocalShard>>,
    live: RwLock<Arc<BTreeSet<MemberId>>>,
    witnesses: RwLock<BTreeSet<MemberId>>,
    seen: Mutex<BTreeMap<MemberId, Lsn>>,
    gossip: RwLock<Option<ActorRef<GossipActorMessage>>>,
    coordinator: RwLock<Option<ActorRef<CoordinatorMessage>>>,
    watcher: RwLock<Option<ActorRef<WatcherMessage>>>,
    /// Shards whose next changes the watcher wants to hear of.
    listening: Mutex<BTreeSet<ShardId>>,
    index: OnceLock<Arc<NodeIndex>>,
    shard_status: Mutex<BTreeMap<ShardId, ShardReport>>,
    partition_status: Mutex<BTreeMap<u16, PartitionStatus>>,
    index_lags: RwLock<IndexLags>,
    waiting_for: RwLock<Option<String>>,
    identity: RwLock<Option<Identity>>,
    phi: Mutex<BTreeMap<MemberId, f64>>,
}

/// How far each replica of each shard said its index is behind. Those that said nothing are missing.
pub type IndexLags = BTreeMap<ShardId, BTreeMap<MemberId, IndexLag>>;

/// What a replica reports of itself, twice a second.
#[derive(Clone, Debug, Default)]
pub struct ShardReport {
    /// For humans.
    pub status: ShardStatus,
    /// For peers.
    pub next_lseq: engram_core::types::Lseq,
    /// How far it has followed its peers.
    pub seen: Vec<(MemberId, engram_core::types::Lseq)>,
    /// The highest ballot number it has seen.
    pub highest_n: u64,
    /// Whether it holds all that was acknowledged while it was out of reach.
    pub caught_up: bool,
    /// Tombstones purged in this life.
    pub purged: u64,
    /// Entries of full namespaces deleted in this life.
    pub evicted: u64,
    /// Learned changes whose deletions the index does not know yet.
    pub unindexed: u64,
    /// Whether purges no longer wait for the index, which stands still.
    pub index_stalled: bool,
    /// Damaged records that are not rebuilt yet.
    pub damaged: u64,
}

impl std::fmt::Debug for Directory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Directory")
            .field("me", &self.me)
            .finish_non_exhaustive()
    }
}

macro_rules! read {
    ($lock:expr) => {
        $lock.read().unwrap_or_else(PoisonError::into_inner)
    };
}

macro_rules! write {
    ($lock:expr) => {
        $lock.write().unwrap_or_else(PoisonError::into_inner)
    };
}

macro_rules! lock {
    ($lock:expr) => {
        $lock.lock().unwrap_or_else(PoisonError::into_inner)
    };
}

impl Directory {
    /// The directory of a node at boot: nothing runs, nobody is heard.
    pub fn new(me: Member, boot: u32, started: Millis) -> Directory {
        let live = Arc::new(BTreeSet::from([me.id]));
        Directory {
            me,
            boot,
            started,
            config: RwLock::default(),
            shards: RwLock::default(),
            live: RwLock::new(live),
            witnesses: RwLock::default(),
            seen: Mutex::default(),
            gossip: RwLock::default(),
            coordinator: RwLock::default(),
            watcher: RwLock::default(),
            listening: Mutex::default(),
            index: OnceLock::new(),
            shard_status: Mutex::default(),
            partition_status: Mutex::default(),
            index_lags: RwLock::default(),
            waiting_for: RwLock::new(Some("starting".into())),
            identity: RwLock::default(),
            phi: Mutex::default(),
        }
    }

    /// The configuration, once there is one.
    pub fn config(&self) -> Option<Arc<ClusterConfig>> {
        read!(self.config).clone()
    }

    /// Installs a configuration.
    pub fn set_config(&self, config: Arc<ClusterConfig>) {
        *write!(self.config) = Some(config);
    }

    /// The actors of a local replica; none if this node has none, or it is being respawned.
    pub fn shard(&self, shard: ShardId) -> Option<LocalShard> {
        read!(self.shards).get(&shard).cloned()
    }

    /// Whether the actors of a local replica are there.
    pub fn has_shard(&self, shard: ShardId) -> bool {
        self.with_shards(|shards| shards.contains_key(&shard))
    }

    /// Looks at the actors of all local replicas, without a copy of any.
    pub fn with_shards<R>(&self, look: impl FnOnce(&BTreeMap<ShardId, LocalShard>) -> R) -> R {
        look(&read!(self.shards))
    }

    /// All local replicas.
    pub fn shards(&self) -> Vec<(ShardId, LocalShard)> {
        read!(self.shards)
            .iter()
            .map(|(shard, local)| (*shard, local.clone()))
            .collect()
    }

    /// Puts a replica's actors in place.
    pub fn set_shard(&self, shard: ShardId, local: LocalShard) {
        write!(self.shards).insert(shard, local);
    }

    /// Takes a replica's actors out.
    pub fn remove_shard(&self, shard: ShardId) {
        write!(self.shards).remove(&shard);
    }

    /// The members that are heard, this one included.
    pub fn live(&self) -> Arc<BTreeSet<MemberId>> {
        read!(self.live).clone()
    }

    /// Notes whether a member is heard.
    pub fn set_live(&self, member: MemberId, alive: bool) {
        let mut live = write!(self.live);
        let mut next = BTreeSet::clone(&live);
        if alive {
            next.insert(member);
        } else if member != self.me.id {
            next.remove(&member);
        }
        *live = Arc::new(next);
    }

    /// Members that have witnessed, in this boot, that this disk lost nothing they saw.
    pub fn witnesses(&self) -> BTreeSet<MemberId> {
        read!(self.witnesses).clone()
    }

    /// Notes a witness.
    pub fn add_witness(&self, member: MemberId) {
        write!(self.witnesses).insert(member);
    }

    /// Notes how far a member's log was seen to reach.
    pub fn saw_lsn(&self, of: MemberId, lsn: Lsn) {
        let mut seen = lock!(self.seen);
        let highest = seen.entry(of).or_default();
        *highest = (*highest).max(lsn);
    }

    /// How far a member's log was seen to reach.
    pub fn seen_lsn(&self, of: MemberId) -> Lsn {
        lock!(self.seen).get(&of).copied().unwrap_or_default()
    }

    /// The gossip agent.
    pub fn gossip(&self) -> Option<ActorRef<GossipActorMessage>> {
        read!(self.gossip).clone()
    }

    /// Puts the gossip agent in place.
    pub fn set_gossip(&self, gossip: ActorRef<GossipActorMessage>) {
        *write!(self.gossip) = Some(gossip);
    }

    /// The coordinator.
    pub fn coordinator(&self) -> Option<ActorRef<CoordinatorMessage>> {
        read!(self.coordinator).clone()
    }

    /// Puts the coordinator in place.
    pub fn set_coordinator(&self, coordinator: ActorRef<CoordinatorMessage>) {
        *write!(self.coordinator) = Some(coordinator);
    }

    /// The watcher.
    pub fn watcher(&self) -> Option<ActorRef<WatcherMessage>> {
        read!(self.watcher).clone()
    }

    /// Puts the watcher in place.
    pub fn set_watcher(&self, watcher: ActorRef<WatcherMessage>) {
        *write!(self.watcher) = Some(watcher);
    }

    /// The watcher wants to hear of this shard's next changes, once.
    pub fn listen(&self, shard: ShardId) {
        lock!(self.listening).insert(shard);
    }

    /// A shard has new changes: the watcher hears of it if it listens.
    pub fn ring(&self, shard: ShardId) {
        let is_wanted = lock!(self.listening).remove(&shard);
        if is_wanted && let Some(watcher) = self.watcher() {
            // One that is being restarted begins anew.
            let _ = watcher.cast(WatcherMessage::Rung(shard));
        }
    }

    /// The node's index partitions; none if it has none.
    pub fn index(&self) -> Option<Arc<NodeIndex>> {
        self.index.get().cloned()
    }

    /// Sets the node's index partitions, once.
    pub fn set_index(&self, index: Arc<NodeIndex>) {
        // A second set would leave the first one's users behind: the first one stays.
        let _ = self.index.set(index);
    }

    /// What the local replicas last reported.
    pub fn shard_reports(&self) -> Vec<(ShardId, ShardReport)> {
        lock!(self.shard_status)
            .iter()
            .map(|(shard, report)| (*shard, report.clone()))
            .collect()
    }

    /// Changes a replica's report.
    pub fn report_shard(&self, shard: ShardId, change: impl FnOnce(&mut ShardReport)) {
        let mut reports = lock!(self.shard_status);
        let report = reports.entry(shard).or_default();
        report.status.shard = shard.0;
        change(report);
    }

    /// What the index partitions last reported.
    pub fn partition_reports(&self) -> Vec<PartitionStatus> {
        lock!(self.partition_status).values().cloned().collect()
    }

    /// Sets an index partition's report.
    pub fn report_partition(&self, status: PartitionStatus) {
        lock!(self.partition_status).insert(status.partition, status);
    }

    /// How far a replica said its index is behind, if it did.
    pub fn index_lag(&self, shard: ShardId, member: MemberId) -> Option<IndexLag> {
        read!(self.index_lags).get(&shard)?.get(&member).copied()
    }

    /// The same of all replicas.
    pub fn with_index_lags<R>(&self, look: impl FnOnce(&IndexLags) -> R) -> R {
        look(&read!(self.index_lags))
    }

    /// Notes how far this node's index of a shard is behind its replica. If that replica may miss
    /// what was acknowledged, so may the index.
    pub fn report_own_index(&self, shard: ShardId, lag: IndexLag) {
        let reports = lock!(self.shard_status);
        let caught_up = reports.get(&shard).is_some_and(|report| report.caught_up);
        drop(reports);
        let lag = if caught_up { lag } else { IndexLag::default() };
        self.report_index(self.me.id, shard, lag);
    }

    /// Notes how far a member's index of a shard is behind.
    pub fn report_index(&self, member: MemberId, shard: ShardId, lag: IndexLag) {
        let mut lags = write!(self.index_lags);
        lags.entry(shard).or_default().insert(member, lag);
    }

    /// Forgets what a member that is gone said.
    pub fn forget_index(&self, member: MemberId) {
        let mut lags = write!(self.index_lags);
        for members in lags.values_mut() {
            members.remove(&member);
        }
    }

    /// Why this node does not serve yet; none if it does.
    pub fn waiting_for(&self) -> Option<String> {
        read!(self.waiting_for).clone()
    }

    /// Sets why this node does not serve.
    pub fn set_waiting_for(&self, reason: Option<String>) {
        *write!(self.waiting_for) = reason;
    }

    /// This node as others should see it now.
    pub fn identity(&self) -> Option<Identity> {
        read!(self.identity).clone()
    }

    /// Sets how others should see this node.
    pub fn set_identity(&self, identity: Identity) {
        *write!(self.identity) = Some(identity);
    }

    /// How suspect a member's silence is.
    pub fn phi(&self, member: MemberId) -> f64 {
        lock!(self.phi).get(&member).copied().unwrap_or_default()
    }

    /// Sets how suspect a member's silence is.
    pub fn set_phi(&self, member: MemberId, phi: f64) {
        lock!(self.phi).insert(member, phi);
    }

    /// The shard of a key, once there is a configuration.
    pub fn shard_of(&self, key: &RecordKey) -> Option<ShardId> {
        let config = self.config()?;
        Some(
            if key.namespace == engram_core::types::NamespaceId::SYSTEM {
                ShardId::SYSTEM
            } else {
                shard_of(key, config.shard_count())
            },
        )
    }

    /// The replica that should carry out requests for a shard: this node if it is one, else the
    /// first live one in routing order.
    pub fn route(&self, shard: ShardId) -> Option<MemberId> {
        let config = self.config()?;
        let members = &config.shard(shard)?.members;
        if members.contains(&self.me.id) {
            return Some(self.me.id);
        }
        let live = self.live();
        members.iter().find(|member| live.contains(member)).copied()
    }

    /// How many live replicas of a shard come before this one in routing order.
    pub fn rank(&self, shard: ShardId) -> usize {
        let Some(config) = self.config() else {
            return 0;
        };
        let live = self.live();
        config.shard(shard).map_or(0, |shard| {
            shard
                .members
                .iter()
                .take_while(|member| **member != self.me.id)
                .filter(|member| live.contains(member))
                .count()
        })
    }
}
