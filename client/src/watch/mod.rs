//! Standing queries: a stream of what becomes of keys, or of new entries near a meaning.
//!
//! ```no_run
//! use futures::TryStreamExt;
//! use engram_client::watch::WatchEvent;
//!
//! # async fn run(users: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
//! let mut changes = users.watch("user:").await?; // every change acknowledged from here on
//! while let Some(event) = changes.try_next().await? {
//!     match event {
//!         WatchEvent::Put { key, entry, .. } => println!("{} = {}", key.to_text(), entry.text()?),
//!         WatchEvent::Deleted { key, .. } => println!("{} was deleted", key.to_text()),
//!         WatchEvent::Expired { key, .. } => println!("{} has expired", key.to_text()),
//!         WatchEvent::Resync { shard } => println!("changes of shard {shard} were missed"),
//!         WatchEvent::Resynced { shard } => println!("all of shard {shard} was shown anew"),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is promised
//!
//! - After every acknowledged change of a watched key, the key is shown as it then is, or as it is
//!   later: at least once, and in the order of its versions. Values in between may be left out;
//!   the last one never is. Versions tell repetitions apart.
//! - Nothing is promised between keys: shards are followed one by one.
//! - The loss of a node interrupts nothing: another replica goes on from where the watcher was.
//! - A slow consumer is waited for: at most one page of each shard is held for it. Should it be so
//!   late that replicas no longer know which keys were deleted meanwhile, it is told so:
//!   [`WatchEvent::Resync`] comes, then every key of the shard as it is now, then
//!   [`WatchEvent::Resynced`]. What was not shown in between is gone.
//!
//! [`WatchStream::cursor`] says where a later watcher may go on, also in another process.

mod cursor;
mod open;
mod stream;

use engram_core::protocol::watch::Told;
use engram_core::types::{Key, Millis, ShardId};

pub use self::cursor::{WatchCursor, WatchCursorError};
pub use self::open::Watch;
pub use self::stream::WatchStream;

use crate::{Entry, Version};

/// What a watcher is told.
#[derive(Clone, PartialEq, Debug)]
pub enum WatchEvent {
    /// A key holds this: it was written, or its expiry was changed.
    Put {
        /// Which key.
        key: Key,
        /// What it holds; without the value, if only keys were asked for.
        entry: Entry,
        /// Cosine similarity to the text that was asked for, if one was.
        score: Option<f32>,
    },
    /// A key was deleted.
    Deleted {
        /// Which key.
        key: Key,
        /// The version of the deletion.
        version: Version,
    },
    /// A key's value has ended.
    Expired {
        /// Which key.
        key: Key,
        /// The version of its end.
        version: Version,
    },
    /// Changes of this shard were missed, deletions perhaps: all its keys follow.
    Resync {
        /// Its number.
        shard: u16,
    },
    /// All keys of this shard were shown.
    Resynced {
        /// Its number.
        shard: u16,
    },
}

impl WatchEvent {
    fn of(told: Told, shard: ShardId, now: Millis) -> WatchEvent {
        let shard = shard.0;
        match told {
            Told::Put { key, entry, score } => WatchEvent::Put {
                key,
                entry: Entry::from_wire(entry, now),
                score,
            },
            Told::Deleted { key, version } => WatchEvent::Deleted { key, version },
            Told::Expired { key, version } => WatchEvent::Expired { key, version },
            Told::Resync => WatchEvent::Resync { shard },
            Told::Resynced => WatchEvent::Resynced { shard },
        }
    }

    /// The key that it is about, if it is about one.
    pub fn key(&self) -> Option<&Key> {
        match self {
            WatchEvent::Put { key, .. }
            | WatchEvent::Deleted { key, .. }
            | WatchEvent::Expired { key, .. } => Some(key),
            WatchEvent::Resync { .. } | WatchEvent::Resynced { .. } => None,
        }
    }

    /// The version of the key, if it is about one.
    pub fn version(&self) -> Option<Version> {
        match self {
            WatchEvent::Put { entry, .. } => Some(entry.version),
            WatchEvent::Deleted { version, .. } | WatchEvent::Expired { version, .. } => {
                Some(*version)
            }
            WatchEvent::Resync { .. } | WatchEvent::Resynced { .. } => None,
        }
    }
}
