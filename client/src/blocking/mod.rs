//! The client for programs without async: every call waits.
//!
//! ```no_run
//! use std::time::Duration;
//! use engram_client::{ClientConfig, ClientError, blocking};
//!
//! fn main() -> Result<(), ClientError> {
//!     let config = ClientConfig::new("demo").seed("127.0.0.1:7101").cookie("secret");
//!     let client = blocking::Client::connect(config)?;
//!     let users = client.namespace("users");
//!     users.put("user:1", "Ada").with(|put| put.ttl(Duration::from_secs(60)).tag("eu")).send()?;
//!     println!("{:?}", users.get("user:1")?);
//!     for item in users.scan("user:").entries() {
//!         let (key, entry) = item?;
//!         println!("{} = {}", key.to_text(), entry.text()?);
//!     }
//!     let found = users.search("mathematician").with(|search| search.hybrid().top_k(3)).send()?;
//!     for hit in found.hits {
//!         println!("{:.3} {}", hit.score, hit.key.to_text());
//!     }
//!     client.close();
//!     Ok(())
//! }
//! ```
//!
//! [`SemanticCache`] shows how answers are cached, [`Events`] how keys are watched.

mod cache;
mod namespace;
mod watch;

use std::future::{Future, IntoFuture};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use engram_core::types::NamespaceOptions;
use engram_core::wire::Request;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

pub use self::cache::SemanticCache;
pub use self::namespace::{Entries, Namespace};
pub use self::watch::Events;

use crate::connection::lock;
use crate::{ClientConfig, ClientError, ClusterStats, ConnectError, Health};

/// A thread with a runtime, which lives as long as anybody has use for it.
struct Background {
    handle: Handle,
    /// Taken when the thread is to end.
    running: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Background {
    fn start() -> Result<Arc<Background>, ConnectError> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ConnectError::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("engram-client".into())
            .spawn(move || {
                // It ends when told to, or when nobody is left who could tell.
                let _ = runtime.block_on(stopped);
            })
            .map_err(ConnectError::Thread)?;
        Ok(Arc::new(Background {
            handle,
            running: Mutex::new(Some((stop, thread))),
        }))
    }

    /// Runs a future to its end and waits for that; works on any thread but its own.
    fn run<T, F>(&self, future: F) -> Result<T, ClientError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let (answer, result) = mpsc::sync_channel(1);
        self.handle.spawn(async move {
            let _ = answer.send(future.await);
        });
        result.recv().map_err(|_| ClientError::Closed)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some((stop, thread)) = lock(&self.running).take() {
            let _ = stop.send(());
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

/// As [`crate::Client`], for threads. Cheap to clone. It runs on a thread of its own, and works
/// within async programs too, although it blocks the caller.
#[derive(Clone)]
pub struct Client {
    client: crate::Client,
    background: Arc<Background>,
}

impl Client {
    /// As [`crate::Client::connect`].
    ///
    /// # Errors
    /// [`ConnectError`].
    pub fn connect(config: ClientConfig) -> Result<Client, ClientError> {
        let background = Background::start()?;
        let client = background.run(crate::Client::connect(config))??;
        Ok(Client { client, background })
    }

    /// The namespace of that name; see [`crate::Client::namespace`].
    pub fn namespace(&self, name: impl Into<String>) -> Namespace {
        Namespace {
            namespace: self.client.namespace(name),
            background: self.background.clone(),
        }
    }

    /// The semantic cache in the namespace of that name; see [`crate::Client::semantic_cache`].
    pub fn semantic_cache(&self, name: impl Into<String>) -> SemanticCache {
        SemanticCache {
            cache: self.client.semantic_cache(name),
            background: self.background.clone(),
        }
    }

    /// As [`crate::Client::create_namespace`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn create_namespace(
        &self,
        name: impl Into<String>,
        options: NamespaceOptions,
    ) -> Result<Namespace, ClientError> {
        let (client, name) = (self.client.clone(), name.into());
        let creating = async move { client.create_namespace(name, options).await };
        Ok(Namespace {
            namespace: self.background.run(creating)??,
            background: self.background.clone(),
        })
    }

    /// As [`crate::Client::ask`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn ask<R>(&self, request: R) -> Result<R::Reply, ClientError>
    where
        R: Request + Send + 'static,
        R::Reply: Send + 'static,
    {
        let client = self.client.clone();
        self.run(async move { client.ask(request).await })?
    }

    /// As [`crate::Client::cluster_stats`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn cluster_stats(&self) -> Result<ClusterStats, ClientError> {
        let client = self.client.clone();
        self.run(async move { client.cluster_stats().await })?
    }

    /// As [`crate::Client::health`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn health(&self) -> Result<Health, ClientError> {
        let client = self.client.clone();
        self.run(async move { client.health().await })?
    }

    /// The async client behind this one, for [`Client::run`].
    pub fn to_async(&self) -> crate::Client {
        self.client.clone()
    }

    /// Runs any future on the client's thread and waits for it. The future must not itself wait
    /// for a blocking client.
    ///
    /// # Errors
    /// [`ClientError::Closed`] if it panicked.
    pub fn run<T, F>(&self, future: F) -> Result<T, ClientError>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        self.background.run(future)
    }

    /// As [`crate::Client::close`].
    pub fn close(&self) {
        let client = self.client.clone();
        // An error means that the thread is gone, and the connection with it.
        let _ = self.run(async move { client.close().await });
    }
}

/// A call that may be given options before it is sent.
#[must_use = "nothing happens before it is sent"]
pub struct Call<B> {
    builder: B,
    background: Arc<Background>,
}

impl<B> Call<B> {
    fn new(builder: B, background: &Arc<Background>) -> Call<B> {
        Call {
            builder,
            background: background.clone(),
        }
    }

    /// Sets options, on the builder of the async call.
    pub fn with(self, set: impl FnOnce(B) -> B) -> Call<B> {
        Call {
            builder: set(self.builder),
            background: self.background,
        }
    }

    /// Sends it and waits for the result.
    ///
    /// # Errors
    /// Those of the async call.
    pub fn send<T, E>(self) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ClientError> + Send + 'static,
        B: IntoFuture<Output = Result<T, E>>,
        B::IntoFuture: Send + 'static,
    {
        self.background.run(self.builder.into_future())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn futures_run_on_the_thread_and_its_end_is_waited_for() {
        let background = Background::start().expect("a thread");
        let here = thread::current().id();
        let there = background.run(async { thread::current().id() });
        assert!(there.is_ok_and(|there| there != here));
        let failed = background.run(async { panic!("a panic stays on the thread") });
        assert!(matches!(failed, Err::<(), _>(ClientError::Closed)));
        assert!(background.run(async { 7 }).is_ok_and(|seven| seven == 7));
    }

    #[tokio::test]
    async fn it_may_be_used_and_dropped_within_async_code() {
        let background = Background::start().expect("a thread");
        assert!(background.run(async { 7 }).is_ok());
        drop(background);
    }

    #[test]
    fn a_bad_configuration_is_an_error() {
        let error = Client::connect(ClientConfig::new("demo")).err();
        assert!(matches!(
            error,
            Some(ClientError::Connect(ConnectError::Invalid(_)))
        ));
    }
}
