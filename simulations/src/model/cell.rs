//! What a key is, if one client after the other asks: the specification.

use engram_core::protocol::register::proposer::Operation;
use engram_core::types::{Blob, Change, Condition, LogicalTime, RecordKey, Write, WriteId};
use engram_core::wire::{ClientReply, RequestError};
use stateright::semantics::SequentialSpec;

/// A question.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ask {
    /// Reads.
    Get,
    /// Puts a value.
    Put(u8),
    /// Puts a value if there is none.
    PutAbsent(u8),
    /// Deletes.
    Delete,
}

/// An answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Answer {
    /// The value.
    Saw(Option<u8>),
    /// It was written, and whether there was a value before.
    Written(bool),
    /// There was a value.
    Conflict,
}

/// The value.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(super) struct Cell(Option<u8>);

impl SequentialSpec for Cell {
    type Op = Ask;
    type Ret = Answer;

    fn invoke(&mut self, ask: &Ask) -> Answer {
        let found = self.0.is_some();
        match *ask {
            Ask::Get => return Answer::Saw(self.0),
            Ask::PutAbsent(_) if found => return Answer::Conflict,
            Ask::Put(value) | Ask::PutAbsent(value) => self.0 = Some(value),
            Ask::Delete => self.0 = None,
        }
        Answer::Written(found)
    }
}

impl Ask {
    /// The question as a proposer is asked it; the same number always is the same write.
    pub(super) fn operation(self, key: RecordKey, number: usize) -> Operation {
        let (change, condition) = match self {
            Ask::Get => {
                let with_value = true;
                return Operation::Get { key, with_value };
            }
            Ask::Put(value) => (put(value), Condition::Any),
            Ask::PutAbsent(value) => (put(value), Condition::Absent),
            Ask::Delete => (Change::Delete, Condition::Any),
        };
        let id = WriteId {
            client: number as u64 + 1,
            sequence: 1,
        };
        let write = Write {
            change,
            condition,
            id,
            since: LogicalTime::from_millis(super::node::NOW),
        };
        Operation::Put { key, write }
    }
}

fn put(value: u8) -> Change {
    Change::Put {
        value: Blob::from([value].as_slice()),
        tags: Vec::new(),
        expires_at: None,
    }
}

/// What a client learns; none if it knows nothing.
pub(super) fn answer(result: &Result<ClientReply, RequestError>) -> Option<Answer> {
    match result {
        Ok(ClientReply::Entry(entry)) => {
            let value = entry.as_ref().map(|entry| entry.value.as_ref());
            Some(Answer::Saw(value.and_then(|bytes| bytes.first().copied())))
        }
        Ok(ClientReply::Written(written)) => Some(Answer::Written(written.found)),
        Err(RequestError::Conflict { .. }) => Some(Answer::Conflict),
        _ => None,
    }
}
