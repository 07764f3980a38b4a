//! The properties, one file each. Every checker has a test that plants a violation into its input
//! and sees it caught.

pub mod acknowledged;
pub mod answers;
pub mod at_most_once;
pub mod bounds;
pub mod convergence;
pub mod deletes;
pub mod durable_replies;
pub mod expiry;
pub mod found;
pub mod index;
pub mod linearizability;
pub mod monotone;
pub mod one_register;
pub mod recovery;
pub mod watched;

/// Which property was violated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Property {
    /// Each key behaves like one register.
    Linearizable,
    /// A write id is applied at most once, and what was chosen is never lost.
    AtMostOnce,
    /// One register per key and ballot.
    OneRegister,
    /// Promises, acceptances and floors never go back.
    Monotone,
    /// What a reply reveals is on disk.
    DurableReply,
    /// What a client was told is on a majority of disks.
    Acknowledged,
    /// After healing, all replicas hold the same.
    Converges,
    /// Every operation is answered in time, and forgotten.
    Answered,
    /// The index equals the store at rest.
    Index,
    /// The code under test gave up by itself.
    Panic,
    /// What is gone does not come back.
    Resurrected,
    /// A value does not end before its time.
    Expiry,
    /// Queues keep to their bounds.
    Bounded,
    /// A disk that lost what it had voted must not vote again.
    LostDiskVotes,
    /// After healing, everything works again within a bound of time.
    Progress,
    /// After a fault, an operation succeeds again within a bound of time.
    Recovery,
    /// Who watches keys is told what becomes of them.
    Watched,
}

impl Property {
    /// Whether a client could notice the violation, without looking at disks.
    pub fn seen_by_clients(self) -> bool {
        matches!(
            self,
            Property::Linearizable
                | Property::AtMostOnce
                | Property::Resurrected
                | Property::Expiry
                | Property::Progress
                | Property::Recovery
                | Property::Watched
        )
    }
}

/// A violated property, and what happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    /// Which.
    pub property: Property,
    /// What happened.
    pub story: String,
}

impl Violation {
    /// A violation.
    pub fn new(property: Property, story: String) -> Violation {
        Violation { property, story }
    }
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.property, self.story)
    }
}
