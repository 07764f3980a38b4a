//! Many keys at a time: requests in parallel, results in order.

use std::future::{Future, IntoFuture};

use engram_core::limits::CLIENT_BULK_IN_FLIGHT_MAX;
use engram_core::types::Blob;
use engram_core::wire::Written;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream;

use crate::{ClientError, Entry, IntoKey, Namespace, Put};

impl Namespace {
    /// Writes many keys, some hundred at a time. Each is a write of its own with a result of its
    /// own, in the order given; together they are not atomic.
    ///
    /// ```no_run
    /// # async fn run(users: engram_client::Namespace) -> Result<(), engram_client::ClientError> {
    /// for result in users.put_many([("a", "1"), ("b", "2")]).await {
    ///     result?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn put_many<K: IntoKey, V: Into<Blob>>(
        &self,
        items: impl IntoIterator<Item = (K, V)>,
    ) -> BoxFuture<'static, Vec<Result<Written, ClientError>>> {
        let puts = items.into_iter().map(|(key, value)| self.put(key, value));
        Namespace::put_all(puts)
    }

    /// As [`Namespace::put_many`], for writes with options, of any namespaces.
    pub fn put_all(
        puts: impl IntoIterator<Item = Put>,
    ) -> BoxFuture<'static, Vec<Result<Written, ClientError>>> {
        Box::pin(in_order(puts.into_iter().map(Put::into_future).collect()))
    }

    /// Reads many keys, some hundred at a time. Each has a result of its own, in the order given;
    /// together they are no snapshot.
    pub fn get_many<K: IntoKey>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BoxFuture<'static, Vec<Result<Option<Entry>, ClientError>>> {
        let gets = keys.into_iter().map(|key| {
            let (namespace, key) = (self.clone(), key.into_key());
            async move { namespace.get(key?).await }
        });
        Box::pin(in_order(gets.collect()))
    }
}

/// Runs a bounded number of futures at a time; results come in the order of the futures.
async fn in_order<F: Future>(futures: Vec<F>) -> Vec<F::Output> {
    stream::iter(futures)
        .buffered(CLIENT_BULK_IN_FLIGHT_MAX)
        .collect()
        .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn results_keep_their_order_and_few_run_at_a_time() {
        let (running, most) = (Cell::new(0), Cell::new(0));
        let count = 3 * CLIENT_BULK_IN_FLIGHT_MAX;
        let tasks = (0..count).map(|number| {
            let (running, most) = (&running, &most);
            async move {
                running.set(running.get() + 1);
                most.set(most.get().max(running.get()));
                for _ in 0..number % 3 {
                    tokio::task::yield_now().await;
                }
                running.set(running.get() - 1);
                number
            }
        });
        let results = in_order(tasks.collect()).await;
        assert!(results.iter().copied().eq(0..count));
        assert!((2..=CLIENT_BULK_IN_FLIGHT_MAX).contains(&most.get()));
    }

    #[tokio::test]
    async fn nothing_to_do_is_done() {
        let nothing = in_order(Vec::<std::future::Ready<()>>::new());
        assert!(nothing.await.is_empty());
    }
}
