//! One live link: what senders, the ingress and the link's actor share, and the actor itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engram_core::protocol::link::limits::HEARTBEAT_MS;
use engram_core::protocol::link::{
    Credit, DownReason, Link, LinkEvent, Outbox, PeerHello, PushError, Window,
};
use engram_core::types::{Lsn, SessionId};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::connection::ConnectionId;
use crate::handler::PeerId;
use crate::hub::Hub;
use crate::ingress::IngressMessage;
use crate::packet::{Body, Header, Packet};
use crate::status::LinkStatus;
use crate::sync::lock;

/// Packets that one flush sends before it lets the actor's other messages through.
const PACKETS_PER_FLUSH: usize = 64;

/// The peer of a link that came up.
#[derive(Debug)]
pub(crate) struct UpPeer {
    pub(crate) id: PeerId,
    pub(crate) hello: PeerHello,
    since: Instant,
}

/// What a link is made of.
#[derive(Debug)]
pub(crate) struct LinkParts {
    pub(crate) connection: ConnectionId,
    /// The peer's process.
    pub(crate) process: String,
    /// What the peer must stamp.
    pub(crate) session: SessionId,
    /// Whether this process dialled.
    pub(crate) dialled: bool,
    /// The peer's ingress.
    pub(crate) remote: ActorRef<IngressMessage>,
}

/// One link, shared by everybody who has to do with it. Lock order: machine before outbox.
pub(crate) struct LiveLink {
    pub(crate) parts: LinkParts,
    /// Also orders the calls to the handler: it is held during each of them.
    pub(crate) machine: Mutex<Link>,
    outbox: Mutex<Outbox>,
    actor: OnceLock<ActorRef<LinkMessage>>,
    peer: OnceLock<UpPeer>,
    /// What to stamp; 0 until the peer's hello came.
    stamp: AtomicU64,
    seen_lsn: AtomicU64,
    round_trip_micros: AtomicU64,
}

/// The peer's ingress is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Broken;

impl LiveLink {
    pub(crate) fn new(parts: LinkParts, window: Window) -> LiveLink {
        LiveLink {
            machine: Mutex::new(Link::new(parts.session)),
            parts,
            outbox: Mutex::new(Outbox::new(window)),
            actor: OnceLock::new(),
            peer: OnceLock::new(),
            stamp: AtomicU64::new(0),
            seen_lsn: AtomicU64::new(0),
            round_trip_micros: AtomicU64::new(0),
        }
    }

    /// Names the actor that flushes. Once, before anything is sent.
    pub(crate) fn set_actor(&self, actor: ActorRef<LinkMessage>) {
        let _ = self.actor.set(actor);
    }

    /// The peer, once the link was up.
    pub(crate) fn peer(&self) -> Option<&UpPeer> {
        self.peer.get()
    }

    /// Notes who the peer is, and since when.
    pub(crate) fn set_peer(&self, id: PeerId, hello: PeerHello) {
        let _ = self.peer.set(UpPeer {
            id,
            hello,
            since: Instant::now(),
        });
    }

    pub(crate) fn set_stamp(&self, session: SessionId) {
        self.stamp.store(session.0, Ordering::Release);
    }

    pub(crate) fn send(&self, frame: Bytes) -> Result<(), PushError> {
        // The guard must be gone before the actor is woken.
        let wake = lock(&self.outbox).push(frame)?;
        if wake {
            self.wake();
        }
        Ok(())
    }

    /// Notes that frames of the peer were processed.
    pub(crate) fn processed(&self, frames: usize, bytes: usize) {
        let wake = lock(&self.outbox).processed(frames, bytes);
        if wake {
            self.wake();
        }
    }

    /// Takes the peer's credit; `false` if it makes no sense.
    pub(crate) fn acknowledge(&self, credit: Credit) -> bool {
        lock(&self.outbox).acknowledge(credit)
    }

    pub(crate) fn queued(&self) -> Credit {
        lock(&self.outbox).held()
    }

    fn wake(&self) {
        if let Some(actor) = self.actor.get() {
            // A stopped actor means a closed link.
            let _ = actor.cast(LinkMessage::Flush);
        }
    }

    /// Whether the peer's log grew to `lsn`, as far as this link has heard.
    pub(crate) fn raises_lsn(&self, lsn: Lsn) -> bool {
        self.seen_lsn.fetch_max(lsn.0, Ordering::Relaxed) < lsn.0
    }

    pub(crate) fn set_round_trip(&self, round_trip: Duration) {
        let micros = u64::try_from(round_trip.as_micros()).unwrap_or(u64::MAX);
        self.round_trip_micros
            .store(micros.max(1), Ordering::Relaxed);
    }

    /// Sends something other than frames.
    pub(crate) fn send_control(&self, body: Body, durable_lsn: Lsn) -> Result<(), Broken> {
        let session = match body {
            Body::Hello(_) => SessionId(0),
            _ => SessionId(self.stamp.load(Ordering::Acquire)),
        };
        let credit = lock(&self.outbox).report();
        self.cast(Packet {
            header: Header {
                session,
                durable_lsn,
                credit,
            },
            body,
        })
    }

    /// Sends one packet of what is queued; `false` if there is nothing.
    pub(crate) fn send_parcel(&self, durable_lsn: Lsn) -> Result<bool, Broken> {
        let parcel = lock(&self.outbox).next_parcel();
        let Some(parcel) = parcel else {
            return Ok(false);
        };
        let session = SessionId(self.stamp.load(Ordering::Acquire));
        let header = Header {
            session,
            durable_lsn,
            credit: parcel.credit,
        };
        self.cast(Packet {
            header,
            body: Body::Frames(parcel.frames),
        })?;
        Ok(true)
    }

    fn cast(&self, packet: Packet) -> Result<(), Broken> {
        let bytes = packet.encode().map_err(|error| {
            tracing::error!(process = %self.parts.process, %error, "a packet broke its own bounds");
            Broken
        })?;
        self.parts
            .remote
            .cast(IngressMessage::Packet(bytes))
            .map_err(|_| Broken)
    }

    /// Drops what is queued and lets the actor go.
    pub(crate) fn close(&self) {
        lock(&self.outbox).close();
        if let Some(actor) = self.actor.get() {
            actor.stop(None);
        }
    }

    /// What to show, once the link was up.
    pub(crate) fn status(&self) -> Option<LinkStatus> {
        let peer = self.peer()?;
        let (queued, refused_frames) = {
            let outbox = lock(&self.outbox);
            (outbox.held(), outbox.refused())
        };
        let round_trip = match self.round_trip_micros.load(Ordering::Relaxed) {
            0 => None,
            micros => Some(Duration::from_micros(micros)),
        };
        Some(LinkStatus {
            peer: peer.id,
            hello: peer.hello.clone(),
            dialled: self.parts.dialled,
            queued_frames: queued.frames,
            queued_bytes: queued.bytes,
            refused_frames,
            round_trip,
            up_for: peer.since.elapsed(),
        })
    }
}

/// Mailbox of a link's actor. Sent from within this process; no replies; idempotent.
#[derive(Debug, ractor_cluster::RactorMessage)]
pub(crate) enum LinkMessage {
    /// Frames or credit wait in the outbox. Sent once per idle period; if lost, they wait for ever,
    /// but an actor that loses messages is dead, and its link closed.
    Flush,
    /// A heartbeat is due. If lost, the next one serves.
    Tick,
}

/// Flushes the outbox and keeps the time of one link.
pub(crate) struct LinkActor;

/// What the actor works on.
pub(crate) struct LinkActorState {
    hub: Arc<Hub>,
    link: Arc<LiveLink>,
}

impl Actor for LinkActor {
    type Msg = LinkMessage;
    type State = LinkActorState;
    type Arguments = (Arc<Hub>, Arc<LiveLink>);

    async fn pre_start(
        &self,
        myself: ActorRef<LinkMessage>,
        (hub, link): Self::Arguments,
    ) -> Result<LinkActorState, ActorProcessingErr> {
        // The interval ends with the actor.
        myself.send_interval(Duration::from_millis(HEARTBEAT_MS), || LinkMessage::Tick);
        Ok(LinkActorState { hub, link })
    }

    async fn handle(
        &self,
        myself: ActorRef<LinkMessage>,
        message: LinkMessage,
        state: &mut LinkActorState,
    ) -> Result<(), ActorProcessingErr> {
        let LinkActorState { hub, link } = state;
        match message {
            LinkMessage::Tick => hub.step(link, LinkEvent::Tick),
            LinkMessage::Flush => {
                for _ in 0..PACKETS_PER_FLUSH {
                    match hub.send_parcel(link) {
                        Ok(true) => {
                            // Lets senders add frames, and the session's writer begin.
                            tokio::task::yield_now().await;
                        }
                        Ok(false) => return Ok(()),
                        Err(Broken) => {
                            hub.step(link, LinkEvent::Close(DownReason::ConnectionLost));
                            return Ok(());
                        }
                    }
                }
                myself.cast(LinkMessage::Flush)?;
            }
        }
        Ok(())
    }
}
