//! The steps of the demo.

use std::time::{Duration, Instant};

use engram_client::{Client, ClientError, NodeStatus};
use engram_core::types::MemberId;
use engram_core::wire::GetStatus;
use tokio::time::sleep;

use super::corpus::{self, Part};
use super::narrator::Narrator;
use super::nodes::Nodes;
use super::outage::{Account, Attempt, WRITERS, Writers, verify};
use crate::cli::duration::show;
use crate::cli::entry_line::printable;
use crate::cli::exit::Failure;
use crate::cli::namespace::unsearched;
use crate::cli::output::show_count;
use crate::cli::status::Shards;

/// How long the cluster may take to do what it is expected to.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How often what changes by itself is looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Time to live of a value that ends during the demo.
const TTL: Duration = Duration::from_secs(1);
/// How long is written before a node is killed, and after it.
const WRITING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));
/// The node that is killed while clients write.
const VICTIM: usize = 1;
/// The node that is killed when that one is back.
const NEXT_VICTIM: usize = 0;
/// Looks in a row at which a node must have nothing to catch up with, to have caught up: its peers
/// tell it only now and then how far they are.
const CAUGHT_UP_LOOKS: u32 = 75;
/// Most bytes of a value that are shown.
const SHOWN_BYTES: usize = 60;

/// What all steps work with.
pub(super) struct Story<'a> {
    /// Tells what happens.
    pub(super) narrator: &'a mut Narrator,
    /// The cluster's client.
    pub(super) client: &'a Client,
    /// The cluster's processes.
    pub(super) nodes: &'a mut Nodes,
    /// The embedder of the sample texts.
    pub(super) embedder: &'a str,
}

impl Story<'_> {
    /// Tells all of it. `started` is when the first node was started.
    ///
    /// # Errors
    /// [`Failure`] if it cannot be told to its end. What does not hold is noted by the narrator.
    pub(super) async fn tell(&mut self, started: Instant) -> Result<(), Failure> {
        self.serving(started).await?;
        let parts = self.load().await?;
        self.put_get_scan(&parts).await?;
        let entries = parts.iter().map(|part| part.entries.len() as u64).sum();
        self.search(entries).await?;
        self.compare_and_set().await?;
        self.time_to_live().await?;
        let attempts = self.kill().await?;
        self.nothing_lost(&attempts).await?;
        self.come_back(&attempts).await?;
        self.kill_another(&attempts).await
    }

    async fn serving(&mut self, started: Instant) -> Result<(), Failure> {
        let until = started + PATIENCE;
        let mut health = self.client.health().await?;
        while !health.is_perfect() && Instant::now() < until {
            sleep(LOOK_INTERVAL).await;
            health = self.client.health().await?;
        }
        let found = if health.is_perfect() {
            format!("after {}", show(started.elapsed()))
        } else {
            health.problems.join("; ")
        };
        let claim = "three processes form a cluster, and all of them serve";
        self.narrator.check(claim, health.is_perfect(), found)?;
        for node in self.nodes.iter() {
            let pid = node.pid().unwrap_or_default();
            self.narrator.note(format_args!(
                "{}  {}  process {pid}",
                node.name, node.address
            ))?;
        }
        Ok(())
    }

    async fn load(&mut self) -> Result<Vec<Part>, Failure> {
        self.narrator.begin("A sample corpus is loaded")?;
        let parts = corpus::read()?;
        let total: usize = parts.iter().map(|part| part.entries.len()).sum();
        let started = Instant::now();
        corpus::load(self.client, &parts, self.embedder).await?;
        let took = show(started.elapsed());
        let claim = format!("{total} entries are written, each to two disks at least");
        self.narrator.check(claim, true, format!("in {took}"))?;
        let (mut same, mut counts) = (true, Vec::new());
        for part in &parts {
            let count = self.client.namespace(part.name).count("").await?;
            same &= count == part.entries.len() as u64;
            counts.push(format!("{} {count}", part.name));
        }
        let claim = "counting finds all of them";
        self.narrator.check(claim, same, counts.join(", "))?;
        Ok(parts)
    }

    async fn put_get_scan(&mut self, parts: &[Part]) -> Result<(), Failure> {
        self.narrator.begin("Put, get, scan")?;
        let users = self.client.namespace("users");
        let profile = r#"{"name":"Ada","city":"London"}"#;
        users.put("user:ada:profile", profile).tag("eu").await?;
        let entry = users.get("user:ada:profile").await?;
        let found = entry.as_ref().map(|entry| entry.bytes());
        self.narrator.check(
            "get returns what put wrote",
            found == Some(profile.as_bytes()),
            found.map_or("nothing".into(), shown),
        )?;
        let prefix = "user:00";
        let mut expected: Vec<_> = parts
            .iter()
            .flat_map(|part| &part.entries)
            .map(|entry| entry.key.clone())
            .filter(|key| key.as_bytes().starts_with(prefix.as_bytes()))
            .collect();
        expected.sort_unstable();
        let page = users.scan(prefix).keys_only().await?;
        let keys: Vec<_> = page.entries.into_iter().map(|(key, _)| key).collect();
        let found = match (keys.first(), keys.last()) {
            (Some(first), Some(last)) => format!("{} … {}", first.to_text(), last.to_text()),
            _ => "none".into(),
        };
        let claim = format!(
            "a scan of {prefix} lists its {} keys in order",
            expected.len()
        );
        self.narrator.check(claim, keys == expected, found)
    }

    async fn compare_and_set(&mut self) -> Result<(), Failure> {
        self.narrator.begin("Compare-and-set")?;
        let settings = self.client.namespace("config");
        let key = "config:demo/limit";
        let first = settings.put(key, "10").await?.version;
        let second = settings.put(key, "20").if_version(first).await;
        let (holds, found) = match &second {
            Ok(written) => (
                written.version > first,
                format!("{first} → {}", written.version),
            ),
            Err(error) => (false, error.to_string()),
        };
        self.narrator
            .check("a put with the current version is applied", holds, found)?;
        let third = settings.put(key, "30").if_version(first).await;
        let current = second.ok().map(|written| written.version);
        let holds = matches!(&third, Err(ClientError::Conflict { current: c }) if *c == current);
        let found = match third {
            Ok(written) => format!("applied as {}", written.version),
            Err(error) => error.to_string(),
        };
        self.narrator
            .check("one with the old version is refused", holds, found)?;
        let entry = settings.get(key).await?;
        let found = entry.as_ref().map(|entry| entry.bytes());
        self.narrator.check(
            "and has changed nothing",
            found == Some(b"20"),
            found.map_or("nothing".into(), shown),
        )
    }

    async fn time_to_live(&mut self) -> Result<(), Failure> {
        self.narrator.begin("Time to live")?;
        let sessions = self
            .client
            .create_namespace("sessions", unsearched())
            .await?;
        let started = Instant::now();
        sessions.put("session:1", "token").ttl(TTL).await?;
        let entry = sessions.get("session:1").await?;
        let left = entry.and_then(|entry| entry.ttl);
        let claim = format!("a value put for {} is there at first", show(TTL));
        let found = left.map_or("nothing".into(), |left| format!("{} left", show(left)));
        self.narrator.check(claim, left.is_some(), found)?;
        let mut is_there = true;
        while is_there && started.elapsed() < PATIENCE {
            sleep(LOOK_INTERVAL).await;
            is_there = sessions.exists("session:1").await?;
        }
        let found = if is_there { "still there" } else { "gone" };
        let found = format!("{found} after {}", show(started.elapsed()));
        self.narrator
            .check("and gone by itself when the time is over", !is_there, found)
    }

    async fn kill(&mut self) -> Result<Vec<Attempt>, Failure> {
        self.narrator
            .begin("A node is killed while clients write")?;
        let (name, victim) = self.node(VICTIM)?;
        let namespace = self.client.create_namespace("writes", unsearched()).await?;
        let writers = Writers::start(self.client, &namespace, victim).await?;
        sleep(WRITING.0).await;
        let killed = Instant::now();
        self.nodes.kill(VICTIM)?;
        self.narrator
            .note(format_args!("{WRITERS} writers; then SIGKILL for {name}"))?;
        sleep(WRITING.1).await;
        let attempts = writers.stop().await?;
        let account = Account::of(&attempts, killed);
        let (before, after) = (
            show_count(account.before as u64),
            show_count(account.after as u64),
        );
        let found = format!("{before} acknowledged before, {after} after");
        self.narrator.check(
            "writes go on",
            account.before > 0 && account.after > 0,
            found,
        )?;
        let claim = format!("also of keys for which {name} was asked first");
        let found = match account.victim_gap {
            Some(gap) => format!("the first of them {} after the kill", show(gap)),
            None => "none was acknowledged".into(),
        };
        self.narrator
            .check(claim, account.after_of_victim > 0, found)?;
        let found = account.failures.first().map_or_else(
            || format!("{} of unknown outcome", account.unknown),
            |first| format!("{} failed, the first with: {first}", account.failures.len()),
        );
        self.narrator
            .check("no write is refused", account.failures.is_empty(), found)?;
        let (gap, slowest) = (show(account.longest_gap), show(account.slowest));
        self.narrator.note(format_args!(
            "longest time without any acknowledgement {gap}, slowest write {slowest}"
        ))?;
        Ok(attempts)
    }

    async fn nothing_lost(&mut self, attempts: &[Attempt]) -> Result<(), Failure> {
        self.narrator.begin("Nothing acknowledged is lost")?;
        let claim = "two nodes of three have every acknowledged write";
        self.verify(claim, attempts).await
    }

    async fn verify(&mut self, claim: &str, attempts: &[Attempt]) -> Result<(), Failure> {
        let started = Instant::now();
        let verified = verify(&self.client.namespace("writes"), attempts).await?;
        let took = show(started.elapsed());
        let found = match verified.lost.first() {
            None => format!("{} read back in {took}", show_count(verified.intact as u64)),
            Some(first) => format!("{} are lost, {first} first", verified.lost.len()),
        };
        let holds = verified.lost.is_empty() && verified.intact > 0;
        self.narrator.check(claim, holds, found)
    }

    async fn come_back(&mut self, attempts: &[Attempt]) -> Result<(), Failure> {
        self.narrator.begin("The node comes back")?;
        self.restart(VICTIM).await?;
        self.verify("every acknowledged write is still there", attempts)
            .await
    }

    /// With the other old node gone, no read succeeds without the one that was away.
    async fn kill_another(&mut self, attempts: &[Attempt]) -> Result<(), Failure> {
        self.narrator.begin("Another node is killed")?;
        let (name, _) = self.node(NEXT_VICTIM)?;
        self.nodes.kill(NEXT_VICTIM)?;
        self.narrator.note(format_args!("SIGKILL for {name}"))?;
        let claim = "the node that was away and the third one have every acknowledged write";
        self.verify(claim, attempts).await?;
        self.restart(NEXT_VICTIM).await
    }

    /// Starts a node again and waits until it serves and has followed what it missed.
    async fn restart(&mut self, index: usize) -> Result<(), Failure> {
        let (name, member) = self.node(index)?;
        let started = Instant::now();
        self.nodes.restart(index).await?;
        let return_of = self.watch_return(member, started).await;
        let after = |time: Option<Duration>| match time {
            Some(time) => format!("{} after its start", show(time)),
            None => format!("not within {}", show(PATIENCE)),
        };
        let serving = return_of.serving;
        let claim = format!("{name} serves again");
        self.narrator
            .check(claim, serving.is_some(), after(serving))?;
        let caught_up = return_of.caught_up;
        let mut found = after(caught_up);
        if return_of.most_behind > 0 {
            let most = show_count(return_of.most_behind);
            found += &format!("; it was seen {most} log entries behind");
        }
        let claim = "and has followed what it missed";
        self.narrator.check(claim, caught_up.is_some(), found)
    }

    async fn watch_return(&self, member: MemberId, started: Instant) -> Return {
        let mut seen = Return::default();
        let mut looks = 0;
        while looks < CAUGHT_UP_LOOKS && started.elapsed() < PATIENCE {
            sleep(LOOK_INTERVAL).await;
            let Ok(status) = self.client.ask_node(member, GetStatus).await else {
                continue;
            };
            let shards = Shards::of(&status);
            seen.most_behind = seen.most_behind.max(shards.behind);
            if status.serving {
                seen.serving.get_or_insert_with(|| started.elapsed());
            }
            if has_caught_up(&status, shards) {
                seen.caught_up.get_or_insert_with(|| started.elapsed());
                looks += 1;
            } else {
                (seen.caught_up, looks) = (None, 0);
            }
        }
        if looks < CAUGHT_UP_LOOKS {
            seen.caught_up = None;
        }
        seen
    }

    fn node(&self, index: usize) -> Result<(String, MemberId), Failure> {
        let node = self.nodes.iter().nth(index);
        let name = node.map(|node| node.name.clone()).unwrap_or_default();
        let config = self.client.config();
        let member = config.members.iter().find(|member| member.name == name);
        let member = member.ok_or_else(|| Failure::other(format_args!("{name} is no member")))?;
        Ok((name, member.id))
    }
}

/// How a node that was restarted came back.
#[derive(Default)]
struct Return {
    /// When it served, counted from its start.
    serving: Option<Duration>,
    /// When it had followed everything.
    caught_up: Option<Duration>,
    /// How many entries of its peers' logs it had not followed at most.
    most_behind: u64,
}

fn has_caught_up(status: &NodeStatus, shards: Shards) -> bool {
    status.serving
        && status.peers.iter().all(|peer| peer.alive)
        && shards.serving == shards.total
        && shards.behind == 0
}

pub(super) fn shown(bytes: &[u8]) -> String {
    let text = printable(bytes);
    console::truncate_str(&text, SHOWN_BYTES, "…").into_owned()
}
