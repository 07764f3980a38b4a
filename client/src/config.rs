//! How a client finds its cluster, and how patient it is.

use std::fmt;
use std::time::Duration;

use engram_core::limits::{CLIENT_SEEDS_MAX, NAME_BYTES_MAX, REQUEST_TIMEOUT_MS_MAX};
use engram_core::types::check_name;

use crate::ConnectError;

/// How to reach a cluster.
///
/// ```
/// use std::time::Duration;
///
/// let config = engram_client::ClientConfig::new("demo")
///     .seed("127.0.0.1:7101")
///     .seed("127.0.0.1:7102")
///     .cookie("a shared secret")
///     .request_timeout(Duration::from_secs(2));
/// ```
#[derive(Clone)]
pub struct ClientConfig {
    pub(crate) cluster: String,
    pub(crate) cookie: String,
    pub(crate) name: String,
    pub(crate) seeds: Vec<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) attempt_timeout: Duration,
}

impl ClientConfig {
    /// A client of the cluster of this name, without seeds.
    pub fn new(cluster: impl Into<String>) -> ClientConfig {
        ClientConfig {
            cluster: cluster.into(),
            cookie: String::new(),
            name: "client".into(),
            seeds: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_millis(1500),
        }
    }

    /// Adds the `host:port` of a node to begin with; the others are found through it. At most
    /// [`CLIENT_SEEDS_MAX`].
    pub fn seed(mut self, address: impl Into<String>) -> ClientConfig {
        self.seeds.push(address.into());
        self
    }

    /// Adds several seeds.
    pub fn seeds<A: Into<String>>(mut self, addresses: impl IntoIterator<Item = A>) -> Self {
        self.seeds.extend(addresses.into_iter().map(Into::into));
        self
    }

    /// The secret that all processes of the cluster share. Empty unless set.
    pub fn cookie(mut self, cookie: impl Into<String>) -> ClientConfig {
        self.cookie = cookie.into();
        self
    }

    /// What the nodes call this client when they show who is connected. `client` unless set.
    pub fn name(mut self, name: impl Into<String>) -> ClientConfig {
        self.name = name.into();
        self
    }

    /// How long connecting may take. 10 seconds unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientConfig {
        self.connect_timeout = timeout;
        self
    }

    /// How long a request may take with all its retries. 5 seconds unless set.
    pub fn request_timeout(mut self, timeout: Duration) -> ClientConfig {
        self.request_timeout = timeout;
        self
    }

    /// How long one node may take for a request before another one is asked. 1.5 seconds unless
    /// set.
    pub fn attempt_timeout(mut self, timeout: Duration) -> ClientConfig {
        self.attempt_timeout = timeout;
        self
    }

    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        let invalid = |reason: String| Err(ConnectError::Invalid(reason));
        check_name("cluster", &self.cluster)
            .map_err(|error| ConnectError::Invalid(error.to_string()))?;
        if self.name.len() > NAME_BYTES_MAX {
            return invalid(format!(
                "a client's name has {NAME_BYTES_MAX} bytes at most"
            ));
        }
        if self.seeds.is_empty() {
            return invalid("at least one seed is needed".into());
        }
        if self.seeds.len() > CLIENT_SEEDS_MAX {
            return invalid(format!(
                "{CLIENT_SEEDS_MAX} seeds are possible, not {}",
                self.seeds.len()
            ));
        }
        let timeouts = [
            ("connect", self.connect_timeout),
            ("request", self.request_timeout),
            ("attempt", self.attempt_timeout),
        ];
        for (what, timeout) in timeouts {
            let most = Duration::from_millis(REQUEST_TIMEOUT_MS_MAX);
            if timeout < Duration::from_millis(1) || timeout > most {
                return invalid(format!(
                    "the {what} timeout is 1 to {REQUEST_TIMEOUT_MS_MAX} ms, not {timeout:?}"
                ));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("cluster", &self.cluster)
            .field("name", &self.name)
            .field("seeds", &self.seeds)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("attempt_timeout", &self.attempt_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_configuration_is_refused_before_anything_is_opened() {
        let good = || ClientConfig::new("demo").seed("h:1");
        assert!(good().check().is_ok());
        let bad = [
            ("no seed", ClientConfig::new("demo")),
            ("cluster name", ClientConfig::new("a b").seed("h:1")),
            (
                "seeds",
                good().seeds((0..CLIENT_SEEDS_MAX).map(|n| format!("h:{n}"))),
            ),
            ("name", good().name("n".repeat(NAME_BYTES_MAX + 1))),
            ("zero", good().attempt_timeout(Duration::ZERO)),
            ("endless", good().request_timeout(Duration::MAX)),
        ];
        for (what, config) in bad {
            assert!(
                matches!(config.check(), Err(ConnectError::Invalid(_))),
                "{what}"
            );
        }
    }

    #[test]
    fn the_cookie_is_not_printed() {
        let config = ClientConfig::new("demo").cookie("s3cret");
        assert!(!format!("{config:?}").contains("s3cret"));
    }
}
