//! The `engram` binary.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use engram_node::cli::{Cli, run};

/// What one actor allocates another one frees, on another thread.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse(), Box::new(|_| {})) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                // Nobody may be there any more to read it; the code tells all the same.
                let _ = writeln!(std::io::stderr(), "engram: {failure}");
            }
            ExitCode::from(failure.code)
        }
    }
}
