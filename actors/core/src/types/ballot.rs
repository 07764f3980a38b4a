//! Ballots order the attempts to change a register.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};

use super::{Incarnation, MemberId};

/// Orders attempts to change a register: by `n`, then by who made it. No clock is involved.
///
/// The ballot of the write that made a value is also the value's version (its ETag): it never
/// recurs, even after the key was deleted and purged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Encode, Decode)]
pub struct Ballot {
    /// One more than the highest that the proposer had seen.
    pub n: u64,
    /// Who proposes.
    pub member: MemberId,
    /// In which of its lives, so that a restarted proposer never repeats a ballot.
    pub incarnation: Incarnation,
}

impl Ballot {
    /// Below every real ballot: "nothing promised", "nothing accepted".
    pub const ZERO: Ballot = Ballot {
        n: 0,
        member: MemberId(0),
        incarnation: Incarnation {
            boot: 0,
            respawn: 0,
        },
    };

    /// Whether this is [`Ballot::ZERO`].
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{}.{}.{}",
            self.n, self.member, self.incarnation.boot, self.incarnation.respawn
        )
    }
}

/// The text is not a version as this crate prints it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a version: expected NUMBER.MEMBER.BOOT.RESPAWN as printed by a read")]
pub struct ParseBallotError;

impl FromStr for Ballot {
    type Err = ParseBallotError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('.');
        let mut next = || parts.next().ok_or(ParseBallotError);
        let (n, member, boot, respawn) = (next()?, next()?, next()?, next()?);
        if parts.next().is_some() {
            return Err(ParseBallotError);
        }
        Ok(Ballot {
            n: n.parse().map_err(|_| ParseBallotError)?,
            member: MemberId(u64::from_str_radix(member, 16).map_err(|_| ParseBallotError)?),
            incarnation: Incarnation {
                boot: boot.parse().map_err(|_| ParseBallotError)?,
                respawn: respawn.parse().map_err(|_| ParseBallotError)?,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_survives_printing_and_parsing() {
        let ballot = Ballot {
            n: 7,
            member: MemberId(0xabc),
            incarnation: Incarnation {
                boot: 3,
                respawn: 1,
            },
        };
        assert_eq!(ballot.to_string().parse(), Ok(ballot));
        for bad in ["", "7", "7.x.1.1", "7.abc.1", "7.abc.1.1.1", "-1.abc.1.1"] {
            assert_eq!(bad.parse::<Ballot>(), Err(ParseBallotError), "{bad:?}");
        }
    }

    #[test]
    fn ballots_order_by_number_first() {
        let low = Ballot {
            n: 1,
            member: MemberId(9),
            ..Ballot::ZERO
        };
        let high = Ballot {
            n: 2,
            member: MemberId(1),
            ..Ballot::ZERO
        };
        assert!(Ballot::ZERO < low && low < high);
    }
}
