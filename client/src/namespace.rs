//! A namespace: a named set of keys, and what can be done with them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use engram_core::types::{Blob, Change, Condition, Key, NamespaceId, RecordKey};
use engram_core::wire::Get;
use tokio::sync::OnceCell;

use crate::writing::{expiry_after, write};
use crate::{Client, ClientError, Delete, Entry, Head, IntoKey, Put};

/// A namespace of a cluster. Cheap to clone. Made by [`Client::namespace`].
#[derive(Clone)]
pub struct Namespace {
    client: Client,
    shared: Arc<Shared>,
}

struct Shared {
    name: String,
    /// Many that come at the same time wait for the first one's answer.
    id: OnceCell<NamespaceId>,
}

impl Namespace {
    pub(crate) fn new(client: Client, name: String) -> Namespace {
        let id = OnceCell::new();
        Namespace {
            client,
            shared: Arc::new(Shared { name, id }),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// The client that it belongs to.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its id in the cluster. Creates the namespace with defaults if there is none of this name.
    ///
    /// # Errors
    /// `Invalid` if the name is not allowed; else [`ClientError`].
    pub async fn id(&self) -> Result<NamespaceId, ClientError> {
        let open = || self.client.open_namespace(&self.shared.name, None);
        // Names keep their ids for ever.
        self.shared.id.get_or_try_init(open).await.copied()
    }

    pub(crate) async fn record_key(&self, key: Key) -> Result<RecordKey, ClientError> {
        Ok(RecordKey {
            namespace: self.id().await?,
            key,
        })
    }

    /// Reads a key, linearizably: no older than any write acknowledged before, by whomever.
    /// None if it holds no value.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn get(&self, key: impl IntoKey) -> Result<Option<Entry>, ClientError> {
        self.read(key.into_key()?, true).await
    }

    /// As [`Namespace::get`], without the value.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn head(&self, key: impl IntoKey) -> Result<Option<Head>, ClientError> {
        let found = self.read(key.into_key()?, false).await?;
        Ok(found.map(Head::from))
    }

    /// Whether a key holds a value.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn exists(&self, key: impl IntoKey) -> Result<bool, ClientError> {
        Ok(self.head(key).await?.is_some())
    }

    async fn read(&self, key: Key, with_value: bool) -> Result<Option<Entry>, ClientError> {
        let key = self.record_key(key).await?;
        let found = self.client.ask(Get { key, with_value }).await?;
        let now = self.client.cluster_time();
        Ok(found.map(|entry| Entry::from_wire(entry, now)))
    }

    /// Writes a key when awaited; see [`Put`] for conditions, tags and time to live. A value has
    /// at most [`engram_core::limits::VALUE_BYTES_MAX`] bytes.
    pub fn put(&self, key: impl IntoKey, value: impl Into<Blob>) -> Put {
        let key = key.into_key().map_err(ClientError::from);
        Put::new(self.clone(), key, value.into())
    }

    /// Deletes a key when awaited; returns whether it held a value. See [`Delete`].
    pub fn delete(&self, key: impl IntoKey) -> Delete {
        Delete::new(self.clone(), key.into_key().map_err(ClientError::from))
    }

    /// Lets the value of a key end after `ttl` from now, whatever was set before. Returns whether
    /// the key holds a value.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn touch(&self, key: impl IntoKey, ttl: Duration) -> Result<bool, ClientError> {
        let expires_at = expiry_after(ttl, self.client.cluster_time())?;
        self.set_expiry(key.into_key()?, Some(expires_at)).await
    }

    /// Lets the value of a key stay for ever. Returns whether the key holds a value.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn persist(&self, key: impl IntoKey) -> Result<bool, ClientError> {
        self.set_expiry(key.into_key()?, None).await
    }

    async fn set_expiry(
        &self,
        key: Key,
        expires_at: Option<engram_core::types::Millis>,
    ) -> Result<bool, ClientError> {
        let change = Change::SetExpiry { expires_at };
        match write(self, key, change, Condition::Any).await {
            Ok(_) => Ok(true),
            Err(ClientError::Conflict { current: None }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.shared.name)
            .field("id", &self.shared.id.get())
            .finish_non_exhaustive()
    }
}
