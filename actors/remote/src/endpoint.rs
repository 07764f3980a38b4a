//! The endpoint: what a process opens to take part in a cluster.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use engram_core::limits::NAME_BYTES_MAX;
use engram_core::protocol::link::Window;
use engram_core::protocol::link::limits::{DIAL_TARGETS_MAX, PROCESS_BYTES_MAX};
use ractor::{Actor, ActorCell, ActorRef, SpawnErr};
use tokio::net::{TcpListener, lookup_host};

use crate::connections::{Connections, ConnectionsArguments, ConnectionsMessage};
use crate::handler::{Handler, PeerHandle, PeerId, SendError};
use crate::hub::Hub;
use crate::ingress::{self, IngressMessage};
use crate::random::Random;
use crate::status::EndpointStatus;

/// What a process is on the network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EndpointKind {
    /// Listens, dials and is dialled.
    Member {
        /// Where to listen, `host:port`; port 0 takes a free one.
        listen: String,
        /// Name of the node: 1 to 64 letters, digits, `-`, `_`, `.`.
        node: String,
        /// How often its disk was booted, this time included.
        boot: u32,
    },
    /// Only dials.
    Client,
}

/// Who starts the ingress, and restarts it when it fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IngressOwner {
    /// The endpoint.
    #[default]
    Endpoint,
    /// The caller, with [`Endpoint::spawn_ingress`]. Until it did, no link comes up.
    Caller,
}

/// How to open an [`Endpoint`].
#[derive(Clone)]
pub struct EndpointConfig {
    /// The secret that all processes of the cluster share.
    pub cookie: String,
    /// Member or client.
    pub kind: EndpointKind,
    /// Addresses to dial, `host:port`; see [`Endpoint::set_dial_targets`].
    pub dial: Vec<String>,
    /// Supervisor of the endpoint's actors, told when they fail past repair.
    pub supervisor: Option<ActorCell>,
    /// Who owns the ingress.
    pub ingress: IngressOwner,
    /// What each link may hold; must be the same in all processes.
    pub window: Window,
}

impl EndpointConfig {
    /// A configuration that dials nobody.
    pub fn new(cookie: impl Into<String>, kind: EndpointKind) -> EndpointConfig {
        EndpointConfig {
            cookie: cookie.into(),
            kind,
            dial: Vec::new(),
            supervisor: None,
            ingress: IngressOwner::default(),
            window: Window::default(),
        }
    }
}

impl fmt::Debug for EndpointConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointConfig")
            .field("kind", &self.kind)
            .field("dial", &self.dial)
            .finish_non_exhaustive()
    }
}

/// An endpoint could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// A name is empty, too long, or has other characters than letters, digits, `-`, `_`, `.`.
    #[error("`{text}` is no {field}: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_`, `.`")]
    BadName {
        /// Which name.
        field: &'static str,
        /// What was given.
        text: String,
    },
    /// The listening address does not resolve.
    #[error("cannot listen on `{address}`: it does not resolve to an address: {source}")]
    BadAddress {
        /// What was given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// Another process listens there.
    #[error("cannot listen on `{address}`: the port is in use by another process")]
    AddressInUse {
        /// What was given.
        address: String,
    },
    /// Listening failed otherwise.
    #[error("cannot listen on `{address}`: {source}")]
    Listen {
        /// What was given.
        address: String,
        /// Why.
        source: io::Error,
    },
    /// More addresses to dial than [`DIAL_TARGETS_MAX`].
    #[error("{0} addresses to dial, {DIAL_TARGETS_MAX} are possible")]
    TooManyTargets(usize),
    /// The operating system has no random numbers.
    #[error("the operating system gives no random numbers: {0}")]
    Entropy(getrandom::Error),
    /// An actor did not start.
    #[error("the transport did not start: {0}")]
    Start(#[from] SpawnErr),
    /// The endpoint was shut down, or failed.
    #[error("the endpoint is closed")]
    Closed,
}

/// This process' end of all its links. Cheap to clone; dropping it does not close it, see
/// [`Endpoint::shutdown`]. One a process: ractor's registries are shared by the whole process.
#[derive(Clone)]
pub struct Endpoint {
    hub: Arc<Hub>,
    connections: ActorRef<ConnectionsMessage>,
    local: Option<SocketAddr>,
}

impl Endpoint {
    /// Listens (members), starts the actors and begins to dial. Returns without waiting for peers.
    ///
    /// # Errors
    /// [`EndpointError`] for a bad name or address, a port in use, or actors that do not start.
    pub async fn start(
        config: EndpointConfig,
        handler: Arc<dyn Handler>,
    ) -> Result<Endpoint, EndpointError> {
        let listener = match &config.kind {
            EndpointKind::Member { listen, .. } => Some(bind(listen).await?),
            EndpointKind::Client => None,
        };
        Endpoint::start_on(listener, config, handler).await
    }

    /// Like [`Endpoint::start`], on a listener from [`bind`]: so the address is known before the
    /// handler must tell it.
    ///
    /// # Errors
    /// As [`Endpoint::start`].
    pub async fn start_on(
        listener: Option<TcpListener>,
        config: EndpointConfig,
        handler: Arc<dyn Handler>,
    ) -> Result<Endpoint, EndpointError> {
        check_targets(&config.dial)?;
        let random = Random::new().map_err(EndpointError::Entropy)?;
        let process = process_name(&config.kind, random.next())?;
        let local = listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let hub = Arc::new(Hub::new(process, handler, random, config.window));
        let arguments = ConnectionsArguments {
            hub: hub.clone(),
            cookie: config.cookie,
            is_member: listener.is_some(),
            listener,
            own_ingress: config.ingress == IngressOwner::Endpoint,
        };
        let (connections, _) = match config.supervisor {
            Some(supervisor) => {
                Actor::spawn_linked(None, Connections, arguments, supervisor).await?
            }
            None => Actor::spawn(None, Connections, arguments).await?,
        };
        let endpoint = Endpoint {
            hub,
            connections,
            local,
        };
        endpoint.set_dial_targets(config.dial)?;
        Ok(endpoint)
    }

    /// Where a member listens; `None` for clients.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.local
    }

    /// Name of this process, unique among all lives of all processes.
    pub fn process(&self) -> &str {
        &self.hub.process
    }

    /// Queues a frame for a peer and returns at once; callable from any thread. Frames of one
    /// caller to one peer stay in order. That a frame was taken does not mean that it arrives.
    ///
    /// # Errors
    /// [`SendError`]; the frame is dropped and counted.
    pub fn send(&self, to: PeerId, frame: Bytes) -> Result<(), SendError> {
        self.hub.send(to, frame)
    }

    /// The link to a peer, if it is up; spares the look-up of [`Endpoint::send`].
    pub fn peer(&self, id: PeerId) -> Option<PeerHandle> {
        self.hub.peer(id)
    }

    /// A snapshot.
    pub fn status(&self) -> EndpointStatus {
        self.hub.status()
    }

    /// Dials these addresses from now on, each until it has a link and again when it lost it.
    /// Host names are resolved at every dial; this process' own address is recognised and does no
    /// harm. Links to addresses that are no longer in the list stay until they end.
    ///
    /// # Errors
    /// [`EndpointError::TooManyTargets`], or [`EndpointError::Closed`].
    pub fn set_dial_targets(&self, addresses: Vec<String>) -> Result<(), EndpointError> {
        check_targets(&addresses)?;
        self.connections
            .cast(ConnectionsMessage::SetTargets(addresses))
            .map_err(|_| EndpointError::Closed)
    }

    /// Starts an ingress that belongs to `supervisor`, see [`IngressOwner::Caller`].
    ///
    /// # Errors
    /// [`EndpointError::Start`].
    pub async fn spawn_ingress(
        &self,
        supervisor: Option<ActorCell>,
    ) -> Result<ActorRef<IngressMessage>, EndpointError> {
        Ok(ingress::spawn(self.hub.clone(), supervisor).await?)
    }

    /// Sends what is queued, takes leave of every peer, closes everything and waits until that is
    /// done, for about half a second at most. Idempotent.
    pub async fn shutdown(&self) {
        // An error means that it is over already.
        let _ = self.connections.cast(ConnectionsMessage::Shutdown);
        let _ = self.connections.wait(None).await;
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("process", &self.hub.process)
            .finish_non_exhaustive()
    }
}

fn check_name(field: &'static str, text: &str) -> Result<(), EndpointError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(good) {
        Ok(())
    } else {
        Err(EndpointError::BadName {
            field,
            text: text.to_owned(),
        })
    }
}

fn check_targets(addresses: &[String]) -> Result<(), EndpointError> {
    if addresses.len() > DIAL_TARGETS_MAX {
        return Err(EndpointError::TooManyTargets(addresses.len()));
    }
    Ok(())
}

const _: () = assert!(NAME_BYTES_MAX + 1 + 10 + 1 + 16 <= PROCESS_BYTES_MAX);

fn process_name(kind: &EndpointKind, nonce: u64) -> Result<String, EndpointError> {
    match kind {
        EndpointKind::Member { node, boot, .. } => {
            check_name("node name", node)?;
            Ok(format!("{node}.{boot}.{nonce:016x}"))
        }
        EndpointKind::Client => Ok(format!("client-{nonce:016x}")),
    }
}

/// Listens on `host:port`; port 0 takes a free one.
///
/// # Errors
/// [`EndpointError`] if the address does not resolve, or cannot be listened on.
pub async fn bind(address: &str) -> Result<TcpListener, EndpointError> {
    let bad = |source| EndpointError::BadAddress {
        address: address.to_owned(),
        source,
    };
    let resolved: Vec<SocketAddr> = lookup_host(address).await.map_err(bad)?.collect();
    if resolved.is_empty() {
        return Err(bad(io::Error::new(
            io::ErrorKind::NotFound,
            "the name has no address",
        )));
    }
    TcpListener::bind(resolved.as_slice())
        .await
        .map_err(|source| match source.kind() {
            io::ErrorKind::AddrInUse => EndpointError::AddressInUse {
                address: address.to_owned(),
            },
            _ => EndpointError::Listen {
                address: address.to_owned(),
                source,
            },
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["a", "eu-1.rack_2", &"n".repeat(NAME_BYTES_MAX)] {
            assert!(check_name("node name", good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "a@b", "ä", &"n".repeat(NAME_BYTES_MAX + 1)] {
            assert!(check_name("node name", bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn bad_addresses_and_used_ports_are_told_apart() {
        assert!(matches!(
            bind("nonsense").await,
            Err(EndpointError::BadAddress { .. })
        ));
        let taken = bind("127.0.0.1:0").await.expect("a free port");
        let address = taken.local_addr().expect("it is bound").to_string();
        assert!(matches!(
            bind(&address).await,
            Err(EndpointError::AddressInUse { .. })
        ));
    }

    #[test]
    fn the_cookie_is_not_printed() {
        let config = EndpointConfig::new("s3cret", EndpointKind::Client);
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
