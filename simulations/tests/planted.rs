//! The checkers are checked: every planted bug is caught within its number of seeds, and some by what
//! clients alone can notice.

use engram_simulations::mutant::Mutant;

/// Bugs that clients alone notice, too, and within how many seeds.
const CLIENTS: [(&str, u64); 5] = [
    ("lying-sync", 10),
    ("amnesia", 10),
    ("blind-retry", 10),
    ("tombstone-dropped", 200),
    ("read-from-one", 10),
];

#[test]
fn every_planted_bug_is_caught() {
    std::panic::set_hook(Box::new(|_| {}));
    let mut missed = Vec::new();
    for mutant in Mutant::all() {
        let (hunt, name) = (mutant.hunt(), mutant.name());
        match hunt.seek(mutant, false, hunt.seeds_max, |_| {}) {
            Some(caught) => {
                let (seeds, most) = (caught.seeds, hunt.seeds_max);
                println!("{name}: {seeds} of {most} seeds: {}", caught.violation);
            }
            None => missed.push(name),
        }
    }
    for (name, seeds) in CLIENTS {
        let mutant = Mutant::named(name).expect("it is known");
        if mutant.hunt().seek(mutant, true, seeds, |_| {}).is_none() {
            missed.push(name);
        }
    }
    let _ = std::panic::take_hook();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}
