//! Regressions.

use std::time::Instant;

use engram_simulations::mutant::Mutant;
use engram_simulations::regressions::Regression;

use crate::Verdict;
use crate::args::Regressions;
use crate::explain;

/// Runs what is listed for every bug that was ever found.
pub(crate) fn regressions(arguments: &Regressions) -> anyhow::Result<Verdict> {
    let all = Regression::all().map_err(|error| anyhow::anyhow!("regressions.toml: {error}"))?;
    let mut table = explain::columns(&["bug", "found", "planted again as", "runs", "outcome"]);
    let (begun, mut runs, mut failed) = (Instant::now(), 0, 0);
    for regression in &all {
        let again = regression.again().map_err(|error| anyhow::anyhow!(error))?;
        let mut outcome = "holds";
        for run in &again {
            runs += 1;
            for violation in run.run() {
                outcome = "VIOLATED";
                failed += 1;
                eprintln!("{}: {}: {violation}", regression.name, run.name());
            }
        }
        let mutant = regression.mutant.map_or("-", Mutant::name);
        let count = again.len().to_string();
        if arguments.json {
            let line = serde_json::json!({
                "name": regression.name, "found": regression.found, "mutant": mutant,
                "runs": again.len(), "outcome": outcome,
            });
            println!("{line}");
        }
        table.add_row([&regression.name, &regression.found, mutant, &count, outcome]);
    }
    if !arguments.json {
        let seconds = begun.elapsed().as_secs_f64();
        println!("{table}\n{} bugs, {runs} runs in {seconds:.1} s", all.len());
    }
    Ok(if failed == 0 {
        Verdict::Fine
    } else {
        Verdict::Violated
    })
}
