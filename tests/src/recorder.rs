//! What clients asked and were told, with the moments at which they asked and heard.
//!
//! Every value names the write that put it, so that a read tells whose value it saw.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use engram_client::{ClientError, Entry, Version};
use engram_core::types::{Ballot, Condition, Key, NamespaceId, RecordKey, WriteId};
use engram_core::wire::Written;
use engram_simulations::history::{Action, Change, Operation, Outcome, Seen};

/// Values are of different lengths, up to this many bytes more than needed.
const PADDING_MAX: u64 = 200;

/// The value that a write puts.
pub fn value(write: WriteId) -> String {
    let padding = usize::try_from(write.sequence % PADDING_MAX).unwrap_or_default();
    format!("{} {} {}", write.client, write.sequence, ".".repeat(padding))
}

/// The write that put a value.
///
/// # Errors
/// If no write of [`value`] can have put it: it is torn or foreign.
pub fn writer(bytes: &[u8]) -> Result<WriteId> {
    let text = std::str::from_utf8(bytes)?;
    let mut words = text.split(' ');
    let mut number = || words.next()?.parse().ok();
    let (client, sequence) = number().zip(number()).context("not two numbers")?;
    let write = WriteId { client, sequence };
    if text != value(write) {
        bail!("the value of {write:?} is torn: {text:?}");
    }
    Ok(write)
}

/// Collects operations of concurrent clients.
#[derive(Debug)]
pub struct Recorder {
    begin: Instant,
    operations: Mutex<Vec<Operation>>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder {
            begin: Instant::now(),
            operations: Mutex::default(),
        }
    }
}

impl Recorder {
    /// Now, in microseconds since the beginning.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Records a read that was answered.
    ///
    /// # Errors
    /// If what was read is not a value that anybody put.
    pub fn read(&self, client: u32, key: &Key, call_us: u64, found: Option<&Entry>) -> Result<()> {
        let saw = |entry: &Entry| -> Result<Seen> {
            Ok(Seen {
                put: writer(entry.bytes())?,
                version: entry.version,
                expires_at: entry.expires_at,
            })
        };
        let action = Action::Get(found.map(saw).transpose()?);
        self.push(client, key, call_us, action);
        Ok(())
    }

    /// Records a put, with the condition it was made under.
    ///
    /// # Errors
    /// If it ended as no such write may end.
    pub fn put(
        &self,
        id: WriteId,
        key: &Key,
        call_us: u64,
        condition: Condition,
        result: &Result<Written, ClientError>,
    ) -> Result<Outcome> {
        let written = |written: &Written| Outcome::Written {
            version: written.version,
            found: written.found,
        };
        let outcome = outcome(result, written)?;
        let change = Change::Put { expires_at: None };
        self.write(id, key, call_us, change, condition, outcome);
        Ok(outcome)
    }

    /// Records a deletion.
    ///
    /// # Errors
    /// If it ended as no such write may end.
    pub fn delete(
        &self,
        id: WriteId,
        key: &Key,
        call_us: u64,
        result: &Result<bool, ClientError>,
    ) -> Result<Outcome> {
        let written = |found: &bool| Outcome::Written {
            version: version_of_deletion(id),
            found: *found,
        };
        let outcome = outcome(result, written)?;
        self.write(id, key, call_us, Change::Delete, Condition::Any, outcome);
        Ok(outcome)
    }

    fn write(
        &self,
        id: WriteId,
        key: &Key,
        call_us: u64,
        change: Change,
        condition: Condition,
        outcome: Outcome,
    ) {
        let action = Action::Write {
            id,
            change,
            condition,
            outcome,
        };
        let client = u32::try_from(id.client).unwrap_or(u32::MAX);
        self.push(client, key, call_us, action);
    }

    fn push(&self, client: u32, key: &Key, call_us: u64, action: Action) {
        let operation = Operation {
            client,
            key: RecordKey {
                namespace: NamespaceId(1),
                key: key.clone(),
            },
            call_us,
            return_us: self.now_us(),
            action,
        };
        let mut operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.push(operation);
    }

    /// All that was recorded.
    pub fn history(&self) -> Vec<Operation> {
        let operations = self.operations.lock().unwrap_or_else(PoisonError::into_inner);
        operations.clone()
    }
}

/// The client does not say which version a deletion made, and nobody ever sees it, since the key
/// holds nothing then. The checker wants one that is unlike all others.
fn version_of_deletion(id: WriteId) -> Version {
    Ballot {
        n: u64::MAX - (id.client << 32) - id.sequence,
        ..Ballot::ZERO
    }
}

/// Which write made a version, from what clients were told.
///
/// # Errors
/// If two writes made the same one.
pub fn writers(history: &[Operation]) -> Result<BTreeMap<(RecordKey, Ballot), WriteId>> {
    let mut writers = BTreeMap::new();
    for operation in history {
        let (version, writer) = match operation.action {
            Action::Get(Some(seen)) => (seen.version, seen.put),
            Action::Write {
                id,
                outcome: Outcome::Written { version, .. },
                ..
            } => (version, id),
            _ => continue,
        };
        let earlier = writers.insert((operation.key.clone(), version), writer);
        if let Some(earlier) = earlier.filter(|earlier| *earlier != writer) {
            bail!("{earlier:?} and {writer:?} made the same version {version}");
        }
    }
    Ok(writers)
}

fn outcome<T>(
    result: &Result<T, ClientError>,
    written: impl FnOnce(&T) -> Outcome,
) -> Result<Outcome> {
    Ok(match result {
        Ok(answer) => written(answer),
        Err(ClientError::Unknown { .. }) => Outcome::Unknown,
        Err(ClientError::Conflict { current }) => Outcome::Conflict {
            current: *current,
            copies_left: false,
        },
        Err(
            ClientError::NotApplied { .. }
            | ClientError::Unavailable { .. }
            | ClientError::Overloaded { .. },
        ) => Outcome::Refused,
        Err(error) => bail!("a write that is in order was refused: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_names_its_write_and_torn_ones_are_noticed() {
        for sequence in [0, 1, 199, 200, 1234] {
            let write = WriteId {
                client: 3,
                sequence,
            };
            let text = value(write);
            assert_eq!(writer(text.as_bytes()).expect("whole"), write);
            assert!(writer(format!("{text}.").as_bytes()).is_err());
        }
        assert!(writer(b"\xff").is_err());
        assert!(writer(b"3").is_err());
    }
}
