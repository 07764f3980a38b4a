//! The `engram` binary with fault hooks, which it reads from standard input, one a line.
//!
//! | line | what happens |
//! |---|---|
//! | `panic-shard N` | the actor of shard N panics |
//! | `kill-replicator N` | the replicator of shard N ends at once |
//!
//! Shard 65535 is the system shard. When standard input ends, so does the process: nothing is left
//! behind by a test that was killed itself. Nothing is printed beyond what `engram` prints, but
//! for a line on standard error where a hook is not understood.

use std::io::BufRead;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use engram_actors::directory::Directory;
use engram_actors::shard::ShardMessage;
use engram_core::types::ShardId;
use engram_node::cli::{Cli, run};

/// The exit code when the parent has gone.
const ORPHANED: i32 = 7;

fn main() -> ExitCode {
    let hooks = |node: &engram_node::node::Node| {
        let directory = node.directory.clone();
        std::thread::spawn(move || obey(&directory));
    };
    match run(Cli::parse(), Box::new(hooks)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("engram: {failure}");
            }
            ExitCode::from(failure.code)
        }
    }
}

fn obey(directory: &Arc<Directory>) {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        if let Err(reason) = carry_out(directory, &line) {
            eprintln!("engram-test-node: {line:?}: {reason}");
        }
    }
    std::process::exit(ORPHANED);
}

fn carry_out(directory: &Directory, line: &str) -> Result<(), String> {
    let (hook, shard) = line.split_once(' ').ok_or("expected a hook and a shard")?;
    let shard = shard.parse().map(ShardId).map_err(|e| e.to_string())?;
    let local = directory.shard(shard).ok_or("no such replica here")?;
    match hook {
        "panic-shard" => {
            let panic = ShardMessage::Inspect(Box::new(|_| panic!("a test asked for this panic")));
            local.shard.cast(panic).map_err(|error| error.to_string())
        }
        "kill-replicator" => {
            local.replicator.get_cell().kill();
            Ok(())
        }
        _ => Err("no such hook".into()),
    }
}
