//! Whether what was recorded can be explained.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use engram_core::types::{Ballot, RecordKey, WriteId};
use engram_simulations::checkers::linearizability::{self, Context};
use engram_simulations::history::{Action, Change, Operation, Outcome};

use crate::recorder::writers;

/// Checks that each key behaved like one register: no stale read, no lost write, none applied
/// twice.
///
/// # Errors
/// Tells the story of the key that did not.
pub fn linearizable(history: &[Operation]) -> Result<()> {
    let writers = writers(history)?;
    let writer = |key: &RecordKey, version: Ballot| -> Option<WriteId> {
        writers.get(&(key.clone(), version)).copied()
    };
    let history = without_strangers(history, &writers);
    let first_seen = first_seen(&history);
    // What nobody saw may take effect at any time after it was asked for, or never.
    let effective_us = |id: WriteId| Some((0, first_seen.get(&id).copied().unwrap_or(u64::MAX)));
    let context = Context {
        writer: &writer,
        effective_us: &effective_us,
        epoch_ms: 0,
        skew_ms: 0,
    };
    linearizability::check(&history, &context).map_err(|violation| anyhow::anyhow!("{violation}"))
}

/// When each write had certainly taken effect: a read that saw its value had returned.
fn first_seen(history: &[Operation]) -> BTreeMap<WriteId, u64> {
    let mut first = BTreeMap::new();
    for operation in history {
        if let Action::Get(Some(seen)) = operation.action {
            let at = first.entry(seen.put).or_insert(u64::MAX);
            *at = operation.return_us.min(*at);
        }
    }
    first
}

/// A conflict may name a version that nobody read and whose writer was not told: then it says only
/// that the write had no effect.
fn without_strangers(
    history: &[Operation],
    writers: &BTreeMap<(RecordKey, Ballot), WriteId>,
) -> Vec<Operation> {
    let known = |operation: &Operation| match operation.action {
        Action::Write {
            outcome:
                Outcome::Conflict {
                    current: Some(version),
                    ..
                },
            ..
        } => writers.contains_key(&(operation.key.clone(), version)),
        _ => true,
    };
    history.iter().filter(|one| known(one)).cloned().collect()
}

/// Checks, by versions alone, that each key's last read found its last acknowledged value or a
/// later one. Less than [`linearizable`], and simpler: it does not depend on any search.
///
/// # Errors
/// Names the key that has lost a write.
pub fn nothing_lost(history: &[Operation]) -> Result<()> {
    let mut keys: BTreeMap<&RecordKey, Vec<&Operation>> = BTreeMap::new();
    for operation in history {
        keys.entry(&operation.key).or_default().push(operation);
    }
    for (key, operations) in keys {
        let reads = operations
            .iter()
            .filter_map(|operation| match operation.action {
                Action::Get(seen) => Some((operation.call_us, seen)),
                _ => None,
            });
        let last_read = reads.max_by_key(|(call_us, _)| *call_us);
        let (read_us, seen) = last_read.with_context(|| format!("{key:?} was not read"))?;
        let puts = operations
            .iter()
            .filter_map(|operation| match operation.action {
                Action::Write {
                    change: Change::Put { .. },
                    outcome: Outcome::Written { version, .. },
                    ..
                } if operation.return_us < read_us => Some((version, operation.call_us)),
                _ => None,
            });
        let Some((version, put_us)) = puts.max() else {
            continue;
        };
        match seen {
            Some(seen) if seen.version >= version => {}
            Some(seen) => bail!("{key:?} went back from {version} to {}", seen.version),
            None if operations.iter().any(|one| may_delete_after(one, put_us)) => {}
            None => bail!("{key:?} lost version {version}"),
        }
    }
    Ok(())
}

/// Whether a deletion may have taken effect after a moment.
fn may_delete_after(operation: &Operation, moment_us: u64) -> bool {
    match operation.action {
        Action::Write {
            change: Change::Delete,
            outcome: Outcome::Written { .. },
            ..
        } => operation.return_us >= moment_us,
        Action::Write {
            change: Change::Delete,
            outcome: Outcome::Unknown,
            ..
        } => true,
        _ => false,
    }
}

/// How the operations of a history ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Reads that were answered.
    pub reads: usize,
    /// Writes that were acknowledged.
    pub acknowledged: usize,
    /// Conditional writes whose condition did not hold.
    pub conflicts: usize,
    /// Writes of which it is not known whether they were applied.
    pub unknown: usize,
    /// Writes that certainly had no effect.
    pub refused: usize,
    /// The longest time that an operation took, in milliseconds.
    pub longest_ms: u64,
}

/// Counts how operations ended.
pub fn count(history: &[Operation]) -> Counts {
    let mut counts = Counts::default();
    for operation in history {
        let field = match operation.action {
            Action::Get(_) => &mut counts.reads,
            Action::Write { outcome, .. } => match outcome {
                Outcome::Written { .. } => &mut counts.acknowledged,
                Outcome::Conflict { .. } => &mut counts.conflicts,
                Outcome::Unknown => &mut counts.unknown,
                Outcome::Refused => &mut counts.refused,
            },
        };
        *field += 1;
        let took_ms = operation.return_us.saturating_sub(operation.call_us) / 1000;
        counts.longest_ms = counts.longest_ms.max(took_ms);
    }
    counts
}
