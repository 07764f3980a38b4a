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
//! | `watchers` | who follow keys by prefix, and keep copies of them |
//! | `rest` | forming, healing, reviving, converging, last reads |
//! | `full` | a namespace beyond its bound, which is evicted from meanwhile |
//! | `judge`, `verdict` | the checkers, as things happen and at the end |
//! | `panics` | hears assertions that fail inside actors |
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
mod lives;
mod nemesis;
mod network;
mod node;
mod panics;
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
mod watchers;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::driver::Driver;
use self::fault::Planned;
use self::profile::Profile;
use self::state::{Happening, World};
use self::trace::{Line, Mark, Record, Span};
use crate::checkers::{Property, Violation};
use crate::history::Operation;
use crate::mutant::{Misdeed, Mutant};

/// Name of the simulated cluster.
const CLUSTER: &str = "simulated";

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
    /// What watchers were told.
    watch_events,
    /// How often a shard was shown anew to a watcher.
    watch_resyncs,
    /// How often a watcher went on from the cursor of another.
    watch_returns,
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
    /// How soon an operation must succeed after each fault, in virtual milliseconds, where a plot
    /// says so.
    pub recovers_ms: Option<u64>,
    /// How much of the run is kept.
    pub record: Record,
}

impl Setup {
    /// A seed as drawn.
    pub fn draw(seed: u64) -> Setup {
        Setup::draw_with(seed, None)
    }

    /// A seed as drawn, but for the number of nodes.
    pub fn draw_with(seed: u64, nodes: Option<usize>) -> Setup {
        let mut profile = Profile::draw(seed);
        profile.nodes = nodes.unwrap_or(profile.nodes);
        let faults = fault::draw(seed, &profile);
        Setup::new(seed, profile, faults)
    }

    /// A seed in a given world.
    pub fn new(seed: u64, profile: Profile, faults: Vec<Planned>) -> Setup {
        Setup {
            seed,
            profile,
            faults,
            mutant: None,
            clients_only: false,
            recovers_ms: None,
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
    /// Faults and phases, if wanted.
    pub marks: Vec<Mark>,
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
    let _listening = panics::Listening::begin();
    runtime.block_on(async move {
        let driver = tokio::spawn(drive(setup.seed, World::new(&setup)));
        match driver.await {
            Ok(outcome) => outcome,
            Err(error) => {
                let story = panics::unplanned().unwrap_or_else(|| error.to_string());
                panicked(&setup, &story)
            }
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
        marks: Vec::new(),
        history: Vec::new(),
    }
}

async fn drive(seed: u64, world: Arc<World>) -> Outcome {
    let driver = Driver {
        world: world.clone(),
    };
    driver.form().await;
    driver.fill().await;
    driver.begin_watches().await;
    driver.storm().await;
    driver.heal().await;
    driver.revive().await;
    driver.rest().await;
    driver.last_reads().await;
    driver.watches().await;
    driver.emptied().await;
    driver.leftovers().await;
    world.lock().give_verdict();
    driver.end().await;
    let mut state = world.lock();
    let lengths = ["appends", "reads", "proposer", "coordinator"];
    Outcome {
        seed,
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
        marks: std::mem::take(&mut state.recorder.marks),
        history: std::mem::take(&mut state.judge.history),
    }
}

impl Driver {
    /// Clients work while faults happen.
    async fn storm(&self) {
        let limit_us = self.world.with(|state| {
            state.begin_phase("storm");
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
