//! Invariant 3: when a reply leaves, what it reveals is on the disk of its sender.

use engram_core::types::{Ballot, MemberId, RecordKey};
use engram_core::wire::register::ReplyBody;

use super::monotone::Monotone;
use super::{Property, Violation};

/// Checks a reply about `key` that `member` is about to send.
///
/// # Errors
/// If its disk does not hold what the reply says.
pub fn check(
    disks: &Monotone,
    member: MemberId,
    key: &RecordKey,
    reply: &ReplyBody,
) -> Result<(), Violation> {
    let votes = disks.votes(member, key);
    let floor = disks.floor(member);
    let covered = |ballot: Ballot, held: Option<Ballot>| match held {
        Some(held) => held >= ballot,
        None => ballot.is_zero() || floor >= ballot,
    };
    let accepted = votes.map(|votes| votes.accepted);
    let fine = match reply {
        ReplyBody::Promise {
            ballot,
            accepted: told,
            ..
        } => covered(*ballot, votes.map(|votes| votes.promise)) && covered(*told, accepted),
        ReplyBody::Accepted { ballot } => covered(*ballot, accepted),
        ReplyBody::Read { accepted: told, .. } => covered(*told, accepted),
        _ => true,
    };
    if fine {
        return Ok(());
    }
    Err(Violation::new(
        Property::DurableReply,
        format!("{member} holds {votes:?} of {key:?}, floor {floor}, and says {reply:?}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::storage::format::{Record, seal};
    use engram_core::storage::{Keyspace, WriteBatch, keys};
    use engram_core::types::{Key, LogicalTime, NamespaceId, ShardId};

    #[test]
    fn a_reply_that_is_ahead_of_the_disk_is_caught() {
        let key = RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        };
        let ballot = |n| Ballot { n, ..Ballot::ZERO };
        let mut disks = Monotone::default();
        let mut batch = WriteBatch::default();
        let record = Record {
            promise: ballot(5),
            accepted: ballot(3),
            ..Record::default()
        };
        batch.put(
            Keyspace::Records,
            keys::record(ShardId(0), &key),
            seal(&record),
        );
        disks.applied(MemberId(1), &batch).expect("a first record");
        let promise = |n, told| ReplyBody::Promise {
            ballot: ballot(n),
            accepted: ballot(told),
            register: None,
            floor_time: LogicalTime(0),
        };
        let accepted = |n| ReplyBody::Accepted { ballot: ballot(n) };
        for (reply, member, fine) in [
            (promise(5, 3), 1, true),
            (promise(6, 3), 1, false),
            (promise(5, 4), 1, false),
            (accepted(3), 1, true),
            (accepted(4), 1, false),
            (accepted(3), 2, false),
            (promise(1, 0), 2, false),
        ] {
            let result = check(&disks, MemberId(member), &key, &reply);
            assert_eq!(result.is_ok(), fine, "{reply:?} of {member}");
        }
    }
}
