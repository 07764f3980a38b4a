//! Invariant 2: on a member's durable disk, promise, accepted and floor never go back. A record
//! goes away only together with a floor that covers it.

use std::collections::BTreeMap;

use engram_core::storage::format::{Record, ShardMeta, open};
use engram_core::storage::{Keyspace, WriteBatch, WriteOp, keys};
use engram_core::types::{Ballot, MemberId, RecordKey};

use super::{Property, Violation};

/// What a member's disk durably holds of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Votes {
    /// The promise.
    pub promise: Ballot,
    /// What was accepted.
    pub accepted: Ballot,
}

/// Mirrors the votes on all disks, and remembers the highest.
#[derive(Debug, Default)]
pub struct Monotone {
    votes: BTreeMap<(MemberId, RecordKey), Votes>,
    metas: BTreeMap<MemberId, ShardMeta>,
}

impl Monotone {
    /// What a member durably holds of a key.
    pub fn votes(&self, member: MemberId, key: &RecordKey) -> Option<Votes> {
        self.votes.get(&(member, key.clone())).copied()
    }

    /// A member's durable floor.
    pub fn floor(&self, member: MemberId) -> Ballot {
        self.metas
            .get(&member)
            .map_or(Ballot::ZERO, |meta| meta.floor)
    }

    /// A batch became durable on a member's disk.
    ///
    /// # Errors
    /// If anything goes back.
    pub fn applied(&mut self, member: MemberId, batch: &WriteBatch) -> Result<(), Violation> {
        let violation = |story: String| Violation::new(Property::Monotone, story);
        for op in &batch.ops {
            if let WriteOp::Put {
                keyspace: Keyspace::Meta,
                value,
                ..
            } = op
            {
                let meta = open::<ShardMeta>(value)
                    .map_err(|error| violation(format!("metadata of {member}: {error}")))?;
                self.meta(member, meta)?;
            }
        }
        for op in &batch.ops {
            match op {
                WriteOp::Put {
                    keyspace: Keyspace::Records,
                    key,
                    value,
                } => {
                    let (_, key) = keys::parse_record(key)
                        .ok_or_else(|| violation(format!("not a record key: {key:?}")))?;
                    let record = open::<Record>(value)
                        .map_err(|error| violation(format!("{key:?}: {error}")))?;
                    self.record(member, key, &record)?;
                }
                WriteOp::Remove {
                    keyspace: Keyspace::Records,
                    key,
                } => {
                    let Some((_, key)) = keys::parse_record(key) else {
                        continue;
                    };
                    let floor = self.floor(member);
                    let gone = self.votes.remove(&(member, key.clone()));
                    if gone.is_some_and(|votes| votes.promise > floor || votes.accepted > floor) {
                        return Err(violation(format!(
                            "{member} forgot {gone:?} of {key:?}, its floor is {floor}"
                        )));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        member: MemberId,
        key: RecordKey,
        record: &Record,
    ) -> Result<(), Violation> {
        let floor = self.floor(member);
        let votes = Votes {
            promise: record.promise,
            accepted: record.accepted,
        };
        let at = (member, key);
        let before = self.votes.get(&at).copied();
        let back = match before {
            Some(before) => votes.promise < before.promise || votes.accepted < before.accepted,
            // A new record must lie above everything that was purged.
            None => votes.promise <= floor,
        };
        if back || votes.promise < votes.accepted {
            return Err(Violation::new(
                Property::Monotone,
                format!("{member} went from {before:?}, floor {floor}, to {votes:?} of {at:?}"),
            ));
        }
        self.votes.insert(at, votes);
        Ok(())
    }

    fn meta(&mut self, member: MemberId, meta: ShardMeta) -> Result<(), Violation> {
        if let Some(before) = self.metas.get(&member)
            && (meta.epoch < before.epoch
                || meta.floor < before.floor
                || meta.floor_time < before.floor_time
                || meta.next_lseq < before.next_lseq
                || meta.learned_below < before.learned_below)
        {
            return Err(Violation::new(
                Property::Monotone,
                format!("the metadata of {member} went from {before:?} to {meta:?}"),
            ));
        }
        self.metas.insert(member, meta);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::storage::format::seal;
    use engram_core::types::{Key, NamespaceId, ShardId};

    fn key() -> RecordKey {
        RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        }
    }

    fn ballot(n: u64) -> Ballot {
        Ballot { n, ..Ballot::ZERO }
    }

    fn record(promise: u64, accepted: u64) -> WriteBatch {
        let mut batch = WriteBatch::default();
        let record = Record {
            promise: ballot(promise),
            accepted: ballot(accepted),
            ..Record::default()
        };
        let at = keys::record(ShardId(0), &key());
        batch.put(Keyspace::Records, at, seal(&record));
        batch
    }

    fn removal(floor: u64) -> WriteBatch {
        let mut batch = WriteBatch::default();
        let meta = ShardMeta {
            floor: ballot(floor),
            ..ShardMeta::default()
        };
        batch.remove(Keyspace::Records, keys::record(ShardId(0), &key()));
        batch.put(Keyspace::Meta, keys::shard_meta(ShardId(0)), seal(&meta));
        batch
    }

    #[test]
    fn whatever_goes_back_is_caught() {
        for (story, batches, fine) in [
            (
                "growth",
                vec![record(1, 0), record(2, 2), removal(2), record(3, 0)],
                true,
            ),
            ("promise back", vec![record(2, 0), record(1, 0)], false),
            ("accepted back", vec![record(2, 2), record(3, 1)], false),
            ("accepted above promise", vec![record(1, 2)], false),
            (
                "removed above the floor",
                vec![record(3, 2), removal(2)],
                false,
            ),
            ("floor back", vec![removal(2), removal(1)], false),
            ("below the floor", vec![removal(2), record(1, 1)], false),
        ] {
            let mut checker = Monotone::default();
            let result: Result<(), Violation> = batches
                .iter()
                .try_for_each(|batch| checker.applied(MemberId(1), batch));
            assert_eq!(result.is_ok(), fine, "{story}: {result:?}");
        }
    }
}
