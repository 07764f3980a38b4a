//! Shrinking: the smallest fault list, workload and world that still fail in the same way
//! (after Zeller and Hildebrandt 2002, "Simplifying and isolating failure-inducing input").

use super::fault::Planned;
use super::profile::Profile;
use super::{Outcome, Setup, run};
use crate::checkers::Property;

/// Most runs of one shrinking.
const RUNS_MAX: u32 = 400;

/// What was shrunk, and how.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest run found.
    pub setup: Setup,
    /// What it violates.
    pub outcome: Outcome,
    /// How many runs it took.
    pub runs: u32,
}

struct Shrinking<'a> {
    best: Setup,
    outcome: Outcome,
    property: Property,
    runs: u32,
    tell: &'a mut dyn FnMut(u32, &Setup),
}

/// Shrinks a run that fails; none if it does not. `tell` hears of every run and the best so far.
pub fn shrink(setup: &Setup, tell: &mut dyn FnMut(u32, &Setup)) -> Option<Shrunk> {
    let outcome = run(setup);
    let property = outcome.violations.first()?.property;
    let mut shrinking = Shrinking {
        best: setup.clone(),
        outcome,
        property,
        runs: 1,
        tell,
    };
    while shrinking.pass() {}
    Some(Shrunk {
        setup: shrinking.best,
        outcome: shrinking.outcome,
        runs: shrinking.runs,
    })
}

impl Shrinking<'_> {
    /// Tries everything once; tells whether anything became smaller.
    fn pass(&mut self) -> bool {
        let mut smaller = self.faults();
        for change in CHANGES {
            let mut profile = self.best.profile.clone();
            change(&mut profile);
            smaller |= self.profile(profile);
        }
        smaller
    }

    fn profile(&mut self, profile: Profile) -> bool {
        profile != self.best.profile
            && self.attempt(Setup {
                profile,
                ..self.best.clone()
            })
    }

    /// Leaves out faults: first many at once, then one by one.
    fn faults(&mut self) -> bool {
        let mut smaller = false;
        let mut size = self.best.faults.len().max(1);
        while size > 0 {
            let mut at = 0;
            while at < self.best.faults.len() {
                let end = (at + size).min(self.best.faults.len());
                let mut faults: Vec<Planned> = self.best.faults.clone();
                faults.drain(at..end);
                let left_out = self.attempt(Setup {
                    faults,
                    ..self.best.clone()
                });
                smaller |= left_out;
                if !left_out {
                    at += size;
                }
            }
            size /= 2;
        }
        smaller
    }

    fn attempt(&mut self, setup: Setup) -> bool {
        if self.runs >= RUNS_MAX {
            return false;
        }
        self.runs += 1;
        let outcome = run(&setup);
        let first = outcome.violations.first().map(|found| found.property);
        let fails = first == Some(self.property);
        if fails {
            self.best = setup;
            self.outcome = outcome;
        }
        (self.tell)(self.runs, &self.best);
        fails
    }
}

/// Ways to make a world smaller or calmer.
const CHANGES: [fn(&mut Profile); 26] = [
    |it| it.operations /= 2,
    |it| it.operations = it.operations * 3 / 4,
    |it| it.clients = it.clients.saturating_sub(1).max(1),
    |it| it.keys = (it.keys / 2).max(1),
    |it| it.keys = it.keys.saturating_sub(1).max(1),
    |it| it.watchers = it.watchers.saturating_sub(1),
    |it| it.shards = 1,
    |it| it.partitions = 1,
    |it| it.nodes = it.nodes.min(3),
    |it| it.lose = 0,
    |it| it.copy = 0,
    |it| it.tail = 0,
    |it| it.request_copies = 0,
    |it| it.slow_sync = 0,
    |it| it.expiring = 0,
    |it| it.crash_after_promise = 0,
    |it| it.omit_learn = 0,
    |it| it.smallest_quorum = 0,
    |it| it.buggify = 0,
    |it| it.skew_ms = 0,
    |it| it.dirty_reads = false,
    |it| it.cache_bytes = 1 << 20,
    |it| it.delay_us = it.delay_us.min(500),
    |it| it.sync_us = it.sync_us.min(200),
    |it| it.read_us = it.read_us.min(50),
    |it| it.wander = 20,
];
