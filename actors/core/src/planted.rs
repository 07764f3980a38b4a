//! Known bugs that the simulator plants into the protocol, one at a time, to see its checkers catch
//! them. Each is a rule left out, or a shortcut that somebody once took or was tempted to take.
//!
//! They exist only where debug assertions do. In a release build [`Planted`] has no size and
//! [`Planted::is`] is false, so the compiler leaves nothing of them; and only the simulator ever makes
//! anything but the empty one.

/// A bug that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Bug {
    /// An acceptor's promise leaves before it is on disk.
    PromiseNotSynced,
    /// An acceptance leaves before it is on disk.
    AcceptNotSynced,
    /// An acceptor serves before a peer has witnessed that its disk lost nothing.
    UnwitnessedVotes,
    /// An acceptor drops an old tombstone by itself, instead of having it purged everywhere.
    TombstonesDropped,
    /// A tombstone is purged though the index may still hold the deleted value.
    PurgeBeforeIndexed,
    /// A register is pulled from a peer though it lies below the floor.
    PullBelowFloor,
    /// An acceptance is acknowledged again without the reservation that it asks for.
    ReservationSkipped,
    /// A record whose append is in flight is evicted, and read back from the disk.
    InFlightEvicted,
    /// The index is fed changes that are not known to be chosen.
    UnlearnedFed,
    /// A purge is ordered when two replicas hold the tombstone.
    PurgeAtTwo,
    /// A reserved ballot is used for more than one proposal.
    NextUsedTwice,
    /// A condition that does not hold is answered without a round, though the replicas differ.
    CompareWithoutRound,
    /// A read takes empty registers of different ballots for equal.
    EmptiesTakenAsEqual,
    /// A read hides an ended value by the clock alone, without making it a tombstone.
    ExpiryByClock,
    /// A get is answered from this replica's own register.
    ReadFromOne,
    /// A hit of a search is verified by this node's replica alone.
    HitReadFromOne,
    /// A write that was applied before is applied again.
    WriteAppliedAgain,
    /// A write that may have been applied and forgotten is evaluated.
    LateWriteEvaluated,
    /// A get that rides along with a put is shown a value whose time was over before it was put.
    EndedValueShown,
    /// A change is taken for chosen because an earlier ballot of its key was.
    ChosenWithoutBallot,
    /// A timer that comes before its time, for the clock was set back, is not set again.
    TimerForgotten,
    /// A read that is answered at once shows what is not on disk yet.
    PeekNotSynced,
    /// Pages of records and changes leave before all that they show is on disk.
    PageNotSynced,
    /// A watcher goes on at the end of a log where the replica cannot tell all that happened since.
    GapUntold,
    /// Actors of a replica are respawned under the incarnation of their former life.
    IncarnationKept,
    /// A node does not mark a disk that lost writes: only its peers' memory can tell.
    LostDiskUnmarked,
}

/// The bug that is planted, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Planted {
    #[cfg(debug_assertions)]
    bug: Option<Bug>,
}

const _: () = assert!(
    cfg!(debug_assertions) || size_of::<Planted>() == 0,
    "a release build has no room for planted bugs"
);

impl Planted {
    /// Plants a bug.
    #[cfg(debug_assertions)]
    pub fn bug(bug: Bug) -> Planted {
        Planted { bug: Some(bug) }
    }

    /// Whether this bug is planted: never, in a release build.
    #[inline]
    pub fn is(self, bug: Bug) -> bool {
        #[cfg(debug_assertions)]
        let planted = self.bug == Some(bug);
        #[cfg(not(debug_assertions))]
        let planted = {
            let _ = bug;
            false
        };
        planted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_planted_unless_asked_for() {
        assert!(!Planted::default().is(Bug::PurgeAtTwo));
        #[cfg(debug_assertions)]
        {
            let planted = Planted::bug(Bug::PurgeAtTwo);
            assert!(planted.is(Bug::PurgeAtTwo) && !planted.is(Bug::ReadFromOne));
        }
    }
}
