//! Configuration of a node: a TOML file, then the environment, then flags; the later one wins.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use engram_core::index::ReadyVectors;
use engram_core::limits::{
    EMBED_THREADS_MAX, INDEX_PARTITIONS_DEFAULT, RECORD_CACHE_BYTES_DEFAULT, RETRY_WINDOW_MS,
    SHARDS_DEFAULT, SHARDS_MAX, SHARDS_MIN,
};
use engram_core::types::{NameError, check_name};
use serde::{Deserialize, Serialize};

use crate::embedder::{EmbedderSettings, OWN_EMBEDDERS};
use crate::memory::half_of_memory;

/// Settings as a file or the flags give them: nothing is required yet. Unknown keys are refused.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of the cluster.
    pub cluster: Option<String>,
    /// Name of this node, unique in the cluster.
    pub node_id: Option<String>,
    /// Where to listen, `host:port`; port 0 takes a free one. Default `127.0.0.1:7101`.
    pub listen: Option<String>,
    /// Where others reach this node, `host:port`. Default: the listening address.
    pub advertise: Option<String>,
    /// Other nodes to look for, `host:port`.
    pub join: Option<Vec<String>>,
    /// Directory of this node's data. Default `./engram-data`.
    pub data: Option<PathBuf>,
    /// Failure domain: replicas of a shard are spread over zones.
    pub zone: Option<String>,
    /// Key shards of a new cluster; fixed once it exists. Default 64.
    pub shards: Option<u16>,
    /// Form a new cluster when exactly so many nodes have met.
    pub bootstrap_expect: Option<usize>,
    /// File that holds the secret shared by all processes of the cluster.
    pub cookie_file: Option<PathBuf>,
    /// Memory for records, in bytes, over all shards. Default 8 MiB a shard.
    pub record_cache_bytes: Option<usize>,
    /// How long tombstones are kept, in milliseconds. Default 30 000.
    pub purge_after_ms: Option<u64>,
    /// Index partitions of this node. Default 1.
    pub index_partitions: Option<u16>,
    /// Memory for vectors and their graphs, in bytes, over all partitions. Default: half of what the
    /// machine has.
    pub vector_memory_bytes: Option<usize>,
    /// Threads of each embedding model that runs in this process, unless its table says otherwise;
    /// each has the model in memory. Default 1.
    pub embed_threads: Option<usize>,
    /// The library ONNX Runtime, for embedders of the kind `fastembed`. Default: beside the model.
    pub onnx_runtime: Option<PathBuf>,
    /// Embedders that namespaces may choose, by name, besides `builtin` and `hash`.
    pub embedders: Option<BTreeMap<String, EmbedderSettings>>,
}

/// Settings of a node, complete and checked.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NodeConfig {
    /// Name of the cluster.
    pub cluster: String,
    /// Name of this node.
    pub node_id: String,
    /// Where to listen.
    pub listen: String,
    /// Where others reach this node; none: where it listens.
    pub advertise: Option<String>,
    /// Other nodes to look for.
    pub join: Vec<String>,
    /// Directory of this node's data.
    pub data: PathBuf,
    /// Failure domain.
    pub zone: Option<String>,
    /// Key shards.
    pub shards: u16,
    /// Form a new cluster when exactly so many nodes have met.
    pub bootstrap_expect: Option<usize>,
    /// The shared secret.
    #[serde(skip)]
    pub cookie: String,
    /// Memory for records of one shard, in bytes.
    pub shard_cache_bytes: usize,
    /// How long tombstones are kept, in milliseconds.
    pub purge_after_ms: u64,
    /// Index partitions of this node.
    pub index_partitions: u16,
    /// Memory for vectors of one partition, in bytes.
    pub partition_vector_bytes: usize,
    /// Threads of each embedding model in this process.
    pub embed_threads: usize,
    /// The library ONNX Runtime.
    pub onnx_runtime: Option<PathBuf>,
    /// Embedders besides `builtin` and `hash`, by name.
    pub embedders: BTreeMap<String, EmbedderSettings>,
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not what is expected; names the line.
    #[error("{}: {source}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What and where.
        source: Box<toml::de::Error>,
    },
    /// Something that has no default is missing.
    #[error("{what} is missing: give {how}")]
    Missing {
        /// What.
        what: &'static str,
        /// How to give it.
        how: &'static str,
    },
    /// A name breaks the rules.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A number is out of range.
    #[error("{what} must be {range}, not {found}")]
    OutOfRange {
        /// Which setting.
        what: &'static str,
        /// What is allowed.
        range: String,
        /// What was given.
        found: String,
    },
    /// An embedder's settings make no sense.
    #[error("embedder {name}: {reason}")]
    Embedder {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An address is not `host:port`.
    #[error("{what} {found:?} is not an address: expected host:port")]
    Address {
        /// Which setting.
        what: &'static str,
        /// What was given.
        found: String,
    },
    /// Listening beyond this machine needs a secret.
    #[error(
        "refusing to listen on {0} without a cookie: anybody could join. Put a secret into a file \
         and name it with --cookie-file, or set ENGRAM_COOKIE"
    )]
    CookieNeeded(String),
    /// The file with the secret is empty.
    #[error("the cookie file {} is empty", .0.display())]
    EmptyCookie(PathBuf),
}

impl Settings {
    /// Reads a TOML file.
    ///
    /// # Errors
    /// [`ConfigError`] if it cannot be read, has an unknown key or a wrong value.
    pub fn read(path: &Path) -> Result<Settings, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        toml::from_str(&text).map_err(|source| ConfigError::Malformed {
            path: path.into(),
            source: Box::new(source),
        })
    }

    /// These settings, with those of `over` where it has them.
    pub fn overridden_by(self, over: Settings) -> Settings {
        Settings {
            cluster: over.cluster.or(self.cluster),
            node_id: over.node_id.or(self.node_id),
            listen: over.listen.or(self.listen),
            advertise: over.advertise.or(self.advertise),
            join: over.join.or(self.join),
            data: over.data.or(self.data),
            zone: over.zone.or(self.zone),
            shards: over.shards.or(self.shards),
            bootstrap_expect: over.bootstrap_expect.or(self.bootstrap_expect),
            cookie_file: over.cookie_file.or(self.cookie_file),
            record_cache_bytes: over.record_cache_bytes.or(self.record_cache_bytes),
            purge_after_ms: over.purge_after_ms.or(self.purge_after_ms),
            index_partitions: over.index_partitions.or(self.index_partitions),
            vector_memory_bytes: over.vector_memory_bytes.or(self.vector_memory_bytes),
            embed_threads: over.embed_threads.or(self.embed_threads),
            onnx_runtime: over.onnx_runtime.or(self.onnx_runtime),
            embedders: over.embedders.or(self.embedders),
        }
    }

    /// Completes and checks the settings. `cookie` is the secret from the environment, if any.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting.
    pub fn complete(self, cookie: Option<String>) -> Result<NodeConfig, ConfigError> {
        let missing = |what, how| ConfigError::Missing { what, how };
        let cluster = self
            .cluster
            .ok_or(missing("the cluster's name", "--cluster NAME"))?;
        check_name("cluster", &cluster)?;
        let node_id = self
            .node_id
            .ok_or(missing("this node's name", "--node-id NAME"))?;
        check_name("node", &node_id)?;
        if let Some(zone) = &self.zone {
            check_name("zone", zone)?;
        }
        let listen = self.listen.unwrap_or_else(|| "127.0.0.1:7101".into());
        check_address("the listening address", &listen)?;
        if let Some(advertise) = &self.advertise {
            check_address("the advertised address", advertise)?;
        }
        let join = self.join.unwrap_or_default();
        for address in &join {
            check_address("an address to join", address)?;
        }
        let shards = self.shards.unwrap_or(SHARDS_DEFAULT);
        check_range("shards", shards, SHARDS_MIN, SHARDS_MAX)?;
        if let Some(expect) = self.bootstrap_expect
            && (expect == 0 || expect == 2 || expect > engram_core::limits::MEMBERS_MAX)
        {
            return Err(ConfigError::OutOfRange {
                what: "bootstrap-expect",
                range: "1, or 3 and more (two nodes cannot survive the loss of either)".into(),
                found: expect.to_string(),
            });
        }
        let cache = self.record_cache_bytes;
        let shard_cache_bytes = cache.map_or(RECORD_CACHE_BYTES_DEFAULT, |all| {
            (all / usize::from(shards)).max(64 * 1024)
        });
        let purge_after_ms = self.purge_after_ms.unwrap_or(2 * RETRY_WINDOW_MS);
        let index_partitions = self.index_partitions.unwrap_or(INDEX_PARTITIONS_DEFAULT);
        check_range("index-partitions", index_partitions, 1, 64)?;
        let vector_bytes = self.vector_memory_bytes.unwrap_or_else(half_of_memory);
        let embed_threads = self.embed_threads.unwrap_or(1);
        if !(1..=EMBED_THREADS_MAX).contains(&embed_threads) {
            return Err(ConfigError::OutOfRange {
                what: "embed-threads",
                range: format!("1 to {EMBED_THREADS_MAX}"),
                found: embed_threads.to_string(),
            });
        }
        let embedders = self.embedders.unwrap_or_default();
        for (name, settings) in &embedders {
            check_embedder(name, settings)?;
        }
        let cookie = read_cookie(self.cookie_file.as_deref(), cookie, &listen, &cluster)?;
        Ok(NodeConfig {
            cluster,
            node_id,
            listen,
            advertise: self.advertise,
            join,
            data: self.data.unwrap_or_else(|| "engram-data".into()),
            zone: self.zone,
            shards,
            bootstrap_expect: self.bootstrap_expect,
            cookie,
            shard_cache_bytes,
            purge_after_ms,
            index_partitions,
            partition_vector_bytes: vector_bytes / usize::from(index_partitions),
            embed_threads,
            onnx_runtime: self.onnx_runtime,
            embedders,
        })
    }
}

/// The secret from a file, the environment, or, on loopback only, none.
///
/// # Errors
/// [`ConfigError`] if the file is unusable, or there is no secret and `listen` is not loopback.
pub fn read_cookie(
    file: Option<&Path>,
    environment: Option<String>,
    listen: &str,
    cluster: &str,
) -> Result<String, ConfigError> {
    if let Some(path) = file {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.into(),
            source,
        })?;
        let cookie = text.trim();
        if cookie.is_empty() {
            return Err(ConfigError::EmptyCookie(path.into()));
        }
        return Ok(cookie.into());
    }
    match environment.filter(|cookie| !cookie.is_empty()) {
        Some(cookie) => Ok(cookie),
        None if is_loopback(listen) => Ok(loopback_cookie(cluster)),
        None => Err(ConfigError::CookieNeeded(listen.into())),
    }
}

/// What nodes and clients on one machine use where no secret was given.
pub fn loopback_cookie(cluster: &str) -> String {
    format!("loopback-{cluster}")
}

/// Whether an address is one of this machine only.
pub(crate) fn is_loopback(address: &str) -> bool {
    if let Ok(address) = address.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn check_embedder(name: &str, settings: &EmbedderSettings) -> Result<(), ConfigError> {
    check_name("embedder", name)?;
    let wrong = |reason| ConfigError::Embedder {
        name: name.into(),
        reason,
    };
    if OWN_EMBEDDERS.contains(&name) || ReadyVectors::named(name).is_some() {
        return Err(wrong(
            "every node has one of this name: choose another".into(),
        ));
    }
    settings.check().map_err(wrong)
}

fn check_address(what: &'static str, address: &str) -> Result<(), ConfigError> {
    let good = address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if good {
        Ok(())
    } else {
        Err(ConfigError::Address {
            what,
            found: address.into(),
        })
    }
}

fn check_range(what: &'static str, value: u16, min: u16, max: u16) -> Result<(), ConfigError> {
    if (min..=max).contains(&value) {
        Ok(())
    } else {
        let range = format!("{min} to {max}");
        Err(ConfigError::OutOfRange {
            what,
            range,
            found: value.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal() -> Settings {
        Settings {
            cluster: Some("demo".into()),
            node_id: Some("a".into()),
            ..Settings::default()
        }
    }

    #[test]
    fn defaults_are_filled_in_and_flags_win_over_files() {
        let file = Settings {
            listen: Some("127.0.0.1:1".into()),
            ..minimal()
        };
        let flags = Settings {
            listen: Some("127.0.0.1:2".into()),
            ..Settings::default()
        };
        let config = file.overridden_by(flags).complete(None).expect("valid");
        assert_eq!((config.listen.as_str(), config.shards), ("127.0.0.1:2", 64));
        assert_eq!(config.cluster, "demo");
    }

    #[test]
    fn wrong_settings_are_named() {
        type Case = (fn(&mut Settings), &'static str);
        let cases: [Case; 10] = [
            (|s| s.cluster = None, "cluster"),
            (|s| s.node_id = Some("a b".into()), "node"),
            (|s| s.listen = Some("nowhere".into()), "listening address"),
            (|s| s.join = Some(vec!["x".into()]), "join"),
            (|s| s.shards = Some(0), "shards"),
            (|s| s.shards = Some(5000), "shards"),
            (|s| s.bootstrap_expect = Some(2), "bootstrap-expect"),
            (|s| s.listen = Some("0.0.0.0:7101".into()), "cookie"),
            (|s| s.index_partitions = Some(0), "index-partitions"),
            (|s| s.embed_threads = Some(0), "embed-threads"),
        ];
        for (change, word) in cases {
            let mut settings = minimal();
            change(&mut settings);
            let error = settings.complete(None).expect_err(word).to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("node.toml");
        std::fs::write(&path, "cluster = \"demo\"\nshard = 3\n").expect("written");
        let error = Settings::read(&path).expect_err("unknown key").to_string();
        assert!(
            error.contains("shard") && error.contains("line 2"),
            "{error}"
        );
    }

    #[test]
    fn embedders_are_tables_whose_keys_are_checked() {
        let read = |text: &str| {
            let text = format!("cluster = \"c\"\nnode_id = \"a\"\n{text}");
            let settings: Settings = toml::from_str(&text).map_err(|error| error.to_string())?;
            let complete = settings.complete(None);
            complete.map_err(|error| error.to_string())
        };
        let local = "kind = \"openai\"\nurl = \"http://h/v1\"\nmodel = \"m\"\n";
        let fast = "kind = \"fastembed\"\n";
        let good = format!(
            "[embedders.local]\n{local}dimensions = 8\n[embedders.fast]\n{fast}model_dir = \"m\"\n"
        );
        let config = read(&good).expect("sound");
        assert_eq!(config.embedders.len(), 2);
        toml::to_string(&config).expect("it can be shown");
        for (bad, word) in [
            (format!("[embedders.it]\n{local}"), "dimensions"),
            (
                format!("[embedders.it]\n{local}dimensions = 0\n"),
                "dimensions",
            ),
            (
                format!("[embedders.it]\n{local}dimensions = 8\nkey = \"x\"\n"),
                "key",
            ),
            (
                format!(
                    "[embedders.it]\n{local}dimensions = 8\nkey_file = \"a\"\nkey_env = \"b\"\n"
                ),
                "key_file",
            ),
            (format!("[embedders.it]\n{fast}"), "model_dir"),
            (
                format!("[embedders.it]\n{fast}model = \"m\"\nthreads = 0\n"),
                "threads",
            ),
            (
                format!("[embedders.it]\n{fast}model = \"m\"\npooling = \"x\"\n"),
                "mean",
            ),
            (
                format!("[embedders.builtin]\n{fast}model = \"m\"\n"),
                "builtin",
            ),
            (
                format!("[embedders.\"a b\"]\n{fast}model = \"m\"\n"),
                "embedder",
            ),
            ("[embedders.it]\nkind = \"magic\"\n".to_owned(), "magic"),
            ("[embedders.it]\nmodel = \"m\"\n".to_owned(), "kind"),
        ] {
            let error = read(&bad).expect_err(&bad);
            assert!(error.contains(word), "{bad}: {error}");
        }
    }

    #[test]
    fn beyond_loopback_a_cookie_is_needed() {
        let settings = Settings {
            listen: Some("0.0.0.0:7101".into()),
            ..minimal()
        };
        let config = settings
            .complete(Some("secret".into()))
            .expect("has a cookie");
        assert_eq!(config.cookie, "secret");
    }
}
