//! How far a full-text index goes in the change log of each shard: the watermark it commits.

use std::collections::BTreeMap;

use bincode::{Decode, Encode};

use super::sealed::{SealError, seal, unseal};
use crate::types::{Blob, Lseq, MemberId, ShardId};

/// What the checksum is bound to.
const PLACE: &[u8] = b"text marks";

/// Positions in the change logs of one member, which mean nothing to any other.
#[derive(Clone, PartialEq, Eq, Debug, Default, Encode, Decode)]
pub struct TextMarks {
    /// Whose change logs.
    pub member: MemberId,
    /// All changes up to here are in the index.
    pub marks: BTreeMap<ShardId, Lseq>,
}

impl TextMarks {
    /// The bytes to commit.
    pub fn seal(&self) -> Blob {
        seal(PLACE, self).into()
    }

    /// Reads what was committed.
    ///
    /// # Errors
    /// [`SealError`] if it is damaged or of a newer format.
    pub fn unseal(committed: &Blob) -> Result<TextMarks, SealError> {
        unseal(PLACE, committed.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_the_commit() {
        let marks = TextMarks {
            member: MemberId(3),
            marks: [(ShardId(1), Lseq(10)), (ShardId(5), Lseq(0))].into(),
        };
        assert_eq!(TextMarks::unseal(&marks.seal()), Ok(marks));
        assert_eq!(TextMarks::unseal(&Blob::from("")), Err(SealError::Damaged));
    }
}
