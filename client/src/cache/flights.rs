//! Single flight: of all who want the same thing at the same time, one gets it for all.
//!
//! A flight belongs to those who wait for it. It goes on while any of them is left, whoever began
//! it, and ends unfinished with the last of them: nothing runs for nobody.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};

use crate::connection::lock;

/// What callers wait for.
pub(super) type Flight<T> = Shared<BoxFuture<'static, T>>;

/// The flights that are under way, by what they are for. At most one for each caller.
pub(super) struct Flights<T: Clone> {
    inner: Arc<Mutex<Inner<T>>>,
}

struct Inner<T: Clone> {
    flying: BTreeMap<String, (u64, WeakShared<BoxFuture<'static, T>>)>,
    last: u64,
}

impl<T: Clone> Default for Flights<T> {
    fn default() -> Flights<T> {
        let inner = Inner {
            flying: BTreeMap::new(),
            last: 0,
        };
        Flights {
            inner: Arc::new(Mutex::new(inner)),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Joins the flight for `name`, or begins one with `make`; says whether it was joined.
    pub(super) fn join<F>(&self, name: &str, make: impl FnOnce() -> F) -> (Flight<T>, bool)
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut inner = lock(&self.inner);
        let flying = inner.flying.get(name).and_then(|(_, weak)| weak.upgrade());
        if let Some(flight) = flying {
            return (flight, true);
        }
        inner.last += 1;
        let landing = Landing {
            flights: self.inner.clone(),
            name: name.to_owned(),
            number: inner.last,
        };
        let number = landing.number;
        let work = make();
        let flight = async move {
            let _landing = landing;
            work.await
        };
        let flight = flight.boxed().shared();
        if let Some(weak) = flight.downgrade() {
            inner.flying.insert(name.to_owned(), (number, weak));
        }
        (flight, false)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        lock(&self.inner).flying.len()
    }
}

/// Forgets a flight that ends, finished or not.
struct Landing<T: Clone> {
    flights: Arc<Mutex<Inner<T>>>,
    name: String,
    number: u64,
}

impl<T: Clone> Drop for Landing<T> {
    fn drop(&mut self) {
        let mut inner = lock(&self.flights);
        // Another may have begun for the same name.
        if inner
            .flying
            .get(&self.name)
            .is_some_and(|(number, _)| *number == self.number)
        {
            inner.flying.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    /// Begins or joins a flight that ends with what is sent.
    fn join(
        flights: &Flights<u32>,
        runs: &Arc<AtomicUsize>,
    ) -> (Flight<u32>, Option<oneshot::Sender<u32>>) {
        let (send, receive) = oneshot::channel();
        let runs = runs.clone();
        let (flight, joined) = flights.join("prompt", || async move {
            runs.fetch_add(1, Ordering::SeqCst);
            receive.await.unwrap_or_default()
        });
        (flight, (!joined).then_some(send))
    }

    #[tokio::test]
    async fn callers_at_the_same_time_share_one_run() {
        let (flights, runs) = (Flights::default(), Arc::default());
        let (first, send) = join(&flights, &runs);
        let (second, none) = join(&flights, &runs);
        let first = tokio::spawn(first);
        assert!(none.is_none(), "it was joined");
        send.expect("it began").send(7).expect("somebody waits");
        assert_eq!((second.await, first.await.expect("no panic")), (7, 7));
        assert_eq!((runs.load(Ordering::SeqCst), flights.len()), (1, 0));
        let (_later, send) = join(&flights, &runs);
        assert!(send.is_some(), "what is over is not joined");
    }

    #[tokio::test]
    async fn a_flight_outlives_whoever_began_it_and_ends_with_the_last() {
        let (flights, runs) = (Flights::default(), Arc::default());
        let (mut first, send) = join(&flights, &runs);
        assert!(futures::poll!(&mut first).is_pending());
        let (second, _) = join(&flights, &runs);
        drop(first);
        let second = tokio::spawn(second);
        send.expect("it began").send(8).expect("somebody waits");
        assert_eq!(second.await.expect("no panic"), 8);

        let (mut lonely, send) = join(&flights, &runs);
        assert!(futures::poll!(&mut lonely).is_pending());
        assert_eq!(flights.len(), 1);
        drop(lonely);
        assert_eq!(flights.len(), 0);
        assert!(send.expect("it began").send(9).is_err(), "nobody waits");
        assert_eq!(runs.load(Ordering::SeqCst), 2);
    }
}
