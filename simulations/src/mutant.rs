//! Known bugs, planted one at a time to see the checkers catch them: the checkers are checked.
//!
//! Most live in the real code, behind [`engram_core::planted`]; a few are a world that breaks a promise
//! which the code relies on. Each has a [`Hunt`]: the worlds in which it is sought, and within how many
//! seeds it must be caught.

use engram_core::planted::{Bug, Planted};
use serde::{Deserialize, Serialize};

use crate::cluster::fault::Victim;
use crate::hunt::Hunt;

/// A promise that the world breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Misdeed {
    /// The disk reports batches durable long before they are.
    LyingSync,
    /// A restarted replica has lost its disk and votes on under its old name.
    Amnesia,
    /// A client sends a write again under a fresh write id.
    BlindRetry,
    /// Nodes are restarted without raising the boot count.
    SameIncarnation,
}

/// A planted bug.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Mutant {
    /// The world breaks a promise.
    World(Misdeed),
    /// The code breaks a rule.
    Code(Bug),
}

/// What is known of a planted bug.
struct Known {
    mutant: Mutant,
    name: &'static str,
    story: &'static str,
    hunt: Hunt,
}

const fn known(mutant: Mutant, name: &'static str, story: &'static str, hunt: Hunt) -> Known {
    Known {
        mutant,
        name,
        story,
        hunt,
    }
}

use Bug::*;
use Misdeed::*;
use Mutant::{Code, World};

/// All of them. How many seeds each may need is about three times what it did need when that was
/// last measured.
const KNOWN: [Known; 30] = [
    known(
        World(LyingSync),
        "lying-sync",
        "the disk reports writes durable long before they are",
        Hunt::pure(10),
    ),
    known(
        World(Amnesia),
        "amnesia",
        "a restarted replica has lost its records, and votes",
        Hunt::pure(10),
    ),
    known(
        World(BlindRetry),
        "blind-retry",
        "a client sends a write again under a fresh write id",
        Hunt::pure(10),
    ),
    known(
        World(SameIncarnation),
        "same-incarnation",
        "a restarted node makes ballots of its former life",
        Hunt::pure(50),
    ),
    known(
        Code(PromiseNotSynced),
        "promise-not-synced",
        "a promise leaves before it is on disk",
        Hunt::pure(10),
    ),
    known(
        Code(AcceptNotSynced),
        "accept-not-synced",
        "an acceptance leaves before it is on disk",
        Hunt::pure(10),
    ),
    known(
        Code(UnwitnessedVotes),
        "unwitnessed-votes",
        "a replica serves before a peer has witnessed that its disk lost nothing",
        Hunt::rolled_back(50),
    ),
    known(
        Code(TombstonesDropped),
        "tombstone-dropped",
        "a replica drops an old tombstone by itself",
        Hunt::pure(10),
    ),
    known(
        Code(PurgeBeforeIndexed),
        "purge-before-indexed",
        "a tombstone is purged while the index still has the value",
        Hunt::purges(20),
    ),
    known(
        Code(PullBelowFloor),
        "pull-below-floor",
        "a purged register is pulled from a peer again",
        Hunt::purges(50),
    ),
    known(
        Code(ReservationSkipped),
        "reservation-skipped",
        "an acceptance is acknowledged again without the reservation it asks for",
        Hunt::overtaken(2_000),
    ),
    known(
        Code(InFlightEvicted),
        "in-flight-evicted",
        "a record with an append in flight is evicted and read back",
        Hunt::small_cache(20),
    ),
    known(
        Code(UnlearnedFed),
        "unlearned-fed",
        "the index runs ahead of what is learned",
        Hunt::pure(10),
    ),
    known(
        Code(PurgeAtTwo),
        "purge-at-two",
        "a purge is ordered when two of three hold the tombstone",
        Hunt::purges(100),
    ),
    known(
        Code(NextUsedTwice),
        "next-used-twice",
        "a reserved ballot is kept after it was used",
        Hunt::pure(10),
    ),
    known(
        Code(CompareWithoutRound),
        "compare-without-round",
        "a failed compare is answered though the replicas differ",
        Hunt::pure(50),
    ),
    known(
        Code(EmptiesTakenAsEqual),
        "empties-taken-as-equal",
        "a read takes empty registers of different ballots for equal",
        Hunt::deletes(200),
    ),
    known(
        Code(ExpiryByClock),
        "expiry-by-clock",
        "an ended value is hidden by the reader's clock alone",
        Hunt::expiries(100),
    ),
    known(
        Code(ReadFromOne),
        "read-from-one",
        "a get is answered by one replica",
        Hunt::pure(10),
    ),
    known(
        Code(HitReadFromOne),
        "hit-read-from-one",
        "a hit of a search is verified by one replica",
        Hunt::lagging(100),
    ),
    known(
        Code(WriteAppliedAgain),
        "write-applied-again",
        "the ids of applied writes are not looked up",
        Hunt::pure(10),
    ),
    known(
        Code(LateWriteEvaluated),
        "late-write-evaluated",
        "a write from before the time that was forgotten is evaluated",
        Hunt::late_copies(50),
    ),
    known(
        Code(EndedValueShown),
        "ended-value-shown",
        "a get that rides along with a put sees its value after its end",
        Hunt::expiries(300),
    ),
    known(
        Code(ChosenWithoutBallot),
        "chosen-without-ballot",
        "a change counts as chosen because an earlier one of its key was",
        Hunt::catching_up(200),
    ),
    known(
        Code(TimerForgotten),
        "timer-forgotten",
        "a timer that came too early is not set again",
        Hunt::jumping_clocks(100),
    ),
    known(
        Code(PageNotSynced),
        "page-not-synced",
        "a page of changes leaves before it is on disk",
        Hunt::dirty_reads(400),
    ),
    known(
        Code(PeekNotSynced),
        "peek-not-synced",
        "a read that is answered at once shows what is not on disk yet",
        Hunt::slow_disks(50),
    ),
    known(
        Code(GapUntold),
        "gap-untold",
        "a watcher goes on as if nothing were missing where a replica cannot tell what was",
        Hunt::watched(30),
    ),
    known(
        Code(IncarnationKept),
        "incarnation-kept",
        "actors are respawned in the incarnation of their former life",
        Hunt::panics(Victim::Replicator, 100),
    ),
    known(
        Code(LostDiskUnmarked),
        "lost-disk-unmarked",
        "a disk that lost writes is not marked, and votes when its peers have forgotten",
        Hunt::refused_for_good(20),
    ),
];

impl Mutant {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Mutant> {
        KNOWN.iter().map(|known| known.mutant)
    }

    fn known(self) -> &'static Known {
        let mut all = KNOWN.iter();
        all.find(|known| known.mutant == self)
            .expect("a test finds every one")
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        self.known().name
    }

    /// What it does.
    pub fn story(self) -> &'static str {
        self.known().story
    }

    /// Where it is sought.
    pub fn hunt(self) -> &'static Hunt {
        &self.known().hunt
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Mutant> {
        let mut all = KNOWN.iter();
        all.find(|known| known.name == name)
            .map(|known| known.mutant)
    }

    /// Whether this build can plant bugs: a release build cannot.
    pub const AVAILABLE: bool = cfg!(debug_assertions);

    /// What is planted into the code.
    pub fn planted(self) -> Planted {
        match self {
            #[cfg(debug_assertions)]
            Mutant::Code(bug) => Planted::bug(bug),
            _ => Planted::default(),
        }
    }
}

impl From<Mutant> for String {
    fn from(mutant: Mutant) -> String {
        mutant.name().to_owned()
    }
}

impl TryFrom<String> for Mutant {
    type Error = String;

    fn try_from(name: String) -> Result<Mutant, String> {
        Mutant::named(&name).ok_or_else(|| format!("there is no planted bug {name:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_one_is_known_by_its_own_name() {
        for mutant in Mutant::all() {
            assert_eq!(Mutant::named(mutant.name()), Some(mutant));
            let text = String::from(mutant);
            assert_eq!(Mutant::try_from(text), Ok(mutant));
        }
        assert!(Mutant::try_from("no-such-bug".to_owned()).is_err());
    }
}
