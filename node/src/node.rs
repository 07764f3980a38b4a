//! A running node: everything wired together.

use std::sync::{Arc, Mutex, PoisonError};

use engram_actors::background::BackgroundThread;
use engram_actors::buggify::Buggify;
use engram_actors::directory::Directory;
use engram_actors::env::{Background, Clock, Entropy, Env, Store, Transport};
use engram_actors::index_partition::{NodeIndex, NodeIndexArguments, SegmentOptions, TextIndex};
use engram_actors::ingress::Router;
use engram_actors::storage::{Engine, GroupCommitConfig, GroupCommitStore};
use engram_actors::supervisor::{NodeArguments, NodeMessage, NodeOptions, NodeSupervisor, Stopped};
use engram_core::index::vectors::SegmentLimits;
use engram_core::protocol::membership::Identity;
use engram_core::storage::format::{Condemned, FormatError, StoredConfig, open};
use engram_core::storage::{Keyspace, keys};
use engram_core::types::{ClusterConfig, Member};
use engram_remote::{Endpoint, EndpointConfig, EndpointError, EndpointKind};
use engram_segments::NodeBuilder;
use ractor::{Actor, ActorRef};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::config::NodeConfig;
use crate::data_dir::{DataDir, DataDirError, Expected};
use crate::embedder::catalog;
use crate::store::{FjallEngine, FjallOptions};
use crate::text_index::TantivyTextIndex;
use crate::transport::{ClusterTransport, NodeHandler};
use crate::world::{SystemClock, SystemEntropy};

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The database cannot be used.
    #[error(transparent)]
    Store(#[from] engram_actors::env::StoreError),
    /// The database cannot be read.
    #[error(transparent)]
    Engine(#[from] engram_actors::storage::EngineError),
    /// It was found to have lost writes.
    #[error("{0}")]
    Condemned(String),
    /// The stored configuration is damaged, or of a later release.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The network cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The full-text index cannot start.
    #[error("the full-text index did not start: {0}")]
    Text(std::io::Error),
    /// There is no thread for work that takes long.
    #[error("the background thread did not start: {0}")]
    Background(std::io::Error),
    /// The actors did not start.
    #[error("the node's actors did not start: {0}")]
    Actors(#[from] ractor::SpawnErr),
}

/// Shown a node when it has started. Tests reach into nodes through this; `engram` does not.
pub type Hooks = Box<dyn FnOnce(&Node) + Send>;

/// A node that runs.
pub struct Node {
    /// Who is who on this node.
    pub directory: Arc<Directory>,
    supervisor: ActorRef<NodeMessage>,
    address: String,
    endpoint: Endpoint,
    store: Arc<GroupCommitStore<FjallEngine>>,
    stopped: watch::Receiver<Option<Stopped>>,
}

impl Node {
    /// Opens the data directory, listens, and starts the actors. Returns without waiting for the
    /// cluster.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way; nothing is left running then.
    pub async fn start(config: &NodeConfig) -> Result<Node, StartError> {
        let expected = Expected {
            cluster: config.cluster.clone(),
            node: config.node_id.clone(),
            shards: config.shards,
        };
        let data = DataDir::open(
            &config.data,
            &expected,
            &FjallOptions::default(),
            &SystemEntropy,
        )?;
        let engine = data.engine().clone();
        let boot_lsn = data.recovered_lsn();
        let mark = engine.get(Keyspace::Meta, &keys::condemned())?;
        if let Some(reason) = Condemned::found(mark.as_deref()) {
            return Err(StartError::Condemned(reason));
        }
        let stored = stored_config(&engine)?;
        let (stopped_tx, stopped) = watch::channel(None);
        let stopped_tx = Arc::new(stopped_tx);

        let failed: Arc<Mutex<Option<ActorRef<NodeMessage>>>> = Arc::default();
        let to_stop = failed.clone();
        let store = GroupCommitStore::start(engine, GroupCommitConfig::default(), move |error| {
            let node = to_stop
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            if let Some(node) = node {
                let _ = node.cast(NodeMessage::Fatal(format!("storage failed: {error}")));
            }
        })?;
        let store = Arc::new(store);

        let listener = engram_remote::bind(&config.listen).await?;
        let address = match (&config.advertise, listener.local_addr()) {
            (Some(advertise), _) => advertise.clone(),
            (None, Ok(address)) => address.to_string(),
            (None, Err(_)) => config.listen.clone(),
        };
        let member = Member {
            id: data.identity().member,
            name: config.node_id.clone(),
            address: address.clone(),
            zone: config.zone.clone(),
        };
        let transport = Arc::new(ClusterTransport::default());
        let background = BackgroundThread::start().map_err(StartError::Background)?;
        let env = Env {
            store: store.clone() as Arc<dyn Store>,
            transport: transport.clone() as Arc<dyn Transport>,
            clock: Arc::new(SystemClock) as Arc<dyn Clock>,
            entropy: Arc::new(SystemEntropy) as Arc<dyn Entropy>,
            buggify: Buggify::default(),
            background: Arc::new(background) as Arc<dyn Background>,
        };
        let directory = Arc::new(Directory::new(member.clone(), data.boot(), env.clock.now()));
        let identity = Identity {
            cluster: config.cluster.clone(),
            member,
            boot: data.boot(),
            life: env.entropy.next_u64(),
            shards: config.shards,
            cluster_id: stored.as_ref().map_or(0, |(config, _)| config.cluster_id),
            config_version: stored.as_ref().map_or(0, |(config, _)| config.version),
        };
        let known: Vec<String> = stored
            .iter()
            .flat_map(|(config, _)| addresses(config))
            .collect();
        if let Some((config, _)) = &stored {
            directory.set_config(Arc::new(config.clone()));
        }

        directory.set_index(Arc::new(open_index(config, &directory, &env)?));

        let arguments = NodeArguments {
            options: NodeOptions {
                expected: config.bootstrap_expect,
                cache_bytes: config.shard_cache_bytes,
                purge_after_ms: config.purge_after_ms,
                ..NodeOptions::default()
            },
            directory: directory.clone(),
            env: env.clone(),
            identity: identity.clone(),
            boot_lsn,
            stored,
            on_stopped: Arc::new(move |why| {
                let _ = stopped_tx.send(Some(why));
            }),
        };
        let (supervisor, _) = Actor::spawn(None, NodeSupervisor, arguments).await?;
        *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(supervisor.clone());

        let router = Router::new(directory.clone(), env);
        let handler = Arc::new(NodeHandler::new(
            directory.clone(),
            store.clone(),
            router,
            identity,
        ));
        let kind = EndpointKind::Member {
            listen: config.listen.clone(),
            node: config.node_id.clone(),
            boot: data.boot(),
        };
        let endpoint_config = EndpointConfig::new(&config.cookie, kind);
        let endpoint = Endpoint::start_on(Some(listener), endpoint_config, handler.clone()).await?;
        transport.open(endpoint.clone());
        dial(&handler, &endpoint, &config.join, &known);
        info!(node = %config.node_id, %address, boot = data.boot(), "listening");
        Ok(Node {
            directory,
            address,
            supervisor,
            endpoint,
            store,
            stopped,
        })
    }

    /// `host:port` at which others reach this node.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What the links are doing.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Waits until the node has ended by itself or was stopped.
    pub async fn stopped(&mut self) -> Stopped {
        match self.stopped.wait_for(Option::is_some).await {
            Ok(why) => why.clone().unwrap_or(Stopped::Asked),
            Err(_) => Stopped::Fatal("the node supervisor is gone".into()),
        }
    }

    /// Ends the node in an orderly way: takes leave of its peers, then closes the store.
    pub async fn shut_down(mut self) -> Stopped {
        let _ = self.supervisor.cast(NodeMessage::Stop);
        let why = self.stopped().await;
        self.endpoint.shutdown().await;
        let store = self.store.clone();
        // Closing waits for the last commit, which must not hold up the runtime.
        let _ = tokio::task::spawn_blocking(move || store.close()).await;
        why
    }
}

/// One full-text index a partition, in the data directory; and the models that this node has.
fn open_index(
    config: &NodeConfig,
    directory: &Arc<Directory>,
    env: &Env,
) -> Result<NodeIndex, StartError> {
    let mut texts: Vec<Arc<dyn TextIndex>> = Vec::new();
    for number in 0..config.index_partitions {
        let folder = config.data.join("text").join(number.to_string());
        let text = TantivyTextIndex::new(&folder, &number.to_string()).map_err(StartError::Text)?;
        texts.push(Arc::new(text));
    }
    let arguments = NodeIndexArguments {
        texts,
        embedders: catalog(config),
        segments: SegmentOptions {
            builder: Arc::new(NodeBuilder),
            limits: SegmentLimits::default(),
            vector_bytes_max: config.partition_vector_bytes,
        },
    };
    Ok(NodeIndex::new(arguments, directory.clone(), env.clone()))
}

/// Dials what was configured, what is known from the disk, and whoever is met later.
fn dial(handler: &NodeHandler, endpoint: &Endpoint, join: &[String], known: &[String]) {
    let mut first: Vec<String> = join.to_vec();
    first.extend(
        known
            .iter()
            .filter(|address| !join.contains(address))
            .cloned(),
    );
    let (to, always) = (endpoint.clone(), first.clone());
    handler.on_met(move |met| {
        let mut all = always.clone();
        all.extend(met.into_iter().filter(|address| !always.contains(address)));
        if let Err(error) = to.set_dial_targets(all) {
            warn!(%error, "cannot dial a member");
        }
    });
    if let Err(error) = endpoint.set_dial_targets(first) {
        warn!(%error, "cannot dial");
    }
}

fn addresses(config: &ClusterConfig) -> Vec<String> {
    config
        .members
        .iter()
        .map(|member| member.address.clone())
        .collect()
}

fn stored_config(engine: &FjallEngine) -> Result<Option<(ClusterConfig, bool)>, StartError> {
    match engine.get(Keyspace::Meta, &keys::config())? {
        None => Ok(None),
        Some(bytes) => {
            let stored: StoredConfig = open(&bytes)?;
            Ok(Some((stored.config, stored.formed)))
        }
    }
}
