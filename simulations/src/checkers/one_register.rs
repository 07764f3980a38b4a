//! Invariant 1: all replicas that accept a ballot of a key accept the same register.

use std::collections::BTreeMap;
use std::sync::Arc;

use engram_core::types::{Ballot, RecordKey, Register};

use super::{Property, Violation};

/// Remembers the register of every ballot.
#[derive(Debug, Default)]
pub struct OneRegister {
    seen: BTreeMap<(RecordKey, Ballot), Arc<Register>>,
}

impl OneRegister {
    /// A register was proposed or accepted at a ballot.
    ///
    /// # Errors
    /// If another register has that ballot.
    pub fn observe(
        &mut self,
        key: &RecordKey,
        ballot: Ballot,
        register: &Arc<Register>,
    ) -> Result<(), Violation> {
        if ballot.is_zero() {
            return Ok(());
        }
        let known = self
            .seen
            .entry((key.clone(), ballot))
            .or_insert_with(|| register.clone());
        if Arc::ptr_eq(known, register) || **known == **register {
            return Ok(());
        }
        Err(Violation::new(
            Property::OneRegister,
            format!("{key:?} at {ballot} is both {known:?} and {register:?}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engram_core::types::{Blob, Key, NamespaceId};

    #[test]
    fn two_registers_of_one_ballot_are_caught() {
        let mut checker = OneRegister::default();
        let key = RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        };
        let ballot = Ballot {
            n: 1,
            ..Ballot::ZERO
        };
        let register = |value: &str| {
            Arc::new(Register {
                value: Some(Blob::from(value)),
                ..Register::default()
            })
        };
        assert_eq!(checker.observe(&key, ballot, &register("a")), Ok(()));
        assert_eq!(checker.observe(&key, ballot, &register("a")), Ok(()));
        let error = checker.observe(&key, ballot, &register("b"));
        assert_eq!(error.map_err(|v| v.property), Err(Property::OneRegister));
    }
}
