//! A bare process with one endpoint, to try links by hand and in this crate's tests.
//!
//! Arguments are `key=value`: `cluster`, `cookie`, `role` (member or client), `node`, `boot`,
//! `member` (a number), `shards`, `listen`, `advertise`, `dial` (comma separated), `refuse`
//! (a node), `frames` and `bytes` (the window). Commands come on standard input, events leave on
//! standard output, one a line; see [`command`] and [`Peer`]. It ends with its input.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use engram_core::types::{Lsn, MemberId};
use engram_remote::{
    DownReason, Endpoint, EndpointConfig, EndpointKind, Handler, HelloIdentity, MemberIdentity,
    PeerHandle, PeerHello, PeerId, Refusal, Role, Window,
};
use tokio::sync::mpsc;

/// Time between two looks at the status of the addresses to dial.
const WATCH_PERIOD: Duration = Duration::from_millis(20);

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Arguments by key.
struct Arguments(BTreeMap<String, String>);

impl Arguments {
    fn read() -> Arguments {
        let pairs = std::env::args().skip(1).filter_map(|argument| {
            let (key, value) = argument.split_once('=')?;
            Some((key.to_owned(), value.to_owned()))
        });
        Arguments(pairs.collect())
    }

    fn text(&self, key: &str, default: &str) -> String {
        self.0.get(key).map_or(default, String::as_str).to_owned()
    }

    fn number<T: std::str::FromStr>(&self, key: &str, default: T) -> Outcome<T>
    where
        T::Err: std::fmt::Display,
    {
        match self.0.get(key) {
            Some(text) => text
                .parse()
                .map_err(|error| format!("{key}={text}: {error}").into()),
            None => Ok(default),
        }
    }

    fn list(&self, key: &str) -> Vec<String> {
        split(&self.text(key, ""))
    }
}

fn split(list: &str) -> Vec<String> {
    list.split(',')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads any more: the parent is gone, and the input will end too.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// One peer as this process met it.
struct Met {
    handle: PeerHandle,
    /// Number of the next frame to send, and of the next to receive.
    sent: u64,
    received: u64,
}

#[derive(Default)]
struct Progress {
    peers: BTreeMap<String, Met>,
    names: BTreeMap<PeerId, String>,
    seen: BTreeMap<MemberId, Lsn>,
    durable: Lsn,
    received: u64,
    expected: Option<u64>,
    /// Panic at the next frame.
    tripped: bool,
}

/// Prints `up NAME seen=LSN`, `down NAME REASON`, `saw NAME LSN`, `received N` when as many frames
/// as expected came, and `disorder NAME` when a frame is not the next one.
struct Peer {
    identity: HelloIdentity,
    /// Name of a node that is not welcome.
    refused: String,
    progress: Mutex<Progress>,
}

impl Peer {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Peer {
    fn hello(&self) -> HelloIdentity {
        self.identity.clone()
    }

    fn check(&self, peer: &HelloIdentity) -> Result<(), Refusal> {
        match peer.member() {
            Some(member) if member.node == self.refused => Err(Refusal::policy("not today")),
            _ => Ok(()),
        }
    }

    fn up(&self, peer: &PeerHandle, hello: &PeerHello) {
        let name = match &hello.identity.role {
            Role::Member(member) => member.node.clone(),
            Role::Client { name } => name.clone(),
        };
        let mut progress = self.progress();
        progress.names.insert(peer.id(), name.clone());
        progress.peers.insert(
            name.clone(),
            Met {
                handle: peer.clone(),
                sent: 0,
                received: 0,
            },
        );
        say(&format!("up {name} seen={}", hello.seen_lsn.0));
    }

    fn down(&self, peer: PeerId, reason: DownReason) {
        let mut progress = self.progress();
        let name = progress.names.remove(&peer).unwrap_or_default();
        progress.peers.remove(&name);
        say(&format!("down {name} {reason}"));
    }

    fn frames(&self, peer: PeerId, frames: Vec<Bytes>) {
        let mut progress = self.progress();
        let progress = &mut *progress;
        if std::mem::take(&mut progress.tripped) {
            panic!("tripped");
        }
        let name = progress.names.get(&peer).cloned().unwrap_or_default();
        let Some(met) = progress.peers.get_mut(&name) else {
            say(&format!("disorder {name} frames before up"));
            return;
        };
        for frame in &frames {
            if frame.first_chunk::<8>() != Some(&met.received.to_le_bytes()) {
                say(&format!("disorder {name} at {}", met.received));
            }
            met.received += 1;
            progress.received += 1;
            if progress.expected == Some(progress.received) {
                say(&format!("received {}", progress.received));
            }
        }
    }

    fn seen_lsn(&self, of: MemberId) -> Lsn {
        self.progress().seen.get(&of).copied().unwrap_or_default()
    }

    fn durable_lsn(&self) -> Lsn {
        self.progress().durable
    }

    fn saw_lsn(&self, of: MemberId, lsn: Lsn) {
        let mut progress = self.progress();
        progress.seen.insert(of, lsn);
        let name = progress
            .names
            .get(&PeerId::Member(of))
            .cloned()
            .unwrap_or_default();
        say(&format!("saw {name} {}", lsn.0));
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::read();
    let (config, identity) = configure(&arguments)?;
    let peer = Arc::new(Peer {
        identity,
        refused: arguments.text("refuse", ""),
        progress: Mutex::default(),
    });
    let endpoint = match Endpoint::start(config, peer.clone()).await {
        Ok(endpoint) => endpoint,
        Err(error) => {
            say(&format!("error {error}"));
            return Err(error.into());
        }
    };
    match endpoint.local_addr() {
        Some(address) => say(&format!("listening {address}")),
        None => say("started"),
    }
    let watch = tokio::spawn(watch(endpoint.clone()));
    let mut lines = read_lines();
    while let Some(line) = lines.recv().await {
        if !command(&line, &endpoint, &peer)? {
            break;
        }
    }
    watch.abort();
    endpoint.shutdown().await;
    say("bye");
    Ok(())
}

/// Lines of standard input, until it ends. On a thread of its own, for reading them blocks.
fn read_lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn configure(arguments: &Arguments) -> Outcome<(EndpointConfig, HelloIdentity)> {
    let cluster = arguments.text("cluster", "demo");
    let node = arguments.text("node", "a");
    let boot = arguments.number("boot", 1)?;
    let listen = arguments.text("listen", "127.0.0.1:0");
    let (kind, role) = if arguments.text("role", "member") == "client" {
        (EndpointKind::Client, Role::Client { name: node })
    } else {
        let identity = MemberIdentity {
            member: MemberId(arguments.number("member", 1)?),
            node: node.clone(),
            boot,
            address: arguments.text("advertise", &listen),
            shards: arguments.number("shards", 64)?,
            cluster_id: None,
        };
        (
            EndpointKind::Member { listen, node, boot },
            Role::Member(identity),
        )
    };
    let standard = Window::default();
    let window = Window {
        frames: arguments.number("frames", standard.frames)?,
        bytes: arguments.number("bytes", standard.bytes)?,
    };
    let config = EndpointConfig {
        dial: arguments.list("dial"),
        window,
        ..EndpointConfig::new(arguments.text("cookie", "cookie"), kind)
    };
    Ok((
        config,
        HelloIdentity {
            cluster,
            role,
            payload: Vec::new(),
        },
    ))
}

/// Prints `target ADDRESS STATE ERROR` at every change.
async fn watch(endpoint: Endpoint) {
    let mut shown = BTreeMap::new();
    loop {
        for target in endpoint.status().targets {
            let error = target
                .last_error
                .map(|error| error.to_string())
                .unwrap_or_default();
            let line = format!("{:?} {error}", target.state);
            if shown.insert(target.address.clone(), line.clone()).as_ref() != Some(&line) {
                say(&format!("target {} {line}", target.address));
            }
        }
        tokio::time::sleep(WATCH_PERIOD).await;
    }
}

/// `dial A,B`; `send NAME COUNT BYTES` answers `sent N refused M`; `flood NAME BYTES` sends until
/// the link refuses and answers `full N`; `expect N` announces the Nth frame received; `lsn N` sets
/// the durable lsn; `trip` makes the next frame's receipt panic; `links` answers `links NAME...`; `traffic` answers with counters; `shutdown`.
fn command(line: &str, endpoint: &Endpoint, peer: &Peer) -> Outcome<bool> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["dial", list] => endpoint.set_dial_targets(split(list))?,
        ["send", name, count, bytes] => {
            let (sent, refused) = send(peer, name, count.parse()?, bytes.parse()?);
            say(&format!("sent {sent} refused {refused}"));
        }
        ["flood", name, bytes] => {
            let bytes = bytes.parse()?;
            let mut total = 0;
            while let (1, _) = send(peer, name, 1, bytes) {
                total += 1;
            }
            say(&format!("full {total}"));
        }
        ["expect", number] => {
            let number = number.parse()?;
            let mut progress = peer.progress();
            progress.expected = Some(number);
            if progress.received >= number {
                say(&format!("received {number}"));
            }
        }
        ["lsn", number] => peer.progress().durable = Lsn(number.parse()?),
        ["trip"] => peer.progress().tripped = true,
        ["links"] => {
            let links = endpoint.status().links;
            let names = links.iter().map(|link| link.hello.process.as_str());
            let names: Vec<&str> = names.filter_map(|name| name.split('.').next()).collect();
            say(&format!("links {}", names.join(" ")));
        }
        ["traffic"] => say(&format!("traffic {:?}", endpoint.status().traffic)),
        ["shutdown"] => return Ok(false),
        _ => say(&format!("error unknown command {line}")),
    }
    Ok(true)
}

fn send(peer: &Peer, name: &str, count: u64, bytes: usize) -> (u64, u64) {
    let mut progress = peer.progress();
    let Some(met) = progress.peers.get_mut(name) else {
        return (0, count);
    };
    let (mut sent, mut refused) = (0, 0);
    for _ in 0..count {
        let mut frame = vec![0; bytes.max(8)];
        if let Some(head) = frame.first_chunk_mut::<8>() {
            *head = met.sent.to_le_bytes();
        }
        match met.handle.send(frame.into()) {
            Ok(()) => {
                met.sent += 1;
                sent += 1;
            }
            Err(_) => refused += 1,
        }
    }
    (sent, refused)
}
