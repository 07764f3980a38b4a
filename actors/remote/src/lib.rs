//! Links between the processes of a cluster, over ractor_cluster.
//!
//! Nodes and clients both open one [`Endpoint`]. It keeps one link to each live peer: mutual,
//! authenticated by the cluster's cookie, batched, bounded by credit and watched by heartbeats. A
//! link carries opaque frames; what they mean is said one layer up, in a [`Handler`]. What a link
//! does, and why, is decided in [`engram_core::protocol::link`]; this crate owns the sockets,
//! actors and clocks.
//!
//! # Actors
//!
//! ```text
//! connections            dials, accepts, watches sessions; restarts the ingress
//! ├── NodeServer         ractor_cluster: one session per connection
//! ├── ingress            the only remotable actor: every packet of every peer arrives here
//! └── link (one a peer)  coalesces frames into packets, sends heartbeats
//! ```
//!
//! | actor | mailbox | sent by |
//! |---|---|---|
//! | connections | dial results, session events, incoming connections, ticks | tasks, NodeServer |
//! | ingress | [`IngressMessage`] | links of other processes |
//! | link | flush, tick | senders of frames, its own timer |
//!
//! # How two processes meet
//!
//! 1. *Preface*: right after the TCP handshake both say their wire version and process name, in
//!    clear. So connections of strangers never reach an actor, a process never connects twice to
//!    one peer, and a wrong cookie can be told from a stranger.
//! 2. *Session*: the stream goes to ractor_cluster, which proves the cookie and makes the other
//!    side's ingress known in the process group named after its process, in the scope `engram`.
//! 3. *Greeting*: hello and acceptance in both directions, see [`engram_core::protocol::link`].
//!
//! A process name is `<node>.<boot>.<nonce>` or `client-<nonce>`: unique among all lives of all
//! processes, so that a restarted process is never mistaken for a stale session of its past. Where
//! two processes dial each other, the connection dialled by the later-sorting name stays, and the
//! other process gives it a head start after a loss.

mod accept;
mod connection;
mod connections;
mod dial;
mod endpoint;
mod handler;
mod hub;
mod ingress;
mod link;
mod packet;
mod preface;
mod random;
mod status;
mod stream;
mod sync;
mod targets;

pub use dial::DialError;
pub use endpoint::{Endpoint, EndpointConfig, EndpointError, EndpointKind, IngressOwner, bind};
pub use engram_core::protocol::link::{
    DownReason, HelloIdentity, MemberIdentity, PeerHello, Refusal, Role, Window,
};
pub use handler::{Handler, PeerHandle, PeerId, SendError};
pub use ingress::IngressMessage;
pub use packet::{Body, Header, Packet, PacketError, WIRE_VERSION};
pub use status::{EndpointStatus, LinkStatus, TargetState, TargetStatus, Traffic};
