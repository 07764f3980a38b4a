//! `engram watch`: what becomes of keys, as it happens.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use engram_client::Client;
use engram_client::watch::{WatchCursor, WatchEvent, WatchStream};
use futures::{FutureExt, StreamExt};
use serde::Serialize;
use serde_json::json;

use super::connect::{ConnectionArguments, NamespaceArgument, existing};
use super::entry_line::{EntryLine, printable};
use super::exit::Failure;
use super::output::{Output, OutputArguments};

/// Arguments of `watch`.
#[derive(Debug, Args)]
pub(super) struct WatchArguments {
    /// Only keys that begin like this.
    #[arg(default_value = "")]
    prefix: OsString,
    /// Only new values that are near the meaning of this text.
    #[arg(long, value_name = "TEXT", requires = "threshold")]
    similar: Option<String>,
    /// Least cosine similarity to that text: -1 to 1.
    #[arg(
        long,
        value_name = "SCORE",
        requires = "similar",
        allow_negative_numbers = true
    )]
    threshold: Option<f32>,
    /// Without values.
    #[arg(long)]
    keys_only: bool,
    /// Go on where an earlier watch ended, as it printed.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<WatchCursor>,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    namespace: NamespaceArgument,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// One event as a line of JSON.
#[derive(Serialize)]
struct EventLine {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f32>,
    #[serde(flatten)]
    entry: EntryLine,
}

/// Prints changes until it is interrupted, and then where to go on.
///
/// # Errors
/// [`Failure`].
pub(super) fn run(arguments: WatchArguments) -> Result<(), Failure> {
    let prefix = arguments.prefix.into_vec();
    arguments.connection.run(async |client: &Client| {
        let mut output = arguments.output.open();
        let namespace = existing(client, &arguments.namespace.namespace).await?;
        let mut watch = match &arguments.similar {
            Some(text) => {
                let threshold = arguments.threshold.unwrap_or_default();
                namespace
                    .watch_similar(text, threshold)
                    .prefix(prefix.clone())
            }
            None => namespace.watch(prefix.clone()),
        };
        if arguments.keys_only {
            watch = watch.keys_only();
        }
        if let Some(cursor) = arguments.cursor.clone() {
            watch = watch.since(cursor);
        }
        let mut stream = watch.await?;
        eprintln!("watching; interrupt to end");
        let outcome = show(
            &mut stream,
            &mut output,
            arguments.keys_only,
            arguments.count,
        )
        .await;
        let cursor = stream.cursor().to_string();
        if output.json {
            output.json(&json!({ "cursor": cursor }))?;
        } else {
            // Not on standard output: whoever reads that wants events.
            eprintln!("go on: --cursor '{cursor}'");
        }
        output.flush()?;
        outcome
    })
}

async fn show(
    stream: &mut WatchStream,
    output: &mut Output,
    keys_only: bool,
    count: Option<u64>,
) -> Result<(), Failure> {
    let mut interrupted = Box::pin(tokio::signal::ctrl_c());
    let mut shown = 0;
    while count.is_none_or(|count| shown < count) {
        // What is there already is printed before anything is flushed.
        let ready = stream.next().now_or_never().flatten();
        let event = match ready {
            Some(event) => event,
            None => {
                output.flush()?;
                tokio::select! {
                    _ = &mut interrupted => return Ok(()),
                    event = stream.next() => match event {
                        Some(event) => event,
                        None => return Ok(()),
                    },
                }
            }
        };
        print(output, &event?, keys_only)?;
        shown += 1;
    }
    Ok(())
}

fn print(output: &mut Output, event: &WatchEvent, keys_only: bool) -> Result<(), Failure> {
    let (name, line, score) = match event {
        WatchEvent::Put { key, entry, score } => {
            let line = EntryLine::of_found(key.as_bytes(), entry, keys_only);
            ("put", line.with_version(entry.version), *score)
        }
        WatchEvent::Deleted { key, version } => {
            let line = EntryLine::of_key(key.as_bytes()).with_version(*version);
            ("deleted", line, None)
        }
        WatchEvent::Expired { key, version } => {
            let line = EntryLine::of_key(key.as_bytes()).with_version(*version);
            ("expired", line, None)
        }
        WatchEvent::Resync { shard } => return shard_line(output, "resync", *shard),
        WatchEvent::Resynced { shard } => return shard_line(output, "resynced", *shard),
    };
    if output.json {
        return output.json(&EventLine {
            event: name,
            score,
            entry: line,
        });
    }
    let key = event.key().map(|key| printable(key.as_bytes()));
    let key = key.as_deref().unwrap_or_default();
    let score = score
        .map(|score| format!("\t{score:.3}"))
        .unwrap_or_default();
    match event {
        WatchEvent::Put { entry, .. } if !keys_only => {
            let value = printable(entry.bytes());
            output.line(format_args!("{name}\t{key}\t{value}{score}"))
        }
        _ => output.line(format_args!("{name}\t{key}{score}")),
    }
}

/// An event about a whole shard.
fn shard_line(output: &mut Output, name: &str, shard: u16) -> Result<(), Failure> {
    if output.json {
        return output.json(&json!({ "event": name, "shard": shard }));
    }
    output.line(format_args!("{name}\tshard {shard}"))
}
