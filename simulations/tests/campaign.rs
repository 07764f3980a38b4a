//! A short campaign over seeds, and its own determinism.

use engram_simulations::campaign::{SEED_VARIABLE, SEEDS_VARIABLE, Summary, run_seed};

/// Seeds that run unless told otherwise: CI runs more, with `engram-sim`.
const SEEDS: u64 = 60;

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn no_seed_violates_a_property() {
    let mut summary = Summary::default();
    if let Some(seed) = variable(SEED_VARIABLE) {
        summary.add(run_seed(seed, true));
    } else {
        for seed in 0..variable(SEEDS_VARIABLE).unwrap_or(SEEDS) {
            summary.add(run_seed(seed, false));
        }
    }
    println!("{summary}");
    assert!(summary.failed.is_empty(), "{}", summary.failures());
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..3 {
        let (first, again) = (run_seed(seed, false), run_seed(seed, false));
        assert_eq!((first.hash, first.events), (again.hash, again.events));
        assert_eq!(first.counters, again.counters);
    }
    assert_ne!(run_seed(0, false).hash, run_seed(1, false).hash);
}
