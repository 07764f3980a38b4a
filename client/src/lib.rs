//! The typed client of Engram, a masterless durable replicated key-value store that also searches.
//!
//! ```no_run
//! use std::time::Duration;
//! use engram_client::{Client, ClientConfig, ClientError};
//!
//! # async fn run() -> Result<(), ClientError> {
//! let config = ClientConfig::new("demo").seed("127.0.0.1:7101").cookie("secret");
//! let client = Client::connect(config).await?;
//! let users = client.namespace("users");
//! users.put("user:1", r#"{"name":"Ada"}"#).ttl(Duration::from_secs(3600)).tag("eu").await?;
//! if let Some(entry) = users.get("user:1").await? {
//!     users.put("user:1", "changed").if_version(entry.version).await?;
//! }
//! let page = users.scan("user:").limit(100).await?;
//! # drop(page);
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What a client does
//!
//! It keeps a link to every member of the cluster and sends each request straight to the first
//! live replica of the key's shard; any other node would pass it on. Requests are repeated, at
//! another node if need be, until there is a final result or the time is up. **A write is applied
//! at most once, however often it is repeated**: all attempts carry one id, and nodes recognise
//! it.
//!
//! # Errors
//!
//! [`ClientError`] is sorted by what can be done. All variants but one say that a write had no
//! effect; [`ClientError::Unknown`] says that it may have had, or may yet have.

pub mod blocking;
mod bulk;
pub mod cache;
mod client;
mod config;
mod connection;
mod cursor;
mod entry;
mod error;
mod failures;
mod key;
mod namespace;
mod scan;
mod search;
mod status;
mod update;
mod values;
pub mod watch;
mod writing;

pub use cache::SemanticCache;
pub use client::Client;
pub use config::ClientConfig;
pub use cursor::{Cursor, CursorError};
pub use engram_core::index::{EmbedOutlook, ExpressionError, ModelId, Snippet, TextExpression};
pub use engram_core::types::{
    Ballot as Version, Blob, IndexSource, Key, MemberId, Millis, Namespace as NamespaceConfig,
    NamespaceId, NamespaceOptions, TextLanguage, WriteId,
};
pub use engram_core::wire::{
    EmbedderStatus, Explanation, MissingEmbedder, NamespaceStatus, NodeStatus, PartitionStatus,
    Request, Standing, Written,
};
pub use entry::{Entry, Head};
pub use error::{ClientError, ConnectError, SeedFailure, ValueError};
pub use failures::EmbedFailure;
pub use key::IntoKey;
pub use namespace::Namespace;
pub use scan::{EntryStream, Page, Scan};
pub use search::{Found, Hit, Search};
pub use status::{ClusterStats, Health, NodeReport};
pub use writing::{Delete, Put};
