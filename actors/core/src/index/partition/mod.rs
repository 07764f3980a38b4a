//! The state machine of one index partition: keeps full-text index and vectors of some shards up
//! to date with what the shards learned, and searches them.
//!
//! # Input
//!
//! Each shard on this node has a change log of learned records. It says how far the log goes
//! ([`Event::Advance`], a hint that may be lost), the partition pulls page after page
//! ([`Effect::RequestFeed`], [`Event::Page`]) and deals with each entry; entries come again after
//! a restart, and dealing with them again changes nothing. So the index never runs ahead of what
//! is learned (invariant 10), and it may lag behind: hits are verified by whoever asked.
//!
//! # Watermarks
//!
//! Two per shard, both in terms of the change log. The *text mark* is committed together with the
//! full-text index. The *vector mark* is stored next to the vectors and stands before the first
//! entry whose vector is still missing. After a restart the feed resumes at the lower one; entries
//! whose vector is there already cost nothing but the reading.
//!
//! # Purges
//!
//! A shard forgets a deleted key only when the index has done so, or the value would stay in the
//! index for ever: the deletion would not be in the log any more. So the partition tells each shard
//! up to which position deletions are durable in both indexes ([`Effect::Indexed`]). This is not a
//! watermark of the feed: vectors that are still to be made do not hold it back. Entries of
//! namespaces that are not indexed move it on like others.
//!
//! # Embedding
//!
//! The member that made a version (its ballot names it) embeds it and ships the vector to the
//! shard's other replicas. One that misses it asks the others, one after the other, at
//! [`ASK_AFTER_MS`] and [`ASK_AGAIN_MS`], and after [`SHIP_WAIT_MS`] computes it itself, so a lost
//! ship, or the death of its sender, costs work but no vector. A replica that is far behind, as one
//! on a new disk is, asks at once. A ship may come before the entry
//! is learned here; it is kept for a while. Failures are tried again with growing pauses. What failed
//! too often, and what comes while its model is down, is left in the change log: the feed goes back
//! there later, or as soon as the model works again. A text that the model refuses is given up at once.
//!
//! A long text is embedded in chunks, one after the other; its entry has a vector for each, and is
//! found by the best of them.
//!
//! # Segments
//!
//! The vectors of a namespace are a log-structured merge tree; see [`vectors`](super::vectors).
//! This machine decides what is merged ([`Effect::BuildSegment`]); the merge itself takes long and
//! is done elsewhere, while searches use what is there. One merge at a time is on its way, and none
//! before all stored vectors are read: they would be merged over and over.
//!
//! # Bounds
//!
//! Texts that wait for their vector, changes that wait for a commit and pages on their way are
//! bounded; at a bound the feed is not pulled, and the shards' logs hold what is to come.
//!
//! | event | from | if lost |
//! |---|---|---|
//! | `Host`, `TextOpened`, `VectorsLoaded`, `VectorsUnreadable` | shell, at start | the shard is not searched |
//! | `Stored` | store | vectors are made again after a restart |
//! | `Advance` | shard | the next one, or the next page, makes up for it |
//! | `Page` | shard | asked again after [`FEED_TIMEOUT_MS`] |
//! | `Embedded` | embedder | never lost while the node runs |
//! | `Shipped` | another replica's partition | asked for, or computed here |
//! | `Wanted` | another replica's partition | that replica asks the next one |
//! | `Committed` | full-text index | the shell restarts the partition on a failure |
//! | `SegmentBuilt` | background thread | segments are not merged any more in this life |
//! | `Freshened` | shard | the search answers without the shard when its time is up |
//! | `Query`, `TextFound` | ingress, full-text index | the coordinator asks another replica |
//! | `Timer` | shell | nothing that waits goes on: the shell must not lose it |

mod backlog;
mod commits;
mod early_ships;
mod entries;
mod event;
mod failing;
mod failures;
mod fresh;
mod loading;
mod machine;
mod queries;
mod report;
mod shard;
mod sharing;
mod space;
mod space_entries;
mod spaces;

pub use event::{
    BuildTicket, Effect, EmbedFailure, EmbedTicket, Event, FeedTicket, LoadTicket, QueryTicket,
    StoreTicket,
};
pub use machine::{IndexPartition, PartitionConfig, PartitionStats};
pub use report::PartitionReport;

/// How long a replica waits for the vector that another one should ship.
pub const SHIP_WAIT_MS: u64 = 2_000;
/// When in that time another replica is asked for the vector.
pub const ASK_AFTER_MS: u64 = 1_000;
/// How much later the next one is asked.
pub const ASK_AGAIN_MS: u64 = 500;
/// How many are asked.
pub const ASKS_MAX: u32 = 2;
/// The same while a fresh search waits for it.
pub const FRESH_SHIP_WAIT_MS: u64 = 300;
/// After how long a page that did not come is asked for again.
pub const FEED_TIMEOUT_MS: u64 = 5_000;
/// Pause after a page that held less than was promised.
pub const FEED_PAUSE_MS: u64 = 100;
/// Pause before stored vectors that could not be read are read again.
pub const LOAD_RETRY_MS: u64 = 1_000;
/// How long changes to the full-text index wait for others to be committed with.
pub const TEXT_COMMIT_MS: u64 = 200;
/// How long a text mark that moved without any change to the text waits to be committed.
pub const TEXT_MARK_COMMIT_MS: u64 = 30_000;
/// How long a vector mark that moved waits to be stored.
pub const VECTOR_MARK_STORE_MS: u64 = 1_000;
/// First pause before a failed embedding is tried again; it doubles each time.
pub const EMBED_RETRY_MS: u64 = 250;
/// Longest such pause.
pub const EMBED_RETRY_MS_MAX: u64 = 30_000;
/// Pause before a text is given again to an embedder that had too much to do.
pub const EMBED_BUSY_MS: u64 = 500;
/// Pause before entries that failed too often are tried again; it doubles each time.
pub const PARK_MS: u64 = 60_000;
/// Longest such pause, unless the model is seen to work again.
pub const PARK_MS_MAX: u64 = 900_000;
/// Pause before a shard whose log names an unknown namespace is asked again.
pub const NAMESPACE_WAIT_MS: u64 = 500;
