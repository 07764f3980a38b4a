//! What becomes of connections: sessions, links, and their ends.

use std::sync::Arc;

use engram_core::protocol::link::limits::HALF_OPEN_MAX;
use engram_core::protocol::link::{DownReason, LinkEvent, dials_first};
use engram_core::types::SessionId;
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef};
use ractor_cluster::NodeId;
use ractor_cluster::node::NodeServerSessionInformation;

use super::{ConnectionsMessage, State, schedule};
use crate::connection::{Connection, ConnectionId, Overdue, Session};
use crate::dial::DialError;
use crate::handler::PeerId;
use crate::hub::Hub;
use crate::ingress::IngressMessage;
use crate::link::{LinkActor, LinkParts, LiveLink};

impl State {
    pub(super) fn connection_of(
        &mut self,
        info: &NodeServerSessionInformation,
    ) -> Option<&mut Connection> {
        let id = ConnectionId::from_label(&info.peer_addr)?;
        self.connections.get_mut(&id)
    }

    pub(super) fn session_opened(&mut self, info: NodeServerSessionInformation) {
        match self.connection_of(&info) {
            Some(connection) if connection.ending.is_none() => {
                connection.session = Some(Session {
                    actor: info.actor,
                    node_id: info.node_id,
                    ready: false,
                });
            }
            _ => info
                .actor
                .stop(Some("not a connection of this endpoint".to_owned())),
        }
    }

    pub(super) fn session_ready(&mut self, info: &NodeServerSessionInformation) {
        let Some(connection) = self.connection_of(info) else {
            return;
        };
        let proven = info
            .peer_name
            .as_ref()
            .and_then(|name| name.name.split_once('@'));
        if proven.map(|(process, _)| process) != Some(connection.process.as_str()) {
            tracing::warn!(process = %connection.process, "a process lied about its name");
            connection.cut(DownReason::ConnectionLost);
        } else if let Some(session) = &mut connection.session {
            session.ready = true;
        }
    }

    /// Begins a link on every connection that can bear one, to processes that have none.
    pub(super) async fn begin_links(
        &mut self,
        myself: &ActorRef<ConnectionsMessage>,
    ) -> Result<(), ActorProcessingErr> {
        let candidates: Vec<ConnectionId> =
            self.connections
                .iter()
                .filter(|(_, connection)| {
                    connection.can_bear_link()
                        && !self.connections.values().any(|other| {
                            other.process == connection.process && other.link.is_some()
                        })
                })
                .map(|(id, _)| *id)
                .collect();
        for id in candidates {
            self.begin_link(myself, id).await?;
        }
        Ok(())
    }

    pub(super) async fn begin_link(
        &mut self,
        myself: &ActorRef<ConnectionsMessage>,
        id: ConnectionId,
    ) -> Result<(), ActorProcessingErr> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        let Some(session) = &connection.session else {
            return Ok(());
        };
        // If the ingress is not there, it is about to be restarted: the next tick looks again.
        let group = Hub::group_of(&connection.process);
        let Some(remote) = find_ingress(group, session.node_id) else {
            return Ok(());
        };
        let parts = LinkParts {
            connection: id,
            process: connection.process.clone(),
            session: SessionId(self.hub.random.next()),
            dialled: connection.dialled,
            remote,
        };
        let link = Arc::new(LiveLink::new(parts, self.hub.window()));
        let arguments = (self.hub.clone(), link.clone());
        let (actor, _) = Actor::spawn_linked(None, LinkActor, arguments, myself.get_cell()).await?;
        connection.link = Some((link.clone(), actor.get_id()));
        link.set_actor(actor);
        self.hub.begin(&link);
        Ok(())
    }

    pub(super) fn link_up(&mut self, id: ConnectionId, peer: PeerId, advertised: Option<&str>) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.up = Some(peer);
        connection.was_up = true;
        self.logged.remove(&connection.process);
        self.targets.link_up(&connection.process, advertised, peer);
    }

    pub(super) fn link_closed(&mut self, id: ConnectionId, reason: DownReason) {
        self.log_refusal(id, &reason);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let cut = reason.cuts_connection();
        connection.link_ended(reason.clone());
        if cut {
            connection.cut(reason);
        }
    }

    /// Logs a refusal once for each process, and for incoming connections only: a refused dial is
    /// logged with its address.
    pub(super) fn log_refusal(&mut self, id: ConnectionId, reason: &DownReason) {
        let (DownReason::RefusedByUs(refusal) | DownReason::RefusedByPeer(refusal)) = reason else {
            return;
        };
        let Some(connection) = self.connections.get(&id).filter(|held| !held.dialled) else {
            return;
        };
        if self.logged.get(&connection.process) == Some(refusal) {
            return;
        }
        if self.logged.len() >= HALF_OPEN_MAX {
            self.logged.pop_first();
        }
        self.logged
            .insert(connection.process.clone(), refusal.clone());
        tracing::warn!(process = %connection.process, %reason, "no link");
    }

    /// A connection is gone: looks after the addresses that it served.
    pub(super) fn ended(&mut self, myself: &ActorRef<ConnectionsMessage>, id: ConnectionId) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        if let Some((link, _)) = &connection.link {
            self.hub
                .step(link, LinkEvent::Close(DownReason::ConnectionLost));
        }
        let process = connection.process.as_str();
        let has_sibling = self
            .connections
            .values()
            .any(|other| other.process == process);
        let peer = self.peer_of(process);
        let error = connection.error(has_sibling);
        let random = self.hub.random.next();
        if connection.was_up && peer.is_none() {
            let courtesy = self.is_member && !dials_first(&self.hub.process, process);
            let lost = error
                .clone()
                .unwrap_or(DialError::Lost(DownReason::ConnectionLost));
            for redial in self.targets.link_down(process, &lost, courtesy, random) {
                schedule(myself, Some(redial));
            }
        }
        if let Some(attempt) = &connection.attempt {
            match error {
                Some(error) if peer.is_none() => self.failed(myself, attempt, error),
                _ => {
                    let redial = self.targets.served(attempt, process, peer, random);
                    schedule(myself, redial);
                }
            }
        }
    }

    pub(super) fn tick(&mut self, myself: &ActorRef<ConnectionsMessage>) {
        let mut gone = Vec::new();
        for (id, connection) in &mut self.connections {
            match connection.tick() {
                Overdue::No => {}
                Overdue::Cut => connection.cut(DownReason::GreetingTimeout),
                Overdue::Gone => gone.push(*id),
            }
        }
        for id in gone {
            if let Some(Some(session)) = self.connections.get(&id).map(|held| &held.session) {
                session.actor.kill();
            }
            self.ended(myself, id);
        }
    }
}

/// The ingress of a process as one session knows it. After a restart there may be two for a
/// moment: the newer has the higher id.
fn find_ingress(
    (scope, group): (String, String),
    session: NodeId,
) -> Option<ActorRef<IngressMessage>> {
    ractor::pg::get_scoped_members(&scope, &group)
        .into_iter()
        .filter_map(|cell| match cell.get_id() {
            ActorId::Remote { node_id, pid } if node_id == session => Some((pid, cell)),
            _ => None,
        })
        .max_by_key(|(pid, _)| *pid)
        .map(|(_, cell)| cell.into())
}
