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

use std::future::{Future, IntoFuture};
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engram_core::types::{Blob, Key, NamespaceOptions};
use engram_core::wire::{Request, Written};
use futures::StreamExt;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

use crate::connection::lock;
use crate::{
    ClientConfig, ClientError, ClusterStats, ConnectError, Delete, Entry, EntryStream, Head,
    Health, IntoKey, Put, Scan, Search,
};

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
    /// [`ClientError`].
    pub fn send<T>(self) -> Result<T, ClientError>
    where
        T: Send + 'static,
        B: IntoFuture<Output = Result<T, ClientError>>,
        B::IntoFuture: Send + 'static,
    {
        self.background.run(self.builder.into_future())?
    }
}

impl Call<Scan> {
    /// All entries, page after page. Ends after the first error.
    pub fn entries(self) -> Entries {
        Entries {
            stream: Some(self.builder.stream()),
            background: self.background,
        }
    }
}

/// An iterator over the entries of a scan.
pub struct Entries {
    stream: Option<EntryStream>,
    background: Arc<Background>,
}

impl Iterator for Entries {
    type Item = Result<(Key, Entry), ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut stream = self.stream.take()?;
        let taking = async move { (stream.next().await, stream) };
        match self.background.run(taking) {
            Ok((Some(Ok(entry)), stream)) => {
                self.stream = Some(stream);
                Some(Ok(entry))
            }
            Ok((last, _)) => last,
            Err(error) => Some(Err(error)),
        }
    }
}

/// As [`crate::Namespace`], for threads. Cheap to clone.
#[derive(Clone)]
pub struct Namespace {
    namespace: crate::Namespace,
    background: Arc<Background>,
}

impl Namespace {
    fn call<B>(&self, builder: B) -> Call<B> {
        Call {
            builder,
            background: self.background.clone(),
        }
    }

    /// The async namespace behind this one, for [`Client::run`].
    pub fn to_async(&self) -> crate::Namespace {
        self.namespace.clone()
    }

    /// As [`crate::Namespace::get`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn get(&self, key: impl IntoKey) -> Result<Option<Entry>, ClientError> {
        let (namespace, key) = (self.namespace.clone(), key.into_key()?);
        self.background
            .run(async move { namespace.get(key).await })?
    }

    /// As [`crate::Namespace::head`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn head(&self, key: impl IntoKey) -> Result<Option<Head>, ClientError> {
        let (namespace, key) = (self.namespace.clone(), key.into_key()?);
        self.background
            .run(async move { namespace.head(key).await })?
    }

    /// As [`crate::Namespace::embed_failures`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn embed_failures(&self) -> Result<Vec<crate::EmbedFailure>, ClientError> {
        let namespace = self.namespace.clone();
        self.background
            .run(async move { namespace.embed_failures().await })?
    }

    /// As [`crate::Namespace::exists`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn exists(&self, key: impl IntoKey) -> Result<bool, ClientError> {
        Ok(self.head(key)?.is_some())
    }

    /// As [`crate::Namespace::put`]; ends with [`Call::send`].
    pub fn put(&self, key: impl IntoKey, value: impl Into<Blob>) -> Call<Put> {
        self.call(self.namespace.put(key, value))
    }

    /// As [`crate::Namespace::delete`]; ends with [`Call::send`].
    pub fn delete(&self, key: impl IntoKey) -> Call<Delete> {
        self.call(self.namespace.delete(key))
    }

    /// As [`crate::Namespace::scan`]; ends with [`Call::send`] or [`Call::entries`].
    pub fn scan(&self, prefix: impl Into<Blob>) -> Call<Scan> {
        self.call(self.namespace.scan(prefix))
    }

    /// As [`crate::Namespace::search`]; ends with [`Call::send`].
    pub fn search(&self, query: impl Into<String>) -> Call<Search> {
        self.call(self.namespace.search(query))
    }

    /// As [`crate::Namespace::touch`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn touch(&self, key: impl IntoKey, ttl: Duration) -> Result<bool, ClientError> {
        let (namespace, key) = (self.namespace.clone(), key.into_key()?);
        self.background
            .run(async move { namespace.touch(key, ttl).await })?
    }

    /// As [`crate::Namespace::persist`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn persist(&self, key: impl IntoKey) -> Result<bool, ClientError> {
        let (namespace, key) = (self.namespace.clone(), key.into_key()?);
        self.background
            .run(async move { namespace.persist(key).await })?
    }

    /// As [`crate::Namespace::update`]. `change` runs on the client's thread.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn update<V: Into<Blob> + Send + 'static>(
        &self,
        key: impl IntoKey,
        change: impl FnMut(Option<&Entry>) -> Option<V> + Send + 'static,
    ) -> Result<Option<Written>, ClientError> {
        let (namespace, key) = (self.namespace.clone(), key.into_key()?);
        self.background
            .run(async move { namespace.update(key, change).await })?
    }

    /// As [`crate::Namespace::increment`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn increment(&self, key: impl IntoKey, by: i64) -> Result<i64, ClientError> {
        let (namespace, key) = (self.namespace.clone(), key.into_key()?);
        self.background
            .run(async move { namespace.increment(key, by).await })?
    }

    /// As [`crate::Namespace::count`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn count(&self, prefix: impl Into<Blob>) -> Result<u64, ClientError> {
        let (namespace, prefix) = (self.namespace.clone(), prefix.into());
        self.background
            .run(async move { namespace.count(prefix).await })?
    }

    /// As [`crate::Namespace::delete_prefix`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn delete_prefix(&self, prefix: impl Into<Blob>) -> Result<u64, ClientError> {
        let (namespace, prefix) = (self.namespace.clone(), prefix.into());
        self.background
            .run(async move { namespace.delete_prefix(prefix).await })?
    }

    /// As [`crate::Namespace::delete_by_tag`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn delete_by_tag(&self, tag: impl Into<String>) -> Result<u64, ClientError> {
        let (namespace, tag) = (self.namespace.clone(), tag.into());
        self.background
            .run(async move { namespace.delete_by_tag(&tag).await })?
    }

    /// As [`crate::Namespace::clear`].
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn clear(&self) -> Result<u64, ClientError> {
        self.delete_prefix("")
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
