//! Deterministic failure simulation. Level 1: the pure state machines of the register protocol are
//! stepped through hostile schedules on simulated disks, clocks and networks, without any runtime.
//!
//! One seed decides everything: topology, faults, workload, timing. The same seed gives the same
//! trace hash. Every seed draws its own [`profile::Profile`] (swarm testing, Groce et al. 2012).
//!
//! | part | what it does |
//! |---|---|
//! | [`profile`] | what a seed's world is like |
//! | [`world`] | steps acceptors, proposers, disks, network, clients and faults in virtual time |
//! | [`ledger`] | knows every register that any disk ever held, and which were chosen |
//! | [`checkers`] | one file per property; each is itself tested with a planted violation |
//! | [`mutant`], [`hunt`] | known bugs, planted on purpose, and where each is caught |
//! | [`model`] | every schedule of small worlds, with `stateright` |
//! | [`regressions`] | the bugs that were found |
//! | [`campaign`] | runs seeds and says how to run a failed one again |

pub mod campaign;
pub mod checkers;
pub mod cluster;
pub mod disk;
pub mod history;
pub mod hunt;
pub mod ledger;
pub mod model;
pub mod mutant;
pub mod profile;
pub mod regressions;
pub mod trace;
pub mod world;
