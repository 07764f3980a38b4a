//! Which connections this process has, so that clients of one cluster share one.
//!
//! ractor keeps its registries per process, so two endpoints to one cluster would advertise each
//! other's actors to the nodes. Clients in the same runtime with the same cluster and cookie share
//! an endpoint; others get their own, which works, at the cost of a redial where the registries
//! mix the two up.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};

use tokio::runtime;

use super::Connection;
use super::switchboard::lock;

/// What clients must have in common to share a connection.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Share {
    cluster: String,
    cookie: String,
    runtime: runtime::Id,
}

static OPEN: Mutex<Vec<(Share, Weak<Connection>)>> = Mutex::new(Vec::new());

impl Share {
    pub(super) fn new(cluster: &str, cookie: &str, runtime: runtime::Id) -> Share {
        Share {
            cluster: cluster.into(),
            cookie: cookie.into(),
            runtime,
        }
    }

    /// The connection of this kind, with one more user, if there is one.
    pub(super) fn join(&self) -> Option<Arc<Connection>> {
        let mut open = lock(&OPEN);
        open.retain(|(_, connection)| connection.strong_count() > 0);
        open.iter()
            .filter(|(share, _)| share == self)
            .find_map(|(_, connection)| {
                let connection = connection.upgrade()?;
                if connection.is_closed() || !is_used(&connection.users) {
                    return None;
                }
                connection.users.fetch_add(1, Ordering::AcqRel);
                Some(connection)
            })
    }

    /// Offers a connection to later clients.
    pub(super) fn offer(&self, connection: &Arc<Connection>) {
        lock(&OPEN).push((self.clone(), Arc::downgrade(connection)));
    }

    /// One user less; whether it was the last. Takes the lock so that nobody joins meanwhile.
    pub(super) fn leave(&self, users: &AtomicUsize) -> bool {
        let _open = lock(&OPEN);
        users.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

fn is_used(users: &AtomicUsize) -> bool {
    users.load(Ordering::Acquire) > 0
}
