//! Runs one seed, or many by several processes.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use engram_simulations::cluster::Setup;
use engram_simulations::cluster::seed_file::SeedFile;
use indicatif::{ProgressBar, ProgressStyle};

use crate::Verdict;
use crate::args::{Run, range};
use crate::explain::{self, Total};
use crate::lookup::run_kept;
use crate::worker::SeedResult;

/// Runs what the command line asks for.
pub(crate) fn run(arguments: &Run) -> anyhow::Result<Verdict> {
    let seeds = match (&arguments.seeds, arguments.seed) {
        (Some(text), _) => range(text)?,
        (None, Some(seed)) => seed..seed.saturating_add(1),
        (None, None) => anyhow::bail!("give --seed N or --seeds FROM..TO"),
    };
    anyhow::ensure!(
        arguments.level == 2
            || (arguments.mutant.is_none()
                && arguments.nodes.is_none()
                && !arguments.keep.keeps_run()),
        "level 1 has no traces, timelines, planted bugs or numbers of nodes here: `mutants` plants \
         bugs into it"
    );
    let alone = seeds.end - seeds.start == 1;
    if alone && arguments.level == 2 {
        let setup = Setup {
            mutant: arguments.mutant,
            ..Setup::draw_with(seeds.start, arguments.nodes)
        };
        let result = run_kept(&setup, &arguments.keep)?;
        if !arguments.keep.json {
            explain::one(&setup, &result);
        }
        return conclude(arguments, vec![result]);
    }
    anyhow::ensure!(
        !arguments.keep.keeps_run(),
        "--trace and --timeline are for one seed"
    );
    let total = campaign(arguments, seeds)?;
    if !arguments.keep.json {
        println!("{}", explain::table(&total));
    }
    conclude(arguments, total.failed)
}

/// Reports failed seeds, and writes their files.
fn conclude(arguments: &Run, failed: Vec<SeedResult>) -> anyhow::Result<Verdict> {
    let failed: Vec<SeedResult> = failed
        .into_iter()
        .filter(|result| !result.violations.is_empty())
        .collect();
    for result in &failed {
        explain::failure(result);
        if result.level == 2 {
            let setup = Setup {
                mutant: arguments.mutant,
                ..Setup::draw_with(result.seed, arguments.nodes)
            };
            let found = result.violations.first();
            let found = found.map(|(property, story)| {
                let line = story.lines().next().unwrap_or_default();
                format!("{property}: {}", line.chars().take(300).collect::<String>())
            });
            let path = arguments.out.join(format!("seed-{}.toml", result.seed));
            std::fs::write(&path, SeedFile::of(&setup, found).text()?)
                .with_context(|| format!("writing {}", path.display()))?;
            eprintln!("  written to {}", path.display());
        }
        eprintln!("  again: {}", explain::again(result, arguments));
    }
    Ok(if failed.is_empty() {
        Verdict::Fine
    } else {
        Verdict::Violated
    })
}

/// A line of a worker, or its end.
enum News {
    Result(Box<SeedResult>),
    Ended(usize),
}

struct Job {
    child: Child,
    /// The seed that it is at.
    seed: u64,
    since: Instant,
}

fn campaign(arguments: &Run, seeds: std::ops::Range<u64>) -> anyhow::Result<Total> {
    let count = seeds.end - seeds.start;
    let jobs = arguments.jobs.min(count);
    let (news, heard) = channel();
    let mut running = Vec::new();
    for number in 0..jobs {
        let share = Share {
            number: running.len(),
            from: seeds.start + number,
            to: seeds.end,
            step: jobs,
        };
        running.push(Some(start(arguments, &share, &news)?));
    }
    drop(news);
    let bar = progress(count, arguments.keep.json);
    let mut total = Total::default();
    let begun = Instant::now();
    let result = follow(arguments, jobs, &mut running, &heard, |result| {
        if arguments.keep.json {
            println!("{}", serde_json::to_string(&result).unwrap_or_default());
        }
        total.add(result);
        bar.inc(1);
        let wall_s = begun.elapsed().as_secs_f64().max(0.001);
        let virtual_s = total.virtual_us as f64 / 1e6;
        bar.set_message(format!(
            "{:.1} seeds/s, {:.0} virtual s/s, {} failed",
            bar.position() as f64 / wall_s,
            virtual_s / wall_s,
            total.failed.len()
        ));
        total.failed.len() < arguments.failures
    });
    for job in running.iter_mut().flatten() {
        // It may have ended by itself meanwhile.
        let _ = job.child.kill();
        let _ = job.child.wait();
    }
    bar.finish_and_clear();
    result?;
    total.wall = begun.elapsed();
    Ok(total)
}

/// Takes what workers report until all have ended or it is enough.
fn follow(
    arguments: &Run,
    jobs: u64,
    running: &mut [Option<Job>],
    heard: &Receiver<News>,
    mut take: impl FnMut(SeedResult) -> bool,
) -> anyhow::Result<()> {
    let give_up = Duration::from_secs(arguments.give_up_s);
    while running.iter().any(Option::is_some) {
        match heard.recv_timeout(Duration::from_millis(500)) {
            Ok(News::Result(result)) => {
                let mut jobs_running = running.iter_mut().flatten();
                if let Some(job) = jobs_running.find(|job| job.seed == result.seed) {
                    job.seed = result.seed + jobs;
                    job.since = Instant::now();
                }
                if !take(*result) {
                    return Ok(());
                }
            }
            Ok(News::Ended(worker)) => {
                let job = running.get_mut(worker).and_then(Option::take);
                if let Some(mut job) = job {
                    let status = job.child.wait()?;
                    anyhow::ensure!(
                        status.success(),
                        "the process that ran seed {} ended: {status}",
                        job.seed
                    );
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        if let Some(job) = running
            .iter()
            .flatten()
            .find(|job| job.since.elapsed() > give_up)
        {
            anyhow::bail!(
                "seed {} has taken {} s: it hangs outside of virtual time",
                job.seed,
                arguments.give_up_s
            );
        }
    }
    Ok(())
}

/// The seeds of one worker.
struct Share {
    number: usize,
    from: u64,
    to: u64,
    step: u64,
}

fn start(arguments: &Run, share: &Share, news: &Sender<News>) -> anyhow::Result<Job> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command
        .arg("worker")
        .args(["--level", &arguments.level.to_string()])
        .args(["--from", &share.from.to_string()])
        .args(["--to", &share.to.to_string()])
        .args(["--step", &share.step.to_string()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    if let Some(mutant) = arguments.mutant {
        command.args(["--mutant", mutant.name()]);
    }
    if let Some(nodes) = arguments.nodes {
        command.args(["--nodes", &nodes.to_string()]);
    }
    let mut child = command.spawn().context("starting a worker process")?;
    let lines = child.stdout.take().context("reading from a worker")?;
    let (news, number) = (news.clone(), share.number);
    std::thread::spawn(move || {
        for line in BufReader::new(lines).lines().map_while(Result::ok) {
            let Ok(result) = serde_json::from_str(&line) else {
                break;
            };
            // The campaign may have enough already.
            if news.send(News::Result(Box::new(result))).is_err() {
                return;
            }
        }
        let _ = news.send(News::Ended(number));
    });
    Ok(Job {
        child,
        seed: share.from,
        since: Instant::now(),
    })
}

fn progress(count: u64, hidden: bool) -> ProgressBar {
    if hidden {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(count);
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} seeds, {eta} left; {msg}")
    {
        bar.set_style(style);
    }
    bar
}
