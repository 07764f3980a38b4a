//! What a write does to a register: pure, and the same whoever proposes it.
//!
//! A write is applied at most once, whoever retries it: `recent` remembers write ids, and a write
//! whose `since` is not above `low_time` might have been applied and forgotten, so it is refused.

use crate::limits::{RECENT_WRITES_MAX, RECENT_WRITES_MIN, RETRY_WINDOW_MS};
use crate::types::{Ballot, Change, Condition, LogicalTime, Millis, RecentWrite, Register, Write};

/// What came of a write.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Applied {
    /// The register to propose, and whether the key held a value before.
    Changed(Register, bool),
    /// It was applied before, as this.
    Already(RecentWrite),
    /// Its condition does not hold; the version that the key has instead.
    Conflict(Option<Ballot>),
    /// It may have been applied so long ago that nobody remembers.
    Forgotten,
}

/// The register as it stands at `now`: an expired value is a tombstone, made at `ballot`.
///
/// Returns none if nothing has expired.
pub fn expire(register: &Register, ballot: Ballot, now: Millis) -> Option<Register> {
    register.is_expired(now).then(|| Register {
        vtag: ballot,
        value: None,
        tags: Vec::new(),
        expires_at: None,
        ..register.clone()
    })
}

/// Applies `write` to `current` at `ballot` and logical time `time`.
pub fn apply(current: &Register, write: &Write, ballot: Ballot, time: LogicalTime) -> Applied {
    if let Some(found) = current
        .recent
        .iter()
        .find(|recent| recent.write == write.id)
    {
        return Applied::Already(*found);
    }
    if write.since <= current.low_time {
        return Applied::Forgotten;
    }
    let version = current.value.as_ref().map(|_| current.vtag);
    let holds = match write.condition {
        Condition::Any => true,
        Condition::Absent => version.is_none(),
        Condition::Present => version.is_some(),
        Condition::Version(expected) => version == Some(expected),
    };
    if !holds {
        return Applied::Conflict(version);
    }
    let mut next = Register {
        vtag: ballot,
        ..current.clone()
    };
    match &write.change {
        Change::Put {
            value,
            tags,
            expires_at,
        } => {
            next.value = Some(value.clone());
            next.tags = tags.clone();
            next.expires_at = *expires_at;
        }
        Change::Delete => {
            next.value = None;
            next.tags = Vec::new();
            next.expires_at = None;
        }
        Change::SetExpiry { expires_at } => {
            if version.is_none() {
                return Applied::Conflict(None);
            }
            next.expires_at = *expires_at;
        }
    }
    let time = time
        .max(current.newest_time().next())
        .max(write.since.next());
    let found = version.is_some();
    next.recent.push(RecentWrite {
        ballot,
        write: write.id,
        time,
        found,
    });
    trim(&mut next, time);
    Applied::Changed(next, found)
}

fn trim(register: &mut Register, time: LogicalTime) {
    let window_start = Millis(time.millis().0.saturating_sub(RETRY_WINDOW_MS));
    let excess = register.recent.len().saturating_sub(RECENT_WRITES_MAX);
    let droppable = register.recent.len().saturating_sub(RECENT_WRITES_MIN);
    let old = register
        .recent
        .iter()
        .take(droppable)
        .take_while(|recent| recent.time.millis() < window_start)
        .count();
    for dropped in register.recent.drain(..excess.max(old)) {
        register.low_time = register.low_time.max(dropped.time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{Blob, WriteId};

    fn ballot(n: u64) -> Ballot {
        Ballot { n, ..Ballot::ZERO }
    }

    fn at(ms: u64) -> LogicalTime {
        LogicalTime::from_millis(Millis(ms))
    }

    fn write(sequence: u64, change: Change, condition: Condition) -> Write {
        Write {
            change,
            condition,
            id: WriteId {
                client: 1,
                sequence,
            },
            since: at(1000),
        }
    }

    fn put(value: &str) -> Change {
        Change::Put {
            value: Blob::from(value),
            tags: vec![],
            expires_at: None,
        }
    }

    fn changed(applied: Applied) -> Register {
        match applied {
            Applied::Changed(register, _) => register,
            other => panic!("not applied: {other:?}"),
        }
    }

    #[test]
    fn conditions_are_checked_against_value_and_version() {
        let empty = Register::default();
        let one = changed(apply(
            &empty,
            &write(1, put("a"), Condition::Absent),
            ballot(1),
            at(1000),
        ));
        for (condition, register, holds) in [
            (Condition::Any, &empty, true),
            (Condition::Absent, &empty, true),
            (Condition::Present, &empty, false),
            (Condition::Version(ballot(0)), &empty, false),
            (Condition::Any, &one, true),
            (Condition::Absent, &one, false),
            (Condition::Present, &one, true),
            (Condition::Version(ballot(1)), &one, true),
            (Condition::Version(ballot(2)), &one, false),
        ] {
            let applied = apply(
                register,
                &write(2, put("b"), condition),
                ballot(5),
                at(1001),
            );
            assert_eq!(
                matches!(applied, Applied::Changed(..)),
                holds,
                "{condition:?}"
            );
        }
    }

    #[test]
    fn a_write_is_applied_once_however_often_it_comes() {
        let first = write(1, put("a"), Condition::Any);
        let one = changed(apply(&Register::default(), &first, ballot(1), at(1000)));
        let two = changed(apply(
            &one,
            &write(2, put("b"), Condition::Any),
            ballot(2),
            at(1001),
        ));
        let again = apply(&two, &first, ballot(3), at(1002));
        assert!(matches!(again, Applied::Already(recent) if recent.ballot == ballot(1)));
    }

    #[test]
    fn a_write_that_may_have_been_forgotten_is_not_evaluated() {
        let mut register = Register::default();
        let first = write(0, put("first"), Condition::Any);
        for sequence in 0..=RECENT_WRITES_MAX as u64 {
            let mut next = write(sequence, put("x"), Condition::Any);
            next.since = at(1000 + sequence);
            let time = at(1000 + sequence);
            register = changed(apply(&register, &next, ballot(sequence + 1), time));
        }
        assert_eq!(register.recent.len(), RECENT_WRITES_MAX);
        assert_eq!(
            apply(&register, &first, ballot(999), at(2000)),
            Applied::Forgotten
        );
    }

    #[test]
    fn old_writes_are_trimmed_but_for_a_few() {
        let mut register = Register::default();
        for sequence in 0..10 {
            let mut next = write(sequence, put("x"), Condition::Any);
            next.since = at(1000 + sequence * RETRY_WINDOW_MS);
            let time = next.since;
            register = changed(apply(&register, &next, ballot(sequence + 1), time));
            assert!(register.low_time < next.since);
        }
        assert_eq!(register.recent.len(), RECENT_WRITES_MIN);
    }

    #[test]
    fn a_put_clears_an_expiry_and_touch_keeps_the_value() {
        let expiring = Change::Put {
            value: Blob::from("a"),
            tags: vec!["t".into()],
            expires_at: Some(Millis(5)),
        };
        let empty = Register::default();
        let one = changed(apply(
            &empty,
            &write(1, expiring, Condition::Any),
            ballot(1),
            at(1),
        ));
        assert!(one.is_expired(Millis(5)) && !one.is_expired(Millis(4)));
        let touch = Change::SetExpiry { expires_at: None };
        let two = changed(apply(
            &one,
            &write(2, touch.clone(), Condition::Any),
            ballot(2),
            at(2),
        ));
        assert_eq!(
            (two.value.clone(), two.expires_at),
            (Some(Blob::from("a")), None)
        );
        assert_eq!(two.tags, ["t"]);
        let three = changed(apply(
            &one,
            &write(3, put("b"), Condition::Any),
            ballot(3),
            at(3),
        ));
        assert_eq!(three.expires_at, None);
        let missing = apply(&empty, &write(4, touch, Condition::Any), ballot(4), at(4));
        assert_eq!(missing, Applied::Conflict(None));
        let tombstone = expire(&one, ballot(9), Millis(6)).expect("expired");
        assert_eq!((tombstone.value, tombstone.vtag), (None, ballot(9)));
        assert_eq!(tombstone.recent, one.recent);
    }
}
