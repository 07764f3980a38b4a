//! `engram export`: all entries of a namespace.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use engram_client::Client;
use futures::TryStreamExt;
use serde_json::json;

use crate::cli::connect::{ConnectionArguments, existing};
use crate::cli::entry_line::EntryLine;
use crate::cli::exit::Failure;
use crate::cli::output::{OutputArguments, counter, show_count};

/// Arguments of `export`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArguments {
    /// The namespace.
    #[arg(value_name = "NAMESPACE")]
    name: String,
    /// The file to write, replaced only when all is read; `-` for standard output.
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Writes every entry as a line of JSON. Each is read linearizably; all together are no snapshot.
///
/// # Errors
/// [`Failure`]; the file is as it was before then.
pub(in crate::cli) fn run(arguments: &ExportArguments) -> Result<(), Failure> {
    arguments.connection.run(async |client: &Client| {
        let mut output = arguments.output.open();
        if arguments.out == Path::new("-") {
            write_entries(client, &arguments.name, |line| output.json(line)).await?;
            return output.flush();
        }
        let path = &arguments.out;
        let unwritable =
            |error| Failure::other(format_args!("cannot write {}: {error}", path.display()));
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = tempfile::NamedTempFile::new_in(directory).map_err(unwritable)?;
        let mut file: BufWriter<&File> = BufWriter::new(temporary.as_file());
        let count = write_entries(client, &arguments.name, |line| {
            let mut text = serde_json::to_vec(line).map_err(Failure::other)?;
            text.push(b'\n');
            file.write_all(&text).map_err(unwritable)
        })
        .await?;
        file.flush().map_err(unwritable)?;
        drop(file);
        temporary.as_file().sync_all().map_err(unwritable)?;
        temporary
            .persist(path)
            .map_err(|error| unwritable(error.error))?;
        let text = format!("exported {} entries", show_count(count));
        output.either(&json!({ "exported": count }), text)?;
        output.flush()
    })
}

async fn write_entries(
    client: &Client,
    name: &str,
    mut write: impl FnMut(&EntryLine) -> Result<(), Failure>,
) -> Result<u64, Failure> {
    let namespace = existing(client, name).await?;
    let bar = counter("exporting", "entries");
    let mut entries = namespace.scan("").stream();
    let mut count = 0;
    while let Some((key, entry)) = entries.try_next().await? {
        write(&EntryLine::of_entry(key.as_bytes(), &entry))?;
        bar.inc(1);
        count += 1;
    }
    bar.finish_and_clear();
    Ok(count)
}
