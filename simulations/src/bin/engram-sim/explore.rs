//! Regressions, and small worlds explored in full.

use std::time::{Duration, Instant};

use anyhow::Context;
use engram_simulations::model::{Explored, SmallWorld, explore};
use engram_simulations::mutant::Mutant;
use engram_simulations::regressions::Regression;

use crate::Verdict;
use crate::args::{Model, Regressions};
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

/// Explores small worlds.
pub(crate) fn model(arguments: &Model) -> anyhow::Result<Verdict> {
    let worlds = if arguments.world.is_empty() {
        SmallWorld::small()
    } else {
        let find = |name: &String| {
            let all = SmallWorld::small().into_iter().chain(SmallWorld::large());
            let names: Vec<&str> = all.map(|world| world.name).collect();
            let message = || format!("there is no world {name:?}; there are {}", names.join(", "));
            SmallWorld::named(name).with_context(message)
        };
        arguments
            .world
            .iter()
            .map(find)
            .collect::<anyhow::Result<_>>()?
    };
    let mut table = explain::columns(&[
        "world", "asked", "crashes", "states", "reached", "depth", "explored", "outcome", "seconds",
    ]);
    let mut verdict = Verdict::Fine;
    for world in worlds {
        let world = SmallWorld {
            crashes: arguments.crashes.unwrap_or(world.crashes),
            planted: arguments.mutant.map(Mutant::planted).unwrap_or_default(),
            ..world
        };
        let threads = usize::try_from(arguments.jobs)?;
        let timeout = Duration::from_secs(60 * arguments.minutes);
        let explored = explore(&world, threads, arguments.states, timeout);
        if let Some((property, way)) = &explored.violation {
            verdict = Verdict::Violated;
            eprintln!("{}: {property} does not hold after", world.name);
            for step in way {
                eprintln!("  {step}");
            }
        }
        table.add_row(row(&world, &explored));
    }
    println!("{table}");
    Ok(verdict)
}

fn row(world: &SmallWorld, explored: &Explored) -> [String; 9] {
    let asked = world
        .asked
        .iter()
        .map(|(ask, of)| format!("{ask:?} of {of:?}"));
    [
        world.name.into(),
        asked.collect::<Vec<_>>().join(", "),
        world.crashes.to_string(),
        explored.states.to_string(),
        explored.reached.to_string(),
        explored.depth.to_string(),
        if explored.is_whole {
            "in full"
        } else {
            "in part"
        }
        .into(),
        explored
            .violation
            .as_ref()
            .map_or("holds", |(name, _)| name)
            .into(),
        format!("{:.1}", explored.took.as_secs_f64()),
    ]
}
