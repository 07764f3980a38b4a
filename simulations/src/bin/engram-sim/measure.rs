//! The simulator, checked: planted bugs must be caught, and a seed must decide everything.

use std::process::{Command, Stdio};

use anyhow::Context;
use engram_simulations::cluster::{self, Mutant, Setup};
use indicatif::ProgressBar;

use crate::Verdict;
use crate::args::{Meta, Mutants, range};
use crate::explain;

/// Plants bugs one by one.
pub(crate) fn mutants(arguments: &Mutants) -> anyhow::Result<Verdict> {
    let all = if arguments.only.is_empty() {
        Mutant::ALL.to_vec()
    } else {
        arguments.only.clone()
    };
    let mut table = explain::columns(&["planted bug", "what it does", "seeds needed", "checker"]);
    let (mut missed, spinner) = (0, ProgressBar::new_spinner());
    for mutant in all {
        let found = (0..arguments.seeds).find_map(|seed| {
            spinner.set_message(format!("{}, seed {seed}", mutant.name()));
            spinner.tick();
            let setup = Setup {
                mutant: Some(mutant),
                clients_only: arguments.clients_only,
                ..Setup::draw(seed)
            };
            let violation = cluster::run(&setup).violations.into_iter().next()?;
            Some((seed + 1, violation))
        });
        let (needed, checker) = match &found {
            Some((seeds, violation)) => (seeds.to_string(), format!("{:?}", violation.property)),
            None => {
                missed += 1;
                (format!("more than {}", arguments.seeds), "none".into())
            }
        };
        if arguments.json {
            let seeds = found.as_ref().map(|(seeds, _)| *seeds);
            let line = serde_json::json!({
                "mutant": mutant.name(), "seeds": seeds, "checker": checker,
                "story": found.as_ref().map(|(_, violation)| violation.story.clone()),
            });
            println!("{line}");
        }
        table.add_row([mutant.name(), mutant.story(), &needed, &checker]);
    }
    spinner.finish_and_clear();
    if !arguments.json {
        println!("{table}");
    }
    if missed > 0 {
        eprintln!("{missed} planted bugs were not caught");
        return Ok(Verdict::Violated);
    }
    Ok(Verdict::Fine)
}

/// Runs seeds twice in processes of their own and compares their traces.
pub(crate) fn meta(arguments: &Meta) -> anyhow::Result<Verdict> {
    let seeds = range(&arguments.seeds)?;
    let program = std::env::current_exe().context("finding this program")?;
    let folder = std::env::temp_dir().join(format!("engram-sim-meta-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut differ = Vec::new();
    for seed in seeds {
        let mut traces = Vec::new();
        for time in ["first", "again"] {
            let path = folder.join(format!("{seed}-{time}.jsonl"));
            let status = Command::new(&program)
                .args(["run", "--json", "--seed", &seed.to_string()])
                .arg("--out")
                .arg(&folder)
                .arg("--trace")
                .arg(&path)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .context("starting a run")?;
            anyhow::ensure!(
                matches!(status.code(), Some(0 | 1)),
                "the run of seed {seed} ended: {status}"
            );
            traces.push(std::fs::read(&path).with_context(|| format!("{}", path.display()))?);
        }
        let same = traces.first() == traces.last();
        let bytes = traces.first().map_or(0, Vec::len);
        println!(
            "seed {seed}: {bytes} bytes of trace, {}",
            if same { "equal" } else { "DIFFERENT" }
        );
        if !same {
            differ.push(seed);
        }
    }
    if differ.is_empty() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        return Ok(Verdict::Fine);
    }
    eprintln!(
        "seeds {differ:?} do not decide everything: traces are in {}",
        folder.display()
    );
    Ok(Verdict::Violated)
}
