//! After healing, and enough time, all replicas hold the same registers at the same ballots, and
//! know that they were chosen.

use std::collections::BTreeMap;
use std::sync::Arc;

use engram_core::types::{Ballot, MemberId, RecordKey, Register};

use super::{Property, Violation};

/// A replica at rest.
#[derive(Clone, Debug)]
pub struct AtRest {
    /// Whose.
    pub member: MemberId,
    /// What it accepted, durably. Records that only promised something do not count.
    pub records: BTreeMap<RecordKey, (Ballot, Arc<Register>)>,
    /// Changes not yet known to be chosen.
    pub unlearned: u64,
}

/// Checks replicas at rest.
///
/// # Errors
/// If they differ, or have not learned something.
pub fn check(replicas: &[AtRest]) -> Result<(), Violation> {
    let violation = |story: String| Violation::new(Property::Converges, story);
    let Some(first) = replicas.first() else {
        return Ok(());
    };
    for replica in replicas {
        for key in first.records.keys().chain(replica.records.keys()) {
            let (here, there) = (first.records.get(key), replica.records.get(key));
            if here != there {
                return Err(violation(format!(
                    "{key:?} is {here:?} on {} and {there:?} on {}",
                    first.member, replica.member
                )));
            }
        }
        if replica.unlearned > 0 {
            let story = format!(
                "{} changes are unlearned on {}",
                replica.unlearned, replica.member
            );
            return Err(violation(story));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::types::{Key, NamespaceId};

    #[test]
    fn replicas_that_differ_are_caught() {
        let replica = |member, n, unlearned| {
            let key = RecordKey {
                namespace: NamespaceId(1),
                key: Key::new("k").expect("short"),
            };
            let ballot = Ballot { n, ..Ballot::ZERO };
            let mut records = BTreeMap::new();
            if n > 0 {
                records.insert(key, (ballot, Arc::default()));
            }
            AtRest {
                member: MemberId(member),
                records,
                unlearned,
            }
        };
        assert!(check(&[replica(1, 2, 0), replica(2, 2, 0)]).is_ok());
        assert!(check(&[replica(1, 2, 0), replica(2, 1, 0)]).is_err());
        assert!(check(&[replica(1, 2, 0), replica(2, 0, 0)]).is_err());
        assert!(check(&[replica(1, 0, 0), replica(2, 2, 0)]).is_err());
        assert!(check(&[replica(1, 2, 0), replica(2, 2, 1)]).is_err());
    }
}
