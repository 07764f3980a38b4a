//! Links: authenticated, bounded, supervised streams of frames between two processes.
//!
//! A link lives on one connection and knows nothing of what its frames mean. This module decides;
//! sockets, actors and clocks are in `engram-remote`.
//!
//! # Messages
//!
//! | message | meaning | reply | if lost |
//! |---|---|---|---|
//! | [`Hello`] | who I am, and the session id to stamp on what you send me | [`Accept`] or [`Refusal`] | the link times out and is dialled again |
//! | [`Accept`] | I took your greeting, and have seen so much of your log | none | as above |
//! | [`Refusal`] | I do not want this link, and why | none: the refused side closes | as above |
//! | heartbeat | are you there | heartbeat reply | the peer is dead after [`limits::HEARTBEATS_MISSED_MAX`] |
//! | frames | opaque, in order, with returned [`Credit`] | credit, later | only with the whole link |
//! | goodbye | I leave now | none: the other side closes | heartbeats find out |
//!
//! # States of a [`Link`]
//!
//! *Greeting* (own hello sent) → *up* (the peer's hello taken **and** the peer took ours) → *closed*.
//! Any state may close. [`LinkEffect::Down`] follows exactly the links that were
//! [`LinkEffect::Up`]; [`LinkEffect::Close`] comes once for every link.
//!
//! # Invariants
//!
//! 1. Who sent a frame is decided by the session id stamped on its packet. Each side draws the id
//!    that the *other* must stamp and tells it to that process alone, so a third process cannot
//!    speak in the peer's name.
//! 2. A hello is genuine only if the acceptance that came with our session id names the same
//!    session as that hello.
//! 3. Queued and unacknowledged frames and bytes never pass the window of [`Outbox`]: a stopped
//!    peer cannot make this process grow.
//! 4. A frame is handed over only between up and down.
//!
//! # Failures
//!
//! | failure | what happens |
//! |---|---|
//! | peer killed | the connection ends, the link goes down at once |
//! | peer stopped or cut off | heartbeats are missed, the link goes down, the connection is cut |
//! | this process was stopped | heartbeats are counted, not timed: a pause of our own kills no link |
//! | peer restarted before we noticed | its greeting carries a higher boot count and replaces the old link |
//! | data directory copied | one member id from two addresses: the later greeting is refused |

mod backoff;
mod hello;
pub mod limits;
mod outbox;
mod state;

pub use backoff::Backoff;
pub use hello::{
    Accept, Hello, HelloError, HelloIdentity, MemberIdentity, PeerHello, Reappearance, Refusal,
    Role, compare_identities, dials_first, judge_reappearance,
};
pub use outbox::{Credit, Outbox, Parcel, PushError, Window};
pub use state::{DownReason, Link, LinkEffect, LinkEvent};
