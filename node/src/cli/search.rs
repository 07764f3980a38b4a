//! `engram search`: entries by meaning, by words, or by both.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use clap::{Args, ValueEnum};
use engram_client::{Client, ClientError, Found, Hit, Search, Standing};
use engram_core::limits::TOP_K_MAX;
use serde_json::{Value, json};

use super::caret::point_at;
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
    Any,
    /// By an expression: AND, OR, NOT, brackets, "phrase", begin*, key:word, key:begin*, tag:name.
    Expression,
    /// By the words that say most about a text.
    Similar,
    /// By meaning and by most of the words, fused by rank.
    Hybrid,
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
    /// How much the list by meaning and the list by words count in a hybrid search.
    #[arg(long, value_name = "MEANING,WORDS", value_parser = parse_weights)]
    weights: Option<(f32, f32)>,
    /// Print where each hit stands in the list by meaning and in the list by words.
    #[arg(long)]
    explain: bool,
    /// Print the part of each value that shows best why it was found, instead of the value.
    #[arg(long)]
    snippets: bool,
    /// See every write that was acknowledged before; it may take as long as --timeout allows.
    #[arg(long)]
    fresh: bool,
    /// Only hits with at least this score; of a hybrid search, only hits at least so close in
    /// meaning.
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

fn parse_weights(text: &str) -> Result<(f32, f32), String> {
    let parts = text.split_once(',');
    let number = |text: &str| text.trim().parse::<f32>().ok();
    let weights = parts.and_then(|(meaning, words)| Some((number(meaning)?, number(words)?)));
    weights.ok_or_else(|| "expected two numbers, such as 1,0.5".to_owned())
}

/// Prints what a search finds, best first.
///
/// # Errors
/// [`Failure`].
pub(super) fn run(arguments: SearchArguments) -> Result<(), Failure> {
    arguments.connection.run(async |client: &Client| {
        let mut output = arguments.output.open();
        let namespace = existing(client, &arguments.namespace.namespace).await?;
        let query = arguments.query;
        let mut search = in_mode(namespace.search(query.as_str()), arguments.mode)
            .top_k(arguments.top_k)
            .prefix(arguments.prefix.into_vec());
        if let Some(threshold) = arguments.threshold {
            search = search.threshold(threshold);
        }
        if let Some((meaning, words)) = arguments.weights {
            search = search.weights(meaning, words);
        }
        for tag in arguments.tag {
            search = search.tag(tag);
        }
        if arguments.keys_only || arguments.snippets {
            search = search.keys_only();
        }
        if arguments.snippets {
            search = search.snippets();
        }
        if arguments.fresh {
            search = search.fresh();
        }
        let form = Form {
            keys_only: arguments.keys_only,
            snippets: arguments.snippets,
            explain: arguments.explain,
        };
        match search.await {
            Ok(found) => print(&mut output, &found, form),
            Err(ClientError::Expression(error)) => Err(Failure::usage(point_at(&query, &error))),
            Err(error) => Err(error.into()),
        }
    })
}

/// A search that matches so.
pub(super) fn in_mode(search: Search, mode: Mode) -> Search {
    match mode {
        Mode::Semantic => search,
        Mode::Words => search.words(),
        Mode::Any => search.any_word(),
        Mode::Expression => search.expression(),
        Mode::Similar => search.similar(),
        Mode::Hybrid => search.hybrid(),
    }
}

/// What is printed of a hit.
#[derive(Clone, Copy, Debug)]
struct Form {
    keys_only: bool,
    snippets: bool,
    explain: bool,
}

fn print(output: &mut Output, found: &Found, form: Form) -> Result<(), Failure> {
    for hit in &found.hits {
        if output.json {
            output.json(&hit_json(hit, form))?;
        } else {
            print_hit(output, hit, form)?;
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

fn print_hit(output: &mut Output, hit: &Hit, form: Form) -> Result<(), Failure> {
    let paint = output.paint;
    let score = paint.dim(format_args!("{:6.3}", hit.score));
    let key = paint.cyan(printable(hit.key.as_bytes()));
    match &hit.snippet {
        Some(snippet) => {
            let pieces = snippet.pieces().map(|(piece, is_found)| {
                let piece = printable(piece.as_bytes());
                if is_found {
                    paint.bold(piece)
                } else {
                    piece.to_string()
                }
            });
            let text: String = pieces.collect();
            output.line(format_args!("{score}  {key}  {text}"))?;
        }
        None if form.keys_only => output.line(format_args!("{score}  {key}"))?,
        None => {
            let value = printable(hit.entry.bytes());
            output.line(format_args!("{score}  {key}  {value}"))?;
        }
    }
    if form.explain {
        let meaning = standing_text("meaning", hit.explanation.meaning);
        let words = standing_text("words", hit.explanation.words);
        let line = paint.dim(format_args!("        {meaning}, {words}"));
        output.line(line)?;
    }
    Ok(())
}

fn hit_json(hit: &Hit, form: Form) -> Value {
    let without_value = form.keys_only || form.snippets;
    let line = EntryLine::of_found(hit.key.as_bytes(), &hit.entry, without_value);
    let entry = line.with_version(hit.entry.version);
    let mut line = json!({ "score": hit.score, "entry": entry });
    if let Some(fields) = line.as_object_mut() {
        if form.explain {
            fields.insert("meaning".into(), standing_json(hit.explanation.meaning));
            fields.insert("words".into(), standing_json(hit.explanation.words));
        }
        if let Some(snippet) = &hit.snippet {
            let snippet = json!({ "text": snippet.text, "marks": snippet.marks });
            fields.insert("snippet".into(), snippet);
        }
    }
    line
}

fn standing_json(standing: Option<Standing>) -> Value {
    standing.map_or(
        Value::Null,
        |standing| json!({ "rank": standing.rank, "score": standing.score }),
    )
}

fn standing_text(list: &str, standing: Option<Standing>) -> String {
    standing.map_or(
        format!("not found by {list}"),
        |Standing { rank, score }| format!("by {list}: rank {rank}, score {score:.3}"),
    )
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

    #[test]
    fn weights_are_two_numbers() {
        assert_eq!(parse_weights("1, 0.5"), Ok((1.0, 0.5)));
        for bad in ["", "1", "1;2", "a,b", "1,2,3"] {
            assert!(parse_weights(bad).is_err(), "{bad}");
        }
    }
}
