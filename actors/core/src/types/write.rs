//! Writes as clients intend them.

use bincode::{Decode, Encode};

use super::{Ballot, Blob, LogicalTime, Millis, WriteId};

/// What must hold of a key for a write to be applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub enum Condition {
    /// Nothing.
    #[default]
    Any,
    /// The key holds no value.
    Absent,
    /// The key holds a value.
    Present,
    /// The key holds the value of this version.
    Version(Ballot),
}

/// What a write does to a key.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub enum Change {
    /// Sets value, tags and expiry; an expiry of `None` clears an earlier one.
    Put {
        /// The new value.
        value: Blob,
        /// The new tags.
        tags: Vec<String>,
        /// When the value ends, if it does.
        expires_at: Option<Millis>,
    },
    /// Removes the value.
    Delete,
    /// Changes only when the value ends. Applies to keys that hold one.
    SetExpiry {
        /// When the value ends, if it does.
        expires_at: Option<Millis>,
    },
}

/// One intended write, the same across all its retries.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
pub struct Write {
    /// What to do.
    pub change: Change,
    /// When to do it.
    pub condition: Condition,
    /// Names this write.
    pub id: WriteId,
    /// The client's logical time at its first send.
    pub since: LogicalTime,
}
