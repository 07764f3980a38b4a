//! Namespaces and scans of them.

use std::sync::Arc;
use std::time::Duration;

use engram_core::types::{Blob, Key};
use engram_core::wire::Written;
use futures::StreamExt;

use super::{Background, Call};
use crate::watch::Watch;
use crate::{ClientError, Delete, Entry, EntryStream, Head, IntoKey, Put, Scan, Search};

/// As [`crate::Namespace`], for threads. Cheap to clone.
#[derive(Clone)]
pub struct Namespace {
    pub(super) namespace: crate::Namespace,
    pub(super) background: Arc<Background>,
}

impl Namespace {
    fn call<B>(&self, builder: B) -> Call<B> {
        Call::new(builder, &self.background)
    }

    /// The async namespace behind this one, for [`Client::run`](super::Client::run).
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

    /// As [`crate::Namespace::watch`]; ends with [`Call::events`].
    pub fn watch(&self, prefix: impl Into<Blob>) -> Call<Watch> {
        self.call(self.namespace.watch(prefix))
    }

    /// As [`crate::Namespace::watch_similar`]; ends with [`Call::events`].
    pub fn watch_similar(&self, text: impl Into<String>, threshold: f32) -> Call<Watch> {
        self.call(self.namespace.watch_similar(text, threshold))
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
