//! `engram scan`: keys in order.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::Args;
use engram_client::{Client, Cursor, Entry, Key};
use engram_core::limits::SCAN_LIMIT_MAX;
use serde_json::json;

use super::connect::{ConnectionArguments, NamespaceArgument, existing};
use super::entry_line::{EntryLine, printable};
use super::exit::Failure;
use super::output::{Output, OutputArguments};

/// Columns that a value gets at least, however long the key is.
const VALUE_COLUMNS_MIN: usize = 20;

/// Arguments of `scan`.
#[derive(Debug, Args)]
pub(super) struct ScanArguments {
    /// Only keys that begin like this.
    #[arg(default_value = "")]
    prefix: OsString,
    /// Most entries printed; with --all, most entries fetched at a time.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = parse_limit)]
    limit: u32,
    /// Go on where an earlier scan ended, as it printed.
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<Cursor>,
    /// Without values.
    #[arg(long)]
    keys_only: bool,
    /// All entries, page after page.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    namespace: NamespaceArgument,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

fn parse_limit(text: &str) -> Result<u32, String> {
    let limit: Option<u32> = text.parse().ok();
    limit
        .filter(|limit| (1..=SCAN_LIMIT_MAX).contains(&usize::try_from(*limit).unwrap_or(0)))
        .ok_or_else(|| format!("expected a number from 1 to {SCAN_LIMIT_MAX}"))
}

/// Prints the keys with a prefix, in order, with their values.
///
/// # Errors
/// [`Failure`].
pub(super) fn run(arguments: ScanArguments) -> Result<(), Failure> {
    let prefix = arguments.prefix.into_vec();
    arguments.connection.run(async |client: &Client| {
        let mut output = arguments.output.open();
        let namespace = existing(client, &arguments.namespace.namespace).await?;
        let mut cursor = arguments.cursor;
        // A page may be shorter than asked for, even empty, because pages are bounded in bytes too.
        let mut left = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
        loop {
            let limit = if arguments.all {
                arguments.limit
            } else {
                u32::try_from(left).unwrap_or(u32::MAX)
            };
            let mut scan = namespace.scan(prefix.clone()).limit(limit);
            if arguments.keys_only {
                scan = scan.keys_only();
            }
            if let Some(after) = cursor.take() {
                scan = scan.after(after);
            }
            let page = scan.await?;
            for (key, entry) in &page.entries {
                print(&mut output, key, entry, arguments.keys_only)?;
            }
            output.flush()?;
            left = left.saturating_sub(page.entries.len());
            cursor = page.next;
            if cursor.is_none() || (!arguments.all && left == 0) {
                break;
            }
        }
        match cursor {
            Some(cursor) if output.json => output.json(&json!({ "next": cursor.to_string() }))?,
            // Not on standard output: whoever reads that wants entries.
            Some(cursor) => eprintln!("more: --cursor {cursor}"),
            None => {}
        }
        output.flush()
    })
}

fn print(output: &mut Output, key: &Key, entry: &Entry, keys_only: bool) -> Result<(), Failure> {
    if output.json {
        let line = EntryLine::of_found(key.as_bytes(), entry, keys_only);
        return output.json(&line.with_version(entry.version));
    }
    let name = printable(key.as_bytes());
    if keys_only {
        return output.line(name);
    }
    let value = printable(entry.bytes());
    if !output.is_terminal {
        return output.line(format_args!("{name}\t{value}"));
    }
    let columns = usize::from(console::Term::stdout().size().1);
    let used = console::measure_text_width(&name) + 2;
    let room = columns.saturating_sub(used).max(VALUE_COLUMNS_MIN);
    let value = console::truncate_str(&value, room, "…");
    let name = output.paint.cyan(name);
    output.line(format_args!("{name}  {value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_bounded() {
        assert_eq!(parse_limit("1"), Ok(1));
        assert!(parse_limit(&SCAN_LIMIT_MAX.to_string()).is_ok());
        for bad in ["0", "-1", "x", "", &(SCAN_LIMIT_MAX + 1).to_string()] {
            assert!(parse_limit(bad).is_err(), "{bad}");
        }
    }
}
