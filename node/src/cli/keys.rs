//! Commands about one key: `put`, `get`, `del`, `exists`, `touch`.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use engram_client::{Client, Entry, Head, Namespace, Version};
use engram_core::limits::VALUE_BYTES_MAX;
use serde_json::json;

use super::connect::{ConnectionArguments, NamespaceArgument, existing};
use super::duration;
use super::entry_line::{EntryLine, printable};
use super::exit::Failure;
use super::output::{Output, OutputArguments, show_count};

/// Flags that all commands about keys share.
#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    namespace: NamespaceArgument,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

impl Common {
    /// Runs work on a namespace that must exist.
    fn on_existing<W>(&self, work: W) -> Result<(), Failure>
    where
        W: AsyncFnOnce(&Namespace, &mut Output) -> Result<(), Failure>,
    {
        self.connection.run(async |client: &Client| {
            let mut output = self.output.open();
            let namespace = existing(client, &self.namespace.namespace).await?;
            work(&namespace, &mut output).await?;
            output.flush()
        })
    }
}

/// Arguments of `put`.
#[derive(Debug, Args)]
pub(super) struct PutArguments {
    /// The key.
    key: OsString,
    /// The value; `-` reads it from standard input.
    #[arg(required_unless_present = "file", allow_negative_numbers = true)]
    value: Option<OsString>,
    /// Read the value from this file.
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    file: Option<PathBuf>,
    /// How long the value lives, as in 30s or 1h30m; for ever unless given.
    #[arg(long, value_name = "TIME", value_parser = duration::parse_positive)]
    ttl: Option<Duration>,
    /// A label of the value; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only if the key is at this version.
    #[arg(long, value_name = "VERSION", group = "condition")]
    if_version: Option<Version>,
    /// Only if the key holds no value.
    #[arg(long, group = "condition")]
    if_absent: bool,
    /// Only if the key holds a value.
    #[arg(long, group = "condition")]
    if_present: bool,
    #[command(flatten)]
    common: Common,
}

/// Writes a key and prints the version it made.
///
/// # Errors
/// [`Failure`], with a code of its own for a condition that does not hold.
pub(super) fn put(arguments: PutArguments) -> Result<(), Failure> {
    let value = read_value(arguments.value, arguments.file.as_deref())?;
    let key = arguments.key.into_vec();
    let common = arguments.common;
    common.connection.run(async |client: &Client| {
        let mut output = common.output.open();
        let namespace = client.namespace(&common.namespace.namespace);
        let mut put = namespace.put(key.clone(), value).tags(arguments.tags);
        if let Some(ttl) = arguments.ttl {
            put = put.ttl(ttl);
        }
        if let Some(version) = arguments.if_version {
            put = put.if_version(version);
        }
        if arguments.if_absent {
            put = put.if_absent();
        }
        if arguments.if_present {
            put = put.if_present();
        }
        let written = put.await?;
        let line = EntryLine::of_key(&key).with_version(written.version);
        output.either(&line, written.version)?;
        output.flush()
    })
}

/// The value from the command line, standard input or a file, but no more than is allowed.
fn read_value(value: Option<OsString>, file: Option<&Path>) -> Result<Vec<u8>, Failure> {
    match (value, file) {
        (Some(value), None) if value == "-" => {
            read_bounded(std::io::stdin().lock(), "standard input")
        }
        (Some(value), None) => Ok(value.into_vec()),
        (_, Some(path)) => {
            let name = path.display().to_string();
            let file = std::fs::File::open(path)
                .map_err(|error| Failure::usage(format_args!("cannot read {name}: {error}")))?;
            read_bounded(file, &name)
        }
        (None, None) => Err(Failure::usage("a value is missing")),
    }
}

fn read_bounded(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut value = Vec::new();
    from.take(VALUE_BYTES_MAX as u64 + 1)
        .read_to_end(&mut value)
        .map_err(|error| Failure::usage(format_args!("cannot read {name}: {error}")))?;
    if value.len() > VALUE_BYTES_MAX {
        return Err(Failure::usage(format_args!(
            "{name} is too large: a value has {VALUE_BYTES_MAX} bytes at most"
        )));
    }
    Ok(value)
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub(super) struct GetArguments {
    /// The key.
    key: OsString,
    /// Print the value's bytes and nothing else, whatever they are.
    #[arg(long, group = "form", conflicts_with = "json")]
    raw: bool,
    /// Print version, tags and time to live instead of the value.
    #[arg(long, group = "form")]
    meta: bool,
    #[command(flatten)]
    common: Common,
}

/// Prints what a key holds.
///
/// # Errors
/// [`Failure`], with a code of its own if the key holds no value.
pub(super) fn get(arguments: GetArguments) -> Result<(), Failure> {
    let key = arguments.key.into_vec();
    arguments.common.on_existing(async |namespace, output| {
        let missing = || Failure::no_such_key(&key);
        if arguments.meta {
            let head = namespace.head(key.clone()).await?.ok_or_else(missing)?;
            return print_head(output, &key, &head);
        }
        let entry = namespace.get(key.clone()).await?.ok_or_else(missing)?;
        if output.json {
            output.json(&EntryLine::of_entry(&key, &entry).with_version(entry.version))
        } else {
            print_value(output, &entry, arguments.raw)
        }
    })
}

/// A terminal gets text and the end of the line; a pipe or a file gets the bytes as they are.
fn print_value(output: &mut Output, entry: &Entry, raw: bool) -> Result<(), Failure> {
    if raw || !output.is_terminal {
        return output.bytes(entry.bytes());
    }
    match entry.text() {
        Ok(text) => output.line(text),
        Err(_) => Err(Failure::usage(format_args!(
            "the value is not text ({} bytes): print it with --raw, or redirect it to a file",
            show_count(entry.bytes().len() as u64)
        ))),
    }
}

fn print_head(output: &mut Output, key: &[u8], head: &Head) -> Result<(), Failure> {
    if output.json {
        let expires_at_ms = head.expires_at.map(|at| at.0);
        let line = EntryLine::of_key(key)
            .with_meta(&head.tags, expires_at_ms)
            .with_version(head.version);
        return output.json(&line);
    }
    let ends = match head.ttl {
        Some(ttl) => format!("in {}", duration::show(ttl)),
        None => "never".into(),
    };
    let tags: Vec<_> = head
        .tags
        .iter()
        .map(|tag| printable(tag.as_bytes()))
        .collect();
    let tags = if tags.is_empty() {
        "-".into()
    } else {
        tags.join(", ")
    };
    let rows = [
        ("key", printable(key).into_owned()),
        ("version", head.version.to_string()),
        ("tags", tags),
        ("expires", ends),
    ];
    for (name, text) in rows {
        let name = output.paint.dim(format_args!("{name:<8}"));
        output.line(format_args!("{name} {text}"))?;
    }
    Ok(())
}

/// Arguments of `del`.
#[derive(Debug, Args)]
pub(super) struct DelArguments {
    /// The key, or the beginning of all keys to delete.
    #[arg(required_unless_present = "tag")]
    key: Option<OsString>,
    /// Delete all keys whose values have this tag. Not atomic: what is written meanwhile may stay.
    #[arg(long, value_name = "TAG", conflicts_with_all = ["key", "prefix", "if_version"])]
    tag: Option<String>,
    /// Only if the key is at this version.
    #[arg(long, value_name = "VERSION", conflicts_with = "prefix")]
    if_version: Option<Version>,
    /// Delete all keys that begin like this. Not atomic: what is written meanwhile may stay.
    #[arg(long)]
    prefix: bool,
    #[command(flatten)]
    common: Common,
}

/// Deletes a key, or all with a prefix or tag.
///
/// # Errors
/// [`Failure`], with codes of their own if the key holds no value, or is at another version.
pub(super) fn del(arguments: DelArguments) -> Result<(), Failure> {
    let key = arguments.key.unwrap_or_default().into_vec();
    arguments.common.on_existing(async |namespace, output| {
        if let Some(tag) = &arguments.tag {
            let count = namespace.delete_by_tag(tag).await?;
            let text = format!("deleted {}", show_count(count));
            return output.either(&json!({ "deleted": count }), text);
        }
        if arguments.prefix {
            if key.is_empty() {
                return Err(Failure::usage(
                    "an empty prefix means all keys: use `engram clear NAMESPACE --yes`",
                ));
            }
            let count = namespace.delete_prefix(key).await?;
            let text = format!("deleted {}", show_count(count));
            return output.either(&json!({ "deleted": count }), text);
        }
        let mut delete = namespace.delete(key.clone());
        if let Some(version) = arguments.if_version {
            delete = delete.if_version(version);
        }
        if delete.await? {
            output.either(&json!({ "deleted": 1 }), "deleted")
        } else {
            Err(Failure::no_such_key(&key))
        }
    })
}

/// Arguments of `exists`.
#[derive(Debug, Args)]
pub(super) struct ExistsArguments {
    /// The key.
    key: OsString,
    #[command(flatten)]
    common: Common,
}

/// Says whether a key holds a value, also by its exit code.
///
/// # Errors
/// [`Failure`], with a code of its own and without words if the key holds no value.
pub(super) fn exists(arguments: ExistsArguments) -> Result<(), Failure> {
    let key = arguments.key.into_vec();
    arguments.common.on_existing(async |namespace, output| {
        let exists = namespace.exists(key.clone()).await?;
        output.either(&json!({ "exists": exists }), exists)?;
        output.flush()?;
        if exists {
            Ok(())
        } else {
            Err(Failure {
                message: String::new(),
                ..Failure::no_such_key(&key)
            })
        }
    })
}

/// Arguments of `touch`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("expiry").required(true))]
pub(super) struct TouchArguments {
    /// The key.
    key: OsString,
    /// Let the value end after this time from now.
    #[arg(long, value_name = "TIME", group = "expiry", value_parser = duration::parse_positive)]
    ttl: Option<Duration>,
    /// Let the value stay for ever.
    #[arg(long, group = "expiry")]
    persist: bool,
    #[command(flatten)]
    common: Common,
}

/// Changes when a value ends.
///
/// # Errors
/// [`Failure`], with a code of its own if the key holds no value.
pub(super) fn touch(arguments: TouchArguments) -> Result<(), Failure> {
    let key = arguments.key.into_vec();
    arguments.common.on_existing(async |namespace, output| {
        let found = match arguments.ttl {
            Some(ttl) => namespace.touch(key.clone(), ttl).await?,
            None => namespace.persist(key.clone()).await?,
        };
        if !found {
            return Err(Failure::no_such_key(&key));
        }
        let text = match arguments.ttl {
            Some(ttl) => format!("ends in {}", duration::show(ttl)),
            None => "stays for ever".into(),
        };
        output.either(&EntryLine::of_key(&key), text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_up_to_the_bound_and_not_beyond() {
        let most = vec![7_u8; VALUE_BYTES_MAX];
        let read = read_bounded(most.as_slice(), "it").expect("allowed");
        assert_eq!(read.len(), VALUE_BYTES_MAX);
        let more = read_bounded(std::io::repeat(7), "it").expect_err("endless");
        assert_eq!(more.code, 2);
    }
}
