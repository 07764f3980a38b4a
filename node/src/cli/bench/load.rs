//! The closed loop: clients that send, wait and send again, and what they measure.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engram_client::{Blob, ClientError, Key, Namespace};
use engram_core::protocol::random::Random;
use hdrhistogram::Histogram;
use tokio::task::JoinSet;

use super::plan::Mix;
use crate::cli::exit::Failure;

/// Recorders that the clients share, so that few of them meet at one.
const RECORDERS: usize = 8;
/// The shortest and the longest latency that are told apart, in nanoseconds.
const LATENCY_NS: (u64, u64) = (1_000, 120_000_000_000);
/// Precision of latencies, in decimal digits.
const DIGITS: u8 = 3;

/// What the clients do, and with what.
pub(super) struct Load {
    /// Where.
    pub(super) namespace: Namespace,
    /// Not empty.
    pub(super) keys: Vec<Key>,
    /// What is written.
    pub(super) value: Blob,
    /// Reads, writes or both.
    pub(super) mix: Mix,
}

/// What came out of a measured time.
pub(super) struct Measured {
    /// From the end of the warm-up to the end.
    pub(super) duration: Duration,
    /// Reads.
    pub(super) gets: Recorded,
    /// Writes.
    pub(super) puts: Recorded,
    /// Operations that failed, by kind.
    pub(super) errors: BTreeMap<&'static str, u64>,
}

/// Operations of one kind.
pub(super) struct Recorded {
    /// Latencies in nanoseconds, of all that ended well after the warm-up.
    pub(super) latency: Histogram<u64>,
    /// How many of them ended before the time was up.
    pub(super) in_time: u64,
}

impl Recorded {
    fn new() -> Result<Recorded, Failure> {
        let (low, high) = LATENCY_NS;
        let latency = Histogram::new_with_bounds(low, high, DIGITS).map_err(Failure::other)?;
        Ok(Recorded {
            latency,
            in_time: 0,
        })
    }

    fn merge(&mut self, other: &Recorded) -> Result<(), Failure> {
        self.in_time += other.in_time;
        self.latency.add(&other.latency).map_err(Failure::other)
    }
}

impl Measured {
    fn new(duration: Duration) -> Result<Measured, Failure> {
        Ok(Measured {
            duration,
            gets: Recorded::new()?,
            puts: Recorded::new()?,
            errors: BTreeMap::new(),
        })
    }

    fn merge(&mut self, other: &Measured) -> Result<(), Failure> {
        self.gets.merge(&other.gets)?;
        self.puts.merge(&other.puts)?;
        for (kind, count) in &other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        Ok(())
    }

    /// Operations that ended well before the time was up.
    pub(super) fn in_time(&self) -> u64 {
        self.gets.in_time + self.puts.in_time
    }
}

/// Clients at work.
pub(super) struct Running {
    tasks: JoinSet<()>,
    recorders: Arc<Vec<Mutex<Measured>>>,
    duration: Duration,
}

/// When measuring begins and ends.
#[derive(Clone, Copy)]
struct Window {
    begin: Instant,
    end: Instant,
}

impl Load {
    /// Starts the clients. They stop by themselves after `end`.
    pub(super) fn start(
        &self,
        clients: usize,
        begin: Instant,
        end: Instant,
    ) -> Result<Running, Failure> {
        let duration = end.saturating_duration_since(begin);
        let recorders: Result<Vec<_>, Failure> = (0..RECORDERS.min(clients))
            .map(|_| Measured::new(duration).map(Mutex::new))
            .collect();
        let recorders = Arc::new(recorders?);
        let keys: Arc<[Key]> = self.keys.as_slice().into();
        let mut tasks = JoinSet::new();
        for number in 0..clients {
            let seed = getrandom::u64().map_err(Failure::other)?;
            let looped = Looped {
                namespace: self.namespace.clone(),
                keys: keys.clone(),
                value: self.value.clone(),
                mix: self.mix,
                random: Random::new(seed),
                window: Window { begin, end },
            };
            tasks.spawn(looped.run(recorders.clone(), number));
        }
        Ok(Running {
            tasks,
            recorders,
            duration,
        })
    }
}

impl Running {
    /// Waits for the last answers and sums up.
    pub(super) async fn finish(mut self) -> Result<Measured, Failure> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.map_err(Failure::other)?;
        }
        let mut sum = Measured::new(self.duration)?;
        for recorder in self.recorders.iter() {
            sum.merge(&recorder.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        Ok(sum)
    }
}

/// One client.
struct Looped {
    namespace: Namespace,
    keys: Arc<[Key]>,
    value: Blob,
    mix: Mix,
    random: Random,
    window: Window,
}

impl Looped {
    async fn run(mut self, recorders: Arc<Vec<Mutex<Measured>>>, number: usize) {
        loop {
            let started = Instant::now();
            if started >= self.window.end {
                return;
            }
            let is_read = match self.mix {
                Mix::Put => false,
                Mix::Get => true,
                Mix::Mixed { reads_per_mille } => self.random.chance(reads_per_mille),
            };
            let outcome = self.operate(is_read).await;
            let ended = Instant::now();
            if ended < self.window.begin {
                continue;
            }
            let Some(recorder) = recorders.get(number % recorders.len().max(1)) else {
                return;
            };
            let mut measured = recorder.lock().unwrap_or_else(PoisonError::into_inner);
            match outcome {
                Ok(()) => {
                    let recorded = if is_read {
                        &mut measured.gets
                    } else {
                        &mut measured.puts
                    };
                    recorded.in_time += u64::from(ended <= self.window.end);
                    let latency = ended.saturating_duration_since(started).as_nanos();
                    let latency_ns = u64::try_from(latency).unwrap_or(u64::MAX);
                    recorded.latency.saturating_record(latency_ns);
                }
                Err(kind) => *measured.errors.entry(kind).or_default() += 1,
            }
        }
    }

    async fn operate(&mut self, is_read: bool) -> Result<(), &'static str> {
        let chosen = self.random.below(self.keys.len() as u64);
        let chosen = usize::try_from(chosen).unwrap_or(0);
        let Some(key) = self.keys.get(chosen) else {
            return Err("no keys");
        };
        if is_read {
            match self.namespace.get(key).await {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err("missing"),
                Err(error) => Err(kind(&error)),
            }
        } else {
            let put = self.namespace.put(key, self.value.clone()).await;
            put.map(drop).map_err(|error| kind(&error))
        }
    }
}

/// What failed operations are counted under.
fn kind(error: &ClientError) -> &'static str {
    match error {
        ClientError::NotApplied { .. } => "not applied",
        ClientError::Unknown { .. } => "unknown",
        ClientError::Conflict { .. } => "conflict",
        ClientError::Overloaded { .. } => "overloaded",
        ClientError::TooLarge { .. } => "too large",
        ClientError::Invalid(_) | ClientError::Expression(_) => "invalid",
        ClientError::Value(_) => "value",
        ClientError::Unavailable { .. } => "unavailable",
        ClientError::Embedder { .. } => "embedder",
        ClientError::Unauthorized(_) => "unauthorized",
        ClientError::Connect(_) => "not connected",
        ClientError::Closed => "closed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorders_are_summed_up() {
        let recorder = |ns, errors: u64| {
            let mut one = Measured::new(Duration::from_secs(1)).expect("good bounds");
            one.puts.latency.saturating_record(ns);
            one.puts.in_time = 1;
            one.errors.insert("unknown", errors);
            one
        };
        let mut sum = Measured::new(Duration::from_secs(1)).expect("good bounds");
        sum.merge(&recorder(50_000, 1)).expect("same bounds");
        sum.merge(&recorder(1_000_000, 2)).expect("same bounds");
        assert_eq!(sum.in_time(), 2);
        assert_eq!(sum.puts.latency.len(), 2);
        assert!(sum.puts.latency.max() >= 1_000_000);
        assert_eq!(sum.errors.get("unknown"), Some(&3));
    }
}
