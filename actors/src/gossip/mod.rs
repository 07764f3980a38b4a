//! The gossip agent: the shell of a node's membership. It tells the node's other actors who is
//! reachable, spreads configurations, and starts the replicas once the cluster is formed.

use std::sync::Arc;
use std::time::Duration;

use engram_core::protocol::membership::{Effect, Event, Identity, Membership, TICK_MS};
use engram_core::storage::format::{StoredConfig, seal};
use engram_core::storage::{Keyspace, WriteBatch, keys};
use engram_core::types::{ClusterConfig, Lsn, MemberId, ShardId};
use engram_core::wire::{Frame, GossipMessage, ShardSummary};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tracing::{info, warn};

use crate::coordinator::CoordinatorMessage;
use crate::directory::Directory;
use crate::env::Env;
use crate::replicator::ReplicatorMessage;
use crate::shard::ShardMessage;
use crate::supervisor::NodeMessage;

/// What the gossip agent is told.
pub enum GossipActorMessage {
    /// From the transport: a member is connected. Reported once per connection, with how far its
    /// log was seen to reach on earlier ones.
    Up(Identity, Lsn),
    /// From the transport: it no longer is.
    Down(MemberId),
    /// From the link. If lost, the next one says the same and more.
    Gossip(GossipMessage),
    /// From the coordinator: a newer configuration was decided.
    Decided(ClusterConfig),
    /// From storage: the configuration is durable.
    Adopted,
    /// From the timer.
    Tick,
}

impl ractor::Message for GossipActorMessage {}

/// What the gossip agent is made of.
pub struct GossipArguments {
    /// The node.
    pub directory: Arc<Directory>,
    /// The world.
    pub env: Env,
    /// This node, as others should see it.
    pub identity: Identity,
    /// How many nodes form a new cluster; none if it must exist already.
    pub expected: Option<usize>,
    /// What the disk held at boot.
    pub boot_lsn: Lsn,
    /// The configuration on disk, and whether the cluster was formed.
    pub stored: Option<(ClusterConfig, bool)>,
    /// Who starts the replicas.
    pub node: ActorRef<NodeMessage>,
}

/// The gossip agent. See the module.
pub struct Gossip;

/// The gossip agent's state.
pub struct GossipState {
    membership: Membership,
    directory: Arc<Directory>,
    env: Env,
    node: ActorRef<NodeMessage>,
    effects: Vec<Effect>,
}

impl Actor for Gossip {
    type Msg = GossipActorMessage;
    type State = GossipState;
    type Arguments = GossipArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<GossipActorMessage>,
        arguments: GossipArguments,
    ) -> Result<GossipState, ActorProcessingErr> {
        let GossipArguments {
            directory,
            env,
            identity,
            expected,
            boot_lsn,
            stored,
            node,
        } = arguments;
        let membership = Membership::new(identity, expected, boot_lsn, stored);
        directory.set_gossip(myself.clone());
        myself.send_interval(Duration::from_millis(TICK_MS), || GossipActorMessage::Tick);
        let mut state = GossipState {
            membership,
            directory,
            env,
            node,
            effects: Vec::new(),
        };
        state.publish();
        state.step(&myself, Event::Tick { shards: Vec::new() });
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<GossipActorMessage>,
        message: GossipActorMessage,
        state: &mut GossipState,
    ) -> Result<(), ActorProcessingErr> {
        let event = match message {
            GossipActorMessage::Up(peer, seen) => Event::Up { peer, seen },
            GossipActorMessage::Down(member) => Event::Down(member),
            GossipActorMessage::Gossip(message) => Event::Gossip(message),
            GossipActorMessage::Decided(config) => Event::Decided(config),
            GossipActorMessage::Adopted => Event::Adopted,
            GossipActorMessage::Tick => Event::Tick {
                shards: state.summaries(),
            },
        };
        state.step(&myself, event);
        state.publish();
        Ok(())
    }
}

impl GossipState {
    fn step(&mut self, myself: &ActorRef<GossipActorMessage>, event: Event) {
        let now = self.env.clock.now();
        let mut effects = std::mem::take(&mut self.effects);
        self.membership.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.run(myself, effect);
        }
        self.effects = effects;
    }

    fn run(&mut self, myself: &ActorRef<GossipActorMessage>, effect: Effect) {
        match effect {
            Effect::Adopt { config, formed } => self.adopt(myself, config, formed),
            Effect::Serve(config) => {
                self.directory.set_config(Arc::new(config.clone()));
                let _ = self.node.cast(NodeMessage::Serve(config));
            }
            Effect::PeerUp(peer) => {
                self.directory.set_live(peer, true);
                for (_, local) in self.directory.shards() {
                    let _ = local.replicator.cast(ReplicatorMessage::PeerUp(peer));
                    let _ = local.shard.cast(ShardMessage::PeerUp(peer));
                }
            }
            Effect::PeerDown(peer) => {
                self.directory.set_live(peer, false);
                self.directory.forget_index(peer);
                for (_, local) in self.directory.shards() {
                    let _ = local.replicator.cast(ReplicatorMessage::PeerDown(peer));
                }
                if let Some(coordinator) = self.directory.coordinator() {
                    let _ = coordinator.cast(CoordinatorMessage::MemberDown(peer));
                }
            }
            Effect::Witnessed(peer) => self.witnessed(peer),
            Effect::Send(to, message) => self.env.transport.send(to, &Frame::Gossip(message)),
            Effect::Progress(from, shards) => self.progress(from, &shards),
            Effect::Fatal(reason) => {
                warn!(node = %self.directory.me.name, %reason, "stopping");
                let _ = self.node.cast(NodeMessage::Fatal(reason));
            }
            Effect::Condemned(reason) => {
                let _ = self.node.cast(NodeMessage::Condemned(reason));
            }
        }
    }

    fn adopt(&self, myself: &ActorRef<GossipActorMessage>, config: ClusterConfig, formed: bool) {
        info!(
            node = %self.directory.me.name, version = config.version,
            members = config.members.len(), formed, "adopting a configuration"
        );
        let mut batch = WriteBatch::default();
        batch.put(
            Keyspace::Meta,
            keys::config(),
            seal(&StoredConfig { config, formed }),
        );
        let (to, node) = (myself.clone(), self.node.clone());
        self.env.store.append(
            batch,
            Box::new(move |result| match result {
                Ok(_) => drop(to.cast(GossipActorMessage::Adopted)),
                Err(error) => {
                    drop(node.cast(NodeMessage::Fatal(format!(
                        "storing the configuration: {error}"
                    ))));
                }
            }),
        );
    }

    fn witnessed(&self, peer: MemberId) {
        self.directory.add_witness(peer);
        let Some(config) = self.directory.config() else {
            return;
        };
        for (shard, local) in self.directory.shards() {
            if config
                .shard(shard)
                .is_some_and(|found| found.members.contains(&peer))
            {
                let _ = local.shard.cast(ShardMessage::Witnessed);
            }
        }
    }

    fn progress(&self, from: MemberId, shards: &[ShardSummary]) {
        for summary in shards {
            if let Some(lag) = summary.index {
                self.directory.report_index(from, summary.shard, lag);
            }
            let Some(local) = self.directory.shard(summary.shard) else {
                continue;
            };
            let _ = local
                .shard
                .cast(ShardMessage::PeerProgress(from, summary.next_lseq));
            let _ = local
                .replicator
                .cast(ReplicatorMessage::HighestSeen(summary.highest_n));
        }
    }

    fn summaries(&self) -> Vec<ShardSummary> {
        let me = self.directory.me.id;
        self.directory
            .shard_reports()
            .into_iter()
            .map(|(shard, report)| ShardSummary {
                shard: ShardId(shard.0),
                next_lseq: report.next_lseq,
                highest_n: report.highest_n,
                seen: report.seen,
                index: self.directory.index_lag(shard, me),
            })
            .collect()
    }

    fn publish(&self) {
        self.directory
            .set_waiting_for(self.membership.waiting_for());
        self.directory.set_identity(self.membership.identity());
        let now = self.env.clock.now();
        if let Some(config) = self.membership.config() {
            for member in &config.members {
                self.directory
                    .set_phi(member.id, self.membership.peer(now, member.id).1);
            }
        }
    }
}
