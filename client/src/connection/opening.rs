//! Opening a connection: endpoint, first link, configuration.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use engram_core::limits::{CLIENT_IN_FLIGHT_MAX, CLIENT_SEEDS_MAX};
use engram_core::protocol::random::Random;
use engram_core::wire::{ClientReply, ClientRequest, GetConfig};
use engram_remote::{Endpoint, EndpointConfig, EndpointKind};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{interval, sleep_until};

use super::sharing::Share;
use super::switchboard::Switchboard;
use super::{Connection, Patience, keep};
use crate::cache::Caches;
use crate::{ClientConfig, ClientError, ConnectError, SeedFailure};

/// How often failed dials are looked at while there is no link yet.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

impl Connection {
    /// Joins the connection that this process has, or opens one.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub(crate) async fn open(config: &ClientConfig) -> Result<Arc<Connection>, ConnectError> {
        config.check()?;
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let share = Share::new(&config.cluster, &config.cookie, runtime.id());
        if let Some(connection) = share.join() {
            connection.add_seeds(&config.seeds);
            if connection.dial().is_ok() {
                return Ok(connection);
            }
            // Its endpoint failed. The clients that have it keep it; this one gets a new one.
            connection.leave();
        }
        let patience = Patience::new(config.connect_timeout, config.attempt_timeout);
        let connection = Connection::start(config, share, runtime).await?;
        let mut guard = Unfinished(Some(connection.clone()));
        connection.first_link(patience).await?;
        connection.first_config(patience).await?;
        guard.0 = None;
        connection.share.offer(&connection);
        Ok(connection)
    }

    async fn start(
        config: &ClientConfig,
        share: Share,
        runtime: Handle,
    ) -> Result<Arc<Connection>, ConnectError> {
        let seed = getrandom::u64().map_err(ConnectError::Entropy)?;
        let switchboard = Arc::new(Switchboard::new(
            config.cluster.clone(),
            config.name.clone(),
        ));
        let mut endpoint = EndpointConfig::new(config.cookie.clone(), EndpointKind::Client);
        endpoint.dial = config.seeds.clone();
        let endpoint = Endpoint::start(endpoint, switchboard.clone()).await?;
        let connection = Arc::new(Connection {
            switchboard,
            endpoint,
            share,
            seeds: Mutex::new(config.seeds.clone()),
            in_flight: Semaphore::new(CLIENT_IN_FLIGHT_MAX),
            next_request: AtomicU64::new(1),
            jitter: Mutex::new(Random::new(seed)),
            users: AtomicUsize::new(1),
            is_closed: AtomicBool::new(false),
            caches: Caches::default(),
            runtime,
        });
        tokio::spawn(keep(Arc::downgrade(&connection), config.attempt_timeout));
        Ok(connection)
    }

    /// Remembers more seeds, as far as there is room.
    fn add_seeds(&self, seeds: &[String]) {
        let mut known = super::lock(&self.seeds);
        for seed in seeds {
            if known.len() < CLIENT_SEEDS_MAX && !known.contains(seed) {
                known.push(seed.clone());
            }
        }
    }

    /// Waits for a link. Gives up early if every seed failed in a way that time does not heal.
    async fn first_link(&self, patience: Patience) -> Result<(), ConnectError> {
        let mut changes = self.switchboard.changes();
        let mut looks = interval(LOOK_INTERVAL);
        loop {
            if self
                .switchboard
                .routes(|routes| routes.connected().next().is_some())
            {
                return Ok(());
            }
            let seeds = self.seed_failures();
            let hopeless = seeds.iter().all(SeedFailure::is_permanent);
            if hopeless || Instant::now() >= patience.until {
                return Err(ConnectError::NoLink { seeds });
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = looks.tick() => {}
                () = sleep_until(patience.until.into()) => {}
            }
        }
    }

    fn seed_failures(&self) -> Vec<SeedFailure> {
        let seeds = super::lock(&self.seeds).clone();
        let targets = self.endpoint.status().targets;
        let failure = |address: String| {
            let target = targets.iter().find(|target| target.address == address);
            SeedFailure {
                error: target.and_then(|target| target.last_error.clone()),
                address,
            }
        };
        seeds.into_iter().map(failure).collect()
    }

    async fn first_config(&self, patience: Patience) -> Result<(), ConnectError> {
        let request = ClientRequest::GetConfig(GetConfig);
        let reason = match self.call(request, false, patience).await {
            Ok(ClientReply::Config(config)) => {
                self.adopt(config);
                return Ok(());
            }
            Ok(_) => "a node answered something else".to_owned(),
            Err(ClientError::NotApplied { reason }) => reason,
            Err(error) => error.to_string(),
        };
        Err(ConnectError::NotServing { reason })
    }
}

/// Closes a connection that nobody came to use, also when connecting was cancelled.
struct Unfinished(Option<Arc<Connection>>);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take()
            && connection.leave()
        {
            connection.shut_down_later();
        }
    }
}
