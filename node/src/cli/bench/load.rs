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
use crate::cli::search::{Mode, in_mode};

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
    /// What is searched for; not empty if there are searches.
    pub(super) queries: Arc<[String]>,
    /// How searches match.
    pub(super) mode: Mode,
    /// What the clients do.
    pub(super) mix: Mix,
}

/// Kinds of operations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Get,
    Put,
    Search,
}

impl Kind {
    /// All of them, with their names.
    pub(super) const ALL: [(Kind, &str); 3] = [
        (Kind::Get, "get"),
        (Kind::Put, "put"),
        (Kind::Search, "search"),
    ];
}

/// What came out of a measured time.
pub(super) struct Measured {
    /// From the end of the warm-up to the end.
    pub(super) duration: Duration,
    /// By kind, in the order of [`Kind::ALL`].
    kinds: [Recorded; Kind::ALL.len()],
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
            kinds: [Recorded::new()?, Recorded::new()?, Recorded::new()?],
            errors: BTreeMap::new(),
        })
    }

    fn merge(&mut self, other: &Measured) -> Result<(), Failure> {
        for (sum, one) in self.kinds.iter_mut().zip(&other.kinds) {
            sum.merge(one)?;
        }
        for (kind, count) in &other.errors {
            *self.errors.entry(kind).or_default() += count;
        }
        Ok(())
    }

    /// Operations that ended well before the time was up.
    pub(super) fn in_time(&self) -> u64 {
        self.kinds.iter().map(|recorded| recorded.in_time).sum()
    }

    /// Operations of one kind.
    pub(super) fn kind(&self, kind: Kind) -> &Recorded {
        let [gets, puts, searches] = &self.kinds;
        match kind {
            Kind::Get => gets,
            Kind::Put => puts,
            Kind::Search => searches,
        }
    }

    fn kind_mut(&mut self, kind: Kind) -> &mut Recorded {
        let [gets, puts, searches] = &mut self.kinds;
        match kind {
            Kind::Get => gets,
            Kind::Put => puts,
            Kind::Search => searches,
        }
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
                queries: self.queries.clone(),
                mode: self.mode,
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
    queries: Arc<[String]>,
    mode: Mode,
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
            let kind = match self.mix {
                Mix::Put => Kind::Put,
                Mix::Get => Kind::Get,
                Mix::Search => Kind::Search,
                Mix::Mixed { reads_per_mille } if self.random.chance(reads_per_mille) => Kind::Get,
                Mix::Mixed { .. } => Kind::Put,
            };
            let outcome = self.operate(kind).await;
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
                    let recorded = measured.kind_mut(kind);
                    recorded.in_time += u64::from(ended <= self.window.end);
                    let latency = ended.saturating_duration_since(started).as_nanos();
                    let latency_ns = u64::try_from(latency).unwrap_or(u64::MAX);
                    recorded.latency.saturating_record(latency_ns);
                }
                Err(kind) => *measured.errors.entry(kind).or_default() += 1,
            }
        }
    }

    async fn operate(&mut self, kind: Kind) -> Result<(), &'static str> {
        match kind {
            Kind::Get => {
                let key = chosen(&mut self.random, &self.keys).ok_or("no keys")?;
                let got = self.namespace.get(key).await;
                got.map_err(|error| name(&error))?.ok_or("missing")?;
            }
            Kind::Put => {
                let key = chosen(&mut self.random, &self.keys).ok_or("no keys")?;
                let put = self.namespace.put(key, self.value.clone()).await;
                put.map_err(|error| name(&error))?;
            }
            Kind::Search => {
                let query = chosen(&mut self.random, &self.queries).ok_or("no queries")?;
                let search = in_mode(self.namespace.search(query), self.mode).keys_only();
                let found = search.await.map_err(|error| name(&error))?;
                if !found.is_complete() {
                    return Err("incomplete");
                }
            }
        }
        Ok(())
    }
}

/// One of them, evenly at random.
fn chosen<'a, T>(random: &mut Random, all: &'a [T]) -> Option<&'a T> {
    let place = random.below(all.len().max(1) as u64);
    all.get(usize::try_from(place).ok()?)
}

/// What failed operations are counted under.
fn name(error: &ClientError) -> &'static str {
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
            let puts = one.kind_mut(Kind::Put);
            puts.latency.saturating_record(ns);
            puts.in_time = 1;
            one.errors.insert("unknown", errors);
            one
        };
        let mut sum = Measured::new(Duration::from_secs(1)).expect("good bounds");
        sum.merge(&recorder(50_000, 1)).expect("same bounds");
        sum.merge(&recorder(1_000_000, 2)).expect("same bounds");
        assert_eq!(sum.in_time(), 2);
        assert_eq!(sum.kind(Kind::Put).latency.len(), 2);
        assert!(sum.kind(Kind::Put).latency.max() >= 1_000_000);
        assert!(sum.kind(Kind::Search).latency.is_empty());
        assert_eq!(sum.errors.get("unknown"), Some(&3));
    }
}
