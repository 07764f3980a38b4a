//! A value with a time to live is never gone early.

use engram_core::types::Millis;

use super::{Property, Violation};
use crate::history::{Action, Change, Operation, Outcome};

/// Checks a history. A put that nothing else on its key overlaps or follows, until a read that saw
/// nothing, must have ended by the latest time that any clock may have shown during the read.
///
/// # Errors
/// If a value was gone before its time.
pub fn check(history: &[Operation], epoch_ms: u64, skew_ms: u64) -> Result<(), Violation> {
    for (put, expires_at) in history.iter().filter_map(acknowledged_put) {
        let others: Vec<&Operation> = history
            .iter()
            .filter(|other| other.key == put.key && !std::ptr::eq(*other, put))
            .collect();
        for read in others.iter().filter(|read| {
            matches!(read.action, Action::Get(None)) && read.call_us >= put.return_us
        }) {
            let undisturbed = others.iter().all(|other| {
                !matches!(other.action, Action::Write { .. })
                    || other.over_us() < put.call_us
                    || other.call_us > read.return_us
            });
            let latest = Millis(epoch_ms + read.return_us / 1000 + 1 + skew_ms);
            let early = expires_at.is_none_or(|end| latest < end);
            if undisturbed && early {
                let story = format!(
                    "{:?}: put at {} us to end at {expires_at:?}, gone at {} us, when no clock \
                     showed more than {latest:?}",
                    put.key, put.call_us, read.return_us
                );
                return Err(Violation::new(Property::Expiry, story));
            }
        }
    }
    Ok(())
}

fn acknowledged_put(operation: &Operation) -> Option<(&Operation, Option<Millis>)> {
    match operation.action {
        Action::Write {
            change: Change::Put { expires_at },
            outcome: Outcome::Written { .. },
            ..
        } => Some((operation, expires_at)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::types::{Ballot, Condition, Key, NamespaceId, RecordKey, WriteId};

    fn at(call_us: u64, action: Action) -> Operation {
        Operation {
            client: 1,
            key: RecordKey {
                namespace: NamespaceId(1),
                key: Key::new("k").expect("short"),
            },
            call_us,
            return_us: call_us + 1_000,
            action,
        }
    }

    fn put(call_us: u64, expires_at: Option<u64>, known: bool) -> Operation {
        let outcome = if known {
            Outcome::Written {
                version: Ballot::ZERO,
                found: false,
            }
        } else {
            Outcome::Unknown
        };
        let change = Change::Put {
            expires_at: expires_at.map(Millis),
        };
        let (id, condition) = (WriteId::default(), Condition::Any);
        at(
            call_us,
            Action::Write {
                id,
                change,
                condition,
                outcome,
            },
        )
    }

    #[test]
    fn a_value_gone_before_its_time_is_caught() {
        let gone = |call_us| at(call_us, Action::Get(None));
        for (story, history, fine) in [
            ("in time", vec![put(0, Some(50), true), gone(60_000)], true),
            ("early", vec![put(0, Some(50), true), gone(20_000)], false),
            (
                "without an end",
                vec![put(0, None, true), gone(20_000)],
                false,
            ),
            (
                "within the skew",
                vec![put(0, Some(50), true), gone(42_000)],
                true,
            ),
            (
                "something else happened",
                vec![
                    put(0, Some(50), true),
                    put(5_000, Some(6), false),
                    gone(20_000),
                ],
                true,
            ),
        ] {
            let result = check(&history, 0, 10);
            assert_eq!(result.is_ok(), fine, "{story}: {result:?}");
        }
    }
}
