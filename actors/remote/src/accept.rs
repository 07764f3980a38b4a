//! Accepting connections: the preface with whoever connects, many at a time, none for long.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use engram_core::protocol::link::limits::{HALF_OPEN_MAX, PREFACE_TIMEOUT_MS};
use ractor::rpc::CallResult;
use ractor::{ActorRef, RpcReplyPort};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::connection::ConnectionId;
use crate::connections::ConnectionsMessage;
use crate::hub::Hub;
use crate::preface::{PrefaceError, Verdict, receive_name, send_verdict};
use crate::status::count;

/// Pause after the system refused to accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The accepting task; ends when this is dropped, so that the port is free once its owner is gone,
/// however it went.
#[derive(Debug)]
pub(crate) struct Accepting(AbortHandle);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A place among the connections, given up unless the stream follows.
struct Place<'a> {
    connections: &'a ActorRef<ConnectionsMessage>,
    connection: Option<ConnectionId>,
}

impl Place<'_> {
    fn fill(mut self, stream: TcpStream) {
        if let Some(connection) = self.connection.take() {
            // Without the connections actor the connection just closes.
            let _ = self
                .connections
                .cast(ConnectionsMessage::Accepted { connection, stream });
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            let _ = self
                .connections
                .cast(ConnectionsMessage::Abandoned(connection));
        }
    }
}

/// A process introduced itself.
#[derive(Debug)]
pub(crate) struct Introduction {
    /// Its name, unproven.
    pub(crate) process: String,
    /// Whether to go on, and as which connection.
    pub(crate) reply: RpcReplyPort<(Verdict, ConnectionId)>,
}

/// Accepts until dropped. A silent or strange connection costs one of [`HALF_OPEN_MAX`] places for
/// a few seconds at most; when they run out the oldest gives way, so that nobody is locked out.
pub(crate) fn spawn(
    listener: TcpListener,
    hub: Arc<Hub>,
    connections: ActorRef<ConnectionsMessage>,
) -> Accepting {
    let task = tokio::spawn(async move {
        let mut greetings = JoinSet::new();
        let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections for a moment");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            while greetings.try_join_next().is_some() {}
            oldest.retain(|greeting| !greeting.is_finished());
            if oldest.len() >= HALF_OPEN_MAX
                && let Some(greeting) = oldest.pop_front()
            {
                greeting.abort();
                count(&hub.counters.connections_evicted);
            }
            let (hub, connections) = (hub.clone(), connections.clone());
            oldest.push_back(greetings.spawn(greet(stream, hub, connections)));
        }
    });
    Accepting(task.abort_handle())
}

async fn greet(stream: TcpStream, hub: Arc<Hub>, connections: ActorRef<ConnectionsMessage>) {
    let limit = Duration::from_millis(PREFACE_TIMEOUT_MS);
    match timeout(limit, exchange(stream, &hub, &connections)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            count(&hub.counters.connections_strange);
            tracing::debug!(%error, "a connection failed at its preface");
        }
        Err(_) => {
            count(&hub.counters.connections_strange);
            tracing::debug!("a connection stayed silent");
        }
    }
}

async fn exchange(
    mut stream: TcpStream,
    hub: &Hub,
    connections: &ActorRef<ConnectionsMessage>,
) -> Result<(), PrefaceError> {
    stream.set_nodelay(true)?;
    let process = match receive_name(&mut stream).await {
        Ok(process) => process,
        Err(PrefaceError::Version(theirs)) => {
            send_verdict(&mut stream, Verdict::Version, &hub.process).await?;
            return Err(PrefaceError::Version(theirs));
        }
        Err(error) => return Err(error),
    };
    let introduce = |reply| ConnectionsMessage::Introduced(Introduction { process, reply });
    let Ok(CallResult::Success((verdict, connection))) = connections.call(introduce, None).await
    else {
        // The endpoint is shutting down.
        return Ok(());
    };
    let place = Place {
        connections,
        connection: (verdict == Verdict::Proceed).then_some(connection),
    };
    send_verdict(&mut stream, verdict, &hub.process).await?;
    place.fill(stream);
    Ok(())
}
