//! Runs many seeds and says how to run a failed one again.

use std::fmt::Write;

use crate::profile::Profile;
use crate::world::{Counters, Outcome, Setup, World};

/// The environment variable that names one seed to run, with its trace.
pub const SEED_VARIABLE: &str = "ENGRAM_SEED";
/// The environment variable that says how many seeds to run.
pub const SEEDS_VARIABLE: &str = "ENGRAM_SEEDS";

/// Runs one seed as drawn.
pub fn run_seed(seed: u64, print: bool) -> Outcome {
    World::run(&Setup {
        seed,
        profile: Profile::draw(seed),
        mutant: None,
        clients_only: false,
        print,
    })
}

/// What many runs amount to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many seeds ran.
    pub seeds: u64,
    /// All counters together.
    pub counters: Counters,
    /// Events of all runs.
    pub events: u64,
    /// Virtual time of all runs, in seconds.
    pub virtual_s: u64,
    /// Runs that violated a property.
    pub failed: Vec<Outcome>,
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, outcome: Outcome) {
        let (sum, one) = (&mut self.counters, &outcome.counters);
        for (sum, one) in [
            (&mut sum.operations, one.operations),
            (&mut sum.unknown, one.unknown),
            (&mut sum.copies, one.copies),
            (&mut sum.lost, one.lost),
            (&mut sum.delivered, one.delivered),
            (&mut sum.crashes, one.crashes),
            (&mut sum.respawns, one.respawns),
            (&mut sum.partitions, one.partitions),
            (&mut sum.pauses, one.pauses),
            (&mut sum.purges, one.purges),
            (&mut sum.fetched, one.fetched),
            (&mut sum.scans, one.scans),
            (&mut sum.conflicts, one.conflicts),
            (&mut sum.fed, one.fed),
            (&mut sum.rotten, one.rotten),
            (&mut sum.rebuilt, one.rebuilt),
        ] {
            *sum += one;
        }
        self.seeds += 1;
        self.events += outcome.events;
        self.virtual_s += outcome.virtual_us / 1_000_000;
        if !outcome.violations.is_empty() {
            self.failed.push(outcome);
        }
    }

    /// What failed, and how to run it again.
    pub fn failures(&self) -> String {
        let mut text = String::new();
        for outcome in self.failed.iter().take(5) {
            let seed = outcome.seed;
            // Writing to a string does not fail.
            let _ = writeln!(
                text,
                "seed {seed} failed; again, with its trace: \
                 {SEED_VARIABLE}={seed} cargo test -p engram-simulations --test campaign -- --nocapture"
            );
            for violation in &outcome.violations {
                let _ = writeln!(text, "  {violation}");
            }
        }
        text
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Counters {
            operations,
            unknown,
            copies,
            lost,
            delivered,
            crashes,
            respawns,
            partitions,
            pauses,
            purges,
            fetched,
            scans,
            conflicts,
            fed,
            rotten,
            rebuilt,
        } = self.counters;
        write!(
            f,
            "{} seeds, {} failed: {operations} operations ({unknown} unknown, {conflicts} conflicts, \
             {scans} scans), {delivered} messages, {lost} lost, {copies} copies, {crashes} crashes, \
             {respawns} respawns, {partitions} partitions, {pauses} pauses, {purges} purges, \
             {fetched} records fetched, {fed} fed to the index, {rotten} damaged, {rebuilt} rebuilt; {} events in {} virtual seconds",
            self.seeds,
            self.failed.len(),
            self.events,
            self.virtual_s
        )
    }
}
