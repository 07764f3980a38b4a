//! `engram start`: a node, until it is told to stop.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use engram_actors::supervisor::Stopped;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::exit::Failure;
use crate::config::{NodeConfig, Settings};
use crate::node::{Hooks, Node};

/// How to write down what has no flag.
const HELP: &str = "\
Embedders turn text into vectors for search by meaning; a namespace chooses one when it is created
(`engram namespace create NAME --embedder EMBEDDER`). Every node has `builtin`, a small model that needs
nothing, and `hash`, for tests. Others are tables of the configuration file, the same on all nodes:

  # A model in ONNX format; scripts/fetch-model brings one, and the library.
  [embedders.minilm]
  kind = \"fastembed\"
  model_dir = \"/var/lib/engram/minilm\"   # or, with internet: model = \"AllMiniLML6V2\"
  # cache_dir, pooling = \"mean\" | \"cls\", max_length, threads, processor_threads

  # Any endpoint that speaks OpenAI's embeddings protocol: OpenAI, Ollama, vLLM, TEI ...
  [embedders.nomic]
  kind = \"openai\"
  url = \"http://localhost:11434/v1\"
  model = \"nomic-embed-text\"
  dimensions = 768
  # key_file = FILE | key_env = VARIABLE, timeout_ms, attempts, threads, request_dimensions

A node that cannot provide an embedder says so in `engram status` and serves keys all the same.";

/// Settings of a node; each may also stand in the configuration file or the environment.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct StartArguments {
    /// TOML file with settings; flags win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the cluster.
    #[arg(long, value_name = "NAME", env = "ENGRAM_CLUSTER")]
    cluster: Option<String>,
    /// Name of this node, unique in the cluster.
    #[arg(long, value_name = "NAME", env = "ENGRAM_NODE_ID")]
    node_id: Option<String>,
    /// Where to listen [default: 127.0.0.1:7101].
    #[arg(long, value_name = "HOST:PORT", env = "ENGRAM_LISTEN")]
    listen: Option<String>,
    /// Where others reach this node [default: the listening address].
    #[arg(long, value_name = "HOST:PORT", env = "ENGRAM_ADVERTISE")]
    advertise: Option<String>,
    /// Other nodes to look for; may be given several times.
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "ENGRAM_JOIN",
        value_delimiter = ','
    )]
    join: Option<Vec<String>>,
    /// Directory of this node's data [default: engram-data].
    #[arg(long, value_name = "DIR", env = "ENGRAM_DATA")]
    data: Option<PathBuf>,
    /// Failure domain: replicas of a shard are spread over zones.
    #[arg(long, value_name = "NAME", env = "ENGRAM_ZONE")]
    zone: Option<String>,
    /// Key shards of a new cluster, fixed once it exists [default: 64].
    #[arg(long, value_name = "N", env = "ENGRAM_SHARDS")]
    shards: Option<u16>,
    /// Form a new cluster when exactly so many nodes have met: 1, or 3 and more.
    #[arg(long, value_name = "N", env = "ENGRAM_BOOTSTRAP_EXPECT")]
    bootstrap_expect: Option<usize>,
    /// File with the secret that all processes of the cluster share; or set ENGRAM_COOKIE.
    #[arg(long, value_name = "FILE", env = "ENGRAM_COOKIE_FILE")]
    cookie_file: Option<PathBuf>,
    /// Memory for records, in bytes, over all shards [default: 8 MiB a shard].
    #[arg(long, value_name = "BYTES", env = "ENGRAM_RECORD_CACHE_BYTES")]
    record_cache_bytes: Option<usize>,
    /// How long tombstones are kept, in milliseconds [default: 30000].
    #[arg(long, value_name = "MS", env = "ENGRAM_PURGE_AFTER_MS")]
    purge_after_ms: Option<u64>,
    /// Index partitions of this node [default: 1].
    #[arg(long, value_name = "N", env = "ENGRAM_INDEX_PARTITIONS")]
    index_partitions: Option<u16>,
    /// Memory for vectors and their graphs, in bytes, over all partitions; entries that find no room
    /// are not found by meaning, and listed [default: half of the machine's memory].
    #[arg(long, value_name = "BYTES", env = "ENGRAM_VECTOR_MEMORY_BYTES")]
    vector_memory_bytes: Option<usize>,
    /// Threads of each embedding model in this process; each has the model in memory [default: 1].
    #[arg(long, value_name = "N", env = "ENGRAM_EMBED_THREADS")]
    embed_threads: Option<usize>,
    /// The library ONNX Runtime, for embedders of the kind fastembed [default: beside the model].
    #[arg(long, value_name = "FILE", env = "ENGRAM_ONNX_RUNTIME")]
    onnx_runtime: Option<PathBuf>,
    /// Write logs as JSON.
    #[arg(long)]
    log_json: bool,
}

impl StartArguments {
    fn complete(self) -> Result<NodeConfig, Failure> {
        let file = match &self.config {
            Some(path) => Settings::read(path).map_err(Failure::usage)?,
            None => Settings::default(),
        };
        let flags = Settings {
            cluster: self.cluster,
            node_id: self.node_id,
            listen: self.listen,
            advertise: self.advertise,
            join: self.join,
            data: self.data,
            zone: self.zone,
            shards: self.shards,
            bootstrap_expect: self.bootstrap_expect,
            cookie_file: self.cookie_file,
            record_cache_bytes: self.record_cache_bytes,
            purge_after_ms: self.purge_after_ms,
            index_partitions: self.index_partitions,
            vector_memory_bytes: self.vector_memory_bytes,
            embed_threads: self.embed_threads,
            onnx_runtime: self.onnx_runtime,
            // Tables of the file only.
            embedders: None,
        };
        let cookie = std::env::var("ENGRAM_COOKIE").ok();
        file.overridden_by(flags)
            .complete(cookie)
            .map_err(Failure::usage)
    }
}

/// Runs a node until it is stopped by a signal or ends by itself.
///
/// # Errors
/// [`Failure`] if it cannot start, or ended because it must not go on.
pub(super) fn run(arguments: StartArguments, hooks: Hooks) -> Result<(), Failure> {
    super::log::begin(arguments.log_json);
    let config = arguments.complete()?;
    let shown = toml::to_string(&config).map_err(Failure::other)?;
    info!("effective configuration:\n{shown}");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::other)?;
    runtime.block_on(serve(&config, hooks))
}

async fn serve(config: &NodeConfig, hooks: Hooks) -> Result<(), Failure> {
    // Before anything is opened: a signal that comes early must end the node in an orderly way, too.
    let mut terminate = signal(SignalKind::terminate()).map_err(Failure::other)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::other)?;
    let mut node = Node::start(config)
        .await
        .map_err(|error| Failure::caused(&error))?;
    // The one line on standard output: whoever started this process waits for it.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "listening on {}", node.address());
    let _ = out.flush();
    hooks(&node);
    let why = tokio::select! {
        biased;
        why = node.stopped() => why,
        _ = interrupt.recv() => Stopped::Asked,
        _ = terminate.recv() => Stopped::Asked,
    };
    info!("stopping");
    node.shut_down().await;
    match why {
        Stopped::Asked => Ok(()),
        Stopped::Fatal(reason) => Err(Failure::other(reason)),
    }
}
