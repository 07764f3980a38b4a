//! The seam to the layer above: what it is told, and what it may do with a peer.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use engram_core::protocol::link::limits::FRAME_BYTES_MAX;
use engram_core::protocol::link::{
    Credit, DownReason, HelloIdentity, PeerHello, PushError, Refusal,
};
use engram_core::types::{Lsn, MemberId, SessionId};

use crate::link::LiveLink;

/// Names a peer while its link lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PeerId {
    /// A member; at most one link to each is up.
    Member(MemberId),
    /// A client, by the session id that this process drew for it.
    Client(SessionId),
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PeerId::Member(member) => write!(f, "member {member}"),
            PeerId::Client(session) => write!(f, "client {:016x}", session.0),
        }
    }
}

/// The layer above. Called from actors of this crate, while the link concerned is locked: no
/// method may block, wait, or lock what is held while sending. Sending from within is fine.
///
/// For each link the calls come in the order `up`, any number of `frames` and `saw_lsn`, `down`.
/// For one [`PeerId`] the `down` of a link comes before the `up` of the next.
pub trait Handler: Send + Sync + 'static {
    /// What this process says of itself; asked afresh for each link.
    fn hello(&self) -> HelloIdentity;

    /// Whether the peer is welcome. Cluster name and id, and copies of a connected disk, were
    /// checked before.
    ///
    /// # Errors
    /// The reason; it is sent to the peer.
    fn check(&self, peer: &HelloIdentity) -> Result<(), Refusal>;

    /// Frames may flow.
    fn up(&self, peer: &PeerHandle, hello: &PeerHello);

    /// No frame flows any more; what was queued is lost.
    fn down(&self, peer: PeerId, reason: DownReason);

    /// Frames came, in order. They are slices of one packet of at most 256 KiB, or of one larger
    /// frame: whoever keeps one for long should copy it. Credit returns to the sender when this
    /// returns.
    fn frames(&self, peer: PeerId, frames: Vec<Bytes>);

    /// The highest log sequence number ever seen of a member, to be told to it; 0 if none.
    fn seen_lsn(&self, of: MemberId) -> Lsn;

    /// The highest log sequence number durable here; 0 at clients.
    fn durable_lsn(&self) -> Lsn;

    /// A member's highest durable log sequence number rose.
    fn saw_lsn(&self, of: MemberId, lsn: Lsn);
}

/// A frame was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// No link to that peer is up.
    #[error("{0} is not connected")]
    NotConnected(PeerId),
    /// The link's window is used up: the peer is slow, stopped or cut off. Try again later.
    #[error("the link holds {frames} frames of {bytes} bytes and takes no more for now")]
    Full {
        /// Frames queued or unacknowledged.
        frames: usize,
        /// Their bytes.
        bytes: usize,
    },
    /// No link takes a frame of this size.
    #[error("a frame may have {FRAME_BYTES_MAX} bytes at most, this one has {bytes}")]
    TooLarge {
        /// Bytes of the frame.
        bytes: usize,
    },
}

/// A link that is up, or was. Cheap to clone, usable from any thread.
#[derive(Clone)]
pub struct PeerHandle {
    id: PeerId,
    link: Arc<LiveLink>,
}

impl PeerHandle {
    pub(crate) fn new(id: PeerId, link: Arc<LiveLink>) -> PeerHandle {
        PeerHandle { id, link }
    }

    /// Whom it leads to.
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Queues a frame and returns at once. Frames of one caller stay in order. That it was taken
    /// does not mean that it arrives.
    ///
    /// # Errors
    /// [`SendError`]; the frame is dropped and counted.
    pub fn send(&self, frame: Bytes) -> Result<(), SendError> {
        self.link.send(frame).map_err(|error| match error {
            PushError::Full { frames, bytes } => SendError::Full { frames, bytes },
            PushError::TooLarge { bytes } => SendError::TooLarge { bytes },
            PushError::Closed => SendError::NotConnected(self.id),
        })
    }

    /// Frames and bytes queued or unacknowledged.
    pub fn queued(&self) -> Credit {
        self.link.queued()
    }
}

impl fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerHandle")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
