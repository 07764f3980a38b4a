//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use engram_simulations::mutant::Mutant;

const EXIT_CODES: &str = "\
Exit codes:
  0  everything held
  1  a property was violated, a planted fault was missed, or two runs of one seed differed
  2  the command line, a seed file or a scenario name makes no sense, or the machine failed";

/// Runs whole Engram clusters in one process and virtual time, where one seed decides everything:
/// topology, faults, workload, timing.
#[derive(Debug, Parser)]
#[command(name = "engram-sim", version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs one seed, or a range of seeds.
    Run(Run),
    /// Runs a seed file again.
    Replay(Replay),
    /// Finds the smallest fault list, workload and world that still fail as a seed does.
    Shrink(Shrink),
    /// Runs a world with a plot; without a name, lists them.
    Scenario(Scenario),
    /// Plants known bugs one by one, and tells how many seeds it took to catch each.
    ///
    /// Each is sought in worlds that suit it, and must be caught within its own number of seeds.
    Mutants(Mutants),
    /// Runs seeds twice, in processes of their own, and compares the traces byte for byte.
    Meta(Meta),
    /// Runs again what is listed for every bug that was ever found.
    Regressions(Regressions),
    /// Explores every schedule of small worlds, with the real acceptor and proposer.
    Model(Model),
    /// Runs seeds for another process of this program.
    #[command(hide = true)]
    Worker(Worker),
}

/// What is kept of a run.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Keep {
    /// Write every event to this file, one JSON object a line (level 2, one seed).
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Draw nodes over time, with faults and operations, into this SVG file (level 2, one seed).
    #[arg(long, value_name = "FILE")]
    pub(crate) timeline: Option<PathBuf>,
    /// Print one JSON object a run instead of tables.
    #[arg(long)]
    pub(crate) json: bool,
}

impl Keep {
    pub(crate) fn keeps_run(&self) -> bool {
        self.trace.is_some() || self.timeline.is_some()
    }
}

#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Run {
    /// One seed.
    #[arg(long, conflicts_with = "seeds", required_unless_present = "seeds")]
    pub(crate) seed: Option<u64>,
    /// A range of seeds, FROM..TO, without TO.
    #[arg(long, value_name = "FROM..TO")]
    pub(crate) seeds: Option<String>,
    /// How many processes run seeds at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) jobs: u64,
    /// 1: the register protocol's state machines alone. 2: whole nodes with all their actors.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) level: u8,
    /// Plant this bug (level 2).
    #[arg(long, value_parser = mutant)]
    pub(crate) mutant: Option<Mutant>,
    /// Give every cluster so many nodes, instead of what its seed draws: 1, or 3 to 9 (level 2).
    #[arg(long, value_parser = nodes)]
    pub(crate) nodes: Option<usize>,
    /// Go on after this many seeds have failed.
    #[arg(long, default_value_t = 5)]
    pub(crate) failures: usize,
    /// Where files of failed seeds are written.
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// Give a seed up that takes longer than this, in seconds of real time.
    #[arg(long, default_value_t = 300)]
    pub(crate) give_up_s: u64,
    #[command(flatten)]
    pub(crate) keep: Keep,
}

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// A file that `run` wrote for a failed seed, or `shrink` for a smaller one.
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) keep: Keep,
}

#[derive(Debug, Args)]
pub(crate) struct Shrink {
    /// The seed that fails.
    #[arg(long, conflicts_with = "file", required_unless_present = "file")]
    pub(crate) seed: Option<u64>,
    /// A seed file instead.
    #[arg(long)]
    pub(crate) file: Option<PathBuf>,
    /// Plant this bug.
    #[arg(long, value_parser = mutant)]
    pub(crate) mutant: Option<Mutant>,
    /// Where the smaller run is written; `seed-N-small.toml` if not given.
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Scenario {
    /// Which one.
    pub(crate) name: Option<String>,
    /// Decides what the plot leaves open.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) keep: Keep,
}

#[derive(Debug, Args)]
pub(crate) struct Mutants {
    /// Only these.
    #[arg(long, value_parser = mutant)]
    pub(crate) only: Vec<Mutant>,
    /// Most seeds for each, instead of its own bound.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seeds: Option<u64>,
    /// How many are sought at a time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) jobs: u64,
    /// Only what clients can notice counts.
    #[arg(long)]
    pub(crate) clients_only: bool,
    /// Print one JSON object a bug instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Meta {
    /// A range of seeds, FROM..TO, without TO.
    #[arg(long, value_name = "FROM..TO", default_value = "0..3")]
    pub(crate) seeds: String,
}

#[derive(Debug, Args)]
pub(crate) struct Regressions {
    /// Print one JSON object a bug instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Model {
    /// Only this world; may be given several times. Larger worlds are explored only if named.
    #[arg(long)]
    pub(crate) world: Vec<String>,
    /// How often nodes may crash, instead of what the world says.
    #[arg(long)]
    pub(crate) crashes: Option<u32>,
    /// Plant this bug.
    #[arg(long, value_parser = mutant)]
    pub(crate) mutant: Option<Mutant>,
    /// How many threads explore.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=64))]
    pub(crate) jobs: u64,
    /// Stop when so many states were reached.
    #[arg(long, default_value_t = 20_000_000)]
    pub(crate) states: usize,
    /// Stop after so long.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) minutes: u64,
}

#[derive(Debug, Args)]
pub(crate) struct Worker {
    #[arg(long)]
    pub(crate) level: u8,
    #[arg(long)]
    pub(crate) from: u64,
    #[arg(long)]
    pub(crate) to: u64,
    #[arg(long)]
    pub(crate) step: u64,
    #[arg(long, value_parser = mutant)]
    pub(crate) mutant: Option<Mutant>,
    #[arg(long, value_parser = nodes)]
    pub(crate) nodes: Option<usize>,
}

/// Reads the name of a planted bug.
fn mutant(name: &str) -> Result<Mutant, String> {
    if !Mutant::AVAILABLE {
        return Err(
            "this is a release build, and holds no planted bugs: build it with `--profile sim`"
                .into(),
        );
    }
    Mutant::named(name).ok_or_else(|| {
        let all: Vec<&str> = Mutant::all().map(Mutant::name).collect();
        format!("there is no such planted bug; there are {}", all.join(", "))
    })
}

/// Reads how many nodes a cluster has.
fn nodes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(nodes @ (1 | 3..=9)) => Ok(nodes),
        _ => Err("a cluster has 1 or 3 to 9 nodes".into()),
    }
}

/// Reads a range of seeds.
///
/// # Errors
/// If it is not FROM..TO, or empty.
pub(crate) fn range(text: &str) -> anyhow::Result<std::ops::Range<u64>> {
    let (from, to) = text
        .split_once("..")
        .ok_or_else(|| anyhow::anyhow!("{text:?} is not a range of seeds: write FROM..TO"))?;
    let number = |text: &str| {
        text.trim()
            .parse::<u64>()
            .map_err(|_| anyhow::anyhow!("{text:?} is not a seed: a seed is a whole number"))
    };
    let range = number(from)?..number(to)?;
    anyhow::ensure!(
        !range.is_empty(),
        "{text} holds no seed: TO, which is not part of it, must be above FROM"
    );
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn ranges_are_read_and_empty_ones_refused() {
        assert_eq!(range("3..7").expect("fine"), 3..7);
        for bad in ["7", "7..3", "3..3", "a..b", ".."] {
            assert!(range(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn planted_bugs_are_known_by_name() {
        for known in Mutant::all() {
            assert_eq!(mutant(known.name()), Ok(known));
        }
        assert!(mutant("no-such-bug").is_err());
    }
}
