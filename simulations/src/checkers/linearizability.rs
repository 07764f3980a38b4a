//! Each key behaves like one register (Herlihy and Wing 1990), checked with `porcupine-rs`.
//!
//! A write whose outcome its client does not know was called, for all others, when its effect was
//! first on a disk, and returned when it was chosen: the simulation knows when. Nobody can have seen
//! it before, and a search for an explanation ends sooner. If it never was chosen, the write did not
//! happen. A value with a time to live may turn into
//! nothing at any moment once some node's clock has passed its end: so the model's state is the
//! set of registers that are possible (a determinised automaton).

use std::collections::BTreeMap;
use std::time::Duration;

use engram_core::types::{Ballot, Condition, Millis, RecordKey, WriteId};
use porcupine_rs::CheckResult;

use super::{Property, Violation};
use crate::history::{Action, Change, Operation, Outcome};

/// How long one history may take; a search that takes longer is not a pass.
const SEARCH_TIME: Duration = Duration::from_secs(20);

/// What a key holds, in terms of write ids.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Cell {
    put: WriteId,
    version: WriteId,
    expires_at: Option<Millis>,
}

/// What was expected and seen, in terms of write ids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    Saw(Option<Cell>),
    /// A condition did not hold; what the key had instead.
    Refused(Expected, Option<WriteId>),
    /// Applied, and whether the key held a value before.
    Applied(WriteId, Change, Expected, bool),
    /// Perhaps applied.
    Perhaps(WriteId, Change, Expected),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Expected {
    Anything,
    Nothing,
    Something,
    Version(WriteId),
}

#[derive(Clone, Debug)]
struct KeyModel;

/// A step, with the earliest and latest time that a node's clock may have shown meanwhile.
#[derive(Clone, Debug)]
struct Timed {
    step: Step,
    earliest: Millis,
    latest: Millis,
}

impl porcupine_rs::Model for KeyModel {
    type State = Vec<Option<Cell>>;
    type Op = Timed;
    type Metadata = ();

    fn init() -> Self::State {
        vec![None]
    }

    fn step(state: &Self::State, op: &Timed) -> (bool, Self::State) {
        let mut next = Vec::with_capacity(state.len());
        for cell in state {
            let end = cell.and_then(|cell| cell.expires_at);
            if cell.is_none() || end.is_none_or(|end| end > op.earliest) {
                next.extend(after(*cell, &op.step));
            }
            if cell.is_some() && end.is_some_and(|end| end <= op.latest) {
                next.extend(after(None, &op.step));
            }
        }
        next.sort_unstable();
        next.dedup();
        (!next.is_empty(), next)
    }
}

/// What a key holds after a step, if the step is possible.
fn after(cell: Option<Cell>, step: &Step) -> Option<Option<Cell>> {
    match *step {
        Step::Saw(seen) => (cell == seen).then_some(cell),
        Step::Refused(expected, current) => {
            let version = cell.map(|cell| cell.version);
            (!holds(cell, expected) && version == current).then_some(cell)
        }
        Step::Applied(id, change, expected, found) => {
            let possible = holds(cell, expected) && cell.is_some() == found;
            possible.then(|| changed(cell, id, change))
        }
        Step::Perhaps(id, change, expected) => Some(if holds(cell, expected) {
            changed(cell, id, change)
        } else {
            cell
        }),
    }
}

fn holds(cell: Option<Cell>, expected: Expected) -> bool {
    match expected {
        Expected::Anything => true,
        Expected::Nothing => cell.is_none(),
        Expected::Something => cell.is_some(),
        Expected::Version(version) => cell.is_some_and(|cell| cell.version == version),
    }
}

fn changed(cell: Option<Cell>, id: WriteId, change: Change) -> Option<Cell> {
    match change {
        Change::Put { expires_at } => Some(Cell {
            put: id,
            version: id,
            expires_at,
        }),
        Change::Delete => None,
        Change::Touch { expires_at } => cell.map(|cell| Cell {
            version: id,
            expires_at,
            ..cell
        }),
    }
}

/// What the checker must know besides the history.
pub struct Context<'a> {
    /// The write that made a version.
    pub writer: &'a dyn Fn(&RecordKey, Ballot) -> Option<WriteId>,
    /// When the effect of a write was first on a disk, and when it was chosen, in virtual
    /// microseconds, if it ever was.
    pub effective_us: &'a dyn Fn(WriteId) -> Option<(u64, u64)>,
    /// The nodes' clocks at virtual time 0.
    pub epoch_ms: u64,
    /// Clocks are within this of true time.
    pub skew_ms: u64,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}

/// Checks the history of all keys.
///
/// # Errors
/// If a key's history cannot be explained, or not in time.
pub fn check(history: &[Operation], context: &Context<'_>) -> Result<(), Violation> {
    let mut by_key: BTreeMap<&RecordKey, Vec<porcupine_rs::Operation<KeyModel>>> = BTreeMap::new();
    for operation in history {
        let steps = steps(operation, context)?;
        by_key.entry(&operation.key).or_default().extend(steps);
    }
    for (key, operations) in by_key {
        let story = match porcupine_rs::check_operations_timeout(&operations, SEARCH_TIME) {
            CheckResult::Ok => continue,
            CheckResult::Illegal => "no order of its operations explains what was seen",
            CheckResult::Unknown => "the search for an explanation took too long",
        };
        return Err(Violation::new(
            Property::Linearizable,
            format!("{key:?}: {story}{}", listing(&operations)),
        ));
    }
    Ok(())
}

fn listing(operations: &[porcupine_rs::Operation<KeyModel>]) -> String {
    let mut sorted: Vec<_> = operations.iter().collect();
    sorted.sort_by_key(|operation| operation.call_time);
    let lines = sorted.iter().map(|operation| {
        format!(
            "\n  {:>10} {:>10} client {:?} {:?}",
            operation.call_time / 2,
            operation.return_time / 2,
            operation.client_id,
            operation.op.step
        )
    });
    lines.collect()
}

/// The model's steps that one operation amounts to.
fn steps(
    operation: &Operation,
    context: &Context<'_>,
) -> Result<Vec<porcupine_rs::Operation<KeyModel>>, Violation> {
    let writer = |version: Ballot| {
        (context.writer)(&operation.key, version).ok_or_else(|| {
            let story = format!("{:?}: nobody wrote version {version}", operation.key);
            Violation::new(Property::Linearizable, story)
        })
    };
    let mut steps = Vec::new();
    match operation.action {
        Action::Get(None) => steps.push((Step::Saw(None), operation.return_us)),
        Action::Get(Some(seen)) => {
            let cell = Cell {
                put: seen.put,
                version: writer(seen.version)?,
                expires_at: seen.expires_at,
            };
            steps.push((Step::Saw(Some(cell)), operation.return_us));
        }
        Action::Write {
            id,
            change,
            condition,
            outcome,
        } => {
            let expected = match (condition, change) {
                (Condition::Any, Change::Touch { .. }) => Expected::Something,
                (Condition::Any, _) => Expected::Anything,
                (Condition::Absent, _) => Expected::Nothing,
                (Condition::Present, _) => Expected::Something,
                (Condition::Version(version), _) => Expected::Version(writer(version)?),
            };
            let perhaps = (context.effective_us)(id)
                .map(|(_, chosen_us)| (Step::Perhaps(id, change, expected), chosen_us));
            match outcome {
                Outcome::Written { version, found } => {
                    if writer(version)? != id {
                        let story = format!("{id:?} was told the version {version} of another");
                        return Err(Violation::new(Property::Linearizable, story));
                    }
                    let applied = Step::Applied(id, change, expected, found);
                    steps.push((applied, operation.return_us));
                }
                Outcome::Conflict {
                    current,
                    copies_left,
                } => {
                    let current = current.map(writer).transpose()?;
                    steps.push((Step::Refused(expected, current), operation.return_us));
                    steps.extend(perhaps.filter(|_| copies_left));
                }
                Outcome::Unknown => steps.extend(perhaps),
                Outcome::Refused => {}
            }
        }
    }
    Ok(steps
        .into_iter()
        .map(|(step, return_us)| timed(operation, step, return_us, context))
        .collect())
}

fn timed(
    operation: &Operation,
    step: Step,
    return_us: u64,
    context: &Context<'_>,
) -> porcupine_rs::Operation<KeyModel> {
    let clock = |us: u64| context.epoch_ms.saturating_add(us / 1000);
    let time = |us: u64| i64::try_from(us.saturating_mul(2)).unwrap_or(i64::MAX / 2);
    let call_us = match step {
        Step::Perhaps(id, ..) => {
            let first_us = (context.effective_us)(id).map_or(0, |(first_us, _)| first_us);
            first_us.max(operation.call_us)
        }
        _ => operation.call_us,
    };
    // Whether a value has ended was decided when the write was evaluated: before it was on a disk.
    let earliest = Millis(clock(operation.call_us).saturating_sub(context.skew_ms));
    let latest = Millis(clock(return_us).saturating_add(1 + context.skew_ms));
    porcupine_rs::Operation {
        client_id: Some(operation.client),
        call_time: time(call_us),
        return_time: time(return_us.max(call_us)) + 1,
        op: Timed {
            step,
            earliest,
            latest,
        },
        metadata: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Seen;
    use engram_core::types::{Key, NamespaceId};

    fn id(sequence: u64) -> WriteId {
        WriteId {
            client: 1,
            sequence,
        }
    }

    fn ballot(n: u64) -> Ballot {
        Ballot { n, ..Ballot::ZERO }
    }

    /// In these histories, write n made version n.
    fn operation(call: u64, ret: u64, action: Action) -> Operation {
        Operation {
            client: 1,
            key: RecordKey {
                namespace: NamespaceId(1),
                key: Key::new("k").expect("short"),
            },
            call_us: call * 1000,
            return_us: ret * 1000,
            action,
        }
    }

    fn saw(n: u64, expires_at: Option<Millis>) -> Action {
        Action::Get((n > 0).then(|| Seen {
            put: id(n),
            version: ballot(n),
            expires_at,
        }))
    }

    fn put(n: u64, condition: Condition, outcome: Outcome, expires_at: Option<Millis>) -> Action {
        let change = Change::Put { expires_at };
        Action::Write {
            id: id(n),
            change,
            condition,
            outcome,
        }
    }

    fn written(n: u64, found: bool) -> Outcome {
        Outcome::Written {
            version: ballot(n),
            found,
        }
    }

    fn verdict(history: &[Operation]) -> bool {
        let context = Context {
            writer: &|_, version| Some(id(version.n)),
            effective_us: &|write| Some((write.sequence * 1_000, write.sequence * 25_000)),
            epoch_ms: 0,
            skew_ms: 5,
        };
        check(history, &context).is_ok()
    }

    #[test]
    fn stale_lost_and_phantom_reads_are_caught() {
        let any = Condition::Any;
        let first = operation(0, 1, put(1, any, written(1, false), None));
        let second = operation(2, 3, put(2, any, written(2, true), None));
        let both = |last: Operation| verdict(&[first.clone(), second.clone(), last]);
        assert!(both(operation(4, 5, saw(2, None))));
        assert!(!both(operation(4, 5, saw(1, None))), "stale");
        assert!(!both(operation(4, 5, saw(0, None))), "lost");
        assert!(!both(operation(4, 5, saw(3, None))), "phantom");
        assert!(both(operation(1, 5, saw(1, None))), "concurrent");
        let wrong_found = operation(4, 5, put(3, any, written(3, false), None));
        assert!(!both(wrong_found), "it must have found something");
    }

    #[test]
    fn conditions_are_checked() {
        let current = |n: u64, copies_left| Outcome::Conflict {
            current: (n > 0).then(|| ballot(n)),
            copies_left,
        };
        let first = operation(0, 1, put(1, Condition::Absent, written(1, false), None));
        let after = |action| verdict(&[first.clone(), operation(2, 3, action)]);
        let version = |n| Condition::Version(ballot(n));
        assert!(after(put(2, version(1), written(2, true), None)));
        assert!(!after(put(2, version(7), written(2, true), None)));
        assert!(!after(put(2, Condition::Absent, written(2, true), None)));
        assert!(after(put(2, Condition::Absent, current(1, false), None)));
        assert!(!after(put(2, version(1), current(1, false), None)));
        assert!(!after(put(2, Condition::Absent, current(0, false), None)));
    }

    #[test]
    fn an_unknown_write_may_take_effect_until_it_is_chosen() {
        // It is chosen at 25; the reads are at 10, 20 and 30.
        let unknown = operation(0, 1, put(1, Condition::Any, Outcome::Unknown, None));
        for (reads, fine) in [
            (vec![0, 1, 1], true),
            (vec![1, 1, 1], true),
            (vec![0, 0, 1], true),
            (vec![1, 0, 1], false),
            (vec![0, 0, 0], false),
        ] {
            let mut history = vec![unknown.clone()];
            for (at, n) in reads.iter().enumerate() {
                let at = 10 + 10 * at as u64;
                history.push(operation(at, at + 1, saw(*n, None)));
            }
            assert_eq!(verdict(&history), fine, "{reads:?}");
        }
    }

    #[test]
    fn a_value_may_end_only_around_its_time() {
        let end = Some(Millis(100));
        let first = operation(0, 1, put(1, Condition::Any, written(1, false), end));
        for (at, n, fine) in [
            (50, 1, true),
            (50, 0, false),
            (97, 0, true),
            (97, 1, true),
            (103, 1, true),
            (110, 1, false),
            (110, 0, true),
        ] {
            let read = operation(at, at + 1, saw(n, if n > 0 { end } else { None }));
            assert_eq!(verdict(&[first.clone(), read]), fine, "{n} at {at}");
        }
    }
}
