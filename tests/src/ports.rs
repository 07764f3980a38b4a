//! Ports for nodes.
//!
//! A node that is down must find its port free when it comes back. So ports are taken from below
//! the range that the operating system gives to outgoing connections: dialling a node that is down
//! would otherwise sooner or later occupy the very port that is dialled.

use std::collections::BTreeSet;
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
    let end = ephemeral_start().max(LOWEST + 1000);
    let mut random = Random::new(seed());
    let mut found = BTreeSet::new();
    for _ in 0..TRIES_MAX {
        if found.len() == count {
            break;
        }
        let offset = random.below(u64::from(end - LOWEST));
        let port = LOWEST + u16::try_from(offset).context("an offset within the range")?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            found.insert(port);
        }
    }
    if found.len() < count {
        bail!("{TRIES_MAX} ports were tried, {} are free", found.len());
    }
    Ok(found.into_iter().collect())
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
    use super::*;

    #[test]
    fn ports_are_distinct_free_and_not_given_to_connections() {
        let ports = free(8).expect("there are free ports");
        let distinct: BTreeSet<&u16> = ports.iter().collect();
        assert_eq!(distinct.len(), 8);
        let listeners: Vec<_> = ports
            .iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).expect("it is free"))
            .collect();
        assert_eq!(listeners.len(), 8);
        assert!(ports.iter().all(|port| *port < ephemeral_start()));
    }
}
