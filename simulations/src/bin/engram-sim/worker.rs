//! What one process does for a campaign: it runs its share of the seeds, and prints each result
//! as a line of JSON.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use engram_simulations::campaign;
use engram_simulations::cluster::{self, Counters, Recoveries, Setup};
use serde::{Deserialize, Serialize};

use crate::args::Worker;

/// No world takes so long: most take less than a second.
const HANGS: Duration = Duration::from_secs(600);

/// What became of one seed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SeedResult {
    pub(crate) level: u8,
    pub(crate) seed: u64,
    pub(crate) hash: String,
    pub(crate) events: u64,
    pub(crate) virtual_us: u64,
    pub(crate) wall_ms: u64,
    pub(crate) messages: u64,
    pub(crate) counters: BTreeMap<String, u64>,
    pub(crate) recoveries: Recoveries,
    pub(crate) longest: BTreeMap<String, u64>,
    /// Which property, and the story.
    pub(crate) violations: Vec<(String, String)>,
}

/// Runs the seeds from, from + step, ...
pub(crate) fn work(worker: &Worker) -> anyhow::Result<()> {
    let step = usize::try_from(worker.step.max(1))?;
    let mut out = std::io::stdout().lock();
    for seed in (worker.from..worker.to).step_by(step) {
        let result = run_seed(worker, seed);
        serde_json::to_writer(&mut out, &result)?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
    Ok(())
}

/// Runs one seed as drawn.
fn run_seed(worker: &Worker, seed: u64) -> SeedResult {
    let level = worker.level;
    if level == 2 {
        let setup = Setup {
            mutant: worker.mutant,
            ..Setup::draw_with(seed, worker.nodes)
        };
        return run_cluster(&setup).0;
    }
    let begun = Instant::now();
    let outcome = campaign::run_seed(seed, false);
    let counted = outcome.counters;
    let counters = [
        ("operations", counted.operations),
        ("unknown", counted.unknown),
        ("conflicts", counted.conflicts),
        ("scans", counted.scans),
        ("lost", counted.lost),
        ("copies", counted.copies),
        ("crashes", counted.crashes),
        ("partitions", counted.partitions),
        ("pauses", counted.pauses),
        ("purges", counted.purges),
    ];
    SeedResult {
        level,
        seed,
        hash: format!("{:016x}", outcome.hash),
        events: outcome.events,
        virtual_us: outcome.virtual_us,
        wall_ms: millis(begun),
        messages: counted.delivered,
        counters: counters
            .map(|(name, count)| (name.to_owned(), count))
            .into(),
        violations: outcome.violations.iter().map(pair).collect(),
        ..SeedResult::default()
    }
}

/// Runs a cluster.
pub(crate) fn run_cluster(setup: &Setup) -> (SeedResult, cluster::Outcome) {
    let begun = Instant::now();
    let watched = watch(setup.seed);
    let outcome = cluster::run(setup);
    drop(watched);
    let Counters { delivered, .. } = outcome.counters;
    let counters = outcome.counters.all().into_iter();
    let result = SeedResult {
        level: 2,
        seed: outcome.seed,
        hash: format!("{:016x}", outcome.hash),
        events: outcome.events,
        virtual_us: outcome.virtual_us,
        wall_ms: millis(begun),
        messages: delivered,
        counters: counters
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
        recoveries: outcome.recoveries.clone(),
        longest: outcome.longest.clone(),
        violations: outcome.violations.iter().map(pair).collect(),
    };
    (result, outcome)
}

/// Ends the process if a world hangs outside of virtual time, where it cannot notice that itself:
/// unless what is returned is dropped before [`HANGS`] is over.
fn watch(seed: u64) -> Sender<()> {
    let (watched, ended) = channel();
    std::thread::spawn(move || {
        if ended.recv_timeout(HANGS) == Err(RecvTimeoutError::Timeout) {
            let seconds = HANGS.as_secs();
            eprintln!("seed {seed} has taken {seconds} s: it hangs outside of virtual time");
            std::process::exit(2);
        }
    });
    watched
}

fn pair(violation: &engram_simulations::checkers::Violation) -> (String, String) {
    (format!("{:?}", violation.property), violation.story.clone())
}

fn millis(begun: Instant) -> u64 {
    u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX)
}
