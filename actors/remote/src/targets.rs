//! The addresses that this process dials, and when to dial them again.
//!
//! Each address is dialled for ever, until it is taken from the list. A generation number per
//! address makes late results of earlier dials and timers harmless.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use engram_core::protocol::link::Backoff;
use engram_core::protocol::link::limits::{REDIAL_COURTESY_MS, REDIAL_RESET_MS};

use crate::dial::DialError;
use crate::handler::PeerId;
use crate::status::{TargetState, TargetStatus};

/// Names one dial, or one wait, of one address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Attempt {
    pub(crate) address: String,
    pub(crate) generation: u64,
}

/// An attempt to make after a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Redial {
    pub(crate) attempt: Attempt,
    pub(crate) delay: Duration,
}

#[derive(Debug)]
struct Target {
    generation: u64,
    state: TargetState,
    backoff: Backoff,
    last_error: Option<DialError>,
    /// The process last met at this address.
    process: Option<String>,
    connected_at: Option<Instant>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Targets {
    map: BTreeMap<String, Target>,
    generation: u64,
}

impl Targets {
    /// Replaces the list; returns those to dial now. Links that are up stay so.
    pub(crate) fn replace(&mut self, addresses: Vec<String>) -> Vec<Attempt> {
        self.map.retain(|address, _| addresses.contains(address));
        let mut new = Vec::new();
        for address in addresses {
            if self.map.contains_key(&address) {
                continue;
            }
            self.generation += 1;
            let target = Target {
                generation: self.generation,
                state: TargetState::Dialling,
                backoff: Backoff::default(),
                last_error: None,
                process: None,
                connected_at: None,
            };
            self.map.insert(address.clone(), target);
            new.push(Attempt {
                address,
                generation: self.generation,
            });
        }
        new
    }

    /// Forgets all of them.
    pub(crate) fn clear(&mut self) {
        self.map.clear();
    }

    /// Whether an attempt is still the newest of its address.
    pub(crate) fn is_current(&self, attempt: &Attempt) -> bool {
        self.map
            .get(&attempt.address)
            .is_some_and(|target| target.generation == attempt.generation)
    }

    /// A wait is over: whether to dial.
    pub(crate) fn dial(&mut self, attempt: &Attempt) -> bool {
        self.current(attempt).is_some_and(|target| {
            target.state = TargetState::Dialling;
            true
        })
    }

    /// The preface was exchanged and the connection goes on.
    pub(crate) fn greeting(&mut self, attempt: &Attempt, process: &str) {
        if let Some(target) = self.current(attempt) {
            target.state = TargetState::Greeting;
            target.process = Some(process.to_owned());
        }
    }

    /// The address leads here.
    pub(crate) fn myself(&mut self, attempt: &Attempt) {
        if let Some(target) = self.current(attempt) {
            target.state = TargetState::Myself;
            target.last_error = None;
        }
    }

    /// Another connection to the process at this address is preferred. If its link is not up yet,
    /// the address is looked at again later.
    pub(crate) fn served(
        &mut self,
        attempt: &Attempt,
        process: &str,
        peer: Option<PeerId>,
        random: u64,
    ) -> Option<Redial> {
        let target = self.current(attempt)?;
        target.process = Some(process.to_owned());
        if let Some(peer) = peer {
            target.connect(peer);
            return None;
        }
        self.wait(&attempt.address, Duration::ZERO, random)
    }

    /// An attempt failed. Also tells whether the error is another than the last one, and so worth
    /// a line in the log.
    pub(crate) fn failed(
        &mut self,
        attempt: &Attempt,
        error: DialError,
        random: u64,
    ) -> Option<(Redial, bool)> {
        let target = self.current(attempt)?;
        let news = target.last_error.as_ref().map(ToString::to_string) != Some(error.to_string());
        target.last_error = Some(error);
        let redial = self.wait(&attempt.address, Duration::ZERO, random)?;
        Some((redial, news))
    }

    /// A link came up to a process, dialled by whomever: every address known to lead to it is
    /// served.
    pub(crate) fn link_up(&mut self, process: &str, advertised: Option<&str>, peer: PeerId) {
        for (address, target) in &mut self.map {
            if target.process.as_deref() == Some(process) || Some(address.as_str()) == advertised {
                self.generation += 1;
                target.generation = self.generation;
                target.process = Some(process.to_owned());
                target.connect(peer);
            }
        }
    }

    /// The last link to a process went down. `courtesy`: the peer is the one to dial first.
    pub(crate) fn link_down(
        &mut self,
        process: &str,
        error: &DialError,
        courtesy: bool,
        random: u64,
    ) -> Vec<Redial> {
        let served: Vec<String> = self
            .map
            .iter()
            .filter(|(_, target)| {
                matches!(target.state, TargetState::Connected(_))
                    && target.process.as_deref() == Some(process)
            })
            .map(|(address, _)| address.clone())
            .collect();
        let extra = if courtesy { REDIAL_COURTESY_MS } else { 0 };
        let mut redials = Vec::new();
        for address in served {
            if let Some(target) = self.map.get_mut(&address) {
                target.disconnect(error.clone());
            }
            redials.extend(self.wait(&address, Duration::from_millis(extra), random));
        }
        redials
    }

    /// What to show.
    pub(crate) fn status(&self) -> Vec<TargetStatus> {
        self.map
            .iter()
            .map(|(address, target)| TargetStatus {
                address: address.clone(),
                state: target.state,
                last_error: target.last_error.clone(),
                failures: target.backoff.failures(),
            })
            .collect()
    }

    fn current(&mut self, attempt: &Attempt) -> Option<&mut Target> {
        self.map
            .get_mut(&attempt.address)
            .filter(|target| target.generation == attempt.generation)
    }

    fn wait(&mut self, address: &str, extra: Duration, random: u64) -> Option<Redial> {
        let target = self.map.get_mut(address)?;
        self.generation += 1;
        target.generation = self.generation;
        target.state = TargetState::Waiting;
        let delay = Duration::from_millis(target.backoff.next_ms(random)) + extra;
        let attempt = Attempt {
            address: address.to_owned(),
            generation: target.generation,
        };
        Some(Redial { attempt, delay })
    }
}

impl Target {
    fn connect(&mut self, peer: PeerId) {
        self.state = TargetState::Connected(peer);
        self.last_error = None;
        self.connected_at = Some(Instant::now());
    }

    fn disconnect(&mut self, error: DialError) {
        self.last_error = Some(error);
        let lived = self
            .connected_at
            .take()
            .map_or(Duration::ZERO, |since| since.elapsed());
        if lived >= Duration::from_millis(REDIAL_RESET_MS) {
            self.backoff.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use engram_core::protocol::link::DownReason;
    use engram_core::types::MemberId;

    use super::*;

    const PEER: PeerId = PeerId::Member(MemberId(1));

    fn targets() -> (Targets, Attempt) {
        let mut targets = Targets::default();
        let mut attempts = targets.replace(vec!["h:1".into()]);
        let attempt = attempts.pop().expect("a new address is dialled at once");
        (targets, attempt)
    }

    fn state(targets: &Targets) -> TargetState {
        targets.status().first().expect("one target").state
    }

    #[test]
    fn a_failed_dial_is_repeated_later_and_told_once() {
        let (mut targets, attempt) = targets();
        let (redial, news) = targets
            .failed(&attempt, DialError::Stranger, 0)
            .expect("current");
        assert!(news && redial.delay > Duration::ZERO);
        assert_eq!(state(&targets), TargetState::Waiting);
        assert!(!targets.dial(&attempt), "the old attempt is over");
        assert!(targets.dial(&redial.attempt));
        let (_, news) = targets
            .failed(&redial.attempt, DialError::Stranger, 0)
            .expect("current");
        assert!(!news, "the same error again");
    }

    #[test]
    fn an_incoming_link_serves_the_address_and_voids_the_dial() {
        let (mut targets, attempt) = targets();
        targets.link_up("p", Some("h:1"), PEER);
        assert_eq!(state(&targets), TargetState::Connected(PEER));
        assert!(targets.failed(&attempt, DialError::Stranger, 0).is_none());
        assert!(!targets.is_current(&attempt));
    }

    #[test]
    fn a_lost_link_is_dialled_again_with_courtesy_to_the_first_dialler() {
        let lost = DialError::Lost(DownReason::ConnectionLost);
        for (courtesy, least) in [(false, 0), (true, REDIAL_COURTESY_MS)] {
            let (mut targets, attempt) = targets();
            targets.greeting(&attempt, "p");
            targets.link_up("p", None, PEER);
            assert!(targets.link_down("other", &lost, courtesy, 0).is_empty());
            let redials = targets.link_down("p", &lost, courtesy, 0);
            let [redial] = redials.as_slice() else {
                panic!("one target: {redials:?}")
            };
            assert!(redial.delay >= Duration::from_millis(least));
            assert!(targets.dial(&redial.attempt));
        }
    }

    #[test]
    fn a_served_address_waits_until_the_other_link_is_up() {
        let (mut targets, attempt) = targets();
        let redial = targets.served(&attempt, "p", None, 0).expect("not up yet");
        assert_eq!(state(&targets), TargetState::Waiting);
        assert_eq!(targets.served(&redial.attempt, "p", Some(PEER), 0), None);
        assert_eq!(state(&targets), TargetState::Connected(PEER));
    }

    #[test]
    fn replacing_the_list_keeps_what_stays() {
        let (mut targets, attempt) = targets();
        let new = targets.replace(vec!["h:1".into(), "h:2".into(), "h:2".into()]);
        assert_eq!(new.len(), 1, "only the new address is dialled");
        assert!(targets.is_current(&attempt));
        assert!(targets.replace(vec!["h:2".into()]).is_empty());
        assert!(!targets.is_current(&attempt), "it is no target any more");
    }
}
