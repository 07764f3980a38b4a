//! `engram namespace` and `engram clear`.

use std::borrow::Cow;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use engram_client::{Client, IndexSource, NamespaceOptions, TextLanguage};
use serde_json::{Value, json};

use super::connect::{ConnectionArguments, existing};
use super::exit::Failure;
use super::output::{OutputArguments, show_count};

/// Arguments of `namespace`.
#[derive(Debug, Args)]
pub(super) struct NamespaceArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create a namespace; what is chosen here is fixed then. If it exists with the same options,
    /// nothing happens.
    Create {
        /// Its name.
        name: String,
        #[command(flatten)]
        options: OptionArguments,
        #[command(flatten)]
        common: Common,
    },
    /// List all namespaces.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show the options of a namespace, and how many keys it has.
    Describe {
        /// Its name.
        name: String,
        #[command(flatten)]
        common: Common,
    },
    /// List the entries of a namespace that are not found by meaning, because their text could not
    /// be embedded, and why.
    Failures {
        /// Its name.
        name: String,
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, Args)]
struct OptionArguments {
    /// What of an entry can be searched: `key`, `value`, `both`, or `field:NAME`, one field of
    /// values that are JSON objects.
    #[arg(long, value_name = "SOURCE", default_value = "both", value_parser = parse_source)]
    source: IndexSource,
    /// Do not search it by words.
    #[arg(long)]
    no_text: bool,
    /// The language of its texts, for searches by words; `plain` takes words as they are.
    #[arg(long, default_value = "english", value_parser = language_names())]
    language: String,
    /// Do not search it by meaning.
    #[arg(long)]
    no_semantic: bool,
    /// What turns its texts into vectors: `builtin`, `hash`, or an embedder of the nodes' settings;
    /// or `vectors-384`: its entries are JSON documents with a field `vector` of 384 numbers.
    #[arg(long, value_name = "NAME", default_value = "builtin")]
    embedder: String,
    /// How many entries it holds, roughly: beyond it the least recently used are deleted.
    #[arg(long, value_name = "N")]
    max_entries: Option<u64>,
}

fn language_names() -> PossibleValuesParser {
    PossibleValuesParser::new(TextLanguage::ALL.map(|(_, name)| name))
}

/// In which language a namespace is searched by words, if it is.
fn words_name(options: &NamespaceOptions) -> &'static str {
    if options.text {
        options.language.name()
    } else {
        "no"
    }
}

fn parse_source(text: &str) -> Result<IndexSource, String> {
    match text {
        "key" => Ok(IndexSource::Key),
        "value" => Ok(IndexSource::Value),
        "both" => Ok(IndexSource::Both),
        _ => match text.strip_prefix("field:") {
            Some(field) => Ok(IndexSource::Field(field.into())),
            None => Err("expected key, value, both or field:NAME".into()),
        },
    }
}

impl OptionArguments {
    fn options(self) -> NamespaceOptions {
        NamespaceOptions {
            source: self.source,
            text: !self.no_text,
            language: TextLanguage::from_name(&self.language).unwrap_or_default(),
            semantic: !self.no_semantic,
            embedder: self.embedder,
            max_entries: self.max_entries,
            model: None,
        }
    }
}

#[derive(Debug, Args)]
struct Common {
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// Options of a namespace whose values nobody searches.
pub(super) fn unsearched() -> NamespaceOptions {
    NamespaceOptions {
        text: false,
        semantic: false,
        ..NamespaceOptions::default()
    }
}

/// Creates, lists or describes namespaces.
///
/// # Errors
/// [`Failure`].
pub(super) fn run(arguments: NamespaceArguments) -> Result<(), Failure> {
    match arguments.action {
        Action::Create {
            name,
            options,
            common,
        } => create(&name, options.options(), &common),
        Action::List { common } => list(&common),
        Action::Describe { name, common } => describe(&name, &common),
        Action::Failures { name, common } => failures(&name, &common),
    }
}

fn create(name: &str, options: NamespaceOptions, common: &Common) -> Result<(), Failure> {
    common.connection.run(async |client: &Client| {
        let mut output = common.output.open();
        client.create_namespace(name, options.clone()).await?;
        let text = format!("namespace {name} is there");
        output.either(&document(name, &options), text)?;
        output.flush()
    })
}

fn list(common: &Common) -> Result<(), Failure> {
    common.connection.run(async |client: &Client| {
        let mut output = common.output.open();
        let mut namespaces = client.namespaces().await?;
        namespaces.sort_by(|a, b| a.name.cmp(&b.name));
        if output.json {
            for namespace in &namespaces {
                output.json(&document(&namespace.name, &namespace.options))?;
            }
            return output.flush();
        }
        let heads = [
            "NAMESPACE",
            "SEARCHED",
            "BY WORDS",
            "BY MEANING",
            "MAX ENTRIES",
        ];
        let mut table = output.new_table(&heads, &[]);
        for namespace in namespaces {
            let options = &namespace.options;
            let meaning = if options.semantic {
                options.embedder.as_str()
            } else {
                "no"
            };
            let most = options.max_entries.map(show_count);
            table.add_row(vec![
                namespace.name.as_str(),
                &source_name(&options.source),
                words_name(options),
                meaning,
                most.as_deref().unwrap_or("any"),
            ]);
        }
        output.table(&table)?;
        output.flush()
    })
}

fn describe(name: &str, common: &Common) -> Result<(), Failure> {
    common.connection.run(async |client: &Client| {
        let mut output = common.output.open();
        let namespace = existing(client, name).await?;
        let keys = namespace.count("").await?;
        let found = client
            .namespaces()
            .await?
            .into_iter()
            .find(|n| n.name == name);
        let options = found
            .ok_or_else(|| Failure::no_such_namespace(name))?
            .options;
        if output.json {
            let mut document = document(name, &options);
            if let Some(document) = document.as_object_mut() {
                document.insert("keys".into(), json!(keys));
            }
            output.json(&document)?;
            return output.flush();
        }
        let meaning = if options.semantic {
            options.embedder.as_str()
        } else {
            "no"
        };
        let most = options.max_entries.map(show_count);
        let model = options.model.as_ref().map_or("-", |model| model.as_str());
        let rows = [
            ("namespace", name),
            ("keys", &show_count(keys)),
            ("searched", &source_name(&options.source)),
            ("by words", words_name(&options)),
            ("by meaning", meaning),
            ("at most", most.as_deref().unwrap_or("any number of keys")),
            ("model", model),
        ];
        for (name, text) in rows {
            let name = output.paint.dim(format_args!("{name:<10}"));
            output.line(format_args!("{name} {text}"))?;
        }
        output.flush()
    })
}

fn failures(name: &str, common: &Common) -> Result<(), Failure> {
    common.connection.run(async |client: &Client| {
        let mut output = common.output.open();
        let namespace = existing(client, name).await?;
        super::status::reach_all(client).await;
        let failures = namespace.embed_failures().await?;
        if output.json {
            for failure in &failures {
                output.json(&json!({
                    "key": failure.key.to_text(),
                    "version": failure.version.to_string(),
                    "nodes": failure.nodes,
                    "attempts": failure.attempts,
                    "again": failure.outlook.to_string(),
                    "reason": failure.reason,
                }))?;
            }
            return output.flush();
        }
        if failures.is_empty() {
            output.line(format_args!(
                "no text of namespace {name} failed to be embedded"
            ))?;
            return output.flush();
        }
        let heads = ["KEY", "NODES", "ATTEMPTS", "AGAIN", "REASON"];
        let mut table = output.new_table(&heads, &heads[2..3]);
        for failure in &failures {
            table.add_row(vec![
                failure.key.to_text().into_owned(),
                failure.nodes.join(", "),
                show_count(u64::from(failure.attempts)),
                failure.outlook.to_string(),
                failure.reason.clone(),
            ]);
        }
        output.table(&table)?;
        output.flush()
    })
}

/// As `--source` takes it.
fn source_name(source: &IndexSource) -> Cow<'static, str> {
    match source {
        IndexSource::Key => "key".into(),
        IndexSource::Value => "value".into(),
        IndexSource::Both => "both".into(),
        IndexSource::Field(field) => format!("field:{field}").into(),
    }
}

fn document(name: &str, options: &NamespaceOptions) -> Value {
    json!({
        "namespace": name,
        "source": source_name(&options.source),
        "text": options.text,
        "language": options.language.name(),
        "semantic": options.semantic,
        "embedder": options.embedder,
        "max_entries": options.max_entries,
        "model": options.model.as_ref().map(|model| model.as_str()),
    })
}

/// Arguments of `clear`.
#[derive(Debug, Args)]
pub(super) struct ClearArguments {
    /// The namespace to empty.
    #[arg(value_name = "NAMESPACE")]
    name: String,
    /// Yes, delete all its keys.
    #[arg(long, required = true)]
    yes: bool,
    #[command(flatten)]
    common: Common,
}

/// Deletes all keys of a namespace.
///
/// # Errors
/// [`Failure`]; part of the keys may be deleted then.
pub(super) fn clear(arguments: &ClearArguments) -> Result<(), Failure> {
    let common = &arguments.common;
    common.connection.run(async |client: &Client| {
        let mut output = common.output.open();
        let count = existing(client, &arguments.name).await?.clear().await?;
        let text = format!("deleted {}", show_count(count));
        output.either(&json!({ "deleted": count }), text)?;
        output.flush()
    })
}
