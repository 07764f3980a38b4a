//! The node supervisor: starts everything, restarts what fails, and ends the node when it must.

use std::collections::BTreeMap;
use std::sync::Arc;

use engram_core::limits::RECORD_CACHE_BYTES_DEFAULT;
use engram_core::limits::RETRY_WINDOW_MS;
use engram_core::planted::Planted;
use engram_core::protocol::membership::Identity;
use engram_core::protocol::restart::{Decision, Intensity, Restarts};
use engram_core::types::{ClusterConfig, Lsn, ShardId};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::{error, info, warn};

use crate::coordinator::{Coordinator, CoordinatorArguments};
use crate::directory::Directory;
use crate::embedder::EmbedderActor;
use crate::env::{Env, StoreError};
use crate::gossip::{Gossip, GossipArguments};
use crate::index_partition::IndexPartitionActor;
use crate::supervisor::shard::{ShardSupervisor, ShardSupervisorArguments};
use crate::watcher::{Watcher, WatcherArguments};

/// How often the node's own actors may be restarted.
const INTENSITY: Intensity = Intensity {
    restarts_max: 5,
    period_ms: 60_000,
};

/// Why a node ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// It was asked to.
    Asked,
    /// It must not, or cannot, go on.
    Fatal(String),
}

/// Called once, when the node has ended.
pub type OnStopped = Arc<dyn Fn(Stopped) + Send + Sync>;

/// What the node supervisor is told.
pub enum NodeMessage {
    /// From gossip: the cluster is formed, or has a newer configuration.
    Serve(ClusterConfig),
    /// From anybody: the node must not go on.
    Fatal(String),
    /// From gossip: this disk lost writes. The node ends, and must not begin again.
    Condemned(String),
    /// From storage: the mark on a lost disk is durable, or was refused.
    Marked(Result<(), StoreError>),
    /// From this actor's timer: try to mark the disk again.
    MarkAgain,
    /// From the process: end in an orderly way.
    Stop,
}

impl ractor::Message for NodeMessage {}

/// Settings of a node's actors.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// How many nodes form a new cluster; none if it must exist already.
    pub expected: Option<usize>,
    /// Bytes of records that each shard keeps in memory.
    pub cache_bytes: usize,
    /// How long tombstones are kept, in milliseconds.
    pub purge_after_ms: u64,
    /// A bug planted by the simulator; none in production.
    pub planted: Planted,
}

impl Default for NodeOptions {
    fn default() -> Self {
        NodeOptions {
            expected: None,
            cache_bytes: RECORD_CACHE_BYTES_DEFAULT,
            purge_after_ms: 2 * RETRY_WINDOW_MS,
            planted: Planted::default(),
        }
    }
}

/// What a node is made of.
pub struct NodeArguments {
    /// Settings.
    pub options: NodeOptions,
    /// Who is who on this node.
    pub directory: Arc<Directory>,
    /// The world.
    pub env: Env,
    /// This node, as others should see it.
    pub identity: Identity,
    /// What the disk held at boot.
    pub boot_lsn: Lsn,
    /// The configuration on disk, and whether the cluster was formed.
    pub stored: Option<(ClusterConfig, bool)>,
    /// Called once, when the node has ended.
    pub on_stopped: OnStopped,
}

/// The node supervisor. See the module.
pub struct NodeSupervisor;

/// The node supervisor's state.
pub struct NodeState {
    pub(super) arguments: NodeArguments,
    children: BTreeMap<ActorId, (Child, ActorCell)>,
    restarts: Restarts,
    stopped: Option<Stopped>,
    /// Why this disk must never vote again, if so; see [`super::lost_disk`].
    pub(super) condemned: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Child {
    Gossip,
    Coordinator,
    Watcher,
    Embedder(usize),
    Partition(usize),
    Shard(ShardId),
}

impl Actor for NodeSupervisor {
    type Msg = NodeMessage;
    type State = NodeState;
    type Arguments = NodeArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<NodeMessage>,
        arguments: NodeArguments,
    ) -> Result<NodeState, ActorProcessingErr> {
        let mut state = NodeState {
            arguments,
            children: BTreeMap::new(),
            restarts: Restarts::new(INTENSITY),
            stopped: None,
            condemned: None,
        };
        if let Some(index) = state.arguments.directory.index() {
            for number in 0..index.queued().len() {
                state.start(&myself, Child::Embedder(number)).await?;
            }
            for number in 0..index.partitions() {
                state.start(&myself, Child::Partition(number)).await?;
            }
        }
        state.start(&myself, Child::Coordinator).await?;
        state.start(&myself, Child::Watcher).await?;
        state.start(&myself, Child::Gossip).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<NodeMessage>,
        message: NodeMessage,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            NodeMessage::Serve(_) if state.is_ending() => {}
            NodeMessage::Serve(config) => state.serve(&myself, &config).await?,
            NodeMessage::Fatal(reason) => {
                error!(node = %state.arguments.directory.me.name, %reason, "the node must end");
                state.stop(&myself, Stopped::Fatal(reason));
            }
            NodeMessage::Condemned(reason) => state.condemn(&myself, reason),
            NodeMessage::MarkAgain => state.mark(&myself),
            NodeMessage::Marked(result) => state.marked(&myself, result),
            NodeMessage::Stop => state.stop(&myself, Stopped::Asked),
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<NodeMessage>,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        let why = state.stopped.take().unwrap_or(Stopped::Asked);
        (state.arguments.on_stopped)(why);
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<NodeMessage>,
        event: SupervisionEvent,
        state: &mut NodeState,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, reason) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell, reason.unwrap_or_else(|| "it stopped".into()))
            }
            _ => return Ok(()),
        };
        let Some((child, _)) = state.children.remove(&cell.get_id()) else {
            return Ok(());
        };
        if state.is_ending() {
            return Ok(());
        }
        let now = state.arguments.env.clock.now();
        let node = state.arguments.directory.me.name.clone();
        // The gossip agent holds what this boot has witnessed; a replica that fails again and
        // again fails for a reason that a restart does not mend. Either way the process is
        // restarted as a whole.
        match (child, state.restarts.failed(now)) {
            (
                Child::Coordinator | Child::Watcher | Child::Embedder(_) | Child::Partition(_),
                Decision::Restart { .. },
            ) => {
                warn!(%node, %reason, ?child, "an actor failed, restarting it");
                state.start(&myself, child).await?;
            }
            _ => {
                let reason = format!("{child:?} failed: {reason}");
                error!(%node, %reason, "the node must end");
                state.stop(&myself, Stopped::Fatal(reason));
            }
        }
        Ok(())
    }
}

impl NodeState {
    async fn start(
        &mut self,
        myself: &ActorRef<NodeMessage>,
        child: Child,
    ) -> Result<(), ActorProcessingErr> {
        let NodeArguments {
            options,
            directory,
            env,
            identity,
            boot_lsn,
            stored,
            ..
        } = &self.arguments;
        let (directory, env) = (directory.clone(), env.clone());
        let cell = match child {
            Child::Gossip => {
                let arguments = GossipArguments {
                    directory,
                    env,
                    identity: identity.clone(),
                    expected: options.expected,
                    boot_lsn: *boot_lsn,
                    stored: stored.clone(),
                    node: myself.clone(),
                };
                Actor::spawn_linked(None, Gossip, arguments, myself.get_cell())
                    .await?
                    .0
                    .get_cell()
            }
            Child::Coordinator => {
                let arguments = CoordinatorArguments {
                    directory: directory.clone(),
                    env,
                    planted: options.planted,
                };
                let (coordinator, _) =
                    Actor::spawn_linked(None, Coordinator, arguments, myself.get_cell()).await?;
                directory.set_coordinator(coordinator.clone());
                coordinator.get_cell()
            }
            Child::Watcher => {
                let arguments = WatcherArguments {
                    directory: directory.clone(),
                    env,
                    planted: options.planted,
                };
                let (watcher, _) =
                    Actor::spawn_linked(None, Watcher, arguments, myself.get_cell()).await?;
                directory.set_watcher(watcher.clone());
                watcher.get_cell()
            }
            Child::Embedder(number) => {
                let index = directory.index().ok_or("this node has no index")?;
                let model = index
                    .queued()
                    .get(number)
                    .ok_or("no such embedder")?
                    .clone();
                Actor::spawn_linked(None, EmbedderActor, model, myself.get_cell())
                    .await?
                    .0
                    .get_cell()
            }
            Child::Partition(number) => {
                let index = directory.index().ok_or("this node has no index")?;
                let arguments = index
                    .partition_arguments(number)
                    .ok_or("no such partition")?;
                Actor::spawn_linked(None, IndexPartitionActor, arguments, myself.get_cell())
                    .await?
                    .0
                    .get_cell()
            }
            Child::Shard(shard) => {
                let config = directory
                    .config()
                    .ok_or("no configuration to start a shard from")?;
                let config = config.shard(shard).ok_or("no such shard")?.clone();
                let arguments = ShardSupervisorArguments {
                    shard,
                    config,
                    directory,
                    env,
                    cache_bytes: options.cache_bytes,
                    purge_after_ms: options.purge_after_ms,
                    planted: options.planted,
                };
                Actor::spawn_linked(None, ShardSupervisor, arguments, myself.get_cell())
                    .await?
                    .0
                    .get_cell()
            }
        };
        self.children.insert(cell.get_id(), (child, cell));
        Ok(())
    }

    /// Starts the replicas that the configuration gives to this node.
    async fn serve(
        &mut self,
        myself: &ActorRef<NodeMessage>,
        config: &ClusterConfig,
    ) -> Result<(), ActorProcessingErr> {
        let me = self.arguments.directory.me.id;
        let shards = (0..config.shard_count())
            .map(ShardId)
            .chain([ShardId::SYSTEM]);
        let wanted: Vec<ShardId> = shards
            .filter(|shard| {
                config
                    .shard(*shard)
                    .is_some_and(|found| found.members.contains(&me))
            })
            .filter(|shard| {
                !self
                    .children
                    .values()
                    .any(|(child, _)| *child == Child::Shard(*shard))
            })
            .collect();
        if !wanted.is_empty() {
            info!(
                node = %self.arguments.directory.me.name, shards = wanted.len(),
                cluster = %config.cluster, "starting replicas"
            );
        }
        let index = self.arguments.directory.index();
        for shard in wanted {
            if let Some(index) = &index {
                index.host(shard);
            }
            self.start(myself, Child::Shard(shard)).await?;
        }
        Ok(())
    }

    /// Whether nothing is to be started any more.
    fn is_ending(&self) -> bool {
        self.stopped.is_some() || self.condemned.is_some()
    }

    /// Ends all replicas at once: none of them says anything more.
    pub(super) fn end_replicas(&self) {
        let directory = &self.arguments.directory;
        for (shard, local) in directory.shards() {
            directory.remove_shard(shard);
            local.shard.get_cell().kill();
            local.replicator.get_cell().kill();
        }
        for (child, cell) in self.children.values() {
            if matches!(child, Child::Shard(_)) {
                cell.kill();
            }
        }
    }

    pub(super) fn stop(&mut self, myself: &ActorRef<NodeMessage>, why: Stopped) {
        if self.stopped.is_none() {
            self.stopped = Some(why);
            myself.stop(None);
        }
    }
}
