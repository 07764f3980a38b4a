//! Reaching a cluster: the flags that all client commands share, and the client made from them.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use engram_client::{Client, ClientConfig, Namespace};
use engram_core::types::check_name;

use super::duration;
use super::exit::Failure;
use crate::config::{is_loopback, loopback_cookie, read_cookie};

/// How long a node may take for a request before another one is asked.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(1500);

/// Where the cluster is, and how to be let in.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Cluster")]
pub(super) struct ConnectionArguments {
    /// Name of the cluster.
    #[arg(long, value_name = "NAME", env = "ENGRAM_CLUSTER")]
    cluster: String,
    /// A node to begin with; several with commas or repeated. The others are found through it.
    #[arg(
        long = "seed",
        value_name = "HOST:PORT",
        env = "ENGRAM_SEED",
        value_delimiter = ',',
        default_value = "127.0.0.1:7101"
    )]
    seeds: Vec<String>,
    /// File with the secret that all processes of the cluster share; or set ENGRAM_COOKIE. Not
    /// needed on this machine, if the nodes were started without one.
    #[arg(long, value_name = "FILE", env = "ENGRAM_COOKIE_FILE")]
    cookie_file: Option<PathBuf>,
    /// How long to wait for the cluster, with all retries.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse_positive)]
    timeout: Duration,
}

/// Which namespace a command is about.
#[derive(Clone, Debug, Args)]
pub(super) struct NamespaceArgument {
    /// Namespace of the keys.
    #[arg(
        long,
        short,
        value_name = "NAME",
        env = "ENGRAM_NAMESPACE",
        default_value = "default"
    )]
    pub(super) namespace: String,
}

impl ConnectionArguments {
    /// Name of the cluster.
    pub(super) fn cluster(&self) -> &str {
        &self.cluster
    }

    fn config(&self) -> Result<ClientConfig, Failure> {
        let environment = std::env::var("ENGRAM_COOKIE").ok();
        let cookie = self.cookie(environment)?;
        Ok(ClientConfig::new(&self.cluster)
            .name("engram")
            .seeds(&self.seeds)
            .cookie(cookie)
            .connect_timeout(self.timeout)
            .request_timeout(self.timeout)
            .attempt_timeout(self.timeout.min(ATTEMPT_TIMEOUT)))
    }

    /// The secret from the file, the environment, or, towards this machine only, none.
    fn cookie(&self, environment: Option<String>) -> Result<String, Failure> {
        check_name("cluster", &self.cluster).map_err(Failure::usage)?;
        let environment = environment.filter(|cookie| !cookie.is_empty());
        let far = self.seeds.iter().find(|seed| !is_loopback(seed));
        match (&self.cookie_file, environment, far) {
            (None, Some(cookie), _) => Ok(cookie),
            (None, None, None) => Ok(loopback_cookie(&self.cluster)),
            (None, None, Some(far)) => Err(Failure::usage(format_args!(
                "the cluster's secret is needed to reach {far}: give it with --cookie-file FILE, \
                 or in ENGRAM_COOKIE"
            ))),
            (file, environment, _) => {
                read_cookie(file.as_deref(), environment, "", &self.cluster).map_err(Failure::usage)
            }
        }
    }

    /// Connects, works, and takes leave.
    ///
    /// # Errors
    /// [`Failure`] of the work, or if the cluster cannot be reached.
    pub(super) fn run<W>(&self, work: W) -> Result<(), Failure>
    where
        W: AsyncFnOnce(&Client) -> Result<(), Failure>,
    {
        let config = self.config()?;
        super::log::begin_if_wanted();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::other)?;
        runtime.block_on(async {
            let client = Client::connect(config).await?;
            let outcome = work(&client).await;
            client.close().await;
            outcome
        })
    }
}

/// The namespace of that name, if there is one: what only reads must not create it.
///
/// # Errors
/// [`Failure`] if there is none.
pub(super) async fn existing(client: &Client, name: &str) -> Result<Namespace, Failure> {
    check_name("namespace", name).map_err(Failure::usage)?;
    let is_known = client.config().namespace(name).is_some();
    if is_known || client.namespaces().await?.iter().any(|n| n.name == name) {
        Ok(client.namespace(name))
    } else {
        Err(Failure::no_such_namespace(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(seeds: &[&str], cookie_file: Option<PathBuf>) -> ConnectionArguments {
        ConnectionArguments {
            cluster: "demo".into(),
            seeds: seeds.iter().map(|seed| (*seed).to_owned()).collect(),
            cookie_file,
            timeout: Duration::from_secs(5),
        }
    }

    #[test]
    fn only_this_machine_is_reached_without_a_secret() {
        let near = arguments(&["127.0.0.1:1", "localhost:2", "[::1]:3"], None);
        let far = arguments(&["127.0.0.1:1", "db.example:2"], None);
        assert_eq!(near.cookie(None).expect("near"), loopback_cookie("demo"));
        assert_eq!(
            near.cookie(Some("".into())).expect("near"),
            loopback_cookie("demo")
        );
        assert_eq!(near.cookie(Some("s".into())).expect("given"), "s");
        assert_eq!(far.cookie(Some("s".into())).expect("given"), "s");
        let refused = far.cookie(None).expect_err("far");
        assert_eq!(refused.code, 2);
        assert!(refused.message.contains("db.example:2"), "{refused}");
    }

    #[test]
    fn a_cookie_file_wins_and_must_be_readable() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("cookie");
        let far = arguments(&["db.example:2"], Some(path.clone()));
        assert_eq!(far.cookie(Some("s".into())).expect_err("missing").code, 2);
        std::fs::write(&path, "from the file\n").expect("written");
        assert_eq!(
            far.cookie(Some("s".into())).expect("there"),
            "from the file"
        );
    }
}
