//! Single runs: seed files, shrinking, scenarios.

use std::io::Write;

use anyhow::Context;
use engram_simulations::cluster::scenario::{SCENARIOS, Scenario as Plot};
use engram_simulations::cluster::seed_file::SeedFile;
use engram_simulations::cluster::trace::Record;
use engram_simulations::cluster::{Outcome, Setup, shrink as shrinking, timeline};

use crate::Verdict;
use crate::args::{Keep, Replay, Scenario, Shrink};
use crate::explain;
use crate::worker::{SeedResult, run_cluster};

/// Runs a cluster and keeps what is wanted of it.
pub(crate) fn run_kept(setup: &Setup, keep: &Keep) -> anyhow::Result<SeedResult> {
    let mut setup = setup.clone();
    setup.record = match (&keep.trace, &keep.timeline) {
        (Some(_), _) => Record::Lines,
        (None, Some(_)) => Record::Picture,
        (None, None) => Record::Hash,
    };
    let (result, outcome) = run_cluster(&setup);
    if let Some(path) = &keep.trace {
        write_trace(path, &outcome).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &keep.timeline {
        std::fs::write(path, timeline::draw(&setup, &outcome))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    if keep.json {
        println!("{}", serde_json::to_string(&result)?);
    }
    Ok(result)
}

fn write_trace(path: &std::path::Path, outcome: &Outcome) -> anyhow::Result<()> {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path)?);
    for line in &outcome.lines {
        serde_json::to_writer(&mut out, line)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

fn verdict(setup: &Setup, result: &SeedResult, json: bool) -> Verdict {
    if !json {
        explain::one(setup, result);
    }
    if result.violations.is_empty() {
        return Verdict::Fine;
    }
    explain::failure(result);
    Verdict::Violated
}

/// Runs a seed file again.
pub(crate) fn replay(arguments: &Replay) -> anyhow::Result<Verdict> {
    let file =
        SeedFile::read(&arguments.file).with_context(|| format!("{}", arguments.file.display()))?;
    if let Some(found) = &file.found {
        eprintln!("it was written because of {found}");
    }
    let setup = file.setup();
    let result = run_kept(&setup, &arguments.keep)?;
    Ok(verdict(&setup, &result, arguments.keep.json))
}

/// Shrinks a run that fails.
pub(crate) fn shrink(arguments: &Shrink) -> anyhow::Result<Verdict> {
    let setup = match (&arguments.file, arguments.seed) {
        (Some(path), _) => SeedFile::read(path)
            .with_context(|| format!("{}", path.display()))?
            .setup(),
        (None, Some(seed)) => Setup::draw(seed),
        (None, None) => anyhow::bail!("give --seed N or --file FILE"),
    };
    let setup = Setup {
        mutant: arguments.mutant.or(setup.mutant),
        ..setup
    };
    let spinner = indicatif::ProgressBar::new_spinner();
    let shrunk = shrinking::shrink(&setup, &mut |runs, best| {
        let (faults, operations) = (best.faults.len(), best.profile.operations);
        spinner.set_message(format!(
            "{runs} runs: {faults} faults, {operations} operations"
        ));
        spinner.tick();
    });
    spinner.finish_and_clear();
    let Some(shrunk) = shrunk else {
        println!(
            "seed {} violates nothing: there is nothing to shrink",
            setup.seed
        );
        return Ok(Verdict::Fine);
    };
    let found = shrunk.outcome.violations.first().map(|violation| {
        let text = violation.to_string();
        let line = text.lines().next().unwrap_or_default().to_owned();
        line.chars().take(300).collect()
    });
    let default = || format!("seed-{}-small.toml", setup.seed).into();
    let path = arguments.out.clone().unwrap_or_else(default);
    std::fs::write(&path, SeedFile::of(&shrunk.setup, found).text()?)
        .with_context(|| format!("writing {}", path.display()))?;
    println!(
        "{} runs: from {} to {} faults, from {} to {} operations, from {} to {} clients",
        shrunk.runs,
        setup.faults.len(),
        shrunk.setup.faults.len(),
        setup.profile.operations,
        shrunk.setup.profile.operations,
        setup.profile.clients,
        shrunk.setup.profile.clients
    );
    for planned in &shrunk.setup.faults {
        println!("  {:>7} ms  {:?}", planned.at_ms, planned.fault);
    }
    for violation in &shrunk.outcome.violations {
        println!("{violation}");
    }
    println!("again: engram-sim replay {}", path.display());
    Ok(Verdict::Violated)
}

/// Runs a world with a plot.
pub(crate) fn scenario(arguments: &Scenario) -> anyhow::Result<Verdict> {
    let Some(name) = &arguments.name else {
        let mut table = explain::columns(&["scenario", "what happens"]);
        for scenario in &SCENARIOS {
            table.add_row([scenario.name, scenario.story]);
        }
        println!("{table}");
        return Ok(Verdict::Fine);
    };
    let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
    let scenario = Plot::named(name).with_context(|| {
        format!(
            "there is no scenario {name:?}; there are {}",
            names.join(", ")
        )
    })?;
    let setup = scenario.setup(arguments.seed);
    let result = run_kept(&setup, &arguments.keep)?;
    if !arguments.keep.json {
        println!("{}: {}", scenario.name, scenario.story);
    }
    Ok(verdict(&setup, &result, arguments.keep.json))
}
