//! Where a watcher is in the change logs of a shard's replicas.

use std::collections::BTreeMap;

use crate::types::{Lseq, MemberId};

/// What was seen of the change log of each replica of a shard.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Position(pub BTreeMap<MemberId, Lseq>);

impl Position {
    /// The position that a page tells.
    pub fn of(pairs: Vec<(MemberId, Lseq)>) -> Position {
        Position(pairs.into_iter().collect())
    }

    /// A position in the same logs that none of them has: whoever goes on from it is shown the
    /// shard anew.
    pub fn beyond(&self) -> Position {
        let members = self.0.keys();
        Position(members.map(|member| (*member, Lseq(u64::MAX))).collect())
    }

    /// Takes what a page adds: a position never goes back.
    pub fn advance(&mut self, pairs: &[(MemberId, Lseq)]) {
        for (member, lseq) in pairs {
            let known = self.0.entry(*member).or_default();
            *known = (*known).max(*lseq);
        }
    }

    /// The position as a question tells it.
    pub fn pairs(&self) -> Vec<(MemberId, Lseq)> {
        let pairs = self.0.iter();
        pairs.map(|(member, lseq)| (*member, *lseq)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_never_goes_back() {
        let mut position = Position::of(vec![(MemberId(1), Lseq(5))]);
        position.advance(&[(MemberId(1), Lseq(3)), (MemberId(2), Lseq(4))]);
        assert_eq!(
            position.pairs(),
            [(MemberId(1), Lseq(5)), (MemberId(2), Lseq(4))]
        );
    }
}
