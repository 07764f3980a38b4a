//! `engram check`: reads the data directory of a stopped node, entry by entry.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::Args;
use engram_core::storage::format::{
    ChangeEntry, Condemned, Record, Sealed, ShardMeta, StoredConfig, open,
};
use engram_core::storage::{Keyspace, keys};
use engram_core::types::RecordKey;
use serde_json::json;

use super::exit::{Failure, with_causes};
use super::output::{Output, OutputArguments, counter, show_bytes, show_count};
use crate::data_dir::DataDirError;
use crate::store::{CheckReport, FjallOptions, check};

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Directory of the node's data. The node must not run.
    #[arg(value_name = "DATA_DIR")]
    data: PathBuf,
    #[command(flatten)]
    output: OutputArguments,
}

/// Checks a data directory and says what it found.
///
/// # Errors
/// [`Failure`], with a code of its own if there is damage.
pub(super) fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let mut output = arguments.output.open();
    let bar = counter("checking", "entries");
    let outcome = check(
        &arguments.data,
        &FjallOptions::default(),
        |keyspace, key, value| {
            bar.inc(1);
            verify(keyspace, key, value)
        },
    );
    bar.finish_and_clear();
    let report = outcome.map_err(unusable)?;
    if output.json {
        print_json(&mut output, &report)?;
    } else {
        print_text(&mut output, &report)?;
    }
    output.flush()?;
    if report.is_sound() {
        Ok(())
    } else {
        let count = show_count(report.problems_total);
        Err(Failure::damage(format_args!("problems found: {count}")))
    }
}

/// A directory that cannot be opened: not one of a node, or damaged.
fn unusable(error: DataDirError) -> Failure {
    let text = with_causes(&error);
    match error {
        DataDirError::NotADirectory { .. }
        | DataDirError::NotADataDirectory { .. }
        | DataDirError::Permission { .. } => Failure::usage(text),
        DataDirError::Identity { .. }
        | DataDirError::IdentityMissing { .. }
        | DataDirError::StoreMissing { .. }
        | DataDirError::StoreOfAnotherMember { .. }
        | DataDirError::RolledBack { .. }
        | DataDirError::Store { .. } => Failure::damage(text),
        DataDirError::Io { source, .. } if source.kind() == ErrorKind::NotFound => {
            Failure::usage(text)
        }
        _ => Failure::other(text),
    }
}

/// What is wrong with one entry, if anything is.
fn verify(keyspace: Keyspace, key: &[u8], value: &[u8]) -> Result<(), String> {
    let not_a_key = || "not a key of this keyspace".to_owned();
    match keyspace {
        Keyspace::Meta if key == keys::config() => opens::<StoredConfig>(value).map(drop),
        Keyspace::Meta if key == keys::condemned() => {
            Condemned::found(Some(value)).map_or(Ok(()), Err)
        }
        Keyspace::Meta => {
            let shard = key.strip_prefix(b"shard/").filter(|shard| shard.len() == 2);
            shard.ok_or_else(not_a_key)?;
            let meta = opens::<ShardMeta>(value)?;
            if meta.learned_below > meta.next_lseq {
                return Err("more is learned than was ever logged".into());
            }
            Ok(())
        }
        Keyspace::Records => {
            keys::parse_record(key).ok_or_else(not_a_key)?;
            let record = opens::<Record>(value)?;
            if record.accepted > record.promise {
                return Err("accepted above its promise".into());
            }
            Ok(())
        }
        Keyspace::Changes | Keyspace::Empties => {
            keys::parse_change(key).ok_or_else(not_a_key)?;
            opens::<ChangeEntry>(value).map(drop)
        }
        Keyspace::Expiry => {
            keys::parse_expiry(key).ok_or_else(not_a_key)?;
            if value.is_empty() {
                Ok(())
            } else {
                Err("an expiry holds no value".into())
            }
        }
        // Vectors can be made again from the records; only whose they are is looked at.
        Keyspace::Vectors => {
            let record: Option<(_, RecordKey)> = keys::parse_record(key);
            record.map(drop).ok_or_else(not_a_key)
        }
    }
}

fn opens<T: Sealed>(value: &[u8]) -> Result<T, String> {
    open(value).map_err(|error| error.to_string())
}

fn print_json(output: &mut Output, report: &CheckReport) -> Result<(), Failure> {
    let keyspaces: Vec<_> = report
        .keyspaces
        .iter()
        .map(|found| {
            json!({
                "keyspace": found.keyspace.name(),
                "entries": found.entries,
                "key_bytes": found.key_bytes,
                "value_bytes": found.value_bytes,
            })
        })
        .collect();
    output.json(&json!({
        "sound": report.is_sound(),
        "cluster": report.identity.cluster,
        "node": report.identity.node,
        "member": report.identity.member.to_string(),
        "shards": report.identity.shards,
        "last_lsn": report.last_lsn.map(|lsn| lsn.0),
        "keyspaces": keyspaces,
        "problems": report.problems,
        "problems_total": report.problems_total,
    }))
}

fn print_text(output: &mut Output, report: &CheckReport) -> Result<(), Failure> {
    let identity = &report.identity;
    let last = report
        .last_lsn
        .map_or("unreadable".into(), |lsn| show_count(lsn.0));
    output.line(format_args!(
        "node {} of cluster {}, member {}, {} shards, last commit {last}",
        identity.node, identity.cluster, identity.member, identity.shards
    ))?;
    let numbers = ["ENTRIES", "KEYS", "VALUES"];
    let mut table = output.new_table(&["KEYSPACE", "ENTRIES", "KEYS", "VALUES"], &numbers);
    for found in &report.keyspaces {
        table.add_row(vec![
            found.keyspace.name().to_owned(),
            show_count(found.entries),
            show_bytes(found.key_bytes),
            show_bytes(found.value_bytes),
        ]);
    }
    output.table(&table)?;
    for problem in &report.problems {
        let problem = output.paint.red(problem);
        output.line(problem)?;
    }
    let hidden = report
        .problems_total
        .saturating_sub(report.problems.len() as u64);
    if hidden > 0 {
        output.line(format_args!("... and {} more", show_count(hidden)))?;
    }
    if report.is_sound() {
        let sound = output.paint.green("sound");
        output.line(format_args!(
            "{sound}: every entry was read and is as it should be"
        ))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use engram_core::storage::format::seal;
    use engram_core::types::{Ballot, Key, Lseq, Millis, NamespaceId, ShardId};

    use super::*;

    fn key() -> RecordKey {
        RecordKey {
            namespace: NamespaceId(1),
            key: Key::new("k").expect("short"),
        }
    }

    fn change() -> ChangeEntry {
        ChangeEntry {
            key: key(),
            accepted: Ballot::ZERO,
        }
    }

    #[test]
    fn sound_entries_pass_and_damaged_ones_are_named() {
        let shard = ShardId(3);
        let (record, meta) = (seal(&Record::default()), seal(&ShardMeta::default()));
        let too_high = seal(&Record {
            accepted: Ballot {
                n: 1,
                ..Ballot::ZERO
            },
            ..Record::default()
        });
        let torn = record.slice(..record.len() - 1);
        let record_key = keys::record(shard, &key());
        let cases: [(Keyspace, &[u8], &[u8], &str); 13] = [
            (Keyspace::Records, &record_key, &record, ""),
            (Keyspace::Records, &record_key, &torn, "corrupt"),
            (Keyspace::Records, &record_key, &meta, "corrupt"),
            (Keyspace::Records, &record_key, &too_high, "above"),
            (Keyspace::Records, b"abc", &record, "not a key"),
            (
                Keyspace::Changes,
                &keys::change(shard, Lseq(1)),
                &seal(&change()),
                "",
            ),
            (
                Keyspace::Empties,
                &keys::change(shard, Lseq(1)),
                &record,
                "corrupt",
            ),
            (Keyspace::Meta, &keys::shard_meta(shard), &meta, ""),
            (Keyspace::Meta, b"nonsense", &meta, "not a key"),
            (Keyspace::Meta, &keys::config(), &meta, "corrupt"),
            (
                Keyspace::Expiry,
                &keys::expiry(shard, Millis(1), &key()),
                b"",
                "",
            ),
            (
                Keyspace::Expiry,
                &keys::expiry(shard, Millis(1), &key()),
                b"x",
                "no value",
            ),
            (Keyspace::Vectors, &record_key, b"anything", ""),
        ];
        for (number, (keyspace, key, value, expected)) in cases.into_iter().enumerate() {
            let verdict = verify(keyspace, key, value);
            match expected {
                "" => assert_eq!(verdict, Ok(()), "case {number}"),
                part => {
                    let problem = verdict.expect_err("damaged");
                    assert!(problem.contains(part), "case {number}: {problem}");
                }
            }
        }
    }
}
