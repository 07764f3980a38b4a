//! Bounds of links, beside those of packets and queues in [`crate::limits`].

use crate::limits::{LINK_BYTES_MAX, LINK_FRAMES_MAX, PACKET_BYTES_MAX, VALUE_BYTES_MAX};

/// Most bytes that a packet adds to a single frame: header, length, envelope.
pub const PACKET_OVERHEAD_BYTES: usize = 1024;
/// Largest frame, in bytes: it must fit into one packet.
pub const FRAME_BYTES_MAX: usize = PACKET_BYTES_MAX - PACKET_OVERHEAD_BYTES;
/// Credit is returned when this share of a link's window was processed, or with the next heartbeat.
pub const CREDIT_RETURN_SHARE: u64 = 4;

/// Time between two heartbeats of a link, in milliseconds.
pub const HEARTBEAT_MS: u64 = 500;
/// A link is dead after so many heartbeats in a row without a word from the peer.
pub const HEARTBEATS_MISSED_MAX: u32 = 4;
/// A link that is not up after so many heartbeats is given up.
pub const GREETING_TICKS_MAX: u32 = 8;

/// Delay before the first repeated dial, in milliseconds, before jitter.
pub const REDIAL_MS_MIN: u64 = 50;
/// Longest delay between two dials of one address, in milliseconds.
pub const REDIAL_MS_MAX: u64 = 2000;
/// A link that lived so long, in milliseconds, resets the delay of its address.
pub const REDIAL_RESET_MS: u64 = 2000;
/// A node whose peer should dial waits so much longer before it dials itself, in milliseconds.
pub const REDIAL_COURTESY_MS: u64 = 300;
/// Most addresses that one process dials.
pub const DIAL_TARGETS_MAX: usize = 512;

/// Time to resolve and connect, in milliseconds.
pub const CONNECT_TIMEOUT_MS: u64 = 3000;
/// Time to exchange the preface of a connection, in milliseconds.
pub const PREFACE_TIMEOUT_MS: u64 = 3000;
/// Time from the preface to a link that is up, in milliseconds; covers authentication.
pub const CONNECTION_TIMEOUT_MS: u64 = 6000;
/// Time that a shutdown waits for peers to take leave, in milliseconds.
pub const GOODBYE_TIMEOUT_MS: u64 = 500;
/// Most accepted connections that are not yet up; the oldest gives way.
pub const HALF_OPEN_MAX: usize = 64;
/// Most connections of one process.
pub const CONNECTIONS_MAX: usize = 4096;
/// Most greetings kept for connections that this process does not yet regard as ready.
pub const EARLY_HELLOS_MAX: usize = 64;

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 256;
/// Longest name of a process, in bytes: node name, boot count and nonce.
pub const PROCESS_BYTES_MAX: usize = 128;
/// Largest payload of a greeting, in bytes.
pub const HELLO_PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Largest encoded greeting, acceptance or refusal, in bytes.
pub const CONTROL_BYTES_MAX: usize = HELLO_PAYLOAD_BYTES_MAX + 16 * 1024;
/// Longest free text of a refusal, in bytes.
pub const REFUSAL_BYTES_MAX: usize = 512;

const _: () = assert!(2 * VALUE_BYTES_MAX <= FRAME_BYTES_MAX);
const _: () = assert!(FRAME_BYTES_MAX <= LINK_BYTES_MAX);
const _: () = assert!(LINK_FRAMES_MAX as u64 >= 2 * CREDIT_RETURN_SHARE);
const _: () = assert!(REDIAL_MS_MIN <= REDIAL_MS_MAX);
const _: () = assert!(GREETING_TICKS_MAX as u64 * HEARTBEAT_MS <= CONNECTION_TIMEOUT_MS);
