//! The client itself: connecting, asking, namespaces.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use engram_core::types::{
    Change, ClusterConfig, Condition, MemberId, Millis, Namespace as NamespaceConfig, NamespaceId,
    NamespaceOptions, RecordKey, Write, WriteId,
};
use engram_core::wire::{ClientRequest, OpenNamespace, Put, Request, Written};

use crate::cache::Caches;
use crate::connection::{Connection, Patience};
use crate::{ClientConfig, ClientError, ConnectError, Namespace};

/// A client of one cluster. Cheap to clone; all clones share one connection, and so do further
/// clients of the same cluster in this process.
///
/// Dropping the last clone closes it in the background; [`Client::close`] waits for that.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
}

struct Inner {
    connection: Arc<Connection>,
    request_timeout: Duration,
    attempt_timeout: Duration,
    /// Names this client in the ids of its writes.
    writer: u64,
    next_write: AtomicU64,
    is_closed: AtomicBool,
}

impl Client {
    /// Connects to a cluster: dials the seeds, waits for the first link, fetches the
    /// configuration, and begins to dial all members. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`ConnectError`], with the last error of every seed; a wrong cookie or cluster is reported
    /// at once, everything else when the connect timeout has passed.
    pub async fn connect(config: ClientConfig) -> Result<Client, ConnectError> {
        let writer = getrandom::u64().map_err(ConnectError::Entropy)?;
        let connection = Connection::open(&config).await?;
        Ok(Client {
            inner: Arc::new(Inner {
                connection,
                request_timeout: config.request_timeout,
                attempt_timeout: config.attempt_timeout,
                writer,
                next_write: AtomicU64::new(0),
                is_closed: AtomicBool::new(false),
            }),
        })
    }

    /// Sends any request to whoever can carry it out, and repeats it as often as needed.
    ///
    /// A [`Put`](engram_core::wire::Put) made by hand is applied at most once by the id in it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, ClientError> {
        self.ask_as(request, false).await
    }

    /// As [`Client::ask`], but one node may take all the time there is.
    pub(crate) async fn ask_once<R: Request>(&self, request: R) -> Result<R::Reply, ClientError> {
        let timeout = self.inner.request_timeout;
        self.call(request, false, Patience::new(timeout, timeout))
            .await
    }

    async fn ask_as<R: Request>(&self, request: R, is_own: bool) -> Result<R::Reply, ClientError> {
        self.call(request, is_own, self.patience()).await
    }

    async fn call<R: Request>(
        &self,
        request: R,
        is_own: bool,
        patience: Patience,
    ) -> Result<R::Reply, ClientError> {
        self.check_open()?;
        let request = request.into_wire();
        let write_id = write_id_of(&request);
        let connection = &self.inner.connection;
        let reply = connection.call(request, is_own, patience).await?;
        R::from_wire(reply).ok_or_else(|| wrong_kind(write_id))
    }

    /// As [`Client::ask`], or as [`Client::ask_node`] if a member is named, with other patience.
    pub(crate) async fn ask_patiently<R: Request>(
        &self,
        member: Option<MemberId>,
        request: R,
        patience: Patience,
    ) -> Result<R::Reply, ClientError> {
        self.check_open()?;
        let (request, connection) = (request.into_wire(), &self.inner.connection);
        let reply = match member {
            Some(member) => connection.call_member(member, request, patience).await?,
            None => connection.call(request, false, patience).await?,
        };
        R::from_wire(reply).ok_or_else(|| wrong_kind(None))
    }

    /// Sends any request to one member, once.
    ///
    /// # Errors
    /// [`ClientError`]; `Unavailable` at once if that member is not connected.
    pub async fn ask_node<R: Request>(
        &self,
        member: MemberId,
        request: R,
    ) -> Result<R::Reply, ClientError> {
        self.check_open()?;
        let request = request.into_wire();
        let write_id = write_id_of(&request);
        let patience = self.patience();
        let reply = self
            .inner
            .connection
            .call_member(member, request, patience)
            .await?;
        R::from_wire(reply).ok_or_else(|| wrong_kind(write_id))
    }

    /// The namespace of that name. Costs nothing; the name is looked up at its first use, and an
    /// unknown name is created then, with defaults.
    pub fn namespace(&self, name: impl Into<String>) -> Namespace {
        Namespace::new(self.clone(), name.into())
    }

    /// Makes sure that a namespace with these options exists.
    ///
    /// # Errors
    /// `Invalid` if the name is not allowed, or exists with other options; else [`ClientError`].
    pub async fn create_namespace(
        &self,
        name: impl Into<String>,
        options: NamespaceOptions,
    ) -> Result<Namespace, ClientError> {
        let name = name.into();
        self.open_namespace(&name, Some(options)).await?;
        Ok(self.namespace(name))
    }

    /// All namespaces, by id.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn namespaces(&self) -> Result<Vec<NamespaceConfig>, ClientError> {
        let config = self.ask(engram_core::wire::GetConfig).await?;
        let namespaces = config.namespaces.clone();
        self.inner.connection.adopt(config);
        Ok(namespaces)
    }

    /// The cluster's configuration, as last heard of.
    pub fn config(&self) -> Arc<ClusterConfig> {
        self.inner
            .connection
            .config()
            .expect("a client is made only after the first configuration came")
    }

    /// The members to which there is a link now.
    pub fn connected(&self) -> Vec<MemberId> {
        self.inner.connection.connected()
    }

    /// The cluster's wall clock, as this client estimates it.
    pub fn cluster_time(&self) -> Millis {
        self.inner.connection.now()
    }

    /// Closes this client and all its clones. If no other client shares the connection, what is
    /// still in flight ends with an error, and this waits until the nodes were told. Idempotent.
    pub async fn close(&self) {
        if self.inner.leave() {
            self.inner.connection.shut_down().await;
        }
    }

    pub(crate) async fn open_namespace(
        &self,
        name: &str,
        options: Option<NamespaceOptions>,
    ) -> Result<NamespaceId, ClientError> {
        engram_core::types::check_name("namespace", name)
            .map_err(|error| ClientError::Invalid(error.to_string()))?;
        let known = |config: &ClusterConfig| config.namespace(name).map(|found| found.id);
        if options.is_none()
            && let Some(id) = known(&self.config())
        {
            return Ok(id);
        }
        let open = OpenNamespace {
            name: name.into(),
            options,
        };
        let config = self.ask(open).await?;
        let id = known(&config);
        self.inner.connection.adopt(config);
        id.ok_or_else(|| ClientError::NotApplied {
            reason: format!("a node opened namespace {name:?}, but did not say its id"),
        })
    }

    /// Changes a key, at most once.
    pub(crate) async fn write(
        &self,
        key: RecordKey,
        change: Change,
        condition: Condition,
    ) -> Result<Written, ClientError> {
        let id = WriteId {
            client: self.inner.writer,
            sequence: self.inner.next_write.fetch_add(1, Ordering::Relaxed),
        };
        let write = Write {
            change,
            condition,
            id,
            since: self.inner.connection.logical_time(),
        };
        self.ask_as(Put { key, write }, true).await
    }

    pub(crate) fn caches(&self) -> &Caches {
        self.inner.connection.caches()
    }

    pub(crate) fn jittered(&self, delay_ms: u64) -> Duration {
        self.inner.connection.jittered(delay_ms)
    }

    fn patience(&self) -> Patience {
        Patience::new(self.inner.request_timeout, self.inner.attempt_timeout)
    }

    pub(crate) fn check_open(&self) -> Result<(), ClientError> {
        if self.inner.is_closed.load(Ordering::Acquire) {
            Err(ClientError::Closed)
        } else {
            Ok(())
        }
    }
}

impl Inner {
    /// Whether the connection is to be shut down.
    fn leave(&self) -> bool {
        !self.is_closed.swap(true, Ordering::AcqRel) && self.connection.leave()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if self.leave() {
            self.connection.shut_down_later();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("cluster", &self.config().cluster)
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

fn write_id_of(request: &ClientRequest) -> Option<WriteId> {
    match request {
        ClientRequest::Put(put) => Some(put.write.id),
        _ => None,
    }
}

/// A node of another release may answer something else.
pub(crate) fn wrong_kind(write_id: Option<WriteId>) -> ClientError {
    let reason = "a node's answer is of another kind than the request".to_owned();
    match write_id {
        Some(write_id) => ClientError::Unknown { write_id, reason },
        None => ClientError::NotApplied { reason },
    }
}
