//! The checkers are checked: faults planted into the world are caught within a few seeds.

use engram_simulations::campaign::find_planted;
use engram_simulations::profile::Planted;

/// Within how many seeds each planted fault is caught: by all checkers together, and by those that
/// know only what clients know.
const BOUNDS: [(Planted, u64, Option<u64>); 7] = [
    (Planted::LyingSync, 5, Some(10)),
    (Planted::Amnesia, 5, Some(10)),
    (Planted::DroppedTombstones, 5, Some(10)),
    (Planted::BlindRetry, 10, Some(10)),
    // It harms clients so seldom that looking at the disks is what finds it.
    (Planted::SameIncarnation, 50, None),
    // Clients are harmed in one seed of several hundred (the first is 394).
    (Planted::EarlyPurge, 100, None),
    // Clients never see it: hits of a search are verified.
    (Planted::EagerIndex, 100, None),
];

#[test]
fn every_planted_fault_is_caught() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for (planted, all, clients) in BOUNDS {
        for (clients_only, seeds) in [(false, Some(all)), (true, clients)] {
            let Some(seeds) = seeds else { continue };
            let found = find_planted(planted, clients_only, seeds);
            match &found {
                Some((seed, violation)) => {
                    println!("{planted:?}, seed {seed}: {violation}");
                }
                None => missed.push(format!("{planted:?} in {seeds} seeds ({clients_only})")),
            }
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
