//! Scenarios: worlds with a plot, for people who want to see one thing happen.

use super::Setup;
use super::fault::{Fault, Planned, Victim};
use super::profile::Profile;

/// A world with a plot.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// What it is called.
    pub name: &'static str,
    /// What happens.
    pub story: &'static str,
    /// How soon an operation must succeed after each of its faults, in virtual milliseconds.
    pub recovers_ms: u64,
    plot: fn() -> (Profile, Vec<Planned>),
}

impl Scenario {
    /// The run.
    pub fn setup(&self, seed: u64) -> Setup {
        let (profile, faults) = (self.plot)();
        Setup {
            recovers_ms: Some(self.recovers_ms),
            ..Setup::new(seed, profile, faults)
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<&'static Scenario> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }
}

fn calm(faults: Vec<(u64, Fault)>) -> (Profile, Vec<Planned>) {
    let planned = faults.into_iter();
    let planned = planned.map(|(at_ms, fault)| Planned { at_ms, fault });
    // The clients work for about 18 s: faults after that would not happen.
    let profile = Profile {
        operations: 2_400,
        ..Profile::calm()
    };
    (profile, planned.collect())
}

/// All of them.
pub const SCENARIOS: [Scenario; 16] = [
    Scenario {
        name: "failed-shard",
        story: "the acceptor, then the proposer of a shard panics on one node",
        recovers_ms: 3_000,
        plot: || {
            let panic = |victim| Fault::Panic {
                node: 1,
                victim,
                number: 0,
            };
            calm(vec![
                (2_000, panic(Victim::Shard)),
                (5_000, panic(Victim::Replicator)),
                (6_000, panic(Victim::Shard)),
            ])
        },
    },
    Scenario {
        name: "killed-node",
        story: "one node loses power for five seconds",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::Crash {
                node: 0,
                down_ms: 5_000,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "rolling-restart",
        story: "one node after the other is restarted",
        recovers_ms: 3_000,
        plot: || {
            let crash = |node| Fault::Crash { node, down_ms: 700 };
            calm(vec![
                (2_000, crash(0)),
                (6_000, crash(1)),
                (10_000, crash(2)),
            ])
        },
    },
    Scenario {
        name: "power-cut",
        story: "all nodes lose power at once, twice",
        recovers_ms: 3_000,
        plot: || {
            let cut = Fault::PowerCut { down_ms: 1_000 };
            calm(vec![(2_000, cut.clone()), (7_000, cut)])
        },
    },
    Scenario {
        name: "partition",
        story: "one node is cut off from the other two for six seconds",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::Partition {
                side: vec![2],
                for_ms: 6_000,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "one-way",
        story: "one node hears another, and is not heard by it",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::OneWay {
                from: 0,
                to: 1,
                for_ms: 5_000,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "swizzle-clog",
        story: "nodes are cut off one by one and come back in the same order",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::Clog {
                nodes: vec![2, 0, 1],
                every_ms: 1_500,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "pause",
        story: "one node stands still for four seconds",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::Pause {
                node: 1,
                for_ms: 4_000,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "slow-disk",
        story: "every sync of one disk takes half a second, for eight seconds",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::SlowDisk {
                node: 0,
                for_ms: 8_000,
                sync_ms: 500,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "full-disk",
        story: "one disk is full for six seconds",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::FullDisk {
                node: 1,
                for_ms: 6_000,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "lost-disk",
        story: "a disk loses four seconds of writes that it had reported durable: its node must refuse",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::LostSync {
                node: 1,
                after_ms: 4_000,
                down_ms: 700,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "roll-back",
        story: "a stopped node's disk is imaged, and set back to the image later: its node must refuse",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::RollBack {
                node: 1,
                after_ms: 6_000,
                down_ms: 700,
            };
            calm(vec![(2_000, fault)])
        },
    },
    Scenario {
        name: "refused-for-good",
        story: "a node refuses its rolled-back disk, then all lose power, and what peers saw of it is gone",
        recovers_ms: 3_000,
        plot: || {
            let roll_back = Fault::RollBack {
                node: 1,
                after_ms: 5_000,
                down_ms: 700,
            };
            let dark = |down_ms| Fault::PowerCut { down_ms };
            calm(vec![
                (1_000, roll_back),
                (9_000, dark(300)),
                (12_000, dark(300)),
            ])
        },
    },
    Scenario {
        name: "torn-write",
        story: "power fails in the middle of a write, twice",
        recovers_ms: 3_000,
        plot: || {
            let torn = |node| Fault::TornWrite { node, down_ms: 700 };
            calm(vec![(2_000, torn(0)), (5_000, torn(1))])
        },
    },
    Scenario {
        name: "misdirected",
        story: "a disk writes one record where another one is",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::Misdirected {
                node: 1,
                record: 3,
                other: 5,
                down_ms: 700,
            };
            calm(vec![(4_000, fault)])
        },
    },
    Scenario {
        name: "bit-rot",
        story: "one bit of one record on one disk changes",
        recovers_ms: 3_000,
        plot: || {
            let fault = Fault::BitRot {
                node: 1,
                record: 3,
                down_ms: 700,
            };
            calm(vec![(4_000, fault)])
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for scenario in &SCENARIOS {
            let found = Scenario::named(scenario.name).map(|found| found.story);
            assert_eq!(found, Some(scenario.story));
        }
        assert!(Scenario::named("no such plot").is_none());
    }

    #[test]
    fn every_plot_holds_and_recovers_in_time() {
        for scenario in &SCENARIOS {
            let outcome = crate::cluster::run(&scenario.setup(1));
            println!("{}: {:?}", scenario.name, outcome.recoveries);
            assert_eq!(outcome.violations, [], "{}", scenario.name);
            assert!(
                outcome.counters.faults > 0,
                "{}: nothing happened",
                scenario.name
            );
        }
    }
}
