//! Writing while a node is killed: who writes, what is noted, what it says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use engram_client::{Client, ClientError, MemberId, Namespace};
use engram_core::placement::shard_of;
use engram_core::types::{ClusterConfig, Key, NamespaceId, RecordKey};
use tokio::task::JoinSet;

use crate::cli::exit::Failure;

/// Tasks that write at the same time, one write each.
pub(super) const WRITERS: u32 = 8;
/// Most writes of one writer: all of them are held in memory.
const WRITES_MAX: u32 = 50_000;

/// What became of one write.
pub(super) enum Outcome {
    /// The cluster said that it was applied.
    Acknowledged,
    /// It may have been applied.
    Unknown,
    /// It was not, for this reason.
    Failed(String),
}

/// One write.
pub(super) struct Attempt {
    /// Of a key that is written only once.
    pub(super) key: String,
    /// What was written.
    pub(super) value: String,
    /// Whether the node that was killed was the first to be asked for the key.
    is_victims: bool,
    sent: Instant,
    done: Instant,
    outcome: Outcome,
}

/// What writers do until they are stopped.
pub(super) struct Writers {
    tasks: JoinSet<Vec<Attempt>>,
    stop: Arc<AtomicBool>,
}

impl Writers {
    /// Starts them. `victim` is the member that will be killed.
    ///
    /// # Errors
    /// [`Failure`] if the namespace cannot be opened.
    pub(super) async fn start(
        client: &Client,
        namespace: &Namespace,
        victim: MemberId,
    ) -> Result<Writers, Failure> {
        let id = namespace.id().await?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            let (namespace, stop) = (namespace.clone(), stop.clone());
            let config = client.config();
            tasks.spawn(async move {
                let mut attempts = Vec::new();
                for number in 0..WRITES_MAX {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let key = format!("write:{writer}:{number:06}");
                    let is_victims = is_first(&config, id, &key, victim);
                    attempts.push(attempt(&namespace, key, is_victims).await);
                }
                attempts
            });
        }
        Ok(Writers { tasks, stop })
    }

    /// Stops them and waits for the last answers.
    ///
    /// # Errors
    /// [`Failure`] if a writer panicked.
    pub(super) async fn stop(mut self) -> Result<Vec<Attempt>, Failure> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(attempts) = self.tasks.join_next().await {
            all.extend(attempts.map_err(Failure::other)?);
        }
        Ok(all)
    }
}

async fn attempt(namespace: &Namespace, key: String, is_victims: bool) -> Attempt {
    let value = format!("written to {key}");
    let sent = Instant::now();
    let outcome = match namespace.put(&key, value.as_str()).await {
        Ok(_) => Outcome::Acknowledged,
        Err(ClientError::Unknown { .. }) => Outcome::Unknown,
        Err(error) => Outcome::Failed(error.to_string()),
    };
    Attempt {
        key,
        value,
        is_victims,
        sent,
        done: Instant::now(),
        outcome,
    }
}

fn is_first(config: &ClusterConfig, namespace: NamespaceId, key: &str, member: MemberId) -> bool {
    let Ok(key) = Key::new(key) else {
        return false;
    };
    let shard = shard_of(&RecordKey { namespace, key }, config.shard_count());
    let first = config.shard(shard).and_then(|shard| shard.members.first());
    first == Some(&member)
}

/// What the writes say about the time around a kill.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Acknowledged before the kill.
    pub(super) before: usize,
    /// Acknowledged after it.
    pub(super) after: usize,
    /// Those of them that were sent after it, to keys of the killed node.
    pub(super) after_of_victim: usize,
    /// Neither acknowledged nor refused.
    pub(super) unknown: usize,
    /// Why others failed.
    pub(super) failures: Vec<String>,
    /// The longest time without any acknowledgement, from the kill on.
    pub(super) longest_gap: Duration,
    /// From the kill to the first acknowledged write, sent after it, of a key of the killed node.
    pub(super) victim_gap: Option<Duration>,
    /// The slowest acknowledged write, from the kill on.
    pub(super) slowest: Duration,
}

impl Account {
    /// Of all writes, for a kill at this time.
    pub(super) fn of(attempts: &[Attempt], killed: Instant) -> Account {
        let mut account = Account::default();
        let mut acknowledged = vec![killed];
        for attempt in attempts {
            match &attempt.outcome {
                Outcome::Unknown => account.unknown += 1,
                Outcome::Failed(reason) => account.failures.push(reason.clone()),
                Outcome::Acknowledged if attempt.done <= killed => account.before += 1,
                Outcome::Acknowledged => {
                    account.after += 1;
                    acknowledged.push(attempt.done);
                    let took = attempt.done.saturating_duration_since(attempt.sent);
                    account.slowest = account.slowest.max(took);
                    if attempt.is_victims && attempt.sent > killed {
                        account.after_of_victim += 1;
                        let gap = attempt.done.saturating_duration_since(killed);
                        let shortest = account.victim_gap.map_or(gap, |known| known.min(gap));
                        account.victim_gap = Some(shortest);
                    }
                }
            }
        }
        acknowledged.sort_unstable();
        let gaps = acknowledged.iter().zip(acknowledged.iter().skip(1));
        account.longest_gap = gaps
            .map(|(earlier, later)| later.saturating_duration_since(*earlier))
            .max()
            .unwrap_or_default();
        account
    }
}

/// Reads every acknowledged write back.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verified {
    /// As they were written.
    pub(super) intact: usize,
    /// Keys that hold something else, or nothing.
    pub(super) lost: Vec<String>,
}

/// Reads every acknowledged write back.
///
/// # Errors
/// [`Failure`] if a key cannot be read.
pub(super) async fn verify(
    namespace: &Namespace,
    attempts: &[Attempt],
) -> Result<Verified, Failure> {
    let acknowledged = || {
        let is_acknowledged = |a: &&Attempt| matches!(a.outcome, Outcome::Acknowledged);
        attempts.iter().filter(is_acknowledged)
    };
    let found = namespace
        .get_many(acknowledged().map(|attempt| &attempt.key))
        .await;
    let mut verified = Verified::default();
    for (attempt, entry) in acknowledged().zip(found) {
        match entry? {
            Some(entry) if entry.bytes() == attempt.value.as_bytes() => verified.intact += 1,
            _ => verified.lost.push(attempt.key.clone()),
        }
    }
    Ok(verified)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_an_outage_adds_up() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let write = |sent, done, is_victims, outcome| Attempt {
            key: String::new(),
            value: String::new(),
            is_victims,
            sent: at(sent),
            done: at(done),
            outcome,
        };
        let attempts = [
            write(10, 20, true, Outcome::Acknowledged),
            write(90, 160, true, Outcome::Acknowledged),
            write(105, 110, false, Outcome::Acknowledged),
            write(112, 300, true, Outcome::Acknowledged),
            write(301, 302, true, Outcome::Acknowledged),
            write(120, 400, false, Outcome::Unknown),
            write(120, 400, false, Outcome::Failed("why".into())),
        ];
        let expected = Account {
            before: 1,
            after: 4,
            after_of_victim: 2,
            unknown: 1,
            failures: vec!["why".into()],
            longest_gap: Duration::from_millis(140),
            victim_gap: Some(Duration::from_millis(200)),
            slowest: Duration::from_millis(188),
        };
        assert_eq!(Account::of(&attempts, at(100)), expected);
    }

    #[test]
    fn without_writes_there_is_nothing_to_say() {
        assert_eq!(Account::of(&[], Instant::now()), Account::default());
    }
}
