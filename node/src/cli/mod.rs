//! The command line.

mod bench;
mod caret;
mod check;
mod completions;
mod connect;
mod demo;
mod duration;
mod entry_line;
mod exit;
mod keys;
mod log;
mod namespace;
mod output;
mod scan;
mod search;
mod start;
mod status;
mod transfer;
mod watch;

use clap::{Parser, Subcommand};

pub use self::exit::Failure;
use crate::node::Hooks;

/// A masterless, durable, replicated key-value store that also finds values by meaning.
#[derive(Debug, Parser)]
#[command(name = "engram", version, about, max_term_width = 100, after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a node of a cluster and run it until it is stopped.
    Start(start::StartArguments),
    /// Show on this machine what Engram does: three nodes, a sample corpus, a node that is killed.
    Demo(demo::DemoArguments),
    /// Write a key and print its new version.
    Put(keys::PutArguments),
    /// Print what a key holds.
    Get(keys::GetArguments),
    /// Delete a key, or all with a prefix or tag.
    Del(keys::DelArguments),
    /// Say whether a key holds a value, also by the exit code.
    Exists(keys::ExistsArguments),
    /// Change when a value ends.
    Touch(keys::TouchArguments),
    /// List keys in order, with their values.
    Scan(scan::ScanArguments),
    /// Find entries by meaning or by words.
    Search(search::SearchArguments),
    /// Print what becomes of keys, or new entries near a meaning, as it happens.
    Watch(watch::WatchArguments),
    /// Write a namespace to a file, one line of JSON for each entry.
    Export(transfer::ExportArguments),
    /// Put every line of a file, as export writes them.
    Import(transfer::ImportArguments),
    /// Show the nodes: who serves, who is behind, who cannot be reached.
    Status(status::StatusArguments),
    /// Measure throughput and latency.
    Bench(bench::BenchArguments),
    /// Create, list and describe namespaces.
    Namespace(namespace::NamespaceArguments),
    /// Delete all keys of a namespace.
    Clear(namespace::ClearArguments),
    /// Check the data directory of a stopped node.
    Check(check::CheckArguments),
    /// Print a script that lets a shell complete commands and flags.
    Completions(completions::CompletionsArguments),
}

/// Runs one command; the process exits with the failure's code. A node that is started is shown to
/// `hooks` first.
///
/// # Errors
/// [`Failure`] holds the exit code and what to print.
pub fn run(cli: Cli, hooks: Hooks) -> Result<(), Failure> {
    match cli.command {
        Command::Start(arguments) => start::run(arguments, hooks),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Put(arguments) => keys::put(arguments),
        Command::Get(arguments) => keys::get(arguments),
        Command::Del(arguments) => keys::del(arguments),
        Command::Exists(arguments) => keys::exists(arguments),
        Command::Touch(arguments) => keys::touch(arguments),
        Command::Scan(arguments) => scan::run(arguments),
        Command::Search(arguments) => search::run(arguments),
        Command::Watch(arguments) => watch::run(arguments),
        Command::Export(arguments) => transfer::export(&arguments),
        Command::Import(arguments) => transfer::import(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Namespace(arguments) => namespace::run(arguments),
        Command::Clear(arguments) => namespace::clear(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
