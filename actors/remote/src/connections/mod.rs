//! The connections actor: dials, takes what was accepted, follows sessions, begins links.
//!
//! Life of a connection: preface (a task) → handed to `NodeServer` → *opened* → *authenticated* →
//! *ready* → the peer's ingress is found in its process group → a link begins → up. The session's
//! *disconnected* is its end, whatever came before. Sessions are matched to connections by the
//! label that this crate puts on the stream; a session without one came through ractor_cluster's
//! own listener, which nobody should use, and is stopped.

mod meeting;
mod sessions;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use engram_core::limits::PACKET_BYTES_MAX;
use engram_core::protocol::link::limits::{GOODBYE_TIMEOUT_MS, PACKET_OVERHEAD_BYTES};
use engram_core::protocol::link::{DownReason, LinkEvent, Refusal};
use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use ractor_cluster::node::{NodeConnectionMode, NodeServerSessionInformation};
use ractor_cluster::{
    IncomingEncryptionMode, NodeEventSubscription, NodeServer, NodeServerMessage, RactorMessage,
};
use tokio::net::{TcpListener, TcpStream};

use crate::accept::{self, Accepting, Introduction};
use crate::connection::{Connection, ConnectionId, TICK_MS};
use crate::dial::{Answer, DialError};
use crate::handler::PeerId;
use crate::hub::Hub;
use crate::ingress::{self, IngressMessage};
use crate::sync::lock;
use crate::targets::{Attempt, Redial, Targets};

/// Restarts of the ingress that are tolerated within [`RESTART_PERIOD`].
const INGRESS_RESTARTS_MAX: usize = 8;
const RESTART_PERIOD: Duration = Duration::from_secs(60);

/// Mailbox of the connections actor. Everything is sent from within this process.
#[derive(RactorMessage)]
pub(crate) enum ConnectionsMessage {
    /// From the API: dial these addresses from now on. Idempotent.
    SetTargets(Vec<String>),
    /// From a timer: dial again. Void if a newer attempt was made.
    Redial(Attempt),
    /// From a dialling task, once per attempt.
    Dialled {
        attempt: Attempt,
        outcome: Result<Answer, DialError>,
    },
    /// From an accepting task; the reply is the verdict.
    Introduced(Introduction),
    /// From the same task, after it sent the verdict to the peer.
    Accepted {
        connection: ConnectionId,
        stream: TcpStream,
    },
    /// From the same task, if it could not.
    Abandoned(ConnectionId),
    /// From `NodeServer`.
    SessionOpened(NodeServerSessionInformation),
    /// From `NodeServer`.
    SessionAuthenticated(NodeServerSessionInformation),
    /// From `NodeServer`.
    SessionReady(NodeServerSessionInformation),
    /// From `NodeServer`.
    SessionEnded(NodeServerSessionInformation),
    /// From the hub.
    LinkUp {
        connection: ConnectionId,
        peer: PeerId,
        advertised: Option<String>,
    },
    /// From the hub, once for each link.
    LinkClosed {
        connection: ConnectionId,
        reason: DownReason,
    },
    /// From a timer.
    Tick,
    /// From the API: take leave of every peer, then stop. Idempotent.
    Shutdown,
    /// From a timer.
    ShutdownOverdue,
}

/// Passes `NodeServer`'s events on.
struct Events(ActorRef<ConnectionsMessage>);

impl Events {
    fn pass(&self, message: ConnectionsMessage) {
        // Without the connections actor there is nobody left to care.
        let _ = self.0.cast(message);
    }
}

impl NodeEventSubscription for Events {
    fn node_session_opened(&self, session: NodeServerSessionInformation) {
        self.pass(ConnectionsMessage::SessionOpened(session));
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        self.pass(ConnectionsMessage::SessionEnded(session));
    }

    fn node_session_authenticated(&self, session: NodeServerSessionInformation) {
        self.pass(ConnectionsMessage::SessionAuthenticated(session));
    }

    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        self.pass(ConnectionsMessage::SessionReady(session));
    }
}

/// What the actor starts with.
pub(crate) struct ConnectionsArguments {
    pub(crate) hub: Arc<Hub>,
    pub(crate) cookie: String,
    pub(crate) listener: Option<TcpListener>,
    pub(crate) own_ingress: bool,
    /// Whether peers may dial this process, so that some should be left to.
    pub(crate) is_member: bool,
}

/// What the actor works on.
pub(crate) struct State {
    hub: Arc<Hub>,
    is_member: bool,
    node_server: ActorRef<NodeServerMessage>,
    ingress: Option<ActorRef<IngressMessage>>,
    ingress_restarts: VecDeque<Instant>,
    accepting: Option<Accepting>,
    connections: BTreeMap<ConnectionId, Connection>,
    next_connection: u64,
    targets: Targets,
    /// Refusals that were logged, by process: a refused process keeps coming back.
    logged: BTreeMap<String, Refusal>,
    stopping: bool,
}

/// See the module.
pub(crate) struct Connections;

impl Actor for Connections {
    type Msg = ConnectionsMessage;
    type State = State;
    type Arguments = ConnectionsArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<ConnectionsMessage>,
        arguments: ConnectionsArguments,
    ) -> Result<State, ActorProcessingErr> {
        let ConnectionsArguments {
            hub,
            cookie,
            listener,
            own_ingress,
            is_member,
        } = arguments;
        hub.set_connections(myself.clone());
        // The ingress comes first, so that the first session already tells of it.
        let ingress = if own_ingress {
            Some(ingress::spawn(hub.clone(), Some(myself.get_cell())).await?)
        } else {
            None
        };
        let node_server = spawn_node_server(&hub, cookie, myself.get_cell()).await?;
        node_server.cast(NodeServerMessage::SubscribeToEvents {
            id: "connections".to_owned(),
            subscription: Box::new(Events(myself.clone())),
        })?;
        let accepting =
            listener.map(|listener| accept::spawn(listener, hub.clone(), myself.clone()));
        myself.send_interval(Duration::from_millis(TICK_MS), || ConnectionsMessage::Tick);
        Ok(State {
            hub,
            is_member,
            node_server,
            ingress,
            ingress_restarts: VecDeque::new(),
            accepting,
            connections: BTreeMap::new(),
            next_connection: 0,
            targets: Targets::default(),
            logged: BTreeMap::new(),
            stopping: false,
        })
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<ConnectionsMessage>,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        state.close();
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<ConnectionsMessage>,
        message: ConnectionsMessage,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ConnectionsMessage::SetTargets(addresses) => state.set_targets(&myself, addresses),
            ConnectionsMessage::Redial(attempt) => state.redial(&myself, attempt),
            ConnectionsMessage::Dialled { attempt, outcome } => {
                state.dialled(&myself, attempt, outcome)?;
            }
            ConnectionsMessage::Introduced(introduction) => state.introduced(introduction),
            ConnectionsMessage::Accepted { connection, stream } => {
                state.hand_over(connection, stream, true)?;
            }
            ConnectionsMessage::Abandoned(connection) => state.ended(&myself, connection),
            ConnectionsMessage::SessionOpened(session) => state.session_opened(session),
            ConnectionsMessage::SessionAuthenticated(session) => {
                if let Some(connection) = state.connection_of(&session) {
                    connection.authenticated = true;
                }
            }
            ConnectionsMessage::SessionReady(session) => {
                state.session_ready(&session);
                state.begin_links(&myself).await?;
            }
            ConnectionsMessage::SessionEnded(session) => {
                if let Some(id) = ConnectionId::from_label(&session.peer_addr) {
                    state.ended(&myself, id);
                    state.begin_links(&myself).await?;
                }
            }
            ConnectionsMessage::LinkUp {
                connection,
                peer,
                advertised,
            } => {
                state.link_up(connection, peer, advertised.as_deref());
            }
            ConnectionsMessage::LinkClosed { connection, reason } => {
                state.link_closed(connection, reason);
                state.begin_links(&myself).await?;
            }
            ConnectionsMessage::Tick => {
                state.tick(&myself);
                state.begin_links(&myself).await?;
            }
            ConnectionsMessage::Shutdown => state.shut_down(&myself),
            ConnectionsMessage::ShutdownOverdue => myself.stop(None),
        }
        state.finish_shutdown(&myself);
        *lock(&state.hub.targets) = state.targets.status();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<ConnectionsMessage>,
        event: SupervisionEvent,
        state: &mut State,
    ) -> Result<(), ActorProcessingErr> {
        let who = match &event {
            SupervisionEvent::ActorTerminated(who, _, _) => who.get_id(),
            SupervisionEvent::ActorFailed(who, error) => {
                tracing::error!(actor = %who.get_id(), %error, "an actor of the transport failed");
                who.get_id()
            }
            _ => return Ok(()),
        };
        if state.stopping {
            return Ok(());
        }
        if who == state.node_server.get_id() {
            return Err("the node server of the transport ended".into());
        }
        if state.ingress.as_ref().map(|ingress| ingress.get_id()) == Some(who) {
            return state.restart_ingress(&myself).await;
        }
        state.link_actor_ended(who);
        Ok(())
    }
}

/// A killed or panicked actor has no `post_stop`; its links must not outlive it all the same.
impl Drop for State {
    fn drop(&mut self) {
        self.close();
    }
}

async fn spawn_node_server(
    hub: &Hub,
    cookie: String,
    supervisor: ActorCell,
) -> Result<ActorRef<NodeServerMessage>, ActorProcessingErr> {
    // The name doubles as host name, because two nodes with the same `host:port` text regard each
    // other as themselves.
    let server = NodeServer::new(
        0,
        cookie,
        hub.process.clone(),
        hub.process.clone(),
        Some(IncomingEncryptionMode::Raw),
        Some(NodeConnectionMode::Isolated),
    )
    .with_listen_addr(std::net::Ipv4Addr::LOCALHOST.into())
    .with_max_inbound_frame_size((PACKET_BYTES_MAX + PACKET_OVERHEAD_BYTES) as u64);
    let (server, _) = Actor::spawn_linked(None, server, (), supervisor).await?;
    Ok(server)
}

impl State {
    async fn restart_ingress(
        &mut self,
        myself: &ActorRef<ConnectionsMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let now = Instant::now();
        self.ingress_restarts
            .retain(|restart| now.duration_since(*restart) < RESTART_PERIOD);
        if self.ingress_restarts.len() >= INGRESS_RESTARTS_MAX {
            return Err("the ingress failed too often".into());
        }
        self.ingress_restarts.push_back(now);
        self.ingress = Some(ingress::spawn(self.hub.clone(), Some(myself.get_cell())).await?);
        Ok(())
    }

    fn link_actor_ended(&mut self, who: ActorId) {
        let link = self.connections.values().find_map(|connection| {
            connection
                .link
                .as_ref()
                .filter(|(_, actor)| *actor == who)
                .map(|(link, _)| link)
        });
        if let Some(link) = link {
            // Nothing happens if it ended because its link had closed.
            self.hub.step(link, LinkEvent::Close(DownReason::Fault));
        }
    }

    /// Ends everything at once. Idempotent.
    fn close(&mut self) {
        self.accepting = None;
        self.hub.say_goodbye();
        for connection in self.connections.values_mut() {
            connection.cut(DownReason::Shutdown);
        }
    }

    fn shut_down(&mut self, myself: &ActorRef<ConnectionsMessage>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        self.accepting = None;
        self.targets.clear();
        self.hub.say_goodbye();
        for connection in self
            .connections
            .values_mut()
            .filter(|held| held.up.is_none())
        {
            connection.cut(DownReason::Shutdown);
        }
        myself.send_after(Duration::from_millis(GOODBYE_TIMEOUT_MS), || {
            ConnectionsMessage::ShutdownOverdue
        });
    }

    /// Peers close their connections when they hear goodbye; then nothing is left to wait for.
    fn finish_shutdown(&mut self, myself: &ActorRef<ConnectionsMessage>) {
        if self.stopping && self.connections.is_empty() {
            myself.stop(None);
        }
    }
}

fn schedule(myself: &ActorRef<ConnectionsMessage>, redial: Option<Redial>) {
    if let Some(Redial { attempt, delay }) = redial {
        myself.send_after(delay, move || ConnectionsMessage::Redial(attempt));
    }
}
