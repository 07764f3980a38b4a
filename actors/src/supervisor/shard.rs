//! The supervisor of one replica: shard and replicator are restarted together, in a new life.
//!
//! They share an incarnation, which is part of every ballot, so neither may go on with a partner
//! from another life.

use std::sync::Arc;
use std::time::Duration;

use engram_core::planted::{Bug, Planted};
use engram_core::protocol::register::{acceptor, proposer};
use engram_core::protocol::restart::{Decision, Intensity, Restarts};
use engram_core::types::{Incarnation, MemberId, ShardConfig, ShardId};
use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tracing::warn;

use crate::directory::{Directory, LocalShard};
use crate::env::Env;
use crate::replicator::{Replicator, ReplicatorArguments, ReplicatorMessage};
use crate::shard::{Shard, ShardArguments, ShardMessage, SharedAcceptor};

/// How often one replica may be respawned.
const INTENSITY: Intensity = Intensity {
    restarts_max: 10,
    period_ms: 60_000,
};

/// What a shard supervisor is told.
pub enum ShardSupervisorMessage {
    /// From itself: start the next life.
    Respawn,
}

impl ractor::Message for ShardSupervisorMessage {}

/// What a shard supervisor is made of.
pub struct ShardSupervisorArguments {
    /// Which shard.
    pub shard: ShardId,
    /// Its replicas.
    pub config: ShardConfig,
    /// The node.
    pub directory: Arc<Directory>,
    /// The world.
    pub env: Env,
    /// Bytes of records that the shard keeps in memory.
    pub cache_bytes: usize,
    /// How long tombstones are kept, in milliseconds.
    pub purge_after_ms: u64,
    /// A bug planted by the simulator; none in production.
    pub planted: Planted,
}

/// The supervisor of one replica. See the module.
pub struct ShardSupervisor;

/// A shard supervisor's state.
pub struct ShardSupervisorState {
    arguments: ShardSupervisorArguments,
    respawns: u32,
    restarts: Restarts,
    children: Vec<ActorCell>,
}

impl Actor for ShardSupervisor {
    type Msg = ShardSupervisorMessage;
    type State = ShardSupervisorState;
    type Arguments = ShardSupervisorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ShardSupervisorMessage>,
        arguments: ShardSupervisorArguments,
    ) -> Result<ShardSupervisorState, ActorProcessingErr> {
        let mut state = ShardSupervisorState {
            arguments,
            respawns: 0,
            restarts: Restarts::new(INTENSITY),
            children: Vec::new(),
        };
        state.spawn(&myself).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<ShardSupervisorMessage>,
        message: ShardSupervisorMessage,
        state: &mut ShardSupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ShardSupervisorMessage::Respawn => {
                state.respawns += 1;
                state.spawn(&myself).await
            }
        }
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ShardSupervisorMessage>,
        event: SupervisionEvent,
        state: &mut ShardSupervisorState,
    ) -> Result<(), ActorProcessingErr> {
        let (child, reason) = match event {
            SupervisionEvent::ActorFailed(child, error) => (child, error.to_string()),
            SupervisionEvent::ActorTerminated(child, _, reason) => {
                (child, reason.unwrap_or_else(|| "it stopped".into()))
            }
            _ => return Ok(()),
        };
        // The partner of a failed child is stopped by this supervisor, and reported later.
        if !state
            .children
            .iter()
            .any(|current| current.get_id() == child.get_id())
        {
            return Ok(());
        }
        let shard = state.arguments.shard;
        state.stop_children();
        let now = state.arguments.env.clock.now();
        match state.restarts.failed(now) {
            Decision::Restart { after_ms } => {
                let node = &state.arguments.directory.me.name;
                warn!(%node, %shard, %reason, after_ms, "a replica failed, respawning it");
                myself.send_after(Duration::from_millis(after_ms), || {
                    ShardSupervisorMessage::Respawn
                });
                Ok(())
            }
            Decision::Escalate => {
                Err(format!("shard {shard} fails again and again, lastly because {reason}").into())
            }
        }
    }
}

impl ShardSupervisorState {
    async fn spawn(
        &mut self,
        myself: &ActorRef<ShardSupervisorMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let ShardSupervisorArguments {
            shard,
            config,
            directory,
            env,
            ..
        } = &self.arguments;
        let (shard, member) = (*shard, directory.me.id);
        let planted = self.arguments.planted;
        let incarnation = Incarnation {
            boot: directory.boot,
            respawn: if planted.is(Bug::IncarnationKept) {
                0
            } else {
                self.respawns
            },
        };
        let mut options = acceptor::Options::new(shard, member, incarnation);
        options.epoch = config.epoch;
        options.members = config.members.clone();
        options.cache_bytes = self.arguments.cache_bytes;
        options.purge_after_ms = self.arguments.purge_after_ms;
        options.planted = planted;
        options.indexed = directory.index().is_some_and(|index| index.follows(shard));
        let shared = SharedAcceptor::new(acceptor::Acceptor::new(options), env.buggify.clone());
        let arguments = ShardArguments {
            shard,
            acceptor: shared.clone(),
            directory: directory.clone(),
            env: env.clone(),
            restarts: self.respawns,
        };
        let (actor, _) = Actor::spawn_linked(None, Shard, arguments, myself.get_cell()).await?;
        let options = proposer::Options {
            shard,
            member,
            incarnation,
            epoch: config.epoch,
            members: config.members.clone(),
            seed: env.entropy.next_u64(),
            planted,
        };
        let arguments = ReplicatorArguments {
            options,
            directory: directory.clone(),
            env: env.clone(),
            shard: actor.clone(),
            acceptor: shared.clone(),
        };
        let (replicator, _) =
            Actor::spawn_linked(None, Replicator, arguments, myself.get_cell()).await?;
        self.children = vec![actor.get_cell(), replicator.get_cell()];
        let local = LocalShard {
            shard: actor,
            replicator,
            acceptor: shared,
        };
        directory.set_shard(shard, local.clone());
        introduce(directory, &config.members, &local);
        Ok(())
    }

    fn stop_children(&mut self) {
        self.arguments.directory.remove_shard(self.arguments.shard);
        for child in self.children.drain(..) {
            child.kill();
        }
    }
}

/// Tells a new replica what its predecessor knew: who is alive, and that the disk was witnessed.
fn introduce(directory: &Directory, members: &[MemberId], local: &LocalShard) {
    let live = directory.live();
    let witnesses = directory.witnesses();
    for peer in members.iter().filter(|peer| **peer != directory.me.id) {
        if witnesses.contains(peer) {
            let _ = local.shard.cast(ShardMessage::Witnessed);
        }
        if live.contains(peer) {
            let _ = local.replicator.cast(ReplicatorMessage::PeerUp(*peer));
            let _ = local.shard.cast(ShardMessage::PeerUp(*peer));
        }
    }
}

#[cfg(test)]
mod tests;
