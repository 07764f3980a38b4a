//! The ingress: the only remotable actor of a process. Every packet of every peer arrives here.

use std::sync::Arc;

use ractor::{Actor, ActorCell, ActorProcessingErr, ActorRef, SpawnErr};
use ractor_cluster::RactorClusterMessage;

use crate::hub::Hub;

/// What a process takes from others.
///
/// Sent by the link of another process; no reply; not idempotent (a packet of frames counts once);
/// if one is lost, the connection is lost, and the link with it.
#[derive(Debug, RactorClusterMessage)]
pub enum IngressMessage {
    /// An encoded [`crate::Packet`].
    Packet(Vec<u8>),
}

/// Hands packets to the links that they belong to. Without state of its own: it can be restarted
/// at any time, although peers then dial again, since they knew the old actor.
struct Ingress;

/// Spawns an ingress and makes it known to peers.
pub(crate) async fn spawn(
    hub: Arc<Hub>,
    supervisor: Option<ActorCell>,
) -> Result<ActorRef<IngressMessage>, SpawnErr> {
    let (actor, _) = match supervisor {
        Some(supervisor) => Actor::spawn_linked(None, Ingress, hub, supervisor).await?,
        None => Actor::spawn(None, Ingress, hub).await?,
    };
    Ok(actor)
}

impl Actor for Ingress {
    type Msg = IngressMessage;
    type State = Arc<Hub>;
    type Arguments = Arc<Hub>;

    async fn pre_start(
        &self,
        myself: ActorRef<IngressMessage>,
        hub: Arc<Hub>,
    ) -> Result<Arc<Hub>, ActorProcessingErr> {
        let (scope, group) = hub.own_group();
        ractor::pg::join_scoped(scope, group, vec![myself.get_cell()]);
        Ok(hub)
    }

    async fn handle(
        &self,
        _myself: ActorRef<IngressMessage>,
        message: IngressMessage,
        hub: &mut Arc<Hub>,
    ) -> Result<(), ActorProcessingErr> {
        let IngressMessage::Packet(bytes) = message;
        hub.receive(bytes.into());
        Ok(())
    }
}
