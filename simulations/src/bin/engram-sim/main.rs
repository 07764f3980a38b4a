//! `engram-sim`: runs simulated clusters, finds seeds that fail, and makes them small.

#![expect(
    clippy::disallowed_methods,
    reason = "what runs outside of virtual time is timed by real clocks, and has threads"
)]

mod args;
mod campaign;
mod explain;
mod explore;
mod lookup;
mod measure;
mod worker;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};

/// What a command amounts to, as an exit code says it.
enum Verdict {
    /// Everything held.
    Fine,
    /// A property was violated, or a planted fault was missed.
    Violated,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // Actors panic on purpose here; what matters of it reaches the report.
    std::panic::set_hook(Box::new(|_| {}));
    let result = match arguments.command {
        Command::Run(run) => campaign::run(&run),
        Command::Replay(replay) => lookup::replay(&replay),
        Command::Shrink(shrink) => lookup::shrink(&shrink),
        Command::Scenario(scenario) => lookup::scenario(&scenario),
        Command::Mutants(mutants) => measure::mutants(&mutants),
        Command::Meta(meta) => measure::meta(&meta),
        Command::Regressions(regressions) => explore::regressions(&regressions),
        Command::Model(model) => explore::model(&model),
        Command::Worker(worker) => worker::work(&worker).map(|()| Verdict::Fine),
    };
    match result {
        Ok(Verdict::Fine) => ExitCode::SUCCESS,
        Ok(Verdict::Violated) => ExitCode::from(1),
        Err(error) => {
            eprintln!("engram-sim: {error:#}");
            ExitCode::from(2)
        }
    }
}
