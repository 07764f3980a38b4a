//! Measures one link between two processes on this machine.
//!
//! `cargo run -p engram-remote --example link_bench [seconds] [frame bytes]` starts itself a second
//! time as the echoing side and prints frames a second and processor time a frame, for one-way
//! floods and for echoes with a number of frames in flight. The figures are for both processes
//! together, so they share the machine's cores.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use engram_core::types::{Lsn, MemberId};
use engram_remote::{
    DownReason, Endpoint, EndpointConfig, EndpointKind, Handler, HelloIdentity, MemberIdentity,
    PeerHandle, PeerHello, PeerId, Refusal, Role, SendError,
};
use tokio::sync::{Notify, Semaphore};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// First byte of a frame: to be sent back, or only counted.
const ECHO: u8 = 1;
const COUNT: u8 = 0;

/// Counts frames, returns those that ask for it, and lets one more be sent for each echo.
struct Bench {
    role: Role,
    peer: OnceLock<PeerHandle>,
    met: Notify,
    received: AtomicU64,
    room: Semaphore,
}

impl Bench {
    fn new(role: Role) -> Arc<Bench> {
        Arc::new(Bench {
            role,
            peer: OnceLock::new(),
            met: Notify::new(),
            received: AtomicU64::new(0),
            room: Semaphore::new(0),
        })
    }
}

impl Handler for Bench {
    fn hello(&self) -> HelloIdentity {
        HelloIdentity {
            cluster: "bench".into(),
            role: self.role.clone(),
            payload: Vec::new(),
        }
    }

    fn check(&self, _peer: &HelloIdentity) -> Result<(), Refusal> {
        Ok(())
    }

    fn up(&self, peer: &PeerHandle, _hello: &PeerHello) {
        let _ = self.peer.set(peer.clone());
        self.met.notify_one();
    }

    fn down(&self, _peer: PeerId, _reason: DownReason) {
        // The echoing side has nothing left to do.
        if matches!(self.role, Role::Member(_)) {
            std::process::exit(0);
        }
    }

    fn frames(&self, _peer: PeerId, frames: Vec<Bytes>) {
        self.received
            .fetch_add(frames.len() as u64, Ordering::Relaxed);
        if matches!(self.role, Role::Client { .. }) {
            self.room.add_permits(frames.len());
            return;
        }
        for frame in frames {
            if frame.first() == Some(&ECHO)
                && let Some(peer) = self.peer.get()
            {
                // The window is larger than what is in flight.
                let _ = peer.send(frame);
            }
        }
    }

    fn seen_lsn(&self, _of: MemberId) -> Lsn {
        Lsn(0)
    }

    fn durable_lsn(&self) -> Lsn {
        Lsn(0)
    }

    fn saw_lsn(&self, _of: MemberId, _lsn: Lsn) {}
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().map(String::as_str) == Some("echo") {
        return serve().await;
    }
    let seconds: u64 = arguments.first().map_or(Ok(3), |text| text.parse())?;
    let bytes: usize = arguments.get(1).map_or(Ok(300), |text| text.parse())?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg("echo")
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().ok_or("no output of the echoing side")?;
    let address = BufReader::new(output)
        .lines()
        .next()
        .ok_or("no address")??;

    let bench = Bench::new(Role::Client {
        name: "bench".into(),
    });
    let config = EndpointConfig {
        dial: vec![address],
        ..EndpointConfig::new("cookie", EndpointKind::Client)
    };
    let endpoint = Endpoint::start(config, bench.clone()).await?;
    bench.met.notified().await;
    let peer = bench.peer.get().ok_or("the link is not up")?;
    let run = Run {
        peer,
        bench: &bench,
        other: child.id(),
        seconds,
        bytes,
    };
    run.flood(&endpoint).await?;
    for in_flight in [1, 16, 256, 4096] {
        run.echo(in_flight).await?;
    }
    endpoint.shutdown().await;
    child.wait()?;
    Ok(())
}

async fn serve() -> Outcome<()> {
    let listen = "127.0.0.1:0".to_owned();
    let role = Role::Member(MemberIdentity {
        member: MemberId(1),
        node: "echo".into(),
        boot: 1,
        address: "127.0.0.1:0".into(),
        shards: 1,
        cluster_id: None,
    });
    let kind = EndpointKind::Member {
        listen,
        node: "echo".into(),
        boot: 1,
    };
    let endpoint = Endpoint::start(EndpointConfig::new("cookie", kind), Bench::new(role)).await?;
    println!("{}", endpoint.local_addr().ok_or("it listens nowhere")?);
    std::future::pending().await
}

struct Run<'a> {
    peer: &'a PeerHandle,
    bench: &'a Bench,
    other: u32,
    seconds: u64,
    bytes: usize,
}

impl Run<'_> {
    fn frame(&self, kind: u8) -> Bytes {
        let mut frame = vec![0; self.bytes.max(1)];
        if let Some(first) = frame.first_mut() {
            *first = kind;
        }
        frame.into()
    }

    /// Sends as fast as the link takes it.
    async fn flood(&self, endpoint: &Endpoint) -> Outcome<()> {
        let frame = self.frame(COUNT);
        let (start, before) = (Instant::now(), self.cpu()?);
        let (mut sent, mut refused) = (0_u64, 0_u64);
        while start.elapsed().as_secs() < self.seconds {
            for _ in 0..64 {
                match self.peer.send(frame.clone()) {
                    Ok(()) => sent += 1,
                    Err(SendError::Full { .. }) => {
                        refused += 1;
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            tokio::task::yield_now().await;
        }
        self.show(
            "flood, one way",
            sent,
            start.elapsed(),
            self.cpu()? - before,
        );
        let packets = endpoint.status().traffic.packets_sent;
        println!(
            "    {} frames a packet, {refused} refused",
            sent / packets.max(1)
        );
        while self.peer.queued().frames > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Keeps a number of frames on their way there and back.
    async fn echo(&self, in_flight: usize) -> Outcome<()> {
        let frame = self.frame(ECHO);
        self.bench.room.add_permits(in_flight);
        let (start, before) = (Instant::now(), self.cpu()?);
        let received = self.bench.received.load(Ordering::Relaxed);
        while start.elapsed().as_secs() < self.seconds {
            self.bench.room.acquire().await?.forget();
            self.peer.send(frame.clone())?;
        }
        let echoed = self.bench.received.load(Ordering::Relaxed) - received;
        let name = format!("echo, {in_flight} in flight");
        self.show(&name, echoed, start.elapsed(), self.cpu()? - before);
        let all = u32::try_from(in_flight)?;
        self.bench.room.acquire_many(all).await?.forget();
        Ok(())
    }

    fn show(&self, what: &str, frames: u64, elapsed: Duration, cpu: Duration) {
        let rate = frames as f64 / elapsed.as_secs_f64();
        let micros = cpu.as_secs_f64() * 1e6 / frames.max(1) as f64;
        let cores = cpu.as_secs_f64() / elapsed.as_secs_f64();
        println!("{what:22} {rate:>10.0} frames/s  {micros:>6.2} µs CPU a frame  {cores:.2} cores");
    }

    /// Processor time of both processes.
    fn cpu(&self) -> Outcome<Duration> {
        let own = std::process::id();
        let mut ticks = 0;
        for process in [own, self.other] {
            let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
            let fields = stat.rsplit(')').next().unwrap_or_default();
            for field in fields.split_whitespace().skip(11).take(2) {
                ticks += field.parse::<u64>()?;
            }
        }
        // Ticks are 10 ms on Linux.
        Ok(Duration::from_millis(ticks * 10))
    }
}
