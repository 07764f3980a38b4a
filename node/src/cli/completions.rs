//! `engram completions`: scripts that let shells complete commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::exit::Failure;
use super::output::OutputArguments;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(super) struct CompletionsArguments {
    /// For which shell.
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// [`Failure`] if standard output cannot be written.
pub(super) fn run(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "engram", &mut script);
    let mut output = OutputArguments::default().open();
    output.bytes(&script)?;
    output.flush()
}
