//! Ports for nodes.
//!
//! A node that is down must find its port free when it comes back. So ports are taken from below
//! the range that the operating system gives to outgoing connections: dialling a node that is down
//! would otherwise sooner or later occupy the very port that is dialled.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Context, Result, bail};
use engram_core::protocol::random::Random;

/// Most ports tried.
const TRIES_MAX: usize = 1000;
/// Ports below this belong to well-known services.
const LOWEST: u16 = 12_000;
/// Where Linux gives out ports from, unless it is configured otherwise.
const EPHEMERAL_DEFAULT: u16 = 32_768;

/// Ports on which nobody listens, all different. Nothing keeps others from taking them, so a node
/// that finds its port taken must be given another one.
///
/// # Errors
/// If there are not so many.
pub fn free(count: usize) -> Result<Vec<u16>> {
    held(count)?
        .iter()
        .map(|listener| {
            Ok(listener
                .local_addr()
                .context("a listener's own address")?
                .port())
        })
        .collect()
}

/// Listeners on ports that were free. Each stays held while the next is looked for, so that no two
/// are the same.
fn held(count: usize) -> Result<Vec<TcpListener>> {
    let end = ephemeral_start().max(LOWEST + 1000);
    let mut random = Random::new(seed());
    let mut found = Vec::with_capacity(count);
    for _ in 0..TRIES_MAX {
        if found.len() == count {
            break;
        }
        let offset = random.below(u64::from(end - LOWEST));
        let port = LOWEST + u16::try_from(offset).context("an offset within the range")?;
        found.extend(TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
    }
    if found.len() < count {
        bail!("{TRIES_MAX} ports were tried, {} are free", found.len());
    }
    Ok(found)
}

/// Tests that run at the same time must not all try the same ports in the same order.
fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u32(std::process::id());
    hasher.finish()
}

fn ephemeral_start() -> u16 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(EPHEMERAL_DEFAULT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ports_are_distinct_listened_on_and_not_given_to_connections() {
        let listeners = held(8).expect("there are free ports");
        let ports: BTreeSet<u16> = listeners
            .iter()
            .map(|listener| listener.local_addr().expect("it is bound").port())
            .collect();
        assert_eq!(ports.len(), 8);
        let end = ephemeral_start().max(LOWEST + 1000);
        assert!(ports.iter().all(|port| (LOWEST..end).contains(port)));
    }
}
