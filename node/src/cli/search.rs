//! `engram search`: entries by meaning or by words.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Args, ValueEnum};
use engram_client::{Client, Found, Search};
use engram_core::limits::TOP_K_MAX;
use serde_json::json;

use super::connect::{ConnectionArguments, NamespaceArgument, existing};
use super::entry_line::{EntryLine, printable};
use super::exit::Failure;
use super::output::{Output, OutputArguments};

/// How a query is matched.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Mode {
    /// By meaning; scores are cosine similarities, 1 at most.
    Semantic,
    /// By words, all of which must occur; scores are BM25.
    Words,
    /// By words, any of which may occur.
    AnyWord,
}

/// Arguments of `search`.
#[derive(Debug, Args)]
pub(super) struct SearchArguments {
    /// What to look for.
    query: String,
    /// How.
    #[arg(long, value_enum, default_value_t = Mode::Semantic)]
    mode: Mode,
    /// Most hits.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = parse_top_k)]
    top_k: u32,
    /// Only hits with at least this score.
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    threshold: Option<f32>,
    /// Only keys that begin like this.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    prefix: OsString,
    /// Only entries with this tag; with all of them, if given several times.
    #[arg(long, value_name = "TAG")]
    tag: Vec<String>,
    /// Without values.
    #[arg(long)]
    keys_only: bool,
    #[command(flatten)]
    namespace: NamespaceArgument,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

fn parse_top_k(text: &str) -> Result<u32, String> {
    let top_k: Option<u32> = text.parse().ok();
    top_k
        .filter(|top_k| (1..=TOP_K_MAX).contains(&usize::try_from(*top_k).unwrap_or(0)))
        .ok_or_else(|| format!("expected a number from 1 to {TOP_K_MAX}"))
}

/// Prints what a search finds, best first.
///
/// # Errors
/// [`Failure`].
pub(super) fn run(arguments: SearchArguments) -> Result<(), Failure> {
    arguments.connection.run(async |client: &Client| {
        let mut output = arguments.output.open();
        let namespace = existing(client, &arguments.namespace.namespace).await?;
        let mut search = in_mode(namespace.search(arguments.query), arguments.mode)
            .top_k(arguments.top_k)
            .prefix(arguments.prefix.into_vec());
        if let Some(threshold) = arguments.threshold {
            search = search.threshold(threshold);
        }
        for tag in arguments.tag {
            search = search.tag(tag);
        }
        if arguments.keys_only {
            search = search.keys_only();
        }
        print(&mut output, &search.await?, arguments.keys_only)
    })
}

fn in_mode(search: Search, mode: Mode) -> Search {
    match mode {
        Mode::Semantic => search,
        Mode::Words => search.words(),
        Mode::AnyWord => search.any_word(),
    }
}

fn print(output: &mut Output, found: &Found, keys_only: bool) -> Result<(), Failure> {
    for hit in &found.hits {
        if output.json {
            let line = EntryLine::of_found(hit.key.as_bytes(), &hit.entry, keys_only);
            let entry = line.with_version(hit.entry.version);
            output.json(&json!({ "score": hit.score, "entry": entry }))?;
            continue;
        }
        let score = output.paint.dim(format_args!("{:6.3}", hit.score));
        let key = output.paint.cyan(printable(hit.key.as_bytes()));
        if keys_only {
            output.line(format_args!("{score}  {key}"))?;
        } else {
            let value = printable(hit.entry.bytes());
            output.line(format_args!("{score}  {key}  {value}"))?;
        }
    }
    if !found.is_complete() {
        eprintln!(
            "only {} of {} shards took part",
            found.shards_answered, found.shards_total
        );
    }
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_hits_is_bounded() {
        assert_eq!(parse_top_k("1"), Ok(1));
        for bad in ["0", "-1", "x", "", &(TOP_K_MAX + 1).to_string()] {
            assert!(parse_top_k(bad).is_err(), "{bad}");
        }
    }
}
