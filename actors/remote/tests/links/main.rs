//! Links between real processes: killed, stopped, restarted, misconfigured and pestered.

mod process;
mod proxy;

use std::io::{Read, Write};
use std::net::TcpStream;

use engram_core::limits::LINK_BYTES_MAX;
use process::Process;
use proxy::Proxy;

/// Two members with a link, `a` and `b`; `b` dialled.
fn pair() -> (Process, Process) {
    let mut a = Process::member("a", 1, &[]);
    let mut b = Process::member("b", 2, &[&format!("dial={}", a.address)]);
    a.expect("up b");
    b.expect("up a");
    (a, b)
}

/// Sends frames to a peer and waits until all arrived in order.
fn deliver(from: &mut Process, to: &mut Process, name: &str, frames: u64, bytes: usize) {
    from.send(name, frames, bytes);
    to.due += frames;
    to.ask(&format!("expect {}", to.due), "received");
    to.never_said("disorder");
}

/// Sends frames both ways.
fn talk(a: (&mut Process, &str), b: (&mut Process, &str), frames: u64) {
    deliver(a.0, b.0, b.1, frames, 300);
    deliver(b.0, a.0, a.1, frames, 300);
}

#[test]
fn frames_flow_both_ways_in_order() {
    let (mut a, mut b) = pair();
    talk((&mut a, "a"), (&mut b, "b"), 5000);
    deliver(&mut a, &mut b, "b", 3, 4 * 1024 * 1024);
}

#[test]
fn a_killed_peer_is_down_at_once_and_comes_back_with_what_was_seen_of_it() {
    let (mut a, mut b) = pair();
    b.say("lsn 7");
    a.expect("saw b 7");
    let dial = format!("dial={}", a.address);
    let listen = format!("listen={}", b.address);
    b.kill();
    a.expect("down b the connection was lost");
    let mut b = Process::member("b", 2, &["boot=2", &listen, &dial]);
    a.expect("up b");
    assert_eq!(b.expect("up a"), "up a seen=7");
    talk((&mut a, "a"), (&mut b, "b"), 10);
}

#[test]
fn a_peer_that_was_dialled_is_dialled_again() {
    let (a, mut b) = pair();
    let listen = format!("listen={}", a.address);
    a.kill();
    b.expect("down a");
    let mut a = Process::member("a", 1, &["boot=2", &listen]);
    b.expect("up a");
    a.expect("up b");
}

#[test]
fn a_leaving_peer_says_goodbye() {
    let (mut a, mut b) = pair();
    b.say("shutdown");
    b.expect("bye");
    a.expect("down b the peer shut down");
}

#[test]
fn a_wrong_cookie_is_suspected_and_the_right_one_still_works() {
    let a = Process::member("a", 1, &[]);
    let dial = format!("dial={}", a.address);
    let mut wrong = Process::member("b", 2, &[&dial, "cookie=wrong"]);
    wrong.expect_text("is the cookie wrong?");
    let mut right = Process::member("c", 3, &[&dial]);
    right.expect("up a");
    wrong.never_said("up");
}

#[test]
fn a_refusal_reaches_the_other_side() {
    let mut a = Process::member("a", 1, &["refuse=b"]);
    let dial = format!("dial={}", a.address);
    let mut b = Process::member("b", 2, &[&dial]);
    b.expect_text("the peer refuses: not today");
    let mut client = Process::start(&["role=client", "node=c", &dial]);
    client.expect("up a");
    a.expect("up c");
    a.never_said("up b");
}

#[test]
fn another_cluster_is_refused() {
    let a = Process::member("a", 1, &[]);
    let mut b = Process::member("b", 2, &[&format!("dial={}", a.address), "cluster=other"]);
    b.expect_text("this is cluster");
    b.never_said("up");
}

#[test]
fn a_copied_disk_is_refused_and_the_original_stays_connected() {
    let (mut a, mut b) = pair();
    let dial = format!("dial={}", a.address);
    let mut copy = Process::member("b", 2, &["boot=9", "advertise=elsewhere:1", &dial]);
    copy.expect_text("was the data directory copied?");
    talk((&mut a, "a"), (&mut b, "b"), 10);
    a.never_said("down");
}

#[test]
fn a_stopped_peer_goes_down_and_costs_bounded_memory() {
    let (mut a, mut b) = pair();
    let before = a.memory();
    b.signal("STOP");
    let full = a.ask("flood b 65536", "full ");
    let frames: u64 = full.trim_start_matches("full ").parse().expect("a number");
    assert!(
        frames <= LINK_BYTES_MAX as u64 / 65536,
        "{frames} frames were taken"
    );
    a.expect("down b no word from the peer");
    let grown = a.memory().saturating_sub(before);
    assert!(grown < 4 * LINK_BYTES_MAX as u64, "{grown} bytes more");
    b.signal("CONT");
    b.expect("down a");
    a.expect("up b");
    b.expect("up a");
    // The flood of the old link may have come through in part; the new link starts afresh.
    assert_eq!(a.ask("send b 10 300", "sent "), "sent 10 refused 0");
    b.never_said("disorder");
}

#[test]
fn a_silent_network_takes_both_ends_down_and_a_new_connection_heals() {
    let mut a = Process::member("a", 1, &[]);
    let proxy = Proxy::to(&a.address);
    let mut b = Process::member("b", 2, &[&format!("dial={}", proxy.address())]);
    a.expect("up b");
    b.expect("up a");
    proxy.freeze();
    a.expect("down b no word from the peer");
    b.expect("down a");
    b.expect("up a");
    a.expect("up b");
    talk((&mut a, "a"), (&mut b, "b"), 100);
}

#[test]
fn a_failed_receiver_is_restarted_and_the_link_comes_back() {
    let (mut a, mut b) = pair();
    a.say("trip");
    b.send("a", 1, 300);
    b.expect("down a");
    a.expect("down b");
    b.expect("up a");
    a.expect("up b");
    talk((&mut a, "a"), (&mut b, "b"), 100);
}

#[test]
fn garbage_and_silence_on_the_port_disturb_nobody() {
    let (mut a, mut b) = pair();
    let connect = || TcpStream::connect(&a.address).expect("it listens");
    let silent: Vec<TcpStream> = (0..100).map(|_| connect()).collect();
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0; 4096],
        &[0xff; 70000],
        b"ENGRAM",
    ] {
        // The other side may hang up in the middle.
        let _ = connect().write_all(garbage);
    }
    // A stranger that gets through the preface talks nonsense to the session.
    let mut sly = connect();
    sly.write_all(b"ENGRAM\x01\x03sly").expect("it listens");
    let mut verdict = [0; 8];
    sly.read_exact(&mut verdict).expect("it answers");
    assert_eq!(&verdict, b"ENGRAM\x01\x00");
    for garbage in [
        &[0, 0, 0, 0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff][..],
        &[0xff; 4096],
    ] {
        let _ = sly.write_all(garbage);
    }
    let mut late = Process::member("c", 3, &[&format!("dial={}", a.address)]);
    late.expect("up a");
    talk((&mut a, "a"), (&mut b, "b"), 1000);
    a.never_said("down");
    drop(silent);
}

#[test]
fn three_members_that_dial_each_other_at_once_settle_into_a_mesh() {
    let mut mesh: Vec<Process> = ["a", "b", "c"]
        .iter()
        .zip(1..)
        .map(|(node, member)| Process::member(node, member, &[]))
        .collect();
    let addresses: Vec<String> = mesh.iter().map(|process| process.address.clone()).collect();
    for process in &mut mesh {
        process.say(&format!("dial {}", addresses.join(",")));
    }
    for (process, own) in mesh.iter_mut().zip(&addresses) {
        process.expect_text(&format!("{own} Myself"));
    }
    // Whatever came and went on the way: in the end everybody has a link to everybody.
    for (process, others) in mesh.iter_mut().zip(["links b c", "links a c", "links a b"]) {
        while process.ask("links", "links") != others {
            process.expect("up");
        }
    }
    for process in &mut mesh {
        process.seen.clear();
    }
    let [a, b, c] = mesh.as_mut_slice() else {
        panic!("three processes");
    };
    talk((a, "a"), (b, "b"), 2000);
    talk((b, "b"), (c, "c"), 2000);
    talk((a, "a"), (c, "c"), 2000);
    for process in &mesh {
        process.never_said("down");
    }
}

#[test]
fn a_client_reaches_all_members_and_is_reached_by_them() {
    let (mut a, mut b) = pair();
    let dial = format!("dial={},{}", a.address, b.address);
    let mut client = Process::start(&["role=client", "node=visitor", &dial]);
    client.expect("up");
    client.expect("up");
    a.expect("up visitor");
    b.expect("up visitor");
    talk((&mut a, "a"), (&mut client, "visitor"), 100);
    deliver(&mut b, &mut client, "visitor", 100, 300);
    client.kill();
    a.expect("down visitor");
    b.expect("down visitor");
}

#[test]
fn a_used_port_is_named() {
    let a = Process::member("a", 1, &[]);
    let mut late = Process::launch(&["node=b", &format!("listen={}", a.address)]);
    let error = late.expect("error");
    assert!(error.contains("in use by another process"), "{error}");
}
