//! What clients asked and were told: the input of the black-box checkers.

use engram_core::types::{Ballot, Condition, Millis, RecordKey, WriteId};

/// What a reader saw of a key that holds a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Seen {
    /// The write that put the value: values name it.
    pub put: WriteId,
    /// The version.
    pub version: Ballot,
    /// When it ends.
    pub expires_at: Option<Millis>,
}

/// What a write does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// Puts a value that names the write.
    Put {
        /// When it ends.
        expires_at: Option<Millis>,
    },
    /// Deletes.
    Delete,
    /// Changes when the value ends.
    Touch {
        /// To when.
        expires_at: Option<Millis>,
    },
}

/// How a write ended, as its client knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was applied.
    Written {
        /// The version it made.
        version: Ballot,
        /// Whether the key held a value before.
        found: bool,
    },
    /// Its condition did not hold.
    Conflict {
        /// The version the key had instead.
        current: Option<Ballot>,
        /// Whether another copy of the request may still be evaluated.
        copies_left: bool,
    },
    /// It may or may not have been applied.
    Unknown,
    /// It certainly had no effect.
    Refused,
}

/// What was done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// A read, and what it saw.
    Get(Option<Seen>),
    /// A write, and how it ended.
    Write {
        /// Its name.
        id: WriteId,
        /// What it does.
        change: Change,
        /// When.
        condition: Condition,
        /// How it ended.
        outcome: Outcome,
    },
}

/// One finished operation of a client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Operation {
    /// Whose.
    pub client: u32,
    /// Which key.
    pub key: RecordKey,
    /// When it was first sent, in virtual microseconds.
    pub call_us: u64,
    /// When its outcome was known.
    pub return_us: u64,
    /// What was done.
    pub action: Action,
}

impl Operation {
    /// When it was certainly over, in virtual microseconds; never, if a copy of it may still be
    /// carried out.
    pub fn over_us(&self) -> u64 {
        match self.action {
            Action::Write {
                outcome:
                    Outcome::Unknown
                    | Outcome::Conflict {
                        copies_left: true, ..
                    },
                ..
            } => u64::MAX,
            _ => self.return_us,
        }
    }
}
