//! A write id is applied at most once, and the chosen registers of a key are one chain: each knows
//! every write of those before it, or has forgotten it with a time to show for it.

use std::collections::BTreeMap;

use engram_core::types::{Ballot, RecordKey, Register, WriteId};

use super::{Property, Violation};

/// Checks what was chosen of one key, in the order of ballots.
///
/// # Errors
/// If a write was applied twice or lost.
pub fn check<'a>(
    key: &RecordKey,
    chosen: impl IntoIterator<Item = (Ballot, &'a Register)>,
) -> Result<(), Violation> {
    let violation =
        |story: String| Violation::new(Property::AtMostOnce, format!("{key:?}: {story}"));
    let mut applied: BTreeMap<WriteId, Ballot> = BTreeMap::new();
    let mut before: Option<(Ballot, &Register)> = None;
    for (ballot, register) in chosen {
        for recent in &register.recent {
            let first = *applied.entry(recent.write).or_insert(recent.ballot);
            if first != recent.ballot {
                return Err(violation(format!(
                    "{:?} was applied at {first} and at {}, as chosen at {ballot}",
                    recent.write, recent.ballot
                )));
            }
        }
        if let Some((earlier, base)) = before {
            let lost = base.recent.iter().find(|recent| {
                recent.time > register.low_time && !register.recent.contains(recent)
            });
            if let Some(lost) = lost {
                return Err(violation(format!(
                    "{:?} was chosen at {earlier} and is unknown at {ballot}",
                    lost.write
                )));
            }
            if register.low_time < base.low_time {
                return Err(violation(format!(
                    "the time forgotten at {earlier} was forgotten itself at {ballot}"
                )));
            }
        }
        before = Some((ballot, register));
    }
    Ok(())
}

/// Checks that a write that was refused had no effect.
///
/// # Errors
/// If it had.
pub fn refused(write: WriteId, appeared: bool) -> Result<(), Violation> {
    if appeared {
        let story =
            format!("{write:?} was refused as having no effect, and was accepted somewhere");
        return Err(Violation::new(Property::AtMostOnce, story));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::types::{Key, LogicalTime, NamespaceId, RecentWrite};

    fn ballot(n: u64) -> Ballot {
        Ballot { n, ..Ballot::ZERO }
    }

    /// A register that remembers writes (sequence, ballot); each ballot is also its time.
    fn register(low_time: u64, writes: &[(u64, u64)]) -> Register {
        Register {
            low_time: LogicalTime(low_time),
            recent: writes
                .iter()
                .map(|(sequence, n)| RecentWrite {
                    ballot: ballot(*n),
                    write: WriteId {
                        client: 1,
                        sequence: *sequence,
                    },
                    time: LogicalTime(*n),
                    found: false,
                })
                .collect(),
            ..Register::default()
        }
    }

    #[test]
    fn double_and_lost_writes_are_caught() {
        for (story, chain, fine) in [
            (
                "growth",
                vec![register(0, &[(1, 1)]), register(0, &[(1, 1), (2, 2)])],
                true,
            ),
            (
                "trimmed",
                vec![register(0, &[(1, 1)]), register(1, &[(2, 2)])],
                true,
            ),
            (
                "twice",
                vec![register(0, &[(1, 1)]), register(0, &[(1, 1), (1, 2)])],
                false,
            ),
            (
                "twice, forgotten between",
                vec![register(0, &[(1, 1)]), register(1, &[(1, 2)])],
                false,
            ),
            (
                "lost",
                vec![register(0, &[(1, 1)]), register(0, &[(2, 2)])],
                false,
            ),
            (
                "low time lost",
                vec![register(5, &[]), register(4, &[])],
                false,
            ),
        ] {
            let key = RecordKey {
                namespace: NamespaceId(1),
                key: Key::new("k").expect("short"),
            };
            let chosen = chain
                .iter()
                .enumerate()
                .map(|(at, register)| (ballot(at as u64 + 1), register));
            let result = check(&key, chosen);
            assert_eq!(result.is_ok(), fine, "{story}: {result:?}");
        }
    }

    #[test]
    fn a_refused_write_that_was_accepted_is_caught() {
        let write = WriteId::default();
        assert!(refused(write, true).is_err());
        assert!(refused(write, false).is_ok());
    }
}
