//! `engram demo`: a cluster on this machine, from nothing to a node that is killed and comes back.

mod corpus;
mod narrator;
mod nodes;
mod outage;
mod searching;
mod story;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use engram_client::{Client, ClientConfig};
use tokio::signal::unix::{SignalKind, signal};

use self::narrator::Narrator;
use self::nodes::{CLUSTER, Nodes};
use self::story::Story;
use super::exit::Failure;
use super::output::OutputArguments;
use crate::config::loopback_cookie;

/// Nodes of the cluster.
const NODES: usize = 3;
/// How long the client may take to find a node that serves.
const CONNECT_WITHIN: Duration = Duration::from_secs(20);

/// Arguments of `demo`.
#[derive(Debug, Args)]
pub(super) struct DemoArguments {
    /// Leave the cluster running, and say how to reach it and how to end it.
    #[arg(long)]
    keep: bool,
    /// The embedder of the sample texts.
    #[arg(long, value_name = "NAME", default_value = "builtin")]
    embedder: String,
    /// Settings file of the nodes: the tables of further embedders.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArguments,
}

/// Shows what Engram does, and checks each step.
///
/// # Errors
/// [`Failure`] unless everything held.
pub(super) fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    super::log::begin_if_wanted();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::other)?;
    // The nodes end with the future, also when it is interrupted.
    runtime.block_on(async {
        let stopped = interrupted()?;
        tokio::select! {
            outcome = demonstrate(arguments) => outcome,
            () = stopped => Err(Failure::other("interrupted; the nodes are ended")),
        }
    })
}

/// Waits for a signal that asks this process to end.
fn interrupted() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(Failure::other);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hang_up = listen(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}

async fn demonstrate(arguments: &DemoArguments) -> Result<(), Failure> {
    let directory = tempfile::Builder::new()
        .prefix("engram-demo-")
        .tempdir()
        .map_err(Failure::other)?;
    let mut narrator = Narrator::new(arguments.output.open());
    let path = directory.path().to_path_buf();
    narrator.say(format_args!(
        "Three nodes on this machine, data in {}",
        path.display()
    ))?;
    narrator.begin("A cluster starts")?;
    let started = Instant::now();
    let mut nodes = Nodes::start(&path, NODES, arguments.keep, arguments.config.clone()).await?;
    let config = ClientConfig::new(CLUSTER)
        .name("engram demo")
        .seeds(nodes.addresses())
        .cookie(loopback_cookie(CLUSTER))
        .connect_timeout(CONNECT_WITHIN);
    let client = Client::connect(config).await?;
    let mut story = Story {
        narrator: &mut narrator,
        client: &client,
        nodes: &mut nodes,
        embedder: &arguments.embedder,
    };
    let told = story.tell(started).await;
    client.close().await;
    if let Err(failure) = told {
        narrator.check("the step is done", false, failure.message)?;
    }
    let document = nodes.document();
    let guide = arguments.keep.then(|| guide(&nodes, &path));
    // Kept even if something did not hold: that is when there is something to look at.
    if arguments.keep {
        nodes.let_go();
        let _ = directory.keep();
    } else {
        drop(nodes);
        drop(directory);
    }
    narrator.finish(document, guide)
}

/// How to reach the cluster that is left running, and how to end it.
fn guide(nodes: &Nodes, directory: &Path) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "engram".into());
    let seeds = nodes.addresses().join(",");
    format!(
        "\nThe cluster is left running. To try it:
  export ENGRAM_CLUSTER={CLUSTER} ENGRAM_SEED={seeds}
  {program} status
  {program} get --namespace users user:001:profile
  {program} scan --namespace texts text:astronomy
  {program} put --namespace users user:me '{{\"name\":\"me\"}}' --ttl 1h
  {program} bench --mix get --local-nodes
To end it:
  kill {pids}; rm -r {directory}",
        pids = nodes.pids().join(" "),
        directory = directory.display(),
    )
}
