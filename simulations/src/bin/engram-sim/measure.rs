//! The simulator, checked: planted bugs must be caught, and a seed must decide everything.

use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::Context;
use engram_simulations::hunt::Catch;
use engram_simulations::mutant::Mutant;
use indicatif::ProgressBar;

use crate::Verdict;
use crate::args::{Meta, Mutants, range};
use crate::explain;

/// What came of seeking one bug.
struct Sought {
    mutant: Mutant,
    seeds_max: u64,
    caught: Option<Catch>,
    seconds: f64,
}

/// Plants bugs one by one.
pub(crate) fn mutants(arguments: &Mutants) -> anyhow::Result<Verdict> {
    anyhow::ensure!(
        Mutant::AVAILABLE,
        "this is a release build, and holds no planted bugs: build it with `--profile sim`"
    );
    let all: Vec<Mutant> = if arguments.only.is_empty() {
        Mutant::all().collect()
    } else {
        arguments.only.clone()
    };
    let begun = Instant::now();
    let sought = seek_all(arguments, &all);
    let seeds: u64 = sought
        .iter()
        .map(|sought| {
            sought
                .caught
                .as_ref()
                .map_or(sought.seeds_max, |it| it.seeds)
        })
        .sum();
    let mut table = explain::columns(&[
        "planted bug",
        "what it does",
        "level",
        "seeds needed",
        "at most",
        "checker",
    ]);
    let mut missed = Vec::new();
    for Sought {
        mutant,
        seeds_max,
        caught,
        seconds,
    } in &sought
    {
        let (needed, checker) = match caught {
            Some(caught) => {
                let checker = format!("{:?}", caught.violation.property);
                (caught.seeds.to_string(), checker)
            }
            None => {
                missed.push(mutant.name());
                ("not caught".into(), "none".into())
            }
        };
        if arguments.json {
            let line = serde_json::json!({
                "mutant": mutant.name(), "level": mutant.hunt().level(),
                "seeds": caught.as_ref().map(|caught| caught.seeds), "seeds_max": seeds_max,
                "checker": checker, "seconds": seconds,
                "story": caught.as_ref().map(|caught| caught.violation.story.clone()),
            });
            println!("{line}");
        }
        let (level, most) = (mutant.hunt().level().to_string(), seeds_max.to_string());
        table.add_row([
            mutant.name(),
            mutant.story(),
            &level,
            &needed,
            &most,
            &checker,
        ]);
    }
    if !arguments.json {
        let seconds = begun.elapsed().as_secs_f64();
        println!("{table}");
        println!(
            "{} planted bugs, {} caught, with {seeds} seeds in {seconds:.1} s ({:.1} seeds/s)",
            sought.len(),
            sought.len() - missed.len(),
            seeds as f64 / seconds.max(0.001)
        );
    }
    if missed.is_empty() {
        return Ok(Verdict::Fine);
    }
    eprintln!("not caught: {}", missed.join(", "));
    Ok(Verdict::Violated)
}

/// Seeks bugs, several at a time; the results are in the order in which they were asked for.
fn seek_all(arguments: &Mutants, all: &[Mutant]) -> Vec<Sought> {
    let spinner = ProgressBar::new_spinner();
    let (next, done) = (Mutex::new(all.iter().enumerate()), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let job = next.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((place, &mutant)) = job else { return };
            let (hunt, begun) = (mutant.hunt(), Instant::now());
            let seeds_max = arguments.seeds.unwrap_or(hunt.seeds_max);
            let caught = hunt.seek(mutant, arguments.clients_only, seeds_max, |seed| {
                spinner.set_message(format!("{}, seed {seed}", mutant.name()));
                spinner.tick();
            });
            let seconds = begun.elapsed().as_secs_f64();
            let sought = Sought {
                mutant,
                seeds_max,
                caught,
                seconds,
            };
            let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
            done.push((place, sought));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(work);
        }
    });
    spinner.finish_and_clear();
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, sought)| sought).collect()
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
