//! `engram import`: puts every line of a file.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use clap::Args;
use engram_client::{Client, ClientError, Millis, Namespace};
use engram_core::limits::CLIENT_BULK_IN_FLIGHT_MAX;
use futures::stream::{FuturesUnordered, StreamExt};
use indicatif::ProgressBar;
use serde_json::json;

use super::{Line, Lines};
use crate::cli::connect::ConnectionArguments;
use crate::cli::entry_line::{EntryLine, ParsedLine};
use crate::cli::exit::Failure;
use crate::cli::output::{OutputArguments, progress, show_count};

/// Most bad lines that are described; all of them are counted.
const DESCRIBED_MAX: u64 = 20;

/// Arguments of `import`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ImportArguments {
    /// The namespace; created with defaults if there is none.
    #[arg(value_name = "NAMESPACE")]
    name: String,
    /// The file to read; `-` for standard input.
    #[arg(long = "in", value_name = "FILE", default_value = "-")]
    from: PathBuf,
    /// Pass over lines that are no entries, after naming them. Without it nothing after the first
    /// one is read.
    #[arg(long)]
    skip_bad: bool,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// What became of the lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    imported: u64,
    expired: u64,
    bad: u64,
}

/// Imports a file. Each line is put by itself: importing again is harmless.
///
/// # Errors
/// [`Failure`] names the line; the lines before it are imported, and perhaps some after it.
pub(in crate::cli) fn run(arguments: &ImportArguments) -> Result<(), Failure> {
    let unreadable = |error| {
        Failure::usage(format_args!(
            "cannot read {}: {error}",
            arguments.from.display()
        ))
    };
    let (from, length): (Box<dyn BufRead>, u64) = if arguments.from == Path::new("-") {
        (Box::new(BufReader::new(std::io::stdin())), 0)
    } else {
        let file = File::open(&arguments.from).map_err(unreadable)?;
        let length = file.metadata().map_err(unreadable)?.len();
        (Box::new(BufReader::new(file)), length)
    };
    arguments.connection.run(async |client: &Client| {
        let mut output = arguments.output.open();
        let namespace = client.namespace(&arguments.name);
        let bar = progress(length, "importing", "bytes");
        let mut counts = Counts::default();
        let outcome = import(&namespace, from, arguments.skip_bad, &bar, &mut counts).await;
        bar.finish_and_clear();
        outcome?;
        let mut text = format!("imported {} entries", show_count(counts.imported));
        if counts.expired > 0 {
            text += &format!(", left out {} that have ended", show_count(counts.expired));
        }
        let document = json!({
            "imported": counts.imported,
            "expired": counts.expired,
            "bad": counts.bad,
        });
        output.either(&document, text)?;
        output.flush()?;
        if counts.bad > 0 {
            let bad = show_count(counts.bad);
            return Err(Failure::usage(format_args!(
                "lines that are no entries: {bad}"
            )));
        }
        Ok(())
    })
}

/// Puts the lines, many at a time. Entries of one key must not overtake each other, so a key that
/// is being written is waited for.
async fn import(
    namespace: &Namespace,
    from: impl BufRead,
    skip_bad: bool,
    bar: &ProgressBar,
    counts: &mut Counts,
) -> Result<(), Failure> {
    let mut writing = FuturesUnordered::new();
    let mut busy = std::collections::HashSet::new();
    let mut failure = None;
    let mut lines = Lines::new(from);
    while failure.is_none() {
        let line = match lines.next() {
            None => break,
            Some(Err(error)) => {
                failure = Some(Failure::usage(format_args!("cannot read on: {error}")));
                break;
            }
            Some(Ok(line)) => line,
        };
        bar.set_position(line.position);
        match parse(&line) {
            Err(failed) if skip_bad => counts.describe(&failed, bar),
            Err(failed) => failure = Some(failed),
            Ok(entry) if is_over(&entry, namespace.client()) => counts.expired += 1,
            Ok(entry) => {
                while writing.len() >= CLIENT_BULK_IN_FLIGHT_MAX || busy.contains(&entry.key) {
                    let Some(written) = writing.next().await else {
                        break;
                    };
                    failure = failure.or(counts.count(&mut busy, written, skip_bad, bar));
                }
                busy.insert(entry.key.clone());
                writing.push(write(namespace, line.number, entry));
            }
        }
    }
    while let Some(written) = writing.next().await {
        failure = failure.or(counts.count(&mut busy, written, skip_bad, bar));
    }
    failure.map_or(Ok(()), Err)
}

fn parse(line: &Line) -> Result<ParsedLine, Failure> {
    let number = line.number;
    let Some(bytes) = &line.bytes else {
        return Err(Failure::usage(format_args!("line {number} is too long")));
    };
    EntryLine::parse(bytes).map_err(|error| Failure::usage(format_args!("line {number}: {error}")))
}

fn is_over(entry: &ParsedLine, client: &Client) -> bool {
    let now = client.cluster_time();
    entry.expires_at_ms.is_some_and(|at| at <= now.0)
}

struct WrittenLine {
    number: u64,
    key: engram_client::Key,
    outcome: Result<(), ClientError>,
}

async fn write(namespace: &Namespace, number: u64, entry: ParsedLine) -> WrittenLine {
    let put = namespace
        .put(&entry.key, entry.value)
        .tags(entry.tags)
        .expires_at(entry.expires_at_ms.map(Millis));
    WrittenLine {
        number,
        key: entry.key,
        outcome: put.await.map(drop),
    }
}

impl Counts {
    /// Counts a line that was written; returns what ends the import.
    fn count(
        &mut self,
        busy: &mut std::collections::HashSet<engram_client::Key>,
        written: WrittenLine,
        skip_bad: bool,
        bar: &ProgressBar,
    ) -> Option<Failure> {
        busy.remove(&written.key);
        let Err(error) = written.outcome else {
            self.imported += 1;
            return None;
        };
        let mut failure = Failure::from(error);
        failure.message = format!("line {}: {failure}", written.number);
        // A line that the cluster refuses is bad; a cluster that does not answer is not the line's
        // fault.
        if failure.code == 2 && skip_bad {
            self.describe(&failure, bar);
            return None;
        }
        Some(failure)
    }

    fn describe(&mut self, failure: &Failure, bar: &ProgressBar) {
        self.bad += 1;
        if self.bad <= DESCRIBED_MAX {
            bar.suspend(|| eprintln!("engram: passed over {failure}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let text = "{\"key\":\"k\",\"value\":\"v\"}\n\nnonsense\n";
        let verdicts: Vec<_> = Lines::new(text.as_bytes())
            .map(|line| parse(&line.expect("memory can be read")))
            .collect();
        assert!(verdicts.first().expect("two lines").is_ok());
        let failure = verdicts
            .last()
            .expect("two lines")
            .as_ref()
            .expect_err("nonsense");
        assert_eq!(failure.code, 2);
        assert!(failure.message.starts_with("line 3: "), "{failure}");
    }
}
