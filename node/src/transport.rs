//! The node's side of its links: [`Transport`] over an [`Endpoint`], and what arrives on it.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use engram_actors::directory::Directory;
use engram_actors::env::{Store, Transport};
use engram_actors::gossip::GossipActorMessage;
use engram_actors::ingress::{Router, Sender};
use engram_core::protocol::membership::{Identity, admit};
use engram_core::storage::format::CODEC;
use engram_core::types::{Lsn, MemberId, SessionId};
use engram_core::wire::Frame;
use engram_remote::{
    DownReason, Endpoint, Handler, HelloIdentity, MemberIdentity, PeerHandle, PeerHello, PeerId,
    Refusal, Role,
};
use tracing::{debug, info, warn};

/// Sends frames over an endpoint, once it is open.
#[derive(Default)]
pub struct ClusterTransport {
    endpoint: OnceLock<Endpoint>,
}

impl ClusterTransport {
    /// Sets the endpoint. Frames sent before are dropped, as if the network had lost them.
    pub fn open(&self, endpoint: Endpoint) {
        // There is one endpoint a process, so a second one cannot be offered.
        let _ = self.endpoint.set(endpoint);
    }

    fn push(&self, to: PeerId, frame: Bytes) {
        let Some(endpoint) = self.endpoint.get() else {
            return;
        };
        if let Err(error) = endpoint.send(to, frame) {
            debug!(%to, %error, "dropped a frame");
        }
    }
}

impl Transport for ClusterTransport {
    fn send(&self, to: MemberId, frame: &Frame) {
        self.push(PeerId::Member(to), frame.encode().into());
    }

    fn broadcast(&self, to: &[MemberId], frame: &Frame) {
        let frame = Bytes::from(frame.encode());
        for member in to {
            self.push(PeerId::Member(*member), frame.clone());
        }
    }

    fn respond(&self, to: SessionId, frame: &Frame) {
        self.push(PeerId::Client(to), frame.encode().into());
    }
}

/// Takes what links report.
pub struct NodeHandler {
    directory: Arc<Directory>,
    store: Arc<dyn Store>,
    router: Router,
    /// Members met since the start: dialled again when a link is lost.
    met: Mutex<Vec<String>>,
    on_met: OnceLock<Box<dyn Fn(Vec<String>) + Send + Sync>>,
    identity: Identity,
}

impl NodeHandler {
    /// A handler that has not been told of anything yet.
    pub fn new(
        directory: Arc<Directory>,
        store: Arc<dyn Store>,
        router: Router,
        identity: Identity,
    ) -> NodeHandler {
        let met = Mutex::default();
        NodeHandler {
            directory,
            store,
            router,
            met,
            on_met: OnceLock::new(),
            identity,
        }
    }

    /// Sets what is called with all addresses of members met, when there is a new one.
    pub fn on_met(&self, call: impl Fn(Vec<String>) + Send + Sync + 'static) {
        // Set once, right after the endpoint was opened.
        let _ = self.on_met.set(Box::new(call));
    }

    fn identity(&self) -> Identity {
        self.directory
            .identity()
            .unwrap_or_else(|| self.identity.clone())
    }

    fn meet(&self, address: &str) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if !met.iter().any(|known| known == address) {
            met.push(address.into());
            let all = met.clone();
            drop(met);
            if let Some(call) = self.on_met.get() {
                call(all);
            }
        }
    }
}

impl Handler for NodeHandler {
    fn hello(&self) -> HelloIdentity {
        let identity = self.identity();
        let payload = bincode::encode_to_vec(&identity, CODEC);
        HelloIdentity {
            cluster: identity.cluster,
            role: Role::Member(MemberIdentity {
                member: identity.member.id,
                node: identity.member.name,
                boot: identity.boot,
                address: identity.member.address,
                shards: identity.shards,
                cluster_id: Some(identity.cluster_id).filter(|id| *id != 0),
            }),
            payload: payload.expect("writing to memory succeeds"),
        }
    }

    fn check(&self, peer: &HelloIdentity) -> Result<(), Refusal> {
        if peer.member().is_none() {
            return Ok(());
        }
        let policy = |reason: String| Refusal::policy(reason);
        let theirs = decode_identity(&peer.payload)
            .ok_or_else(|| policy("its greeting cannot be read by this release".into()))?;
        let config = self.directory.config();
        admit(&self.identity(), config.as_deref(), &theirs)
            .map_err(|error| policy(error.to_string()))
    }

    fn up(&self, peer: &PeerHandle, hello: &PeerHello) {
        if let PeerId::Member(_) = peer.id()
            && let Some(identity) = decode_identity(&hello.identity.payload)
        {
            info!(peer = %identity.member.name, address = %identity.member.address, "connected");
            self.meet(&identity.member.address);
            // Read before anything arrives on this connection: so it is from earlier ones.
            let seen = self.directory.seen_lsn(identity.member.id);
            if let Some(gossip) = self.directory.gossip() {
                let _ = gossip.cast(GossipActorMessage::Up(identity, seen));
            }
        }
    }

    fn down(&self, peer: PeerId, reason: DownReason) {
        if let PeerId::Member(member) = peer {
            warn!(%peer, %reason, "disconnected");
            if let Some(gossip) = self.directory.gossip() {
                let _ = gossip.cast(GossipActorMessage::Down(member));
            }
        }
    }

    fn frames(&self, peer: PeerId, frames: Vec<Bytes>) {
        let sender = match peer {
            PeerId::Member(member) => Sender::Member(member),
            PeerId::Client(session) => Sender::Client(session),
        };
        for frame in frames {
            self.router.frame(sender, &frame);
        }
    }

    fn seen_lsn(&self, of: MemberId) -> Lsn {
        self.directory.seen_lsn(of)
    }

    fn durable_lsn(&self) -> Lsn {
        self.store.durable_lsn()
    }

    fn saw_lsn(&self, of: MemberId, lsn: Lsn) {
        self.directory.saw_lsn(of, lsn);
    }
}

fn decode_identity(payload: &[u8]) -> Option<Identity> {
    match bincode::decode_from_slice(payload, CODEC) {
        Ok((identity, read)) if read == payload.len() => Some(identity),
        _ => None,
    }
}
