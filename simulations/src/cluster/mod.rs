//! Level 2: a whole cluster. The actors of `engram-actors`, unchanged, run on one single-threaded
//! tokio runtime with paused time; network, disks, clocks and randomness are simulated at the
//! seams of `engram_actors::env`.
//!
//! | part | what it does |
//! |---|---|
//! | `state` | virtual time, the queue of what will happen, everything behind one lock |
//! | `driver` | works the queue off, lets the actors run in between, starts and ends processes |
//! | `seams` | `Store`, `Transport`, `Clock`, `Entropy`, fenced by the life of their node |
//! | `network`, `links`, `disks` | what may happen to frames, links and writes |
//! | [`fault`], `nemesis` | the faults, drawn before the run, and how they are done |
//! | `clients`, `workload` | closed-loop clients that retry through other nodes |
//! | `rest` | forming, healing, reviving, converging, last reads |
//! | `full` | a namespace beyond its bound, which is evicted from meanwhile |
//! | `judge` | the checkers, as things happen and at the end |
//!
//! A run has five phases: the cluster forms; clients work while faults happen; all faults end and
//! everything must work again within a bound of virtual time; replicas and indexes converge; last
//! reads, and judgement. A world that does not get on ends with a report of who waits for whom.

mod clients;
mod disks;
mod driver;
pub mod fault;
mod full;
mod judge;
mod links;
mod nemesis;
mod network;
mod node;
pub mod profile;
mod report;
mod rest;
pub mod scenario;
mod seams;
pub mod seed_file;
pub mod shrink;
mod state;
pub mod timeline;
pub mod trace;
mod verdict;
mod workload;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::driver::Driver;
use self::fault::Planned;
use self::profile::Profile;
use self::state::{Happening, World};
use self::trace::{Line, Record, Span};
use crate::checkers::{Property, Violation};
use crate::history::Operation;

/// Name of the simulated cluster.
const CLUSTER: &str = "simulated";

/// A fault planted on purpose, to see the checkers catch it. The world itself misbehaves: none of
/// them is in production code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mutant {
    /// The disk reports batches durable long before they are.
    LyingSync,
    /// A restarted replica has lost its disk and votes on under its old name.
    Amnesia,
    /// A restarted replica has dropped its tombstones by itself.
    DroppedTombstones,
    /// A client sends a write again under a fresh write id.
    BlindRetry,
    /// Nodes are restarted without raising the incarnation.
    SameIncarnation,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 5] = [
        Mutant::LyingSync,
        Mutant::Amnesia,
        Mutant::DroppedTombstones,
        Mutant::BlindRetry,
        Mutant::SameIncarnation,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Mutant::LyingSync => "lying-sync",
            Mutant::Amnesia => "amnesia",
            Mutant::DroppedTombstones => "dropped-tombstones",
            Mutant::BlindRetry => "blind-retry",
            Mutant::SameIncarnation => "same-incarnation",
        }
    }

    /// What it does.
    pub fn story(self) -> &'static str {
        match self {
            Mutant::LyingSync => "promises and acceptances leave before they are on disk",
            Mutant::Amnesia => "a restarted replica has lost its records, and votes",
            Mutant::DroppedTombstones => "a restarted replica has dropped its tombstones by itself",
            Mutant::BlindRetry => "a client sends a write again under a fresh write id",
            Mutant::SameIncarnation => "a restarted node makes ballots of its former life",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Mutant> {
        Mutant::ALL.into_iter().find(|mutant| mutant.name() == name)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// What is counted in a run.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counters {
            /// Adds another run's.
            pub fn add(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
            }

            /// All of them, by name.
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }
    };
}

counters! {
    /// Operations that clients began.
    operations,
    /// Operations that succeeded.
    succeeded,
    /// Operations that ended without a known outcome.
    unknown,
    /// Failed conditions.
    conflicts,
    /// Scans answered.
    scans,
    /// Searches answered.
    searches,
    /// What they found.
    hits,
    /// Fresh searches for everything that covered all shards.
    fresh_searches,
    /// Keys that those did not find, and that nobody wrote meanwhile.
    fresh_misses,
    /// Frames delivered.
    delivered,
    /// Frames and answers lost.
    lost,
    /// Frames that had no link to go on.
    unlinked,
    /// Frames and requests delivered twice.
    copies,
    /// Greetings refused.
    refused_links,
    /// Syncs of disks.
    syncs,
    /// Syncs that a full disk refused.
    refused_syncs,
    /// Crashes of nodes.
    crashes,
    /// Actors that were made to panic, or killed.
    panics,
    /// Pauses of nodes.
    pauses,
    /// Partitions.
    partitions,
    /// Planned faults that happened.
    faults,
    /// Planned faults that the atlas left out.
    skipped_faults,
    /// Faults at points chosen by the protocol.
    buggified,
    /// Processes that ended by themselves.
    ended,
    /// Starts that were refused because the disk had lost writes.
    refused_disks,
    /// Records purged.
    purges,
}

/// How long it took until things worked again, in virtual microseconds, by what had gone wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Recoveries(pub BTreeMap<String, Vec<u64>>);

impl Recoveries {
    fn add(&mut self, kind: &str, took_us: u64) {
        self.0.entry(kind.to_owned()).or_default().push(took_us);
    }
}

/// How a run is made.
#[derive(Clone, PartialEq, Debug)]
pub struct Setup {
    /// Decides everything that the profile and the faults leave open.
    pub seed: u64,
    /// What the cluster is like.
    pub profile: Profile,
    /// What goes wrong.
    pub faults: Vec<Planned>,
    /// A fault planted on purpose, if any.
    pub mutant: Option<Mutant>,
    /// Whether only what clients can notice counts as a violation.
    pub clients_only: bool,
    /// How much of the run is kept.
    pub record: Record,
}

impl Setup {
    /// A seed as drawn.
    pub fn draw(seed: u64) -> Setup {
        let profile = Profile::draw(seed);
        Setup {
            seed,
            faults: fault::draw(seed, &profile),
            profile,
            mutant: None,
            clients_only: false,
            record: Record::Hash,
        }
    }
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What happened, hashed.
    pub hash: u64,
    /// How many events.
    pub events: u64,
    /// Virtual time, in microseconds.
    pub virtual_us: u64,
    /// What was counted.
    pub counters: Counters,
    /// Recovery times.
    pub recoveries: Recoveries,
    /// The longest that appends, reads and proposers' operations ever queued up.
    pub longest: BTreeMap<String, u64>,
    /// Violated properties.
    pub violations: Vec<Violation>,
    /// Every event, if wanted.
    pub lines: Vec<Line>,
    /// What was wrong with nodes, and when, if wanted.
    pub spans: Vec<Span>,
    /// What clients asked and were told, if wanted.
    pub history: Vec<Operation>,
}

/// Runs a seed's world to its end.
///
/// # Panics
/// If the runtime cannot be made.
pub fn run(setup: &Setup) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime without I/O needs nothing from the system");
    let setup = setup.clone();
    runtime.block_on(async move {
        let driver = tokio::spawn(drive(setup.clone()));
        match driver.await {
            Ok(outcome) => outcome,
            Err(error) => panicked(&setup, &error.to_string()),
        }
    })
}

fn panicked(setup: &Setup, story: &str) -> Outcome {
    Outcome {
        seed: setup.seed,
        hash: 0,
        events: 0,
        virtual_us: 0,
        counters: Counters::default(),
        recoveries: Recoveries::default(),
        longest: BTreeMap::new(),
        violations: vec![Violation::new(Property::Panic, story.into())],
        lines: Vec::new(),
        spans: Vec::new(),
        history: Vec::new(),
    }
}

async fn drive(setup: Setup) -> Outcome {
    let world = World::new(&setup);
    let driver = Driver {
        world: world.clone(),
    };
    driver.form().await;
    driver.fill().await;
    driver.storm().await;
    driver.heal().await;
    driver.revive().await;
    driver.rest().await;
    driver.last_reads().await;
    driver.emptied().await;
    driver.leftovers().await;
    world.lock().give_verdict();
    driver.end().await;
    let mut state = world.lock();
    let lengths = ["appends", "reads", "proposer"];
    Outcome {
        seed: setup.seed,
        hash: state.recorder.hash(),
        events: state.recorder.events(),
        virtual_us: state.now_us(),
        counters: state.counters,
        recoveries: state.recoveries.clone(),
        longest: lengths
            .iter()
            .map(|queue| {
                (
                    (*queue).to_owned(),
                    state.judge.bounds.longest(queue) as u64,
                )
            })
            .collect(),
        violations: state.violations.clone(),
        lines: std::mem::take(&mut state.recorder.lines),
        spans: std::mem::take(&mut state.recorder.spans),
        history: std::mem::take(&mut state.judge.history),
    }
}

impl Driver {
    /// Clients work while faults happen.
    async fn storm(&self) {
        let limit_us = self.world.with(|state| {
            state.note("storm", None, format_args!(""));
            state.healed = false;
            state.begin_clients();
            for number in 0..state.faults.len() {
                let at_ms = state.faults.get(number).map_or(0, |planned| planned.at_ms);
                state.after(at_ms * 1000, Happening::Fault(number));
            }
            state.now_us() + state.profile.storm_ms * 1000
        });
        self.run(limit_us, state::State::clients_done).await;
    }
}
