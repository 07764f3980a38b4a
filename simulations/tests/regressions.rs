//! Bugs that were found stay away.

use engram_simulations::regressions::Regression;

#[test]
fn what_was_found_does_not_come_back() {
    let mut failed = Vec::new();
    for regression in Regression::all().expect("the list is fine") {
        for again in regression.again().expect("what it names exists") {
            let violations = again.run();
            if !violations.is_empty() {
                failed.push(format!("{}: {violations:?}", again.name()));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
