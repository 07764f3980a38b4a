//! `engram bench`: a closed-loop load generator.
//!
//! Each of a number of simulated clients sends a request, waits for the answer, and sends the
//! next. All share one process and one typed client, as the tasks of an application would.
//! Latencies are those that such a task sees. Because a slow answer keeps its client from sending,
//! a closed loop shows less of a stall than clients that arrive independently would feel.

mod load;
mod plan;
mod processor;
mod report;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use engram_client::{Client, Key, Namespace};
use engram_core::limits::VALUE_BYTES_MAX;
use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use self::load::{Load, Measured};
use self::plan::{Mix, parse_clients, parse_keys, parse_value_bytes};
use self::processor::ProcessorTime;
use super::connect::{ConnectionArguments, existing};
use super::duration;
use super::exit::Failure;
use super::namespace::unsearched;
use super::output::{OutputArguments, progress, show_count};
use super::search::Mode;

/// Keys that are written at a time before reads are measured.
const FILL_IN_FLIGHT: usize = 128;

/// Arguments of `bench`.
#[derive(Debug, Args)]
pub(super) struct BenchArguments {
    /// How many clients at a time; several numbers are measured one after the other.
    #[arg(
        long,
        value_name = "N",
        value_delimiter = ',',
        default_value = "1,16,64,256",
        value_parser = parse_clients
    )]
    clients: Vec<usize>,
    /// Bytes of each value.
    #[arg(long, value_name = "BYTES", default_value_t = 256, value_parser = parse_value_bytes)]
    value_bytes: usize,
    /// Keys that are written and read, chosen evenly at random.
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = parse_keys)]
    keys: u32,
    /// What the clients do: `put`, `get`, `mixed:0.9` for nine reads in ten requests, or `search`
    /// for the best ten keys in a namespace that is there.
    #[arg(long, value_name = "MIX", default_value = "put")]
    mix: Mix,
    /// File with what is searched for, a query in each line, chosen evenly at random.
    #[arg(long, value_name = "FILE", required_if_eq("mix", "search"))]
    queries: Option<PathBuf>,
    /// How searches match.
    #[arg(long, value_enum, default_value_t = Mode::Semantic)]
    search_mode: Mode,
    /// How long each number of clients is measured.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse_positive)]
    duration: Duration,
    /// How long the clients run before that.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    warmup: Duration,
    /// The nodes' processes, to measure their processor time for each operation.
    #[arg(
        long,
        value_name = "PID",
        value_delimiter = ',',
        conflicts_with = "local_nodes"
    )]
    pids: Vec<u32>,
    /// Find the processes of the cluster's nodes on this machine and measure their processor time.
    #[arg(long)]
    local_nodes: bool,
    /// Namespace to work in. What is in it is overwritten.
    #[arg(long, short, value_name = "NAME", default_value = "bench")]
    namespace: String,
    #[command(flatten)]
    output: OutputArguments,
    #[command(flatten)]
    connection: ConnectionArguments,
}

/// One line of the result.
struct Run {
    clients: usize,
    measured: Measured,
    /// Processor time of the nodes, if it was asked for.
    nodes: Option<Duration>,
    /// Processor time of this process.
    generator: Option<Duration>,
}

/// Measures, and prints what was measured.
///
/// # Errors
/// [`Failure`] if the cluster or the processes cannot be reached. Failed operations are counted
/// in the result instead.
pub(super) fn run(arguments: &BenchArguments) -> Result<(), Failure> {
    let pids = if arguments.local_nodes {
        processor::nodes_of(arguments.connection.cluster())?
    } else {
        arguments.pids.clone()
    };
    ProcessorTime::of(&pids)?;
    arguments.connection.run(async |client: &Client| {
        let mut output = arguments.output.open();
        let namespace = match arguments.mix {
            Mix::Search => existing(client, &arguments.namespace).await?,
            _ => open(client, &arguments.namespace).await?,
        };
        super::status::reach_all(client).await;
        let load = arguments.load(namespace)?;
        if arguments.mix.reads() {
            fill(&load).await?;
        }
        let mut runs = Vec::new();
        for clients in &arguments.clients {
            runs.push(arguments.measure(&load, *clients, &pids).await?);
        }
        if output.json {
            output.json(&report::document(arguments, &runs))?;
        } else {
            report::print(&mut output, arguments, &runs)?;
        }
        output.flush()
    })
}

impl BenchArguments {
    fn load(&self, namespace: Namespace) -> Result<Load, Failure> {
        let keys: Result<Vec<Key>, _> = (0..self.keys)
            .map(|number| Key::new(format!("bench:{number:08}")))
            .collect();
        let mut value = vec![0; self.value_bytes.min(VALUE_BYTES_MAX)];
        // Not all zeros: what can be compressed would cost less than what users store.
        getrandom::fill(&mut value).map_err(Failure::other)?;
        Ok(Load {
            namespace,
            keys: keys.map_err(Failure::other)?,
            value: value.into(),
            queries: self.queries()?.into(),
            mode: self.search_mode,
            mix: self.mix,
        })
    }

    fn queries(&self) -> Result<Vec<String>, Failure> {
        let Some(path) = &self.queries else {
            return Ok(Vec::new());
        };
        let bad = |reason: String| Failure::usage(format!("{}: {reason}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let lines = text.lines().filter(|line| !line.trim().is_empty());
        let queries: Vec<String> = lines.map(str::to_owned).collect();
        if queries.is_empty() {
            return Err(bad("there is no query in it".into()));
        }
        Ok(queries)
    }

    async fn measure(&self, load: &Load, clients: usize, pids: &[u32]) -> Result<Run, Failure> {
        let bar = progress(0, "measuring", "");
        bar.set_message(format!("{clients} clients, {}", self.mix));
        let begin = Instant::now() + self.warmup;
        let end = begin + self.duration;
        let running = load.start(clients, begin.into_std(), end.into_std())?;
        tokio::time::sleep_until(begin).await;
        let (own, nodes) = (ProcessorTime::of_self(), ProcessorTime::of(pids)?);
        tokio::time::sleep_until(end).await;
        let (own_after, nodes_after) = (ProcessorTime::of_self(), ProcessorTime::of(pids)?);
        let measured = running.finish().await?;
        bar.finish_and_clear();
        Ok(Run {
            clients,
            measured,
            nodes: (!pids.is_empty()).then(|| nodes_after.since(nodes)),
            generator: own_after
                .zip(own)
                .map(|(after, before)| after.since(before)),
        })
    }
}

/// The namespace to work in. If it is new, it is one that nobody searches: what is measured are
/// reads and writes.
async fn open(client: &Client, name: &str) -> Result<Namespace, Failure> {
    let namespaces = client.namespaces().await?;
    if namespaces.iter().any(|namespace| namespace.name == name) {
        return Ok(client.namespace(name));
    }
    Ok(client.create_namespace(name, unsearched()).await?)
}

/// Writes every key once, so that reads find something.
async fn fill(load: &Load) -> Result<(), Failure> {
    let bar = progress(load.keys.len() as u64, "filling", "keys");
    let puts = load.keys.iter().map(|key| {
        let put = load.namespace.put(key, load.value.clone()).into_future();
        let bar = &bar;
        async move {
            put.await?;
            bar.inc(1);
            Ok::<(), Failure>(())
        }
    });
    let written = stream::iter(puts).buffer_unordered(FILL_IN_FLIGHT);
    let outcome = written.try_collect::<()>().await;
    bar.finish_and_clear();
    outcome.map_err(|failure| Failure {
        message: format!(
            "cannot write the {} keys to be read: {failure}",
            show_count(load.keys.len() as u64)
        ),
        ..failure
    })
}
