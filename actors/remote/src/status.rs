//! What an endpoint knows of itself, for people and for tests.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engram_core::protocol::link::PeerHello;

use crate::dial::DialError;
use crate::handler::PeerId;

/// A snapshot of an endpoint.
#[derive(Clone, Debug)]
pub struct EndpointStatus {
    /// Name of this process.
    pub process: String,
    /// Every address that this process dials, sorted.
    pub targets: Vec<TargetStatus>,
    /// Every link that is up, sorted by peer.
    pub links: Vec<LinkStatus>,
    /// Totals since the start.
    pub traffic: Traffic,
}

/// One address that this process dials.
#[derive(Clone, Debug)]
pub struct TargetStatus {
    /// As configured.
    pub address: String,
    /// How far it is.
    pub state: TargetState,
    /// The last thing that went wrong, until a link comes up.
    pub last_error: Option<DialError>,
    /// Dials in a row that led to no lasting link.
    pub failures: u32,
}

/// How far the dialling of an address is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TargetState {
    /// Resolving, connecting, exchanging prefaces.
    Dialling,
    /// Connected; proving the cookie, exchanging greetings.
    Greeting,
    /// A link to the process at this address is up, whoever dialled it.
    Connected(PeerId),
    /// Will be dialled again.
    Waiting,
    /// The address leads to this very process.
    Myself,
}

/// One link that is up.
#[derive(Clone, Debug)]
pub struct LinkStatus {
    /// Whom it leads to.
    pub peer: PeerId,
    /// What the peer said of itself.
    pub hello: PeerHello,
    /// Whether this process dialled.
    pub dialled: bool,
    /// Frames queued or unacknowledged.
    pub queued_frames: u64,
    /// Bytes queued or unacknowledged.
    pub queued_bytes: u64,
    /// Frames refused because the window was used up or the frame too large.
    pub refused_frames: u64,
    /// Round trip of the last heartbeat.
    pub round_trip: Option<Duration>,
    /// How long it has been up.
    pub up_for: Duration,
}

/// Totals since an endpoint's start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Packets handed to ractor_cluster.
    pub packets_sent: u64,
    /// Packets that arrived.
    pub packets_received: u64,
    /// Packets that could not be decoded.
    pub packets_malformed: u64,
    /// Packets with a session id that names no live link: late, or forged.
    pub packets_unknown_session: u64,
    /// Packets whose content did not fit the state of their link.
    pub packets_unexpected: u64,
    /// Connections of strangers, or with a failed preface.
    pub connections_strange: u64,
    /// Connections given up because too many were half open.
    pub connections_evicted: u64,
}

/// The counters behind [`Traffic`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) packets_sent: AtomicU64,
    pub(crate) packets_received: AtomicU64,
    pub(crate) packets_malformed: AtomicU64,
    pub(crate) packets_unknown_session: AtomicU64,
    pub(crate) packets_unexpected: AtomicU64,
    pub(crate) connections_strange: AtomicU64,
    pub(crate) connections_evicted: AtomicU64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn snapshot(&self) -> Traffic {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            packets_sent: load(&self.packets_sent),
            packets_received: load(&self.packets_received),
            packets_malformed: load(&self.packets_malformed),
            packets_unknown_session: load(&self.packets_unknown_session),
            packets_unexpected: load(&self.packets_unexpected),
            connections_strange: load(&self.connections_strange),
            connections_evicted: load(&self.connections_evicted),
        }
    }
}
