//! Invariant 4: when a client is told that a write was applied, a majority durably holds it or
//! something newer, or a floor above it.

use engram_core::types::{Ballot, MemberId, RecordKey};

use super::monotone::Monotone;
use super::{Property, Violation};

/// Checks an acknowledgement of `version`.
///
/// # Errors
/// If fewer than a majority of `members` hold it.
pub fn check(
    disks: &Monotone,
    members: &[MemberId],
    key: &RecordKey,
    version: Ballot,
) -> Result<(), Violation> {
    let holders = members
        .iter()
        .filter(|member| match disks.votes(**member, key) {
            Some(votes) if !votes.accepted.is_zero() => votes.accepted >= version,
            _ => disks.floor(**member) >= version,
        })
        .count();
    if holders > members.len() / 2 {
        return Ok(());
    }
    Err(Violation::new(
        Property::Acknowledged,
        format!(
            "{version} of {key:?} was acknowledged, and {holders} of {} hold it",
            members.len()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::storage::format::{Record, seal};
    use engram_core::storage::{Keyspace, WriteBatch, keys};
    use engram_core::types::{Key, NamespaceId, ShardId};

    #[test]
    fn a_minority_is_not_enough() {
        let key = RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        };
        let ballot = |n| Ballot { n, ..Ballot::ZERO };
        let members = [MemberId(1), MemberId(2), MemberId(3)];
        let mut disks = Monotone::default();
        for (holders, member) in members.iter().enumerate() {
            let result = check(&disks, &members, &key, ballot(3));
            assert_eq!(result.is_ok(), holders >= 2, "{holders}");
            let mut batch = WriteBatch::default();
            let record = Record {
                promise: ballot(4),
                accepted: ballot(3),
                ..Record::default()
            };
            batch.put(
                Keyspace::Records,
                keys::record(ShardId(0), &key),
                seal(&record),
            );
            disks.applied(*member, &batch).expect("a first record");
        }
        assert!(check(&disks, &members, &key, ballot(4)).is_err());
    }
}
