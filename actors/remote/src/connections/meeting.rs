//! How connections are made: dialling, introductions, and the choice between two of them.

use ractor::{ActorProcessingErr, ActorRef};
use ractor_cluster::NodeServerMessage;
use tokio::net::TcpStream;

use super::{ConnectionsMessage, State, schedule};
use crate::accept::Introduction;
use crate::connection::{Connection, ConnectionId};
use crate::dial::{Answer, DialError, dial};
use crate::handler::PeerId;
use crate::preface::Verdict;
use crate::status::count;
use crate::stream::LinkStream;
use crate::targets::Attempt;
use engram_core::protocol::link::limits::{CONNECTIONS_MAX, HALF_OPEN_MAX};
use engram_core::protocol::link::{DownReason, Refusal};

impl State {
    pub(super) fn set_targets(
        &mut self,
        myself: &ActorRef<ConnectionsMessage>,
        addresses: Vec<String>,
    ) {
        if self.stopping {
            return;
        }
        for attempt in self.targets.replace(addresses) {
            self.start_dial(myself, attempt);
        }
    }

    pub(super) fn redial(&mut self, myself: &ActorRef<ConnectionsMessage>, attempt: Attempt) {
        if self.targets.dial(&attempt) {
            self.start_dial(myself, attempt);
        }
    }

    pub(super) fn start_dial(&self, myself: &ActorRef<ConnectionsMessage>, attempt: Attempt) {
        let (myself, process) = (myself.clone(), self.hub.process.clone());
        tokio::spawn(async move {
            let outcome = dial(&attempt.address, &process).await;
            // Without the connections actor the connection just closes.
            let _ = myself.cast(ConnectionsMessage::Dialled { attempt, outcome });
        });
    }

    pub(super) fn dialled(
        &mut self,
        myself: &ActorRef<ConnectionsMessage>,
        attempt: Attempt,
        outcome: Result<Answer, DialError>,
    ) -> Result<(), ActorProcessingErr> {
        if !self.targets.is_current(&attempt) {
            return Ok(());
        }
        let random = self.hub.random.next();
        let Answer {
            verdict,
            process,
            stream,
        } = match outcome {
            Ok(answer) => answer,
            Err(error) => {
                self.failed(myself, &attempt, error);
                return Ok(());
            }
        };
        match verdict {
            Verdict::Proceed if !self.is_outranked(&process, true) => {
                self.targets.greeting(&attempt, &process);
                let id = self.add_connection(Connection::new(process, Some(attempt)));
                self.hand_over(id, stream, false)?;
            }
            Verdict::Proceed | Verdict::Connected => {
                let peer = self.peer_of(&process);
                let redial = self.targets.served(&attempt, &process, peer, random);
                schedule(myself, redial);
            }
            Verdict::Myself => self.targets.myself(&attempt),
            Verdict::Busy => {
                self.failed(myself, &attempt, DialError::Refused(Refusal::Busy));
            }
            Verdict::Version => self.failed(myself, &attempt, DialError::Stranger),
        }
        Ok(())
    }

    pub(super) fn failed(
        &mut self,
        myself: &ActorRef<ConnectionsMessage>,
        attempt: &Attempt,
        error: DialError,
    ) {
        let text = error.to_string();
        let random = self.hub.random.next();
        if let Some((redial, news)) = self.targets.failed(attempt, error, random) {
            if news {
                tracing::warn!(address = %attempt.address, error = %text, "no link");
            }
            schedule(myself, Some(redial));
        }
    }

    pub(super) fn introduced(&mut self, Introduction { process, reply }: Introduction) {
        let verdict = if process == self.hub.process {
            Verdict::Myself
        } else if self.stopping || self.connections.len() >= CONNECTIONS_MAX {
            Verdict::Busy
        } else if self.is_outranked(&process, false) {
            Verdict::Connected
        } else {
            Verdict::Proceed
        };
        let id = match verdict {
            Verdict::Proceed => {
                self.make_room();
                self.add_connection(Connection::new(process, None))
            }
            _ => ConnectionId(0),
        };
        // The task that asked may have run out of time.
        let _ = reply.send((verdict, id));
    }

    /// Ends the oldest accepted connection that is not up, if there are too many of them.
    pub(super) fn make_room(&mut self) {
        let mut half_open = self
            .connections
            .values_mut()
            .filter(|connection| !connection.dialled && connection.up.is_none());
        let oldest = half_open.next();
        if let Some(oldest) = oldest
            && half_open.count() + 1 >= HALF_OPEN_MAX
        {
            count(&self.hub.counters.connections_evicted);
            oldest.cut(DownReason::GreetingTimeout);
        }
    }

    pub(super) fn add_connection(&mut self, connection: Connection) -> ConnectionId {
        self.next_connection += 1;
        let id = ConnectionId(self.next_connection);
        self.connections.insert(id, connection);
        id
    }

    /// Gives the stream to ractor_cluster.
    pub(super) fn hand_over(
        &mut self,
        id: ConnectionId,
        stream: TcpStream,
        is_server: bool,
    ) -> Result<(), ActorProcessingErr> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        match LinkStream::new(stream, id) {
            Ok((stream, cut)) => {
                connection.cut = Some(cut);
                self.node_server
                    .cast(NodeServerMessage::ConnectionOpenedExternal {
                        stream: Box::new(stream),
                        is_server,
                    })?;
            }
            Err(error) => {
                tracing::warn!(%error, "cannot set up a connection");
                connection.cut(DownReason::ConnectionLost);
            }
        }
        Ok(())
    }

    pub(super) fn is_outranked(&self, process: &str, dialled: bool) -> bool {
        self.connections.values().any(|connection| {
            connection.process == process && connection.outranks(&self.hub.process, dialled)
        })
    }

    /// The peer of the process' link, if one is up.
    pub(super) fn peer_of(&self, process: &str) -> Option<PeerId> {
        self.connections
            .values()
            .filter(|connection| connection.process == process)
            .find_map(|connection| connection.up)
    }
}
