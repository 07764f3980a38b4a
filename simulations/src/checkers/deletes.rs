//! What was seen to be gone does not come back: neither a deleted value nor one whose time was
//! over. Versions never recur, so each of them has one life: written, perhaps seen, gone.

use std::collections::BTreeMap;

use engram_core::types::{Ballot, RecordKey, WriteId};

use super::{Property, Violation};
use crate::history::{Action, Change, Operation, Outcome};

/// Checks a history. Only what clients were told counts.
///
/// # Errors
/// If a version was seen after its key was seen without a value, or after a delete of it was
/// acknowledged.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    let mut by_key: BTreeMap<&RecordKey, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        by_key.entry(&operation.key).or_default().push(operation);
    }
    for (key, operations) in by_key {
        check_key(key, &operations)?;
    }
    Ok(())
}

fn check_key(key: &RecordKey, operations: &[&Operation]) -> Result<(), Violation> {
    // When each version was certainly there already: acknowledged or seen.
    let mut known: BTreeMap<Ballot, u64> = BTreeMap::new();
    for operation in operations {
        let version = match operation.action {
            Action::Get(Some(seen)) => seen.version,
            Action::Write {
                change: Change::Put { .. },
                outcome: Outcome::Written { version, .. },
                ..
            } => version,
            _ => continue,
        };
        let since = known.entry(version).or_insert(u64::MAX);
        *since = operation.return_us.min(*since);
    }
    for gone in operations.iter().filter(|operation| ends(operation)) {
        for seen in operations {
            let Action::Get(Some(entry)) = seen.action else {
                continue;
            };
            let before = known
                .get(&entry.version)
                .is_some_and(|since| *since <= gone.call_us);
            if before && seen.call_us >= gone.return_us {
                let story = format!(
                    "{key:?}: version {} was known at {} us, gone by {} us ({:?}), and seen again \
                     by a read begun at {} us",
                    entry.version,
                    known.get(&entry.version).copied().unwrap_or_default(),
                    gone.return_us,
                    gone.action,
                    seen.call_us
                );
                return Err(Violation::new(Property::Resurrected, story));
            }
        }
    }
    Ok(())
}

/// Whether nothing that was there before this operation is there after it.
fn ends(operation: &Operation) -> bool {
    matches!(
        operation.action,
        Action::Get(None)
            | Action::Write {
                change: Change::Delete,
                outcome: Outcome::Written { .. },
                ..
            }
    )
}

/// Checks that a key whose last acknowledged operation was a delete is absent at rest.
///
/// # Errors
/// If a final read saw a value of a key after whose delete nothing else was even tried.
pub fn at_rest(
    history: &[Operation],
    last_reads: &[(RecordKey, Option<WriteId>)],
) -> Result<(), Violation> {
    for (key, seen) in last_reads {
        let Some(seen) = seen else { continue };
        let writes = history
            .iter()
            .filter(|operation| operation.key == *key)
            .filter(|operation| matches!(operation.action, Action::Write { .. }));
        let deleted = writes
            .clone()
            .filter(|operation| ends(operation))
            .map(|operation| (operation.call_us, operation.return_us))
            .max();
        let Some((call_us, return_us)) = deleted else {
            continue;
        };
        let mut others =
            writes.filter(|write| (write.call_us, write.return_us) != (call_us, return_us));
        if others.all(|other| other.over_us() < call_us) {
            let story = format!("{key:?} was deleted last, and holds what {seen:?} put");
            return Err(Violation::new(Property::Resurrected, story));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Seen;
    use engram_core::types::{Condition, Key, NamespaceId};

    fn key() -> RecordKey {
        RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        }
    }

    fn ballot(n: u64) -> Ballot {
        Ballot { n, ..Ballot::ZERO }
    }

    fn at(call_us: u64, return_us: u64, action: Action) -> Operation {
        Operation {
            client: 1,
            key: key(),
            call_us,
            return_us,
            action,
        }
    }

    fn write(call_us: u64, change: Change, version: u64) -> Operation {
        let outcome = Outcome::Written {
            version: ballot(version),
            found: true,
        };
        let id = WriteId {
            client: 1,
            sequence: version,
        };
        let condition = Condition::Any;
        at(
            call_us,
            call_us + 5,
            Action::Write {
                id,
                change,
                condition,
                outcome,
            },
        )
    }

    fn saw(call_us: u64, version: u64) -> Operation {
        let seen = Seen {
            put: WriteId {
                client: 1,
                sequence: version,
            },
            version: ballot(version),
            expires_at: None,
        };
        at(call_us, call_us + 5, Action::Get(Some(seen)))
    }

    #[test]
    fn what_comes_back_is_caught() {
        let put = || write(0, Change::Put { expires_at: None }, 1);
        let gone = |call_us| at(call_us, call_us + 5, Action::Get(None));
        for (story, history, fine) in [
            ("seen, then gone", vec![put(), saw(10, 1), gone(20)], true),
            ("gone, then seen", vec![put(), gone(10), saw(20, 1)], false),
            ("at the same time", vec![put(), gone(10), saw(12, 1)], true),
            (
                "deleted, then seen",
                vec![put(), write(10, Change::Delete, 2), saw(20, 1)],
                false,
            ),
            (
                "another version",
                vec![
                    put(),
                    gone(10),
                    write(20, Change::Put { expires_at: None }, 3),
                    saw(30, 3),
                ],
                true,
            ),
        ] {
            let result = check(&history);
            assert_eq!(result.is_ok(), fine, "{story}: {result:?}");
        }
    }

    #[test]
    fn a_last_delete_must_hold_at_rest() {
        let history = [
            write(0, Change::Put { expires_at: None }, 1),
            write(10, Change::Delete, 2),
        ];
        let seen = WriteId {
            client: 1,
            sequence: 1,
        };
        assert_eq!(at_rest(&history, &[(key(), None)]), Ok(()));
        assert!(at_rest(&history, &[(key(), Some(seen))]).is_err());
        let mut unsure = history.to_vec();
        if let Some(Action::Write { outcome, .. }) = unsure.first_mut().map(|op| &mut op.action) {
            *outcome = Outcome::Unknown;
        }
        assert_eq!(at_rest(&unsure, &[(key(), Some(seen))]), Ok(()));
        let mut later = history.to_vec();
        later.push(write(20, Change::Put { expires_at: None }, 3));
        assert_eq!(at_rest(&later, &[(key(), Some(seen))]), Ok(()));
    }
}
