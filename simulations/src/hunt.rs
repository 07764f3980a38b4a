//! Where a planted bug is sought: worlds as seeds draw them, changed in what it takes to do harm.

use crate::checkers::{Property, Violation};
use crate::cluster::fault::{Fault, Planned, Victim};
use crate::cluster::scenario::Scenario;
use crate::cluster::{self, Setup as ClusterSetup, profile::Profile as ClusterProfile};
use crate::mutant::Mutant;
use crate::profile::Profile;
use crate::world::{self, World};

/// The worlds in which a bug is sought.
#[derive(Clone, Copy, Debug)]
enum Ground {
    /// Level 1: state machines alone.
    Pure(fn(Profile) -> Profile),
    /// Level 2: whole nodes.
    Cluster(fn(u64) -> ClusterSetup),
    /// Level 2, where one kind of actor panics again and again.
    Panics(Victim),
}

/// Where a bug is sought, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Hunt {
    ground: Ground,
    /// Within how many seeds it must be caught.
    pub seeds_max: u64,
}

/// A bug that was caught.
#[derive(Clone, Debug)]
pub struct Catch {
    /// By how many seeds.
    pub seeds: u64,
    /// In which of them.
    pub seed: u64,
    /// By which checker, and why.
    pub violation: Violation,
}

impl Hunt {
    const fn at(ground: Ground, seeds_max: u64) -> Hunt {
        Hunt { ground, seeds_max }
    }

    /// Worlds as drawn.
    pub const fn pure(seeds_max: u64) -> Hunt {
        Hunt::at(Ground::Pure(|drawn| drawn), seeds_max)
    }

    /// A replica must miss a deletion, and the purge that follows, until a client reads through it:
    /// tombstones are many and soon purged, messages lost or late.
    pub const fn purges(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            replicas: 3,
            operations: 400,
            think_ms: 150,
            lose: 150,
            tail: 300,
            tail_us: 2_000_000,
            wander: 1000,
            purge_after_ms: 100,
            index_commit_ms: 1,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// Replicas often compare their records with a peer's while writers go on, and reads take long.
    pub const fn catching_up(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            replicas: 3,
            keys: 5,
            operations: 400,
            think_ms: 1,
            lose: 50,
            cache_bytes: 1,
            read_us: 30_000,
            respawn_every_ms: 800,
            partition_every_ms: 1_500,
            crash_every_ms: 0,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// Catch-up brings what an accept that is still under way would bring, and other proposers are
    /// quick to use what it leaves out.
    pub const fn overtaken(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            replicas: 3,
            keys: 1,
            clients: 5,
            operations: 400,
            think_ms: 1,
            attempt_ms: 900,
            wander: 300,
            delay_us: 500,
            tail: 300,
            tail_us: 300_000,
            lose: 0,
            sync_us: 200,
            slow_sync: 0,
            read_us: 50,
            respawn_every_ms: 800,
            partition_every_ms: 1_500,
            crash_every_ms: 0,
            pause_every_ms: 0,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// Hardly anything stays in memory, and appends take long.
    pub const fn small_cache(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            cache_bytes: 1,
            dirty_reads: false,
            sync_us: 20_000,
            slow_sync: 100,
            read_us: 50,
            keys: 5,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// Reads show what is not on disk yet, and power fails often.
    pub const fn dirty_reads(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            dirty_reads: true,
            sync_us: 20_000,
            slow_sync: 100,
            slow_sync_us: 500_000,
            crash_every_ms: 1_200,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// Deletions of few keys, of which some replicas do not hear.
    pub const fn deletes(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            replicas: 3,
            keys: 1,
            operations: 400,
            think_ms: 20,
            attempt_ms: 60,
            wander: 1000,
            lose: 150,
            tail: 300,
            tail_us: 300_000,
            purge_after_ms: 100,
            expiring: 500,
            ttl_ms: 100,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// Values that end while clients look, by clocks that differ.
    pub const fn expiries(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            keys: 1,
            operations: 400,
            think_ms: 1,
            expiring: 500,
            ttl_ms: 100,
            skew_ms: 50,
            attempt_ms: 900,
            wander: 1000,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// Requests come again when everybody has forgotten them.
    pub const fn late_copies(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            keys: 1,
            clients: 5,
            operations: 600,
            think_ms: 1,
            attempt_ms: 250,
            request_copies: 150,
            late_copy_ms: 8_000,
            delay_us: 500,
            tail: 0,
            lose: 0,
            sync_us: 200,
            slow_sync: 0,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// Clocks are set while operations are under way.
    pub const fn jumping_clocks(seeds_max: u64) -> Hunt {
        let ground = |drawn| Profile {
            jump_every_ms: 2_000,
            skew_ms: 2_000,
            lose: 150,
            ..drawn
        };
        Hunt::at(Ground::Pure(ground), seeds_max)
    }

    /// A disk is set back to an image of a former time.
    pub const fn rolled_back(seeds_max: u64) -> Hunt {
        let ground = |seed| {
            let fault = Fault::RollBack {
                node: 1,
                after_ms: 3_000,
                down_ms: 40,
            };
            let profile = ClusterProfile {
                shards: 1,
                keys: 3,
                operations: 1_200,
                think_ms: 40,
                wander: 1_000,
                delay_us: 20_000,
                tail: 200,
                tail_us: 300_000,
                ..ClusterProfile::calm()
            };
            ClusterSetup::new(
                seed,
                profile,
                vec![Planned {
                    at_ms: 1_000,
                    fault,
                }],
            )
        };
        Hunt::at(Ground::Cluster(ground), seeds_max)
    }

    /// A node is told that its disk lost writes, then all lose power: the scenario of that name.
    pub const fn refused_for_good(seeds_max: u64) -> Hunt {
        let ground = |seed| {
            let plot = Scenario::named("refused-for-good").expect("there is such a scenario");
            ClusterSetup {
                recovers_ms: None,
                ..plot.setup(seed)
            }
        };
        Hunt::at(Ground::Cluster(ground), seeds_max)
    }

    /// Watchers come and go while nodes lose power one after the other, and much is deleted.
    pub const fn watched(seeds_max: u64) -> Hunt {
        let ground = |seed| {
            let profile = ClusterProfile {
                shards: 1,
                operations: 400,
                watchers: 3,
                purge_after_ms: 100,
                ..ClusterProfile::calm()
            };
            let faults = (0..8).map(|number| Planned {
                at_ms: 1_000 + 1_500 * number,
                fault: Fault::Crash {
                    node: usize::try_from(number % 3).unwrap_or(0),
                    down_ms: 300,
                },
            });
            ClusterSetup::new(seed, profile, faults.collect())
        };
        Hunt::at(Ground::Cluster(ground), seeds_max)
    }

    /// Few keys, slow disks, and power that is cut while much waits for them.
    pub const fn slow_disks(seeds_max: u64) -> Hunt {
        let ground = |seed| {
            let profile = ClusterProfile {
                shards: 1,
                keys: 2,
                operations: 900,
                think_ms: 10,
                wander: 1_000,
                slow_sync: 500,
                slow_sync_us: 200_000,
                ..ClusterProfile::calm()
            };
            let faults = (0..6).map(|number| Planned {
                at_ms: 500 + 1_000 * number,
                fault: Fault::PowerCut { down_ms: 50 },
            });
            ClusterSetup::new(seed, profile, faults.collect())
        };
        Hunt::at(Ground::Cluster(ground), seeds_max)
    }

    /// Writes reach two of three replicas, and the third hears of them late.
    pub const fn lagging(seeds_max: u64) -> Hunt {
        let ground = |seed| {
            let profile = ClusterProfile {
                shards: 1,
                keys: 2,
                operations: 600,
                think_ms: 10,
                wander: 1_000,
                tail: 200,
                tail_us: 1_000_000,
                smallest_quorum: 500,
                ..ClusterProfile::calm()
            };
            ClusterSetup::new(seed, profile, Vec::new())
        };
        Hunt::at(Ground::Cluster(ground), seeds_max)
    }

    /// Actors of one kind panic again and again.
    pub const fn panics(victim: Victim, seeds_max: u64) -> Hunt {
        Hunt::at(Ground::Panics(victim), seeds_max)
    }

    /// 1, if the state machines alone are run, or 2.
    pub fn level(&self) -> u8 {
        match self.ground {
            Ground::Pure(_) => 1,
            Ground::Cluster(_) | Ground::Panics(_) => 2,
        }
    }

    /// The cluster of a seed, with the bug planted; none if it is sought in the state machines alone.
    pub fn cluster(&self, mutant: Mutant, seed: u64) -> Option<ClusterSetup> {
        let setup = match self.ground {
            Ground::Pure(_) => return None,
            Ground::Cluster(ground) => ground(seed),
            Ground::Panics(victim) => often_panics(victim, seed),
        };
        Some(ClusterSetup {
            mutant: Some(mutant),
            ..setup
        })
    }

    /// Seeks a bug; with `clients_only`, only what clients can notice counts. `tell` hears of each seed
    /// before it runs.
    pub fn seek(
        &self,
        mutant: Mutant,
        clients_only: bool,
        seeds: u64,
        tell: impl Fn(u64),
    ) -> Option<Catch> {
        (0..seeds).find_map(|seed| {
            tell(seed);
            let violation = self.first_violation(mutant, clients_only, seed)?;
            Some(Catch {
                seeds: seed + 1,
                seed,
                violation,
            })
        })
    }

    fn first_violation(&self, mutant: Mutant, clients_only: bool, seed: u64) -> Option<Violation> {
        if let Some(setup) = self.cluster(mutant, seed) {
            let setup = ClusterSetup {
                clients_only,
                ..setup
            };
            return cluster::run(&setup).violations.into_iter().next();
        }
        let Ground::Pure(ground) = self.ground else {
            return None;
        };
        let setup = world::Setup {
            seed,
            profile: ground(Profile::draw(seed)),
            mutant: Some(mutant),
            clients_only,
            print: false,
        };
        // The state machines assert what must never be: that counts as caught, too, unless only what
        // clients see is wanted.
        match std::panic::catch_unwind(|| World::run(&setup).violations.into_iter().next()) {
            Ok(found) => found,
            Err(_) if clients_only => None,
            Err(_) => Some(Violation::new(
                Property::Panic,
                "an assertion of the state machines failed".into(),
            )),
        }
    }
}

fn often_panics(victim: Victim, seed: u64) -> ClusterSetup {
    let profile = ClusterProfile {
        shards: 1,
        keys: 1,
        operations: 600,
        think_ms: 10,
        delay_us: 20_000,
        tail: 200,
        tail_us: 1_500_000,
        smallest_quorum: 300,
        sync_us: 20_000,
        ..ClusterProfile::calm()
    };
    let faults = (0..24).map(|number| Planned {
        at_ms: 1_000 + 300 * number,
        fault: Fault::Panic {
            node: usize::try_from(number % 3).unwrap_or(0),
            victim,
            number: 0,
        },
    });
    ClusterSetup::new(seed, profile, faults.collect())
}
