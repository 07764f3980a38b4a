//! What passes between a standing query and the replica whose log it follows.

use std::sync::Arc;

use crate::types::{Ballot, Lseq, MemberId, NamespaceId, RecordKey, Register};

/// A question to a replica of the same node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchQuery {
    /// Comes back with the answer.
    pub token: u64,
    /// The last position seen of its log; none: from now on.
    pub after: Option<Lseq>,
    /// Only keys of this namespace,
    pub namespace: NamespaceId,
    /// and with this prefix.
    pub prefix: Vec<u8>,
}

impl WatchQuery {
    /// Whether the key is one that is watched.
    pub fn wants(&self, key: &RecordKey) -> bool {
        key.namespace == self.namespace && key.key.as_bytes().starts_with(&self.prefix)
    }
}

/// What a key holds now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WatchState {
    /// A value.
    Present(Arc<Register>),
    /// It was deleted.
    Deleted,
    /// Its value has ended.
    Expired,
}

/// A learned change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchEntry {
    /// Its position in the change log.
    pub lseq: Lseq,
    /// Which key.
    pub key: RecordKey,
    /// The ballot of the write or expiry.
    pub version: Ballot,
    /// What it came to.
    pub state: WatchState,
}

impl WatchEntry {
    /// What a register says.
    pub fn of(lseq: Lseq, key: RecordKey, register: &Arc<Register>) -> WatchEntry {
        // A deletion is a write and is remembered as one; an expiry is not.
        let is_write = register
            .recent
            .last()
            .is_some_and(|write| write.ballot == register.vtag);
        let state = match (&register.value, is_write) {
            (Some(_), _) => WatchState::Present(register.clone()),
            (None, true) => WatchState::Deleted,
            (None, false) => WatchState::Expired,
        };
        WatchEntry {
            lseq,
            key,
            version: register.vtag,
            state,
        }
    }
}

/// An answer to a [`WatchQuery`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchFeed {
    /// As asked.
    pub token: u64,
    /// Whether the replica serves at all.
    pub serving: bool,
    /// Whether `entries` hold everything that happened after the position asked for.
    pub is_complete: bool,
    /// In the order of the log. A key that changed again since is left out: it comes later.
    pub entries: Vec<WatchEntry>,
    /// Everything up to here was covered.
    pub upto: Lseq,
    /// The same, with what that covers of the peers' logs.
    pub position: Vec<(MemberId, Lseq)>,
}

impl WatchFeed {
    /// A replica that is recovering shows nothing.
    pub fn not_serving(token: u64) -> WatchFeed {
        WatchFeed {
            token,
            serving: false,
            is_complete: false,
            entries: Vec::new(),
            upto: Lseq(0),
            position: Vec::new(),
        }
    }
}
