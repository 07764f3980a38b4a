//! Standing queries: who watches keys is told what becomes of them, from replicas' change logs.
//!
//! A watcher follows each shard by itself: it asks a replica what changed after a position, and the
//! replica answers at once, or as soon as something does, or when the time is up (a long poll).
//! Nothing is pushed and nobody keeps a queue for anybody: a slow watcher asks late and gets the
//! latest value of each key, as the log has one position per key.
//!
//! **Position.** `member → lseq`: everything up to there in that member's log was seen. A page says
//! how far the answering member's own log was read, and how far that covers its peers' logs. So a
//! watcher may go on at another replica: it sees some changes again, and misses none.
//!
//! [`Follower`] is the watcher's side: it keeps the position, leaves out what was shown before, and
//! knows what to ask next. [`WatchServer`] is the replica's.
//!
//! **Completeness.** A replica that cannot tell all that happened since a position says so: the
//! position is none of its log, or deletions after it were purged longer ago than it remembers. The
//! watcher then reads the shard anew.
//!
//! | event | what follows |
//! |---|---|
//! | asked | the bell of the shard is set, then its log is read |
//! | a page with changes | they are answered, if need be after comparing their meaning |
//! | a page without | waits for the bell |
//! | the bell rings | the log is read again |
//! | the time is up | the position reached is answered |
//!
//! Invariants: at most [`WATCHES_MAX`](crate::limits::WATCHES_MAX) questions are open; each is
//! answered exactly once; only learned, durable changes are shown.

mod feed;
mod follower;
mod meaning;
mod position;
mod server;
#[cfg(test)]
mod tests;

pub use self::feed::{WatchEntry, WatchFeed, WatchQuery, WatchState};
pub use self::follower::{Follower, Held, Next, Told};
pub use self::position::Position;
pub use self::server::{Effect, Event, Question, WatchServer};
