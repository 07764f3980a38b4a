//! Concurrent clients that put, compare-and-set, delete and get, and record how it ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use engram_client::{ClientError, Entry, Namespace};
use engram_core::protocol::random::Random;
use engram_core::types::{Condition, Key, WriteId};
use engram_simulations::history::{Operation, Outcome};
use tokio::task::JoinSet;

use crate::recorder::{Recorder, value};
use crate::waiting;

/// Records what the last reads of all keys saw.
const LAST_READER: u32 = u32::MAX;
/// How long a last read of one key may be tried.
const LAST_READ_DEADLINE: Duration = Duration::from_secs(60);
/// A client whose request was refused pauses so long before the next one.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// What clients do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Concurrent clients, each with one operation at a time.
    pub clients: u32,
    /// Keys that they share.
    pub keys: u64,
    /// What they draw their operations from.
    pub seed: u64,
}

#[derive(Debug)]
struct Shared {
    recorder: Recorder,
    keys: Vec<Key>,
    acknowledged: AtomicU64,
    is_ending: AtomicBool,
}

/// Clients at work. Dropping it ends them.
#[derive(Debug)]
pub struct Workload {
    shared: Arc<Shared>,
    namespace: Namespace,
    clients: JoinSet<Result<()>>,
}

impl Workload {
    /// Sets clients to work.
    ///
    /// # Errors
    /// If a key is too long.
    pub fn begin(namespace: &Namespace, plan: &Plan) -> Result<Workload> {
        let keys = (0..plan.keys).map(|number| Key::new(format!("key/{number:04}")));
        let shared = Arc::new(Shared {
            recorder: Recorder::default(),
            keys: keys.collect::<Result<_, _>>()?,
            acknowledged: AtomicU64::new(0),
            is_ending: AtomicBool::new(false),
        });
        let mut clients = JoinSet::new();
        for client in 0..plan.clients {
            let worker = Worker {
                client,
                shared: shared.clone(),
                namespace: namespace.clone(),
                random: Random::new(plan.seed.wrapping_add(u64::from(client))),
                sequence: 0,
            };
            clients.spawn(worker.work());
        }
        Ok(Workload {
            shared,
            namespace: namespace.clone(),
            clients,
        })
    }

    /// Writes that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until so many writes were acknowledged in all.
    ///
    /// # Errors
    /// If they are not in time, or a client met an error that it must not meet.
    pub async fn until_acknowledged(&mut self, writes: u64, deadline: Duration) -> Result<()> {
        let shared = self.shared.clone();
        let enough = waiting::until("acknowledged writes", deadline, || async {
            match shared.acknowledged.load(Ordering::Relaxed) {
                so_far if so_far >= writes => Ok(()),
                so_far => Err(format!("{so_far} of {writes} are acknowledged")),
            }
        });
        tokio::select! {
            result = enough => result,
            ended = self.clients.join_next() => {
                ended.context("there are no clients")???;
                bail!("a client ended by itself")
            }
        }
    }

    /// Lets the clients finish what they are at, reads every key once more, and returns all that
    /// was recorded.
    ///
    /// # Errors
    /// If a client met an error that it must not meet, or a key cannot be read.
    pub async fn end(mut self) -> Result<Vec<Operation>> {
        self.finish().await?;
        self.read_all().await?;
        Ok(self.shared.recorder.history())
    }

    /// Lets the clients finish what they are at.
    ///
    /// # Errors
    /// If a client met an error that it must not meet.
    pub async fn finish(&mut self) -> Result<()> {
        self.shared.is_ending.store(true, Ordering::Relaxed);
        while let Some(ended) = self.clients.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Reads every key and records it.
    async fn read_all(&self) -> Result<()> {
        let recorder = &self.shared.recorder;
        for key in &self.shared.keys {
            let call_us = recorder.now_us();
            let found = waiting::until("a last read", LAST_READ_DEADLINE, || async {
                let found = self.namespace.get(key).await;
                found.map_err(|error| error.to_string())
            })
            .await?;
            recorder.read(LAST_READER, key, call_us, found.as_ref())?;
        }
        Ok(())
    }
}

struct Worker {
    client: u32,
    shared: Arc<Shared>,
    namespace: Namespace,
    random: Random,
    sequence: u64,
}

impl Worker {
    async fn work(mut self) -> Result<()> {
        while !self.shared.is_ending.load(Ordering::Relaxed) {
            let keys = self.shared.keys.len() as u64;
            let chosen = usize::try_from(self.random.below(keys))?;
            let key = self.shared.keys.get(chosen).context("no keys")?.clone();
            match self.random.below(100) {
                0..50 => self.put(&key, Condition::Any).await?,
                50..70 => self.compare_and_set(&key).await?,
                70..80 => self.delete(&key).await?,
                _ => drop(self.get(&key).await?),
            }
        }
        Ok(())
    }

    fn next_write(&mut self) -> WriteId {
        self.sequence += 1;
        WriteId {
            client: u64::from(self.client),
            sequence: self.sequence,
        }
    }

    async fn put(&mut self, key: &Key, condition: Condition) -> Result<()> {
        let id = self.next_write();
        let call_us = self.shared.recorder.now_us();
        let put = self.namespace.put(key, value(id));
        let put = match condition {
            Condition::Any => put,
            Condition::Absent => put.if_absent(),
            Condition::Present => put.if_present(),
            Condition::Version(version) => put.if_version(version),
        };
        let result = put.await;
        let recorder = &self.shared.recorder;
        let outcome = recorder.put(id, key, call_us, condition, &result)?;
        self.ended(outcome).await;
        Ok(())
    }

    async fn compare_and_set(&mut self, key: &Key) -> Result<()> {
        let condition = match self.get(key).await? {
            Some(entry) => Condition::Version(entry.version),
            None => Condition::Absent,
        };
        self.put(key, condition).await
    }

    async fn delete(&mut self, key: &Key) -> Result<()> {
        let id = self.next_write();
        let call_us = self.shared.recorder.now_us();
        let result = self.namespace.delete(key).await;
        let outcome = self.shared.recorder.delete(id, key, call_us, &result)?;
        self.ended(outcome).await;
        Ok(())
    }

    /// Reads a key; none also if too few nodes answered, which is not recorded.
    async fn get(&mut self, key: &Key) -> Result<Option<Entry>> {
        let call_us = self.shared.recorder.now_us();
        let found = match self.namespace.get(key).await {
            Ok(found) => found,
            Err(
                ClientError::NotApplied { .. }
                | ClientError::Unavailable { .. }
                | ClientError::Overloaded { .. },
            ) => {
                tokio::time::sleep(REFUSED_PAUSE).await;
                return Ok(None);
            }
            Err(error) => bail!("a read that is in order was refused: {error}"),
        };
        let recorder = &self.shared.recorder;
        recorder.read(self.client, key, call_us, found.as_ref())?;
        Ok(found)
    }

    async fn ended(&self, outcome: Outcome) {
        match outcome {
            Outcome::Written { .. } => {
                self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Outcome::Refused => tokio::time::sleep(REFUSED_PAUSE).await,
            Outcome::Conflict { .. } | Outcome::Unknown => {}
        }
    }
}
