//! The command line.

mod exit;
mod start;

use clap::{Parser, Subcommand};

pub use self::exit::Failure;
use crate::node::Hooks;

/// A masterless, durable, replicated key-value store that also finds values by meaning.
#[derive(Debug, Parser)]
#[command(name = "engram", version, about, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node of a cluster and run it until it is stopped.
    Start(start::StartArguments),
}

/// Runs one command; the process exits with the failure's code. A node that is started is shown to
/// `hooks` first.
///
/// # Errors
/// [`Failure`] holds the exit code and what to print.
pub fn run(cli: Cli, hooks: Hooks) -> Result<(), Failure> {
    match cli.command {
        Command::Start(arguments) => start::run(arguments, hooks),
    }
}
